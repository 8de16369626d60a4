"""The raw round trip of each server's driver: one plain read of a value by its key, one plain write, nothing else.

Each is made from the server's URL alone, so that a process of its own can make one too.
"""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import urlsplit

KEPT_MS = 3_600_000
"""How long Redis keeps what is written: value and end of life in one command, as a cache does it."""


class Raw(Protocol):
    """One open connection."""

    def read(self, key: bytes) -> bytes | None:
        """The value, as the driver gives it."""

    def write(self, key: bytes, value: bytes) -> None:
        """Store the value; it is acknowledged when this returns."""


class RawRedis:
    """`GET`, and `SET` with `PX`."""

    def __init__(self, url: str) -> None:
        import redis

        self._client = self._connected(url, redis)

    def _connected(self, url: str, redis: Any) -> Any:
        return redis.Redis.from_url(url)

    def read(self, key: bytes) -> bytes | None:
        """One GET."""
        value: bytes | None = self._client.get(key)
        return value

    def write(self, key: bytes, value: bytes) -> None:
        """One SET."""
        self._client.set(key, value, px=KEPT_MS)


class RawRedisCluster(RawRedis):
    """The same by the client that knows the nodes."""

    def _connected(self, url: str, redis: Any) -> Any:
        return redis.RedisCluster.from_url(url.replace("redis+cluster://", "redis://"))


class RawPostgres:
    """One row, prepared and binary; a statement is a transaction."""

    def __init__(self, url: str) -> None:
        import psycopg

        self._cursor = psycopg.connect(url, autocommit=True).cursor(binary=True)
        self._cursor.execute("create table if not exists raw_values (key bytea primary key, value bytea not null)")

    def read(self, key: bytes) -> bytes | None:
        """One SELECT."""
        row = self._cursor.execute("select value from raw_values where key = %s", (key,), prepare=True).fetchone()
        return None if row is None else row[0]

    def write(self, key: bytes, value: bytes) -> None:
        """One upsert."""
        self._cursor.execute(
            "insert into raw_values (key, value) values (%s, %s) "
            "on conflict (key) do update set value = excluded.value",
            (key, value),
            prepare=True,
        )


class RawMySQL:
    """One row; a statement is a transaction."""

    def __init__(self, url: str) -> None:
        import pymysql

        parts = urlsplit(url)
        self._cursor = pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
            database=parts.path.strip("/"),
            autocommit=True,
        ).cursor()
        self._cursor.execute(
            "create table if not exists raw_values (`key` binary(32) primary key, value longblob not null)"
        )

    def read(self, key: bytes) -> bytes | None:
        """One SELECT."""
        self._cursor.execute("select value from raw_values where `key` = %s", (key,))
        row = self._cursor.fetchone()
        return None if row is None else row[0]

    def write(self, key: bytes, value: bytes) -> None:
        """One upsert."""
        self._cursor.execute(
            "insert into raw_values (`key`, value) values (%s, %s) on duplicate key update value = values(value)",
            (key, value),
        )


class RawMongoDB:
    """One document, with the write concern that the URL has."""

    def __init__(self, url: str) -> None:
        import pymongo

        self._values = pymongo.MongoClient(url).get_default_database("cache")["raw_values"]

    def read(self, key: bytes) -> bytes | None:
        """One find_one."""
        found = self._values.find_one({"_id": key.hex()})
        return None if found is None else found["value"]

    def write(self, key: bytes, value: bytes) -> None:
        """One upsert."""
        self._values.update_one({"_id": key.hex()}, {"$set": {"value": value}}, upsert=True)
