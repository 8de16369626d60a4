"""Fixtures: the server of a kind, running and answering, and what names begin with in one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cache_backends.servers.server_cache import ServerCache
from tests.cache_backends.backends import own_prefix
from tests.reliability.servers.kinds import Kind, opened, server_of
from tests.servers.available import available

Open = Callable[..., ServerCache]


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """What names begin with in this test."""
    return own_prefix(tmp_path)


@pytest.fixture
def server(kind: Kind) -> Iterator[Any]:
    """The server, running; it goes on after the test, whatever that did to it."""
    server = server_of(kind)
    available(server.start)
    yield server
    server.resume()


@pytest.fixture
def open_it(server: Any, prefix: str) -> Iterator[Open]:
    """Opens the test's one cache, as often as asked and with any options."""
    with ExitStack() as ends:

        def open_one(**options: Any) -> ServerCache:
            cache = opened(server, prefix, **options)
            ends.callback(cache.close)
            return cache

        yield open_one
        server.resume()  # before the caches are closed
