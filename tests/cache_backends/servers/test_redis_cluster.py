"""A cluster whose nodes change: entries are found where they have gone, and go where they belong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis.crc import key_slot

from cache_backends import open_cache
from cache_backends.errors import CacheUnavailableError
from cache_backends.keys import request_digest
from cache_backends.servers.redis import RedisCache
from cache_backends.servers.redis_keys import partition_number, partitions
from tests.cache_backends.answers import LLM, chat, found, store
from tests.servers.available import available
from tests.servers.redis import RedisServer
from tests.servers.redis_cluster import RedisClusterServer


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisClusterServer]:
    server = available(lambda: RedisClusterServer().start())
    yield server
    server.close()


@pytest.fixture
def cache(cluster: RedisClusterServer) -> Iterator[RedisCache]:
    with open_cache(cluster.url(prefix="moving")) as opened:
        assert isinstance(opened, RedisCache)
        opened.strict = True
        yield opened
        opened.clear()


def slot_of(cache: RedisCache, prompt: str) -> int:
    """The slot that the entry of a prompt lies in, with its whole partition."""
    digest = request_digest(prompt, LLM)
    return key_slot(partitions(cache.prefix, cache.namespace)[partition_number(digest)].entry(digest))


def ask(node: RedisServer, *command: Any) -> Any:
    """The reply of one node."""
    with node.connect(decode_responses=True) as client:
        return client.execute_command(*command)


class Move:
    """A slot on its way from the node that keeps it to another one."""

    def __init__(self, cluster: RedisClusterServer, slot: int) -> None:
        self._nodes = cluster.nodes
        self.slot = slot
        self.old = next(node for node in cluster.nodes if slot in slots_of(node))
        self.new = next(node for node in cluster.nodes if node is not self.old)

    def begin(self) -> None:
        """From now on the old node points to the new one for keys that it has not."""
        ask(self.new, "CLUSTER", "SETSLOT", self.slot, "IMPORTING", name_of(self.old))
        ask(self.old, "CLUSTER", "SETSLOT", self.slot, "MIGRATING", name_of(self.new))

    def carry(self) -> None:
        """Take all keys over."""
        while keys := ask(self.old, "CLUSTER", "GETKEYSINSLOT", self.slot, 100):
            ask(self.old, "MIGRATE", self.new.host, self.new.port, "", 0, 5_000, "KEYS", *keys)

    def end(self) -> None:
        """From now on the new node keeps the slot, and every node knows."""
        for node in (self.new, *self._nodes):
            ask(node, "CLUSTER", "SETSLOT", self.slot, "NODE", name_of(self.new))


def name_of(node: RedisServer) -> str:
    """What the others call a node."""
    return str(ask(node, "CLUSTER", "MYID"))


def slots_of(node: RedisServer) -> set[int]:
    """The slots that a node keeps, by itself."""
    kept: set[int] = set()
    for first, last, (_, port, *_), *_ in ask(node, "CLUSTER", "SLOTS"):
        if int(port) == node.port:
            kept.update(range(int(first), int(last) + 1))
    return kept


def test_what_has_moved_to_another_node_is_found_replaced_listed_and_removed(
    cluster: RedisClusterServer, cache: RedisCache
) -> None:
    store(cache, "q", "before")
    move = Move(cluster, slot_of(cache, "q"))
    move.begin()
    move.carry()
    assert found(cache, "q") == ["before"]  # on its way: the old node points to the new one for this once
    move.end()
    assert found(cache, "q") == ["before"]
    store(cache, "q", "after")
    assert found(cache, "q") == ["after"]
    page = cache.entries()
    assert [(shown.prompt, shown.answer) for shown in page.entries] == [("q", "after")]
    assert cache.delete(page.entries[0].key) == 1
    assert cache.entries().total == 0


async def test_an_event_loops_calls_go_to_the_right_nodes_and_load_no_table_of_commands(
    cluster: RedisClusterServer, cache: RedisCache
) -> None:
    prompts = [f"q{number}" for number in range(30)]
    for prompt in prompts:
        store(cache, prompt, "before")
    for node in cluster.nodes:
        ask(node, "CONFIG", "RESETSTAT")
    for prompt in prompts:
        await cache.aupdate(prompt, LLM, [chat("after")])
        assert await cache.alookup(prompt, LLM) == [chat("after")]
    for node in cluster.nodes:
        done = ask(node, "INFO", "commandstats")
        assert {"cmdstat_get", "cmdstat_evalsha"} <= done.keys()
        assert "cmdstat_command" not in done
        assert "errorstat_MOVED" not in ask(node, "INFO", "errorstats")


def test_where_slots_have_moved_is_learned_once(
    cluster: RedisClusterServer, cache: RedisCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(cache, "q", "a")
    move = Move(cluster, slot_of(cache, "q"))
    move.begin()
    move.carry()
    move.end()
    assert found(cache, "q") == ["a"]
    session = cache._store._cluster
    monkeypatch.setattr(session, "_redirected", lambda *_: pytest.fail("asked the wrong node again"))
    assert found(cache, "q") == ["a"]


def test_one_node_of_a_cluster_under_the_plain_scheme_says_which_scheme_to_use(cluster: RedisClusterServer) -> None:
    with (
        open_cache(cluster.nodes[0].url(prefix="plain"), strict=True) as plain,
        pytest.raises(CacheUnavailableError, match=r"redis\+cluster://"),
    ):
        plain.stats()  # asks for every partition


def test_a_node_that_has_forgotten_the_scripts_is_told_them_again(
    cluster: RedisClusterServer, cache: RedisCache
) -> None:
    store(cache, "q", "a")
    for node in cluster.nodes:
        ask(node, "SCRIPT", "FLUSH")
    store(cache, "q", "b")
    assert found(cache, "q") == ["b"]
