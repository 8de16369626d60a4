"""Damaged entries of Redis, and those that go while somebody looks: only they are missing, wherever one looks."""

from __future__ import annotations

from typing import Any

import pytest

from cache_backends.keys import digest_of
from cache_backends.records import EntryOrder
from cache_backends.servers import redis_browse
from cache_backends.servers.redis import RedisCache
from tests.cache_backends.answers import key_of, store
from tests.cache_backends.servers.conftest import OpenRedis

ORDERS: list[EntryOrder] = ["created_at", "last_used_at", "size_bytes"]


@pytest.fixture
def cache(open_redis: OpenRedis) -> RedisCache:
    """An empty cache."""
    return open_redis()


def key_in_redis(cache: RedisCache, key: str) -> bytes:
    """Where an entry lies."""
    digest = digest_of(key)
    return cache._partition(digest).entry(digest)


def make_a_set(cache: RedisCache, prompt: str) -> None:
    """Let what is no value lie where the entry of a prompt was."""
    key = key_in_redis(cache, key_of(prompt))
    cache._store.many([(b"DEL", key), (b"SADD", key, b"x")])


def all_keys(cache: RedisCache, **query: Any) -> list[str]:
    """The keys of all pages."""
    keys: list[str] = []
    after: str | None = None
    while True:
        page = cache.entries(after=after, **query)
        keys += [shown.key for shown in page.entries]
        after = page.next
        if after is None:
            return keys


@pytest.mark.parametrize("order_by", ORDERS)
@pytest.mark.parametrize("damaged", [1, 4, 9])
def test_a_list_goes_on_after_damaged_entries(cache: RedisCache, order_by: EntryOrder, damaged: int) -> None:
    for number in range(12):
        store(cache, f"q{number}", "a")
    keys = all_keys(cache, order_by=order_by)
    for key in keys[:damaged]:
        cache._store.one(b"SET", key_in_redis(cache, key), b"garbage")
    assert all_keys(cache, order_by=order_by, limit=3) == keys[damaged:]
    assert all_keys(cache, order_by=order_by, limit=3, min_bytes=1) == keys[damaged:]
    assert sum(one.entries for one in cache.tally()) == 12 - damaged


@pytest.mark.parametrize("order_by", ORDERS)
def test_a_list_goes_on_though_entries_go_while_a_page_is_read(
    cache: RedisCache, order_by: EntryOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        store(cache, f"q{number}", "a")
    keys = all_keys(cache, order_by=order_by)
    summaries = redis_browse._summaries

    def after_somebody_deleted(*asked: Any) -> Any:
        cache.delete(*keys[:5])
        return summaries(*asked)

    monkeypatch.setattr(redis_browse, "_summaries", after_somebody_deleted)
    assert all_keys(cache, order_by=order_by, limit=3) == keys[5:]


def test_what_is_no_string_is_passed_over_wherever_many_are_read(cache: RedisCache) -> None:
    for number in range(3):
        store(cache, f"q{number}", "apple")
    others = [key_of("q0"), key_of("q2")]
    make_a_set(cache, "q1")
    assert sorted(all_keys(cache)) == sorted(others)
    assert sorted(all_keys(cache, order_by="size_bytes")) == sorted(others)
    assert sorted(all_keys(cache, search="apple")) == sorted(others)
    assert cache.models() == ["demo-1"]
    assert len(list(cache._rows())) == 2
    assert cache.get(key_of("q1")) is None


def test_what_is_no_string_is_no_failure_of_the_connection(cache: RedisCache) -> None:
    store(cache, "q", "a")
    make_a_set(cache, "q")
    before = cache._store.one(b"CLIENT", b"ID")
    assert cache.models() == []
    assert cache._store.one(b"CLIENT", b"ID") == before


def test_what_is_no_string_is_evicted(open_redis: OpenRedis) -> None:
    cache, limited = open_redis(), open_redis(max_entries=2)
    for number in range(5):
        store(cache, f"q{number}", "a")
    make_a_set(cache, "q1")
    limited._keep_up()
    assert sorted(all_keys(cache)) == sorted([key_of("q3"), key_of("q4")])
    assert cache.stats().entries == 2


def test_what_is_no_string_is_purged_at_its_end(open_redis: OpenRedis) -> None:
    now = 1_700_000_000.0
    cache = open_redis(clock=lambda: now, ttl=10)
    store(cache, "q0", "a")
    store(cache, "q1", "a")
    make_a_set(cache, "q0")
    now += 11
    assert cache.purge_expired() == 2
    assert cache.stats().entries == 0
