"""Turns: one at a time in the order of coming, told how many are before, and nobody held up by who was stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lab import turns as turns_module
from lab.turns import Turns

LONG_S = 30.0
"""A bound on waiting for what happens at once: reached only where the test fails."""


class Comer:
    """One who comes for a turn in a thread of its own, and keeps it until told to go."""

    def __init__(self, turns: Turns, name: str, order: list[str], error: Exception | None = None) -> None:
        self.told: list[int] = []
        self.waiting = threading.Event()
        """Set when it was told that somebody is before it."""
        self.inside = threading.Event()
        self.go = threading.Event()
        self.stopped = threading.Event()
        self.was_its_turn: bool | None = None
        self.error: Exception | None = None
        self._turns, self._name, self._order, self._raise = turns, name, order, error
        self.thread = threading.Thread(target=self._come)

    def come(self) -> Comer:
        """Begin to wait, in place: whoever comes after this one is behind it."""
        self.thread.start()
        while not (self.waiting.wait(0.001) or self.inside.is_set()):
            assert self.thread.is_alive()
        return self

    def leave(self) -> None:
        """Go, and be gone."""
        self.go.set()
        self.thread.join(LONG_S)
        assert not self.thread.is_alive()

    def _before(self, before: int) -> None:
        self.told.append(before)
        self.waiting.set()

    def _come(self) -> None:
        try:
            with self._turns.turn(self._before, self.stopped.is_set) as is_mine:
                self.was_its_turn = is_mine
                self._order.append(self._name)
                self.inside.set()
                assert self.go.wait(LONG_S)
                if self._raise is not None:
                    raise self._raise
        except ValueError as error:
            self.error = error


class Crowd:
    """All who come in a test."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.order: list[str] = []
        self.comers: list[Comer] = []

    def come(self, name: str, error: Exception | None = None) -> Comer:
        """One more, behind all others."""
        comer = Comer(self.turns, name, self.order, error)
        self.comers.append(comer)
        return comer.come()


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    made = Crowd()
    yield made
    for comer in made.comers:
        comer.stopped.set()
        comer.go.set()
    for comer in made.comers:
        comer.thread.join(LONG_S)


def told_nothing(before: int) -> None:
    raise AssertionError("nobody is before this one")


def test_who_comes_alone_has_the_turn_at_once_and_is_told_of_nobody() -> None:
    with Turns().turn(told_nothing, lambda: False) as is_mine:
        assert is_mine


def test_turns_come_in_the_order_of_coming_one_at_a_time(crowd: Crowd) -> None:
    comers = [crowd.come(name) for name in "abcd"]
    for place, comer in enumerate(comers):
        assert comer.inside.wait(LONG_S)
        assert crowd.order == [*"abcd"][: place + 1]
        assert not any(later.inside.is_set() for later in comers[place + 1 :])
        comer.leave()
    assert [comer.was_its_turn for comer in comers] == [True] * 4


def test_who_waits_is_told_how_many_are_before_and_again_whenever_that_changes(crowd: Crowd) -> None:
    a, b, c = (crowd.come(name) for name in "abc")
    a.leave()
    assert b.inside.wait(LONG_S)
    b.leave()
    assert c.inside.wait(LONG_S)
    assert (a.told, b.told) == ([], [1])
    assert c.told[0] == 2
    assert c.told in ([2], [2, 1])  # it may have slept through the short time


def test_who_waits_hears_that_it_has_moved_up(crowd: Crowd) -> None:
    a, _, c = (crowd.come(name) for name in "abc")
    c.waiting.clear()
    a.leave()
    assert c.waiting.wait(LONG_S)
    assert c.told == [2, 1]


def test_who_is_stopped_while_waiting_leaves_without_a_turn_and_holds_nobody_up(crowd: Crowd) -> None:
    a, b, c = (crowd.come(name) for name in "abc")
    b.stopped.set()
    assert b.inside.wait(LONG_S)
    b.leave()
    assert b.was_its_turn is False
    assert not c.inside.is_set()
    a.leave()
    assert c.inside.wait(LONG_S)
    assert c.was_its_turn


def test_who_was_stopped_before_it_came_has_no_turn_though_nobody_is_before_it() -> None:
    with Turns().turn(told_nothing, lambda: True) as is_mine:
        assert not is_mine


def test_who_is_stopped_just_when_its_turn_comes_has_none_and_gives_it_on(crowd: Crowd) -> None:
    a, b, c = (crowd.come(name) for name in "abc")
    a.go.set()
    b.stopped.set()
    for comer in (a, b):
        comer.leave()
    c.leave()
    assert b.was_its_turn is not None
    assert c.was_its_turn


def test_a_stop_while_one_has_the_turn_takes_it_from_nobody(crowd: Crowd) -> None:
    a, b = (crowd.come(name) for name in "ab")
    a.stopped.set()
    assert not b.inside.is_set()
    a.leave()
    assert a.was_its_turn
    assert b.inside.wait(LONG_S)


def test_an_exception_inside_reaches_its_cause_and_gives_the_turn_on(crowd: Crowd) -> None:
    a, b = crowd.come("a", ValueError("broke")), crowd.come("b")
    a.leave()
    assert str(a.error) == "broke"
    assert b.inside.wait(LONG_S)
    assert b.was_its_turn


def test_one_whose_listener_fails_leaves_the_queue(crowd: Crowd) -> None:
    def refuse(before: int) -> None:
        raise ValueError("can't be told")

    a = crowd.come("a")
    with pytest.raises(ValueError, match="can't be told"), crowd.turns.turn(refuse, lambda: False):
        raise AssertionError("it never has the turn")
    a.leave()
    with crowd.turns.turn(told_nothing, lambda: False) as is_mine:
        assert is_mine


def test_the_end_of_a_turn_is_heard_of_without_waiting_for_the_next_look(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "LOOK_S", 10 * LONG_S)
    a, b = (crowd.come(name) for name in "ab")
    a.leave()
    assert b.inside.wait(LONG_S)
