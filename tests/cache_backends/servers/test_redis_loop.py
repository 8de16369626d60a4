"""redis-py's client in an event loop: closed when nobody waits for a reply, whatever redis-py makes of that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis import asyncio as async_redis
from redis import exceptions
from redis.asyncio.cluster import ClusterNode

from cache_backends.servers.per_loop import PerLoop
from cache_backends.servers.redis_loop import LoopClient

COMMAND = (b"GET", b"key")
CLOSING_TURNS = 3


class Driver:
    """A client of redis-py that replies when it is told to."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.asked = asyncio.Event()
        self.replies = asyncio.Event()
        self.closed = asyncio.Event()
        self.problem = problem

    async def execute_command(self, *command: Any) -> Any:
        """The reply is the command."""
        self.asked.set()
        await self.replies.wait()
        assert not self.closed.is_set(), "closed in the middle"
        return command

    async def aclose(self) -> None:
        """Closing may fail."""
        self.closed.set()
        if self.problem is not None:
            raise self.problem


@pytest.mark.parametrize("problem", [None, exceptions.TimeoutError("Timed out closing connection"), OSError("gone")])
async def test_who_waits_for_a_reply_has_it_before_all_is_closed(problem: Exception | None) -> None:
    driver = Driver(problem)
    client = LoopClient(driver, timeout_s=20, is_cluster=False)
    asking = [asyncio.create_task(client.one(COMMAND)) for _ in range(3)]
    await driver.asked.wait()
    await client.close()
    assert not driver.closed.is_set()
    driver.replies.set()
    assert await asyncio.gather(*asking) == [("GET", b"key")] * 3
    async with asyncio.timeout(20):
        await driver.closed.wait()
    await client.close()  # again, and nothing is raised


async def test_closing_that_takes_for_ever_keeps_no_answer() -> None:
    class Hung(Driver):
        async def aclose(self) -> None:
            await super().aclose()
            await asyncio.Event().wait()

    driver = Hung()
    client = LoopClient(driver, timeout_s=3600, is_cluster=False)
    asking = asyncio.create_task(client.one(COMMAND))
    await driver.asked.wait()
    await client.close()
    driver.replies.set()
    async with asyncio.timeout(20):
        assert await asking == ("GET", b"key")


class Node:
    """A connection to a node of a cluster, which takes some turns of the loop to close."""

    def __init__(self) -> None:
        self.is_open = True

    async def disconnect(self) -> None:
        """As redis-py's."""
        for _ in range(CLOSING_TURNS):
            await asyncio.sleep(0)
        self.is_open = False


@pytest.mark.parametrize("has_failed", [False, True], ids=["well", "after a node has failed"])
@pytest.mark.parametrize("turns", range(CLOSING_TURNS + 3))
def test_a_loop_that_ends_leaves_no_connection_to_a_cluster(turns: int, has_failed: bool) -> None:
    nodes = [Node(), Node()]

    def make() -> LoopClient:
        cluster: Any = async_redis.RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", 1)])
        cluster.nodes_manager.nodes_cache = dict(enumerate(nodes))
        cluster.nodes_manager.startup_nodes = {}
        cluster._initialize = has_failed  # what redis-py notes to find the nodes anew
        return LoopClient(cluster, timeout_s=20, is_cluster=True)

    clients = PerLoop(make, LoopClient.close)

    async def end_while_closing() -> None:
        await clients.here()
        clients.close()
        for _ in range(turns):
            await asyncio.sleep(0)

    asyncio.run(end_while_closing())
    assert not any(node.is_open for node in nodes)
