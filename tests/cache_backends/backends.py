"""The backends under test: adding one to the shared suite is one line of `BACKENDS`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.available import available
from tests.servers.shared import shared_mariadb, shared_mongodb, shared_postgres, shared_redis, shared_redis_cluster


@dataclass(frozen=True, slots=True)
class Backend:
    """One kind of cache: how the tests name it, and the URL of an empty store of its own for one test."""

    name: str
    url: Callable[[Path], str]
    persistent: bool = True
    is_server: bool = False


def with_option(url: str, option: str) -> str:
    """The URL with one more option in its query string."""
    return f"{url}{'&' if '?' in url else '?'}{option}"


def own_prefix(folder: Path) -> str:
    """What names begin with on a server in the one test that this folder belongs to."""
    return f"t_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"


BACKENDS = (
    Backend("memory", lambda _: "memory://", persistent=False),
    Backend("sqlite", lambda folder: f"sqlite:///{folder}/store/cache.db"),
    Backend("json", lambda folder: f"json:///{folder}/store"),
    Backend("mongodb", lambda folder: available(shared_mongodb).url(prefix=own_prefix(folder)), is_server=True),
    Backend("redis", lambda folder: available(shared_redis).url(prefix=own_prefix(folder)), is_server=True),
    Backend(
        "redis-cluster", lambda folder: available(shared_redis_cluster).url(prefix=own_prefix(folder)), is_server=True
    ),
    Backend("postgresql", lambda folder: available(shared_postgres).url(prefix=own_prefix(folder)), is_server=True),
    Backend("mariadb", lambda folder: available(shared_mariadb).url(prefix=own_prefix(folder)), is_server=True),
)
PATIENT_S = 10
"""The timeout of servers in tests: a busy machine is no fault of the cache."""
PERSISTENT = tuple(backend for backend in BACKENDS if backend.persistent)
EMBEDDED = tuple(backend for backend in BACKENDS if not backend.is_server)
SERVERS = tuple(backend for backend in BACKENDS if backend.is_server)
FILES = tuple(backend for backend in EMBEDDED if backend.persistent)

on_persistent_backends = pytest.mark.parametrize(
    "backend", PERSISTENT, ids=[backend.name for backend in PERSISTENT], indirect=True
)
"""For tests of what only a store that outlives its process can promise."""

on_files = pytest.mark.parametrize("backend", FILES, ids=[backend.name for backend in FILES], indirect=True)
"""For tests of what happens to files."""


class FakeClock:
    """A clock that moves when it is told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.now += seconds
