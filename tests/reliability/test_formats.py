"""Stores of the first format open in every later version, whole, and those of a newer one are refused untouched.

The stores lie in `tests/cache_backends/stores`, as the first released version wrote them. They are never written to:
each test opens a copy.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from cache_backends import CacheBackend, CacheConfigError, open_cache
from tests.cache_backends.answers import LLM, found, look, store
from tests.cache_backends.backends import PERSISTENT, Backend, FakeClock
from tests.cache_backends.processes import Child, in_child
from tests.cache_backends.sqlite_outside import sql
from tests.reliability.first_format import COMPLETION, HOUR_S, SAGAN, STORED, STORES, WEATHER, Stored, is_as_it_was
from tests.reliability.stores import HANG_SECONDS, every_kind_of_file, warnings_logged

OPENED_AT = 1_700_000_040.0
PROCESSES = 8


every_entry = pytest.mark.parametrize("old", STORED, ids=["used", "with a time to live", "completion"])


@pytest.fixture
def clock() -> FakeClock:
    """Ten seconds after the newest use."""
    return FakeClock(OPENED_AT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copies of both stores, each where its kind of cache looks for it."""
    target = tmp_path / "first" / "store"
    shutil.copytree(STORES / "json-1", target)
    shutil.copyfile(STORES / "sqlite-1.db", target / "cache.db")
    (target / "cache.db").chmod(0o600)  # version control keeps neither modes nor times; a file's time is its last use
    for old in STORED:
        times = (old.last_used_at, old.last_used_at)
        namespace = sha256(old.namespace.encode()).hexdigest()[:32]
        os.utime(target / namespace / old.key[:2] / f"{old.key}.json", times)
    return tmp_path / "first"


def view_of(cache: CacheBackend, old: Stored) -> CacheBackend:
    """The cache on the namespace of an entry."""
    return cache.view(namespace=old.namespace)


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file and what is in it."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@every_kind_of_file
def test_every_answer_of_the_first_format_is_there_in_every_field(
    kind: Backend, folder: Path, clock: FakeClock
) -> None:
    with open_cache(kind.url(folder), clock=clock, strict=True) as cache, warnings_logged() as warnings:
        assert cache.namespaces() == ["default", "other"]
        assert cache.models() == ["demo-1"]
        for old in STORED:
            is_as_it_was(view_of(cache, old).get(old.key), old)
            assert view_of(cache, old).lookup(old.prompt, LLM) == old.generations
        assert [entry.prompt for entry in cache.entries().entries] == [WEATHER.readable, SAGAN.readable]
        assert [entry.prompt for entry in cache.entries(search="astronomer").entries] == [SAGAN.readable]
        stats = cache.stats()
        assert (stats.entries, stats.expired) == (2, 0)
        assert (stats.oldest, stats.newest) == (SAGAN.created_at, WEATHER.created_at)
        assert (warnings, cache.notices, cache.counters.corrupt) == ([], (), 0)


@every_kind_of_file
def test_a_lookup_is_enough_to_open_it_and_uses_go_on_counting(kind: Backend, folder: Path, clock: FakeClock) -> None:
    with open_cache(kind.url(folder), clock=clock, strict=True) as cache:
        lookup = look(cache, SAGAN.prompt)
        assert (lookup.outcome, lookup.age_s) == ("hit", OPENED_AT - SAGAN.created_at)
    with open_cache(kind.url(folder), clock=clock, strict=True) as again:
        entry = again.get(SAGAN.key)
        assert entry is not None
        assert (entry.hits, entry.last_used_at, entry.created_at) == (3, OPENED_AT, SAGAN.created_at)


@every_kind_of_file
def test_its_time_to_live_goes_on_running(kind: Backend, folder: Path, clock: FakeClock) -> None:
    with open_cache(kind.url(folder), clock=clock, strict=True) as cache:
        clock.now = WEATHER.created_at + HOUR_S - 1
        assert found(cache, WEATHER.prompt) == ["It rains.", "It is dry."]
        clock.tick()
        assert look(cache, WEATHER.prompt).outcome == "expired"
        assert [entry.prompt for entry in cache.entries(state="expired").entries] == [WEATHER.readable]
        clock.tick(24 * HOUR_S)
        assert cache.purge_expired() == 1
        assert (found(cache, SAGAN.prompt), cache.stats().entries) == (["An astronomer."], 1)
        assert found(cache.view(namespace="other"), COMPLETION.prompt) == [" and its end"]


