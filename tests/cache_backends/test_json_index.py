"""The index beside JSON files: files changed in place, damaged, put there by others, cleared."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cache_backends import JSONFileCache, json_index
from tests.cache_backends.answers import found, key_of, prompts, store, whole
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.index_outside import (
    contents,
    index_path,
    nothing_said,
    same_as_by_looking,
    same_as_made_anew,
)
from tests.cache_backends.json_outside import OpenJSON, file_of
from tests.cache_backends.processes import Child, in_child


def agree(cache: JSONFileCache) -> None:
    """The index says what looking at every entry says, and is what one made anew would be."""
    same_as_by_looking(cache)
    same_as_made_anew(cache)


@pytest.fixture
def cache(open_json: OpenJSON, clock: FakeClock) -> JSONFileCache:
    """Ten entries that were indexed."""
    opened = open_json()
    for number in range(10):
        store(opened.view(ttl=[None, 5, 5_000][number % 3]), f"q{number}", f"word{number} " * (number + 1))
        clock.tick()
    opened.entries()
    return opened


@pytest.fixture
def read(cache: JSONFileCache, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts that are read to be indexed, of files that were changed long ago."""
    monkeypatch.setattr(json_index, "time", SimpleNamespace(time_ns=lambda: 2**62))
    cache.entries()
    read: list[str] = []
    readable = json_index.readable_prompt

    def noted(prompt: str) -> str:
        read.append(prompt)
        return readable(prompt)

    monkeypatch.setattr(json_index, "readable_prompt", noted)
    return read


def test_only_files_that_were_changed_are_read(cache: JSONFileCache, read: list[str]) -> None:
    agree_by_looking = same_as_by_looking
    agree_by_looking(cache)
    assert read == []
    store(cache, "q1", "another answer")
    cache.pin(key_of("q2"))
    cache.set_ttl(key_of("q3"), 3)
    found(cache, "q6")
    cache.delete(key_of("q5"))
    store(cache, "new", "answer")
    agree_by_looking(cache)
    assert sorted(read) == ["new", "q1", "q2", "q3", "q6"]
    read.clear()
    agree_by_looking(cache)
    assert read == []
    same_as_made_anew(cache)


