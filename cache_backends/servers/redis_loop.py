"""`LoopClient`: redis-py's client of a Redis or a cluster for one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from redis import asyncio as async_redis
from redis import exceptions
from redis.asyncio.cluster import ClusterNode

from cache_backends.servers.address import Address
from cache_backends.servers.connections import MOST_AT_ONCE
from cache_backends.servers.redis_cluster import cluster_settings
from cache_backends.servers.redis_scripts import whole
from cache_backends.servers.redis_session import DEFAULT_PORT, connection_settings
from cache_backends.servers.redis_wire import Command


def open_in_loop(address: Address, settings: dict[str, str], timeout_s: float) -> LoopClient:
    """A client for the running loop; it connects when it is first asked."""
    if address.scheme.endswith("+cluster"):
        nodes = [ClusterNode(host, port or DEFAULT_PORT) for host, port in address.hosts]
        options = cluster_settings(address, settings, timeout_s)
        cluster: Any = async_redis.RedisCluster(startup_nodes=nodes, **options)
        cluster.commands_parser = _KeyComesFirst()
        return LoopClient(cluster, timeout_s, is_cluster=True)
    ((host, port),) = address.hosts
    options = connection_settings(address, settings, timeout_s)
    client = async_redis.Redis(host=host, port=port or DEFAULT_PORT, ssl=address.scheme == "rediss", **options)
    return LoopClient(client, timeout_s, is_cluster=False)


class LoopClient:
    """Asked by a bounded number of tasks at once."""

    def __init__(self, client: Any, timeout_s: float, *, is_cluster: bool) -> None:
        """`client` is redis-py's; `timeout_s` is how long closing may take."""
        self._client = client
        self._timeout_s = timeout_s
        self._is_cluster = is_cluster
        self._free = asyncio.Semaphore(MOST_AT_ONCE)
        self._starting = asyncio.Lock()
        self._has_started = not is_cluster
        self._asking = 0
        self._is_closed = False

    async def one(self, command: Command) -> Any:
        """The reply to a command."""
        self._asking += 1
        try:
            return await self._reply(command)
        finally:
            self._asking -= 1
            if self._is_closed:  # by a task of its own: no answer waits for it, or is lost with it
                self._closing = asyncio.ensure_future(self.close())

    async def close(self) -> None:
        """Close its connections, once no task waits for a reply: redis-py would connect again for those."""
        self._is_closed = True
        if self._asking:
            return
        with contextlib.suppress(exceptions.RedisError, exceptions.RedisClusterException, OSError):
            async with asyncio.timeout(self._timeout_s):
                await self._client.aclose()
                if self._is_cluster:  # that closes nothing after a node failed, or after it was cut short itself
                    await self._client.nodes_manager.aclose("nodes_cache")
                    await self._client.nodes_manager.aclose("startup_nodes")

    async def _reply(self, command: Command) -> Any:
        if not self._has_started:
            async with self._starting:  # tasks that ask while the nodes are being found would lose their connections
                await self._client.initialize()
                self._has_started = True
        async with self._free:
            try:
                return await self._client.execute_command(command[0].decode(), *command[1:])
            except exceptions.NoScriptError:
                name, *rest = whole(command)
                return await self._client.execute_command(name.decode(), *rest)


class _KeyComesFirst:
    """Where the key of a command is, for redis-py's client of a cluster, which knows that of scripts by itself.

    In place of a table of all commands that it would load from the server: most of what an event loop's first
    call takes.
    """

    async def initialize(self, node: object = None) -> None:
        """There is nothing to load."""

    async def get_keys(self, *command: Any) -> tuple[Any, ...]:
        """The keys of `GET key`, `SET key value`, and such."""
        return (command[1],)
