"""What every backend promises about changing the lifetime of stored entries: `set_ttl`, `pin`, `purge_expired`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cache_backends import CacheBackend, cache_key
from tests.cache_backends.answers import LLM, found, key_of, look, prompts, store, whole
from tests.cache_backends.backends import FakeClock, on_persistent_backends
from tests.cache_backends.conftest import OpenAgain

BAD_KEYS = ["", "zz", "../../etc/passwd", "A" * 64, "0" * 63, f"{'0' * 64}\n"]
BAD_TTLS = [0, -1, "soon", "-5s", float("nan"), float("inf"), True, timedelta(0), [60]]


# A new time to live


def test_a_time_to_live_can_be_extended(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=60)
    store(cache, "q", "answer")
    clock.tick(50)
    assert cache.set_ttl(key_of("q"), "2m") is True
    clock.tick(119)
    assert found(cache, "q") == ["answer"]
    clock.tick(1)
    lookup = look(cache, "q")
    assert (lookup.outcome, lookup.expired_for_s) == ("expired", 0)


def test_a_time_to_live_can_be_shortened(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl="1h")
    store(cache, "q", "answer")
    clock.tick(50)
    assert cache.set_ttl(key_of("q"), timedelta(seconds=5))
    clock.tick(4)
    assert look(cache, "q").outcome == "hit"
    clock.tick(1)
    assert look(cache, "q").outcome == "expired"


def test_an_entry_that_never_expired_can_be_given_a_time_to_live(cache: CacheBackend, clock: FakeClock) -> None:
    store(cache, "q", "answer")
    clock.tick(1000)
    assert cache.set_ttl(key_of("q"), 5)
    assert whole(cache, "q").expires_at == clock.now + 5
    clock.tick(5)
    assert look(cache, "q").outcome == "expired"


def test_a_time_to_live_can_be_taken_away(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=60)
    store(cache, "q", "answer")
    assert cache.set_ttl(key_of("q"), None)
    assert whole(cache, "q").expires_at is None
    clock.tick(100 * 365 * 86400)
    assert look(cache, "q").outcome == "hit"
    assert cache.purge_expired() == 0


@pytest.mark.parametrize("ttl", [None, 10])
def test_an_expired_entry_comes_back_with_a_new_time_to_live(
    open_again: OpenAgain, clock: FakeClock, ttl: float | None
) -> None:
    cache = open_again(ttl=60)
    store(cache, "q", "answer")
    clock.tick(1000)
    assert look(cache, "q").outcome == "expired"
    assert cache.set_ttl(key_of("q"), ttl)
    assert look(cache, "q").age_s == 1000
    assert found(cache, "q") == ["answer"]
    clock.tick(10)
    assert (found(cache, "q") is None) == (ttl is not None)


def test_a_time_to_live_is_set_in_its_own_namespace(cache: CacheBackend, clock: FakeClock) -> None:
    other = cache.view(namespace="other")
    for view in (cache, other):
        store(view, "q", "answer")
    assert other.set_ttl(key_of("q"), 1)
    clock.tick(1)
    assert (look(cache, "q").outcome, look(other, "q").outcome) == ("hit", "expired")


def test_nothing_else_changes_with_the_time_to_live(cache: CacheBackend, clock: FakeClock) -> None:
    found(cache, "q")
    store(cache.view(ttl=60), "q", "one", "two")
    store(cache, "r", "unchanged")
    clock.tick(0.123456)
    found(cache, "q")
    before, neighbour = whole(cache, "q"), whole(cache, "r")
    clock.tick(7)
    found(cache, "q")  # a use that is only noted yet
    used_at = clock.now
    clock.tick()
    assert cache.set_ttl(key_of("q"), 100)
    assert whole(cache, "q") == replace(before, expires_at=clock.now + 100, hits=2, last_used_at=used_at)
    assert whole(cache, "r") == neighbour


def test_a_new_time_to_live_is_shown_wherever_entries_are(cache: CacheBackend, clock: FakeClock) -> None:
    store(cache, "q", "answer")
    store(cache, "r", "answer")
    assert cache.set_ttl(key_of("q"), 5)
    expires_at = clock.now + 5
    shown = {entry.prompt: entry.expires_at for entry in cache.entries().entries}
    assert shown == {"q": expires_at, "r": None}
    assert whole(cache, "q").expires_at == expires_at
    clock.tick(5)
    assert [entry.prompt for entry in cache.entries(state="expired").entries] == ["q"]
    assert [entry.prompt for entry in cache.entries(state="live").entries] == ["r"]
    assert cache.stats().expired == 1


def test_a_key_that_is_not_there_gets_no_time_to_live(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    cache.delete(key_of("q"))
    assert cache.set_ttl(key_of("q"), 60) is False
    assert cache.set_ttl(key_of("never stored"), None) is False
    assert cache.view(namespace="never used").set_ttl(key_of("q"), 60) is False
    assert prompts(cache) == set()


@pytest.mark.parametrize("ttl", BAD_TTLS)
def test_what_is_no_time_to_live_is_refused_and_changes_nothing(cache: CacheBackend, ttl: Any) -> None:
    store(cache.view(ttl=60), "q", "answer")
    before = whole(cache, "q")
    with pytest.raises(ValueError, match="is not a time to live"):
        cache.set_ttl(key_of("q"), ttl)
    assert whole(cache, "q") == before


@pytest.mark.parametrize("key", BAD_KEYS)
def test_what_cannot_be_a_key_gets_no_time_to_live_and_no_pin(cache: CacheBackend, key: str) -> None:
    with pytest.raises(ValueError, match="is not a key: 64 hexadecimal digits are"):
        cache.set_ttl(key, 60)
    with pytest.raises(ValueError, match="is not a key: 64 hexadecimal digits are"):
        cache.pin(key)


def test_a_new_answer_has_the_time_to_live_of_its_view(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=60)
    store(cache, "q", "old")
    cache.set_ttl(key_of("q"), None)
    store(cache, "q", "new")
    assert whole(cache, "q").expires_at == clock.now + 60


@on_persistent_backends
def test_lifetimes_and_pins_are_kept_over_a_restart(open_again: OpenAgain, clock: FakeClock) -> None:
    with open_again(ttl=60) as cache:
        for prompt in ("longer", "shorter", "forever", "pinned", "unpinned"):
            store(cache, prompt, "answer")
        cache.set_ttl(key_of("longer"), 600)
        cache.set_ttl(key_of("shorter"), 6)
        cache.set_ttl(key_of("forever"), None)
        cache.pin(key_of("pinned"))
        cache.pin(key_of("unpinned"))
        cache.pin(key_of("unpinned"), False)
        before = {entry.key: cache.get(entry.key) for entry in cache.entries().entries}
    opened = open_again()
    assert {entry.key: opened.get(entry.key) for entry in opened.entries().entries} == before
    clock.tick(6)
    assert look(opened, "shorter").outcome == "expired"
    clock.tick(500)
    outcomes = {prompt: look(opened, prompt).outcome for prompt in ("longer", "forever", "pinned", "unpinned")}
    assert outcomes == {"longer": "hit", "forever": "hit", "pinned": "hit", "unpinned": "expired"}


@on_persistent_backends
def test_another_process_sees_new_lifetimes_and_pins_at_once(open_again: OpenAgain, clock: FakeClock) -> None:
    ours, theirs = open_again(), open_again()
    store(ours, "q", "answer")
    assert found(theirs, "q") == ["answer"]
    assert theirs.set_ttl(key_of("q"), 5)
    clock.tick(5)
    assert look(ours, "q").outcome == "expired"
    assert theirs.pin(key_of("q"))
    assert look(ours, "q").outcome == "hit"
    assert ours.pin(key_of("q"), False)
    assert look(theirs, "q").outcome == "expired"


# Pinning


def test_a_pinned_entry_does_not_expire(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=60)
    store(cache, "q", "answer")
    assert cache.pin(key_of("q")) is True
    clock.tick(1000)
    lookup = look(cache, "q")
    assert (lookup.outcome, lookup.age_s, lookup.expired_for_s) == ("hit", 1000, None)


def test_pinning_an_expired_entry_brings_it_back(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=60)
    store(cache, "q", "answer")
    clock.tick(60)
    assert look(cache, "q").outcome == "expired"
    assert cache.pin(key_of("q"))
    assert found(cache, "q") == ["answer"]


def test_an_unpinned_entry_expires_when_it_would_have(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=60)
    for prompt in ("past", "future"):
        store(cache, prompt, "answer")
        assert cache.pin(key_of(prompt))
        clock.tick(30)
    clock.tick(15)  # 75 s after the first, 45 s after the second
    for prompt in ("past", "future"):
        assert cache.pin(key_of(prompt), False) is True
    assert look(cache, "past").expired_for_s == 15
    assert look(cache, "future").outcome == "hit"
    clock.tick(15)
    assert look(cache, "future").outcome == "expired"


def test_a_time_to_live_that_was_set_while_pinned_counts_once_unpinned(cache: CacheBackend, clock: FakeClock) -> None:
    store(cache, "q", "answer")
    cache.pin(key_of("q"))
    assert cache.set_ttl(key_of("q"), 5)
    assert whole(cache, "q").pinned
    clock.tick(5)
    assert look(cache, "q").outcome == "hit"
    cache.pin(key_of("q"), False)
    assert look(cache, "q").outcome == "expired"


def test_pinning_twice_and_unpinning_once_is_unpinned(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=5)
    store(cache, "q", "answer")
    assert [cache.pin(key_of("q"), pinned) for pinned in (True, True, False, False)] == [True] * 4
    assert not whole(cache, "q").pinned
    clock.tick(5)
    assert look(cache, "q").outcome == "expired"


def test_nothing_else_changes_with_a_pin(cache: CacheBackend, clock: FakeClock) -> None:
    found(cache, "q")
    store(cache.view(ttl=60), "q", "one", "two")
    store(cache, "r", "unchanged")
    clock.tick(0.123456)
    found(cache, "q")
    before, neighbour = whole(cache, "q"), whole(cache, "r")
    clock.tick(7)
    found(cache, "q")  # a use that is only noted yet
    used_at = clock.now
    clock.tick()
    cache.pin(key_of("q"))
    assert whole(cache, "q") == replace(before, pinned=True, hits=2, last_used_at=used_at)
    cache.pin(key_of("q"), False)
    assert whole(cache, "q") == replace(before, hits=2, last_used_at=used_at)
    assert whole(cache, "r") == neighbour


def test_a_pin_is_shown_wherever_entries_are(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=5)
    store(cache, "q", "answer")
    store(cache, "r", "answer")
    cache.pin(key_of("q"))
    assert {entry.prompt: entry.pinned for entry in cache.entries().entries} == {"q": True, "r": False}
    assert whole(cache, "q").expires_at == clock.now + 5
    clock.tick(5)
    assert [entry.prompt for entry in cache.entries(state="live").entries] == ["q"]
    assert [entry.prompt for entry in cache.entries(state="expired").entries] == ["r"]
    assert cache.stats().expired == 1


def test_a_new_answer_is_not_pinned(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=60)
    store(cache, "q", "old")
    cache.pin(key_of("q"))
    store(cache, "q", "new")
    assert not whole(cache, "q").pinned
    clock.tick(60)
    assert look(cache, "q").outcome == "expired"


def test_a_key_that_is_not_there_is_not_pinned(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    cache.delete(key_of("q"))
    assert cache.pin(key_of("q")) is False
    assert cache.pin(key_of("never stored"), False) is False
    store(cache, "q", "answer")
    assert cache.view(namespace="other").pin(key_of("q")) is False
    assert not whole(cache, "q").pinned


def test_a_pinned_entry_can_be_deleted_and_cleared(cache: CacheBackend) -> None:
    for prompt in "ab":
        store(cache, prompt, "answer")
        cache.pin(key_of(prompt))
    assert cache.delete(key_of("a")) == 1
    cache.clear()
    assert prompts(cache) == set()


# Removing what has expired


def test_purging_leaves_pinned_live_and_prolonged_entries(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=10)
    for prompt in ("expired", "pinned", "unpinned", "prolonged", "forever"):
        store(cache, prompt, "answer")
    cache.pin(key_of("pinned"))
    cache.pin(key_of("unpinned"))
    clock.tick(9)
    store(cache, "new", "answer")
    clock.tick(1)
    cache.pin(key_of("unpinned"), False)
    cache.set_ttl(key_of("prolonged"), 1)
    cache.set_ttl(key_of("forever"), None)
    assert cache.purge_expired() == 2
    assert prompts(cache) == {"pinned", "prolonged", "forever", "new"}
    assert cache.purge_expired() == 0
    cache.pin(key_of("pinned"), False)
    clock.tick(1)
    assert cache.purge_expired() == 2
    assert prompts(cache) == {"forever", "new"}


def test_purging_touches_its_own_namespace_only(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=10)
    others = [cache.view(namespace=name) for name in ("a", "z", "\0")]
    for view in (cache, *others):
        for number in range(5):
            store(view, f"q{number}", "answer")
    clock.tick(10)
    assert cache.purge_expired() == 5
    assert [view.stats().entries for view in (cache, *others)] == [0, 5, 5, 5]


def test_purging_is_no_eviction(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=10)
    store(cache, "q", "answer")
    clock.tick(10)
    assert cache.purge_expired() == 1
    assert (cache.counters.evictions, cache.counters.expired, cache.counters.lookups) == (0, 0, 0)


def test_purging_an_empty_namespace_finds_nothing(cache: CacheBackend) -> None:
    assert cache.purge_expired() == 0
    assert cache.view(namespace="never used").purge_expired() == 0


def test_what_was_purged_is_a_miss_and_can_be_stored_again(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=10)
    store(cache, "q", "old")
    clock.tick(10)
    cache.purge_expired()
    assert look(cache, "q").outcome == "miss"
    store(cache, "q", "new")
    assert found(cache, "q") == ["new"]
    assert whole(cache, "q").hits == 1


# Removing while somebody browses


def test_pages_go_on_while_entries_are_removed(cache: CacheBackend, clock: FakeClock) -> None:
    for number in range(30):
        store(cache, f"q{number:02}", "answer")
        clock.tick()
    first = cache.entries(limit=10, order_by="created_at", descending=False)
    assert [entry.prompt for entry in first.entries] == [f"q{number:02}" for number in range(10)]
    cache.delete(*(cache_key(f"q{number:02}", LLM) for number in (3, 9, 10, 15)))  # 9: the one the cursor names
    second = cache.entries(limit=10, order_by="created_at", descending=False, after=first.next)
    assert [entry.prompt for entry in second.entries] == [f"q{n:02}" for n in range(11, 22) if n != 15]
    cache.clear()
    last = cache.entries(limit=10, order_by="created_at", descending=False, after=second.next)
    assert (last.entries, last.next, last.total) == ([], None, 0)


def test_a_scan_that_is_under_way_bears_that_everything_goes(cache: CacheBackend) -> None:
    for number in range(30):
        store(cache, f"q{number}", "answer")
    rows = cache._rows()
    seen = [next(rows).summary.prompt]
    cache.clear()
    seen += [row.summary.prompt for row in rows]
    assert len(seen) == len(set(seen)) <= 30
    assert prompts(cache) == set()
