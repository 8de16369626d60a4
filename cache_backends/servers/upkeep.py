"""`Upkeep`: work that a store is followed by now and then, which nobody waits for longer than for the store itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from cache_backends.forks import Forkable, tell_of_forks


class Upkeep(Forkable):
    """One thread at a time, begun when there is work and ended with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_due = False
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """The thread is the parent's."""
        self._lock = threading.Lock()
        self._thread = None
        self._is_due = False

    def do(self, work: Callable[[], None], until: float) -> None:
        """Have `work` done from now on, and wait for that until `until`, a time of `time.monotonic`.

        If a thread is at it already, that one does it again when it is done, and nobody waits.
        """
        with self._lock:
            self._is_due = True
            if self._thread is not None:
                return
            self._thread = thread = threading.Thread(target=self._run, args=(work,), name="upkeep", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, since the interpreter ends, or there are too many
            self._run(work)
        else:
            thread.join(max(0.0, until - time.monotonic()))

    def wait(self, until: float) -> None:
        """Wait until nothing is being done, or until `until`."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self, work: Callable[[], None]) -> None:
        try:
            while True:
                with self._lock:
                    if not self._is_due:
                        self._thread = None
                        return
                    self._is_due = False
                work()
        except BaseException:
            with self._lock:
                self._thread = None
            raise
