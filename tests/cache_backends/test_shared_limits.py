"""What every backend promises about `max_entries` and `max_bytes`: the least recently used goes first."""

from __future__ import annotations

import random
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from cache_backends import CacheBackend, CacheConfigError, open_cache
from cache_backends.errors import NotCacheableError
from tests.cache_backends.answers import chat_prompt, found, key_of, look, prompts, store, whole
from tests.cache_backends.backends import Backend, FakeClock, on_persistent_backends, with_option
from tests.cache_backends.conftest import OpenAgain

_ENTRY = re.compile(r"[0-9a-f]{64}\.json")


def held_bytes(cache: CacheBackend, folder: Path) -> int:
    """The bytes that `max_bytes` limits: those of the entries, or of their files where each has one."""
    files = [path.stat().st_size for path in folder.rglob("*") if _ENTRY.fullmatch(path.name)]
    return sum(files) or sum(cache.view(namespace=name).stats().size_bytes for name in cache.namespaces())


# Bytes


def test_bytes_are_limited_by_evicting_the_least_recently_used(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_bytes=35_000)
    for prompt in "abc":
        store(cache, prompt, prompt * 10_000)
        clock.tick()
    assert prompts(cache) == {"a", "b", "c"}
    assert found(cache, "a") is not None
    clock.tick()
    store(cache, "d", "d" * 10_000)
    assert prompts(cache) == {"a", "c", "d"}
    assert cache.counters.evictions == 1


def test_a_large_entry_evicts_as_many_as_it_needs(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_bytes=100_000)
    for number in range(9):
        store(cache, f"q{number}", "x" * 9_000)
        clock.tick()
    assert cache.counters.evictions == 0
    store(cache, "large", "x" * 50_000)
    kept = prompts(cache)
    assert kept - {"large"} == {f"q{number}" for number in range(9 - len(kept) + 1, 9)}
    assert len(kept) == 6
    assert cache.counters.evictions == 4


def test_overwriting_counts_the_difference(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_bytes=35_000)
    for prompt in "abc":
        store(cache, prompt, "x" * 10_000)
        clock.tick()
    for _ in range(10):
        store(cache, "c", "y" * 10_000)  # as large as before
        clock.tick()
    assert (prompts(cache), cache.counters.evictions) == ({"a", "b", "c"}, 0)
    store(cache, "c", "z" * 20_000)  # larger
    clock.tick()
    assert (prompts(cache), cache.counters.evictions) == ({"b", "c"}, 1)
    store(cache, "c", "short")  # smaller: there is room for two more
    for prompt in "de":
        clock.tick()
        store(cache, prompt, "x" * 10_000)
    assert (prompts(cache), cache.counters.evictions) == ({"b", "c", "d", "e"}, 1)


def test_what_was_removed_leaves_room(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_bytes=35_000)
    removals = (
        lambda: cache.delete(key_of("b")),
        lambda: (cache.set_ttl(key_of("b"), 1), clock.tick(), cache.purge_expired()),
    )
    for remove in removals:
        cache.clear()
        for prompt in "abc":
            store(cache, prompt, "x" * 10_000)
            clock.tick()
        remove()
        store(cache, "d", "x" * 10_000)
        assert prompts(cache) == {"a", "c", "d"}
    assert cache.counters.evictions == 0


def test_the_limit_of_bytes_is_never_exceeded_by_more_than_a_hundredth(
    open_again: OpenAgain, backend: Backend, clock: FakeClock, tmp_path: Path
) -> None:
    limit, chance = 120_000, random.Random(7)
    cache = open_again(max_bytes=limit)
    exceeded_at_most = limit if backend.name == "memory" else limit * 1.01
    order: list[str] = []
    for number in range(300):
        prompt = f"q{chance.randrange(200)}"
        store(cache, prompt, "x" * chance.choice([1, 300, 5_000]))
        order = [*(other for other in order if other != prompt), prompt]
        clock.tick()
        if number % 10 == 9:
            assert held_bytes(cache, tmp_path) <= exceeded_at_most
    kept = prompts(cache)
    assert kept == set(order[-len(kept) :])
    assert held_bytes(cache, tmp_path) > limit / 2
    assert cache.counters.evictions > 0


def test_the_limit_of_bytes_counts_all_namespaces(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_bytes=25_000)
    other = cache.view(namespace="other")
    for view, prompt in ((other, "a"), (cache, "b"), (other, "c")):
        store(view, prompt, "x" * 10_000)
        clock.tick()
    assert (prompts(cache), prompts(other)) == ({"b"}, {"c"})


def test_bytes_are_counted_and_not_letters(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_bytes=25_000)
    for prompt in "ab":
        store(cache, prompt, "🪐" * 5_000)
        clock.tick()
    assert prompts(cache) == {"b"}


def test_an_answer_larger_than_all_of_the_cache_is_refused(open_again: OpenAgain) -> None:
    cache = open_again(max_bytes=10_000, strict=True)
    store(cache, "q", "answer")
    with cache.observe() as observed:
        store(cache, "large", "x" * 10_000)
    (noted,) = observed.stores
    assert (noted.stored, noted.refusal) == (False, "too_large")
    assert noted.detail is not None
    assert "10000" in noted.detail
    assert prompts(cache) == {"q"}
    assert (cache.counters.uncacheable, cache.counters.stores, cache.counters.evictions) == (1, 1, 0)
    store(cache, "q", "x" * 10_000)
    assert found(cache, "q") == ["answer"]


