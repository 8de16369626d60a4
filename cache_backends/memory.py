"""`MemoryCache`: entries in this process's memory, gone when it ends."""

from __future__ import annotations

import heapq
import platform
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from cache_backends.base import CacheBackend
from cache_backends.browse import Row
from cache_backends.codec import decode
from cache_backends.errors import CacheUnavailableError
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.records import CacheEntry, StoreAbout
from cache_backends.storage import Found, StoredEntry
from cache_backends.summaries import entry_row, whole_entry

PURGED_AT_A_TIME = 1_000
"""Entries that one step of a purge looks at, so that others wait for the lock well under a millisecond."""

MOST_EARLY = 1_000
"""Notes of early uses, beyond two an entry, before those that are over are dropped."""

Place = tuple[str, bytes]
"""Namespace and digest."""


@dataclass(slots=True)
class Held:
    """One entry in memory: what was stored, and what became of it since."""

    entry: StoredEntry
    size_bytes: int
    expires_at: float | None
    pinned: bool
    last_used_at: float
    hits: int

    def as_it_is(self) -> StoredEntry:
        """The entry with its uses and its lifetime of now."""
        return self.entry._replace(
            expires_at=self.expires_at, pinned=self.pinned, last_used_at=self.last_used_at, hits=self.hits
        )


