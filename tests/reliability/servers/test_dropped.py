"""Connections that the server ends: the very next call is right."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.cache_backends.answers import LLM, chat, found, key_of, store, texts
from tests.reliability.servers.conftest import Open
from tests.reliability.servers.kinds import Kind, on_every_server
from tests.reliability.stores import at_once

pytestmark = on_every_server


def test_the_very_next_lookup_and_store_are_right(open_it: Open, server: Any, kind: Kind) -> None:
    cache = open_it(strict=True)
    store(cache, "q", "answer")
    kind.drop_connections(server)
    assert found(cache, "q") == ["answer"]
    kind.drop_connections(server)
    store(cache, "q", "other")
    assert found(cache, "q") == ["other"]
    assert (cache.trouble, cache.counters.errors) == (None, 0)


def test_whatever_a_person_asks_next_is_right(open_it: Open, server: Any, kind: Kind) -> None:
    cache = open_it(strict=True)
    store(cache, "q", "answer")
    cache.entries()
    kind.drop_connections(server)
    assert cache.entries().total == 1
    kind.drop_connections(server)
    assert cache.stats().entries == 1
    kind.drop_connections(server)
    assert cache.ping() > 0
    kind.drop_connections(server)
    assert cache.about().product
    kind.drop_connections(server)
    assert cache.delete(key_of("q")) == 1
    kind.drop_connections(server)
    cache.clear()


def test_it_is_right_with_many_connections_that_were_dropped_at_once(open_it: Open, server: Any, kind: Kind) -> None:
    cache = open_it(strict=True)
    store(cache, "q", "answer")
    at_once(*[lambda: [found(cache, "q") for _ in range(20)]] * 8)
    kind.drop_connections(server)
    assert at_once(*[lambda: found(cache, "q")] * 8) == [["answer"]] * 8
    kind.drop_connections(server)
    for _ in range(10):
        assert found(cache, "q") == ["answer"]


async def test_tasks_are_right_too(open_it: Open, server: Any, kind: Kind) -> None:
    cache = open_it(strict=True)
    await cache.aupdate("q", LLM, [chat("answer")])
    for _ in range(3):
        await asyncio.gather(*(cache.alookup("q", LLM) for _ in range(10)))
        await asyncio.to_thread(kind.drop_connections, server)
        assert texts(await cache.alookup("q", LLM)) == ["answer"]
        await asyncio.to_thread(kind.drop_connections, server)
        assert [texts(one) for one in await asyncio.gather(*(cache.alookup("q", LLM) for _ in range(10)))] == [
            ["answer"]
        ] * 10
        await asyncio.to_thread(kind.drop_connections, server)
        await cache.aupdate("q", LLM, [chat("answer")])


def test_threads_never_err_while_connections_are_dropped_again_and_again(
    open_it: Open, server: Any, kind: Kind
) -> None:
    cache = open_it()
    store(cache, "q", "answer")
    with ThreadPoolExecutor(4) as pool, cache.observe() as lookups:
        asking = [pool.submit(lambda: [found(cache, "q") for _ in range(100)]) for _ in range(4)]
        while not all(future.done() for future in asking):
            kind.drop_connections(server)
        answers = [answer for future in asking for answer in future.result()]
    assert lookups == []  # those of other threads are theirs
    assert {tuple(answer) for answer in answers if answer is not None} == {("answer",)}
    cache.breaker.succeeded()
    assert found(cache, "q") == ["answer"]
