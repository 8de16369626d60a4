"""The system clock jumps a day either way, or two processes disagree about it.

What is promised: an entry is served if and only if the clock says less than its `expires_at`, whatever it said in
between, so that a jump back may bring one back that had expired, and one that was purged stays away. No age is
negative, no use is recorded as older than the one before it, what was used last is evicted last, and how long the
model took is measured by a clock that cannot be set. Times are Unix times: summer time changes none of them.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cache_backends import CacheBackend
from tests.cache_backends.answers import found, look, store
from tests.cache_backends.backends import Backend, FakeClock
from tests.reliability.stores import every_kind, every_persistent_kind, opened, warnings_logged

DAY_S = 86_400.0
HOUR_S = 3_600.0

either_way = pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S], ids=["a day ahead", "a day back"])


def prompts(cache: CacheBackend) -> set[str]:
    """The prompts that are listed."""
    return {entry.prompt for entry in cache.entries().entries}


# Time to live


@every_kind
@pytest.mark.parametrize("seed", range(3))
def test_an_entry_is_served_exactly_while_the_clock_is_before_its_end(kind: Backend, tmp_path: Path, seed: int) -> None:
    chance, clock = random.Random(seed), FakeClock()
    jumps = [DAY_S, -DAY_S, HOUR_S, -HOUR_S, 1.0, -1.0, 0.0]
    expected: dict[str, float | None] = {}
    with opened(kind, tmp_path, clock=clock) as cache, warnings_logged() as warnings:
        for number in range(120):
            clock.tick(chance.choice(jumps))
            prompt = f"q{number % 10}"
            if number % 3 == 0:
                ttl = chance.choice([None, HOUR_S, DAY_S])
                store(cache.view(ttl=ttl), prompt, f"answer {number}")
                expected[prompt] = None if ttl is None else clock.now + ttl
            lookup, end = look(cache, prompt), expected.get(prompt)
            if prompt not in expected:
                assert lookup.outcome == "miss"
                continue
            assert lookup.outcome == ("hit" if end is None or clock.now < end else "expired")
            assert lookup.age_s is not None
            assert lookup.age_s >= 0
            assert lookup.expired_for_s is None or lookup.expired_for_s >= 0
            live = {each for each, its_end in expected.items() if its_end is None or clock.now < its_end}
            assert {entry.prompt for entry in cache.entries(state="live").entries} == live
            assert {entry.prompt for entry in cache.entries(state="expired").entries} == expected.keys() - live
            assert cache.stats().expired == len(expected) - len(live)
        assert (warnings, cache.counters.errors, cache.counters.corrupt) == ([], 0, 0)


@every_kind
def test_the_end_itself_is_too_late_before_and_after_a_jump(kind: Backend, tmp_path: Path) -> None:
    clock = FakeClock()
    with opened(kind, tmp_path, clock=clock, ttl=HOUR_S) as cache:
        store(cache, "q", "answer")
        for since_storing_s in (0.0, HOUR_S - 0.5, HOUR_S, HOUR_S - 0.5, DAY_S, -DAY_S, HOUR_S + 0.5, 0.0):
            clock.now = 1_700_000_000.0 + since_storing_s
            lookup = look(cache, "q")
            assert (lookup.outcome, lookup.age_s) == (
                "hit" if since_storing_s < HOUR_S else "expired",
                max(since_storing_s, 0.0),
            )


@every_kind
def test_what_was_purged_stays_away_when_the_clock_is_set_back(kind: Backend, tmp_path: Path) -> None:
    clock = FakeClock()
    with opened(kind, tmp_path, clock=clock, ttl=HOUR_S) as cache:
        store(cache, "an hour", "answer")
        store(cache.view(ttl=2 * DAY_S), "two days", "answer")
        store(cache.view(ttl=None), "for ever", "answer")
        clock.tick(-DAY_S)
        assert cache.purge_expired() == 0
        clock.tick(2 * DAY_S)
        assert cache.purge_expired() == 1
        clock.tick(-2 * DAY_S)
        assert look(cache, "an hour").outcome == "miss"
        assert (found(cache, "two days"), found(cache, "for ever")) == (["answer"], ["answer"])
        assert prompts(cache) == {"two days", "for ever"}


@every_kind
def test_storing_again_after_a_jump_counts_from_the_new_time(kind: Backend, tmp_path: Path) -> None:
    clock = FakeClock()
    with opened(kind, tmp_path, clock=clock, ttl=HOUR_S) as cache:
        for jump_s in (DAY_S, -DAY_S, -DAY_S, DAY_S):
            clock.tick(jump_s)
            store(cache, "q", f"stored at {clock.now}")
            (entry,) = cache.entries().entries
            assert (entry.created_at, entry.expires_at, entry.hits) == (clock.now, clock.now + HOUR_S, 0)
            assert found(cache, "q") == [f"stored at {clock.now}"]
            clock.tick(HOUR_S)
            assert found(cache, "q") is None


@every_kind
def test_a_machine_that_woke_up_in_1970_and_was_set_right_goes_on(kind: Backend, tmp_path: Path) -> None:
    clock = FakeClock(0.0)
    with opened(kind, tmp_path, clock=clock, max_entries=3) as cache, warnings_logged() as warnings:
        store(cache, "for ever", "answer")
        store(cache.view(ttl=HOUR_S), "an hour", "answer")
        assert (found(cache, "for ever"), found(cache, "an hour")) == (["answer"], ["answer"])
        clock.now = 1_700_000_000.0
        assert look(cache, "for ever").age_s == 1_700_000_000.0
        assert look(cache, "an hour").outcome == "expired"
        clock.now = -HOUR_S
        assert (look(cache, "for ever").age_s, look(cache, "an hour").age_s) == (0.0, 0.0)
        store(cache, "before 1970", "answer")
        assert found(cache, "before 1970") == ["answer"]
        assert cache.stats().oldest == -HOUR_S
        assert (warnings, cache.counters.errors) == ([], 0)


@every_persistent_kind
def test_two_caches_that_disagree_about_the_time_share_a_store_without_error(kind: Backend, tmp_path: Path) -> None:
    right, ahead = FakeClock(), FakeClock(1_700_000_000.0 + DAY_S)
    with (
        opened(kind, tmp_path, clock=right, ttl=HOUR_S) as ours,
        opened(kind, tmp_path, clock=ahead, ttl=HOUR_S) as theirs,
    ):
        store(theirs, "stored ahead", "answer")
        store(ours, "stored right", "answer")
        assert (look(ours, "stored ahead").outcome, look(ours, "stored ahead").age_s) == ("hit", 0.0)
        assert look(theirs, "stored right").outcome == "expired"
        assert (ours.purge_expired(), theirs.purge_expired()) == (0, 1)
        right.tick(DAY_S + HOUR_S)
        assert look(ours, "stored ahead").outcome == "expired"
        assert (ours.counters.errors, theirs.counters.errors) == (0, 0)


# Uses and limits


@every_kind
@pytest.mark.parametrize("written_between", [False, True], ids=["written at once", "written one by one"])
def test_a_use_is_never_recorded_as_older_than_the_one_before_it(
    kind: Backend, tmp_path: Path, written_between: bool
) -> None:
    clock = FakeClock()
    with opened(kind, tmp_path, clock=clock) as cache:
        store(cache, "q", "answer")
        clock.tick(100)
        for hits, jump_s in enumerate([0.0, -DAY_S, HOUR_S], start=1):
            clock.tick(jump_s)
            found(cache, "q")
            if written_between:
                (entry,) = cache.entries().entries
                assert (entry.hits, entry.last_used_at) == (hits, 1_700_000_100.0)
        (entry,) = cache.entries().entries
        assert (entry.hits, entry.last_used_at, entry.created_at) == (3, 1_700_000_100.0, 1_700_000_000.0)


@every_kind
@either_way
def test_the_answer_just_stored_is_not_the_one_evicted(kind: Backend, tmp_path: Path, jump_s: float) -> None:
    clock = FakeClock()
    with opened(kind, tmp_path, clock=clock, max_entries=3) as cache:
        for prompt in "abc":
            store(cache, prompt, "answer")
            clock.tick()
        clock.tick(jump_s)
        for prompt in "defghi":
            store(cache, prompt, "answer")
            assert found(cache, prompt) == ["answer"]
            assert cache.stats().entries == 3
            clock.tick()


@every_kind
@either_way
def test_what_was_used_last_is_evicted_last_over_a_jump(kind: Backend, tmp_path: Path, jump_s: float) -> None:
    clock = FakeClock()
    with opened(kind, tmp_path, clock=clock, max_entries=3) as cache:
        for prompt in "abc":
            store(cache, prompt, "answer")
            clock.tick()
        clock.tick(jump_s)
        found(cache, "a")
        clock.tick()
        left = []
        for prompt in "def":
            store(cache, prompt, "answer")
            clock.tick()
            left.append(prompts(cache))
        assert left == [{"a", "c", "d"}, {"a", "d", "e"}, {"d", "e", "f"}]


# The time the model took


@every_kind
@either_way
def test_the_time_the_model_took_knows_nothing_of_the_jump(kind: Backend, tmp_path: Path, jump_s: float) -> None:
    clock = FakeClock()
    with opened(kind, tmp_path, clock=clock) as cache:
        assert found(cache, "q") is None
        clock.tick(jump_s)
        store(cache, "q", "answer")
        for _ in range(2):
            took_s = look(cache, "q").model_time_s
            assert took_s is not None
            assert 0 <= took_s < DAY_S / 2
            clock.tick(-jump_s)
        (entry,) = cache.entries().entries
        assert entry.model_time_s == took_s
        fastest_s = cache.counters.lookup_percentile_s(0)
        assert fastest_s is not None
        assert fastest_s >= 0
