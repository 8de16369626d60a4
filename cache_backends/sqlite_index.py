"""Bringing the index for browsing of a `SQLiteCache` up to date.

Whatever is written gets a greater id than all that are there. So what is new has an id above the greatest that was
looked at; and of what was looked at before, entries have only gone or been used, which sums over a range of ids tell.
They tell too what should not be: another store or an older copy in its place, an older program that writes a new answer
over the old one, an id that is given again since a clock was set back.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cache_backends.browse import Progress
from cache_backends.browse_index import BrowseIndex, Changes, Indexed
from cache_backends.codec import text_of
from cache_backends.errors import CorruptEntryError
from cache_backends.index_schema import STILL_NS
from cache_backends.readable import readable_prompt
from cache_backends.sqlite_file import SQLiteFile
from cache_backends.sqlite_rows import WHOLE_OF_ALL
from cache_backends.table_rows import stored

AT_A_TIME = 500
"""Entries that one transaction puts into the index."""
COMPARED_AT_A_TIME = 5_000
"""Entries of which one read transaction of the store is told only the numbers."""

COMPARED_OF_NEW = 10_000
"""Entries that are compared by who only wants what is new: what comes and goes most often is what came last."""

_SUMS = """
select count(*), sum(id % 2147483647), total(hits), sum(cast(last_used_at * 1e6 as integer) % 2147483647)
from {} where id > ? and id <= ?
"""
"""No sum of times themselves: it would be rounded to milliseconds."""
_KNOWN = "select id, hits + 0, last_used_at + 0.0 from details"
"""As `_SUMS` reads columns that are damaged: as the numbers they begin with."""
_CREATED = "select iif(typeof(created_at) = 'text', null, created_at) from entries where id = ?"

_NEWEST = "select max(id) from details"


class _Known(NamedTuple):
    """What tells whether an entry was changed."""

    hits: int
    last_used_at: float


def update_index(index: BrowseIndex, store: SQLiteFile, progress: Progress, *, only_new: bool) -> None:
    """Put into the index what the store has anew, and take out what it has no more: with `only_new`, of the newest.

    Raises `CacheError`.
    """
    now = _look(store.path)
    if now is not None and (now, index.changes) == index.seen:
        return
    index.seen = None
    _put_new(index, store, progress)
    _compare(index, store, newest=COMPARED_OF_NEW if only_new else None)
    if not only_new:
        index.seen = (now, index.changes)


def _look(path: Path) -> object:
    """What tells whether the store was changed since; None where that can't be told, since it was just now, say."""
    seen = []
    for name in (path, f"{path}-wal"):
        try:
            status = os.stat(name)
        except FileNotFoundError:
            continue
        except OSError:  # something else lies in its place; whoever reads it says so
            return None
        if time.time_ns() - status.st_mtime_ns < STILL_NS:
            return None
        seen.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return seen


def _put_new(index: BrowseIndex, store: SQLiteFile, progress: Progress) -> None:
    entries = 0
    newest = store.row(_NEWEST, ()) or 0  # what is stored from now on, the next one finds
    while True:
        with index.changing() as changes:
            last, listed = _restarted(changes)
            following = _following(store, last)
            if not following.ids or last >= newest:
                progress(listed, listed)
                return
            _put(changes, following)
            changes.watermark = following.ids[-1][0]
        done = listed + len(following.ids)
        if not entries and len(following.ids) == AT_A_TIME:  # else these were all; counting takes 30 ms for a million
            entries = store.row("select count(*) from entries", ())
        progress(done, max(done, entries))


def _restarted(changes: Changes) -> tuple[int, int]:
    """The greatest id that was looked at, and how many entries are listed; an empty index begins anew."""
    listed = changes.connection.execute("select coalesce(sum(entries), 0) from tallies").get
    return changes.watermark if listed else 0, listed


class _Read(NamedTuple):
    """Entries of the store as one transaction sees them."""

    ids: Sequence[tuple[Any, ...]]
    """Each id with its hits and last use, whether the entry can be read or not."""
    rows: Sequence[tuple[Any, ...]]


