"""`CircuitBreaker`: a server that failed again and again is left alone for a while, and then tried by one caller."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cache_backends.errors import CacheUnreachableError
from cache_backends.forks import Forkable, tell_of_forks

FAILURES = 3
"""So many in a row open the breaker: one alone may be a connection that was dropped."""
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 30.0
"""A pause that ends in another failure is followed by one twice as long, up to this."""


class CircuitBreaker(Forkable):
    """Closed while a server answers. Open, calls fail at once, but for one at the end of each pause and for probes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._try_again_at = 0.0
        self._reason: str | None = None
        self._is_trying = False
        self._probes = threading.local()
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """A thread of the parent may hold the lock."""
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether calls fail without asking."""
        return self._failures >= FAILURES

    @property
    def trouble(self) -> str | None:
        """Why the last call failed; None if it did not."""
        return self._reason

    @contextmanager
    def probing(self) -> Iterator[None]:
        """What this thread asks meanwhile is asked to find out whether the server answers, and nothing waits for it.

        So it is always let through, and closes the breaker where it succeeds; a failure of it opens none.
        """
        self._probes.under_way = True
        try:
            yield
        finally:
            self._probes.under_way = False

    def check(self) -> None:
        """Let the call go on, or raise `CacheUnreachableError`."""
        if not self._reason or not self.is_open or self._is_probe:
            return
        with self._lock:
            now = self.clock()
            if now >= self._try_again_at:
                self._is_trying = True
                self._try_again_at = now + self._pause_s  # for everybody else, who would wait for the same timeout
                return
            wait_s = self._try_again_at - now
        raise CacheUnreachableError(f"{self._reason} It is left alone for {wait_s:.0f} s more.")

    def succeeded(self) -> None:
        """The server answered."""
        if self._reason is not None:
            with self._lock:
                self._failures, self._pause_s, self._reason, self._is_trying = 0, FIRST_PAUSE_S, None, False

    def failed(self, reason: str) -> None:
        """The server did not answer."""
        with self._lock:
            self._reason = reason
            if self._is_probe:
                if self.is_open:  # the trial at the end of this pause has been made, by one that nobody waits for
                    self._try_again_at = self.clock() + self._pause_s
                return
            was_open = self.is_open
            self._failures += 1
            if was_open and not self._is_trying:
                return  # it began before the breaker opened
            if self._is_trying:
                self._is_trying = False
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._try_again_at = self.clock() + self._pause_s

    @property
    def _is_probe(self) -> bool:
        return getattr(self._probes, "under_way", False)
