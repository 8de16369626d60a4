"""What tests see of an index for browsing from outside, and what must be the same without it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from cache_backends import EntrySummary, JSONFileCache, SQLiteCache, Tally, browse
from cache_backends.browse import Query, Row, no_progress

FileCache = SQLiteCache | JSONFileCache
OpenFiles = Callable[..., FileCache]


def index_path(cache: FileCache) -> Path:
    """Where the index of a cache lies."""
    if isinstance(cache, SQLiteCache):
        return cache.path.with_name(f"{cache.path.name}.browse")
    return cache.path / "browse-index.db"


def index_files(cache: FileCache) -> list[Path]:
    """The index and what SQLite lays beside it."""
    path = index_path(cache)
    return [file for suffix in ("", "-wal", "-shm") if (file := path.with_name(path.name + suffix)).exists()]


def visited(cache: FileCache, **query: Any) -> tuple[list[EntrySummary], int]:
    """Every page of a query, one after the other, and the total that each of them told."""
    entries: list[EntrySummary] = []
    totals = set()
    while True:
        page = cache.entries(**query)
        entries += page.entries
        totals.add(page.total)
        assert len(entries) <= 1_000, "a page that repeats entries would go on for ever"
        if page.next is None:
            assert len(totals) == 1
            return entries, totals.pop()
        query["after"] = page.next


def counted(tallies: Sequence[Tally]) -> Counter[Tally]:
    """Tallies, in whatever order."""
    assert len({(one.model, one.is_expired, one.age, one.size) for one in tallies}) == len(tallies)
    return Counter(tallies)


def same_page(cache: FileCache, rows: Sequence[Row], **query: Any) -> None:
    """All pages are those that looking at every entry gives."""
    expected = browse.page(rows, Query(**{**query, "limit": 1_000}), cache.clock())
    entries, total = visited(cache, **query)
    assert total == expected.total, query
    assert entries == list(expected.entries), query


def same_tally(cache: FileCache, rows: Sequence[Row], ages: Sequence[float] = (), search: str = "") -> None:
    """The tallies are those that looking at every entry gives."""
    expected = browse.tally(rows, Query(search=search), sorted(ages), cache.clock())
    assert counted(cache.tally(search=search, ages=ages)) == counted(expected), (ages, search)


def same_as_by_looking(cache: FileCache) -> None:
    """Every order, both directions, every state, tallies and models are those that looking at every entry gives."""
    rows = list(cache._rows())
    for number, order_by in enumerate(
        ("created_at", "last_used_at", "hits", "size_bytes", "expires_at", "model_time_s")
    ):
        for descending in (True, False):
            same_page(cache, rows, order_by=order_by, descending=descending, limit=number + 1 + descending)
    for state in ("live", "expired"):
        same_page(cache, rows, state=state)
    same_tally(cache, rows)
    assert cache.models() == sorted({row.summary.model for row in rows if row.summary.model is not None})


def contents(path: Path) -> dict[str, Counter[Any]]:
    """What an index holds: the same for two that are made of the same store, however they came about."""
    connection = apsw.Connection(str(path))
    try:
        connection.execute("create virtual table temp.terms using fts5vocab(main, words, instance)")
        names = dict(connection.execute("select id, namespace from names"))
        models = dict(connection.execute("select id, name from models"))
        listed = list(
            connection.execute(
                "select id, namespace, key, tie, model, created_at, expires_at, ends_at, last_used_at, hits, "
                "size_bytes, size_class, model_time_s from listed"
            )
        )
        places = {row[0]: (names.get(row[1]), row[2]) for row in listed}
        words = connection.execute("select distinct term, doc from temp.terms")
        return {
            "listed": Counter(places[row[0]] + (row[3], models.get(row[4]), *row[5:]) for row in listed),
            "words": Counter((places.get(doc), term) for term, doc in words if not term.startswith("§")),
            "scopes": Counter(
                (places.get(doc), names[int(term[1:])])
                for term, doc in connection.execute("select distinct term, doc from temp.terms")
                if term.startswith("§")
            ),
            "tallies": Counter(
                (names.get(namespace), models.get(model), *rest)
                for namespace, model, *rest in connection.execute("select * from tallies")
            ),
        }
    finally:
        connection.close()


def made_anew(cache: FileCache) -> dict[str, Counter[Any]]:
    """What an index holds that is made of the store as it is now."""
    from cache_backends.browse_index import BrowseIndex

    path = index_path(cache).with_name("index-made-anew.db")
    index = BrowseIndex(path)
    try:
        cache._update_index(index, no_progress, only_new=False)
        return contents(path)
    finally:
        index.close()
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()


def same_as_made_anew(cache: FileCache) -> None:
    """The index holds what one holds that is made of the store as it is now."""
    cache.bring_up_to_date()
    assert contents(index_path(cache)) == made_anew(cache)


@contextmanager
def nothing_said(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The index is used, and nobody is warned of anything."""
    with caplog.at_level(logging.WARNING):
        yield
    assert caplog.messages == []
