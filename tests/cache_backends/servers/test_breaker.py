"""The circuit breaker: when it opens, how long it stays open, and who may try."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cache_backends import CacheUnavailableError
from cache_backends.servers.breaker import FAILURES, FIRST_PAUSE_S, LONGEST_PAUSE_S, CircuitBreaker
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.processes import in_child

REASON = "redis://host did not answer within 1 s."


@pytest.fixture
def clock() -> FakeClock:
    """The breaker's clock."""
    return FakeClock(100.0)


@pytest.fixture
def breaker(clock: FakeClock) -> CircuitBreaker:
    """A closed one."""
    return CircuitBreaker(clock)


def fail(breaker: CircuitBreaker, times: int = FAILURES) -> None:
    """So many calls in a row fail."""
    for _ in range(times):
        breaker.check()
        breaker.failed(REASON)


def lets_through(breaker: CircuitBreaker) -> bool:
    """Whether a call may ask the server now."""
    try:
        breaker.check()
    except CacheUnavailableError:
        return False
    return True


def test_a_new_one_is_closed(breaker: CircuitBreaker) -> None:
    assert (breaker.is_open, breaker.trouble, lets_through(breaker)) == (False, None, True)


def test_it_opens_after_failures_in_a_row(breaker: CircuitBreaker) -> None:
    fail(breaker, FAILURES - 1)
    assert (breaker.is_open, breaker.trouble, lets_through(breaker)) == (False, REASON, True)
    breaker.failed(REASON)
    assert (breaker.is_open, breaker.trouble, lets_through(breaker)) == (True, REASON, False)


def test_a_success_in_between_begins_the_row_anew(breaker: CircuitBreaker) -> None:
    fail(breaker, FAILURES - 1)
    breaker.succeeded()
    assert breaker.trouble is None
    fail(breaker, FAILURES - 1)
    assert not breaker.is_open


def test_who_asks_an_open_one_is_told_why_and_for_how_long(breaker: CircuitBreaker, clock: FakeClock) -> None:
    fail(breaker)
    clock.tick(2)
    with pytest.raises(CacheUnavailableError) as refused:
        breaker.check()
    assert str(refused.value) == f"{REASON} It is left alone for {FIRST_PAUSE_S - 2:.0f} s more."


def test_when_the_pause_is_over_one_call_tries_and_the_others_do_not_wait(
    breaker: CircuitBreaker, clock: FakeClock
) -> None:
    fail(breaker)
    clock.tick(FIRST_PAUSE_S - 0.001)
    assert not lets_through(breaker)
    clock.tick(0.001)
    assert [lets_through(breaker) for _ in range(5)] == [True, False, False, False, False]


def test_one_of_many_threads_tries(breaker: CircuitBreaker, clock: FakeClock) -> None:
    fail(breaker)
    clock.tick(FIRST_PAUSE_S)
    ready = threading.Barrier(8)

    def ask(_: int) -> bool:
        ready.wait()
        return lets_through(breaker)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 1


def test_a_trial_that_succeeds_closes_it(breaker: CircuitBreaker, clock: FakeClock) -> None:
    fail(breaker)
    clock.tick(FIRST_PAUSE_S)
    breaker.check()
    breaker.succeeded()
    assert (breaker.is_open, breaker.trouble) == (False, None)
    assert [lets_through(breaker) for _ in range(3)] == [True] * 3
    fail(breaker)
    clock.tick(FIRST_PAUSE_S)
    assert lets_through(breaker)  # the pause is the first one again


def test_each_trial_that_fails_doubles_the_pause_up_to_the_longest(breaker: CircuitBreaker, clock: FakeClock) -> None:
    fail(breaker)
    pauses = []
    for _ in range(6):
        waited = 0.0
        while not lets_through(breaker):
            clock.tick(0.5)
            waited += 0.5
        pauses.append(waited)
        breaker.failed(REASON)
    assert pauses == [5, 10, 20, 30, 30, 30]
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE_S, LONGEST_PAUSE_S)


def test_calls_that_began_before_it_opened_do_not_double_the_pause(breaker: CircuitBreaker, clock: FakeClock) -> None:
    callers = 16
    for _ in range(callers):
        breaker.check()
    ready = threading.Barrier(callers)

    def end(_: int) -> None:
        ready.wait()
        breaker.failed(REASON)

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(end, range(callers)))
    clock.tick(FIRST_PAUSE_S)
    assert lets_through(breaker)
    breaker.failed(REASON)
    clock.tick(2 * FIRST_PAUSE_S)
    assert lets_through(breaker)


def test_a_late_failure_does_not_move_the_pause_on(breaker: CircuitBreaker, clock: FakeClock) -> None:
    breaker.check()  # a slow call begins
    fail(breaker)
    clock.tick(FIRST_PAUSE_S - 1)
    breaker.failed(REASON)  # it ends
    clock.tick(1)
    assert lets_through(breaker)


def test_a_trial_that_never_reports_back_is_followed_by_another(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """Such as one whose task was cancelled."""
    fail(breaker)
    clock.tick(FIRST_PAUSE_S)
    breaker.check()
    assert not lets_through(breaker)
    clock.tick(FIRST_PAUSE_S)
    assert lets_through(breaker)


def test_a_probe_is_let_through_and_closes_it(breaker: CircuitBreaker) -> None:
    fail(breaker)
    with breaker.probing():
        assert lets_through(breaker)
        with ThreadPoolExecutor(1) as others:
            assert not others.submit(lets_through, breaker).result(), "nobody else is probing"
        breaker.succeeded()
    assert (breaker.is_open, breaker.trouble, lets_through(breaker)) == (False, None, True)


def test_a_probe_that_fails_opens_none_and_is_the_trial_of_one_that_is_open(
    breaker: CircuitBreaker, clock: FakeClock
) -> None:
    for _ in range(FAILURES):
        with breaker.probing():
            breaker.failed("a probe failed")
    assert (breaker.is_open, breaker.trouble, lets_through(breaker)) == (False, "a probe failed", True)
    fail(breaker)
    clock.tick(FIRST_PAUSE_S - 1)
    with breaker.probing():
        breaker.failed("a probe failed")
    clock.tick(FIRST_PAUSE_S - 1)
    assert not lets_through(breaker), "nobody waits for what was found out a moment ago"
    clock.tick(1)
    assert lets_through(breaker)


def test_a_forked_child_does_not_wait_for_a_lock_of_its_parents_threads(breaker: CircuitBreaker) -> None:
    fail(breaker)
    with breaker._lock:
        assert in_child(lambda: lets_through(breaker)) is False
