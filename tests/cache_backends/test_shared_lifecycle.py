"""What every backend promises about time to live, limits, namespaces, views, and removing entries."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from cache_backends import CacheBackend, CacheConfigError, cache_key
from tests.cache_backends.answers import LLM, found, look, prompts, store
from tests.cache_backends.backends import FakeClock, on_persistent_backends
from tests.cache_backends.conftest import OpenAgain

# Time to live


def test_an_entry_is_found_until_its_time_to_live_is_over(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=60)
    store(cache, "q", "answer")
    clock.tick(59.5)
    assert found(cache, "q") == ["answer"]
    clock.tick(0.5)
    assert found(cache, "q") is None


def test_an_expired_entry_is_an_outcome_of_its_own_with_its_age(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=60)
    store(cache, "q", "answer")
    clock.tick(70)
    lookup = look(cache, "q")
    assert (lookup.outcome, lookup.age_s, lookup.expired_for_s) == ("expired", 70, 10)
    assert (cache.counters.expired, cache.counters.misses, cache.counters.hits) == (1, 0, 0)


def test_a_hit_tells_its_age(cache: CacheBackend, clock: FakeClock) -> None:
    store(cache, "q", "answer")
    clock.tick(12.5)
    lookup = look(cache, "q")
    assert (lookup.outcome, lookup.age_s, lookup.expired_for_s) == ("hit", 12.5, None)


def test_a_hit_does_not_prolong_an_entry(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=60)
    store(cache, "q", "answer")
    clock.tick(50)
    found(cache, "q")
    clock.tick(10)
    assert found(cache, "q") is None


def test_storing_again_begins_a_new_time_to_live(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=60)
    store(cache, "q", "old")
    clock.tick(61)
    store(cache, "q", "new")
    clock.tick(59)
    assert found(cache, "q") == ["new"]


def test_without_a_time_to_live_entries_stay(cache: CacheBackend, clock: FakeClock) -> None:
    store(cache, "q", "answer")
    clock.tick(100 * 365 * 86400)
    assert found(cache, "q") == ["answer"]


def test_a_view_has_a_time_to_live_of_its_own(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl="1h")
    short, forever = cache.view(ttl=timedelta(seconds=10)), cache.view(ttl=None)
    for view, prompt in ((short, "short"), (cache, "hour"), (forever, "forever")):
        store(view, prompt, "answer")
    clock.tick(10)
    assert [found(cache, prompt) is not None for prompt in ("short", "hour", "forever")] == [False, True, True]
    clock.tick(3590)
    assert [found(cache, prompt) is not None for prompt in ("short", "hour", "forever")] == [False, False, True]
    assert (cache.ttl_s, short.ttl_s, forever.ttl_s) == (3600, 10, None)


def test_a_clock_that_is_set_back_gives_no_negative_age(cache: CacheBackend, clock: FakeClock) -> None:
    store(cache, "q", "answer")
    clock.tick(-1000)
    assert look(cache, "q").age_s == 0


@on_persistent_backends
def test_the_time_to_live_is_kept_over_a_restart(open_again: OpenAgain, clock: FakeClock) -> None:
    with open_again(ttl=60) as cache:
        store(cache, "q", "answer")
    clock.tick(61)
    assert look(open_again(), "q").outcome == "expired"


def test_purging_removes_what_has_expired_and_nothing_else(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again()
    other = cache.view(namespace="other", ttl=1)
    store(cache.view(ttl=10), "short", "answer")
    store(cache.view(ttl=20), "long", "answer")
    store(cache, "forever", "answer")
    store(other, "elsewhere", "answer")
    clock.tick(10)
    assert cache.purge_expired() == 1
    assert cache.purge_expired() == 0
    assert prompts(cache) == {"long", "forever"}
    assert prompts(other) == {"elsewhere"}


# Namespaces, views, removing


def test_namespaces_hold_the_same_prompt_apart(cache: CacheBackend) -> None:
    ours, theirs = cache.view(namespace="ours"), cache.view(namespace="theirs")
    store(ours, "q", "our answer")
    assert found(theirs, "q") is None
    assert found(cache, "q") is None
    store(theirs, "q", "their answer")
    assert (found(ours, "q"), found(theirs, "q")) == (["our answer"], ["their answer"])
    assert [view.stats().entries for view in (ours, theirs, cache)] == [1, 1, 0]
    assert [entry.namespace for entry in ours.entries().entries] == ["ours"]


def test_namespaces_that_hold_entries_are_listed_in_order(cache: CacheBackend) -> None:
    assert cache.namespaces() == []
    names = ["b", "a", "ü/../ \0 '; drop table entries; --", "x" * 200]
    for name in names:
        store(cache.view(namespace=name), "q", "answer")
    assert cache.namespaces() == sorted(names)
    cache.view(namespace="a").clear()
    assert "a" not in cache.namespaces()


@pytest.mark.parametrize("namespace", ["../../etc", "/", "a%", "_", "\0", "🪐", "a\nb", "'; drop table entries; --"])
def test_any_text_is_a_namespace_of_its_own(cache: CacheBackend, namespace: str, tmp_path: Path) -> None:
    view = cache.view(namespace=namespace)
    store(view, "q", "answer")
    assert found(view, "q") == ["answer"]
    assert found(cache, "q") is None
    assert {path.name for path in tmp_path.iterdir()} <= {"store"}


def test_a_view_refuses_an_unusable_namespace_or_time_to_live(cache: CacheBackend) -> None:
    with pytest.raises(CacheConfigError, match="Use 1 to 200 characters"):
        cache.view(namespace="")
    with pytest.raises(CacheConfigError, match="is not a time to live"):
        cache.view(ttl=-1)


def test_clearing_touches_its_own_namespace_only(cache: CacheBackend) -> None:
    other = cache.view(namespace="other")
    for view in (cache, other):
        store(view, "q", "answer")
        store(view, "r", "answer")
    cache.clear()
    assert (prompts(cache), prompts(other)) == (set(), {"q", "r"})
    assert found(cache, "q") is None
    store(cache, "q", "again")
    assert found(cache, "q") == ["again"]


def test_deleting_removes_these_entries_and_counts_them(cache: CacheBackend) -> None:
    for prompt in "abc":
        store(cache, prompt, "answer")
    store(cache.view(namespace="other"), "a", "answer")
    keys = [cache_key(prompt, LLM) for prompt in "ab"]
    assert cache.delete(*keys, cache_key("never", LLM)) == 2
    assert cache.delete(*keys) == 0
    assert cache.delete() == 0
    assert prompts(cache) == {"c"}
    assert prompts(cache.view(namespace="other")) == {"a"}


@pytest.mark.parametrize("key", ["", "zz", "../../etc/passwd", "é" * 64, "A" * 64, "0" * 63, f"{'0' * 64}\n"])
def test_what_cannot_be_a_key_is_refused_with_a_sentence(cache: CacheBackend, key: str) -> None:
    store(cache, "q", "answer")
    with pytest.raises(ValueError, match="is not a key: 64 hexadecimal digits are"):
        cache.get(key)
    with pytest.raises(ValueError, match="is not a key: 64 hexadecimal digits are"):
        cache.delete(cache_key("q", LLM), key)
    assert prompts(cache) == {"q"}


def test_statistics_tell_entries_sizes_and_times(cache: CacheBackend, clock: FakeClock) -> None:
    empty = cache.stats()
    assert (empty.entries, empty.size_bytes, empty.expired, empty.oldest, empty.newest) == (0, 0, 0, None, None)
    began = clock.now
    store(cache.view(ttl=5), "short", "x" * 1000)
    clock.tick(10)
    store(cache, "q", "answer")
    store(cache.view(namespace="other"), "q", "answer")
    stats = cache.stats()
    assert (stats.entries, stats.expired, stats.oldest, stats.newest) == (2, 1, began, began + 10)
    assert stats.size_bytes == sum(entry.size_bytes for entry in cache.entries().entries) > 1000 + 2 * len(LLM)


# Limits


def test_the_least_recently_used_entry_is_evicted(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_entries=3)
    for prompt in "abc":
        store(cache, prompt, "answer")
        clock.tick()
    found(cache, "a")
    clock.tick()
    store(cache, "d", "answer")
    assert prompts(cache) == {"a", "c", "d"}
    assert cache.counters.evictions == 1


def test_an_expired_or_missed_lookup_is_no_use(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_entries=2)
    store(cache.view(ttl=1), "old", "answer")
    clock.tick()
    store(cache, "new", "answer")
    clock.tick()
    assert look(cache, "old").outcome == "expired"
    store(cache, "newest", "answer")
    assert prompts(cache) == {"new", "newest"}


def test_overwriting_evicts_nobody(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_entries=3)
    for prompt in "abcabcaab":
        store(cache, prompt, "answer")
        clock.tick()
    assert prompts(cache) == {"a", "b", "c"}
    assert cache.counters.evictions == 0


def test_the_limit_counts_all_namespaces_of_the_store(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_entries=2)
    other = cache.view(namespace="other")
    for view, prompt in ((other, "a"), (cache, "b"), (other, "c")):
        store(view, prompt, "answer")
        clock.tick()
    assert (prompts(cache), prompts(other)) == ({"b"}, {"c"})
    assert other.counters.evictions == 1


def test_a_large_limit_may_be_exceeded_by_one_in_a_hundred(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(max_entries=200)
    for number in range(260):
        store(cache, f"q{number}", "answer")
        clock.tick()
        assert number < 200 or cache.counters.evictions >= number + 1 - 202
    assert 200 <= cache.stats().entries <= 202
    assert "q0" not in prompts(cache)
    assert "q259" in prompts(cache)


@on_persistent_backends
def test_a_process_that_stores_once_keeps_the_limit_too(
    open_again: OpenAgain, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_again() as unlimited:
        monkeypatch.setattr("cache_backends.limits.CHECKS", 1)
        for number in range(30):
            store(unlimited, f"q{number}", "answer")
            clock.tick()
    limited = open_again(max_entries=20)
    store(limited, "newest", "answer")
    assert limited.stats().entries == 20
    assert "newest" in prompts(limited)


# Uses


def test_uses_become_visible_without_a_hit_writing(cache: CacheBackend, clock: FakeClock, tmp_path: Path) -> None:
    store(cache, "q", "answer")
    stored_at = clock.now
    before = _files(tmp_path)
    clock.tick(5)
    found(cache, "q")
    clock.tick(5)
    found(cache, "q")
    found(cache, "never stored")
    assert _files(tmp_path) == before
    (entry,) = cache.entries().entries
    assert (entry.hits, entry.created_at, entry.last_used_at) == (2, stored_at, stored_at + 10)
    whole = cache.get(entry.key)
    assert whole is not None
    assert (whole.hits, whole.last_used_at) == (2, stored_at + 10)


def test_storing_again_begins_to_count_anew(cache: CacheBackend, clock: FakeClock) -> None:
    store(cache, "q", "old")
    found(cache, "q")
    assert cache.entries().entries[0].hits == 1
    clock.tick()
    store(cache, "q", "new")
    (entry,) = cache.entries().entries
    assert (entry.hits, entry.created_at, entry.last_used_at) == (0, clock.now, clock.now)


@on_persistent_backends
def test_uses_are_written_when_the_cache_is_closed(open_again: OpenAgain, clock: FakeClock) -> None:
    with open_again() as cache:
        store(cache, "q", "answer")
        clock.tick(5)
        found(cache, "q")
    (entry,) = open_again().entries().entries
    assert (entry.hits, entry.last_used_at) == (1, clock.now)


def test_the_time_the_model_took_is_kept_with_its_answer(cache: CacheBackend) -> None:
    found(cache, "asked")
    store(cache, "asked", "answer")
    store(cache, "never asked", "answer")
    lookup = look(cache, "asked")
    assert lookup.model_time_s is not None
    assert lookup.model_time_s >= 0
    assert look(cache, "never asked").model_time_s is None
    shown = {entry.prompt: entry.model_time_s for entry in cache.entries().entries}
    assert shown == {"asked": lookup.model_time_s, "never asked": None}


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time of change; SQLite's shared memory aside, in which readers note themselves."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.name.endswith("-shm")
    }
