"""`MongoDBCache`: entries in collections of a MongoDB database that machines share."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

from cache_backends.browse import Query, Row
from cache_backends.codec import decode
from cache_backends.errors import CacheConfigError, CorruptEntryError
from cache_backends.records import CacheEntry, EntryPage, StoreAbout, StoreStats, Tally
from cache_backends.servers import mongodb_operations as operations
from cache_backends.servers.counted import tallied
from cache_backends.servers.mongodb_about import about
from cache_backends.servers.mongodb_clients import OPTIONS, with_usual_names
from cache_backends.servers.mongodb_collections import AsyncCollections, Collections
from cache_backends.servers.mongodb_documents import (
    READ,
    WHOLE,
    Document,
    document,
    entry_in,
    found_in,
    place,
    summary_in,
    whole,
)
from cache_backends.servers.mongodb_queries import Condition, matching, of_namespace, over
from cache_backends.servers.mongodb_store import MongoStore
from cache_backends.servers.server_cache import ServerCache
from cache_backends.servers.sql_cache import ROWS_A_STEP, ROWS_A_TRANSACTION
from cache_backends.storage import Found, StoredEntry
from cache_backends.summaries import entry_row, whole_entry
from cache_backends.table_rows import interned_id

NO_DATABASE_NAME = frozenset(' ."$*<>:|?/\\\0')
"""What a database's name has none of, wherever the server runs."""
LAST_KEY = "g"
"""After every key, which are hexadecimal."""


