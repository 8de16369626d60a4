"""What Redis keeps beside the entries: a store is only noted at first, and nobody who asks ever sees the difference."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cache_backends import open_cache
from cache_backends.keys import request_digest
from cache_backends.servers.redis import RedisCache
from cache_backends.servers.redis_scripts import SETTLED_AT_ONCE
from tests.cache_backends.answers import LLM, chat, found, key_of, store, whole
from tests.cache_backends.servers.conftest import OpenRedis
from tests.servers.available import available
from tests.servers.redis import RedisServer


@pytest.fixture
def cache(open_redis: OpenRedis) -> RedisCache:
    """An empty cache."""
    return open_redis()


def noted(cache: RedisCache) -> int:
    """How many stores are noted and not in the orders yet."""
    return sum(cache._store.many([(b"LLEN", place.noted) for place in cache._partitions]))


def in_one_partition(cache: RedisCache, count: int) -> list[str]:
    """Different prompts whose entries lie in the partition of the first."""
    prompts = (f"q{number}" for number in range(10_000))
    wanted = cache._partition(request_digest("q0", LLM))
    return [prompt for prompt in prompts if cache._partition(request_digest(prompt, LLM)) is wanted][:count]


def test_a_store_is_only_noted_and_one_in_many_enters_all_of_its_partition(cache: RedisCache) -> None:
    prompts = in_one_partition(cache, SETTLED_AT_ONCE)
    for number, prompt in enumerate(prompts[:-1], 1):
        store(cache, prompt, "a")
        assert noted(cache) == number
    store(cache, prompts[-1], "a")
    assert noted(cache) == 0


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda cache: cache.entries().total, 2),
        (lambda cache: cache.entries(search="second").total, 1),
        (lambda cache: cache.entries(order_by="hits").total, 2),
        (lambda cache: cache.stats().entries, 2),
        (lambda cache: cache.models(), ["demo-1"]),
        (lambda cache: cache.namespaces(), ["default"]),
        (lambda cache: len(list(cache._rows())), 2),
        (lambda cache: cache.delete(key_of("second")), 1),
        (lambda cache: cache.pin(key_of("second")), True),
        (lambda cache: cache.set_ttl(key_of("second"), 60), True),
        (lambda cache: whole(cache, "second").hits, 0),
    ],
    ids=["list", "search", "order", "stats", "models", "namespaces", "rows", "delete", "pin", "ttl", "one"],
)
def test_what_is_only_noted_is_seen_by_whoever_asks(
    cache: RedisCache, ask: Callable[[RedisCache], object], answer: object
) -> None:
    store(cache, "first", "a")
    store(cache, "second", "a")
    assert noted(cache) == 2
    assert ask(cache) == answer


def test_of_an_answer_that_replaces_another_only_the_last_counts(cache: RedisCache) -> None:
    store(cache, "q", "x" * 1_000)
    store(cache, "q", "x" * 10)
    before = cache.stats()
    assert (before.entries, before.size_bytes) == (1, whole(cache, "q").size_bytes)
    assert found(cache, "q") == ["x" * 10]
    cache.flush()
    assert whole(cache, "q").hits == 1
    cache.view(ttl=None).update("q", LLM, [chat("x" * 500)])
    shown = whole(cache, "q")
    assert (cache.stats().size_bytes, shown.hits, shown.expires_at) == (shown.size_bytes, 0, None)
    assert cache.stats().size_bytes > before.size_bytes


def test_an_end_that_was_taken_away_by_a_new_answer_is_in_no_order(cache: RedisCache) -> None:
    cache.view(ttl=60).update("q", LLM, [chat("a")])
    assert cache.entries().total == 1
    cache.view(ttl=None).update("q", LLM, [chat("b")])
    cache.entries()
    assert sum(cache._store.many([(b"ZCARD", place.expires) for place in cache._partitions])) == 0


def test_clearing_takes_what_is_only_noted_too(cache: RedisCache) -> None:
    store(cache, "q", "a")
    assert noted(cache) == 1
    cache.clear()
    assert noted(cache) == 0
    assert found(cache, "q") is None
    assert cache.stats().entries == 0


def test_uses_of_what_is_only_noted_are_kept(cache: RedisCache) -> None:
    store(cache, "q", "a")
    found(cache, "q")
    cache.flush()
    assert whole(cache, "q").hits == 1


def test_what_is_over_is_removed_though_it_is_only_noted(open_redis: OpenRedis) -> None:
    now = 1_700_000_000.0
    cache = open_redis(clock=lambda: now, ttl=10)
    store(cache, "q", "a")
    now += 11
    assert noted(cache) == 1
    assert cache.purge_expired() == 1


def test_an_end_given_to_what_is_only_noted_stays(open_redis: OpenRedis) -> None:
    now = 1_700_000_000.0
    cache = open_redis(clock=lambda: now)
    store(cache, "q", "a")
    assert cache.stats().entries == 1
    store(cache, "q", "b")
    assert noted(cache) == 1
    assert cache.set_ttl(key_of("q"), 10)
    assert cache.entries().total == 1
    now += 11
    assert cache.stats().expired == 1
    assert cache.purge_expired() == 1


def test_what_is_damaged_is_set_aside_though_it_is_only_noted(cache: RedisCache) -> None:
    store(cache, "q", "a")
    digest = bytes.fromhex(key_of("q"))
    cache._store.one(b"APPEND", cache._partition(digest).entry(digest), b"!")
    assert found(cache, "q") is None
    assert noted(cache) == 0
    assert cache.stats().entries == 0


def test_limits_count_what_another_client_has_only_noted(open_redis: OpenRedis) -> None:
    other, limited = open_redis(), open_redis(max_entries=3)
    for number in range(10):
        store(other, f"q{number}", "a")
    assert noted(other) > 0
    limited._keep_up()
    assert other.stats().entries == 3


def test_a_full_redis_still_removes_what_is_noted() -> None:
    server = available(RedisServer(maxmemory="3mb").start)
    try:
        with open_cache(server.url(prefix="full"), strict=True) as cache:
            assert isinstance(cache, RedisCache)
            store(cache, "q", "a")
            with server.connect() as client:
                client.config_set("maxmemory", 1)
            assert noted(cache) == 1
            assert cache.delete(key_of("q")) == 1
            assert cache.stats().entries == 0
    finally:
        server.close()


def test_a_task_that_meets_a_redis_without_the_scripts_tells_them(cache: RedisCache) -> None:
    async def ask() -> Any:
        await cache.aupdate("q", LLM, [chat("a")])
        cache._store.one(b"SCRIPT", b"FLUSH")
        await cache.aupdate("q", LLM, [chat("b")])
        return await cache.alookup("q", LLM)

    assert [generation.text for generation in asyncio.run(ask())] == ["b"]
