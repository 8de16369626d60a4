"""Timing in rounds: whose turn it is when, what is warm-up, and what is a failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from lab.rounds import WARM_UP_ROUNDS, Contender, Operation, timed_rounds

NAMES = ("a", "b", "c", "d")


class Noted:
    """Contenders that note who was called, and with which number."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def contender(self, name: str, result: Callable[[int], object] = lambda _: "found") -> Contender:
        def make(number: int) -> Operation:
            def call() -> object:
                self.calls.append((name, number))
                return result(number)

            return call

        return make

    def all(self) -> dict[str, Contender]:
        return {name: self.contender(name) for name in NAMES}


def raise_error(number: int) -> object:
    raise ValueError(f"call {number} failed")


def is_found(result: object) -> str | None:
    return None if result else "not found"


@pytest.mark.parametrize("warm_up", [0, 1, 3])
def test_rounds_of_the_warm_up_come_first_and_have_negative_numbers(warm_up: int) -> None:
    rounds = list(timed_rounds(Noted().all(), rounds=4, block=2, warm_up=warm_up))
    assert [each.number for each in rounds] == [*range(-warm_up, 0), 0, 1, 2, 3]


def test_there_is_a_warm_up_unless_told_otherwise() -> None:
    rounds = list(timed_rounds(Noted().all(), rounds=1, block=1))
    assert sum(each.number < 0 for each in rounds) == WARM_UP_ROUNDS > 0


def test_every_contender_is_called_equally_often_and_timed_each_time() -> None:
    noted = Noted()
    rounds = list(timed_rounds(noted.all(), rounds=7, block=3, warm_up=2))
    assert Counter(name for name, _ in noted.calls) == dict.fromkeys(NAMES, 9 * 3)
    assert all({*each.blocks} == {*NAMES} for each in rounds)
    assert all(len(block.seconds) == 3 and not block.failures for each in rounds for block in each.blocks.values())
    assert all(seconds >= 0 for each in rounds for block in each.blocks.values() for seconds in block.seconds)


def test_the_calls_of_a_block_follow_one_another() -> None:
    noted = Noted()
    list(timed_rounds(noted.all(), rounds=5, block=4, warm_up=0))
    blocks = [noted.calls[start : start + 4] for start in range(0, len(noted.calls), 4)]
    assert all(len({name for name, _ in block}) == 1 for block in blocks)


def test_no_two_calls_of_a_contender_have_the_same_number() -> None:
    noted = Noted()
    list(timed_rounds(noted.all(), rounds=5, block=4, warm_up=2))
    for name in NAMES:
        assert [number for called, number in noted.calls if called == name] == list(range(7 * 4))


def test_all_calls_of_a_block_are_made_ready_before_the_first_is_timed() -> None:
    events: list[str] = []

    def make(number: int) -> Operation:
        events.append(f"make {number}")
        return lambda: events.append(f"call {number}")

    list(timed_rounds({"a": make}, rounds=1, block=2, warm_up=0))
    assert events == ["make 0", "make 1", "call 0", "call 1"]


def test_the_order_differs_from_round_to_round_and_is_the_same_in_every_run() -> None:
    runs = [[tuple(each.blocks) for each in timed_rounds(Noted().all(), rounds=50, block=1)] for _ in range(2)]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 10
    first = Counter(order[0] for order in runs[0])
    assert min(first[name] for name in NAMES) >= 5


def test_blocks_are_listed_in_the_order_in_which_they_were_called() -> None:
    noted = Noted()
    rounds = list(timed_rounds(noted.all(), rounds=5, block=1, warm_up=0))
    assert [name for name, _ in noted.calls] == [name for each in rounds for name in each.blocks]


def test_a_contender_that_is_taken_out_between_rounds_is_not_called_again_and_the_others_are() -> None:
    noted = Noted()
    contenders = noted.all()
    for each in timed_rounds(contenders, rounds=6, block=2, warm_up=0):
        if each.number == 1:
            del contenders["b"]
    assert Counter(name for name, _ in noted.calls) == {"a": 12, "b": 4, "c": 12, "d": 12}


def test_where_all_were_taken_out_the_rounds_go_on_empty() -> None:
    assert [each.blocks for each in timed_rounds({}, rounds=2, block=2, warm_up=0)] == [{}, {}]


def test_what_the_judge_does_not_accept_is_a_failure_and_not_timed() -> None:
    contenders = {"a": Noted().contender("a", lambda number: number % 3)}
    (only,) = timed_rounds(contenders, rounds=1, block=6, warm_up=0, judge=is_found)
    assert only.blocks["a"].failures == ["not found", "not found"]
    assert len(only.blocks["a"].seconds) == 4


def test_with_a_judge_a_call_that_raises_is_a_failure_with_its_reason() -> None:
    def silent(number: int) -> object:
        raise TimeoutError

    noted = Noted()
    contenders = {"a": noted.contender("a", raise_error), "b": noted.contender("b"), "c": noted.contender("c", silent)}
    (only,) = timed_rounds(contenders, rounds=1, block=2, warm_up=0, judge=is_found)
    assert only.blocks["a"].failures == ["call 0 failed", "call 1 failed"]
    assert only.blocks["a"].seconds == []
    assert only.blocks["c"].failures == ["TimeoutError", "TimeoutError"]
    assert len(only.blocks["b"].seconds) == 2


def test_without_a_judge_what_a_call_raises_ends_the_run() -> None:
    with pytest.raises(ValueError, match="call 0 failed"):
        list(timed_rounds({"a": Noted().contender("a", raise_error)}, rounds=1, block=2, warm_up=0))


def test_without_a_judge_whatever_a_call_gives_is_a_success() -> None:
    contenders = {"a": Noted().contender("a", lambda _: None)}
    (only,) = timed_rounds(contenders, rounds=1, block=2, warm_up=0)
    assert (len(only.blocks["a"].seconds), only.blocks["a"].failures) == (2, [])


def test_the_warm_up_is_judged_too() -> None:
    contenders = {"a": Noted().contender("a", lambda _: None)}
    (only,) = timed_rounds(contenders, rounds=0, block=1, warm_up=1, judge=is_found)
    assert (only.number, only.blocks["a"].failures) == (-1, ["not found"])
