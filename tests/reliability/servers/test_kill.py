"""`kill -9` of the server in the middle of writing: what was acknowledged is there when it is started again."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cache_backends import CacheUnavailableError
from cache_backends.servers.server_cache import ServerCache
from tests.cache_backends.answers import LLM, chat, found, look, store, texts
from tests.reliability.servers.kinds import opened, wait_until_it_answers
from tests.reliability.stores import HANG_SECONDS, Answer, answer_of
from tests.servers.available import available
from tests.servers.mariadb import MariaDBServer
from tests.servers.mongodb import ProtocolServer
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.servers.redis_cluster import RedisClusterServer

ROUNDS = 4
WRITERS = 3

KEEPS: dict[str, Callable[[], Any]] = {
    "postgresql": lambda: PostgresServer(durable=True),
    "mysql": lambda: MariaDBServer(durable=True),
    "mongodb": ProtocolServer,
    "redis-aof-always": lambda: RedisServer(persistence="aof"),
    "redis-cluster-aof-always": lambda: RedisClusterServer(persistence="aof"),
}
"""Servers that lose nothing of what they have acknowledged."""


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A server of the test's own."""
    server = request.param()
    available(server.start)
    yield server
    server.close()


@dataclass
class Writer:
    """One thread's stores: the last answer to each prompt that was acknowledged, and the one that was not."""

    name: str
    acknowledged: dict[str, Answer] = field(default_factory=dict)
    unheard: dict[str, Answer] = field(default_factory=dict)
    """Answers that may have been stored when the server died: their store never returned."""

    def write(self, cache: ServerCache, begun: threading.Semaphore) -> None:
        """Store until the server is gone."""
        for number in itertools.count(len(self.acknowledged)):
            prompt = f"{self.name} asks {random.Random(f'{self.name} {number}').randrange(30)}"
            answer = Answer(f"{self.name} {number}", number)
            try:
                answer.store(cache, prompt)
            except CacheUnavailableError:
                self.unheard[prompt] = answer
                return
            self.acknowledged[prompt] = answer
            self.unheard.pop(prompt, None)
            begun.release()

    def check(self, cache: ServerCache, *, may_lack: frozenset[str] = frozenset()) -> None:
        """What the server has is what was acknowledged, or the one answer that nobody heard about."""
        for prompt in {*self.acknowledged, *self.unheard}:
            right = [self.acknowledged.get(prompt)]
            if prompt in self.unheard:
                right.append(self.unheard[prompt])
            answer = answer_of(prompt, found(cache, prompt))
            if answer is None and prompt in may_lack:
                continue
            assert answer in right, prompt
            if answer is not None:
                self.acknowledged[prompt] = answer
        self.unheard.clear()


def kill_while_writing(server: Any, cache: ServerCache, writers: list[Writer], after: int) -> None:
    """Kill the server when so many stores have returned, while all writers are in the middle of their next one."""
    begun = threading.Semaphore(0)
    threads = [threading.Thread(target=writer.write, args=(cache, begun)) for writer in writers]
    for thread in threads:
        thread.start()
    for _ in range(after):
        assert begun.acquire(timeout=HANG_SECONDS)
    server.kill()
    for thread in threads:
        thread.join(HANG_SECONDS)
        assert not thread.is_alive()


@pytest.mark.parametrize("server", KEEPS.values(), ids=KEEPS, indirect=True)
def test_a_killed_server_that_keeps_all_has_lost_no_acknowledged_store(server: Any) -> None:
    writers = [Writer(f"writer {number}") for number in range(WRITERS)]
    with opened(server, "killed", strict=True, timeout=5) as cache:
        assert cache.about().durability in ("every_write", "unknown")  # nx-27017 does not say
        for number in range(ROUNDS):
            kill_while_writing(server, cache, writers, after=5 + 17 * number)
            server.start()
            wait_until_it_answers(cache)
            for writer in writers:
                writer.check(cache)
        assert cache.counters.corrupt == 0
        assert cache.stats().entries == sum(len(writer.acknowledged) for writer in writers)
        with opened(server, "killed", strict=True) as fresh:
            for writer in writers:
                writer.check(fresh)


@pytest.mark.parametrize("server", [lambda: RedisServer(persistence="aof-everysec")], ids=["redis"], indirect=True)
def test_redis_that_syncs_every_second_lacks_nothing_but_the_last_moments(server: Any) -> None:
    writers = [Writer(f"writer {number}") for number in range(WRITERS)]
    with opened(server, "killed", strict=True, timeout=5) as cache:
        assert cache.about().durability == "every_second"
        for number in range(ROUNDS):
            before = {prompt for writer in writers for prompt in writer.acknowledged}
            kill_while_writing(server, cache, writers, after=5 + 17 * number)
            written = {prompt for writer in writers for prompt in writer.acknowledged}
            server.start()
            wait_until_it_answers(cache)
            for writer in writers:
                for prompt in list(writer.acknowledged):
                    if found(cache, prompt) is None:  # Redis may hold a write back while it syncs the one before
                        assert prompt not in before
                        del writer.acknowledged[prompt]
            assert any(writer.acknowledged for writer in writers), written


@pytest.mark.parametrize("server", [RedisServer, RedisClusterServer], ids=["redis", "redis-cluster"], indirect=True)
def test_redis_that_keeps_nothing_says_so_and_the_same_cache_begins_anew(server: Any) -> None:
    with opened(server, "killed") as cache:
        assert cache.about().durability == "nothing"
        for number in range(20):
            store(cache, f"q{number}", "answer")
        assert asyncio.run(cache.alookup("q1", LLM)) == [chat("answer")]
        server.kill()
        assert look(cache, "q1").outcome == "error"
        store(cache, "q1", "answer")  # fails open
        server.start()
        wait_until_it_answers(cache)
        assert [look(cache, f"q{number}").outcome for number in range(20)] == ["miss"] * 20
        assert texts(asyncio.run(cache.alookup("q1", LLM))) is None
        assert (cache.stats().entries, cache.entries().total) == (0, 0)
        store(cache, "q1", "new answer")
        asyncio.run(cache.aupdate("q2", LLM, [chat("new answer")]))
        assert (found(cache, "q1"), found(cache, "q2")) == (["new answer"], ["new answer"])
        assert cache.namespaces() == ["default"]
        assert cache.stats().entries == 2
        with opened(server, "killed") as fresh:
            assert found(fresh, "q1") == ["new answer"]


@pytest.mark.parametrize(
    "server", [*KEEPS.values(), RedisServer, RedisClusterServer], ids=[*KEEPS, "redis", "redis-cluster"], indirect=True
)
async def test_tasks_that_store_while_the_server_is_killed_fail_open_and_go_on_afterwards(server: Any) -> None:
    with opened(server, "killed", timeout=2) as cache:
        await cache.aupdate("first", LLM, [chat("answer")])
        stop = asyncio.Event()

        async def work(number: int) -> None:
            while not stop.is_set():
                await cache.aupdate(f"q{number}", LLM, [chat(f"answer {number}")])
                assert texts(await cache.alookup(f"q{number}", LLM)) in ([f"answer {number}"], None)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(work(number))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(wait_until_it_answers, cache)
            stop.set()
        cache.breaker.succeeded()
        for number in range(20):
            await cache.aupdate(f"q{number}", LLM, [chat(f"answer {number}")])
        with cache.observe() as lookups:
            answers = await asyncio.gather(*(cache.alookup(f"q{number}", LLM) for number in range(20)))
        assert [lookup.outcome for lookup in lookups] == ["hit"] * 20
        assert [texts(answer) for answer in answers] == [[f"answer {number}"] for number in range(20)]
