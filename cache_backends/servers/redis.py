"""`RedisCache`: entries in Redis, or in a Redis Cluster, that machines share. No module of Redis is needed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from cache_backends.browse import Query, Row
from cache_backends.codec import decode
from cache_backends.errors import CacheConfigError, CorruptEntryError, NotCacheableError
from cache_backends.fresh_objects import generations_from
from cache_backends.records import CacheEntry, EntryPage, StoreAbout, StoreStats, Tally
from cache_backends.servers.redis_about import about
from cache_backends.servers.redis_browse import all_entries, listed, models, stats, tally, whole_entries
from cache_backends.servers.redis_keys import Partition, partition_number, partitions
from cache_backends.servers.redis_names import namespaces
from cache_backends.servers.redis_scripts import CHANGE, GRACE, LONGEST_S, REMOVE, SET_ASIDE, SHORTEST_GRACE_S, STORE
from cache_backends.servers.redis_session import number
from cache_backends.servers.redis_store import RedisStore
from cache_backends.servers.redis_upkeep import clear, evict, purge, write_uses
from cache_backends.servers.redis_values import found, note, to_value
from cache_backends.servers.redis_wire import Command
from cache_backends.servers.server_cache import ServerCache
from cache_backends.storage import Found, StoredEntry
from cache_backends.summaries import entry_row, whole_entry
from cache_backends.table_rows import interned_id

DAMAGED_KEPT = 100
"""Damaged values that each partition keeps."""
LARGEST_BYTES = 512 * 1024 * 1024 - 1024
"""The most that Redis keeps under one key is 512 MB."""


class RedisCache(ServerCache):
    """A cache in Redis, shared by threads, processes and machines.

    `redis://user:password@host:6379/0?ttl=1h`, `rediss://` for TLS, `redis+cluster://host:6379` (or `rediss+cluster://`)
    for a cluster, more of its hosts with commas between them. Options of the connection: `RedisCache.driver_options`.
    """

    driver_options: ClassVar[Sequence[str]] = (
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_cert_reqs",
        "client_name",
    )
    _store: RedisStore

    @property
    def connection_options(self) -> dict[str, Any]:
        """What the driver is told besides where the server is. Raises `CacheConfigError`."""
        address, settings = self.address, dict[str, Any](self.driver_settings)
        if address.database and (not address.database.isdecimal() or (int(address.database) > 0 and self._is_cluster)):
            allowed = "A cluster has database 0 only" if self._is_cluster else "Write the number of one, such as /0"
            raise CacheConfigError(f"{address.name!r} names no database of Redis. {allowed}.")
        if len(address.hosts) > 1 and not self._is_cluster:
            raise CacheConfigError(f"{address.name!r} names more than one host. Write redis+cluster:// for a cluster.")
        tls = [name for name in settings if name.startswith("ssl_")]
        if tls and not address.scheme.startswith("rediss"):
            raise CacheConfigError(
                f"{', '.join(tls)} needs TLS. Write rediss{address.scheme.removeprefix('redis')}:// for that."
            )
        if settings.get("ssl_cert_reqs", "required") not in ("none", "optional", "required"):
            raise CacheConfigError(
                f"ssl_cert_reqs={settings['ssl_cert_reqs']!r:.60} is none of none, optional, required."
            )
        return settings

    @property
    def _is_cluster(self) -> bool:
        return self.address.scheme.endswith("+cluster")

    def _open_store(self) -> RedisStore:
        return RedisStore(self)

    def _read(self, digest: bytes) -> Found | None:
        value = self._store.get(self._partition(digest).entry(digest))
        return None if value is None else found(digest, value)

    async def _aread(self, digest: bytes) -> Found | None:
        value = await self._store.get_async(self._partition(digest).entry(digest))
        return None if value is None else found(digest, value)

    def _write(self, entry: StoredEntry) -> None:
        give_up_at = time.monotonic() + self.timeout_s
        self._store.put(self.namespace, self._store_command(entry))
        if self._upkeep_is_due(entry):
            self._keep_up(give_up_at)

    async def _awrite(self, entry: StoredEntry) -> None:
        await self._store.put_async(self.namespace, self._store_command(entry))

    def _store_command(self, entry: StoredEntry) -> Command:
        self._refuse_too_large(entry.size_bytes)
        value = to_value(entry)
        if len(value) > LARGEST_BYTES:
            raise NotCacheableError(
                "too_large", f"the entry has {len(value):,} bytes, and a value of Redis at most {LARGEST_BYTES:,}"
            )
        self._store.uses.forget((self.namespace, entry.digest))
        place = self._partition(entry.digest)
        ends_at = None if entry.pinned else entry.expires_at
        return STORE.call(
            (*place.about, place.entry(entry.digest), place.strings),
            value,
            self._kept_ms(ends_at),
            b"%d" % interned_id(entry.llm_string),
            entry.llm_string.encode(),
            note(entry, ends_at),
            number(entry.created_at),
        )

    def _kept_ms(self, ends_at: float | None) -> bytes:
        """For how many milliseconds Redis keeps an entry that ends then; nothing: for ever."""
        left_s = math.inf if ends_at is None else max(0.0, ends_at - self.clock())
        kept_s = left_s + max(SHORTEST_GRACE_S, GRACE * left_s)
        return b"" if kept_s > LONGEST_S else b"%d" % (kept_s * 1000)

    def _set_aside(self, digest: bytes) -> None:
        place = self._partition(digest)
        value: bytes | None = b""
        try:
            value = self._store.get(place.entry(digest))
            if value is None or generations_from(found(digest, value).answers):
                return  # somebody has stored a new answer meanwhile
        except CorruptEntryError:
            keys = (*place.about, place.entry(digest), place.damaged)
            self._store.one(*SET_ASIDE.call(keys, digest, value or b"", b"%d" % DAMAGED_KEPT))

    def _delete(self, digest: bytes) -> bool:
        return bool(self._store.one(*self._removal(digest)))

    def _delete_many(self, digests: Sequence[bytes]) -> int:
        if len(digests) == 1:
            return int(self._delete(digests[0]))
        return sum(self._store.many([self._removal(digest) for digest in digests]))

    def _removal(self, digest: bytes) -> Command:
        place = self._partition(digest)
        return REMOVE.call((*place.about, place.entry(digest)), digest, b"", b"")

    def _set_expiry(self, digest: bytes, expires_at: float | None) -> bool:
        return self._change(digest, b"", b"never" if expires_at is None else number(expires_at))

    def _set_pinned(self, digest: bytes, *, pinned: bool) -> bool:
        return self._change(digest, b"%d" % pinned, b"")

    def _change(self, digest: bytes, pin: bytes, ends: bytes) -> bool:
        place = self._partition(digest)
        keys = (*place.about, place.entry(digest))
        return bool(self._store.one(*CHANGE.call(keys, digest, pin, ends, number(self.clock()))))

    def _purge(self, now: float) -> int:
        return purge(self._store, self._partitions, now)

    def _clear(self) -> None:
        clear(self._store, self.prefix, self.namespace)

    def _entry(self, digest: bytes) -> CacheEntry | None:
        self._try_to_write_uses()
        self._store.settle([self._partition(digest)])
        try:
            return next((self._whole(entry) for entry in whole_entries(self._store, self._partitions, [digest])), None)
        except CorruptEntryError:
            return None

    def _whole(self, entry: StoredEntry) -> CacheEntry:
        generations = decode(entry.payload)
        key = self._partition(entry.digest).entry(entry.digest).decode()
        shown = entry_row(entry, generations, self.namespace)
        return whole_entry(shown, entry, generations, f"{self.address.name}, key {key}")

    def _rows(self) -> Iterator[Row]:
        self._try_to_write_uses()
        for entry in all_entries(self._store, self._partitions):
            try:
                yield entry_row(entry, decode(entry.payload), self.namespace)
            except CorruptEntryError:
                continue  # a lookup will set it aside; a list only passes it over

    def _page(self, query: Query, now: float) -> EntryPage:
        self._try_to_write_uses()
        return listed(self._store, self._partitions, self.namespace, query, now)

    def _tally(self, query: Query, ages: Sequence[float], now: float) -> Sequence[Tally]:
        return tally(self._store, self._partitions, query, ages, now)

    def _models(self) -> Sequence[str]:
        return models(self._store, self._partitions)

    def _stats(self, now: float) -> StoreStats:
        return stats(self._store, self._partitions, now)

    def _namespaces(self) -> Sequence[str]:
        return namespaces(self._store, self.prefix)

    def _about(self) -> StoreAbout:
        return about(self._store)

    def _write_uses(self) -> None:
        write_uses(self._store, self.prefix)

    def _evict(self) -> int:
        return evict(self._store, self.prefix)

    def _close(self) -> None:
        if not self._store.closed:
            self._write_last_uses()
            self._store.close()

    @property
    def _partitions(self) -> tuple[Partition, ...]:
        return partitions(self.prefix, self.namespace)

    def _partition(self, digest: bytes) -> Partition:
        return partitions(self.prefix, self.namespace)[partition_number(digest)]
