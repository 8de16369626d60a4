"""The names of Redis's namespaces: each that has entries is found by its name, and no other has one for long."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cache_backends import open_cache
from cache_backends.errors import CacheUnavailableError, CacheUnreachableError
from cache_backends.servers.redis import RedisCache
from cache_backends.servers.redis_keys import format_key, namespaces_key
from cache_backends.servers.redis_names import drop_names, named
from cache_backends.servers.redis_session import RedisSession
from cache_backends.servers.redis_store import MOST_COMMANDS
from cache_backends.servers.redis_wire import Command
from tests.cache_backends.answers import LLM, chat, found, store
from tests.cache_backends.servers.conftest import OpenRedis
from tests.servers.available import available
from tests.servers.redis_cluster import RedisClusterServer


@pytest.fixture
def cache(open_redis: OpenRedis) -> RedisCache:
    """An empty cache."""
    return open_redis()


def names(cache: RedisCache) -> set[bytes]:
    """The names that Redis keeps."""
    return set(named(cache._store, cache.prefix).values())


def test_a_namespace_that_was_cleared_leaves_no_name(cache: RedisCache) -> None:
    store(cache, "q", "a")
    for number in range(5):
        session = cache.view(namespace=f"session {number}")
        store(session, "q", "a")
        session.clear()
    assert names(cache) == {b"default"}


@pytest.mark.parametrize("look", [RedisCache.namespaces, RedisCache._keep_up], ids=["namespaces", "eviction"])
def test_names_of_namespaces_that_are_found_empty_are_dropped(
    open_redis: OpenRedis, look: Callable[[RedisCache], object]
) -> None:
    cache, limited = open_redis(), open_redis(max_entries=10)
    for number in range(40):
        view = cache.view(namespace=f"n{number}")
        store(view, "q", "a")
        if number:
            assert view.delete(*[shown.key for shown in view.entries().entries]) == 1
    assert len(names(cache)) == 40
    look(limited)
    assert names(cache) == {b"n0"}
    assert cache.namespaces() == ["n0"]


def test_who_named_a_namespace_names_it_again_when_somebody_else_has_cleared_it(open_redis: OpenRedis) -> None:
    one, other = open_redis(), open_redis()
    store(one, "q", "a")
    other.clear()
    store(one, "q", "b")
    assert other.namespaces() == ["default"]
    other.clear()
    asyncio.run(one.aupdate("q", LLM, [chat("c")]))
    assert other.namespaces() == ["default"]
    assert found(other, "q") == ["c"]


def test_a_name_stays_where_an_entry_has_come_meanwhile(cache: RedisCache) -> None:
    view = cache.view(namespace="n")
    store(cache, "q", "a")
    store(view, "q", "a")
    view.delete(*[shown.key for shown in view.entries().entries])
    drop_names(cache._store, cache.prefix, named(cache._store, cache.prefix))
    assert names(cache) == {b"default"}


def test_a_namespace_that_is_found_empty_between_its_name_and_its_first_entry_keeps_the_name(
    open_redis: OpenRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, other = open_redis(), open_redis()
    many = RedisSession.many
    seen: list[set[bytes]] = []

    def one_after_another(session: RedisSession, commands: Sequence[Command]) -> list[Any]:
        monkeypatch.undo()
        replies = many(session, commands[:1])
        seen.append(names(other))
        other.clear()
        seen.append(names(other))
        return [*replies, *many(session, commands[1:])]

    assert (cache.ping(), other.ping()) > (0, 0)
    monkeypatch.setattr(RedisSession, "many", one_after_another)
    store(cache, "q", "a")
    assert seen == [{b"default"}, set()]
    assert other.namespaces() == ["default"]


def race(caches: Sequence[RedisCache]) -> None:
    """Some store and others clear; in the end, what has entries must have a name."""

    def storing(cache: RedisCache) -> None:
        for number in range(10):
            store(cache, f"q{number % 3}", "a")

    def clearing(cache: RedisCache) -> None:
        for _ in range(10):
            cache.clear()

    for _ in range(15):
        works = [storing, storing, clearing, clearing]
        threads = [threading.Thread(target=work, args=[cache]) for work, cache in zip(works, caches, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert names(caches[0]) == {b"default"} or caches[0].stats().entries == 0


def test_stores_and_clears_that_race_leave_no_entry_without_a_name(open_redis: OpenRedis) -> None:
    race([open_redis(timeout=10) for _ in range(4)])


def test_stores_and_clears_that_race_in_a_cluster_leave_no_entry_without_a_name() -> None:
    server = available(lambda: RedisClusterServer().start())
    with contextlib.ExitStack() as closing:
        closing.callback(server.close)
        opened = [open_cache(server.url(prefix="racing"), strict=True, timeout=10) for _ in range(4)]
        race([closing.enter_context(cache) for cache in opened if isinstance(cache, RedisCache)])


@pytest.mark.parametrize("field", [b"\xff", b"x", b"\xff" * 16])
def test_what_is_no_number_among_the_names_disturbs_nobody(open_redis: OpenRedis, field: bytes) -> None:
    cache = open_redis(max_entries=3)
    for number in range(5):
        store(cache, f"q{number}", "a")
    cache._store.one(b"HSET", namespaces_key(cache.prefix), field, b"name")
    cache._keep_up()
    assert cache.stats().entries == 3
    assert cache.namespaces() == ["default"]
    cache._store.one(b"DEL", namespaces_key(cache.prefix))


def test_very_many_commands_are_sent_some_at_a_time(cache: RedisCache, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    many = RedisSession.many

    def counting(session: RedisSession, commands: Any) -> Any:
        sent.append(len(commands))
        return many(session, commands)

    assert cache.ping() > 0
    monkeypatch.setattr(RedisSession, "many", counting)
    words = [b"%d" % number for number in range(2 * MOST_COMMANDS + 5)]
    assert cache._store.many([(b"ECHO", word) for word in words]) == words
    assert sent == [MOST_COMMANDS, MOST_COMMANDS, 5]


def test_the_format_is_written_again_when_somebody_has_emptied_redis(cache: RedisCache) -> None:
    store(cache, "q", "a")
    cache.clear()
    cache._store.one(b"DEL", format_key(cache.prefix), namespaces_key(cache.prefix))  # as FLUSHALL, of what is ours
    store(cache, "q", "b")
    assert cache._store.one(b"GET", format_key(cache.prefix)) == b"1"


def test_where_it_connects_anew_the_format_is_looked_at_again(open_redis: OpenRedis) -> None:
    cache, other = open_redis(), open_redis()
    store(cache, "q", "a")
    other._store.one(b"SET", format_key(cache.prefix), b"2")
    assert found(cache, "q") == ["a"]
    cache._store._sessions.close_idle()
    found(cache, "q")
    with pytest.raises(CacheUnavailableError, match="another version"):
        found(cache, "q")
    other._store.one(b"SET", format_key(cache.prefix), b"1")


def test_a_server_that_goes_while_the_format_is_written_is_out_of_reach(
    cache: RedisCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = RedisSession.one

    def gone(session: RedisSession, *command: bytes) -> Any:
        if command[0] == b"SET":
            raise CacheUnreachableError("It is gone.")
        return one(session, *command)

    monkeypatch.setattr(RedisSession, "one", gone)
    with pytest.raises(CacheUnreachableError, match="gone"):
        cache.lookup("q", LLM)
    monkeypatch.undo()
    assert found(cache, "q") is None
    assert cache._store.one(b"GET", format_key(cache.prefix)) == b"1"
