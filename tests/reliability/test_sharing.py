"""Several at work on one open store: event loops, two caches, threads under which it is closed."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from cache_backends import CacheBackend, CacheUnavailableError, open_cache
from tests.cache_backends.answers import LLM, chat, found, store, texts
from tests.cache_backends.backends import Backend, FakeClock
from tests.cache_backends.processes import in_child
from tests.reliability.stores import (
    HANG_SECONDS,
    Answer,
    answer_of,
    at_once,
    every_kind,
    every_persistent_kind,
    found_answer,
    opened,
    simulated,
    while_busy,
)

# Event loops


async def store_and_find(cache: CacheBackend, name: str, number: int) -> None:
    """One request of a coroutine: a miss, a store, a hit, each observed by itself alone."""
    prompt, answer = f"{name} asks {number}", Answer(name, number)
    with cache.observe() as lookups:
        assert await cache.alookup(prompt, LLM) is None
        await cache.aupdate(prompt, LLM, [chat(text) for text in answer.texts(prompt)])
        assert answer_of(prompt, texts(await cache.alookup(prompt, LLM))) == answer
    assert [lookup.outcome for lookup in lookups] == ["miss", "hit"]
    assert [made.stored for made in lookups.stores] == [True]


async def many_requests(cache: CacheBackend, name: str) -> None:
    """What one event loop does: requests that are all under way at once, and a model's."""
    await asyncio.gather(*[store_and_find(cache, name, number) for number in range(20)])
    model = simulated(cache)
    answers = [(await model.ainvoke(f"{name} asks the model")).content for _ in range(2)]
    assert answers[0] == answers[1]


