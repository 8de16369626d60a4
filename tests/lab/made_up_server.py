"""A server that is made up: a cache whose answers outlive it, and that can be down, hang, or keep badly."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from cache_backends import CacheUnreachableError, MemoryCache, StoreAbout, StoreStats
from cache_backends.memory import MemoryStore
from cache_backends.storage import Found, StoredEntry
from cache_backends.urls import SERVERS

LONG_S = 30.0
"""A bound on waiting for what happens at once: reached only where the test fails."""


class MadeUpServer:
    """What is there whoever connects: its entries, and what is wrong with it."""

    def __init__(self) -> None:
        self.down: str | None = None
        """Why it does not answer."""
        self.hangs = threading.Event()
        """Set: whoever asks waits until it is not so any more, or for ever."""
        self.goes_on = threading.Event()
        self.asked = threading.Event()
        """Set as soon as somebody asked."""
        self.entries = MemoryStore()
        self.about: StoreAbout | Exception = StoreAbout(
            "Redis", "7.0.15", "every_second", "appendonly yes, appendfsync everysec"
        )
        self.opened: list[MadeUpCache] = []
        self.pings = 0
        self.at_stats: Callable[[], None] = lambda: None
        self.reads: Callable[[Found | None], Found | None] = lambda found: found
        self.removes = True

    def install(self, monkeypatch: pytest.MonkeyPatch, scheme: str = "redis") -> MadeUpServer:
        """Be what URLs with this scheme lead to."""
        monkeypatch.setitem(SERVERS, scheme, self.open)
        return self

    def open(self, url: str, options: dict[str, Any]) -> MadeUpCache:
        """A handle that has asked nothing yet."""
        cache = MadeUpCache(self, url, **options)
        self.opened.append(cache)
        return cache

    def answer(self) -> None:
        """Answer, or raise `CacheUnreachableError`."""
        self.asked.set()
        if self.hangs.is_set():
            assert self.goes_on.wait(LONG_S)
        if self.down is not None:
            raise CacheUnreachableError(self.down)

    def let_go(self) -> None:
        """Hang no more."""
        self.hangs.clear()
        self.goes_on.set()


class MadeUpCache(MemoryCache):
    """A handle on it, with a trouble of its own."""

    survives_restart: ClassVar[bool] = True

    def __init__(self, server: MadeUpServer, url: str, **options: Any) -> None:
        super().__init__(**options)
        self.server = server
        self.url = url
        self.state: dict[str, Any] = {"trouble": None, "closed": False, "flushed": 0}
        """Shared with its views."""
        self._store = server.entries

    @property
    def trouble(self) -> str | None:
        trouble: str | None = self.state["trouble"]
        return trouble

    def flush(self) -> None:
        self._ask()
        self.state["flushed"] += 1

    def _ask(self) -> None:
        assert not self.state["closed"], "a closed handle was used"
        try:
            self.server.answer()
        except CacheUnreachableError as error:
            self.state["trouble"] = str(error)
            raise
        self.state["trouble"] = None

    def ping(self) -> float:
        self._ask()
        self.server.pings += 1
        return super().ping()

    def _read(self, digest: bytes) -> Found | None:
        self._ask()
        return self.server.reads(super()._read(digest))

    def _write(self, entry: StoredEntry) -> None:
        self._ask()
        super()._write(entry)

    def _delete(self, digest: bytes) -> bool:
        self._ask()
        return super()._delete(digest)

    def _clear(self) -> None:
        self._ask()
        if self.server.removes:
            super()._clear()

    def _stats(self, now: float) -> StoreStats:
        self._ask()
        self.server.at_stats()
        return super()._stats(now)

    def _about(self) -> StoreAbout:
        self._ask()
        if isinstance(self.server.about, Exception):
            raise self.server.about
        return self.server.about

    def _close(self) -> None:
        self.state["closed"] = True
