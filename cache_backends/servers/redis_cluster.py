"""A Redis Cluster: redis-py's client, which knows which node keeps what, behind the methods of `RedisSession`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from redis import exceptions
from redis.cluster import ClusterNode, RedisCluster

from cache_backends.errors import CacheError
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.servers.address import Address
from cache_backends.servers.bounded import bounded
from cache_backends.servers.redis_session import DEFAULT_PORT, connection_settings, failure, unreachable
from cache_backends.servers.redis_wire import Command

_NEVER_CHANGED = (b"GET", b"EVAL")
"""Commands whose replies redis-py leaves as they are."""
FAILURES = (exceptions.RedisError, exceptions.RedisClusterException, OSError)


class ClusterSession(Forkable):
    """The nodes of a cluster; used by all threads at once."""

    def __init__(
        self, address: Address, settings: dict[str, Any], timeout_s: float, connected: Callable[[], object]
    ) -> None:
        """`connected` is called when the nodes were connected to anew."""
        self._address = address
        self._settings = settings
        self._timeout_s = timeout_s
        self._tell_connected = connected
        self._client: RedisCluster | None = None
        self._others: list[tuple[str, int]] = []
        """Nodes that were there when one did not answer."""
        self._connecting = threading.Lock()
        self._inherited: list[object] = []
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """The connections are the parent's."""
        self._inherited.append(self._client)
        self._client = None
        self._connecting = threading.Lock()

    def one(self, *command: bytes) -> Any:
        """The reply to a command, from the node that keeps its first key. Raises `CacheError`."""
        try:
            client = self._connected() if command[0] in _NEVER_CHANGED else self._plain()
            return client.execute_command(command[0].decode(), *command[1:])
        except FAILURES as error:
            raise self._failure(error) from error

    def many(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to several commands, one round trip a node. Raises `CacheError` if one fails."""
        try:
            pipeline = self._plain().pipeline()
            for command in commands:
                pipeline.execute_command(command[0].decode(), *command[1:])
            replies: list[Any] = pipeline.execute()
            return replies
        except FAILURES as error:
            raise self._failure(error) from error

    def on_each_node(self, *command: bytes) -> list[Any]:
        """The replies of all primary nodes. Raises `CacheError`."""
        try:
            client = self._plain()
            return [
                client.execute_command(command[0].decode(), *command[1:], target_nodes=node)
                for node in client.get_primaries()
            ]
        except FAILURES as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            self._client.close()

    def _connected(self) -> RedisCluster:
        client = self._client
        if client is None:
            client = self._connected_by_one_thread()
        return client

    def _plain(self) -> RedisCluster:
        """The client, which gives replies as the servers send them."""
        client = self._connected()
        for node in client.get_nodes():  # new ones may have come
            if node.redis_connection is not None:
                node.redis_connection.response_callbacks.clear()
        return client

    def _connected_by_one_thread(self) -> RedisCluster:
        """The client, made by whoever comes first. Who has waited for that as long as a call may take gives up too."""
        if not self._connecting.acquire(timeout=self._timeout_s):
            raise unreachable(self._address, TimeoutError(), self._timeout_s)
        try:
            client = self._client = self._client or self._connect()
            return client
        finally:
            self._connecting.release()

    def _connect(self) -> RedisCluster:
        own = [(host, port or DEFAULT_PORT) for host, port in self._address.hosts]
        nodes = [ClusterNode(host, port) for host, port in dict.fromkeys([*self._others, *own])]
        settings = connection_settings(self._address, self._settings, self._timeout_s)
        del settings["db"]
        try:
            client = bounded(
                lambda: RedisCluster(startup_nodes=nodes, reinitialize_steps=0, **settings),
                self._timeout_s,
                lambda client: client.close(),
            )
        except FAILURES as error:
            raise unreachable(self._address, error, self._timeout_s) from error

        def begin_anew(*_: object, last_failed_node_name: str | None = None, **__: object) -> None:
            self._others = [(node.host, node.port) for node in client.get_nodes() if node.name != last_failed_node_name]
            if self._client is client:
                self._client = None

        self._tell_connected()
        # redis-py would ask every node in turn who keeps what, in the middle of a call and each for as long as a call
        # may take; all other threads would wait. The next call finds out instead, within its time.
        client.nodes_manager.initialize = begin_anew  # type: ignore[method-assign]
        return client

    def _failure(self, error: Exception) -> CacheError:
        return failure(self._address, error, self._timeout_s)