class MemoryStore(Forkable):
    """The entries of all namespaces, least recently used first, behind one lock."""

    def __init__(self) -> None:
        self.held: OrderedDict[Place, Held] = OrderedDict()
        self.early: list[tuple[float, Place]] = []
        """A heap of those that were used longer ago than their place in the order says, and when that was."""
        self.size_bytes = 0
        self.lock = threading.RLock()
        self.closed = False
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """The child has a copy of the entries, and a lock that none of its threads holds."""
        self.lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        with self.lock:
            return {"held": OrderedDict(self.held), "early": self.early.copy(), "size_bytes": self.size_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self.__dict__.update(state)

    def put(self, place: Place, held: Held) -> None:
        """Hold an entry as the most recently used. Whoever reads without the lock sees the old one or the new."""
        old = self.held.get(place)
        self.held[place] = held
        self.held.move_to_end(place)
        self.size_bytes += held.size_bytes - (old.size_bytes if old is not None else 0)

    def put_early(self, held: Held, place: Place) -> None:
        """Note that an entry was used longer ago than its place in the order says."""
        if len(self.early) > 2 * len(self.held) + MOST_EARLY:  # most of them are not true any more
            self.early = [
                (used_at, early)
                for used_at, early in {*self.early}
                if early in self.held and self.held[early].last_used_at == used_at
            ]
            heapq.heapify(self.early)
        heapq.heappush(self.early, (held.last_used_at, place))

    def remove(self, place: Place) -> bool:
        """Hold an entry no longer; whether it was there."""
        held = self.held.pop(place, None)
        if held is not None:
            self.size_bytes -= held.size_bytes
        return held is not None

    def evict(self, max_entries: int | None, max_bytes: int | None) -> int:
        """Remove the least recently used entries that are not pinned, until both limits are kept; how many."""
        evicted = 0
        while (max_entries is not None and len(self.held) > max_entries) or (
            max_bytes is not None and self.size_bytes > max_bytes
        ):
            place = self._least_recently_used()
            if place is None:
                break
            self.remove(place)
            evicted += 1
        return evicted

    def _least_recently_used(self) -> Place | None:
        """The entry to evict next; None where all are pinned."""
        for _ in range(len(self.held)):
            first, held = next(iter(self.held.items()))
            if not held.pinned:
                break
            self.held.move_to_end(first)
        else:
            return None
        while self.early:
            used_at, place = self.early[0]
            early = self.held.get(place)
            if early is not None and not early.pinned and early.last_used_at == used_at:
                return place if used_at < held.last_used_at else first
            heapq.heappop(self.early)  # gone, pinned, or used since
        return first


class MemoryCache(CacheBackend):
    """A cache in memory that hands out fresh objects and evicts the least recently used.

    >>> from langchain_core.outputs import Generation
    >>> cache = MemoryCache(ttl="1h", max_entries=1000)
    >>> cache.update("Who was Carl Sagan?", "model=demo", [Generation(text="An astronomer.")])
    >>> cache.lookup("Who was Carl Sagan?", "model=demo")[0].text
    'An astronomer.'
    """

    survives_restart: ClassVar[bool] = False
    writes_inline: ClassVar[bool] = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._store = MemoryStore()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_identity": None, "_asked_at": {}, "_is_view": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _identity=object())

    def _read(self, digest: bytes) -> Found | None:
        held = self._open_store().held.get((self.namespace, digest))
        if held is None:
            return None
        entry = held.entry
        return Found(
            orjson.loads(entry.payload),
            entry.created_at,
            None if held.pinned else held.expires_at,
            entry.model_time_s,
        )

    def _write(self, entry: StoredEntry) -> None:
        self._hold(entry, is_early=False)

    def _put_back(self, entry: StoredEntry) -> None:
        self._hold(entry, is_early=self._has_limits)

    def _hold(self, entry: StoredEntry, *, is_early: bool) -> None:
        self._refuse_too_large(entry.size_bytes)
        held = Held(entry, entry.size_bytes, entry.expires_at, entry.pinned, entry.last_used_at, entry.hits)
        store = self._open_store()
        with store.lock:
            store.put((self.namespace, entry.digest), held)
            if is_early:
                store.put_early(held, (self.namespace, entry.digest))
            evicted = store.evict(self.max_entries, self.max_bytes)
        if evicted:
            self.counters.count_evictions(evicted)

    def _record_use(self, digest: bytes, now: float) -> None:
        store, place = self._store, (self.namespace, digest)
        with store.lock:
            held = store.held.get(place)
            if held is not None:
                held.hits += 1
                held.last_used_at = max(held.last_used_at, now)
                store.held.move_to_end(place)

    def _set_aside(self, digest: bytes) -> None:
        self._delete(digest)

    def _delete(self, digest: bytes) -> bool:
        store = self._open_store()
        with store.lock:
            return store.remove((self.namespace, digest))

    def _set_expiry(self, digest: bytes, expires_at: float | None) -> bool:
        with self._open_store().lock:
            held = self._held(digest)
            if held is not None:
                held.expires_at = expires_at
        return held is not None

    def _set_pinned(self, digest: bytes, *, pinned: bool) -> bool:
        with self._open_store().lock:
            held = self._held(digest)
            if held is not None:
                held.pinned = pinned
                if not pinned and self._has_limits:  # evictions moved it to the end of the order
                    self._store.put_early(held, (self.namespace, digest))
        return held is not None

    def _purge(self, now: float) -> int:
        store = self._open_store()
        places = self._places()
        purged = 0
        for first in range(0, len(places), PURGED_AT_A_TIME):
            with store.lock:
                for place in places[first : first + PURGED_AT_A_TIME]:
                    held = store.held.get(place)
                    if held is not None and held.as_it_is().is_over(now):
                        purged += store.remove(place)
        return purged

    def _clear(self) -> None:
        store = self._open_store()
        with store.lock:
            for place in self._places():
                store.remove(place)

    def _entry(self, digest: bytes) -> CacheEntry | None:
        held = self._held(digest)
        if held is None:
            return None
        entry = held.as_it_is()
        generations = decode(entry.payload)
        location = f"memory of this process, namespace {self.namespace}"
        return whole_entry(entry_row(entry, generations, self.namespace), entry, generations, location)

    def _rows(self) -> Iterator[Row]:
        store = self._open_store()
        with store.lock:
            everything = list(store.held.items())  # in one go: whoever stores waits for it
        here = (held.as_it_is() for (namespace, _), held in everything if namespace == self.namespace)
        return (entry_row(entry, decode(entry.payload), self.namespace) for entry in here)

    def _namespaces(self) -> Sequence[str]:
        store = self._open_store()
        with store.lock:
            places = list(store.held)
        return list({namespace for namespace, _ in places})

    def _about(self) -> StoreAbout:
        return StoreAbout("Python", platform.python_version(), "process")

    def _close(self) -> None:
        with self._store.lock:
            self._store.closed = True
            self._store.held.clear()
            self._store.early.clear()
            self._store.size_bytes = 0

    @property
    def _has_limits(self) -> bool:
        return self.max_entries is not None or self.max_bytes is not None

    def _held(self, digest: bytes) -> Held | None:
        return self._open_store().held.get((self.namespace, digest))

    def _places(self) -> list[Place]:
        store = self._open_store()
        with store.lock:
            places = list(store.held)
        return [place for place in places if place[0] == self.namespace]

    def _open_store(self) -> MemoryStore:
        if self._store.closed:
            raise CacheUnavailableError("This memory cache was closed. Open a new one.")
        return self._store
