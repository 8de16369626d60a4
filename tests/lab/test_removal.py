"""Removing many entries: what matches and nothing else, in steps, stopped or failing with what was done told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cache_backends import CacheBackend, CacheUnavailableError, open_cache
from lab import removal
from lab.entry_filter import EntryFilter
from lab.jobs import Job
from lab.removal import Removal, RemovalJob, Remove, Removing, everything, expired, matching
from tests.lab.building import Clock
from tests.lab.entries import DOWN, Troubled, fill, listed
from tests.lab.transfers import store

REMOVALS = {"matching": matching(EntryFilter(), 2e9), "expired": expired, "everything": everything}


@pytest.fixture(params=["memory://", "sqlite:///{}/cache.db", "json:///{}/answers"], ids=["memory", "sqlite", "json"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> CacheBackend:
    made: CacheBackend = open_cache(request.param.format(tmp_path), clock=clock)
    return made


def ran(remove: Remove, cache: CacheBackend, job: RemovalJob | None = None) -> Removal:
    return remove(cache, Job() if job is None else job)


def prompts(cache: CacheBackend) -> list[str]:
    cache.bring_up_to_date()
    return sorted(entry.prompt for entry in listed(cache))


def test_what_matches_is_removed_and_the_rest_stays(cache: CacheBackend, clock: Clock) -> None:
    fill(cache, 7, prompt="apple")
    fill(cache, 3, prompt="pear")
    clock.advance(1)
    assert ran(matching(EntryFilter(search="app"), clock.now), cache) == Removal(7)
    assert prompts(cache) == ["pear 0", "pear 1", "pear 2"]


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_it_is_done_in_steps_and_tells_how_far_it_is(
    cache: CacheBackend, clock: Clock, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "REMOVED_AT_ONCE", at_once)
    fill(cache, 5)
    clock.advance(1)
    job: RemovalJob = Job()
    assert ran(matching(EntryFilter(), clock.now), cache, job) == Removal(5)
    assert [step.removed for step in job.progress][-1] == 5
    assert len(job.progress) == -(-5 // at_once)
    assert job.progress[0].of == 5
    assert all(step.removed <= step.of for step in job.progress)


def test_what_is_stored_after_it_began_stays(
    cache: CacheBackend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "REMOVED_AT_ONCE", 2)
    fill(cache, 5, prompt="old")
    clock.advance(1)
    remove = matching(EntryFilter(), clock.now)
    job: RemovalJob = Job()
    show = job.show

    def store_then_show(step: Removing) -> None:
        fill(cache, 1, prompt=f"new {len(job.progress)}")
        cache.bring_up_to_date()
        show(step)

    job.show = store_then_show  # type: ignore[method-assign]
    assert ran(remove, cache, job) == Removal(5)
    assert prompts(cache) == ["new 0 0", "new 1 0", "new 2 0"]


def test_an_answer_that_was_replaced_after_it_began_stays(cache: CacheBackend, clock: Clock) -> None:
    store(cache, "question", "old")
    clock.advance(1)
    remove = matching(EntryFilter(), clock.now)
    store(cache, "question", "new")
    assert ran(remove, cache) == Removal(0)
    assert [entry.answer for entry in listed(cache)] == ["new"]


def test_an_earlier_bound_of_the_filter_holds(cache: CacheBackend, clock: Clock) -> None:
    fill(cache, 2, prompt="older")
    bound = clock.now + 1
    clock.advance(2)
    fill(cache, 2, prompt="younger")
    clock.advance(2)
    assert ran(matching(EntryFilter(created_before=bound), clock.now), cache) == Removal(2)
    assert prompts(cache) == ["younger 0", "younger 1"]


def test_other_namespaces_stay(cache: CacheBackend, clock: Clock) -> None:
    other = cache.view(namespace="other", ttl="1s")
    for each in (cache.view(ttl="1s"), other):
        fill(each, 2)
    clock.advance(10)
    for remove in (matching(EntryFilter(), clock.now), expired, everything):
        fill(cache, 1)
        ran(remove, cache)
        other.bring_up_to_date()
        assert other.entries().total == 2


def test_what_has_expired_is_removed_and_the_rest_stays(cache: CacheBackend, clock: Clock) -> None:
    fill(cache.view(ttl="1s"), 3, prompt="short")
    cache.pin(fill(cache.view(ttl="1s"), 1, prompt="pinned")[0])
    fill(cache, 2, prompt="long")
    clock.advance(1)
    assert ran(expired, cache) == Removal(3)
    assert prompts(cache) == ["long 0", "long 1", "pinned 0"]
    assert cache.stats().entries == 3


def test_everything_is_removed_pinned_entries_too(cache: CacheBackend) -> None:
    cache.pin(fill(cache, 3)[0])
    assert ran(everything, cache) == Removal(3)
    assert prompts(cache) == []


def test_what_somebody_else_removes_meanwhile_is_not_counted(
    cache: CacheBackend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "REMOVED_AT_ONCE", 2)
    fill(cache, 6)
    clock.advance(1)
    job: RemovalJob = Job()
    show = job.show

    def clear_then_show(step: Removing) -> None:
        cache.clear()
        show(step)

    job.show = clear_then_show  # type: ignore[method-assign]
    assert ran(matching(EntryFilter(), clock.now), cache, job) == Removal(2)
    assert prompts(cache) == []


def test_one_that_is_stopped_keeps_what_it_has_not_removed_yet(
    cache: CacheBackend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "REMOVED_AT_ONCE", 2)
    fill(cache, 5)
    clock.advance(1)
    job: RemovalJob = Job()
    show = job.show

    def show_and_stop(step: Removing) -> None:
        show(step)
        job.stop()

    job.show = show_and_stop  # type: ignore[method-assign]
    assert ran(matching(EntryFilter(), clock.now), cache, job) == Removal(2, stopped=True)
    assert len(prompts(cache)) == 3


def test_a_search_that_takes_long_can_be_stopped_too(clock: Clock) -> None:
    cache = Troubled(clock=clock)
    fill(cache, 600)
    clock.advance(1)
    job: RemovalJob = Job()
    cache.on["entries"] = job.stop  # and then looks through 600 entries, which is told of after 500
    assert ran(matching(EntryFilter(), clock.now), cache, job) == Removal(0, stopped=True)
    assert cache.stats().entries == 600


@pytest.mark.parametrize(
    ("remove", "step"), [("matching", "entries"), ("matching", "delete"), ("expired", "purge"), ("everything", "clear")]
)
def test_a_store_that_fails_ends_it_with_a_sentence_without_a_password(remove: str, step: str, clock: Clock) -> None:
    cache = Troubled(clock=clock)
    fill(cache, 3)
    clock.advance(1)
    cache.fail(step)
    result = ran(REMOVALS[remove], cache)
    assert (result.removed, result.stopped) == (0, False)
    assert result.error is not None
    assert "no server at redis://" in result.error
    assert "hunter2secret" not in result.error
    assert cache.stats().entries == 3


def test_one_that_fails_in_the_middle_says_how_many_are_gone(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "REMOVED_AT_ONCE", 2)
    cache = Troubled(clock=clock)
    fill(cache, 5)
    clock.advance(1)
    deletions: list[int] = []

    def fail_the_second_time() -> None:
        deletions.append(1)
        if len(deletions) == 2:
            raise CacheUnavailableError(DOWN)

    cache.on["delete"] = fail_the_second_time
    result = ran(matching(EntryFilter(), clock.now), cache)
    assert result.removed == 2
    assert result.error is not None
    assert cache.stats().entries == 3


@pytest.mark.parametrize("name", REMOVALS)
def test_an_index_that_can_not_be_written_keeps_nothing_from_being_removed(name: str, clock: Clock) -> None:
    # Where the disk is full, removing is what helps.
    cache = Troubled(clock=clock)
    fill(cache.view(ttl="1s"), 3)
    clock.advance(1)
    cache.fail("index", message="database or disk is full")
    assert ran(REMOVALS[name], cache) == Removal(3)
    assert cache.stats().entries == 0


@pytest.mark.parametrize("name", REMOVALS)
def test_removing_from_an_empty_store_removes_nothing(name: str, cache: CacheBackend) -> None:
    assert ran(REMOVALS[name], cache) == Removal(0)


def test_a_million_bytes_of_query_are_only_a_search(cache: CacheBackend, clock: Clock) -> None:
    fill(cache, 2)
    clock.advance(1)
    hostile: list[dict[str, Any]] = [{"search": '"; drop table entries; --'}, {"model": "' or 1=1 --"}]
    for chosen in hostile:
        assert ran(matching(EntryFilter(**chosen), clock.now), cache) == Removal(0)
    assert len(prompts(cache)) == 2