def test_who_only_wants_what_is_new_has_only_folders_looked_through_in_which_something_is(
    cache: JSONFileCache, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.entries()
    looked_through: list[str] = []
    statuses = json_index.entry_statuses

    def noted(part: str) -> Iterator[tuple[str, os.stat_result]]:
        looked_through.append(part)
        return statuses(part)

    monkeypatch.setattr(json_index, "entry_statuses", noted)
    store(cache, "new", "answer")
    cache.delete(key_of("q3"))
    found(cache, "q0")
    told: list[tuple[int, int | None]] = []
    cache.bring_up_to_date(lambda done, of: told.append((done, of)), only_new=True)
    page = cache.entries(up_to_date=False)
    assert {entry.prompt for entry in page.entries} == {"new", *(f"q{number}" for number in range(10))} - {"q3"}
    assert page.total == 10
    assert {*looked_through} == {str(file_of(cache, prompt).parent) for prompt in ("new", "q3")}
    assert told[-1] == (10, 10), "those in other folders count"
    assert read == ["new"], "a use is left for another time"
    agree(cache)
    assert whole(cache, "q0").hits == 1


def test_what_was_known_of_an_index_is_not_taken_for_one_that_has_its_place(
    cache: JSONFileCache, read: list[str]
) -> None:
    cache.entries()
    for file in index_path(cache).parent.glob(f"{index_path(cache).name}*"):
        file.unlink()
    store(cache, "new", "answer")
    cache.bring_up_to_date(only_new=True)
    assert cache.entries(up_to_date=False).total == 11


def test_who_only_wants_what_is_new_has_it_though_others_have_changed_the_index(
    cache: JSONFileCache, read: list[str]
) -> None:
    cache.entries()
    with JSONFileCache(cache.path) as other:
        store(other, "new", "answer")
        other.entries()
        theirs = other._store.index.get()
        with theirs.changing() as changes:
            changes.drop([theirs.file.row("select min(id) from listed", ())])
        cache.bring_up_to_date(only_new=True)
        assert cache.entries(up_to_date=False).total == 11


def test_a_change_in_the_same_tick_of_the_file_systems_clock_is_noticed(
    cache: JSONFileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [10**18]
    statuses = json_index.entry_statuses

    def in_one_tick(folder: str) -> Iterator[tuple[str, Any]]:
        for key, status in statuses(folder):
            yield key, SimpleNamespace(st_ino=status.st_ino, st_ctime_ns=10**18, st_size=status.st_size)

    monkeypatch.setattr(json_index, "entry_statuses", in_one_tick)
    monkeypatch.setattr(json_index, "time", SimpleNamespace(time_ns=lambda: now[0]))
    cache.entries()
    cache.pin(key_of("q1"))
    found(cache, "q0")
    now[0] += 10**9
    agree(cache)
    assert whole(cache, "q0").hits == 1


def test_files_that_others_removed_replaced_and_copied_are_noticed(
    cache: JSONFileCache, tmp_path: Path, clock: FakeClock
) -> None:
    with JSONFileCache(tmp_path / "other", clock=clock) as other:
        store(other, "q1", "theirs")
        store(other, "theirs", "answer")
        for prompt in ("q1", "theirs"):
            file_of(cache, prompt).parent.mkdir(exist_ok=True)
            shutil.copy(file_of(other, prompt), file_of(cache, prompt))
    file_of(cache, "q2").unlink()
    os.rename(file_of(cache, "q3"), tmp_path / "q3.json")
    assert prompts(cache) == {"q0", "q1", "theirs", *(f"q{number}" for number in range(4, 10))}
    assert cache.entries(search="theirs").total == 2
    agree(cache)
    shutil.rmtree(file_of(cache, "q4").parent)
    agree(cache)


@pytest.mark.parametrize("damage", [b"", b"{}", b"not JSON", None], ids=["empty", "other", "garbage", "cut"])
def test_a_file_that_is_damaged_is_listed_no_more(cache: JSONFileCache, damage: bytes | None) -> None:
    file = file_of(cache, "q1")
    sound = file.read_bytes()
    file.write_bytes(sound[:-20] if damage is None else damage)
    assert "q1" not in prompts(cache)
    assert cache.entries().total == 9
    agree(cache)
    file.write_bytes(sound)
    assert cache.entries().total == 10
    agree(cache)
    file.write_bytes(b"damaged again")
    assert found(cache, "q1") is None  # and is set aside
    agree(cache)


def test_links_pipes_and_folders_are_passed_over(
    cache: JSONFileCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for prompt, put in {
        "q1": lambda file: file.symlink_to(file_of(cache, "q2")),
        "q3": os.mkfifo,
        "q4": Path.mkdir,
        "q5": lambda file: file.symlink_to(tmp_path / "nowhere"),
    }.items():
        file_of(cache, prompt).unlink()
        put(file_of(cache, prompt))
    with nothing_said(caplog):
        assert prompts(cache) == {"q0", "q2", "q6", "q7", "q8", "q9"}
        agree(cache)


def test_what_is_not_ours_is_passed_over(cache: JSONFileCache, folder: Path) -> None:
    part = file_of(cache, "q1").parent
    (part / "notes.txt").write_text("q1")
    (part / f"{'A' * 64}.json").write_text("{}")
    (folder / "notes").mkdir()
    (folder / f"{'0' * 32}").mkdir()
    (folder / f"{'1' * 32}").mkdir()
    (folder / f"{'1' * 32}" / "namespace.json").write_text('{"namespace": ""}')
    (folder / f"{'2' * 32}").mkdir()
    (folder / f"{'2' * 32}" / "namespace.json").write_text("[]")
    agree(cache)
    assert len(prompts(cache)) == 10


def test_a_copy_of_an_entry_in_the_wrong_folder_is_none(cache: JSONFileCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_index, "time", SimpleNamespace(time_ns=lambda: 2**62))
    file = file_of(cache, "q1")
    for name in ("00", "ff"):
        other = file.parent.with_name(name)
        other.mkdir(exist_ok=True)
        if other != file.parent:
            shutil.copy(file, other / file.name)
    assert len(cache.entries().entries) == cache.entries().total == 10
    cache.pin(key_of("q1"))
    agree(cache)
    cache.delete(key_of("q1"))
    assert "q1" not in prompts(cache)
    agree(cache)


def test_a_copy_of_a_whole_namespace_is_none(cache: JSONFileCache, folder: Path) -> None:
    there = file_of(cache, "q1").parent.parent
    for digit in "0123456789abcdef":
        shutil.copytree(there, folder / (digit * 32))
    store(cache, "new", "answer")
    cache.delete(key_of("q1"))
    assert prompts(cache) == {"new", "q0", *(f"q{number}" for number in range(2, 10))}
    assert cache.namespaces() == ["default"]
    agree(cache)


def test_a_namespace_that_lost_its_mark_is_listed(cache: JSONFileCache) -> None:
    (file_of(cache, "q1").parent.parent / "namespace.json").unlink()
    assert len(prompts(cache)) == 10
    agree(cache)
    assert cache.view(namespace="other").entries().total == 0
    assert len(prompts(cache)) == 10


def test_a_namespace_that_is_cleared_leaves_the_index_and_the_others(
    cache: JSONFileCache, open_json: OpenJSON, folder: Path
) -> None:
    other = cache.view(namespace="other")
    store(other, "elsewhere", "answer")
    assert prompts(other) == {"elsewhere"}
    cache.clear()
    assert index_path(cache).exists()
    assert prompts(cache) == set()
    assert cache.models() == []
    assert prompts(other) == {"elsewhere"}
    assert open_json().view(namespace="other").entries().total == 1  # opening sweeps the folder
    assert index_path(cache).exists()
    agree(other)
    agree(cache)
    store(cache, "q1", "anew")
    assert prompts(cache) == {"q1"}
    agree(cache)
    assert "browse-index.db" in os.listdir(folder)


def test_the_index_is_no_entry_no_namespace_and_no_leftover(cache: JSONFileCache, open_json: OpenJSON) -> None:
    assert cache.namespaces() == ["default"]
    assert cache.stats().entries == 10
    cache.close()
    before = contents(index_path(cache))
    again = open_json(max_entries=5)
    assert contents(index_path(again)) == before
    assert again.purge_expired() == 2
    store(again, "new", "answer")
    assert len(prompts(again)) == 5
    again.clear()
    assert index_path(again).exists()
    agree(again)


def test_an_unchanged_store_changes_nothing_in_the_index(cache: JSONFileCache, read: list[str]) -> None:
    store(cache.view(namespace="gone"), "q", "answer")
    cache.entries()
    cache.view(namespace="gone").clear()
    cache.entries()
    before = cache._store.index.get().changes
    for _ in range(3):
        cache.entries()
        cache.tally()
    assert cache._store.index.get().changes == before


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_what_was_indexed_before_a_stop_stays_and_is_used(
    open_json: OpenJSON, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    cache = open_json()
    for number in range(30):
        store(cache, f"q{number}", "answer")
    told: list[tuple[int, int | None]] = []

    def stop(done: int, of: int | None) -> None:
        told.append((done, of))
        if done >= 10:
            raise kind("enough")

    with pytest.raises(kind, match="enough"):
        cache.bring_up_to_date(stop)
    assert 10 <= cache.entries(up_to_date=False).total < 30
    assert {of for _, of in told} == {30}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert cache.entries().total == 30
    agree(cache)


def test_processes_and_threads_browse_store_and_delete_at_once(
    cache: JSONFileCache, folder: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    def work(number: int, ours: JSONFileCache) -> None:
        for step in range(8):
            store(ours, f"{number} {step}", f"word{step}")
            found(ours, f"{number} {step}")
            ours.entries(search="word", limit=5)
            ours.tally()
            if step % 3 == 0:
                assert ours.delete(key_of(f"{number} {step}")) == 1
            ours.pin(key_of(f"{number} {step}"))

    def theirs(number: int) -> None:
        with JSONFileCache(folder, clock=clock) as other:
            work(number, other)

    children = [Child(lambda number=number: theirs(number)) for number in (7, 8)]  # type: ignore[misc]
    with nothing_said(caplog), ThreadPoolExecutor(3) as threads:
        for future in [threads.submit(work, number, cache) for number in range(3)]:
            future.result()
    for child in children:
        child.result()
    assert len(prompts(cache)) == 10 + 5 * 5
    agree(cache)


def test_a_forked_child_browses(cache: JSONFileCache) -> None:
    def theirs() -> int:
        store(cache, "theirs", "answer")
        agree(cache)
        return cache.entries().total

    with cache._store.index._opening, cache._store.index.get.__self__._index.updating:  # type: ignore[union-attr]
        assert in_child(theirs) == 11
    assert len(prompts(cache)) == 11
    agree(cache)
