"""Stores of the first format: they open, answer, and take part in all that came later."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cache_backends import CacheBackend, CacheEntry, JSONFileCache, json_files, open_cache
from tests.cache_backends.answers import prompts, store
from tests.cache_backends.backends import FakeClock

STORES = Path(__file__).parent / "stores"


@pytest.fixture(params=["sqlite", "json"])
def first(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[CacheBackend]:
    """A copy of a store that the first version made, opened."""
    if request.param == "sqlite":
        shutil.copy(STORES / "sqlite-1.db", tmp_path / "cache.db")
        url = f"sqlite:///{tmp_path}/cache.db"
    else:
        shutil.copytree(STORES / "json-1", tmp_path / "store", copy_function=shutil.copy2)
        url = f"json:///{tmp_path}/store"
    with open_cache(url, clock=clock) as cache:
        yield cache


def whole_entries(first: CacheBackend) -> list[tuple[CacheBackend, CacheEntry]]:
    """Every entry, with a view of its namespace."""
    found = []
    for name in first.namespaces():
        view = first.view(namespace=name)
        for summary in view.entries().entries:
            entry = view.get(summary.key)
            assert entry is not None
            found.append((view, entry))
    assert len(found) >= 3
    return found


def lookup(view: CacheBackend, entry: CacheEntry) -> object:
    """What a lookup gives for an entry."""
    return view.lookup(entry.raw_prompt, entry.llm_string)


def test_its_answers_are_found_and_counted(first: CacheBackend, clock: FakeClock) -> None:
    for view, entry in whole_entries(first):
        assert not entry.pinned
        clock.now = entry.created_at + 1
        assert lookup(view, entry) == entry.generations
        used = view.get(entry.key)
        assert used == replace(entry, hits=entry.hits + 1, last_used_at=max(entry.last_used_at, clock.now))


def test_its_entries_can_be_pinned_and_given_a_time_to_live(first: CacheBackend, clock: FakeClock) -> None:
    for view, entry in whole_entries(first):
        clock.now = max(clock.now, entry.created_at + 1)
        assert lookup(view, entry) == entry.generations  # only noted, and not lost
        used_at = max(entry.last_used_at, clock.now)
        assert view.set_ttl(entry.key, 20)
        changed = replace(entry, expires_at=clock.now + 20, hits=entry.hits + 1, last_used_at=used_at)
        assert view.get(entry.key) == changed
        assert view.pin(entry.key)
        assert view.get(entry.key) == replace(changed, pinned=True)
        clock.tick(20)
        assert lookup(view, entry) == entry.generations
        assert view.pin(entry.key, False)
        assert lookup(view, entry) is None


def test_its_entries_can_be_deleted_and_put_back(first: CacheBackend) -> None:
    for view, entry in whole_entries(first):
        assert view.delete(entry.key) == 1
        view.restore(entry)
        assert view.get(entry.key) == replace(entry, location=_location(view, entry))


def _location(view: CacheBackend, entry: CacheEntry) -> str:
    there = view.get(entry.key)
    assert there is not None
    return there.location


def test_its_entries_expire_and_are_purged(first: CacheBackend, clock: FakeClock) -> None:
    for view, entry in whole_entries(first):
        view.set_ttl(entry.key, 10)
    clock.tick(10)
    purged = sum(first.view(namespace=name).purge_expired() for name in first.namespaces())
    assert purged >= 3
    assert first.namespaces() == []


@pytest.mark.parametrize("limits", [{"max_entries": 2}, {"max_bytes": 25_000}], ids=str)
def test_its_entries_are_evicted(first: CacheBackend, tmp_path: Path, clock: FakeClock, limits: dict[str, int]) -> None:
    entries = [entry for _, entry in whole_entries(first)]
    clock.now = max(entry.last_used_at for entry in entries)
    url = f"json:///{tmp_path}/store" if isinstance(first, JSONFileCache) else f"sqlite:///{tmp_path}/cache.db"
    with open_cache(url, clock=clock, namespace="new", **limits) as limited:
        for number in range(3):
            clock.tick()
            store(limited, f"q{number}", "x" * 10_000)
        assert limited.namespaces() == ["new"]
        assert prompts(limited) == {"q1", "q2"}
        assert limited.counters.evictions == len(entries) + 1


@pytest.mark.parametrize("first", ["json"], indirect=True)
def test_a_new_answer_that_is_stored_while_an_old_file_is_pinned_is_left_alone(
    first: CacheBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(first, JSONFileCache)
    view, entry = whole_entries(first)[0]
    original = json_files.json_format.with_lifetime

    def meanwhile(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(json_files.json_format, "with_lifetime", original)
        view.restore(replace(entry, hits=77))
        return original(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(json_files.json_format, "with_lifetime", meanwhile)
    view.pin(entry.key)
    there = view.get(entry.key)
    assert there is not None
    assert there.hits == 77