def test_what_was_said_to_be_stored_is_there(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_bytes=5_000)
    refused = 0
    for length in range(3_800, 5_200, 50):
        prompt = chat_prompt(f"q{length}")
        with cache.observe() as observed:
            store(cache, prompt, "x" * length)
        (noted,) = observed.stores
        assert noted.refusal == (None if noted.stored else "too_large")
        assert (found(cache, prompt) is not None) == noted.stored, length
        refused += not noted.stored
        clock.tick()
    assert 3 < refused < 25


def test_restoring_what_is_larger_than_all_of_the_cache_is_refused_and_evicts_nobody(open_again: OpenAgain) -> None:
    cache = open_again(max_bytes=10_000)
    unlimited = open_again() if cache.survives_restart else open_cache("memory://")
    store(unlimited, "large", "x" * 10_000)
    large = whole(unlimited, "large")
    unlimited.delete(large.key)
    store(cache, "q", "answer")
    with pytest.raises(NotCacheableError) as refused:
        cache.restore(large)
    assert refused.value.reason == "too_large"
    assert prompts(cache) == {"q"}
    assert cache.counters.evictions == 0


def test_both_limits_are_kept(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_entries=4, max_bytes=35_000)
    for prompt in "abcdef":
        store(cache, prompt, "small")
        clock.tick()
    assert prompts(cache) == {"c", "d", "e", "f"}
    for prompt in "ghij":
        store(cache, prompt, "x" * 10_000)
        clock.tick()
    assert prompts(cache) == {"h", "i", "j"}
    store(cache, "k", "small")
    clock.tick()
    assert prompts(cache) == {"h", "i", "j", "k"}
    store(cache, "l", "small")
    assert prompts(cache) == {"i", "j", "k", "l"}


@pytest.mark.parametrize("given", ["70000", 70_000])
def test_the_limit_of_bytes_is_an_option_of_the_url_or_a_keyword(backend: Backend, tmp_path: Path, given: Any) -> None:
    url = backend.url(tmp_path)
    options = {} if isinstance(given, str) else {"max_bytes": given}
    with open_cache(with_option(url, f"max_bytes={given}") if isinstance(given, str) else url, **options) as cache:
        assert (cache.max_bytes, cache.max_entries) == (70_000, None)
        for number in range(10):
            store(cache, f"q{number}", "x" * 30_000)
        assert cache.stats().entries == 2


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "1MB", "", "ten"])
def test_any_other_limit_of_bytes_is_refused_with_a_sentence(backend: Backend, tmp_path: Path, given: str) -> None:
    with pytest.raises(CacheConfigError, match=r"max_bytes='?.*'? is not a limit. Use a whole number of 1 or more."):
        open_cache(with_option(backend.url(tmp_path), f"max_bytes={given}"))


# Least recently used


@pytest.mark.parametrize("limits", [{"max_entries": 3}, {"max_bytes": 35_000}], ids=str)
def test_a_hit_keeps_an_entry_from_being_evicted(
    open_again: OpenAgain, clock: FakeClock, limits: dict[str, int]
) -> None:
    cache = open_again(**limits)
    store(cache, "asked often", "x" * 10_000)
    for number in range(10):
        clock.tick()
        assert found(cache, "asked often") is not None
        clock.tick()
        store(cache, f"q{number}", "x" * 10_000)
    assert prompts(cache) == {"asked often", "q8", "q9"}
    assert whole(cache, "asked often").hits == 10


def test_looking_at_an_entry_is_no_use(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_entries=2)
    for prompt in "ab":
        store(cache, prompt, "answer")
        clock.tick()
    whole(cache, "a")
    cache.entries()
    cache.set_ttl(key_of("a"), 1000)
    cache.pin(key_of("a"))
    cache.pin(key_of("a"), False)
    clock.tick()
    store(cache, "c", "answer")
    assert prompts(cache) == {"b", "c"}


def test_a_restored_entry_goes_by_when_it_was_used(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_entries=3)
    for prompt in "abc":
        store(cache, prompt, "answer")
        clock.tick()
    entry = whole(cache, "a")
    cache.delete(entry.key)
    cache.restore(entry)
    store(cache, "d", "answer")
    assert prompts(cache) == {"b", "c", "d"}


def test_a_restored_entry_stays_longer_than_those_used_before_it(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_entries=3)
    for prompt in "abc":
        store(cache, prompt, "answer")
        clock.tick()
    cache.restore(whole(cache, "b"))
    for prompt, kept in (("d", {"b", "c", "d"}), ("e", {"c", "d", "e"})):
        store(cache, prompt, "answer")
        clock.tick()
        assert prompts(cache) == kept


