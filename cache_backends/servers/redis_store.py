"""`RedisStore`: what the views of one cache in Redis share: connections, and which namespaces it has named already."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from redis import exceptions

from cache_backends.errors import CacheUnavailableError, CacheUnreachableError
from cache_backends.servers.connections import Connections, DroppedError
from cache_backends.servers.per_loop import PerLoop
from cache_backends.servers.redis_cluster import ClusterSession
from cache_backends.servers.redis_keys import Partition, format_key, namespace_number, namespaces_key
from cache_backends.servers.redis_loop import LoopClient, open_in_loop
from cache_backends.servers.redis_scripts import SETTLE, in_empty_partition
from cache_backends.servers.redis_session import (
    RedisSession,
    connect,
    failure,
)
from cache_backends.servers.redis_values import FORMAT
from cache_backends.servers.redis_wire import Command
from cache_backends.servers.server_cache import ServerStore

if TYPE_CHECKING:
    from cache_backends.servers.redis import RedisCache

Result = TypeVar("Result")

NAMED_FOR_S = 60.0
"""A namespace is named again after this: a full Redis may have removed the names, by its `maxmemory-policy`."""
MOST_COMMANDS = 600
"""Commands in one round trip: 18 namespaces have as many partitions."""


class Session(Protocol):
    """A Redis, or a cluster of them."""

    def one(self, *command: bytes) -> Any:
        """The reply to a command. Raises `CacheError`."""

    def many(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to several commands. Raises `CacheError`."""