@every_kind
def test_a_cache_serves_event_loops_one_after_another(kind: Backend, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as cache:
        for number in range(4):
            asyncio.run(many_requests(cache, f"loop {number}"))
        assert cache.stats().entries == 4 * 21
        asyncio.run(cache.aclear())
        assert cache.stats().entries == 0
        assert (cache.counters.hits, cache.counters.misses, cache.counters.errors) == (4 * 21, 4 * 21, 0)


@every_kind
def test_a_cache_serves_event_loops_in_several_threads_at_once(kind: Backend, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as cache, while_busy(cache.view(namespace="threads"), threads=2):
        at_once(*[lambda name=f"loop {number}": asyncio.run(many_requests(cache, name)) for number in range(6)])
        assert cache.stats().entries == 6 * 21
        assert cache.counters.errors == 0


@every_kind
def test_a_store_whose_task_is_cancelled_is_whole_or_not_there(kind: Backend, tmp_path: Path) -> None:
    async def cancel(cache: CacheBackend, number: int) -> None:
        answer, prompt = Answer("cancelled", number), f"q{number}"
        task = asyncio.create_task(cache.aupdate(prompt, LLM, [chat(text) for text in answer.texts(prompt)]))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert answer_of(prompt, texts(await cache.alookup(prompt, LLM))) in (None, answer)
        await store_and_find(cache, "another", number)

    with opened(kind, tmp_path) as cache:
        for number in range(20):
            asyncio.run(cancel(cache, number))
        assert cache.counters.errors == 0


# Two on one store


@every_persistent_kind
def test_two_caches_on_one_store_see_each_others_changes_at_once(kind: Backend, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as one, opened(kind, tmp_path) as two:
        for mine, other in ((one, two), (two, one)):
            assert (found(mine, "q"), found(other, "q")) == (None, None)
            for number in range(4):
                Answer("mine", number).store(mine, "q")
                assert found_answer(other, "q") == Answer("mine", number)
            assert mine.delete(other.entries().entries[0].key) == 1
            assert (found(other, "q"), other.stats().entries, other.namespaces()) == (None, 0, [])
            store(mine, "q", "again")
            store(mine.view(namespace="elsewhere"), "q", "stays")
            assert other.namespaces() == ["default", "elsewhere"]
            other.clear()
            assert (found(mine, "q"), found(mine.view(namespace="elsewhere"), "q")) == (None, ["stays"])
            other.view(namespace="elsewhere").clear()


@every_persistent_kind
def test_two_caches_on_one_store_keep_one_limit_by_the_uses_of_both(kind: Backend, tmp_path: Path) -> None:
    clock = FakeClock()
    with (
        opened(kind, tmp_path, clock=clock, max_entries=10) as one,
        opened(kind, tmp_path, clock=clock, max_entries=10) as two,
    ):
        store(one, "used by the other", "answer")
        for number in range(30):
            clock.tick()
            assert found(two, "used by the other") == ["answer"]
            two.flush()
            clock.tick()
            store((one, two)[number % 2], f"q{number}", "answer")
            assert one.stats().entries == two.stats().entries == min(number + 2, 10)
        clock.tick()
        assert found(one, "used by the other") == ["answer"]
        one.flush()
        (used,) = two.entries(order_by="hits", limit=1).entries
        assert (used.prompt, used.hits, used.last_used_at) == ("used by the other", 31, clock.now)
        assert {entry.prompt for entry in one.entries().entries} == {used.prompt, *(f"q{n}" for n in range(21, 30))}
        assert one.counters.evictions + two.counters.evictions == 21


@every_persistent_kind
def test_closing_one_of_two_caches_leaves_the_other_at_work(kind: Backend, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as one:
        for number in range(5):
            with opened(kind, tmp_path) as two, while_busy(one, threads=2):
                store(two, f"q{number}", "answer")
            store(one, "after", f"answer {number}")
            assert found(one, f"q{number}") == ["answer"]
            assert in_child(lambda: found(open_cache(kind.url(tmp_path)), "after")) == [f"answer {number}"]
        assert one.counters.errors == 0


# Closing


@every_kind
@pytest.mark.parametrize("stores_before", [1, 2, 4, 8, 16])
def test_closing_while_threads_are_busy_refuses_cleanly_and_loses_nothing(
    kind: Backend, tmp_path: Path, stores_before: int
) -> None:
    cache, well_under_way = opened(kind, tmp_path), threading.Event()

    def work(number: int) -> tuple[list[str], str]:
        stored: list[str] = []
        try:
            for prompt in (f"{number} {count}" for count in range(300)):
                Answer(prompt, number).store(cache, prompt)
                stored.append(prompt)
                if len(stored) == stores_before:
                    well_under_way.set()
                assert found_answer(cache, prompt) == Answer(prompt, number)
                cache.entries(limit=2)
                cache.delete("0" * 64)
        except CacheUnavailableError as refused:
            return stored, str(refused)
        return stored, "nothing was refused"

    def close() -> None:
        well_under_way.wait(HANG_SECONDS)
        cache.close()
        cache.close()

    *ended, _, _ = at_once(*[lambda number=number: work(number) for number in range(6)], close, close)
    assert all("was closed. Open a new one." in refusal for _, refusal in ended)
    with pytest.raises(CacheUnavailableError, match="was closed"):
        cache.lookup("q", LLM)
    if kind.persistent:
        with opened(kind, tmp_path) as again:
            for prompt in [prompt for stored, _ in ended for prompt in stored]:
                assert found_answer(again, prompt) == Answer(prompt, int(prompt.split()[0]))
            assert (again.notices, again.counters.corrupt) == ((), 0)


# Interrupting


@every_kind
@pytest.mark.parametrize("first_step", range(5))
def test_a_store_that_is_interrupted_at_any_step_takes_nobody_elses_with_it(
    kind: Backend, tmp_path: Path, first_step: int
) -> None:
    """Ctrl-C in one thread, while the others' stores wait for their turn or are written along with its own."""
    with opened(kind, tmp_path) as cache, while_busy(cache, threads=4):
        for step in range(first_step, 250, 5):
            before = found_answer(cache, "interrupted")
            try:
                with interrupted_at(step):
                    Answer("main", step).store(cache, "interrupted")
            except KeyboardInterrupt:
                assert found_answer(cache, "interrupted") in (before, Answer("main", step))
            else:
                assert found_answer(cache, "interrupted") == Answer("main", step)
            Answer("main again", step).store(cache, "interrupted")
            assert found_answer(cache, "interrupted") == Answer("main again", step)


@contextmanager
def interrupted_at(step: int) -> Iterator[None]:
    """Raises KeyboardInterrupt in this thread, in place of what would be its so many-eth call of the system or SQLite.

    There Python takes notice of a signal. That it comes in the moment of letting go a lock is not tried.
    """
    steps = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal steps
        if event == "c_call" and argument.__name__ not in ("release", "__exit__"):
            steps += 1
            if steps == step:
                raise KeyboardInterrupt

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)


@every_kind
def test_a_model_goes_on_when_its_cache_is_closed_under_it(kind: Backend, tmp_path: Path) -> None:
    cache = opened(kind, tmp_path, strict=False)
    model, well_under_way = simulated(cache), threading.Event()

    def ask() -> None:
        for number in range(20):
            if number == 5:
                well_under_way.set()
            assert model.invoke(f"question {number}").content

    def close() -> None:
        well_under_way.wait(HANG_SECONDS)
        cache.close()

    at_once(ask, ask, ask, close)
    assert copy.deepcopy(model).invoke("question 0").content != model.invoke("question 0").content  # made anew
    with pickle.loads(pickle.dumps(cache)) as again:  # a copy by pickle is a cache of its own, and opens the store
        store(again, "q", "answer")
        assert found(again, "q") == ["answer"]
