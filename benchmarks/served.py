"""The servers that are measured: how each is started, its raw round trip, and what LangChain has for it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from langchain_core.caches import BaseCache

from benchmarks.many_entries import Load, load_documents, load_redis, load_rows
from benchmarks.raw_servers import Raw, RawMongoDB, RawMySQL, RawPostgres, RawRedis, RawRedisCluster
from cache_backends import CacheBackend, open_cache
from tests.servers.asking import AnyServer
from tests.servers.mariadb import MariaDBServer
from tests.servers.mongodb import mongodb_server
from tests.servers.postgres import PostgresServer
from tests.servers.programs import NotInstalledError
from tests.servers.redis import RedisServer
from tests.servers.redis_cluster import RedisClusterServer


@dataclass(frozen=True, slots=True)
class Served:
    """One kind of server."""

    name: str
    make: Callable[[], AnyServer]
    raw: Callable[[str], Raw]
    """The driver's round trip; given the URL of a server."""
    load: Load
    """Stores many entries fast."""
    search_goal_s: float
    theirs: Callable[[str], BaseCache] | None = None
    """LangChain's own cache on it."""
    settle: Callable[[str], None] = lambda _: None
    """Lets it finish, after very many entries were stored, what it would do by itself a while later."""
    reports_progress: bool = False
    """Whether a search tells how far it is."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that was started."""

    kind: Served
    url: str
    name: str
    """What the tables call it."""

    def cache(self) -> CacheBackend:
        """Our cache on it."""
        return cache_at(self.url)


def cache_at(url: str) -> CacheBackend:
    """Our cache on a server: with an end of life where the raw write has one; time enough for calls when it is busy."""
    return open_cache(url, ttl=3600 if url.startswith("redis") else None, timeout=10)


def _langchain_redis(url: str) -> BaseCache:
    import redis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # langchain_community says that it is no longer maintained
        from langchain_community.cache import RedisCache

    cache: BaseCache = RedisCache(redis.Redis.from_url(url), ttl=3600)
    return cache


def _langchain_postgres(url: str) -> BaseCache:
    from sqlalchemy import create_engine

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langchain_community.cache import SQLAlchemyCache

    cache: BaseCache = SQLAlchemyCache(create_engine(url.replace("postgresql://", "postgresql+psycopg://")))
    return cache


def _settle_redis(url: str) -> None:
    """A snapshot of all, so that none is taken meanwhile."""
    import redis

    redis.Redis.from_url(url).save()


def _settle_cluster(url: str) -> None:
    import redis

    cluster = redis.RedisCluster.from_url(url.replace("redis+cluster://", "redis://"))
    for node in cluster.get_primaries():
        cluster.save(target_nodes=node)


def _settle_postgres(url: str) -> None:
    """What autovacuum does within a minute."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("vacuum analyze")


AS_SHIPPED_POSTGRES = {
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "max_parallel_workers_per_gather": "2",
    "jit": "on",
    "dynamic_shared_memory_type": "posix",
}
AS_SHIPPED_MARIADB = {"innodb-buffer-pool-size": "128M", "innodb-log-file-size": "96M"}
"""What the servers have when nobody sets anything: those of the tests are made smaller."""

SERVED = (
    Served(
        "Redis",
        lambda: RedisServer(persistence="rdb"),
        RawRedis,
        load_redis,
        search_goal_s=3,
        theirs=_langchain_redis,
        settle=_settle_redis,
        reports_progress=True,
    ),
    Served(
        "Redis Cluster",
        lambda: RedisClusterServer(persistence="rdb"),
        RawRedisCluster,
        load_redis,
        search_goal_s=3,
        settle=_settle_cluster,
        reports_progress=True,
    ),
    Served(
        "PostgreSQL",
        lambda: PostgresServer(durable=True, settings=AS_SHIPPED_POSTGRES),
        RawPostgres,
        load_rows,
        search_goal_s=0.5,
        theirs=_langchain_postgres,
        settle=_settle_postgres,
    ),
    Served(
        "MariaDB",
        lambda: MariaDBServer(durable=True, settings=AS_SHIPPED_MARIADB),
        RawMySQL,
        load_rows,
        search_goal_s=0.5,
    ),
    Served("MongoDB", mongodb_server, RawMongoDB, load_documents, search_goal_s=0.5),
)
DURABILITY = (
    "Durable as each comes: PostgreSQL and MariaDB sync every commit, Redis takes snapshots. `nx-27017` speaks "
    "MongoDB's protocol in place of MongoDB unless MONGODB_URL names one: its figures hold for nx-27017 only."
)


@contextlib.contextmanager
def running(*names: str) -> Iterator[tuple[list[Running], str]]:
    """The servers with these names, or all, started; and a sentence on those that are not installed, or nothing."""
    with contextlib.ExitStack() as ends:
        started, missing = [], []
        for kind in SERVED:
            if names and kind.name not in names:
                continue
            try:
                server = kind.make()
                ends.callback(server.close)
                server.start()
            except NotInstalledError as error:
                missing.append(f"{kind.name} is left out: {error}")
                continue
            name = kind.name if server.name != "nx-27017" else f"{kind.name}'s protocol ({server.name})"
            started.append(Running(kind, server.url(), name))
        yield started, " ".join(missing)


def served(name: str) -> Served:
    """The kind of server with this name."""
    return next(kind for kind in SERVED if kind.name == name)
