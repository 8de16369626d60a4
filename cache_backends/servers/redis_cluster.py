"""A Redis Cluster: connections to each node, by redis-py's map of which node keeps what."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from redis import exceptions
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot

from cache_backends.errors import CacheError, CacheUnreachableError
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.servers.address import Address
from cache_backends.servers.bounded import bounded
from cache_backends.servers.connections import Connections
from cache_backends.servers.redis_scripts import first_key, whole
from cache_backends.servers.redis_session import (
    DEFAULT_PORT,
    ElsewhereError,
    RedisSession,
    connect,
    connection_settings,
    failure,
    unreachable,
)
from cache_backends.servers.redis_wire import Command

Result = TypeVar("Result")

FAILURES = (exceptions.RedisError, exceptions.RedisClusterException, OSError)


class ClusterSession(Forkable):
    """The nodes of a cluster behind the methods of `RedisSession`; used by all threads at once.

    Commands go straight to the node that keeps their first key; by redis-py's client a lookup took half as long again.
    It is asked only where the keys of a node are being moved to another: then what `many` runs may run twice.
    """

    def __init__(
        self, address: Address, settings: dict[str, Any], timeout_s: float, connected: Callable[[], object]
    ) -> None:
        """`connected` is called when the nodes were connected to anew."""
        self._address = address
        self._settings = settings
        self._timeout_s = timeout_s
        self._tell_connected = connected
        self._client: RedisCluster | None = None
        self._sessions: dict[str, Connections[RedisSession]] = {}
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
        """The reply to a command. Raises `CacheError`."""
        client = self._connected()
        try:
            return self._run(client, self._node(client, command), lambda session: session.one(*command))
        except ElsewhereError:
            return self._redirected(client, command)

    def many(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to several commands, one round trip a node. Raises `CacheError` if one fails."""
        client = self._connected()
        of_node: dict[ClusterNode, list[int]] = defaultdict(list)
        for index, command in enumerate(commands):
            of_node[self._node(client, command)].append(index)
        replies: list[Any] = [None] * len(commands)
        for node, indexes in of_node.items():
            some = [commands[index] for index in indexes]
            for index, reply in zip(indexes, self._many(client, node, some), strict=True):
                replies[index] = reply
        return replies

    def on_each_node(self, *command: bytes) -> list[Any]:
        """The replies of all primary nodes. Raises `CacheError`."""
        client = self._connected()
        return [self._run(client, node, lambda session: session.one(*command)) for node in client.get_primaries()]

    def close(self) -> None:
        """Close all connections."""
        for sessions in list(self._sessions.values()):
            sessions.close()
        if self._client is not None:
            self._client.close()

    def _many(self, client: RedisCluster, node: ClusterNode, commands: Sequence[Command]) -> list[Any]:
        try:
            return self._run(client, node, lambda session: session.many(commands))
        except ElsewhereError:
            return [self._redirected(client, command) for command in commands]

    def _run(self, client: RedisCluster, node: ClusterNode, operation: Callable[[RedisSession], Result]) -> Result:
        sessions = self._sessions.get(node.name) or self._sessions.setdefault(node.name, self._connections(node))
        try:
            return sessions.run(operation)
        except CacheUnreachableError:
            self._begin_anew(client, node.name)
            raise

    def _connections(self, node: ClusterNode) -> Connections[RedisSession]:
        def connect_to_node() -> RedisSession:
            self._tell_connected()
            return connect(self._address, (node.host, node.port), self._settings, self._timeout_s)

        return Connections(connect_to_node, RedisSession.close, self._timeout_s)

    def _node(self, client: RedisCluster, command: Command) -> ClusterNode:
        """The node that keeps the first key of a command. Raises `CacheUnreachableError`."""
        nodes = client.nodes_manager.slots_cache.get(key_slot(first_key(command)))
        if not nodes:
            self._begin_anew(client, None)
            raise CacheUnreachableError(f"{self._address.name} has no node for some of the entries now.")
        return nodes[0]

    def _redirected(self, client: RedisCluster, command: Command) -> Any:
        """The reply by redis-py's client, which goes where a node points to, and remembers what has moved for good."""
        for node in client.get_nodes():  # replies as the servers send them
            if node.redis_connection is not None:
                node.redis_connection.response_callbacks.clear()
        name, *rest = whole(command)
        try:
            return client.execute_command(name.decode(), *rest)
        except FAILURES as error:
            raise self._failure(error) from error

    def _connected(self) -> RedisCluster:
        client = self._client
        if client is None:
            client = self._connected_by_one_thread()
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
        settings = cluster_settings(self._address, self._settings, self._timeout_s)
        try:
            client = bounded(
                lambda: RedisCluster(startup_nodes=nodes, reinitialize_steps=0, **settings),
                self._timeout_s,
                lambda client: client.close(),
            )
        except FAILURES as error:
            raise unreachable(self._address, error, self._timeout_s) from error

        def begin_anew(*_: object, last_failed_node_name: str | None = None, **__: object) -> None:
            self._begin_anew(client, last_failed_node_name)

        self._tell_connected()
        # redis-py would ask every node in turn who keeps what, in the middle of a call and each for as long as a call
        # may take; all other threads would wait. The next call finds out instead, within its time.
        client.nodes_manager.initialize = begin_anew  # type: ignore[method-assign]
        return client

    def _begin_anew(self, client: RedisCluster, failed: str | None) -> None:
        """Let the next call find out who keeps what, from other nodes than the one that failed."""
        self._others = [(node.host, node.port) for node in client.get_nodes() if node.name != failed]
        if self._client is client:
            self._client = None

    def _failure(self, error: Exception) -> CacheError:
        return failure(self._address, error, self._timeout_s)


def cluster_settings(address: Address, settings: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """What redis-py's clients of a cluster take, but for where it is."""
    taken = connection_settings(address, settings, timeout_s)
    del taken["db"]
    return taken | {"ssl": True} if address.scheme.startswith("rediss") else taken
