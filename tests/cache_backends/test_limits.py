"""When a process that stores looks whether the limits are kept: often enough, and not at every store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_backends.errors import CacheUnavailableError
from cache_backends.limits import CHECKS, Limits
from tests.cache_backends.processes import in_child


def test_without_limits_there_are_none() -> None:
    assert not Limits(None, None).exist
    assert Limits(1, None).exist
    assert Limits(None, 1).exist


@pytest.mark.parametrize("limits", [Limits(10_000, None), Limits(None, 10_000), Limits(10_000, 10_000)])
def test_the_first_store_of_a_process_looks(limits: Limits) -> None:
    assert limits.are_due(1)
    assert not limits.are_due(1)


def test_a_small_limit_is_looked_at_with_every_store() -> None:
    limits = Limits(CHECKS, None)
    assert all(limits.are_due(1) for _ in range(10))


def test_a_hundredth_of_the_entries_is_stored_between_two_looks() -> None:
    limits = Limits(1_000, None)
    assert [limits.are_due(10**9) for _ in range(21)] == [number % 10 == 0 for number in range(21)]


def test_a_hundredth_of_the_bytes_is_stored_between_two_looks() -> None:
    limits = Limits(None, 10_000)
    assert [limits.are_due(size) for size in (1, 99, 1, 50, 49, 1, 100, 5_000, 99)] == [
        True, False, True, False, False, True, True, True, False,
    ]  # fmt: skip


def test_whichever_limit_is_reached_first_counts() -> None:
    limits = Limits(300, 10_000)
    assert [limits.are_due(size) for size in (1, 1, 1, 1, 99, 1, 1, 1, 100)] == [
        True, False, False, True, False, True, False, False, True,
    ]  # fmt: skip


@given(
    max_entries=st.none() | st.integers(1, 5_000),
    max_bytes=st.none() | st.integers(1, 10**6),
    sizes=st.lists(st.integers(0, 10**5), max_size=200),
)
def test_a_store_that_looks_whenever_it_is_told_exceeds_its_limits_by_a_hundredth_at_most(
    max_entries: int | None, max_bytes: int | None, sizes: list[int]
) -> None:
    limits = Limits(max_entries, max_bytes)
    entries = size_bytes = 0  # stored since somebody looked last, and what was too much was removed
    for size in sizes:
        entries, size_bytes = entries + 1, size_bytes + size
        if limits.are_due(size):
            entries = size_bytes = 0
        assert max_entries is None or entries <= max_entries / CHECKS
        assert max_bytes is None or size_bytes <= max_bytes / CHECKS


def test_a_forked_child_can_evict_although_a_thread_of_its_parent_was_evicting() -> None:
    limits = Limits(10, None)
    with limits.evicting:
        assert in_child(lambda: limits.evicting.acquire(timeout=5))


def test_a_store_that_can_not_say_when_it_was_used_is_used_all_the_same() -> None:
    def fails() -> float:
        raise CacheUnavailableError("a folder of somebody else")

    limits = Limits(10, None, fails)
    assert limits.use_at(5.0) == 5.0
    assert limits.use_at(4.0) > 5.0