def test_an_entry_that_is_restored_pinned_or_pinned_afterwards_is_not_evicted(
    open_again: OpenAgain, clock: FakeClock
) -> None:
    cache = open_again(max_entries=3)
    for prompt in "abc":
        store(cache, prompt, "answer")
        clock.tick()
    cache.restore(whole(cache, "a"))
    cache.pin(key_of("a"))
    cache.pin(key_of("b"))
    cache.restore(whole(cache, "b"))
    for prompt in "de":
        store(cache, prompt, "answer")
        clock.tick()
    assert prompts(cache) == {"a", "b", "e"}


def test_an_unpinned_entry_goes_by_when_it_was_used(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_entries=3)
    for prompt in "abc":
        store(cache, prompt, "answer")
        clock.tick()
    cache.pin(key_of("a"))
    store(cache, "d", "answer")
    clock.tick()
    assert prompts(cache) == {"a", "c", "d"}
    cache.pin(key_of("a"), False)
    store(cache, "e", "answer")
    assert prompts(cache) == {"c", "d", "e"}


@on_persistent_backends
def test_what_another_process_used_is_kept(open_again: OpenAgain, clock: FakeClock) -> None:
    theirs, ours = open_again(), open_again(max_entries=3)
    for prompt in "abc":
        store(ours, prompt, "answer")
        clock.tick()
    assert found(theirs, "a") is not None
    theirs.flush()
    clock.tick()
    store(ours, "d", "answer")
    assert prompts(theirs) == prompts(ours) == {"a", "c", "d"}
    assert (ours.counters.evictions, theirs.counters.evictions) == (1, 0)


@on_persistent_backends
def test_what_another_process_evicted_is_a_miss(open_again: OpenAgain, clock: FakeClock) -> None:
    theirs, ours = open_again(), open_again(max_entries=2)
    store(theirs, "a", "answer")
    clock.tick()
    assert found(theirs, "a") == ["answer"]
    for prompt in "bc":
        clock.tick()
        store(ours, prompt, "answer")
    assert look(theirs, "a").outcome == "miss"
    theirs.flush()  # the use of what is gone is forgotten
    assert prompts(theirs) == {"b", "c"}


@on_persistent_backends
def test_the_limit_of_the_process_that_stores_counts(open_again: OpenAgain, clock: FakeClock) -> None:
    unlimited = open_again()
    for number in range(5):
        store(unlimited, f"q{number}", "x" * 10_000)
        clock.tick()
    limited = open_again(max_bytes=35_000)
    store(limited, "newest", "x" * 10_000)
    assert prompts(unlimited) == {"q3", "q4", "newest"}
    assert limited.counters.evictions == 3


# Pinned entries


@pytest.mark.parametrize("limits", [{"max_entries": 3}, {"max_bytes": 35_000}], ids=str)
def test_a_pinned_entry_is_not_evicted(open_again: OpenAgain, clock: FakeClock, limits: dict[str, int]) -> None:
    cache = open_again(**limits)
    for number in range(10):
        store(cache, f"q{number}", "x" * 10_000)
        if number in (0, 4):
            assert cache.pin(key_of(f"q{number}"))
        clock.tick()
    assert prompts(cache) == {"q0", "q4", "q9"}
    assert cache.counters.evictions == 7


@pytest.mark.parametrize("limits", [{"max_entries": 3}, {"max_bytes": 35_000}], ids=str)
def test_where_all_is_pinned_there_is_no_room_for_more(
    open_again: OpenAgain, clock: FakeClock, limits: dict[str, int]
) -> None:
    cache = open_again(**limits)
    for prompt in "abc":
        store(cache, prompt, "x" * 10_000)
        cache.pin(key_of(prompt))
        clock.tick()
    store(cache, "d", "x" * 10_000)
    assert prompts(cache) == {"a", "b", "c"}
    cache.pin(key_of("b"), False)
    store(cache, "e", "x" * 10_000)
    assert prompts(cache) == {"a", "c", "e"}


def test_more_pinned_entries_than_the_limit_allows_all_stay(open_again: OpenAgain) -> None:
    cache = open_again(max_entries=2)
    store(cache, "q", "answer")
    cache.pin(key_of("q"))
    for name in "abc":
        cache.view(namespace=name).restore(whole(cache, "q"))
    assert cache.namespaces() == ["a", "b", "c", "default"]
    assert cache.counters.evictions == 0


def test_a_new_answer_under_a_pinned_key_can_be_evicted(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_entries=2)
    store(cache, "a", "old")
    cache.pin(key_of("a"))
    store(cache, "a", "new")
    for prompt in "bc":
        clock.tick()
        store(cache, prompt, "answer")
    assert prompts(cache) == {"b", "c"}


def test_threads_that_store_keep_both_limits(open_again: OpenAgain, tmp_path: Path) -> None:
    cache = open_again(max_entries=20, max_bytes=40_000, strict=True)

    def work(name: str) -> None:
        for number in range(30):
            store(cache, f"{name}{number}", "x" * 3_000)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store(cache, "last", "x" * 3_000)
    assert held_bytes(cache, tmp_path) <= 40_000
    entries = cache.stats().entries
    assert 8 <= entries <= 13
    assert cache.counters.evictions == 121 - entries
    assert cache.counters.errors == 0