@every_kind_of_file
@every_entry
def test_all_that_can_be_done_to_an_entry_can_be_done_to_an_old_one(
    kind: Backend, folder: Path, clock: FakeClock, old: Stored
) -> None:
    with open_cache(kind.url(folder), clock=clock, strict=True) as opened:
        cache = view_of(opened, old)
        assert cache.set_ttl(old.key, 60)
        entry = cache.get(old.key)
        assert entry is not None
        assert (entry.expires_at, entry.generations, entry.created_at) == (
            OPENED_AT + 60, old.generations, old.created_at,
        )  # fmt: skip
        assert (entry.hits, entry.last_used_at) == (old.hits, old.last_used_at)
        assert cache.pin(old.key)
        clock.tick(61)
        assert cache.lookup(old.prompt, LLM) == old.generations
        assert cache.pin(old.key, False)
        assert look(cache, old.prompt).outcome == "expired"
        assert cache.delete(old.key) == 1
        assert cache.get(old.key) is None
        cache.restore(entry)
        restored = cache.get(old.key)
        assert restored is not None
        assert replace(restored, location=entry.location) == entry
        store(cache, old.prompt, "a new answer")
        assert found(cache, old.prompt) == ["a new answer"]


@every_kind_of_file
def test_new_answers_live_beside_the_old_ones_and_limits_count_both(
    kind: Backend, folder: Path, clock: FakeClock
) -> None:
    with open_cache(kind.url(folder), clock=clock, strict=True) as cache:
        store(cache, "new", "answer")
        store(cache, SAGAN.prompt, "a popular astronomer")
    with open_cache(kind.url(folder), clock=clock, strict=True, max_entries=3) as cache:
        assert (found(cache, "new"), found(cache, SAGAN.prompt)) == (["answer"], ["a popular astronomer"])
        is_as_it_was(cache.get(WEATHER.key), WEATHER)
        clock.tick()
        store(cache, "newer", "answer")
        other = cache.view(namespace="other")
        assert {entry.prompt for entry in cache.entries().entries} == {"new", "newer", SAGAN.readable}
        assert other.stats().entries == 0  # what was stored first, and not used since, is evicted first
        other.clear()
        cache.clear()
        assert cache.namespaces() == []


@every_kind_of_file
def test_many_processes_that_open_it_at_once_find_everything_and_nobody_errs(kind: Backend, folder: Path) -> None:
    gate = multiprocessing.get_context("fork").Barrier(PROCESSES)

    def open_at_once(number: int) -> tuple[list[str], int, int]:
        gate.wait(HANG_SECONDS)
        with warnings_logged() as warnings:
            cache = open_cache(kind.url(folder), clock=FakeClock(OPENED_AT), strict=True)
            store(cache, f"by {number}", f"answer {number}")
            for old in STORED:
                assert view_of(cache, old).lookup(old.prompt, LLM) == old.generations
            assert found(cache, f"by {number}") == [f"answer {number}"]
            return [*warnings, *cache.notices], cache.counters.errors, cache.counters.corrupt

    children = [Child(lambda number=number: open_at_once(number)) for number in range(PROCESSES)]
    assert [child.result() for child in children] == [([], 0, 0)] * PROCESSES
    with open_cache(kind.url(folder), clock=FakeClock(OPENED_AT), strict=True) as cache:
        assert cache.stats().entries == 2 + PROCESSES
        for old in STORED:
            is_as_it_was(view_of(cache, old).get(old.key), old)  # the children ended without writing their uses
    if kind.name == "sqlite":
        assert sql(folder / "store" / "cache.db", "pragma integrity_check") == [("ok",)]