def _following(store: SQLiteFile, last: int) -> _Read:
    with store.reading() as connection:
        ids = list(connection.execute(f"{_KNOWN} where id > ? order by id limit ?", (last, AT_A_TIME)))
        if not ids:
            return _Read(ids, [])
        where = "where entries.id > ? and entries.id <= ? order by entries.id"
        return _Read(ids, list(connection.execute(f"{WHOLE_OF_ALL} {where}", (last, ids[-1][0]))))


def _these(store: SQLiteFile, ids: Sequence[int]) -> _Read:
    with store.reading() as connection:
        known: list[tuple[Any, ...]] = []
        rows: list[tuple[Any, ...]] = []
        for row_id in ids:
            known += connection.execute(f"{_KNOWN} where id = ?", (row_id,))
            rows += connection.execute(f"{WHOLE_OF_ALL} where entries.id = ?", (row_id,))
        return _Read(known, rows)


def _put(changes: Changes, read: _Read) -> None:
    readable = []
    for namespace_id, *row in read.rows:
        with contextlib.suppress(CorruptEntryError):  # a lookup will set it aside; a list only passes it over
            if not isinstance(namespace_id, int):
                raise CorruptEntryError("a namespace is none")
            entry = stored(tuple(row))
            text = f"{readable_prompt(entry.raw_prompt)}\n{text_of(entry.payload)}"
            readable.append(Indexed(row[0], namespace_id, entry, text))
    changes.put(readable)
    left = {row[0]: row for row in read.ids}
    for one in readable:
        left.pop(one.id, None)
    changes.put_unreadable(left.values())


def _compare(index: BrowseIndex, store: SQLiteFile, *, newest: int | None = None) -> None:
    """Find the ranges of ids in which something has gone, or was used, and mend those; of so many newest entries."""
    with index.file.connection() as connection:
        until = connection.execute("select watermark from about").get
        first = 0
        if newest is not None:
            before = "select id from listed order by id desc limit 1 offset ?"
            first = connection.execute(before, (newest,)).get or 0
    while first < until:
        with index.file.connection() as connection:
            last = connection.execute(
                "select max(id) from (select id from listed where id > ? order by id limit ?)",
                (first, COMPARED_AT_A_TIME),
            ).get
            last = last or until
            listed = connection.execute(_SUMS.format("listed"), (first, last)).fetchone()
        if listed != store.row(_SUMS.format("details"), (first, last)):
            _mend(index, store, first, last)
        first = last


def _mend(index: BrowseIndex, store: SQLiteFile, first: int, last: int) -> None:
    with index.changing() as changes:  # in this order: what the index has and the store has no more is gone for good
        listed, created = {}, {}
        each = "select id, hits, last_used_at, created_at from listed where id > ? and id <= ?"
        for row_id, *known, created_at in changes.connection.execute(each, (first, last)):
            listed[row_id], created[row_id] = _Known(*known), created_at
        with store.connection() as connection:
            rows = connection.execute(f"{_KNOWN} where id > ? and id <= ?", (first, last))
            there = {row_id: _Known(*known) for row_id, *known in rows}
            changed = sorted(row_id for row_id, known in there.items() if listed.get(row_id) != known)
            used = {
                row_id
                for row_id in changed
                if row_id in listed and created[row_id] == connection.execute(_CREATED, (row_id,)).get
            }  # the others hold new answers
        gone = listed.keys() - there.keys()
        newest = store.row(_NEWEST, ()) or 0
        while gone and changes.watermark < newest:  # some only got another id meanwhile
            following = _following(store, changes.watermark)
            if not following.ids:
                break
            _put(changes, following)
            changes.watermark = following.ids[-1][0]
        changes.drop(gone)
        changes.use((row_id, there[row_id].last_used_at, there[row_id].hits) for row_id in used)
        others = [row_id for row_id in changed if row_id not in used]
        for at in range(0, len(others), AT_A_TIME):
            _put(changes, _these(store, others[at : at + AT_A_TIME]))
