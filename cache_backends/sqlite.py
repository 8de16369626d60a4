"""`SQLiteCache`: entries in one SQLite file that threads and processes share."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from cache_backends.base import CacheBackend, Found, StoredEntry
from cache_backends.browse import Row
from cache_backends.codec import decode, seal
from cache_backends.errors import CacheError, CacheUnavailableError, CorruptEntryError
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.readable import single_message
from cache_backends.records import CacheEntry
from cache_backends.sqlite_file import SQLiteFile
from cache_backends.sqlite_rows import READ, SCHEMA, WHOLE, WRITE, interned_id, parsed, stored
from cache_backends.summaries import entry_row, whole_entry

logger = logging.getLogger("cache_backends")

MAX_UNWRITTEN_USES = 100_000
"""Entries whose use may wait to be written; more uses are then not recorded until the next store."""
LIMIT_CHECKS = 100
"""`max_entries` is checked every `max_entries / LIMIT_CHECKS` stores: counting costs more than storing."""
DAMAGED_KEPT = 100
ROWS_AT_A_TIME = 500
"""Rows one read transaction of a scan takes, so that it never holds the write-ahead log back for long."""


class SQLiteStore(Forkable):
    """What the views of one SQLite cache share: the file, and uses not yet written."""

    def __init__(self, path: Path) -> None:
        self.file = SQLiteFile(path, SCHEMA)
        self.unwritten_uses: dict[tuple[str, str], tuple[int, float]] = {}
        self.lock = threading.Lock()
        self.stores_since_check: float = math.inf  # a process that stores little must check too
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """What was not written yet, the parent writes."""
        self.lock = threading.Lock()
        self.unwritten_uses = {}

    def take_uses(self) -> dict[tuple[str, str], tuple[int, float]]:
        """The uses to write now; they count as written."""
        with self.lock:
            uses, self.unwritten_uses = self.unwritten_uses, {}
        return uses


class SQLiteCache(CacheBackend):
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
        self._store = SQLiteStore(self.path)

    @property
    def notices(self) -> tuple[str, ...]:
        """Damage that was found in this process, and what was done about it."""
        return tuple(self._store.file.notices)

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value for name, value in self.__dict__.items() if name not in ("_store", "_identity", "_asked_at")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _identity=object(), _asked_at={}, _is_view=False, _store=SQLiteStore(state["path"]))

    def _read(self, key: str) -> Found | None:
        with self._store.file.connection() as connection:
            try:
                row = connection.execute(READ, (interned_id(self.namespace), bytes.fromhex(key))).fetchone()
            except UnicodeDecodeError as error:
                raise CorruptEntryError("a column holds text that is not UTF-8") from error
        if row is None:
            return None
        value, created_at, expires_at, model_time_s = row
        if not (
            type(value) is bytes
            and type(created_at) is float
            and (expires_at is None or type(expires_at) is float)
            and (model_time_s is None or type(model_time_s) is float)
        ):
            raise CorruptEntryError("a column holds the wrong type")  # nothing guards these columns but their types
        if not math.isfinite(created_at):
            raise CorruptEntryError("the time of storing is not a time")
        return Found(parsed(key, value), created_at, expires_at, model_time_s)

    def _write(self, entry: StoredEntry) -> None:
        text = single_message(entry.raw_prompt)
        with self._store.file.transaction() as connection:
            self._write_uses(connection)
            namespace_id, llm_string_id = interned_id(self.namespace), interned_id(entry.llm_string)
            connection.execute("insert or ignore into namespaces values (?, ?)", (namespace_id, self.namespace))
            connection.execute("insert or ignore into llm_strings values (?, ?)", (llm_string_id, entry.llm_string))
            connection.execute(
                WRITE,
                (
                    namespace_id,
                    bytes.fromhex(entry.key),
                    entry.created_at,
                    entry.expires_at,
                    entry.model_time_s,
                    entry.model,
                    llm_string_id,
                    text is not None,
                    entry.raw_prompt if text is None else text,
                    seal(entry.key, entry.payload),
                ),
            )
            self._keep_within_limit(connection)

    def _record_use(self, key: str, now: float) -> None:
        store = self._store
        with store.lock:
            uses, _ = store.unwritten_uses.get((self.namespace, key), (0, now))
            if uses or len(store.unwritten_uses) < MAX_UNWRITTEN_USES:
                store.unwritten_uses[self.namespace, key] = (uses + 1, now)

    def _set_aside(self, key: str) -> None:
        place = (interned_id(self.namespace), bytes.fromhex(key))
        with self._store.file.transaction() as connection:
            connection.execute(
                "insert into damaged (namespace, key, found_at, value) "
                "select namespace, key, ?, value from entries where namespace = ? and key = ?",
                (self.clock(), *place),
            )
            connection.execute("delete from entries where namespace = ? and key = ?", place)
            connection.execute("delete from damaged where id <= (select max(id) from damaged) - ?", (DAMAGED_KEPT,))

    def _delete(self, key: str) -> bool:
        place = (interned_id(self.namespace), bytes.fromhex(key))
        with self._store.file.transaction() as connection:
            connection.execute("delete from entries where namespace = ? and key = ?", place)
            return connection.changes() > 0

    def _clear(self) -> None:
        with self._store.file.transaction() as connection:
            connection.execute("delete from entries where namespace = ?", (interned_id(self.namespace),))

    def _entry(self, key: str) -> CacheEntry | None:
        self._flush_uses()
        rows = self._select(f"{WHOLE} where namespace = ? and key = ?", bytes.fromhex(key))
        for row in rows:
            try:
                entry, last_used_at, hits = stored(row)
                generations = decode(entry.payload)
            except CorruptEntryError:
                return None
            shown = entry_row(entry, generations, namespace=self.namespace, last_used_at=last_used_at, hits=hits)
            return whole_entry(shown, entry, generations, f"{self.path}, table entries, row {row[0]}")
        return None

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
                    entry, last_used_at, hits = stored(row)
                    generations = decode(entry.payload)
                except CorruptEntryError:
                    continue  # a lookup will set it aside; a list only passes it over
                yield entry_row(entry, generations, namespace=self.namespace, last_used_at=last_used_at, hits=hits)

    def _namespaces(self) -> Sequence[str]:
        with self._store.file.connection() as connection:
            names = connection.execute(
                "select cast(name as blob) from namespaces "
                "where exists (select 1 from entries where entries.namespace = namespaces.id)"
            )
            return [name.decode("utf-8", "replace") for (name,) in names]

    def _close(self) -> None:
        if not self._store.file.is_closed:
            with contextlib.suppress(CacheError):  # uses may be lost; a locked file must not keep a program from ending
                self._flush_uses()
            self._store.file.close()

    def _select(self, query: str, *bindings: Any) -> list[tuple[Any, ...]]:
        with self._store.file.connection() as connection:
            return list(connection.execute(query, (interned_id(self.namespace), *bindings)))

    def flush(self) -> None:
        """Write the uses that are only noted in memory so far."""
        self._flush_uses()

    def _flush_uses(self) -> None:
        """Write uses before entries are shown; whoever can't write may still read."""
        if self._store.unwritten_uses:
            try:
                with self._store.file.transaction() as connection:
                    self._write_uses(connection)
            except CacheUnavailableError as error:
                logger.warning("when entries were used could not be written: %s", error)

    def _write_uses(self, connection: apsw.Connection) -> None:
        for (namespace, key), (uses, used_at) in self._store.take_uses().items():
            connection.execute(
                "update entries set hits = hits + ?, last_used_at = max(last_used_at, ?) "
                "where namespace = ? and key = ?",
                (uses, used_at, interned_id(namespace), bytes.fromhex(key)),
            )

    def _keep_within_limit(self, connection: apsw.Connection) -> None:
        if self.max_entries is None:
            return
        self._store.stores_since_check += 1
        if self._store.stores_since_check < self.max_entries / LIMIT_CHECKS:
            return
        self._store.stores_since_check = 0
        too_many = connection.execute("select count(*) from entries").get - self.max_entries
        if too_many > 0:
            connection.execute(
                "delete from entries where id in (select id from entries order by last_used_at, id limit ?)",
                (too_many,),
            )
            self.counters.count_evictions(too_many)
