"""Keeping a `SQLiteCache` in order, in small transactions: writing uses, evicting, removing what has expired."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from cache_backends.limits import Limits
from cache_backends.sqlite_file import SQLiteFile
from cache_backends.sqlite_rows import (
    DROP_EXPIRED,
    EVICT,
    INDEX_BY_USE,
    LEAST_RECENTLY_USED,
    LIFETIME,
    MEASURE,
    MOVE_DETAILS,
    MOVE_ENTRY,
    NEWEST_USE,
    NOTE_USES,
    next_id,
)
from cache_backends.table_rows import interned_id
from cache_backends.uses import UnwrittenUses

LOOK_UP_TO = "select max(id) from (select id from entries where id > ? order by id limit ?)"
Row = tuple[Any, ...]
T = TypeVar("T")
ROWS_A_TRANSACTION = 200
"""Rows that one transaction changes, so that another writer waits for a few milliseconds at most."""
CLEARED_AT_ONCE = 5_000
"""More entries are not cleared in one transaction: another writer would have to wait for a tenth of a second."""
ROWS_A_LOOK = 5_000
"""Rows of a table that one read looks at, so that it never holds the write-ahead log back for long."""


def write_uses(file: SQLiteFile, uses: UnwrittenUses[tuple[str, bytes]]) -> None:
    """Write all uses that are noted so far."""
    while some := uses.take(ROWS_A_TRANSACTION):
        try:
            with file.transaction() as connection:
                connection.executemany(
                    NOTE_USES,
                    [(count, used_at, interned_id(namespace), digest) for (namespace, digest), count, used_at in some],
                )
        except BaseException:
            uses.put_back(some)
            raise


def newest_use(file: SQLiteFile) -> float | None:
    """The Unix time of the newest use, None where there is none."""
    newest = file.row(NEWEST_USE, ())
    return newest if isinstance(newest, float) else None


def evict(file: SQLiteFile, limits: Limits) -> int:
    """Remove the least recently used entries that are not pinned, until both limits are kept; how many."""
    with limits.evicting:
        return _evict(file, limits)


def _evict(file: SQLiteFile, limits: Limits) -> int:
    with file.transaction() as connection:
        connection.execute(INDEX_BY_USE)
    entries, size_bytes = file.row(MEASURE, ())
    evicted = 0
    while entries > limits.max_entries or size_bytes > limits.max_bytes:
        with file.connection() as connection:
            oldest = list(connection.execute(LEAST_RECENTLY_USED, (ROWS_A_TRANSACTION,)))
        victims = []
        for row_id, last_used_at, size in oldest:
            if entries <= limits.max_entries and size_bytes <= limits.max_bytes:
                break
            victims.append((row_id, last_used_at))
            entries, size_bytes = entries - 1, size_bytes - size
        if not victims:
            break  # what is left is pinned
        evicted += _delete(file, EVICT, victims)
    return evicted


Lifetime = tuple[float | None, bool]
"""When an entry expires, and whether it is pinned."""


def change_lifetime(
    file: SQLiteFile, place: tuple[int, bytes], change: Callable[[float | None, bool], Lifetime]
) -> bool:
    """Change how long an entry lives, under a new id; whether it was there."""
    with file.transaction() as connection:
        row = connection.execute(LIFETIME, place).fetchone()
        if row is None:
            return False
        row_id, expires_at, pinned = row
        connection.execute(MOVE_ENTRY, (next_id(), *change(expires_at, pinned), row_id))
        connection.execute(MOVE_DETAILS, (row_id,))
        return True


def remove(file: SQLiteFile, namespace_id: int, digests: Sequence[bytes]) -> int:
    """Remove entries of a namespace; how many of them were there."""
    statement = "delete from entries where namespace = ? and key = ?"
    return sum(_delete(file, statement, [(namespace_id, digest) for digest in some]) for some in _in_steps(digests))


def purge(file: SQLiteFile, namespace_id: int, now: float) -> int:
    """Remove the entries of a namespace that have expired at the Unix time `now`; how many."""
    purged, last = 0, 0
    while newest := file.row(LOOK_UP_TO, (last, ROWS_A_LOOK)):  # ids may lie far apart
        first, last = last + 1, newest
        with file.connection() as connection:
            expired = list(
                connection.execute(
                    "select id from entries where id between ? and ? and +namespace = ? and expires_at <= ? "
                    "and not pinned",
                    (first, last, namespace_id, now),
                )
            )
        for some in _in_steps(expired):
            purged += _delete(file, DROP_EXPIRED, [(row_id, namespace_id, now) for (row_id,) in some])
    return purged


def clear(file: SQLiteFile, namespace_id: int) -> None:
    """Remove all entries of a namespace: in one transaction where they are few, else in several."""
    newest = file.row("select max(id) from entries", ()) or 0
    removed = CLEARED_AT_ONCE
    while removed == CLEARED_AT_ONCE:
        with file.transaction() as connection:
            connection.execute(
                "delete from entries where id in (select id from entries where namespace = ? and id <= ? limit ?)",
                (namespace_id, newest, CLEARED_AT_ONCE),
            )
            removed = connection.changes()


def _in_steps(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    return (rows[first : first + ROWS_A_TRANSACTION] for first in range(0, len(rows), ROWS_A_TRANSACTION))


def _delete(file: SQLiteFile, statement: str, bindings: Sequence[tuple[float | bytes, ...]]) -> int:
    with file.transaction() as connection:
        removed = 0
        for row in bindings:
            connection.execute(statement, row)
            removed += connection.changes()
        return removed
