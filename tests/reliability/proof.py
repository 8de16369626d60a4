"""The proof at the end of every test here: what a store holds, and that the files beneath it are sound."""

from __future__ import annotations

from pathlib import Path

from cache_backends import CacheBackend, open_cache
from tests.cache_backends.answers import texts
from tests.cache_backends.sqlite_outside import sql

Contents = dict[str, dict[str, list[str]]]
"""By namespace and prompt, the texts of all generations."""

_LEFTOVERS = ("*.tmp", "*-journal", "*-wal", "*-shm")
"""Temporary files, and what SQLite keeps beside a file while it is open."""
_INDEXES = ("cache.db.browse", "browse-index.db")
"""On a full disk, what SQLite keeps beside one can't be written into it, and stays."""


def contents(cache: CacheBackend) -> Contents:
    """Everything that a store holds: listed, read whole, and looked up, which must all agree."""
    held: Contents = {}
    for namespace in cache.namespaces():
        view = cache.view(namespace=namespace)
        answers = held.setdefault(namespace, {})
        after: str | None = None
        while True:
            page = view.entries(limit=200, after=after)
            for summary in page.entries:
                entry = view.get(summary.key)
                assert entry is not None, f"listed, but not to be read: {summary}"
                answers[entry.raw_prompt] = texts(entry.generations) or []
                assert texts(view.lookup(entry.raw_prompt, entry.llm_string)) == answers[entry.raw_prompt]
            after = page.next
            if after is None:
                break
    return held


def leftovers(folder: Path) -> list[str]:
    """Files that nobody needs once a store was opened and closed again; an index for browsing may be made anew."""
    names = (path.name for pattern in _LEFTOVERS for path in folder.rglob(pattern))
    return sorted(name for name in names if not name.startswith(_INDEXES))


def set_aside(folder: Path) -> list[str]:
    """Files that were taken for damaged."""
    return sorted(path.name for path in folder.rglob("*damaged*"))


def prove_files_sound(folder: Path) -> None:
    """No leftovers of a store that nobody has open, and SQLite finds no fault in its file."""
    assert leftovers(folder) == []
    for database in folder.rglob("cache.db"):
        assert sql(database, "pragma integrity_check") == [("ok",)]
    assert leftovers(folder) == []


def prove_sound(url: str, folder: Path) -> Contents:
    """Open a store in which nothing may be damaged, prove it sound, and say what it holds."""
    with open_cache(url, strict=True) as cache:
        held = contents(cache)
        assert cache.notices == ()
        assert (cache.counters.corrupt, cache.counters.errors) == (0, 0)
    prove_files_sound(folder)
    assert set_aside(folder) == []
    return held
