"""Threads, tasks and processes that meet on one key, or make the schema all at once: one whole value, nobody errs."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest

from cache_backends.servers.server_cache import ServerCache
from tests.cache_backends.answers import LLM, chat, found, store, texts
from tests.cache_backends.flights import until
from tests.cache_backends.processes import Child
from tests.reliability.servers.conftest import Open
from tests.reliability.servers.kinds import Kind, on_every_server, opened
from tests.reliability.stores import HANG_SECONDS, Answer, answer_of, at_once, found_answer

pytestmark = on_every_server

PROCESSES = 8
STORES = 25
SCHEMAS = 3


def race(cache: ServerCache, writer: str) -> None:
    """Store and look up under one key, again and again; whatever is found was written by one, whole."""
    for number in range(STORES):
        Answer(writer, number).store(cache, "q")
        assert found_answer(cache, "q") is not None


async def race_in_tasks(cache: ServerCache, writer: str) -> None:
    """The same with tasks."""

    async def one(task: int) -> None:
        for number in range(STORES // 5):
            answer = Answer(f"{writer} {task}", number)
            await cache.aupdate("q", LLM, [chat(text) for text in answer.texts("q")])
            assert answer_of("q", texts(await cache.alookup("q", LLM))) is not None

    async with asyncio.TaskGroup() as tasks:
        for task in range(5):
            tasks.create_task(one(task))


def test_processes_threads_and_tasks_of_two_loops_race_on_one_key(open_it: Open, server: Any, prefix: str) -> None:
    cache = open_it(strict=True)

    def in_child(writer: str) -> Callable[[], int]:
        def run() -> int:
            with opened(server, prefix, strict=True) as own:
                race(own, f"{writer}, its own cache")
                race(cache, f"{writer}, the parent's cache")
                asyncio.run(race_in_tasks(own, f"{writer}, tasks"))
                return own.counters.errors + own.counters.corrupt + cache.counters.errors + cache.counters.corrupt

        return run

    store(cache, "q", "q|before|0|0 of 1|")
    children = [Child(in_child(f"child {number}")) for number in range(2)]
    at_once(
        *[lambda name=name: race(cache, name) for name in ("thread 1", "thread 2")],  # type: ignore[misc]
        *[
            lambda name=name: asyncio.run(race_in_tasks(cache, name))  # type: ignore[misc]
            for name in ("loop 1", "loop 2")
        ],
    )
    assert [child.result() for child in children] == [0, 0]
    assert found_answer(cache, "q") is not None
    assert cache.entries().total == 1
    assert (cache.counters.errors, cache.counters.corrupt) == (0, 0)


def test_processes_that_make_the_schema_at_once_all_store(server: Any, prefix: str) -> None:
    for attempt in range(SCHEMAS):
        own = f"{prefix}_{attempt}"
        ready = multiprocessing.get_context("fork").Barrier(PROCESSES)

        def first_store(number: int, own: str = own, ready: Barrier = ready) -> bool:
            with opened(server, own, strict=True) as cache:
                ready.wait(HANG_SECONDS)
                store(cache, f"q{number}", f"answer {number}")
                return found(cache, f"q{number}") == [f"answer {number}"] and cache.counters.errors == 0

        children = [Child(lambda number=number: first_store(number)) for number in range(PROCESSES)]  # type: ignore[misc]
        assert [child.result() for child in children] == [True] * PROCESSES
        with opened(server, own) as cache:
            assert cache.stats().entries == PROCESSES
            assert cache.namespaces() == ["default"]


def test_threads_of_one_cache_that_first_ask_at_once_all_store(open_it: Open) -> None:
    cache = open_it(strict=True)
    at_once(*[lambda number=number: store(cache, f"q{number}", "answer") for number in range(12)])  # type: ignore[misc]
    assert cache.stats().entries == 12


async def test_tasks_of_one_cache_that_first_ask_at_once_all_store(open_it: Open) -> None:
    cache = open_it(strict=True)
    await asyncio.gather(*(cache.aupdate(f"q{number}", LLM, [chat("answer")]) for number in range(40)))
    assert await asyncio.to_thread(lambda: cache.stats().entries) == 40


def test_loops_one_after_another_and_at_once_ask_one_cache(open_it: Open, kind: Kind) -> None:
    cache = open_it(strict=True)

    async def ask(number: int) -> list[str] | None:
        prompt = f"q{number}"
        await asyncio.gather(*(cache.aupdate(prompt, LLM, [chat(f"answer {number}")]) for _ in range(5)))
        answers = await asyncio.gather(*(cache.alookup(prompt, LLM) for _ in range(5)))
        assert len({str(texts(answer)) for answer in answers}) == 1
        return texts(answers[0])

    for number in range(5):
        assert asyncio.run(ask(number)) == [f"answer {number}"]
    for _ in range(3):
        results = at_once(*[lambda number=number: asyncio.run(ask(number)) for number in range(6)])  # type: ignore[misc]
        assert results == [[f"answer {number}"] for number in range(6)]
    assert cache.counters.errors == 0


def test_loops_one_after_another_leave_no_connection(open_it: Open, server: Any, kind: Kind) -> None:
    cache = open_it(strict=True)

    async def ask() -> None:
        await asyncio.gather(*(cache.aupdate(f"q{number}", LLM, [chat("answer")]) for number in range(5)))

    asyncio.run(ask())
    before = kind.connections(server)
    gc.collect()
    gc.disable()  # connections that are left open would stay so until then
    try:
        for _ in range(5):
            asyncio.run(ask())
        until(lambda: kind.connections(server) < before + 5)  # threads that help may have had one more each
    finally:
        gc.enable()


@pytest.mark.parametrize("are_asking", [False, True], ids=["idle", "asking"])
async def test_a_cache_that_is_closed_while_a_loop_runs_leaves_no_connection(
    open_it: Open, server: Any, kind: Kind, are_asking: bool
) -> None:
    cache = open_it(strict=True)
    before = await asyncio.to_thread(kind.connections, server)
    await asyncio.gather(*(cache.aupdate(f"q{number}", LLM, [chat("answer")]) for number in range(10)))
    await asyncio.to_thread(cache.entries)
    assert await asyncio.to_thread(kind.connections, server) > before
    tasks = [asyncio.create_task(cache.alookup(f"q{number}", LLM)) for number in range(10 if are_asking else 0)]
    await asyncio.sleep(0)
    cache.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    ended = threading.Event()
    for _ in range(1000):
        if await asyncio.to_thread(kind.connections, server) <= before:
            ended.set()
            break
        await asyncio.sleep(0.01)
    assert ended.is_set()


def test_a_forked_child_opens_connections_of_its_own(open_it: Open) -> None:
    cache = open_it(strict=True)
    store(cache, "q", "answer")
    asyncio.run(cache.alookup("q", LLM))

    def in_child() -> list[Any]:
        answers = [found(cache, "q"), texts(asyncio.run(cache.alookup("q", LLM)))]
        store(cache, "of the child", "answer")
        return [*answers, cache.counters.errors]

    children = [Child(in_child) for _ in range(3)]
    for _ in range(50):
        assert found(cache, "q") == ["answer"]
    assert [child.result() for child in children] == [[["answer"], ["answer"], 0]] * 3
    assert found(cache, "q") == found(cache, "of the child") == ["answer"]
