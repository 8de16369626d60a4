"""`open_cache`: a cache from one URL, so that configuration is one line of text."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from cache_backends.base import CacheBackend
from cache_backends.errors import CacheConfigError
from cache_backends.options import OPTIONS, merged_options
from cache_backends.readable import redact, without_login


def _memory(url: SplitResult, options: dict[str, Any]) -> CacheBackend:
    from cache_backends.memory import MemoryCache

    if url.netloc or url.path.strip("/"):
        raise CacheConfigError(f"memory:// takes no path, and {redact(url.geturl())!r} has one. Write memory://")
    return MemoryCache(**options)


def _sqlite(url: SplitResult, options: dict[str, Any]) -> CacheBackend:
    from cache_backends.sqlite import SQLiteCache

    path = _path(url, "sqlite:///cache.db", "sqlite:////var/cache.db")
    if path == ":memory:":
        raise CacheConfigError("sqlite:///:memory: would be lost with its connection. Write memory:// for that.")
    return SQLiteCache(path, **options)


def _json(url: SplitResult, options: dict[str, Any]) -> CacheBackend:
    from cache_backends.json_files import JSONFileCache

    return JSONFileCache(_path(url, "json:///cache", "json:////var/cache"), **options)


def _postgres(url: str, options: dict[str, Any]) -> CacheBackend:
    with _driver("postgres"):
        from cache_backends.servers.postgres import PostgresCache
    return PostgresCache(url, **options)


def _redis(url: str, options: dict[str, Any]) -> CacheBackend:
    with _driver("redis"):
        from cache_backends.servers.redis import RedisCache
    return RedisCache(url, **options)


def _mysql(url: str, options: dict[str, Any]) -> CacheBackend:
    with _driver("mysql"):
        from cache_backends.servers.mysql import MySQLCache
    return MySQLCache(url, **options)


def _mongodb(url: str, options: dict[str, Any]) -> CacheBackend:
    with _driver("mongodb"):
        from cache_backends.servers.mongodb import MongoDBCache
    return MongoDBCache(url, **options)


EMBEDDED: dict[str, Callable[[SplitResult, dict[str, Any]], CacheBackend]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "json": _json,
}
SERVERS: dict[str, Callable[[str, dict[str, Any]], CacheBackend]] = {
    "redis": _redis,
    "rediss": _redis,
    "redis+cluster": _redis,
    "rediss+cluster": _redis,
    "postgresql": _postgres,
    "postgres": _postgres,
    "mysql": _mysql,
    "mariadb": _mysql,
    "mongodb": _mongodb,
    "mongodb+srv": _mongodb,
}
"""Adding a backend is one file, and one line in one of these. A server's class reads the query string itself."""
SCHEMES = (*EMBEDDED, *SERVERS)


def open_cache(url: str, **options: Any) -> CacheBackend:
    """Open the cache that `url` names; options from its query string, or by keyword (which win).

    A server is not asked yet: one that does not answer is a miss later on, not an error now. Raises `CacheConfigError`
    for an unknown scheme or option, naming the valid ones, and `CacheUnavailableError` where a file can't be opened.

    >>> open_cache("memory://?ttl=1h&max_entries=1000", namespace="demo").ttl_s
    3600.0
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may have the password in it
        raise CacheConfigError(
            f"{without_login(url)!r} is not a URL. Write special characters of user and password as % and two digits."
        ) from None
    scheme = parts.scheme.lower()
    if scheme in SERVERS:
        return SERVERS[scheme](url, options)
    if scheme in EMBEDDED:
        return EMBEDDED[scheme](parts._replace(query=""), merged_options(url, options, OPTIONS))
    raise CacheConfigError(
        f"{without_login(url)!r} names no known kind of cache. It must begin with one of: "
        f"{', '.join(f'{scheme}://' for scheme in SCHEMES)}."
    )


@contextlib.contextmanager
def _driver(extra: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        if (error.name or "").startswith("cache_backends"):
            raise
        raise CacheConfigError(
            f"{error.name} is not installed, which this cache needs. Run: pip install 'llm-cache-backends[{extra}]'"
        ) from error


def _path(url: SplitResult, relative_example: str, absolute_example: str) -> str:
    path = unquote(url.path).removeprefix("/")
    if url.netloc or not path or "\0" in path:
        raise CacheConfigError(
            f"{redact(url.geturl())!r} names no path. Write {relative_example} for a relative path, "
            f"{absolute_example} for an absolute one."
        )
    return path
