"""Bringing the index for browsing of a `JSONFileCache` up to date.

Every change of a file, one in place too, gives it a new time of change (`ctime`), which nobody can set. So one look at
all names and times tells which files have to be read. Clocks of file systems may tick every 4 ms only: what was changed
just now is read once more.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from cache_backends.browse import Progress
from cache_backends.browse_index import BrowseIndex, Changes, Indexed
from cache_backends.codec import text_of
from cache_backends.errors import CacheError
from cache_backends.index_schema import STILL_NS
from cache_backends.json_store import entry_statuses
from cache_backends.readable import readable_prompt
from cache_backends.storage import StoredEntry
from cache_backends.table_rows import interned_id

AT_A_TIME = 200
"""Files that are read in one transaction of the index."""

Read = Callable[[str, str], StoredEntry | None]
"""The entry of a namespace with a key; None where it has just gone. Raises `CacheError` where it is damaged."""


class _Part(NamedTuple):
    """One folder of files: whose keys begin alike."""

    namespace: str
    first_byte: int
    marks: Mapping[bytes, str | None]
    """By digest: what changes with the file; None where it was changed just now."""


def update_index(index: BrowseIndex, folders: Mapping[str, str], read: Read, progress: Progress) -> None:
    """Put into the index what has changed in the folders (by namespace), and take out what is gone.

    Raises `CacheError`.
    """
    parts = [part for namespace, folder in folders.items() for part in _parts(namespace, folder)]
    files = sum(len(part.marks) for part in parts)
    _drop_other_namespaces(index, folders)
    looked_at = 0
    for part in parts:
        listed = _listed(index, part)
        gone = [(row_id, digest) for digest, (row_id, _) in listed.items() if digest not in part.marks]
        changed = [
            digest for digest, mark in part.marks.items() if mark is None or listed.get(digest, (0, None))[1] != mark
        ]
        if gone:
            with index.changing() as changes:
                changes.drop_keys(gone)
        for at in range(0, len(changed), AT_A_TIME):
            _put(index, part, changed[at : at + AT_A_TIME], read, listed)
            progress(looked_at + min(at + AT_A_TIME, len(changed)), files)
        looked_at += len(part.marks)


def _parts(namespace: str, folder: str) -> Iterator[_Part]:
    """All parts a namespace may have, those without files too: some of them were there once."""
    marks: dict[int, dict[bytes, str | None]] = {first_byte: {} for first_byte in range(256)}
    for key, status in entry_statuses(folder):
        digest = bytes.fromhex(key)
        marks[digest[0]][digest] = _mark(status)
    return (_Part(namespace, first_byte, of_part) for first_byte, of_part in marks.items())


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
    index: BrowseIndex, part: _Part, digests: list[bytes], read: Read, listed: Mapping[bytes, tuple[int, str | None]]
) -> None:
    namespace_id = interned_id(part.namespace)
    rows = []
    for digest in digests:
        with contextlib.suppress(CacheError):  # a lookup will set it aside; a list only passes it over
            entry = read(part.namespace, digest.hex())
            if entry is not None:
                text = f"{readable_prompt(entry.raw_prompt)}\n{text_of(entry.payload)}"
                rows.append(Indexed(None, namespace_id, entry, text, part.marks[digest]))
    unreadable = {*digests} - {row.entry.digest for row in rows}
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
