"""Whether servers answer: found out in the background, so that nobody who looks waits for one that does not."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cache_backends import CacheBackend, StoreAbout

AGAIN_S = 5.0
"""How long a server that was not reached is left alone before it is asked again."""
LOOK_AGAIN_S = 30.0
"""How long one that answered is believed to go on answering."""
SILENT_S = 3.0
"""After how long without an answer a server counts as not reached: its cache should have given up before."""

Work = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a strategy stands just now.

    `asking`: a server was not heard of yet. `unreachable`: requests go to the model alone. `unusable`: they fail.
    """

    state: Literal["ready", "asking", "unreachable", "unusable"]
    reason: str | None = None
    """Why it is unreachable (None: it gives no answer at all) or unusable."""
    about: StoreAbout | None = None
    """What a server that answered said of itself."""


@dataclass(slots=True)
class _Server:
    """What is known of one server. `reason` is a failure that its cache does not count as not reaching it."""

    cache: CacheBackend
    heard: bool = False
    reason: str | None = None
    about: StoreAbout | None = None
    asked_at: float | None = None
    """Since when an answer is waited for."""
    ended_at: float = 0.0


class Reach:
    """Whether each server answers. Looking asks nobody: what is not known, or not of late, a thread finds out."""

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, begin: Callable[[Work], None] | None = None
    ) -> None:
        """`begin` is given work that may hang, and does it elsewhere; RuntimeError says that it can't."""
        self._servers: dict[str, _Server] = {}
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._begin = begin or in_thread

    def standing(self, name: str, cache: CacheBackend) -> Standing:
        """How the server behind a cache stands, as far as is known."""
        with self._lock:
            server = self._servers.get(name)
            if server is None or server.cache is not cache:
                server = self._servers[name] = _Server(cache)
            now = self._monotonic()
            trouble = cache.trouble or server.reason
            due = server.asked_at is None and self._is_due(server, trouble, now)
            if due:
                server.asked_at = now
        if due:
            try:
                self._begin(lambda: self._ask(server))
            except RuntimeError:  # the system gives no more threads: another look tries again
                server.asked_at = None
        with self._lock:
            return self._standing(server)

    def _is_due(self, server: _Server, trouble: str | None, now: float) -> bool:
        return not server.heard or now - server.ended_at >= (AGAIN_S if trouble else LOOK_AGAIN_S)

    def _standing(self, server: _Server) -> Standing:
        trouble = server.cache.trouble or server.reason
        if trouble is not None:
            return Standing("unreachable", trouble)
        if server.asked_at is not None and self._monotonic() - server.asked_at >= SILENT_S:
            return Standing("unreachable")
        return Standing("ready", about=server.about) if server.heard else Standing("asking")

    def _ask(self, server: _Server) -> None:
        reason: str | None = None
        about: StoreAbout | None = None
        try:
            server.cache.ping()
            with contextlib.suppress(Exception):  # it answers, and keeps to itself what it is
                about = server.cache.about()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is why the server can't be used
            reason = str(error) or type(error).__name__
        with self._lock:
            if server.cache.trouble is not None:
                reason = None  # which the cache takes back by itself as soon as a request gets through
            server.heard, server.reason, server.about = True, reason, about
            server.asked_at, server.ended_at = None, self._monotonic()


def in_thread(work: Work) -> None:
    """Do it in a thread that no page and no end of the process waits for. Raises RuntimeError where there is none."""
    context = contextvars.Context()  # not the page's
    threading.Thread(target=context.run, args=(work,), name="reach", daemon=True).start()
