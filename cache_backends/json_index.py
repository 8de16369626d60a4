"""Bringing the index for browsing of a `JSONFileCache` up to date.

Every change of a file, one in place too, gives it a new time of change (`ctime`), which nobody can set, and so does
every new or removed file to its folder. So one look at all folders tells in which of them something is new or gone, and
one at all names and times which files have to be read. Clocks of file systems may tick every 4 ms only: what was
changed just now is read once more.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cache_backends.browse import Progress
from cache_backends.browse_index import BrowseIndex, Changes, Indexed
from cache_backends.codec import text_of
from cache_backends.errors import CacheError
from cache_backends.index_schema import STILL_NS
from cache_backends.json_store import entry_statuses, part_statuses
from cache_backends.readable import readable_prompt
from cache_backends.storage import StoredEntry
from cache_backends.table_rows import interned_id

AT_A_TIME = 200
"""Files that are read in one transaction of the index."""

Read = Callable[[str, str], StoredEntry | None]
"""The entry of a namespace with a key; None where it has just gone. Raises `CacheError` where it is damaged."""


_MISSING = ""
"""The mark of a folder that is not there."""


class _Part(NamedTuple):
    """One folder of files: whose keys begin alike."""

    namespace: str
    first_byte: int
    folder: str | None
    """None where it is not there."""
    mark: str | None
    """What changes when a file in it is added, replaced or removed; None where that was just now."""

    @property
    def place(self) -> tuple[str, int]:
        """What tells it from the others."""
        return self.namespace, self.first_byte


class _Seen(NamedTuple):
    """What this process knows from the last time."""

    changes: int
    """Of the index: where it is another one by now, others have been at it."""
    parts: Mapping[tuple[str, int], tuple[str | None, int]]
    """By namespace and first byte: the mark of the folder, and how many files it has."""


def update_index(
    index: BrowseIndex, folders: Mapping[str, str], read: Read, progress: Progress, *, only_new: bool
) -> None:
    """Put into the index what has changed in the folders (by namespace), and take out what is gone.

    With `only_new`, files that were only changed in place, as by a use, may be left out. Raises `CacheError`.
    """
    seen, index.seen, changes = index.seen, None, index.changes
    known = seen.parts if isinstance(seen, _Seen) and seen.changes == changes else {}
    _drop_other_namespaces(index, folders)
    parts = [part for namespace, folder in folders.items() for part in _parts(namespace, folder)]
    others = [part for part in parts if part.mark is not None and known.get(part.place, (None, 0))[0] == part.mark]
    changed = sorted(set(parts).difference(others))
    found = {part.place: known[part.place] for part in others}
    found |= _look(index, changed, read, progress, sum(files for _, files in found.values()))
    if not only_new:
        found |= _look(index, others, read, progress, sum(found[part.place][1] for part in changed))
    if not index.is_still_that_of(changes):  # somebody has removed it, and what was known is in none any more
        update_index(index, folders, read, progress, only_new=only_new)
        return
    index.seen = _Seen(index.changes, found)


def _parts(namespace: str, folder: str) -> Iterator[_Part]:
    """All parts a namespace may have, those without a folder too: some of them had one once."""
    there = {first_byte: (part, _mark(status)) for first_byte, part, status in part_statuses(folder)}
    for first_byte in range(256):
        yield _Part(namespace, first_byte, *there.get(first_byte, (None, _MISSING)))


def _look(
    index: BrowseIndex, parts: Sequence[_Part], read: Read, progress: Progress, elsewhere: int
) -> dict[tuple[str, int], tuple[str | None, int]]:
    """Look at all files of some parts, where others have so many files; what `_Seen` tells of these."""
    files_of = [_files(part) for part in parts]
    looked_at, files = elsewhere, elsewhere + sum(map(len, files_of))
    for part, marks in zip(parts, files_of, strict=True):
        listed = _listed(index, part)
        gone = [(row_id, digest) for digest, (row_id, _) in listed.items() if digest not in marks]
        changed = [digest for digest, mark in marks.items() if mark is None or listed.get(digest, (0, None))[1] != mark]
        if gone:
            with index.changing() as changes:
                changes.drop_keys(gone)
        for at in range(0, len(changed), AT_A_TIME):
            some = {digest: marks[digest] for digest in changed[at : at + AT_A_TIME]}
            _put(index, part.namespace, some, read, listed)
            progress(looked_at + min(at + AT_A_TIME, len(changed)), files)
        looked_at += len(marks)
    progress(files, files)
    return {part.place: (part.mark, len(marks)) for part, marks in zip(parts, files_of, strict=True)}


def _files(part: _Part) -> dict[bytes, str | None]:
    """What is in the folder, by digest: what changes with the file; None where it was changed just now."""
    if part.folder is None:
        return {}
    return {bytes.fromhex(key): _mark(status) for key, status in entry_statuses(part.folder)}


def _mark(status: os.stat_result) -> str | None:
    if time.time_ns() - status.st_ctime_ns < STILL_NS:
        return None
    return f"{status.st_ino}:{status.st_ctime_ns}:{status.st_size}"


def _listed(index: BrowseIndex, part: _Part) -> dict[bytes, tuple[int, str | None]]:
    first, last = bytes([part.first_byte]), bytes([part.first_byte, *[255] * 32])
    with index.file.connection() as connection:
        rows: Iterator[tuple[Any, ...]] = connection.execute(
            "select key, id, mark from listed where namespace = (select id from names where namespace = ?) "
            "and key >= ? and key <= ?",
            (interned_id(part.namespace), first, last),
        )
        return {key: (row_id, mark) for key, row_id, mark in rows}


def _put(
    index: BrowseIndex,
    namespace: str,
    marks: Mapping[bytes, str | None],
    read: Read,
    listed: Mapping[bytes, tuple[int, str | None]],
) -> None:
    namespace_id = interned_id(namespace)
    rows = []
    for digest, mark in marks.items():
        with contextlib.suppress(CacheError):  # a lookup will set it aside; a list only passes it over
            entry = read(namespace, digest.hex())
            if entry is not None:
                text = f"{readable_prompt(entry.raw_prompt)}\n{text_of(entry.payload)}"
                rows.append(Indexed(None, namespace_id, entry, text, mark))
    unreadable = marks.keys() - {row.entry.digest for row in rows}
    with index.changing() as changes:
        changes.put(rows)
        changes.drop_keys((listed[digest][0], digest) for digest in unreadable & listed.keys())


def _drop_other_namespaces(index: BrowseIndex, folders: Mapping[str, str]) -> None:
    with index.file.connection() as connection:
        known = [row[0] for row in connection.execute("select namespace from names")]
    there = {interned_id(namespace) for namespace in folders}
    for namespace_id in set(known) - there:
        with index.changing() as changes:
            _drop_namespace(changes, namespace_id)


def _drop_namespace(changes: Changes, namespace_id: int) -> None:
    changes.connection.execute(
        "delete from listed where namespace = (select id from names where namespace = ?)", (namespace_id,)
    )
