"""A server that is away when the cache is opened, and comes later; and one that somebody empties while it is used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cache_backends.servers.breaker import FAILURES, LONGEST_PAUSE_S
from cache_backends.servers.server_cache import ServerCache
from tests.cache_backends.answers import LLM, chat, found, look, store, texts, whole
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.small_models import SmallChatModel
from tests.reliability.servers.conftest import Open
from tests.reliability.servers.kinds import (
    Kind,
    on_every_server,
    on_sql_servers,
    opened,
    server_of,
    wait_until_it_answers,
)
from tests.reliability.stores import at_once
from tests.servers.available import available


@pytest.fixture
def server_away(kind: Kind) -> Iterator[Any]:
    """A server that was killed."""
    server = server_of(kind)
    available(server.start)
    server.kill()
    yield server
    server.start()


@on_every_server
def test_a_cache_of_a_server_that_is_away_is_opened_and_works_when_the_server_comes(
    server_away: Any, prefix: str
) -> None:
    with opened(server_away, prefix, timeout=3) as cache:
        clock = cache.breaker.clock = FakeClock()
        assert cache.trouble is None  # nobody has asked yet
        model = SmallChatModel(cache=cache)
        answers = [model.invoke("q").content for _ in range(FAILURES)]
        assert answers == [f"q: answer {count}" for count in range(1, FAILURES + 1)]
        assert "can't be connected to" in str(cache.trouble)
        assert cache.breaker.is_open
        server_away.start()
        wait_until_it_answers(cache)
        clock.tick(LONGEST_PAUSE_S)
        assert {model.invoke("q").content for _ in range(3)} == {f"q: answer {FAILURES + 1}"}
        assert cache.trouble is None


@on_every_server
async def test_tasks_come_to_a_server_that_was_away(server_away: Any, prefix: str) -> None:
    with opened(server_away, prefix, timeout=3) as cache:
        clock = cache.breaker.clock = FakeClock()
        for _ in range(FAILURES):
            assert await cache.alookup("q", LLM) is None
        assert cache.breaker.is_open
        await asyncio.to_thread(server_away.start)
        await asyncio.to_thread(wait_until_it_answers, cache)
        clock.tick(LONGEST_PAUSE_S)
        await cache.aupdate("q", LLM, [chat("answer")])
        assert texts(await cache.alookup("q", LLM)) == ["answer"]


def store_in_thread(cache: ServerCache, prompt: str, text: str) -> None:
    """By the methods for threads."""
    store(cache, prompt, text)


def store_in_task(cache: ServerCache, prompt: str, text: str) -> None:
    """By those for tasks."""
    asyncio.run(cache.aupdate(prompt, LLM, [chat(text)]))


ways = pytest.mark.parametrize("store_it", [store_in_thread, store_in_task], ids=["threads", "tasks"])


@on_every_server
@ways
def test_a_cache_that_is_emptied_from_outside_begins_anew(
    open_it: Open, server: Any, kind: Kind, prefix: str, store_it: Callable[[ServerCache, str, str], None]
) -> None:
    cache = open_it(strict=True)
    for number in range(3):
        store_it(cache, f"q{number}", "answer")
    kind.empty(server, prefix)
    assert found(cache, "q1") is None
    store_it(cache, "q1", "new answer")
    assert found(cache, "q1") == ["new answer"]
    assert asyncio.run(cache.alookup("q1", LLM)) == [chat("new answer")]
    assert (cache.entries().total, cache.stats().entries) == (1, 1)


@on_sql_servers
@ways
def test_the_first_store_after_that_is_kept_with_all_that_belongs_to_it(
    open_it: Open, server: Any, kind: Kind, prefix: str, store_it: Callable[[ServerCache, str, str], None]
) -> None:
    """Where that can be noticed: in an emptied Redis a namespace is named again within a minute."""
    cache = open_it(strict=True)
    store_it(cache, "q", "answer")
    at_once(*[lambda: [found(cache, "q") for _ in range(20)]] * 6)  # several connections: each meets the empty store
    kind.empty(server, prefix)
    store_it(cache, "q", "new answer")
    assert whole(cache, "q").llm_string == LLM
    assert cache.namespaces() == ["default"]


@on_every_server
def test_threads_with_connections_of_their_own_bear_it_too(open_it: Open, server: Any, kind: Kind, prefix: str) -> None:
    cache = open_it(strict=True)
    store(cache, "q", "answer")
    at_once(*[lambda: [found(cache, "q") for _ in range(20)]] * 6)
    kind.empty(server, prefix)
    assert at_once(*[lambda: found(cache, "q")] * 6) == [None] * 6
    kind.empty(server, prefix)
    at_once(*[lambda: store(cache, "q", "new answer")] * 6)
    assert found(cache, "q") == ["new answer"]
    assert cache.counters.errors == 0


@on_sql_servers
@pytest.mark.parametrize("table", ["entries", "texts", "damaged"])
def test_one_table_that_was_dropped_is_made_again(open_it: Open, server: Any, prefix: str, table: str) -> None:
    cache = open_it(strict=True)
    store(cache, "q", "answer")
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"drop table {prefix}_{table}")
    assert found(cache, "q") == (None if table == "entries" else ["answer"])
    store(cache, "r", "answer", llm_string="[('model_name', 'other')]")
    assert found(cache, "r", "[('model_name', 'other')]") == ["answer"]
    assert look(cache, "q").outcome in ("hit", "miss")
    assert cache.namespaces() == ["default"]
