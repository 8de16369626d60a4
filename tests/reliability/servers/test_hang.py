"""A server that was stopped (SIGSTOP): every call ends, the model answers, the breaker opens, and all is well again.

How long a call takes is not measured: one that waited for the server would wait until the test's guard ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event
from typing import Any

import pytest

from cache_backends.errors import CacheUnreachableError
from cache_backends.servers.breaker import FAILURES, LONGEST_PAUSE_S
from cache_backends.servers.server_cache import ServerCache
from tests.cache_backends.answers import LLM, chat, found, key_of, look, store, texts
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.small_models import SmallChatModel
from tests.reliability.servers.conftest import Open
from tests.reliability.servers.kinds import TIMEOUT_S, Kind, on_every_server, pauses, wait_until_it_answers
from tests.reliability.stores import HANG_SECONDS

pytestmark = on_every_server

ASKED_BY_PEOPLE: dict[str, Callable[[ServerCache], Any]] = {
    "ping": lambda cache: cache.ping(),
    "get": lambda cache: cache.get(key_of("q")),
    "entries": lambda cache: cache.entries(),
    "search": lambda cache: cache.entries(search="answer"),
    "stats": lambda cache: cache.stats(),
    "models": lambda cache: cache.models(),
    "namespaces": lambda cache: cache.namespaces(),
    "about": lambda cache: cache.about(),
    "delete": lambda cache: cache.delete(key_of("q")),
    "set_ttl": lambda cache: cache.set_ttl(key_of("q"), 60),
    "pin": lambda cache: cache.pin(key_of("q")),
    "purge_expired": lambda cache: cache.purge_expired(),
    "clear": lambda cache: cache.clear(),
    "aclear": lambda cache: asyncio.run(cache.aclear()),
}


@pytest.fixture
def cache(open_it: Open) -> ServerCache:
    """A cache that holds an answer, with connections open, of a short timeout."""
    cache = open_it(timeout=TIMEOUT_S)
    wait_until_it_answers(cache)
    store(cache, "q", "answer")
    assert asyncio.run(cache.alookup("q", LLM)) == [chat("answer")]
    assert cache.entries().total == 1
    return cache


def test_every_call_ends_and_the_model_answers(cache: ServerCache, server: Any) -> None:
    """Those that people make raise; those that a model waits for fail open. None of them waits for the server."""
    server.pause()
    for ask in ASKED_BY_PEOPLE.values():
        cache.breaker.succeeded()  # closed: this one really asks
        with pytest.raises(CacheUnreachableError):
            ask(cache)
    model = SmallChatModel(cache=cache)
    cache.breaker.succeeded()
    with cache.observe() as lookups:
        assert model.invoke("q").content == "q: answer 1"
        cache.breaker.succeeded()
        assert asyncio.run(model.ainvoke("q")).content == "q: answer 2"
    assert [lookup.outcome for lookup in lookups] == ["error"] * 2
    assert [made.refusal for made in lookups.stores] == ["error"] * 2
    cache.flush()


def test_the_breaker_opens_and_then_nobody_asks_until_its_pause_is_over(cache: ServerCache, server: Any) -> None:
    clock = cache.breaker.clock = FakeClock()
    server.pause()
    assert [look(cache, "q").outcome for _ in range(FAILURES)] == ["error"] * FAILURES
    assert cache.breaker.is_open
    server.resume()
    for _ in range(3):
        lookup = look(cache, "q")  # the server would answer now
        assert (lookup.outcome, "is left alone" in str(lookup.error)) == ("error", True)
    assert str(cache.trouble) in str(look(cache, "q").error)
    server.start()  # a cluster needs a moment to be whole again
    assert ["answer"] in (found(cache, "q") for _ in pauses(clock))
    assert cache.trouble is None


def test_a_server_that_answers_who_asks_how_it_is_is_asked_again_by_everybody(cache: ServerCache, server: Any) -> None:
    cache.breaker.clock = FakeClock()  # its pause never ends by itself
    server.pause()
    for _ in range(FAILURES):
        look(cache, "q")
    server.resume()
    server.start()  # a cluster needs a moment to be whole again
    assert look(cache, "q").outcome == "error"
    wait_until_it_answers(cache)
    assert cache.trouble is None
    assert not cache.breaker.is_open


async def test_tasks_open_the_breaker_too(cache: ServerCache, server: Any) -> None:
    clock = cache.breaker.clock = FakeClock()
    server.pause()
    for _ in range(FAILURES):
        assert await cache.alookup("q", LLM) is None
    assert cache.breaker.is_open
    server.resume()
    with cache.observe() as lookups:
        assert await cache.alookup("q", LLM) is None
        await cache.aupdate("q", LLM, [chat("other")])
    assert "is left alone" in str(lookups[0].error)
    assert "is left alone" in str(lookups.stores[0].detail)
    await asyncio.to_thread(server.start)
    answer = None
    for _ in pauses(clock):
        if answer := await cache.alookup("q", LLM):
            break
    assert texts(answer) == ["answer"]


def test_many_threads_that_ask_a_hung_server_end_together(
    open_it: Open, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None waits until another has waited: one after another they would not be done within the test's guard."""
    cache = open_it(timeout=1.5)
    wait_until_it_answers(cache)
    store(cache, "q", "answer")
    _end_together(cache, server, monkeypatch)


