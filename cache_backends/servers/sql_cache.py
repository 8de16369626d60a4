"""`SQLCache`: a cache in tables of a database server, whichever it is."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from cache_backends.browse import Query, Row
from cache_backends.codec import decode
from cache_backends.errors import CorruptEntryError
from cache_backends.fresh_objects import generations_from
from cache_backends.records import CacheEntry, EntryPage, StoreStats, Tally
from cache_backends.servers.server_cache import ServerCache
from cache_backends.servers.sql_rows import decoded, entry_columns, summary
from cache_backends.servers.sql_session import Session, Values
from cache_backends.servers.sql_statements import MOST_DELETED, Dialect, Statements
from cache_backends.servers.sql_store import SQLStore
from cache_backends.storage import Found, StoredEntry
from cache_backends.summaries import entry_row, whole_entry
from cache_backends.table_rows import are_finite, found, interned_id, stored

DAMAGED_KEPT = 100
ROWS_A_TRANSACTION = 200
"""Rows that one transaction changes, so that it holds up nobody for long."""
ROWS_A_STEP = 500
"""Rows that one statement reads or removes of very many."""


class SQLCache(ServerCache):
    """A cache in tables of a database server."""

    dialect: ClassVar[Dialect]
    _store: SQLStore

    @property
    def _statements(self) -> Statements:
        return self._store.statements

    def _read(self, digest: bytes) -> Found | None:
        place = self._place(digest)
        rows = self._store.run(lambda session: session.select(self._statements.read, place))
        return found(digest, rows[0]) if rows else None

    def _write(self, entry: StoredEntry) -> None:
        give_up_at = time.monotonic() + self.timeout_s
        self._write_entry(entry)
        if self._upkeep_is_due(entry):
            self._keep_up(give_up_at)

    def _write_entry(self, entry: StoredEntry) -> None:
        """`_write` without the upkeep."""
        row = self._row_to_write(entry)

        def write(session: Session) -> None:
            for number, text in self._store.known.unknown(self.namespace, entry.llm_string):
                session.change(self._statements.know_text, (number, text.encode()))
            self._write_row(session, row)

        self._store.run_in_turn(entry.digest, write)
        self._store.known.add(self.namespace, entry.llm_string)

    def _write_row(self, session: Session, row: Sequence[Any]) -> None:
        session.change(self._statements.write, row)

    def _row_to_write(self, entry: StoredEntry) -> tuple[Any, ...]:
        """The row of an entry that replaces what was under its key. Raises `NotCacheableError`."""
        self._refuse_too_large(entry.size_bytes)
        self._store.uses.forget((self.namespace, entry.digest))
        return entry_columns(entry, self.namespace)

    def _set_aside(self, digest: bytes) -> None:
        self._store.run(lambda session: self._move_if_damaged(session, digest))

    def _move_if_damaged(self, session: Session, digest: bytes) -> None:
        place, statements = self._place(digest), self._statements
        rows = session.select(statements.read, place)
        try:
            if not rows or generations_from(found(digest, rows[0]).answers):
                return  # somebody has stored a new answer meanwhile
        except CorruptEntryError:
            value = rows[0][0]
        session.change(statements.keep_damaged, (self.clock(), *place, value))
        session.change(statements.delete_damaged, (*place, value))
        for oldest in session.select(statements.oldest_damaged, (DAMAGED_KEPT,)):
            session.change(statements.drop_damaged, oldest)

    def _delete(self, digest: bytes) -> bool:
        return self._changed(self._statements.delete, self._place(digest))

    def _delete_many(self, digests: Sequence[bytes]) -> int:
        if len(digests) == 1:
            return int(self._delete(digests[0]))
        different = sorted(set(digests))  # in one order, else two processes would wait for each other's rows
        portions = [different[start : start + MOST_DELETED] for start in range(0, len(different), MOST_DELETED)]
        return sum(map(self._delete_some, portions))

    def _delete_some(self, digests: list[bytes]) -> int:
        """Remove different entries in this order, at most `MOST_DELETED`; how many of them were there."""
        return self._store.change_many(self._statements.delete, [self._place(digest) for digest in digests])

    def _set_expiry(self, digest: bytes, expires_at: float | None) -> bool:
        return self._changed(self._statements.set_expiry, (expires_at, *self._place(digest)))

    def _set_pinned(self, digest: bytes, *, pinned: bool) -> bool:
        return self._changed(self._statements.set_pinned, (int(pinned), *self._place(digest)))

    def _purge(self, now: float) -> int:
        return self._step_by_step(self._statements.purge_step, now)

    def _clear(self) -> None:
        self._step_by_step(self._statements.clear_step)

    def _entry(self, digest: bytes) -> CacheEntry | None:
        self._try_to_write_uses()
        rows = self._store.run(lambda session: session.select(self._statements.whole, self._place(digest)))
        if not rows:
            return None
        try:
            entry = stored(rows[0])
            generations = decode(entry.payload)
        except CorruptEntryError:
            return None
        location = f"{self.address.name}, table {self.prefix}_entries, digest {entry.key}"
        return whole_entry(entry_row(entry, generations, self.namespace), entry, generations, location)

    def _rows(self) -> Iterator[Row]:
        self._try_to_write_uses()
        last = b""
        while rows := self._select(self._statements.rows, interned_id(self.namespace), last, ROWS_A_STEP):
            last = rows[-1][1]
            for row in rows:
                try:
                    entry = stored(row)
                    generations = decode(entry.payload)
                except CorruptEntryError:
                    continue  # a lookup will set it aside; a list only passes it over
                yield entry_row(entry, generations, self.namespace)

    def _page(self, query: Query, now: float) -> EntryPage:
        self._try_to_write_uses()
        if query.finds_nothing:
            return EntryPage([], None, 0)
        matching, values = self._statements.matches(query, interned_id(self.namespace), now)
        statement, with_place = self._statements.page(query, matching, values)
        rows = self._select(statement, *with_place)
        total = rows[0][-1] if rows else None if query.cursor else 0
        if total is None:
            ((total,),) = self._select(self._statements.total(query, matching), *values)
        return self._page_of(rows, lambda row: summary(row[:-1], self.namespace), query, total)

    def _tally(self, query: Query, ages: Sequence[float], now: float) -> Sequence[Tally]:
        if query.finds_nothing:
            return []
        matching, values = self._statements.matches(query, interned_id(self.namespace), now)
        statement, all_values = self._statements.tally(query, ages, matching, values, now)
        return [
            Tally(None if model is None else decoded(model), bool(expired), age, size, entries, int(size_bytes))
            for model, expired, age, size, entries, size_bytes in self._select(statement, *all_values)
        ]

    def _models(self) -> Sequence[str]:
        rows = self._select(self._statements.models, interned_id(self.namespace))
        return [decoded(model) for (model,) in rows]

    def _stats(self, now: float) -> StoreStats:
        ((entries, size_bytes, expired, oldest, newest),) = self._select(
            self._statements.stats, now, interned_id(self.namespace)
        )
        oldest, newest = (time if are_finite(time) else None for time in (oldest, newest))
        return StoreStats(entries, int(size_bytes), int(expired), oldest, newest)

    def _namespaces(self) -> Sequence[str]:
        return [decoded(name) for (name,) in self._select(self._statements.namespaces)]

    def _write_uses(self) -> None:
        uses = self._store.uses
        while some := uses.take(ROWS_A_TRANSACTION):
            rows = [(count, used_at, interned_id(namespace), digest) for (namespace, digest), count, used_at in some]
            rows.sort(key=lambda row: row[2:])  # in one order, else two processes would wait for each other's rows
            try:
                self._store.change_many(self._statements.note_uses, rows)
            except BaseException:
                uses.put_back(some)
                raise

    def _evict(self) -> int:
        limits = self._store.limits
        ((entries, size_bytes),) = self._select(self._statements.measure)
        evicted = 0
        while entries > limits.max_entries or size_bytes > limits.max_bytes:
            victims = []
            for namespace, digest, used_at, size in self._select(
                self._statements.least_recently_used, ROWS_A_TRANSACTION
            ):
                if entries <= limits.max_entries and size_bytes <= limits.max_bytes:
                    break
                victims.append((namespace, digest, used_at))
                entries, size_bytes = entries - 1, size_bytes - size
            if not victims:
                break  # what is left is pinned
            victims.sort()
            evicted += self._store.change_many(self._statements.evict, victims)
        return evicted

    def _close(self) -> None:
        if not self._store.closed:
            self._write_last_uses()
            self._store.close()

    def _place(self, digest: bytes) -> tuple[int, bytes]:
        return interned_id(self.namespace), digest

    def _changed(self, statement: str, values: Values) -> bool:
        return self._store.run(lambda session: session.change(statement, values)) > 0

    def _select(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._store.select(statement, values)

    def _step_by_step(self, statement: str, *values: Any) -> int:
        """Change the rows of the namespace, some at a time in the order of their digests; how many."""
        changed, last, namespace = 0, b"", interned_id(self.namespace)
        while ends := self._select(self._statements.end_of_step, namespace, last, ROWS_A_STEP):
            (end,) = ends[0]
            step = (namespace, last, end, *values)
            changed += self._store.change(statement, step)
            last = end
        return changed

    @abstractmethod
    def _open_store(self) -> SQLStore:
        """The store, not connected yet."""
