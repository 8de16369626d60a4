"""Entries of a cache as a file of lines: each that is chosen, once and whole, and few in memory."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cache_backends import CacheBackend, CacheEntry, MemoryCache, SQLiteCache, open_cache
from lab import exporting
from lab.entry_filter import EntryFilter
from lab.exporting import Exporting, export_lines
from lab.importing import import_lines
from lab.jobs import Jobs
from lab.transfer_format import line_of
from tests.lab.building import Clock
from tests.lab.transfers import LLM, everything, store

KINDS = ("memory", "sqlite", "json")


@pytest.fixture
def open_kind(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., CacheBackend]]:
    """Opens a cache of a kind, by name."""
    opened: list[CacheBackend] = []

    def open_it(kind: str, name: str = "one", **options: Any) -> CacheBackend:
        urls = {
            "memory": "memory://",
            "sqlite": f"sqlite:///{tmp_path}/{name}.db",
            "json": f"json:///{tmp_path}/{name}",
        }
        opened.append(open_cache(urls[kind], clock=clock, **options))
        return opened[-1]

    yield open_it
    for cache in opened:
        cache.close()


@pytest.fixture
def cache(clock: Clock) -> MemoryCache:
    return MemoryCache(clock=clock)


def filled(cache: CacheBackend, clock: Clock, count: int = 12) -> CacheBackend:
    """Entries of which every third expires, every fourth was used, every fifth is pinned."""
    for number in range(count):
        view = cache.view(ttl=100 if number % 3 == 0 else None)
        view.lookup(f"q{number}", LLM)
        key = store(view, f"q{number}", f"answer {number} " * (number + 1))
        clock.advance(1)
        if number % 4 == 0:
            cache.lookup(f"q{number}", LLM)
        if number % 5 == 0:
            cache.pin(key)
    return cache


def prompts(lines: Iterator[bytes]) -> list[str]:
    return [json.loads(line)["raw_prompt"] for line in lines]


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_a_whole_cache_moves_into_another(
    open_kind: Callable[..., CacheBackend], clock: Clock, source: str, target: str
) -> None:
    there = filled(open_kind(source), clock)
    file = io.BytesIO(b"".join(export_lines(there)))
    here = open_kind(target, "other", namespace="elsewhere")
    clock.advance(1000)
    assert import_lines(file, here).imported == 12
    assert everything(here) == everything(there)
    assert b"".join(export_lines(here)) == file.getvalue()
    assert {entry.namespace for entry in here.entries().entries} == {"elsewhere"}
    assert here.lookup("q1", LLM) == there.lookup("q1", LLM) is not None
    assert here.lookup("q3", LLM) is there.lookup("q3", LLM) is None  # expired, and moved as such


@pytest.mark.parametrize("page", [1, 5, 11, 12, 13])
def test_every_entry_is_written_once_the_oldest_first(
    cache: MemoryCache, clock: Clock, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(exporting, "ENTRIES_A_PAGE", page)
    assert prompts(export_lines(filled(cache, clock))) == [f"q{number}" for number in range(12)]


def test_entries_of_the_same_moment_are_all_written(cache: MemoryCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "ENTRIES_A_PAGE", 3)
    for number in range(10):
        store(cache, f"q{number}")
    assert sorted(prompts(export_lines(cache))) == [f"q{number}" for number in range(10)]


def test_an_empty_cache_gives_nothing(cache: MemoryCache) -> None:
    shown: list[Exporting] = []
    assert list(export_lines(cache, show=shown.append)) == []
    assert shown == [Exporting(0, 0, 0)]


def test_only_the_namespace_of_the_view_is_written(cache: MemoryCache) -> None:
    store(cache, "mine")
    store(cache.view(namespace="other"), "other's")
    assert prompts(export_lines(cache)) == ["mine"]


def test_only_what_is_chosen_is_written(cache: MemoryCache, clock: Clock) -> None:
    began_at = clock.now
    filled(cache, clock)
    store(cache, "of another model", llm_string="[('model_name', 'demo-2')]")
    clock.advance(200)

    def chosen(**values: Any) -> list[str]:
        return prompts(export_lines(cache, EntryFilter(**values)))

    size = cache.entries(search="q5").entries[0].size_bytes
    assert chosen(search="q1") == ["q1", "q10", "q11"]
    assert chosen(model="demo-2") == ["of another model"]
    assert chosen(state="expired") == ["q3", "q6", "q9"]  # q0 is pinned
    assert chosen(created_from=began_at + 10) == ["q10", "q11", "of another model"]
    assert chosen(created_before=began_at + 2) == ["q0", "q1"]
    assert chosen(min_bytes=size, model="demo-1") == [f"q{number}" for number in range(5, 12)]
    assert chosen(below_bytes=size, model="demo-1") == [f"q{number}" for number in range(5)]
    assert chosen(search="q1", state="live", created_from=began_at + 11) == ["q11"]


def test_the_filter_says_what_entries_understands(cache: MemoryCache, clock: Clock) -> None:
    filled(cache, clock)
    assert cache.entries(**EntryFilter(search="q1", model="demo-1", state="live").query).total == 3
    assert cache.entries(**EntryFilter().query) == cache.entries()


def test_a_filter_that_is_not_allowed_is_refused(cache: MemoryCache) -> None:
    with pytest.raises(ValueError, match="min_bytes=nan is no number"):
        list(export_lines(cache, EntryFilter(min_bytes=float("nan"))))  # type: ignore[arg-type]


def test_what_is_removed_or_damaged_meanwhile_is_left_out_and_told(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "MOST_AT_ONCE", 2)
    with SQLiteCache(tmp_path / "c.db", clock=clock) as cache:
        filled(cache, clock)
        keys = {entry.raw_prompt: entry.key for entry in everything(cache).values()}
        shown: list[Exporting] = []
        lines = export_lines(cache, show=shown.append)
        first = prompts(iter([next(lines)]))
        cache.delete(keys["q4"], keys["q7"])
        with cache._store.file.transaction() as connection:
            connection.execute("update entries set value = x'00' where key = ?", (bytes.fromhex(keys["q9"]),))
        store(cache, "q5", "another answer")
        assert [*first, *prompts(lines)] == [f"q{number}" for number in range(12) if number not in (4, 7, 9)]
        assert shown == [Exporting(9, 3, 12)]


def test_progress_is_shown_page_by_page(cache: MemoryCache, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "ENTRIES_A_PAGE", 5)
    shown: list[Exporting] = []
    list(export_lines(filled(cache, clock), show=shown.append))
    assert shown == [Exporting(5, 0, 12), Exporting(10, 0, 12), Exporting(12, 0, 12)]


def test_it_ends_with_a_whole_line_when_it_is_stopped(cache: MemoryCache, clock: Clock) -> None:
    filled(cache, clock)
    lines: list[bytes] = []
    for line in export_lines(cache, stopping=lambda: len(lines) == 3):
        lines.append(line)  # noqa: PERF402  # not all at once
    assert prompts(iter(lines)) == ["q0", "q1", "q2"]


def test_a_long_search_is_stopped_in_its_middle(cache: MemoryCache) -> None:
    for number in range(1200):
        store(cache, f"q{number}")
    asked: list[None] = []
    assert (
        list(export_lines(cache, EntryFilter(search="none"), stopping=lambda: len(asked) > 1 or asked.append(None)))
        == []
    )  # type: ignore[func-returns-value, arg-type, return-value]
    assert len(asked) == 2


def test_only_the_first_page_waits_for_an_index(
    cache: MemoryCache, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "ENTRIES_A_PAGE", 5)
    filled(cache, clock)
    asked: list[bool] = []
    entries = cache.entries
    monkeypatch.setattr(cache, "entries", lambda **query: (asked.append(query["up_to_date"]), entries(**query))[1])
    assert len(list(export_lines(cache))) == 12
    assert asked == [True, False, False]


def test_large_entries_are_not_in_memory_together(cache: MemoryCache, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        store(cache, f"q{number}", "x" * 3_000_000)
    store(cache, "huge", "x" * 9_000_000)
    store(cache, "small")
    sizes: list[int] = []
    get_many = cache.get_many

    def counted(keys: Sequence[str]) -> list[CacheEntry]:
        entries = get_many(keys)
        sizes.append(sum(entry.size_bytes for entry in entries))
        return entries

    monkeypatch.setattr(cache, "get_many", counted)
    assert len(list(export_lines(cache))) == 8
    assert sorted(sizes)[-2] < 8_000_000 < sorted(sizes)[-1] < 9_100_000  # the one that has more by itself
    assert sum(sizes) > 27_000_000


def test_memory_stays_flat_however_many_entries_there_are(tmp_path: Path) -> None:
    peaks = []
    with SQLiteCache(tmp_path / "c.db") as cache:
        for count in (1000, 5000):
            for number in range(count):
                store(cache, f"q{number}", "x" * 10_000)
            tracemalloc.start()
            try:
                assert sum(map(len, export_lines(cache))) > count * 10_000
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 35_000_000  # of 50 MB


def test_it_works_as_a_job(cache: MemoryCache, clock: Clock) -> None:
    filled(cache, clock)
    jobs = Jobs()

    def work(job: Any) -> int:
        return sum(map(len, export_lines(cache, show=job.show, stopping=lambda: job.stopping)))

    job = jobs.start(work)
    assert job.wait(30)
    assert job.result == sum(len(line_of(entry)) for entry in everything(cache).values())
    assert job.progress == [Exporting(12, 0, 12)]