def test_many_threads_that_first_ask_a_hung_server_end_together(
    open_it: Open, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _end_together(open_it(timeout=1.5), server, monkeypatch)


def _end_together(cache: ServerCache, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = 40
    assert threads * cache.timeout_s > HANG_SECONDS
    monkeypatch.setattr(cache.breaker, "failed", lambda reason: None)  # else most would not ask at all
    server.pause()
    with ThreadPoolExecutor(threads) as pool:
        asking = [pool.submit(look, cache, "q") for _ in range(threads)]
        done, late = wait(asking, HANG_SECONDS)
        server.resume()
    assert late == set()
    assert [future.result().outcome for future in done] == ["error"] * threads


async def test_an_event_loop_goes_on_while_a_task_waits_for_a_hung_server(cache: ServerCache, server: Any) -> None:
    await cache.alookup("q", LLM)
    server.pause()
    asking = asyncio.create_task(cache.alookup("q", LLM))
    storing = asyncio.create_task(cache.aupdate("q", LLM, [chat("other")]))
    ticks = 0
    while not asking.done() or not storing.done():
        ticks += 1
        await asyncio.sleep(0.005)
    assert asking.result() is None
    assert ticks > 10  # a loop that is blocked for as long as the server is asked has none in between


async def test_a_task_that_is_cancelled_while_the_server_hangs_ends(cache: ServerCache, server: Any) -> None:
    """No later than others that ask it: that it ends right away is more than redis-py promises on Python 3.11."""
    await cache.alookup("q", LLM)
    server.pause()
    asking = asyncio.create_task(cache.alookup("q", LLM))
    await asyncio.sleep(0)
    asking.cancel()
    for _ in range(3):
        cache.breaker.succeeded()
        assert await cache.alookup("q", LLM) is None
    assert asking.done()
    server.resume()
    await asyncio.to_thread(wait_until_it_answers, cache)
    assert texts(await cache.alookup("q", LLM)) == ["answer"]


async def test_tasks_cancelled_at_any_moment_leave_no_answer_to_another_question(open_it: Open) -> None:
    cache = open_it()
    for number in range(4):
        await cache.aupdate(f"q{number}", LLM, [chat(f"answer {number}")])
    for steps in range(40):
        asking = [asyncio.create_task(cache.alookup(f"q{number}", LLM)) for number in range(4)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in asking[::2]:
            task.cancel()
        left = await asyncio.gather(*asking, return_exceptions=True)
        for number in (1, 3):
            assert texts(left[number]) == [f"answer {number}"]  # type: ignore[arg-type]
        assert texts(await cache.alookup("q0", LLM)) == ["answer 0"]


def test_after_a_hang_the_same_cache_answers_without_being_opened_again(
    cache: ServerCache, server: Any, kind: Kind
) -> None:
    clock = cache.breaker.clock = FakeClock()
    model = SmallChatModel(cache=cache)
    server.pause()
    answers = [model.invoke("r").content for _ in range(2 * FAILURES)]
    assert answers == [f"r: answer {count}" for count in range(1, 2 * FAILURES + 1)]
    server.resume()
    server.start()
    wait_until_it_answers(cache)
    clock.tick(LONGEST_PAUSE_S)
    assert {model.invoke("r").content for _ in range(3)} == {f"r: answer {2 * FAILURES + 1}"}
    assert found(cache, "q") == ["answer"]


def test_a_store_does_not_wait_for_upkeep_that_takes_long(open_it: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = open_it(max_entries=50, timeout=TIMEOUT_S)
    wait_until_it_answers(cache)
    may_end = Event()
    monkeypatch.setattr(cache, "_evict", lambda: may_end.wait(HANG_SECONDS) and 0)
    for _ in range(3):
        store(cache, "q", "answer")
        asyncio.run(cache.aupdate("r", LLM, [chat("answer")]))
    assert not may_end.is_set()
    may_end.set()
    assert found(cache, "q") == found(cache, "r") == ["answer"]


def test_closing_does_not_wait_for_upkeep_that_takes_long(open_it: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = open_it(max_entries=50, timeout=TIMEOUT_S)
    wait_until_it_answers(cache)
    may_end = Event()
    monkeypatch.setattr(cache, "_evict", lambda: may_end.wait(HANG_SECONDS) and 0)
    store(cache, "q", "answer")
    cache.close()
    assert not may_end.is_set()
    may_end.set()
