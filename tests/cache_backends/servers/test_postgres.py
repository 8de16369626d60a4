"""PostgreSQL: what only it can do wrong. What it shares with every backend is in the shared suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cache_backends import PostgresCache, open_cache
from tests.cache_backends.answers import found, store, whole
from tests.cache_backends.backends import own_prefix
from tests.servers.available import available
from tests.servers.postgres import PostgresServer
from tests.servers.process import wait_until
from tests.servers.shared import shared_postgres

OpenPostgres = Callable[..., PostgresCache]

PATIENT_S = 20
"""The timeout of caches that are not to fail because the machine is busy."""


@pytest.fixture
def server() -> PostgresServer:
    """The server of the test run."""
    return available(shared_postgres)


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """What the test's tables begin with."""
    return own_prefix(tmp_path)


@pytest.fixture
def open_postgres(server: PostgresServer, prefix: str) -> Iterator[OpenPostgres]:
    """Opens the test's cache, as often as asked."""
    opened: list[PostgresCache] = []

    def open_it(url: str | None = None, **options: Any) -> PostgresCache:
        cache = open_cache(url or server.url(), **{"prefix": prefix, "timeout": PATIENT_S, "strict": True} | options)
        assert isinstance(cache, PostgresCache)
        opened.append(cache)
        return cache

    yield open_it
    for cache in opened:
        cache.close()


def test_a_store_does_not_wait_for_rows_that_somebody_else_holds(
    open_postgres: OpenPostgres, server: PostgresServer, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_postgres(timeout=0.5, max_entries=100)
    store(cache, "q", "answer")
    assert found(cache, "q") == ["answer"]
    with server.connect(autocommit=False) as other:
        other.execute(f"select 1 from {prefix}_entries for update")
        store(cache, "r", "answer")  # which writes that q was used
        store(cache, "s", "answer")
        with server.connect() as third:
            assert third.execute(f"select max(hits) from {prefix}_entries").fetchone() == (0,)
    wait_until(lambda: whole(cache, "q").hits == 1, PATIENT_S, lambda: "the use was not written")
    assert caplog.messages == []
