"""The servers that faults are brought upon: adding one to all tests here is one line of `KINDS`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import psutil
import pytest

from cache_backends import open_cache
from cache_backends.servers.breaker import LONGEST_PAUSE_S
from cache_backends.servers.server_cache import ServerCache
from tests.cache_backends.backends import FakeClock
from tests.reliability.stores import HANG_SECONDS
from tests.servers.mariadb import MariaDBServer
from tests.servers.mongodb import ProtocolServer
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
    connections: Callable[[Any], int]
    """How many connections of clients there are, the one that asks apart."""

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


def _connections_to_postgres(server: PostgresServer) -> int:
    with server.connect(user=server.admin) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'"
        ).fetchone()
        assert row is not None
        return int(row[0])


OTHERS_OF_MYSQL = "from information_schema.processlist where id <> connection_id()"


def _by_mysql(server: MariaDBServer, statement: str, *values: object) -> Any:
    """What the first column of the first row is, or how many rows were changed."""
    with server.connect() as connection, connection.cursor() as cursor:
        changed = cursor.execute(statement, values)
        row = cursor.fetchone() if cursor.description else None
        return changed if row is None else row[0]


def _drop_mysql(server: MariaDBServer) -> None:
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"select id {OTHERS_OF_MYSQL}")
        for (number,) in cursor.fetchall():
            with contextlib.suppress(Exception):  # it has ended by itself
                cursor.execute(f"kill {number}")


def _empty_mysql(server: MariaDBServer, prefix: str) -> None:
    for table in ("entries", "texts", "damaged", "format"):
        _by_mysql(server, f"drop table if exists {prefix}_{table}")


def _plant_mysql(server: MariaDBServer, prefix: str, key: str, value: bytes) -> None:
    statement = f"update {prefix}_entries set value = %s where digest = %s"
    assert _by_mysql(server, statement, value, bytes.fromhex(key)) == 1


def _mysql_value(server: MariaDBServer, prefix: str, key: str) -> bytes:
    return bytes(_by_mysql(server, f"select value from {prefix}_entries where digest = %s", bytes.fromhex(key)))


def _damaged_in_mysql(server: MariaDBServer, prefix: str) -> int:
    return int(_by_mysql(server, f"select count(*) from {prefix}_damaged"))


def _set_format_of_mysql(server: MariaDBServer, prefix: str, version: int) -> None:
    _by_mysql(server, f"update {prefix}_format set version = %s", version)


def _connections_to_mysql(server: MariaDBServer) -> int:
    return int(_by_mysql(server, f"select count(*) {OTHERS_OF_MYSQL}"))


def _drop_mongo(server: ProtocolServer) -> None:
    server.kill()
    server.start()


@contextlib.contextmanager
def _mongo(server: ProtocolServer) -> Iterator[Any]:
    with server.connect() as client:
        yield client[server.database]


def _empty_mongo(server: ProtocolServer, prefix: str) -> None:
    with _mongo(server) as database:
        for name in ("entries", "texts", "damaged", "format"):
            database.drop_collection(f"{prefix}_{name}")


def _plant_mongo(server: ProtocolServer, prefix: str, key: str, value: bytes) -> None:
    with _mongo(server) as database:
        assert database[f"{prefix}_entries"].update_one({"key": key}, {"$set": {"value": value}}).matched_count == 1


def _mongo_value(server: ProtocolServer, prefix: str, key: str) -> bytes:
    with _mongo(server) as database:
        return bytes(database[f"{prefix}_entries"].find_one({"key": key})["value"])


def _damaged_in_mongo(server: ProtocolServer, prefix: str) -> int:
    with _mongo(server) as database:
        return len(list(database[f"{prefix}_damaged"].find({})))


def _set_format_of_mongo(server: ProtocolServer, prefix: str, version: int) -> None:
    with _mongo(server) as database:
        database[f"{prefix}_format"].update_one({"_id": "format"}, {"$set": {"version": version}})


def _connections_to_mongo(server: ProtocolServer) -> int:
    return sum(one.status == psutil.CONN_ESTABLISHED for one in psutil.Process(server.pid).net_connections("tcp"))


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


def _connections_to_redis(server: RedisServer | RedisClusterServer) -> int:
    total = 0
    for node in _nodes(server):
        with node.connect() as client:
            total += len(client.client_list(_type="normal")) - 1
    return total


_REDIS = (
    *(_drop_redis, _empty_redis, _plant_redis, _redis_value, _damaged_in_redis, _set_format_of_redis),
    _connections_to_redis,
)

KINDS = (
    Kind(
        "postgresql",
        PostgresServer,
        *(_drop_postgres, _empty_postgres, _plant_postgres),
        *(_postgres_value, _damaged_in_postgres, _set_format_of_postgres, _connections_to_postgres),
    ),
    Kind(
        "mysql",
        MariaDBServer,
        *(_drop_mysql, _empty_mysql, _plant_mysql),
        *(_mysql_value, _damaged_in_mysql, _set_format_of_mysql, _connections_to_mysql),
    ),
    Kind(
        "mongodb",
        ProtocolServer,
        *(_drop_mongo, _empty_mongo, _plant_mongo),
        *(_mongo_value, _damaged_in_mongo, _set_format_of_mongo, _connections_to_mongo),
    ),
    Kind("redis", lambda: RedisServer(password=True), *_REDIS),
    Kind("redis-cluster", lambda: RedisClusterServer(password=True), *_REDIS),
)

on_every_server = pytest.mark.parametrize("kind", KINDS, ids=str)
on_sql_servers = pytest.mark.parametrize("kind", [kind for kind in KINDS if "sql" in kind.name], ids=str)
on_servers_with_passwords = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name != "mongodb"], ids=str)
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


def pauses(clock: FakeClock) -> Iterator[None]:
    """The end of one pause of the breaker after another: a server that hung may miss the first short timeouts."""
    for _ in range(20):
        clock.tick(LONGEST_PAUSE_S)
        yield


def wait_until_it_answers(cache: ServerCache) -> None:
    """Until the server answers again: one that was paused has to work off what came meanwhile."""
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        with contextlib.suppress(Exception):
            cache.ping()  # whether it is being left alone or not
            return
        assert time.monotonic() < deadline, cache.trouble
        time.sleep(0.02)
