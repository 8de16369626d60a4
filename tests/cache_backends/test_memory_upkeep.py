"""What is special about the upkeep of `MemoryCache`: limits to the byte, steps that others can come between."""

from __future__ import annotations

import copy
import pickle
import random

import pytest

from cache_backends import MemoryCache
from cache_backends import memory as memory_module
from tests.cache_backends.answers import chat, found, key_of, prompts, store, whole
from tests.cache_backends.backends import FakeClock


def test_the_limit_of_bytes_is_exact(clock: FakeClock) -> None:
    chance = random.Random(3)
    cache = MemoryCache(max_bytes=20_000, clock=clock)
    views = [cache.view(namespace=name) for name in "ab"]
    order: list[tuple[int, str]] = []
    for _ in range(500):
        number, prompt = chance.randrange(2), f"q{chance.randrange(60)}"
        store(views[number], prompt, "x" * chance.choice([1, 100, 3_000]))
        order = [*(place for place in order if place != (number, prompt)), (number, prompt)]
        held = {(n, entry.prompt): entry.size_bytes for n, view in enumerate(views) for entry in view.entries().entries}
        assert set(held) == set(order[-len(held) :])
        assert sum(held.values()) <= 20_000
        if len(held) < len(order):  # the next one would not have had room
            gone = order[-len(held) - 1]
            assert sum(held.values()) + 100 > 20_000 - 3_200, gone
        order = order[-len(held) :]


def test_an_entry_of_just_the_size_of_the_cache_is_stored() -> None:
    unlimited = MemoryCache()
    store(unlimited, "q", "answer")
    size = whole(unlimited, "q").size_bytes
    exact, short = MemoryCache(max_bytes=size), MemoryCache(max_bytes=size - 1)
    for cache in (exact, short):
        store(cache, "q", "answer")
    assert (found(exact, "q"), exact.counters.uncacheable) == (["answer"], 0)
    assert (found(short, "q"), short.counters.uncacheable) == (None, 1)
    store(exact, "r", "answer")
    assert prompts(exact) == {"r"}


@pytest.mark.parametrize("remove", ["clear", "delete", "purge", "replace"])
def test_bytes_of_what_was_removed_count_no_longer(clock: FakeClock, remove: str) -> None:
    cache = MemoryCache(max_bytes=10_000, ttl=60, clock=clock)
    other = cache.view(namespace="other")
    store(other, "q", "x" * 1_000)
    for _ in range(20):
        for number in range(3):
            store(cache, f"q{number}", "x" * 2_000)
        if remove == "clear":
            cache.clear()
        elif remove == "delete":
            cache.delete(*(key_of(f"q{number}") for number in range(3)))
        elif remove == "purge":
            other.set_ttl(key_of("q"), None)
            clock.tick(60)
            assert cache.purge_expired() == 3
    assert cache.counters.evictions == 0
    assert found(other, "q") is not None


def test_a_purge_goes_in_steps_that_others_can_come_between(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "PURGED_AT_A_TIME", 3)
    cache = MemoryCache(ttl=10, clock=clock)
    for number in range(10):
        store(cache, f"q{number}", "old")
    clock.tick(10)
    lock = _Lock(lambda: store(cache, "q9", "new"), at=3)
    monkeypatch.setattr(cache._store, "lock", lock)
    assert cache.purge_expired() == 9
    assert lock.taken >= 4
    assert prompts(cache) == {"q9"}
    assert found(cache, "q9") == ["new"]


class _Lock:
    """A lock that somebody else comes before, once."""

    def __init__(self, meanwhile: object, at: int) -> None:
        self._lock = memory_module.threading.RLock()
        self._meanwhile, self._at, self.taken = meanwhile, at, 0

    def __enter__(self) -> None:
        self.taken += 1
        if self.taken == self._at:
            self._meanwhile()  # type: ignore[operator]
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()


def test_an_entry_that_is_stored_or_pinned_or_gone_meanwhile_is_not_purged(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = MemoryCache(ttl=10, clock=clock)
    for prompt in ("stored", "pinned", "prolonged", "deleted", "expired"):
        store(cache, prompt, "old")
    clock.tick(10)
    listed = MemoryCache._places

    def then_others_come(self: MemoryCache) -> object:
        places = listed(self)
        store(cache, "stored", "new")
        cache.pin(key_of("pinned"))
        cache.set_ttl(key_of("prolonged"), 1)
        cache.delete(key_of("deleted"))
        return places

    monkeypatch.setattr(MemoryCache, "_places", then_others_come)
    assert cache.purge_expired() == 1
    assert prompts(cache) == {"stored", "pinned", "prolonged"}
    assert found(cache, "stored") == ["new"]


def test_an_entry_that_was_used_after_it_was_restored_is_kept(clock: FakeClock) -> None:
    cache = MemoryCache(max_entries=3, clock=clock)
    for prompt in "abc":
        store(cache, prompt, "answer")
        clock.tick()
    for prompt in "ba":  # the order in the cache is now c, b, a; by use it is a, b, c
        entry = whole(cache, prompt)
        cache.delete(entry.key)
        cache.restore(entry)
    found(cache, "a")
    for kept in ({"a", "c", "d"}, {"a", "d", "e"}, {"d", "e", "f"}):
        clock.tick()
        store(cache, max(kept), "answer")
        assert prompts(cache) == kept


def test_a_pickled_copy_evicts_in_the_same_order(clock: FakeClock) -> None:
    cache = MemoryCache(max_entries=3)
    for number, prompt in enumerate("abc"):
        cache.update(prompt, "", [chat("answer")])
        cache.restore(_used_at(cache, prompt, 1000.0 - number))
    assert copy.deepcopy(cache).stats().entries == 3
    other = pickle.loads(pickle.dumps(cache))
    for each in (cache, other):
        each.update("d", "", [chat("answer")])
        assert prompts(each) == {"a", "b", "d"}


def _used_at(cache: MemoryCache, prompt: str, used_at: float) -> object:
    import dataclasses

    return dataclasses.replace(whole(cache, prompt, ""), last_used_at=used_at)


def test_pinning_and_restoring_again_and_again_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MOST_EARLY", 10)
    cache = MemoryCache(max_entries=2)
    for prompt in ("old", "new"):
        store(cache, prompt, "answer")
    entry = whole(cache, "old")
    for _ in range(100):
        cache.pin(entry.key)
        cache.pin(entry.key, False)
        cache.restore(entry)
    assert len(cache._store.early) <= 2 * 2 + 10 + 1
    store(cache, "newest", "answer")
    assert prompts(cache) == {"new", "newest"}
