"""`open_cache`: a cache from one URL, so that configuration is one line of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from cache_backends.base import CacheBackend
from cache_backends.errors import CacheConfigError
from cache_backends.readable import redact

OPTIONS = ("namespace", "ttl", "max_entries", "max_bytes", "strict", "store_truncated")
"""What the query string or keywords of `open_cache` may set; `clock` by keyword only."""


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


SCHEMES: dict[str, Callable[[SplitResult, dict[str, Any]], CacheBackend]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "json": _json,
}
"""Adding a backend is one file and one line here."""


def open_cache(url: str, **options: Any) -> CacheBackend:
    """Open the cache that `url` names; options from its query string, or by keyword (which win).

    Raises `CacheConfigError` for an unknown scheme or option, naming the valid ones, and `CacheUnavailableError`
    where the store can't be opened.

    >>> open_cache("memory://?ttl=1h&max_entries=1000", namespace="demo").ttl_s
    3600.0
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise CacheConfigError(f"{redact(url)!r} is not a URL: {error}.") from error
    opener = SCHEMES.get(parts.scheme.lower())
    if opener is None:
        raise CacheConfigError(
            f"{redact(url)!r} names no known kind of cache. It must begin with one of: "
            f"{', '.join(f'{scheme}://' for scheme in SCHEMES)}."
        )
    if parts.fragment or url.endswith("#"):
        raise CacheConfigError(f"{redact(url)!r} has a part after '#'. Write %23 for a '#' in a path or option.")
    from_query = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted({*from_query, *options} - {*OPTIONS, "clock"} | ({"clock"} & from_query.keys()))
    if unknown:
        raise CacheConfigError(
            f"Unknown option {', '.join(map(repr, unknown))} for {redact(url)!r}. Known are: {', '.join(OPTIONS)}."
        )
    return opener(parts._replace(query=""), {**from_query, **options})


def _path(url: SplitResult, relative_example: str, absolute_example: str) -> str:
    path = unquote(url.path).removeprefix("/")
    if url.netloc or not path or "\0" in path:
        raise CacheConfigError(
            f"{redact(url.geturl())!r} names no path. Write {relative_example} for a relative path, "
            f"{absolute_example} for an absolute one."
        )
    return path
