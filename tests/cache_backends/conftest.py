"""Fixtures: a fake clock, and every backend in turn, opened on a store of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cache_backends import CacheBackend, open_cache
from tests.cache_backends.backends import BACKENDS, Backend, FakeClock

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
    opened: list[CacheBackend] = []

    def open_it(**options: Any) -> CacheBackend:
        cache = open_cache(url, **{"clock": clock, **options})
        opened.append(cache)
        return cache

    yield open_it
    for cache in opened:
        cache.close()


@pytest.fixture
def cache(open_again: OpenAgain) -> CacheBackend:
    """An empty cache without limits."""
    return open_again()
