"""Connections to one Redis: commands, several in one round trip, and errors as this library's."""

from __future__ import annotations

import math
import socket
from collections.abc import Sequence
from time import monotonic
from typing import Any

from redis import Connection, SSLConnection, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from cache_backends.errors import CacheError, CacheUnavailableError, CacheUnreachableError, CorruptEntryError
from cache_backends.servers.address import Address
from cache_backends.servers.bounded import bounded
from cache_backends.servers.connections import DroppedError
from cache_backends.servers.redis_scripts import ALL
from cache_backends.servers.redis_wire import Command, Replies, packed

DEFAULT_PORT = 6379
_ELSEWHERE = (exceptions.MovedError, exceptions.AskError, exceptions.TryAgainError)
_OUT_OF_REACH = (
    exceptions.RedisClusterException,
    exceptions.ClusterDownError,
    exceptions.BusyLoadingError,
    exceptions.AuthenticationError,
)
"""Errors after which another connection would be of no use."""
_WRONG_TYPE = "WRONGTYPE"
_NOTHING: dict[bytes, bytes | None] = {b"GET": None, b"GETRANGE": b""}
"""What these reply where there is nothing."""


class ElsewhereError(CacheUnavailableError):
    """Another node of a cluster keeps this, or is about to."""


class RedisSession:
    """One connection, which redis-py has opened (TLS, login, number of the database)."""

    def __init__(self, connection: Connection, address: Address, timeout_s: float) -> None:
        self._connection = connection
        self._socket: socket.socket = connection._sock  # type: ignore[assignment]  # it is connected
        self._replies = Replies(self._socket)
        self._address = address
        self._timeout_s = timeout_s

    def one(self, *command: bytes) -> Any:
        """The reply to a command, within the timeout. Raises `CacheError`."""
        try:
            self._replies.until = monotonic() + self._timeout_s
            self._socket.sendall(packed(command))
            return self._replies.next()
        except (exceptions.RedisError, OSError) as error:
            raise failure(self._address, error, self._timeout_s) from error

    def many(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to several commands, in one round trip. Raises `CacheError` if one fails.

        Each piece must come within the timeout, and not all of them: who browses by a slow link waits for a page. What
        is no string has no value here, as for MGET: who reads many entries passes over one that is damaged so.
        """
        try:
            self._replies.until = math.inf
            self._socket.sendall(b"".join(map(packed, commands)))
            return [self._next_value(command[0]) for command in commands]
        except (exceptions.RedisError, OSError) as error:
            raise failure(self._address, error, self._timeout_s) from error

    def _next_value(self, name: bytes) -> Any:
        try:
            return self._replies.next()
        except exceptions.ResponseError as error:
            if name in _NOTHING and str(error).startswith(_WRONG_TYPE):
                return _NOTHING[name]
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()


def connect(
    address: Address, place: tuple[str, int | None], settings: dict[str, Any], timeout_s: float
) -> RedisSession:
    """A new connection to a host and port, to whose server all scripts are known. Raises `CacheUnreachableError`."""
    host, port = place
    kind = SSLConnection if address.scheme.startswith("rediss") else Connection
    connection = kind(host=host, port=port or DEFAULT_PORT, **connection_settings(address, settings, timeout_s))
    try:
        bounded(connection.connect, timeout_s, lambda _: connection.disconnect())
    except (exceptions.RedisError, OSError) as error:
        raise unreachable(address, error, timeout_s) from error
    session = RedisSession(connection, address, timeout_s)
    session.many([(b"SCRIPT", b"LOAD", script.text) for script in ALL])
    return session


def connection_settings(address: Address, settings: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """What redis-py's connections and clients take, but for where the server is."""
    return {
        "username": address.user,
        "password": address.password,
        "db": int(address.database or 0),
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),  # redis-py's own would wait, and repeat what may take a second each time
        "protocol": 2,
        **settings,
    }


def number(value: float) -> bytes:
    """A number as Redis reads it, exact."""
    return repr(value).encode()


def failure(address: Address, error: Exception, timeout_s: float) -> CacheError:
    """What an error of an open connection means for the cache, in a sentence without secrets."""
    said = address.without_password(str(error))
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return CacheUnreachableError(f"{address.name} did not answer within {timeout_s:g} s.")
    if isinstance(error, exceptions.NoScriptError):
        return DroppedError(f"{address.name} has forgotten the scripts of this cache.")
    if isinstance(error, _ELSEWHERE):
        return ElsewhereError(f"{address.name} is a node of a cluster. Write redis+cluster:// for that.")
    if isinstance(error, exceptions.OutOfMemoryError) or "OOM command not allowed" in said:
        return CacheUnavailableError(
            f"{address.name} is full: it has reached its maxmemory and removes nothing by itself (noeviction). "
            "Give it more memory, or the cache max_bytes="
        )
    if isinstance(error, _OUT_OF_REACH):
        return unreachable(address, error, timeout_s)
    if isinstance(error, exceptions.ConnectionError | OSError):
        return DroppedError(f"{address.name} ended the connection: {said}")
    if said.startswith(_WRONG_TYPE):
        return CorruptEntryError("what lies under its key is not an entry")
    return CacheUnavailableError(f"{address.name} refused: {said}")


def unreachable(address: Address, error: Exception, timeout_s: float) -> CacheUnreachableError:
    """What an error of connecting means for the cache, in a sentence without secrets."""
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return CacheUnreachableError(f"{address.name} did not answer within {timeout_s:g} s.")
    return CacheUnreachableError(f"{address.name} can't be connected to: {address.without_password(str(error))}")
