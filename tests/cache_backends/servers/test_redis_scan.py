"""Looking at every entry of a Redis: how much of each is read, and what whoever waits is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cache_backends.servers.redis import RedisCache
from cache_backends.servers.redis_scan import AT_ONCE
from cache_backends.servers.redis_wire import Command
from tests.cache_backends.answers import store
from tests.cache_backends.servers.conftest import OpenRedis

ENTRIES = 3 * AT_ONCE


@pytest.fixture
def cache(open_redis: OpenRedis) -> RedisCache:
    """A cache with some entries, one of them long."""
    cache = open_redis()
    for number in range(ENTRIES):
        store(cache, f"q{number}", "sagan")
    store(cache, "long", "sagan " * 5_000)
    return cache


@pytest.fixture
def names(cache: RedisCache, monkeypatch: pytest.MonkeyPatch) -> set[bytes]:
    """The commands that are sent from now on."""
    names: set[bytes] = set()
    many = cache._store.many

    def noting(commands: Sequence[Command]) -> list[Any]:
        names.update(command[0] for command in commands)
        return many(commands)

    monkeypatch.setattr(cache._store, "many", noting)
    return names


@pytest.mark.parametrize(
    "ask",
    [
        lambda cache: cache.tally(),
        lambda cache: cache.entries(min_bytes=1),
        lambda cache: cache.entries(created_from=1),
    ],
    ids=["tally", "size", "age"],
)
def test_whole_values_are_read_only_for_a_search(
    cache: RedisCache, names: set[bytes], ask: Callable[[RedisCache], object]
) -> None:
    ask(cache)
    assert b"GETRANGE" in names
    assert not {b"GET", b"MGET"} & names
    cache.tally(search="sagan")
    assert b"MGET" in names


def test_a_list_that_nothing_narrows_looks_at_no_other_entries(cache: RedisCache, names: set[bytes]) -> None:
    cache.entries()
    assert b"HSCAN" not in names


@pytest.mark.parametrize("search", ["", "sagan"])
def test_a_tally_tells_how_far_it_is(cache: RedisCache, search: str) -> None:
    told: list[tuple[int, int | None]] = []
    cache.tally(search=search, progress=lambda looked_at, of: told.append((looked_at, of)))
    looked_at = [at for at, _ in told]
    assert looked_at == sorted(set(looked_at))
    assert told[-1] == (ENTRIES + 1, ENTRIES + 1)
    assert {of for _, of in told} == {ENTRIES + 1}


def test_what_the_progress_raises_ends_a_tally(cache: RedisCache) -> None:
    told: list[int] = []

    def stop(looked_at: int, _: int | None) -> None:
        told.append(looked_at)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.tally(progress=stop)
    assert len(told) == 1
