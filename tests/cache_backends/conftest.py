"""Fixtures: a fake clock, and every backend in turn, opened on a store of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cache_backends import CacheBackend, JSONFileCache, SQLiteCache, open_cache
from tests.cache_backends.backends import BACKENDS, PATIENT_S, Backend, FakeClock
from tests.cache_backends.json_outside import OpenJSON
from tests.cache_backends.sqlite_outside import OpenSQLite

OpenAgain = Callable[..., CacheBackend]


@pytest.fixture
def clock() -> FakeClock:
    """The clock of every cache of the test."""
    return FakeClock()


@pytest.fixture(params=BACKENDS, ids=[backend.name for backend in BACKENDS])
def backend(request: pytest.FixtureRequest) -> Backend:
    """The kind of cache under test."""
    chosen: Backend = request.param
    return chosen


@pytest.fixture
def open_again(backend: Backend, tmp_path: Path, clock: FakeClock) -> Iterator[OpenAgain]:
    """Opens the test's one store, as often as asked and with any options; a memory store is a new one each time."""
    url = backend.url(tmp_path)
    patience = {"timeout": PATIENT_S} if backend.is_server else {}
    opened: list[CacheBackend] = []

    def open_it(**options: Any) -> CacheBackend:
        cache = open_cache(url, **{"clock": clock, **patience, **options})
        opened.append(cache)
        return cache

    yield open_it
    for cache in opened:
        cache.close()


@pytest.fixture
def cache(open_again: OpenAgain) -> CacheBackend:
    """An empty cache without limits."""
    return open_again()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the SQLite cache lies that `open_sqlite` opens."""
    return tmp_path / "store" / "cache.db"


@pytest.fixture
def open_sqlite(path: Path, clock: FakeClock) -> Iterator[OpenSQLite]:
    """Opens one SQLite cache, as often as asked."""
    opened: list[SQLiteCache] = []

    def open_it(**options: Any) -> SQLiteCache:
        opened.append(SQLiteCache(path, **{"clock": clock, **options}))
        return opened[-1]

    yield open_it
    for cache in opened:
        cache.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the JSON files lie that `open_json` opens."""
    return tmp_path / "store"


@pytest.fixture
def open_json(folder: Path, clock: FakeClock) -> Iterator[OpenJSON]:
    """Opens one cache of JSON files, as often as asked."""
    opened: list[JSONFileCache] = []

    def open_it(**options: Any) -> JSONFileCache:
        opened.append(JSONFileCache(folder, **{"clock": clock, **options}))
        return opened[-1]

    yield open_it
    for cache in opened:
        cache.close()
