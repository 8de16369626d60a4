"""Bringing the index for browsing of a `SQLiteCache` up to date.

An id is given once and never again, and whatever is written gets a greater one than all before. So what is new has an
id above the greatest that was looked at; and of what was looked at before, entries can only have gone or been used,
which the numbers of entries, hits and bytes in a range of ids tell.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cache_backends.browse import Progress
from cache_backends.browse_index import BrowseIndex, Changes, Indexed
from cache_backends.codec import text_of
from cache_backends.errors import CorruptEntryError
from cache_backends.readable import readable_prompt
from cache_backends.sqlite_file import Connection, SQLiteFile
from cache_backends.sqlite_rows import WHOLE_OF_ALL
from cache_backends.table_rows import stored

AT_A_TIME = 500
"""Entries that one transaction puts into the index."""
COMPARED_AT_A_TIME = 5_000
"""Entries of which one read transaction of the store is told only the numbers."""
STILL_NS = 100_000_000
"""So long ago a file must have been changed to be known by the time of it: clocks of file systems tick every 4 ms."""

_NUMBERS = "select count(*), total(hits), total(size_bytes) from {} where id > ? and id <= ?"
_EACH = "select id, hits, size_bytes, last_used_at from {} where id > ? and id <= ?"


class _Uses(NamedTuple):
    hits: int
    size_bytes: int
    last_used_at: float


def update_index(index: BrowseIndex, store: SQLiteFile, progress: Progress) -> None:
    """Put into the index what the store has anew, and take out what it has no more. Raises `CacheError`."""
    now = _look(store.path)
    if now is not None and now == index.seen:
        return
    index.seen = None
    _put_new(index, store, progress)
    _compare(index, store)
    index.seen = now


def _look(path: Path) -> object:
    """What tells whether the store was changed since; None where it was changed just now, so that it can't be told."""
    seen = []
    for name in (path, f"{path}-wal"):
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(name)
            if time.time_ns() - status.st_mtime_ns < STILL_NS:
                return None
            seen.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return seen


def _put_new(index: BrowseIndex, store: SQLiteFile, progress: Progress) -> None:
    entries = store.row("select count(*) from entries", ())
    while True:
        with index.changing() as changes:
            last, listed = _restarted(changes)
            following = _following(store, last)
            if not following.ids:
                progress(listed, listed)
                return
            _put(changes, following)
            changes.watermark = following.ids[-1][0]
        done = listed + len(following.ids)
        progress(done, max(done, entries))


def _restarted(changes: Changes) -> tuple[int, int]:
    """The greatest id that was looked at, and how many entries are listed; an empty index begins anew."""
    listed = changes.connection.execute("select coalesce(sum(entries), 0) from tallies").get
    return changes.watermark if listed else 0, listed


class _Read(NamedTuple):
    """Entries of the store as one transaction sees them."""

    ids: Sequence[tuple[Any, ...]]
    """Each id with its hits, bytes and last use, whether the entry can be read or not."""
    rows: Sequence[tuple[Any, ...]]


def _following(store: SQLiteFile, last: int) -> _Read:
    with _reading(store) as connection:
        ids = list(
            connection.execute(
                "select id, hits, size_bytes, last_used_at from details where id > ? order by id limit ?",
                (last, AT_A_TIME),
            )
        )
        if not ids:
            return _Read(ids, [])
        where = "where entries.id > ? and entries.id <= ? order by entries.id"
        return _Read(ids, list(connection.execute(f"{WHOLE_OF_ALL} {where}", (last, ids[-1][0]))))


def _these(store: SQLiteFile, ids: Sequence[int]) -> _Read:
    with _reading(store) as connection:
        known: list[tuple[Any, ...]] = []
        rows: list[tuple[Any, ...]] = []
        for row_id in ids:
            known += connection.execute(
                "select id, hits, size_bytes, last_used_at from details where id = ?", (row_id,)
            )
            rows += connection.execute(f"{WHOLE_OF_ALL} where entries.id = ?", (row_id,))
        return _Read(known, rows)


def _put(changes: Changes, read: _Read) -> None:
    readable = []
    for namespace_id, *row in read.rows:
        with contextlib.suppress(CorruptEntryError):  # a lookup will set it aside; a list only passes it over
            entry = stored(tuple(row))
            text = f"{readable_prompt(entry.raw_prompt)}\n{text_of(entry.payload)}"
            readable.append(Indexed(row[0], namespace_id, entry, text))
    changes.put(readable)
    left = {row[0]: row for row in read.ids}
    for one in readable:
        left.pop(one.id, None)
    changes.put_unreadable((row_id, _whole(hits), _whole(size)) for row_id, hits, size, _ in left.values())


def _compare(index: BrowseIndex, store: SQLiteFile) -> None:
    """Find the ranges of ids in which something has gone, or was used, and mend those."""
    first = 0
    while True:
        with index.file.connection() as connection:
            last = connection.execute(
                "select max(id) from (select id from listed where id > ? order by id limit ?)",
                (first, COMPARED_AT_A_TIME),
            ).get
            last = last or connection.execute("select watermark from about").get
            listed = connection.execute(_NUMBERS.format("listed"), (first, last)).fetchone()
        if last <= first:
            return
        if listed != store.row(_NUMBERS.format("details"), (first, last)):
            _mend(index, store, first, last)
        first = last


def _mend(index: BrowseIndex, store: SQLiteFile, first: int, last: int) -> None:
    with index.changing() as changes:  # in this order: what the index has and the store has no more is gone for good
        listed = _uses(changes.connection.execute(_EACH.format("listed"), (first, last)))
        with store.connection() as connection:
            there = _uses(connection.execute(_EACH.format("details"), (first, last)))
        changes.drop(listed.keys() - there.keys())
        changes.use(
            (row_id, now.last_used_at, now.hits)
            for row_id, now in there.items()
            if row_id in listed and now.hits != listed[row_id].hits and now.size_bytes == listed[row_id].size_bytes
        )
        others = sorted(
            row_id
            for row_id, now in there.items()
            if row_id not in listed or now.size_bytes != listed[row_id].size_bytes
        )
        for at in range(0, len(others), AT_A_TIME):
            _put(changes, _these(store, others[at : at + AT_A_TIME]))


def _uses(rows: Iterator[tuple[Any, ...]]) -> dict[int, _Uses]:
    return {
        row_id: _Uses(_whole(hits), _whole(size), used_at if isinstance(used_at, float) else 0.0)
        for row_id, hits, size, used_at in rows
    }


def _whole(number: object) -> int:
    """A number of a column that may be damaged."""
    return number if isinstance(number, int) else 0


@contextlib.contextmanager
def _reading(store: SQLiteFile) -> Iterator[Connection]:
    """One view of the store for several reads."""
    with store.connection() as connection:
        connection.execute("begin")
        try:
            yield connection
        finally:
            connection.execute("commit")