class MongoDBCache(ServerCache):
    """A cache in a MongoDB database, shared by threads, processes and machines.

    `mongodb://user:password@host:27017/database?ttl=1h`; more hosts with commas between them; `mongodb+srv://` for the
    names that Atlas gives. Its collections are made when they are missing. MongoDB's own options (`replicaSet`,
    `authSource`, `tls`, `w` …) may stand in the URL: `MongoDBCache.driver_options`.
    """

    _store: MongoStore
    driver_options: ClassVar[Sequence[str]] = OPTIONS

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(with_usual_names(url), **options)

    def _open_store(self) -> MongoStore:
        name = self.address.database
        if not 1 <= len(name.encode()) < 64 or NO_DATABASE_NAME & set(name):
            raise CacheConfigError(
                f"{self.address.name!r} names no database of MongoDB. "
                "Write mongodb://user:password@host:27017/database, with letters, digits, - and _ in its name."
            )
        return MongoStore(self)

    def _read(self, digest: bytes) -> Found | None:
        where = self._where(digest)
        read = self._store.run(lambda collections: collections.entries.find_one(where, READ))
        return None if read is None else found_in(digest, read)

    async def _aread(self, digest: bytes) -> Found | None:
        where = self._where(digest)
        read = await self._store.run_async(lambda collections: collections.entries.find_one(where, READ))
        return None if read is None else found_in(digest, read)

    def _write(self, entry: StoredEntry) -> None:
        give_up_at = time.monotonic() + self.timeout_s
        where, fields = self._document_to_write(entry)

        def write(collections: Collections) -> None:
            for number, text in self._store.known.unknown(self.namespace, entry.llm_string):
                collections.texts.update_one({"_id": number}, {"$set": {"content": text}}, upsert=True)
            collections.entries.update_one(where, {"$set": fields}, upsert=True)

        self._store.run(write)
        self._store.known.add(self.namespace, entry.llm_string)
        if fields["remove_at"] is not None:
            self._store.ask_for_removal(give_up_at)
        if self._upkeep_is_due(entry):
            self._keep_up(give_up_at)

    async def _awrite(self, entry: StoredEntry) -> None:
        where, fields = self._document_to_write(entry)

        async def write(collections: AsyncCollections) -> None:
            for number, text in self._store.known.unknown(self.namespace, entry.llm_string):
                await collections.texts.update_one({"_id": number}, {"$set": {"content": text}}, upsert=True)
            await collections.entries.update_one(where, {"$set": fields}, upsert=True)

        await self._store.run_async(write)
        self._store.known.add(self.namespace, entry.llm_string)
        if fields["remove_at"] is not None and not self._store.removal_is_asked_for:
            await asyncio.to_thread(self._store.ask_for_removal)

    def _document_to_write(self, entry: StoredEntry) -> tuple[Condition, Document]:
        """Where an entry goes, and its fields, which replace what is there. Raises `NotCacheableError`."""
        self._refuse_too_large(entry.size_bytes)
        fields = document(entry, self.namespace, self.clock())
        self._store.uses.forget((self.namespace, entry.digest))
        return self._where(entry.digest), fields

    def _set_aside(self, digest: bytes) -> None:
        now = self.clock()
        self._store.run(lambda collections: operations.move_if_damaged(collections, self._where(digest), digest, now))

    def _delete(self, digest: bytes) -> bool:
        where = self._where(digest)
        return self._store.run(lambda collections: collections.counted.delete_one(where).deleted_count) > 0

    def _delete_many(self, digests: Sequence[bytes]) -> int:
        if len(digests) == 1:
            return int(self._delete(digests[0]))
        places = list({self._where(digest)["_id"] for digest in digests})
        portions = [places[start : start + ROWS_A_STEP] for start in range(0, len(places), ROWS_A_STEP)]
        return sum(
            self._store.run_patiently(partial(operations.remove, condition={"_id": {"$in": portion}}))
            for portion in portions
        )

    def _set_expiry(self, digest: bytes, expires_at: float | None) -> bool:
        now, where = self.clock(), self._where(digest)
        was_there = self._store.run(lambda collections: operations.set_expiry(collections, where, expires_at, now))
        if was_there and expires_at is not None:
            self._store.ask_for_removal()
        return was_there

    def _set_pinned(self, digest: bytes, *, pinned: bool) -> bool:
        now, where, change = self.clock(), self._where(digest), operations.pin if pinned else operations.let_go
        return self._store.run(lambda collections: change(collections, where, now))

    def _purge(self, now: float) -> int:
        return self._step_by_step(over(now))

    def _clear(self) -> None:
        self._step_by_step({})

    def _entry(self, digest: bytes) -> CacheEntry | None:
        self._try_to_write_uses()
        where = self._where(digest)
        location = f"{self.address.name}, collection {self.prefix}_entries, _id {where['_id']}"
        for entry, row in self._store.run(
            lambda collections: self._rows_in(collections, list(collections.counted.find(where, WHOLE, limit=1)))
        ):
            return whole_entry(row, entry, decode(entry.payload), location)
        return None

    def _rows(self) -> Iterator[Row]:
        self._try_to_write_uses()
        for step in self._steps({}, WHOLE):
            for _, row in self._store.run_patiently(partial(self._rows_in, found=step)):
                yield row

    def _rows_in(self, collections: Collections, found: Sequence[Document]) -> list[tuple[StoredEntry, Row]]:
        """The entries in documents, and what a list shows of them; a lookup sets aside what is damaged."""
        rows = []
        for read, llm_string in operations.with_texts(collections, found):
            with contextlib.suppress(CorruptEntryError):
                entry = entry_in(read, llm_string)
                rows.append((entry, entry_row(entry, decode(entry.payload), self.namespace)))
        return rows

    def _page(self, query: Query, now: float) -> EntryPage:
        self._try_to_write_uses()
        if query.finds_nothing:
            return EntryPage([], None, 0)
        matches = matching(query, interned_id(self.namespace), now)
        found, total = self._store.run_patiently(lambda collections: operations.page(collections, query, matches))
        return self._page_of(found, lambda read: summary_in(read, self.namespace), query, total)

    def _tally(self, query: Query, ages: Sequence[float], now: float) -> Sequence[Tally]:
        if query.finds_nothing:
            return []
        matches = matching(query, interned_id(self.namespace), now)
        return self._store.run_patiently(
            lambda collections: tallied(operations.counted(collections, matches, now, query.progress), ages)
        )

    def _models(self) -> Sequence[str]:
        here = of_namespace(interned_id(self.namespace))
        models = self._store.run_patiently(lambda collections: collections.counted.distinct("model", here))
        return [model for model in models if isinstance(model, str)]

    def _stats(self, now: float) -> StoreStats:
        here = of_namespace(interned_id(self.namespace))
        return self._store.run_patiently(lambda collections: operations.stats(collections, here, now))

    def _namespaces(self) -> Sequence[str]:
        return self._store.run_patiently(operations.namespaces)

    def _write_uses(self) -> None:
        uses = self._store.uses
        while some := uses.take(ROWS_A_TRANSACTION):
            noted = [
                (place(interned_id(namespace), digest.hex()), count, used_at)
                for (namespace, digest), count, used_at in some
            ]
            try:
                self._store.run_patiently(partial(operations.note_uses, uses=noted))
            except BaseException:
                uses.put_back(some)
                raise

    def _evict(self) -> int:
        limits = self._store.limits
        entries, size_bytes = self._store.run_patiently(operations.measured)
        evicted = 0
        while entries > limits.max_entries or size_bytes > limits.max_bytes:
            victims = []
            for read in self._store.run_patiently(partial(operations.least_recently_used, most=ROWS_A_TRANSACTION)):
                if entries <= limits.max_entries and size_bytes <= limits.max_bytes:
                    break
                victims.append(read)
                entries, size_bytes = entries - 1, size_bytes - whole(read.get("size_bytes"))
            if not victims:
                break  # what is left is pinned
            evicted += self._store.run_patiently(partial(operations.evict, victims=victims))
        return evicted

    def _about(self) -> StoreAbout:
        return self._store.run(lambda collections: about(collections.entries.database))

    def _close(self) -> None:
        if not self._store.closed:
            self._write_last_uses()
            self._store.close()

    def _where(self, digest: bytes) -> dict[str, str]:
        return {"_id": place(interned_id(self.namespace), digest.hex())}

    def _step_by_step(self, condition: Condition) -> int:
        """Remove the entries of the namespace that meet a condition, some at a time; how many."""
        removed = 0
        for step in self._steps(condition, {"_id": 1}):
            these = {"_id": {"$in": [read["_id"] for read in step]}} | condition
            removed += self._store.run_patiently(partial(operations.remove, condition=these))
        return removed

    def _steps(self, condition: Condition, fields: dict[str, int]) -> Iterator[list[Document]]:
        """The documents of the namespace that meet a condition, some at a time in the order of their `_id`."""
        number = interned_id(self.namespace)
        after, end = place(number, ""), place(number, LAST_KEY)
        read = partial(operations.step, condition=condition, fields=fields, end=end, most=ROWS_A_STEP)
        while step := self._store.run_patiently(partial(read, after=after)):
            yield step
            after = f"{step[-1]['_id']}\0"  # the least text that is greater
