"""One server of each kind for the whole test run: started when first asked for, ended with the run.

They are the fast variants, and nobody may kill, pause or fill them: who wants to do that starts one of their own.
Stores keep apart by `prefix`. Raises NotInstalledError; `available` turns that into a skipped test.
"""

from __future__ import annotations

from functools import cache

from tests.servers.mariadb import MariaDBServer
from tests.servers.mongodb import NamedServer, ProtocolServer, mongodb_server
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.servers.redis_cluster import RedisClusterServer


@cache
def shared_postgres() -> PostgresServer:
    """PostgreSQL."""
    return PostgresServer().start()


@cache
def shared_mariadb() -> MariaDBServer:
    """MariaDB."""
    return MariaDBServer().start()


@cache
def shared_redis() -> RedisServer:
    """One Redis, with a password, that keeps nothing on disk."""
    return RedisServer(password=True).start()


@cache
def shared_redis_cluster() -> RedisClusterServer:
    """Three nodes of Redis."""
    return RedisClusterServer().start()


@cache
def shared_mongodb() -> ProtocolServer | NamedServer:
    """What speaks MongoDB's protocol, or the real one that MONGODB_URL names."""
    return mongodb_server().start()