@every_kind_of_file
def test_an_opening_that_is_killed_at_any_step_leaves_a_store_that_opens(kind: Backend, folder: Path) -> None:
    steps = in_child(lambda: open_in_steps(kind, copied(folder, "counted")))
    assert steps > 100
    for killed_at in range(0, steps, steps // 50):
        place = copied(folder, f"killed at {killed_at}")
        with pytest.raises(AssertionError, match="the child died: signal 9"):
            in_child(lambda place=place, killed_at=killed_at: open_in_steps(kind, place, killed_at))
        with open_cache(kind.url(place), clock=FakeClock(OPENED_AT), strict=True) as cache:
            for old in STORED:
                is_as_it_was(view_of(cache, old).get(old.key), old)
            assert cache.pin(SAGAN.key)
            assert cache.notices == ()


def copied(folder: Path, name: str) -> Path:
    """A copy of the stores, times included."""
    return Path(shutil.copytree(folder, folder.with_name(name)))


def open_in_steps(kind: Backend, folder: Path, killed_at: int = -1) -> int:
    """Open a store, counting every call that is made; at one of them the process dies."""
    steps = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal steps
        if event in ("call", "c_call"):
            if steps == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            steps += 1

    sys.setprofile(count)
    try:
        open_cache(kind.url(folder), clock=FakeClock(OPENED_AT))
    finally:
        sys.setprofile(None)
    return steps


@every_kind_of_file
def test_what_is_made_in_an_old_store_is_for_its_owner_only(kind: Backend, folder: Path, clock: FakeClock) -> None:
    before = set(folder.rglob("*"))
    with open_cache(kind.url(folder), clock=clock) as cache:
        store(cache, "new", "answer")
        made = set(folder.rglob("*")) - before
        assert made
        assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()} == {0o600}
        assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()} <= {0o700}


def newer_sqlite(folder: Path) -> Path:
    """Make the SQLite store one of a later version."""
    path = folder / "store" / "cache.db"
    sql(path, "pragma user_version = 99")
    return path


def newer_json(folder: Path) -> Path:
    """Make the folder of JSON files one of a later version."""
    path = folder / "store"
    (path / "llm-cache.json").write_text(json.dumps({"kind": "LLM answers as JSON files", "format": 99}))
    return path


@pytest.mark.parametrize(
    ("kind", "make_newer", "sentence"),
    [
        (PERSISTENT[0], newer_sqlite, r"cache\.db was made by a newer version \(format 99; this one knows up to \d+\)"),
        (PERSISTENT[1], newer_json, "store was made by a newer version of this cache"),
    ],
    ids=["sqlite", "json"],
)
def test_a_newer_format_is_refused_with_a_sentence_and_left_alone(
    kind: Backend, folder: Path, make_newer: Callable[[Path], Path], sentence: str
) -> None:
    make_newer(folder)
    with open_cache(kind.url(folder / "elsewhere")):  # opening is what refuses, not something about this process
        pass
    shutil.rmtree(folder / "elsewhere")
    before, times = files_below(folder), {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    for strict in (True, False):
        with pytest.raises(CacheConfigError, match=f"{sentence}.*Update the program"):
            open_cache(kind.url(folder), strict=strict, max_entries=1)
    assert files_below(folder) == before
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if not path.is_dir()} == {
        path: time for path, time in times.items() if not path.is_dir()
    }


def test_the_stores_of_the_first_format_are_what_this_file_says() -> None:
    """Nobody may "mend" a test by making the stores anew with a later version."""
    assert sql_version(STORES / "sqlite-1.db") == 1
    assert json.loads((STORES / "json-1" / "llm-cache.json").read_text())["format"] == 1
    entries = [json.loads(path.read_text()) for path in sorted((STORES / "json-1").glob("*/*/*.json"))]
    assert [entry["format"] for entry in entries] == [1, 1, 1]


def sql_version(path: Path) -> int:
    """The number in the head of a SQLite file (https://sqlite.org/fileformat.html#user_version_number)."""
    return int.from_bytes(path.read_bytes()[60:64], "big")
