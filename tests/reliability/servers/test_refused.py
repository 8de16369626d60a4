"""Servers that let nobody in, or are full: a sentence that says so, no password in it, and the model answers."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from cache_backends import CacheError, CacheUnavailableError
from cache_backends.servers.server_cache import ServerCache
from tests.cache_backends.answers import LLM, chat, found, key_of, look, store
from tests.cache_backends.small_models import SmallChatModel
from tests.reliability.servers.kinds import on_servers_with_passwords
from tests.servers.available import available
from tests.servers.redis import RedisServer

WRONG = "wr0ng/p@ss:w%rd"
"""Of the characters that a URL must encode."""


@on_servers_with_passwords
def test_a_wrong_password_is_said_and_shown_nowhere(server: Any, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    from cache_backends import open_cache

    caplog.set_level(logging.DEBUG)
    said: list[object] = []
    cache = open_cache(server.url(password=WRONG, prefix=prefix, timeout=20))
    assert isinstance(cache, ServerCache)
    with cache, cache.observe() as lookups:
        model = SmallChatModel(cache=cache)
        assert model.invoke("q").content == "q: answer 1"
        cache.breaker.succeeded()
        assert asyncio.run(model.ainvoke("q")).content == "q: answer 2"
        for ask in (cache.ping, cache.entries, cache.stats, cache.about, lambda: cache.get(key_of("q"))):
            cache.breaker.succeeded()
            with pytest.raises(CacheUnavailableError) as raised:
                ask()
            said += [str(raised.value), "".join(traceback.format_exception(raised.value))]
            assert any(word in str(raised.value).lower() for word in ("password", "access denied", "authentication"))
        said += [*lookups, *lookups.stores, cache.trouble, caplog.text, repr(cache), str(cache), cache.address.name]
        said += [repr(cache.address), repr(cache._store), cache.breaker, repr(vars(cache.breaker))]
        assert {lookup.outcome for lookup in lookups} == {"error"}
        assert cache.trouble is not None
        assert server.host in cache.trouble
    for text in said:
        for secret in (WRONG, "wr0ng", "ss:w", "wr0ng%2Fp%40ss%3Aw%25rd"):
            assert secret not in str(text)
    assert pickle.loads(pickle.dumps(cache)).address.password == WRONG  # a copy can be opened, nobody is shown it


@pytest.fixture(scope="module")
def full() -> Iterator[RedisServer]:
    """A Redis that refuses to store when it is full."""
    server = RedisServer(maxmemory="100mb", password=True)
    available(server.start)
    yield server
    server.close()


def fill(server: RedisServer) -> None:
    """Let it have no room left: less than it uses already, since what it uses changes with every connection."""
    with server.connect() as client:
        client.config_set("maxmemory", 1)


def empty(server: RedisServer) -> None:
    """Give it room again."""
    with server.connect() as client:
        client.config_set("maxmemory", "100mb")


def full_cache(server: RedisServer, prefix: str) -> ServerCache:
    """A cache on it."""
    from cache_backends import open_cache

    cache = open_cache(server.url(prefix=prefix, timeout=20))
    assert isinstance(cache, ServerCache)
    return cache


def test_a_full_redis_is_read_and_says_that_it_is_full(full: RedisServer, prefix: str) -> None:
    with full_cache(full, prefix) as cache:
        for number in range(10):
            store(cache, f"q{number}", "answer " * 100)
        fill(full)
        with cache.observe() as lookups:
            for number in range(10):
                store(cache, f"r{number}", "answer " * 1000)
                asyncio.run(cache.aupdate(f"r{number}", LLM, [chat("answer " * 1000)]))
        assert {made.refusal for made in lookups.stores} == {"error"}
        assert all("is full" in str(made.detail) and "max_bytes=" in str(made.detail) for made in lookups.stores)
        assert not cache.breaker.is_open
        assert cache.trouble is None  # it answers
        assert [look(cache, f"q{number}").outcome for number in range(10)] == ["hit"] * 10
        assert asyncio.run(cache.alookup("q1", LLM)) == [chat("answer " * 100)]
        assert cache.stats().entries == 10
        assert cache.entries(search="answer").total == 10
        with full_cache(full, prefix) as fresh:
            assert look(fresh, "q1").outcome == "hit"
        empty(full)
        store(cache, "r1", "answer")
        assert found(cache, "r1") == ["answer"]
        asyncio.run(cache.aupdate("r2", LLM, [chat("answer")]))
        assert found(cache, "r2") == ["answer"]
        cache.clear()


def test_entries_can_be_removed_from_a_full_redis(full: RedisServer, prefix: str) -> None:
    with full_cache(full, prefix) as cache:
        for number in range(30):
            store(cache.view(ttl=None if number % 2 else 3600), f"q{number}", "answer " * 100)
        fill(full)
        assert cache.delete(key_of("q1")) == 1
        fill(full)
        cache.clock = lambda: 9e9
        assert cache.purge_expired() == 15
        fill(full)
        cache.clear()
        assert cache.stats().entries == 0
        empty(full)


def test_a_full_redis_whose_entries_have_ended_can_be_listed(full: RedisServer, prefix: str) -> None:
    """Redis removes them by itself, and what lies beside them is forgotten by whoever looks next."""
    with full_cache(full, prefix) as cache:
        for number in range(10):
            store(cache.view(ttl=3600), f"q{number}", "answer")
        with full.connect() as client:
            for name in list(client.scan_iter(f"{{{prefix}:*}}:" + "?" * 64)):
                client.delete(name)  # as at the end of their life
        fill(full)
        assert cache.entries().total == 0
        assert cache.stats().entries == 0
        empty(full)


def test_limits_are_kept_in_a_full_redis(full: RedisServer, prefix: str) -> None:
    with full_cache(full, prefix) as cache:
        for number in range(30):
            store(cache, f"q{number}", "answer " * 100)
        fill(full)
        from cache_backends import open_cache

        limited = open_cache(full.url(prefix=prefix, timeout=20), max_entries=5)
        assert isinstance(limited, ServerCache)
        with limited:
            assert limited._evict() == 25
        assert cache.stats().entries == 5
        empty(full)
        cache.clear()


def test_strict_caches_raise_that_redis_is_full(full: RedisServer, prefix: str) -> None:
    with full_cache(full, prefix) as cache:
        cache.strict = True
        store(cache, "q", "answer")
        fill(full)
        with pytest.raises(CacheError, match=r"is full: it has reached its maxmemory"):
            store(cache, "r", "answer " * 1000)
        empty(full)
