"""Threads that write one key take turns before they ask the server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cache_backends import open_cache
from cache_backends.errors import CacheUnreachableError
from cache_backends.servers.breaker import FAILURES
from cache_backends.servers.mysql import MySQLCache
from cache_backends.servers.sql_session import Session
from cache_backends.servers.sql_store import SQLStore
from tests.cache_backends.backends import own_prefix
from tests.reliability.stores import HANG_SECONDS, at_once
from tests.servers.available import available
from tests.servers.shared import shared_mariadb

KEY, OTHER_KEY = bytes(32), bytes([1]) * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLStore]:
    """The connections of a cache whose calls may take so long that no turn is ever given up."""
    with open_cache(available(shared_mariadb).url(prefix=own_prefix(tmp_path), timeout=10 * HANG_SECONDS)) as cache:
        assert isinstance(cache, MySQLCache)
        cache._store.need_tables()
        yield cache._store


def test_writers_of_one_key_never_overlap(store: SQLStore) -> None:
    inside: list[int] = []

    def write(session: Session) -> None:
        inside.append(1)
        session.select("select 1")
        assert len(inside) == 1
        inside.pop()

    at_once(*[lambda: [store.run_in_turn(KEY, write) for _ in range(20)]] * 8)


def test_a_writer_of_another_key_waits_for_nobody(store: SQLStore) -> None:
    assert OTHER_KEY[0] != KEY[0]
    both_are_inside = threading.Barrier(2)
    at_once(
        lambda: store.run_in_turn(KEY, lambda _: both_are_inside.wait(HANG_SECONDS)),
        lambda: store.run_in_turn(OTHER_KEY, lambda _: both_are_inside.wait(HANG_SECONDS)),
    )


def test_whose_turn_does_not_come_soon_goes_ahead(store: SQLStore) -> None:
    store._timeout_s = 0.01
    both_are_inside = threading.Barrier(2)
    at_once(*[lambda: store.run_in_turn(KEY, lambda _: both_are_inside.wait(HANG_SECONDS))] * 2)


def test_nobody_waits_for_a_turn_at_a_server_that_is_left_alone(store: SQLStore) -> None:
    for _ in range(FAILURES):
        store.breaker.failed("It did not answer.")
    with store._turns[0], pytest.raises(CacheUnreachableError, match="left alone"):
        store.run_in_turn(KEY, lambda session: session.select("select 1"))


def test_a_write_that_fails_ends_its_turn(store: SQLStore) -> None:
    def fail(_: Session) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.run_in_turn(KEY, fail)
    assert store._turns[0].acquire(blocking=False)