class RedisStore(ServerStore):
    """Connections to one Redis or one cluster. Every call is short: what takes long is done in many of them."""

    def __init__(self, cache: RedisCache) -> None:
        super().__init__(cache)
        self._address = cache.address
        self._settings = cache.connection_options
        self._timeout_s = cache.timeout_s
        self._prefix = cache.prefix
        self.is_cluster = cache.address.scheme.endswith("+cluster")
        self._named: dict[str, float] = {}
        self._cluster = ClusterSession(self._address, self._settings, self._timeout_s, self._know_nothing)
        self._sessions = Connections(self._connect, RedisSession.close, self._timeout_s)
        self._of_loops = PerLoop(self._open_in_loop, LoopClient.close)
        self._format_is_known = False

    def run(self, operation: Callable[[Session], Result]) -> Result:
        """The result of an operation on entries of a known format. Raises `CacheError`."""
        if not self._format_is_known:
            self._need_format()
        return self.ask(lambda: self._run(operation))

    def one(self, *command: bytes) -> Any:
        """The reply to one command. Raises `CacheError`."""
        return self.run(lambda session: session.one(*command))

    def many(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to several commands. Raises `CacheError`."""
        replies: list[Any] = []
        for start in range(0, len(commands), MOST_COMMANDS):
            some = commands[start : start + MOST_COMMANDS]
            replies += self.run(lambda session, some=some: session.many(some))  # type: ignore[misc]
        return replies

    def settle(self, places: Iterable[Partition]) -> None:
        """See that the orders of partitions have all that was stored so far. Raises `CacheError`."""
        self.many([SETTLE.call(place.about) for place in places])

    def on_each_node(self, *command: bytes) -> list[Any]:
        """The replies of every node that keeps entries. Raises `CacheError`."""
        if self.is_cluster:
            return self.ask(lambda: self._cluster.on_each_node(*command))
        return [self.one(*command)]

    def get(self, key: bytes) -> bytes | None:
        """The value of an entry. Raises `CacheError`."""
        value: bytes | None = self.one(b"GET", key)
        return value

    def put(self, namespace: str, command: Command) -> None:
        """Run the script that stores an entry. Raises `CacheError`."""
        if not self.one(*command):
            self._put_first(namespace, command)
        elif not self._is_named(namespace):
            self._name(namespace)

    async def get_async(self, key: bytes) -> bytes | None:
        """`get`, for an event loop."""
        if not self._format_is_known:
            await asyncio.to_thread(self._need_format)
        value: bytes | None = await self.one_async(b"GET", key)
        return value

    async def put_async(self, namespace: str, command: Command) -> None:
        """`put`, for an event loop."""
        if not self._format_is_known:
            await asyncio.to_thread(self._need_format)
        if not await self.one_async(*command):
            await asyncio.to_thread(self._put_first, namespace, command)
        elif not self._is_named(namespace):
            await asyncio.to_thread(self._name, namespace)

    def _put_first(self, namespace: str, command: Command) -> None:
        """Store the first entry of a partition; see `redis_names` for why it is named before and after."""
        name = self._naming(namespace)
        known = (b"SET", format_key(self._prefix), b"%d" % FORMAT, b"NX")  # somebody may have emptied Redis
        self.many([name, in_empty_partition(command), name, known])
        if self.is_cluster:
            self.one(*name)  # the node that keeps it was asked first, for both
        self._named[namespace] = time.monotonic()

    def _name(self, namespace: str) -> None:
        self.one(*self._naming(namespace))
        self._named[namespace] = time.monotonic()

    def _naming(self, namespace: str) -> Command:
        return (b"HSET", namespaces_key(self._prefix), namespace_number(namespace).encode(), namespace.encode())

    async def one_async(self, *command: bytes) -> Any:
        """`one`, for an event loop."""
        return await self.ask_async(lambda: self._one_async(command))

    def _is_named(self, namespace: str) -> bool:
        """Whether the namespace was named a short while ago."""
        named_at = self._named.get(namespace)
        return named_at is not None and time.monotonic() - named_at < NAMED_FOR_S

    def _need_format(self) -> None:
        """Refuse what another version has written. Raises `CacheError`."""
        key = format_key(self._prefix)
        version = self.ask(lambda: self._run(lambda session: session.one(b"GET", key)))
        if version is None:
            try:
                self.ask(lambda: self._run(lambda session: session.one(b"SET", key, b"%d" % FORMAT, b"NX")))
            except CacheUnreachableError:
                raise
            except CacheUnavailableError:
                pass  # full, or a replica: reading may go on
        elif version != b"%d" % FORMAT:
            other = version[:20].decode("ascii", "replace")
            raise CacheUnavailableError(
                f"What {self._prefix}:* holds was made by another version (format {other}; this one knows {FORMAT}). "
                "Use that version, or another prefix=."
            )
        self._format_is_known = True

    def close(self) -> None:
        """Close every connection."""
        self.closed = True
        self._sessions.close()
        self._cluster.close()
        self._of_loops.close()

    def _connect(self) -> RedisSession:
        (place,) = self._address.hosts
        session = connect(self._address, place, self._settings, self._timeout_s)
        self._know_nothing()
        return session

    def _know_nothing(self) -> None:
        """Where it connects anew, the server may be another one, with less in it, or of another version."""
        self._named.clear()
        self._format_is_known = False

    def _run(self, operation: Callable[[Session], Result]) -> Result:
        if not self.is_cluster:
            return self._sessions.run(operation)
        try:
            return operation(self._cluster)
        except DroppedError:
            return operation(self._cluster)

    async def _one_async(self, command: Command) -> Any:
        try:
            return await self._try_async(command)
        except DroppedError:
            return await self._try_async(command)

    async def _try_async(self, command: Command) -> Any:
        try:
            async with asyncio.timeout(2 * self._timeout_s):  # connecting, then the reply
                client = await self._of_loops.here()
                return await client.one(command)
        except (exceptions.RedisError, exceptions.RedisClusterException, OSError) as error:
            self._named.clear()  # redis-py connects anew by itself
            raise failure(self._address, error, self._timeout_s) from error

    def _open_in_loop(self) -> LoopClient:
        return open_in_loop(self._address, self._settings, self._timeout_s)
