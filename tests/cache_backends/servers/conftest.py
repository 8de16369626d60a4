"""A Redis of the tests, opened as `RedisCache`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cache_backends import open_cache
from cache_backends.servers.redis import RedisCache
from tests.cache_backends.backends import own_prefix
from tests.servers.available import available
from tests.servers.shared import shared_redis

OpenRedis = Callable[..., RedisCache]


@pytest.fixture
def open_redis(tmp_path: Path) -> Iterator[OpenRedis]:
    """Opens strict caches on the same entries."""
    opened: list[RedisCache] = []

    def open_it(**options: Any) -> RedisCache:
        url = available(shared_redis).url(prefix=own_prefix(tmp_path))
        cache = open_cache(url, **{"strict": True, **options})
        assert isinstance(cache, RedisCache)
        opened.append(cache)
        return cache

    yield open_it
    opened[0].clear()
    for cache in opened:
        cache.close()
