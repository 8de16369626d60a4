"""`SQLiteCache`: entries in one SQLite file that threads and processes share."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from cache_backends.base import CacheBackend
from cache_backends.browse import Progress, Row
from cache_backends.browse_index import BrowseIndex, IndexBeside
from cache_backends.codec import decode
from cache_backends.errors import CacheError, CacheUnavailableError, CorruptEntryError
from cache_backends.fresh_objects import generations_from
from cache_backends.indexed import IndexedBrowsing
from cache_backends.limits import Limits
from cache_backends.records import CacheEntry, EntrySummary, StoreAbout, StoreStats
from cache_backends.sqlite_file import SQLiteFile
from cache_backends.sqlite_index import update_index
from cache_backends.sqlite_rows import READ, SCHEMA, STATS, WHOLE, new_entry
from cache_backends.sqlite_upkeep import change_lifetime, clear, evict, newest_use, purge, remove, write_uses
from cache_backends.sqlite_writer import write
from cache_backends.storage import Found, StoredEntry
from cache_backends.summaries import entry_row, whole_entry
from cache_backends.table_rows import are_finite, found, interned_id, stored
from cache_backends.uses import UnwrittenUses

logger = logging.getLogger("cache_backends")

DAMAGED_KEPT = 100
ROWS_AT_A_TIME = 500
"""Rows one read transaction of a scan takes, so that it never holds the write-ahead log back for long."""


class SQLiteStore:
    """What the views of one SQLite cache share: the file, its limits, and uses not yet written."""

    def __init__(self, path: Path, max_entries: int | None, max_bytes: int | None) -> None:
        file = self.file = SQLiteFile(path, SCHEMA)
        self.uses: UnwrittenUses[tuple[str, bytes]] = UnwrittenUses()
        self.limits = Limits(max_entries, max_bytes, lambda: newest_use(file))  # no cycle: who drops it closes it
        self.index = IndexBeside(path.with_name(f"{path.name}.browse"), str(path))

    def close(self) -> None:
        """Close the file, and the index if there is one."""
        self.file.close()
        self.index.close()


class SQLiteCache(IndexedBrowsing, CacheBackend):
    """A cache in one SQLite file (write-ahead log, `synchronous=NORMAL`), shared by threads and processes.

    >>> import tempfile
    >>> from langchain_core.outputs import Generation
    >>> with SQLiteCache(tempfile.mkdtemp() + "/cache.db", ttl="1h") as cache:
    ...     cache.update("Who was Carl Sagan?", "model=demo", [Generation(text="An astronomer.")])
    ...     cache.lookup("Who was Carl Sagan?", "model=demo")[0].text
    'An astronomer.'
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        super().__init__(**options)
        self.path = Path(path).absolute()
        self._store = SQLiteStore(self.path, self.max_entries, self.max_bytes)

    @property
    def notices(self) -> tuple[str, ...]:
        """Damage that was found in this process, and what was done about it."""
        return tuple(self._store.file.notices)

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value for name, value in self.__dict__.items() if name not in ("_store", "_identity", "_asked_at")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _identity=object(), _asked_at={}, _is_view=False)
        self._store = SQLiteStore(self.path, self.max_entries, self.max_bytes)

    def _read(self, digest: bytes) -> Found | None:
        try:
            row = self._store.file.row(READ, (interned_id(self.namespace), digest))
        except UnicodeDecodeError as error:
            raise CorruptEntryError("a column holds text that is not UTF-8") from error
        return None if row is None else found(digest, row)

    def _write(self, entry: StoredEntry) -> None:
        self._refuse_too_large(entry.size_bytes)
        store = self._store
        store.uses.forget((self.namespace, entry.digest))
        write(store.file, new_entry(entry, self.namespace))
        if store.uses.are_many():
            self._flush_uses()
        if store.limits.exist and store.limits.are_due(entry.size_bytes):
            self._flush_uses()  # what was used least recently is known only then
            self.counters.count_evictions(evict(store.file, store.limits))

    def _use_at(self, now: float) -> float:
        return self._store.limits.use_at(now)

    def _record_use(self, digest: bytes, now: float) -> None:
        self._store.uses.note((self.namespace, digest), self._store.limits.use_at(now))

    def _set_aside(self, digest: bytes) -> None:
        place = self._place(digest)
        with self._store.file.transaction() as connection:
            with contextlib.suppress(CorruptEntryError, UnicodeDecodeError):
                row = connection.execute(READ, place).fetchone()
                if row is None or generations_from(found(digest, row).answers):
                    return  # somebody has stored a new answer meanwhile
            connection.execute(
                "insert into damaged (namespace, key, found_at, value) "
                "select namespace, key, ?, value from entries where namespace = ? and key = ?",
                (self.clock(), *place),
            )
            connection.execute("delete from entries where namespace = ? and key = ?", place)
            connection.execute("delete from damaged where id <= (select max(id) from damaged) - ?", (DAMAGED_KEPT,))

    def _delete(self, digest: bytes) -> bool:
        return self._changed("delete from entries where namespace = ? and key = ?", self._place(digest))

    def _delete_many(self, digests: Sequence[bytes]) -> int:
        return remove(self._store.file, interned_id(self.namespace), digests)

    def _set_expiry(self, digest: bytes, expires_at: float | None) -> bool:
        return change_lifetime(self._store.file, self._place(digest), lambda _, pinned: (expires_at, pinned))

    def _set_pinned(self, digest: bytes, *, pinned: bool) -> bool:
        return change_lifetime(self._store.file, self._place(digest), lambda expires_at, _: (expires_at, pinned))

    def _purge(self, now: float) -> int:
        return purge(self._store.file, interned_id(self.namespace), now)

    def _clear(self) -> None:
        clear(self._store.file, interned_id(self.namespace))

    def _entry(self, digest: bytes) -> CacheEntry | None:
        self._flush_uses()
        for row in self._select(f"{WHOLE} where namespace = ? and key = ?", digest):
            try:
                entry = stored(row)
                generations = decode(entry.payload)
            except CorruptEntryError:
                return None
            shown = entry_row(entry, generations, self.namespace)
            return whole_entry(shown, entry, generations, f"{self.path}, table entries, row with key x'{entry.key}'")
        return None

    def _entries(self, digests: Sequence[bytes]) -> list[CacheEntry]:
        self._flush_uses()
        rows = self._select(
            f"{WHOLE} where namespace = ? and key in (select unhex(value) from json_each(?))",  # noqa: S608  # constants
            json.dumps([digest.hex() for digest in digests]),
        )
        entries: dict[str, CacheEntry] = {}
        while rows:
            row = rows.pop()  # so that no more than one entry is in memory twice
            with contextlib.suppress(CorruptEntryError):
                entry = stored(row)
                generations = decode(entry.payload)
                shown = entry_row(entry, generations, self.namespace)
                location = f"{self.path}, table entries, row with key x'{entry.key}'"
                entries[entry.key] = whole_entry(shown, entry, generations, location)
        return [entries[key] for key in map(bytes.hex, digests) if key in entries]

    def _rows(self) -> Iterator[Row]:
        self._flush_uses()
        last_id = 0
        while rows := self._select(
            # "+" keeps SQLite from sorting all rows of the namespace for every page: ids are in order already
            f"{WHOLE} where +namespace = ? and entries.id > ? order by entries.id limit ?",
            last_id,
            ROWS_AT_A_TIME,
        ):
            last_id = rows[-1][0]
            for row in rows:
                try:
                    entry = stored(row)
                    generations = decode(entry.payload)
                except CorruptEntryError:
                    continue  # a lookup will set it aside; a list only passes it over
                yield entry_row(entry, generations, self.namespace)

    def _browse_index(self) -> BrowseIndex:
        return self._store.index.get()

    def _update_index(self, index: BrowseIndex, progress: Progress, *, only_new: bool) -> None:
        self._flush_uses()
        update_index(index, self._store.file, progress, only_new=only_new)

    def _summaries(self, digests: Sequence[bytes]) -> Sequence[EntrySummary]:
        shown = []
        with self._store.file.connection() as connection:
            rows = [
                connection.execute(f"{WHOLE} where namespace = ? and key = ?", self._place(digest)).fetchone()
                for digest in digests
            ]
        for row in rows:
            with contextlib.suppress(CorruptEntryError):
                if row is not None:
                    entry = stored(row)
                    shown.append(entry_row(entry, decode(entry.payload), self.namespace).summary)
        return shown

    def _stats(self, now: float) -> StoreStats:
        with self._store.file.connection() as connection:
            entries, size_bytes, expired, oldest, newest = connection.execute(
                STATS, (now, interned_id(self.namespace))
            ).get
        oldest, newest = (time if are_finite(time) else None for time in (oldest, newest))
        return StoreStats(entries, int(size_bytes), int(expired), oldest, newest)

    def _namespaces(self) -> Sequence[str]:
        with self._store.file.connection() as connection:
            names = connection.execute(
                "select cast(name as blob) from namespaces "
                "where exists (select 1 from entries where entries.namespace = namespaces.id)"
            )
            return [name.decode("utf-8", "replace") for (name,) in names]

    def _about(self) -> StoreAbout:
        return StoreAbout("SQLite", apsw.sqlite_lib_version(), "disk", "journal_mode=WAL, synchronous=NORMAL")

    def _close(self) -> None:
        if not self._store.file.is_closed:
            with contextlib.suppress(CacheError):  # uses may be lost; a locked file must not keep a program from ending
                self._flush_uses()
            self._store.close()

    def _place(self, digest: bytes) -> tuple[int, bytes]:
        return interned_id(self.namespace), digest

    def _changed(self, statement: str, row: tuple[Any, ...]) -> bool:
        with self._store.file.writing() as connection:
            connection.execute(statement, row)
            return connection.changes() > 0

    def _select(self, query: str, *bindings: Any) -> list[tuple[Any, ...]]:
        with self._store.file.connection() as connection:
            return list(connection.execute(query, (interned_id(self.namespace), *bindings)))

    def flush(self) -> None:
        """Write the uses that are only noted in memory so far."""
        self._flush_uses()

    def _flush_uses(self) -> None:
        """Write uses before entries are shown; whoever can't write may still read."""
        try:
            write_uses(self._store.file, self._store.uses)
        except CacheUnavailableError as error:
            logger.warning("when entries were used could not be written: %s", error)
