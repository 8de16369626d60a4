"""`SingleFlight`: one call a key at a time, whoever asks, and what becomes of those who wait."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from cache_backends import CacheError, Flight, FlightTimeoutError, SingleFlight
from cache_backends.party import current_party, party
from cache_backends.single_flight import Leading
from tests.cache_backends.flights import LONG_S, Gated, auntil, hang_guard, until
from tests.cache_backends.processes import in_child

MANY = 16
__all__ = ["hang_guard"]


class GaveUpError(Exception):
    """A leader stopped for reasons of its own."""


@pytest.fixture
def flights() -> SingleFlight:
    return SingleFlight(gave_up_by=(GaveUpError,))


def in_threads(flights: SingleFlight, call: Callable[[], Any], n: int = MANY, **options: Any) -> list[Future[Any]]:
    """`n` threads ask the same; the first of them leads and all others wait."""
    pool = ThreadPoolExecutor(n)
    asked = [pool.submit(flights.run, "key", call, **options) for _ in range(n)]
    pool.shutdown(wait=False)
    until(lambda: flights.waiting == n - 1)
    return asked


def is_quiet(flights: SingleFlight) -> bool:
    return flights.in_flight == flights.waiting == 0


def test_who_asks_alone_makes_the_call_and_waits_for_nobody(flights: SingleFlight) -> None:
    assert flights.run("key", lambda: 7) == Flight(7, shared=False, waited_s=0.0)
    assert flights.run("key", lambda: 8).value == 8
    assert is_quiet(flights)
    assert flights.settled == 2


def test_many_threads_make_one_call_and_all_get_its_value(flights: SingleFlight) -> None:
    call = Gated(lambda: object())
    asked = in_threads(flights, call)
    call.gate.set()
    results = [each.result(LONG_S) for each in asked]
    assert call.count == 1
    assert len({id(result.value) for result in results}) == 1
    assert sorted(result.shared for result in results) == [False] + [True] * (MANY - 1)
    assert all((result.waited_s > 0) == result.shared for result in results)
    assert is_quiet(flights)


async def test_many_tasks_make_one_call_and_the_event_loop_goes_on(flights: SingleFlight) -> None:
    gate, calls = asyncio.Event(), []

    async def call() -> int:
        calls.append(1)
        await gate.wait()
        return 7

    tasks = [asyncio.create_task(flights.arun("key", call)) for _ in range(MANY)]
    await auntil(lambda: flights.waiting == MANY - 1)
    gate.set()
    results = await asyncio.gather(*tasks)
    assert len(calls) == 1
    assert {result.value for result in results} == {7}
    assert sum(result.shared for result in results) == MANY - 1
    assert is_quiet(flights)


@pytest.mark.parametrize("leader", ["thread", "task"])
def test_threads_and_tasks_of_several_loops_wait_for_one_call(flights: SingleFlight, leader: str) -> None:
    call = Gated(lambda: 7)

    async def acall() -> Any:
        return await asyncio.to_thread(call)

    async def tasks() -> list[Any]:
        return await asyncio.gather(*(flights.arun("key", acall) for _ in range(4)))

    with ThreadPoolExecutor(8) as pool:
        begin = {
            "thread": lambda: [pool.submit(flights.run, "key", call)],
            "task": lambda: [pool.submit(lambda: asyncio.run(flights.arun("key", acall)))],
        }
        first = begin[leader]()
        until(lambda: call.count == 1)
        loops = [pool.submit(lambda: asyncio.run(tasks())) for _ in range(2)]
        threads = [pool.submit(flights.run, "key", call) for _ in range(3)]
        until(lambda: flights.waiting == 2 * 4 + 3)
        call.gate.set()
        results = [each.result(LONG_S) for each in first + threads]
        results += [result for loop in loops for result in loop.result(LONG_S)]
    assert call.count == 1
    assert [result.value for result in results] == [7] * 12
    assert sum(result.shared for result in results) == 11
    assert is_quiet(flights)


def test_a_call_never_runs_twice_at_once_for_a_key_and_other_keys_do_not_wait(flights: SingleFlight) -> None:
    running = {key: threading.Semaphore(1) for key in range(5)}
    all_keys = threading.Barrier(5)

    def call(key: int) -> int:
        assert running[key].acquire(blocking=False), "this key is being called already"
        running[key].release()
        return key

    def meeting(key: int) -> int:
        all_keys.wait(LONG_S)  # reached only if the keys do not wait for one another
        return key

    with ThreadPoolExecutor(5) as pool:
        assert [each.value for each in pool.map(lambda key: flights.run(key, lambda: meeting(key)), range(5))] == [
            *range(5)
        ]
    with ThreadPoolExecutor(MANY) as pool:
        keys = [number % 5 for number in range(500)]
        assert [each.value for each in pool.map(lambda key: flights.run(key, lambda: call(key)), keys)] == keys
    assert is_quiet(flights)


@pytest.mark.parametrize("error", [RuntimeError("down"), TimeoutError("slow"), StopIteration(1), GaveUpError()])
def test_an_error_is_raised_to_all_who_wait_and_kept_nowhere(error: Exception) -> None:
    flights = SingleFlight()

    def raise_it() -> None:
        raise error

    call = Gated(raise_it)
    asked = in_threads(flights, call)
    call.gate.set()
    assert {id(each.exception(LONG_S)) for each in asked} == {id(error)}
    assert call.count == 1
    assert is_quiet(flights)
    assert flights.run("key", lambda: 7).value == 7


async def test_an_error_is_raised_to_all_tasks(flights: SingleFlight) -> None:
    gate = asyncio.Event()

    async def call() -> None:
        await gate.wait()
        raise RuntimeError("down")

    tasks = [asyncio.create_task(flights.arun("key", call)) for _ in range(MANY)]
    await auntil(lambda: flights.waiting == MANY - 1)
    gate.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(error) for error in errors] == ["down"] * MANY
    assert is_quiet(flights)


def test_who_waits_too_long_is_told_and_the_leader_goes_on(flights: SingleFlight) -> None:
    call = Gated(lambda: 7)
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(flights.run, "key", call)
        until(lambda: call.count == 1)
        with pytest.raises(FlightTimeoutError, match=r"did not end within 0\.01 s"):
            flights.run("key", call, timeout_s=0.01)
        with pytest.raises(FlightTimeoutError):
            asyncio.run(flights.arun("key", Gated(lambda: 8).acall, timeout_s=0))
        assert flights.waiting == 0
        call.gate.set()
        assert leader.result(LONG_S).value == 7
    assert issubclass(FlightTimeoutError, CacheError)
    assert issubclass(FlightTimeoutError, TimeoutError)


def test_what_is_called_while_waiting_can_end_it(flights: SingleFlight) -> None:
    call = Gated(lambda: 7)
    stop = threading.Event()

    def look() -> None:
        if stop.is_set():
            raise GaveUpError

    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(flights.run, "key", call)
        until(lambda: call.count == 1)
        waiting = [
            pool.submit(flights.join, "key", None, look),
            pool.submit(lambda: asyncio.run(flights.ajoin("key", None, look))),
        ]
        until(lambda: flights.waiting == 2)
        stop.set()
        assert [type(each.exception(LONG_S)) for each in waiting] == [GaveUpError] * 2
        call.gate.set()
        assert leader.result(LONG_S).value == 7


@pytest.mark.parametrize("reason", [KeyboardInterrupt, SystemExit, GaveUpError])
def test_where_a_leader_gives_up_one_of_those_who_wait_leads(flights: SingleFlight, reason: Any) -> None:
    calls: list[int] = []
    gate = threading.Event()

    def call() -> int:
        calls.append(1)
        if len(calls) == 1:
            assert gate.wait(LONG_S)
            raise reason
        return 7

    asked = in_threads(flights, call)
    gate.set()
    ends = [each.exception(LONG_S) or each.result() for each in asked]
    assert [type(end) for end in ends if not isinstance(end, Flight)] == [reason]
    assert {end.value for end in ends if isinstance(end, Flight)} == {7}
    assert is_quiet(flights)


async def test_a_leader_that_is_cancelled_cancels_nobody_else(flights: SingleFlight) -> None:
    gate, calls = asyncio.Event(), []

    async def call() -> int:
        calls.append(1)
        await gate.wait()
        return 7

    tasks = [asyncio.create_task(flights.arun("key", call)) for _ in range(MANY)]
    await auntil(lambda: flights.waiting == MANY - 1)
    tasks[0].cancel()
    await auntil(lambda: len(calls) == 2 and flights.waiting == MANY - 2)
    gate.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert [end.value for end in ends[1:] if isinstance(end, Flight)] == [7] * (MANY - 1)
    assert len(calls) == 2
    assert is_quiet(flights)


async def test_one_who_waits_and_is_cancelled_harms_nobody(flights: SingleFlight) -> None:
    gate = asyncio.Event()

    async def call() -> int:
        await gate.wait()
        return 7

    tasks = [asyncio.create_task(flights.arun("key", call)) for _ in range(3)]
    await auntil(lambda: flights.waiting == 2)
    tasks[1].cancel()
    await auntil(lambda: flights.waiting == 1)
    gate.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(ends[1], asyncio.CancelledError)
    assert [ends[0], ends[2]] == [Flight(7, False, 0.0), Flight(7, True, ends[2].waited_s)]  # type: ignore[union-attr]


def test_one_who_waits_in_a_loop_that_ends_harms_nobody(flights: SingleFlight) -> None:
    call = Gated(lambda: 7)
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(flights.run, "key", call)
        until(lambda: call.count == 1)

        async def leave_early() -> None:
            waiting = asyncio.create_task(flights.arun("key", call.acall))
            await auntil(lambda: flights.waiting == 1)
            assert not waiting.done()

        asyncio.run(leave_early())
        assert flights.waiting == 0
        call.gate.set()
        assert leader.result(LONG_S).value == 7


def test_a_call_that_asks_its_own_key_makes_it_at_once(flights: SingleFlight) -> None:
    inner: list[Flight[str]] = []

    def outer() -> str:
        inner.append(flights.run("key", lambda: "inner"))
        in_its_context = contextvars.copy_context().run  # as LangChain's threads and `asyncio.to_thread` work
        with ThreadPoolExecutor(1) as pool:
            inner.append(pool.submit(in_its_context, flights.run, "key", lambda: "thread").result(LONG_S))
        return "outer"

    assert flights.run("key", outer).value == "outer"
    assert inner == [Flight("inner", False, 0.0), Flight("thread", False, 0.0)]
    assert is_quiet(flights)


def test_a_call_made_beside_its_equal_lands_for_nobody_else(flights: SingleFlight) -> None:
    call = Gated(lambda: [flights.run("key", lambda: "inner").value, "outer"])
    asked = in_threads(flights, call, n=3)
    call.gate.set()
    assert [each.result(LONG_S).value for each in asked] == [["inner", "outer"]] * 3
    assert is_quiet(flights)


async def test_a_task_that_asks_its_own_key_makes_the_call_at_once(flights: SingleFlight) -> None:
    async def inner() -> str:
        return "inner"

    async def outer() -> list[Flight[str]]:
        return [await flights.arun("key", inner), await asyncio.create_task(flights.arun("key", inner))]

    found = await flights.arun("key", outer)
    assert [each.value for each in found.value] == ["inner", "inner"]


def test_two_that_would_wait_for_each_other_do_not(flights: SingleFlight) -> None:
    both_lead = threading.Barrier(2)

    def ask(first: str, second: str) -> str:
        def outer() -> str:
            both_lead.wait(LONG_S)
            return flights.run(second, lambda: f"{second} for {first}").value

        return flights.run(first, outer).value

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(ask, ["a", "b"], ["b", "a"]))
    assert found in (["a for b", "a for b"], ["b for a", "b for a"])  # one waited, the other went ahead
    assert is_quiet(flights)


def test_who_waited_once_can_be_waited_for(flights: SingleFlight) -> None:
    led = threading.Event()

    def first() -> Any:
        with party():
            waited = flights.join("first")
            leading = flights.join("second")
            assert isinstance(leading, Leading)
            led.set()
            until(lambda: flights.waiting == 1)
            leading.land("second")
            return waited

    def second() -> Any:
        with party():
            leading = flights.join("first")
            assert isinstance(leading, Leading)
            others = pool.submit(first)
            until(lambda: flights.waiting == 1)
            leading.land("first")
            assert led.wait(LONG_S)
            return flights.join("second"), others.result(LONG_S)

    with ThreadPoolExecutor(2) as pool:
        ends = pool.submit(second).result(LONG_S)
    assert [isinstance(end, Flight) and end.value for end in ends] == ["second", "first"]


def test_work_that_is_over_is_no_part_of_what_it_began(flights: SingleFlight) -> None:
    """Else a worker that begins its successor would drag a chain behind it that grows for ever."""

    def depth() -> int:
        with party():
            now = current_party()
            assert now is not None
            return len(list(now.line()))

    def successor(context: contextvars.Context) -> contextvars.Context:
        return context.run(lambda: flights.run("work", contextvars.copy_context).value)

    context = contextvars.copy_context()
    for _ in range(5):
        context = successor(context)
        assert context.run(depth) == 1


def test_a_call_inside_another_waits_for_an_equal_one(flights: SingleFlight) -> None:
    call = Gated(lambda: 7)
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(flights.run, "inner", call)
        until(lambda: call.count == 1)
        nested = pool.submit(flights.run, "outer", lambda: flights.run("inner", call))
        until(lambda: flights.waiting == 1)
        call.gate.set()
        assert leader.result(LONG_S).value == 7
        assert nested.result(LONG_S).value.shared
    assert call.count == 1


def test_a_task_that_outlives_the_call_that_began_it_waits_like_any_other(flights: SingleFlight) -> None:
    async def story() -> tuple[int, list[Flight[int]]]:
        go_on, gate, calls = asyncio.Event(), asyncio.Event(), []

        async def call() -> int:
            calls.append(1)
            await gate.wait()
            return 7

        async def later() -> Flight[int]:
            await go_on.wait()
            return await flights.arun("key", call)

        async def begin() -> list[asyncio.Task[Flight[int]]]:
            return [asyncio.create_task(later()) for _ in range(2)]

        left = (await flights.arun("begin", begin)).value
        go_on.set()
        await auntil(lambda: flights.waiting == 1)
        gate.set()
        return len(calls), await asyncio.gather(*left)

    calls, found = asyncio.run(story())
    assert calls == 1
    assert [each.value for each in found] == [7, 7]


def test_a_forked_child_waits_for_no_call_of_its_parent_and_settles_none(flights: SingleFlight) -> None:
    call = Gated(lambda: "parent")
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(flights.run, "key", call)
        until(lambda: call.count == 1)
        waiting = pool.submit(flights.run, "key", call)
        until(lambda: flights.waiting == 1)
        assert in_child(lambda: (flights.run("key", lambda: "child").value, flights.in_flight)) == ("child", 0)
        assert flights.waiting == 1
        call.gate.set()
        assert [leader.result(LONG_S).value, waiting.result(LONG_S).value] == ["parent", "parent"]


def test_a_fork_in_the_middle_of_a_call_leaves_both_processes_sound(flights: SingleFlight) -> None:
    def call() -> str:
        again = in_child(lambda: [flights.run("key", lambda: "again").value, flights.in_flight])
        assert again == ["again", 0]
        return "parent"

    assert flights.run("key", call) == Flight("parent", False, 0.0)
    assert is_quiet(flights)


def test_what_was_shared_is_not_held_on_to(flights: SingleFlight) -> None:
    class Answer:
        """Something that can be weakly referenced."""

    call = Gated(Answer)
    asked = in_threads(flights, call, n=4)
    call.gate.set()
    seen = weakref.ref(asked[0].result(LONG_S).value)
    for each in asked:
        each.result(LONG_S)
    del asked, each
    call.function = lambda: None
    gc.collect()
    assert seen() is None


def test_who_leads_and_leaves_without_a_value_lets_the_next_one_lead(flights: SingleFlight) -> None:
    with party():
        leading = flights.join("key")
        assert not isinstance(leading, Flight)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(flights.run, "key", lambda: 7)
            until(lambda: flights.waiting == 1)
            with leading:
                pass
            assert not other.result(LONG_S).shared
        leading.land("too late")
    assert is_quiet(flights)
