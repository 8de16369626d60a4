"""The servers that faults are brought upon: adding one to all tests here is one line of `KINDS`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from cache_backends import open_cache
from cache_backends.servers.server_cache import ServerCache
from tests.reliability.stores import HANG_SECONDS
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.servers.redis_cluster import RedisClusterServer

TIMEOUT_S = 0.3
"""Of calls to servers that hang."""
PATIENT_S = 20
"""Of all others: a slow machine is no fault of the cache."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of server, and how to harm it from outside. Functions get the server, and what names begin with."""

    name: str
    make: Callable[[], Any]
    drop_connections: Callable[[Any], None]
    """End every connection of a client on the server's side."""
    empty: Callable[[Any, str], None]
    """Remove all that a cache has made there: its tables, its keys."""
    plant: Callable[[Any, str, str, bytes], None]
    """Put other bytes in the place of the value of an entry, by its key."""
    value: Callable[[Any, str, str], bytes]
    """The bytes of an entry's value."""
    damaged: Callable[[Any, str], int]
    """How many damaged values lie aside."""
    set_format: Callable[[Any, str, int], None]
    """Say that another version has written all this."""

    def __str__(self) -> str:
        return self.name


def _drop_postgres(server: PostgresServer) -> None:
    with server.connect(user=server.admin) as connection:
        connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
            "where pid <> pg_backend_pid() and backend_type = 'client backend'"
        )


def _empty_postgres(server: PostgresServer, prefix: str) -> None:
    with server.connect() as connection:
        for table in ("entries", "texts", "damaged", "format"):
            connection.execute(f"drop table if exists {prefix}_{table}")


def _plant_postgres(server: PostgresServer, prefix: str, key: str, value: bytes) -> None:
    with server.connect() as connection:
        planted = connection.execute(
            f"update {prefix}_entries set value = %s where digest = %s", (value, bytes.fromhex(key))
        )
        assert planted.rowcount == 1


def _postgres_value(server: PostgresServer, prefix: str, key: str) -> bytes:
    with server.connect() as connection:
        row = connection.execute(
            f"select value from {prefix}_entries where digest = %s", (bytes.fromhex(key),)
        ).fetchone()
        assert row is not None
        return bytes(row[0])


def _damaged_in_postgres(server: PostgresServer, prefix: str) -> int:
    with server.connect() as connection:
        row = connection.execute(f"select count(*) from {prefix}_damaged").fetchone()
        assert row is not None
        return int(row[0])


def _set_format_of_postgres(server: PostgresServer, prefix: str, version: int) -> None:
    with server.connect() as connection:
        connection.execute(f"update {prefix}_format set version = %s", (version,))


def _nodes(server: RedisServer | RedisClusterServer) -> list[RedisServer]:
    return list(server.nodes) if isinstance(server, RedisClusterServer) else [server]


def _drop_redis(server: RedisServer | RedisClusterServer) -> None:
    for node in _nodes(server):
        with node.connect() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def _empty_redis(server: RedisServer | RedisClusterServer, prefix: str) -> None:
    for node in _nodes(server):
        with node.connect() as client:
            client.flushall()


def _key_in_redis(client: Any, prefix: str, key: str) -> bytes:
    (name,) = client.scan_iter(f"{{{prefix}:*}}:{key}", count=1000)
    return bytes(name)


def _plant_redis(server: RedisServer | RedisClusterServer, prefix: str, key: str, value: bytes) -> None:
    with server.connect() as client:
        client.set(_key_in_redis(client, prefix, key), value)


def _redis_value(server: RedisServer | RedisClusterServer, prefix: str, key: str) -> bytes:
    with server.connect() as client:
        value = client.get(_key_in_redis(client, prefix, key))
        assert isinstance(value, bytes)
        return value


def _damaged_in_redis(server: RedisServer | RedisClusterServer, prefix: str) -> int:
    with server.connect() as client:
        return sum(client.hlen(name) for name in client.scan_iter(f"{{{prefix}:*}}:damaged", count=1000))


def _set_format_of_redis(server: RedisServer | RedisClusterServer, prefix: str, version: int) -> None:
    with server.connect() as client:
        client.set(f"{prefix}:format", version)


_REDIS = (_drop_redis, _empty_redis, _plant_redis, _redis_value, _damaged_in_redis, _set_format_of_redis)

KINDS = (
    Kind(
        "postgresql",
        PostgresServer,
        *(_drop_postgres, _empty_postgres, _plant_postgres),
        *(_postgres_value, _damaged_in_postgres, _set_format_of_postgres),
    ),
    Kind("redis", lambda: RedisServer(password=True), *_REDIS),
    Kind("redis-cluster", lambda: RedisClusterServer(password=True), *_REDIS),
)

on_every_server = pytest.mark.parametrize("kind", KINDS, ids=str)
on_sql_servers = pytest.mark.parametrize("kind", [kind for kind in KINDS if "sql" in kind.name], ids=str)
on_servers_with_passwords = pytest.mark.parametrize("kind", KINDS, ids=str)
"""All but nx-27017, which knows none."""


@cache
def server_of(kind: Kind) -> Any:
    """The server of this kind that all tests here harm, one after another: no other test may use it."""
    return kind.make()


def opened(server: Any, prefix: str, **options: Any) -> ServerCache:
    """A cache on a server."""
    cache = open_cache(server.url(prefix=prefix), **{"timeout": PATIENT_S, **options})
    assert isinstance(cache, ServerCache)
    return cache


def wait_until_it_answers(cache: ServerCache) -> None:
    """Until the server answers again: one that was paused has to work off what came meanwhile."""
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        cache.breaker.succeeded()
        with contextlib.suppress(Exception):
            cache.ping()
            return
        assert time.monotonic() < deadline, cache.trouble
        time.sleep(0.02)
