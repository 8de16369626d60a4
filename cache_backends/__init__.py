"""Caches for LLM answers: drop-in for LangChain, with time to live, limits, outcomes, and entries one can browse.

from cache_backends import open_cache
llm = ChatOpenAI(cache=open_cache("sqlite:///cache.db?ttl=1h"))
"""

import importlib
from typing import TYPE_CHECKING, Any

from cache_backends.base import CacheBackend
from cache_backends.counters import Counters
from cache_backends.errors import (
    CacheConfigError,
    CacheError,
    CacheUnavailableError,
    CacheUnreachableError,
    FlightTimeoutError,
)
from cache_backends.json_files import JSONFileCache
from cache_backends.keys import cache_key
from cache_backends.memory import MemoryCache
from cache_backends.observe import Observed
from cache_backends.one_request import OneRequest
from cache_backends.options import parse_ttl
from cache_backends.records import (
    CacheEntry,
    Durability,
    EntryPage,
    EntrySummary,
    Lookup,
    Outcome,
    Refusal,
    Store,
    StoreAbout,
    StoreStats,
    Tally,
)
from cache_backends.single_flight import Flight, SingleFlight
from cache_backends.sqlite import SQLiteCache
from cache_backends.urls import open_cache

if TYPE_CHECKING:
    from cache_backends.servers.mongodb import MongoDBCache
    from cache_backends.servers.mysql import MySQLCache
    from cache_backends.servers.postgres import PostgresCache
    from cache_backends.servers.redis import RedisCache

_SERVERS = {"MongoDBCache": "mongodb", "MySQLCache": "mysql", "PostgresCache": "postgres", "RedisCache": "redis"}
"""Classes whose driver is imported when somebody names them."""


def __getattr__(name: str) -> Any:
    if name not in _SERVERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"cache_backends.servers.{_SERVERS[name]}"), name)


__all__ = [
    "CacheBackend",
    "CacheConfigError",
    "CacheEntry",
    "CacheError",
    "CacheUnavailableError",
    "CacheUnreachableError",
    "Counters",
    "Durability",
    "EntryPage",
    "EntrySummary",
    "Flight",
    "FlightTimeoutError",
    "JSONFileCache",
    "Lookup",
    "MemoryCache",
    "MongoDBCache",
    "MySQLCache",
    "Observed",
    "OneRequest",
    "Outcome",
    "PostgresCache",
    "RedisCache",
    "Refusal",
    "SQLiteCache",
    "SingleFlight",
    "Store",
    "StoreAbout",
    "StoreStats",
    "Tally",
    "cache_key",
    "open_cache",
    "parse_ttl",
]
