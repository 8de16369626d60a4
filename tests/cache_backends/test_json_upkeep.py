"""What is special about the upkeep of `JSONFileCache`: changes in place, files that others replace meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_backends import JSONFileCache, json_files, json_store
from cache_backends.atomic_file import nanoseconds
from tests.cache_backends.answers import found, key_of, look, prompts, store, whole
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.json_outside import OpenJSON, file_of, files


@pytest.fixture
def cache(open_json: OpenJSON) -> JSONFileCache:
    """An empty cache."""
    return open_json()


def before(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, meanwhile: Callable[[], object]) -> None:
    """Let somebody come before the first call of a function."""
    original = getattr(module, name)

    def call(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(module, name, original)
        meanwhile()
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, call)


@contextmanager
def meeting(work: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """A function that begins work in another thread, which is through when it returns, or waits for what we hold."""
    thread = threading.Thread(target=work)

    def meet() -> None:
        thread.start()
        thread.join(0.05)

    yield meet
    thread.join(30)
    assert not thread.is_alive()


# Changes in place


@pytest.mark.parametrize("change", ["pin", "unpin", "ttl", "forever"])
def test_a_changed_file_keeps_its_length_its_inode_and_its_time_of_use(
    cache: JSONFileCache, clock: FakeClock, change: str
) -> None:
    clock.tick(0.123456789)
    store(cache.view(ttl=60), "q", "answer")
    file = file_of(cache, "q")
    seen, content = file.stat(), json.loads(file.read_bytes())
    changes = {
        "pin": lambda: cache.pin(key_of("q")),
        "unpin": lambda: cache.pin(key_of("q"), False),
        "ttl": lambda: cache.set_ttl(key_of("q"), 1e9 / 3),
        "forever": lambda: cache.set_ttl(key_of("q"), None),
    }
    assert changes[change]()
    now = file.stat()
    assert (now.st_size, now.st_ino, now.st_mtime_ns, now.st_mode) == (
        seen.st_size,
        seen.st_ino,
        seen.st_mtime_ns,
        seen.st_mode,
    )
    changed = json.loads(file.read_bytes())
    differing = {name for name in content if content[name] != changed[name]} - {"checksum"}
    assert differing == {"pin": {"pinned"}, "unpin": set(), "ttl": {"expires_at"}, "forever": {"expires_at"}}[change]
    assert look(cache, "q").outcome == "hit"


@given(ttl=st.floats(1e-300, 1e308))
def test_any_time_to_live_has_room_in_its_file(tmp_path_factory: pytest.TempPathFactory, ttl: float) -> None:
    clock = FakeClock(0.0)
    with JSONFileCache(tmp_path_factory.mktemp("store"), clock=clock) as cache:
        store(cache, "q", "answer")
        assert cache.set_ttl(key_of("q"), ttl)
        assert whole(cache, "q").expires_at == ttl
        clock.now = ttl
        assert look(cache, "q").outcome == "expired"
        shutil.rmtree(cache.path)


def test_a_change_is_synced(cache: JSONFileCache, monkeypatch: pytest.MonkeyPatch) -> None:
    store(cache, "q", "answer")
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_ino), fsync(descriptor)))
    cache.pin(key_of("q"))
    assert synced == [file_of(cache, "q").stat().st_ino]


def test_a_new_answer_that_is_stored_while_its_entry_is_pinned_is_left_alone(
    cache: JSONFileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(cache, "q", "old")
    before(monkeypatch, json_files, "overwrite_start", lambda: store(cache, "q", "new"))
    assert cache.pin(key_of("q")) is False
    assert found(cache, "q") == ["new"]
    assert not whole(cache, "q").pinned


def test_an_entry_that_is_deleted_while_it_is_pinned_stays_away(
    cache: JSONFileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(cache, "q", "old")
    before(monkeypatch, json_files, "overwrite_start", lambda: cache.delete(key_of("q")))
    assert cache.pin(key_of("q")) is False
    assert look(cache, "q").outcome == "miss"


def test_uses_that_are_written_meanwhile_are_not_lost(
    open_json: OpenJSON, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = open_json(), open_json()
    store(ours, "q", "answer")

    clock.tick()
    found(theirs, "q")
    with meeting(theirs.flush) as meet:
        before(monkeypatch, json_files, "overwrite_start", meet)
        assert ours.pin(key_of("q"))
    entry = whole(ours, "q")
    assert (entry.hits, entry.last_used_at, entry.pinned) == (1, clock.now, True)


def test_a_pin_and_a_time_to_live_at_once_are_both_kept(
    open_json: OpenJSON, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = open_json(), open_json()
    store(ours, "q", "answer")
    with meeting(lambda: theirs.set_ttl(key_of("q"), 60)) as meet:
        before(monkeypatch, json_files, "overwrite_start", meet)
        assert ours.pin(key_of("q"))
    entry = whole(ours, "q")
    assert (entry.pinned, entry.expires_at) == (True, clock.now + 60)


@pytest.mark.parametrize("damage", [b"", b"{", b"not an entry"])
def test_a_damaged_entry_is_not_there_to_be_changed(cache: JSONFileCache, damage: bytes) -> None:
    store(cache, "q", "answer")
    file_of(cache, "q").write_bytes(damage)
    assert cache.pin(key_of("q")) is False
    assert cache.set_ttl(key_of("q"), 60) is False
    assert file_of(cache, "q").read_bytes() == damage
    assert look(cache, "q").outcome == "corrupt"


# Removing what has expired


def test_what_others_do_while_expired_entries_are_purged_counts(
    cache: JSONFileCache, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = cache.view(ttl=10)
    for meanwhile, left in ((lambda: store(cache, "q", "new"), {"q"}), (lambda: cache.delete(key_of("q")), set())):
        store(brief, "q", "old")
        clock.tick(10)
        before(monkeypatch, json_files, "take_away", meanwhile)
        assert cache.purge_expired() == 0
        assert prompts(cache) == left
        cache.clear()


@pytest.mark.parametrize("where", ["locked", "take_away"])
@pytest.mark.parametrize("change", ["pin", "set_ttl"])
def test_an_entry_whose_change_was_confirmed_is_not_purged(
    open_json: OpenJSON, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, where: str, change: str
) -> None:
    cache, theirs = open_json(), open_json()
    store(cache.view(ttl=10), "q", "answer")
    clock.tick(10)
    confirmed: list[bool] = []
    changes = {"pin": lambda: theirs.pin(key_of("q")), "set_ttl": lambda: theirs.set_ttl(key_of("q"), 60)}
    with meeting(lambda: confirmed.append(changes[change]())) as meet:
        before(monkeypatch, json_files, where, meet)
        purged = cache.purge_expired()
    assert (purged, confirmed) in ((0, [True]), (1, [False]))
    assert (found(cache, "q") is not None) == confirmed[0]


def test_a_purge_passes_over_what_is_damaged_or_no_entry(cache: JSONFileCache, clock: FakeClock) -> None:
    brief = cache.view(ttl=10)
    for prompt in ("expired", "damaged", "folder"):
        store(brief, prompt, "answer")
    file_of(cache, "damaged").write_bytes(b"{}")
    file_of(cache, "folder").unlink()
    file_of(cache, "folder").mkdir()
    clock.tick(10)
    assert cache.purge_expired() == 1
    assert file_of(cache, "damaged").exists()
    assert file_of(cache, "folder").is_dir()


def test_a_purge_leaves_no_other_files(cache: JSONFileCache, clock: FakeClock, folder: Path) -> None:
    for number in range(20):
        store(cache.view(ttl=10), f"q{number}", "answer")
    clock.tick(10)
    assert cache.purge_expired() == 20
    assert files(folder) == {"llm-cache.json", "clear.lock", "namespace.json"}


# Evicting


@pytest.mark.parametrize("at_the_same_time", [False, True])
def test_an_answer_that_is_stored_anew_while_it_is_evicted_stays(
    open_json: OpenJSON, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, at_the_same_time: bool
) -> None:
    began = clock.now
    ours, theirs = open_json(max_entries=2), open_json()
    for prompt in "ab":
        store(ours, prompt, "old")
        clock.tick()
    later = clock.now

    def store_anew() -> None:
        clock.now = began if at_the_same_time else later
        store(theirs, "a", "new")
        clock.now = later

    _after_listing(monkeypatch, store_anew)
    store(ours, "c", "answer")
    assert found(theirs, "a") == ["new"]


def test_an_entry_that_is_used_while_it_is_evicted_stays(
    open_json: OpenJSON, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = open_json(max_entries=2), open_json()
    for prompt in "ab":
        store(ours, prompt, "old")
        clock.tick()
    _after_listing(monkeypatch, lambda: (found(theirs, "a"), theirs.flush()))
    store(ours, "c", "answer")
    assert prompts(theirs) == {"a", "c"}


def test_an_entry_that_somebody_else_removes_first_is_no_eviction(
    open_json: OpenJSON, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = open_json(max_entries=2), open_json()
    for prompt in "ab":
        store(ours, prompt, "old")
        clock.tick()
    _after_listing(monkeypatch, lambda: theirs.delete(key_of("a")))
    store(ours, "c", "answer")
    assert prompts(theirs) == {"b", "c"}
    assert ours.counters.evictions == 0


def _after_listing(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    listed = json_store._used_files

    def then_others_come(folders: list[str]) -> Iterator[json_store.Used]:
        yield from list(listed(folders))
        meanwhile()

    monkeypatch.setattr(json_store, "_used_files", then_others_come)


def test_damaged_files_and_foreign_ones_are_not_counted_or_evicted(
    open_json: OpenJSON, clock: FakeClock, folder: Path
) -> None:
    cache = open_json(max_entries=2)
    (folder / "notes.json").write_text("x")
    for prompt in "abc":
        store(cache, prompt, "answer")
        clock.tick()
    file = file_of(cache, "c")
    file.write_bytes(b"{}")
    assert look(cache, "c").outcome == "corrupt"
    store(cache, "d", "answer")
    assert prompts(cache) == {"b", "d"}
    assert (folder / "notes.json").exists()
    assert file.with_name(f"{file.name}.damaged").exists()


def test_bytes_are_those_of_the_files(open_json: OpenJSON, clock: FakeClock) -> None:
    unlimited = open_json()
    store(unlimited, "a", "answer")
    size = file_of(unlimited, "a").stat().st_size
    assert size > whole(unlimited, "a").size_bytes
    exact = open_json(max_bytes=2 * size)
    for prompt in "bc":
        clock.tick()
        store(exact, prompt, "answer")
    assert prompts(exact) == {"b", "c"}


# Times of use


@given(time=st.floats(2.0**24, 2.0**33))
def test_a_time_comes_back_from_its_nanoseconds(time: float) -> None:
    seconds, rest = divmod(nanoseconds(time), 10**9)
    assert seconds + 1e-9 * rest == time


def test_a_restored_entry_is_as_old_as_it_was_to_the_next_process(open_json: OpenJSON, clock: FakeClock) -> None:
    cache = open_json()
    store(cache, "q", "answer")
    entry = replace(whole(cache, "q"), last_used_at=1_699_999_999.123456)
    cache.restore(entry)
    assert open_json().get(entry.key) == entry
