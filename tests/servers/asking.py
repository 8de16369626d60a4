"""Writing and reading one value on any server, by its own driver: what shows that it is there, and what it kept."""

from __future__ import annotations

from typing import Any, Protocol

from tests.servers.mariadb import MariaDBServer
from tests.servers.mongodb import NamedServer, ProtocolServer
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.servers.redis_cluster import RedisClusterServer

AnyServer = PostgresServer | MariaDBServer | RedisServer | RedisClusterServer | ProtocolServer | NamedServer

MAKE = "CREATE TABLE IF NOT EXISTS facts (name VARCHAR(50) PRIMARY KEY, value VARCHAR(50))"


class Asked(Protocol):
    """What is asked of a server."""

    def put(self, name: str, value: str) -> None:
        """Store a value; it is acknowledged when this returns."""

    def get(self, name: str) -> str | None:
        """What is stored."""


class AskedSQL:
    """PostgreSQL or MariaDB: a row, committed at once."""

    def __init__(self, server: PostgresServer | MariaDBServer, **options: Any) -> None:
        self._connect = lambda: server.connect(**options)

    def put(self, name: str, value: str) -> None:
        """Insert a row."""
        self._execute(MAKE)
        self._execute("INSERT INTO facts VALUES (%s, %s)", name, value)

    def get(self, name: str) -> str | None:
        """Read it."""
        self._execute(MAKE)
        return self._execute("SELECT value FROM facts WHERE name = %s", name)

    def _execute(self, statement: str, *values: str) -> str | None:
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            row = cursor.fetchone() if cursor.description else None
        return None if row is None else str(row[0])


class AskedRedis:
    """Redis, alone or as a cluster: a key."""

    def __init__(self, server: RedisServer | RedisClusterServer, **options: Any) -> None:
        self._connect = lambda: server.connect(decode_responses=True, **options)

    def put(self, name: str, value: str) -> None:
        """Set a key."""
        with self._connect() as client:
            assert client.set(name, value)

    def get(self, name: str) -> str | None:
        """Get it."""
        with self._connect() as client:
            return client.get(name)


class AskedMongo:
    """MongoDB: a document."""

    def __init__(self, server: ProtocolServer | NamedServer, **options: Any) -> None:
        self._connect = lambda: server.connect(**options)

    def put(self, name: str, value: str) -> None:
        """Insert a document."""
        with self._connect() as client:
            client.get_default_database().facts.insert_one({"_id": name, "value": value})

    def get(self, name: str) -> str | None:
        """Find it."""
        with self._connect() as client:
            found = client.get_default_database().facts.find_one({"_id": name})
        return None if found is None else str(found["value"])


def asked(server: AnyServer, **options: Any) -> Asked:
    """The way to ask this server; options are the driver's."""
    match server:
        case PostgresServer() | MariaDBServer():
            return AskedSQL(server, **options)
        case RedisServer() | RedisClusterServer():
            return AskedRedis(server, **options)
        case _:
            return AskedMongo(server, **options)
