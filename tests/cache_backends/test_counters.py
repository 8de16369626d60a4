"""Counts and percentiles of what a cache did in this process."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_backends import Counters, Outcome
from cache_backends.counters import REMEMBERED_TIMES


def test_every_outcome_is_counted_by_itself() -> None:
    counters = Counters()
    for repeats, outcome in enumerate(get_args(Outcome), start=1):
        for _ in range(repeats):
            counters.count_lookup(outcome, 0.1)
    counts = (counters.hits, counters.misses, counters.expired, counters.corrupt, counters.errors)
    assert (counts, counters.lookups) == ((1, 2, 3, 4, 5), 15)


def test_a_store_that_failed_is_an_error_and_no_lookup() -> None:
    counters = Counters()
    counters.count_lookup("miss", 0.1)
    counters.count_error()
    assert (counters.errors, counters.lookups) == (1, 1)


def test_stores_refusals_and_evictions_are_counted() -> None:
    counters = Counters()
    counters.count_store(0.1)
    counters.count_uncacheable()
    counters.count_evictions(3)
    counters.count_evictions(0)
    assert (counters.stores, counters.uncacheable, counters.evictions, counters.lookups) == (1, 1, 3, 0)


def test_there_is_no_percentile_before_the_first_time() -> None:
    counters = Counters()
    assert counters.lookup_percentile_s(50) is None
    assert counters.store_percentile_s(50) is None


@given(
    times=st.lists(st.floats(0, 100), min_size=1, max_size=50),
    percent=st.integers(1, 100) | st.sampled_from([0.0, 99.9]),
)
def test_a_percentile_is_the_least_time_that_so_many_do_not_exceed(times: list[float], percent: float) -> None:
    counters = Counters()
    for time_s in times:
        counters.count_lookup("hit", time_s)
        counters.count_store(2 * time_s)
    needed = max(1, math.ceil(len(times) * percent / 100))
    expected = min(time_s for time_s in times if sum(other <= time_s for other in times) >= needed)
    assert counters.lookup_percentile_s(percent) == expected
    assert counters.store_percentile_s(percent) == 2 * expected


def test_percentiles_are_those_of_the_newest_times() -> None:
    counters = Counters()
    for number in range(REMEMBERED_TIMES + 10):
        counters.count_lookup("hit", float(number))
    assert counters.lookup_percentile_s(0) == 10
    assert counters.lookup_percentile_s(100) == REMEMBERED_TIMES + 9
    assert counters.hits == REMEMBERED_TIMES + 10


def test_threads_lose_no_count() -> None:
    counters = Counters()

    def count(_: int) -> None:
        for _ in range(500):
            counters.count_lookup("hit", 0.1)
            counters.count_store(0.1)
            counters.lookup_percentile_s(50)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(8)))
    assert (counters.hits, counters.stores) == (4000, 4000)


def test_a_copy_in_another_process_counts_from_nought() -> None:
    counters = Counters()
    counters.count_lookup("hit", 0.1)
    again = pickle.loads(pickle.dumps(counters))
    again.count_lookup("miss", 0.1)
    assert (again.hits, again.misses, again.lookup_percentile_s(50)) == (0, 1, 0.1)


@pytest.mark.parametrize("percent", [50, 95, 99])
def test_one_time_is_every_percentile(percent: float) -> None:
    counters = Counters()
    counters.count_lookup("miss", 0.25)
    assert counters.lookup_percentile_s(percent) == 0.25
