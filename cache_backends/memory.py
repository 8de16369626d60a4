"""`MemoryCache`: entries in this process's memory, gone when it ends."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from cache_backends.base import CacheBackend, Found, StoredEntry
from cache_backends.browse import Row
from cache_backends.codec import decode
from cache_backends.errors import CacheUnavailableError
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.records import CacheEntry
from cache_backends.summaries import entry_row, whole_entry


@dataclass(slots=True)
class Held:
    """One entry in memory: what was stored, and how it has been used since."""

    entry: StoredEntry
    last_used_at: float
    hits: int = 0


class MemoryStore(Forkable):
    """The entries of all namespaces, least recently used first, behind one lock."""

    def __init__(self) -> None:
        self.held: OrderedDict[tuple[str, str], Held] = OrderedDict()
        self.lock = threading.RLock()
        self.closed = False
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """The child has a copy of the entries, and a lock that none of its threads holds."""
        self.lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        with self.lock:
            return {"held": OrderedDict(self.held)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self.held = state["held"]


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

    def _read(self, key: str) -> Found | None:
        store = self._open_store()
        held = store.held.get((self.namespace, key))
        if held is None:
            return None
        entry = held.entry
        return Found(orjson.loads(entry.payload), entry.created_at, entry.expires_at, entry.model_time_s)

    def _write(self, entry: StoredEntry) -> None:
        store = self._open_store()
        evicted = 0
        with store.lock:
            store.held[self.namespace, entry.key] = Held(entry, entry.created_at)
            store.held.move_to_end((self.namespace, entry.key))
            while self.max_entries is not None and len(store.held) > self.max_entries:
                store.held.popitem(last=False)
                evicted += 1
        self.counters.count_evictions(evicted)

    def _record_use(self, key: str, now: float) -> None:
        store = self._store
        with store.lock:
            held = store.held.get((self.namespace, key))
            if held is not None:
                held.hits += 1
                held.last_used_at = now
                store.held.move_to_end((self.namespace, key))

    def _set_aside(self, key: str) -> None:
        self._delete(key)

    def _delete(self, key: str) -> bool:
        store = self._open_store()
        with store.lock:
            return store.held.pop((self.namespace, key), None) is not None

    def _clear(self) -> None:
        store = self._open_store()
        with store.lock:
            for place in [place for place in store.held if place[0] == self.namespace]:
                del store.held[place]

    def _entry(self, key: str) -> CacheEntry | None:
        held = self._open_store().held.get((self.namespace, key))
        if held is None:
            return None
        location = f"memory of this process, namespace {self.namespace}"
        return whole_entry(self._row(held), held.entry, decode(held.entry.payload), location)

    def _rows(self) -> Iterator[Row]:
        store = self._open_store()
        with store.lock:
            here = [held for (namespace, _), held in store.held.items() if namespace == self.namespace]
        return (self._row(held) for held in here)

    def _namespaces(self) -> Sequence[str]:
        store = self._open_store()
        with store.lock:
            return list({namespace for namespace, _ in store.held})

    def _close(self) -> None:
        with self._store.lock:
            self._store.closed = True
            self._store.held.clear()

    def _row(self, held: Held) -> Row:
        return entry_row(
            held.entry,
            decode(held.entry.payload),
            namespace=self.namespace,
            last_used_at=held.last_used_at,
            hits=held.hits,
        )

    def _open_store(self) -> MemoryStore:
        if self._store.closed:
            raise CacheUnavailableError("This memory cache was closed. Open a new one.")
        return self._store
