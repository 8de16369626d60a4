"""Uses that are noted in memory: none is lost or counted twice, and they never grow without bound."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_backends import uses as module
from cache_backends.uses import UnwrittenUses
from tests.cache_backends.processes import in_child


@pytest.fixture
def uses() -> UnwrittenUses[str]:
    """Nothing noted yet."""
    return UnwrittenUses()


def test_nothing_noted_is_nothing_to_write(uses: UnwrittenUses[str]) -> None:
    assert uses.take(10) == []
    assert not uses.are_many()


def test_uses_of_an_entry_are_added_up_and_the_last_one_counts(uses: UnwrittenUses[str]) -> None:
    for place, now in (("a", 5.0), ("b", 6.0), ("a", 9.0), ("a", 7.0)):
        uses.note(place, now)
    assert sorted(uses.take(10)) == [("a", 3, 9.0), ("b", 1, 6.0)]


def test_what_was_taken_is_not_taken_again(uses: UnwrittenUses[str]) -> None:
    for place in "abc":
        uses.note(place, 1.0)
    first = uses.take(2)
    assert len(first) == 2
    rest = uses.take(2)
    assert {place for place, *_ in first + rest} == {"a", "b", "c"}
    assert uses.take(2) == []


def test_what_could_not_be_written_is_added_to_what_was_noted_since(uses: UnwrittenUses[str]) -> None:
    uses.note("a", 5.0)
    uses.note("a", 4.0)
    taken = uses.take(10)
    uses.note("a", 3.0)
    noted_since = uses.take(10)
    uses.put_back(noted_since)
    uses.put_back(taken)
    assert uses.take(10) == [("a", 3, 5.0)]


def test_uses_of_an_entry_that_is_replaced_are_forgotten(uses: UnwrittenUses[str]) -> None:
    uses.note("a", 1.0)
    uses.note("b", 1.0)
    uses.are_many()
    uses.note("a", 2.0)
    uses.forget("a")
    uses.forget("never used")
    uses.note("a", 3.0)
    assert sorted(uses.take(10)) == [("a", 1, 3.0), ("b", 1, 1.0)]


def test_many_entries_are_many_and_many_uses_of_one_are_not(
    uses: UnwrittenUses[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY", 3)
    for _ in range(10):
        uses.note("a", 1.0)
    assert not uses.are_many()
    uses.note("b", 1.0)
    assert not uses.are_many()
    uses.note("c", 1.0)
    assert uses.are_many()
    uses.take(1)
    assert not uses.are_many()


def test_uses_are_added_up_before_their_list_grows_long(
    uses: UnwrittenUses[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ADDED_UP_AFTER", 10)
    for number in range(1_000):
        uses.note("ab"[number % 2], float(number))
        assert len(uses._listed) < 10
    assert sorted(uses.take(10)) == [("a", 500, 998.0), ("b", 500, 999.0)]


def test_uses_of_too_many_entries_are_not_noted_while_those_noted_go_on_counting(
    uses: UnwrittenUses[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_NOTED", 2)
    monkeypatch.setattr(module, "ADDED_UP_AFTER", 1)
    for place in "abcdab":
        uses.note(place, 1.0)
    assert sorted(uses.take(10)) == [("a", 2, 1.0), ("b", 2, 1.0)]
    uses.note("c", 1.0)
    assert uses.take(10) == [("c", 1, 1.0)]


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("note"), st.sampled_from("abcd"), st.floats(0, 100)),
            st.tuples(st.just("take"), st.integers(0, 3), st.booleans()),
            st.tuples(st.just("forget"), st.sampled_from("abcd"), st.none()),
        )
    )
)
def test_every_use_is_written_once(steps: list[tuple[str, object, object]]) -> None:
    uses: UnwrittenUses[object] = UnwrittenUses()
    expected: dict[object, tuple[int, float]] = {}
    written: list[tuple[object, int, float]] = []
    for step, what, how in steps:
        if step == "note":
            assert isinstance(how, float)
            uses.note(what, how)
            count, last = expected.get(what, (0, how))
            expected[what] = (count + 1, max(last, how))
        elif step == "forget":
            uses.forget(what)
            expected.pop(what, None)
        else:
            assert isinstance(what, int)
            taken = uses.take(what)
            assert len(taken) == min(what, len(expected))
            if how:
                uses.put_back(taken)
            else:
                written += [(place, *expected.pop(place)) for place, *_ in taken]
                assert written[len(written) - len(taken) :] == taken
    assert {place: (count, last) for place, count, last in uses.take(10)} == expected


def test_threads_lose_no_use(uses: UnwrittenUses[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ADDED_UP_AFTER", 7)
    written: Counter[str] = Counter()
    done = threading.Event()

    def note(name: str) -> None:
        for number in range(2_000):
            uses.note(f"{name}{number % 5}", float(number))

    def write() -> None:
        while True:
            last = done.is_set()
            for place, count, _ in uses.take(3):
                written[place] += count
            if last and not uses.take(0) and not uses._added_up and not uses._listed:
                return

    writer = threading.Thread(target=write)
    writer.start()
    noting = [threading.Thread(target=note, args=(name,)) for name in "abcd"]
    for thread in noting:
        thread.start()
    for thread in noting:
        thread.join()
    done.set()
    writer.join()
    assert written == {f"{name}{number}": 400 for name in "abcd" for number in range(5)}


def test_a_forked_child_leaves_what_was_noted_to_its_parent(uses: UnwrittenUses[str]) -> None:
    uses.note("a", 1.0)
    uses.are_many()
    uses.note("b", 1.0)
    with uses._lock:  # a thread of the parent may hold it

        def child() -> list[tuple[str, int, float]]:
            uses.note("c", 2.0)
            return uses.take(10)

        taken = in_child(child)
    assert taken == [("c", 1, 2.0)]
    assert sorted(uses.take(10)) == [("a", 1, 1.0), ("b", 1, 1.0)]
