"""What `JSONFileCache` promises about its files: readable, private, written whole, and none left over."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import stat
from pathlib import Path

import pytest

from cache_backends import JSONFileCache, atomic_file
from tests.cache_backends.answers import LLM, chat_prompt, found, store
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.json_outside import OpenJSON, entry_of, file_of, files
from tests.cache_backends.processes import Child, killed_writer


@pytest.fixture
def cache(open_json: OpenJSON) -> JSONFileCache:
    """An empty cache."""
    return open_json()


def test_files_and_folders_are_for_their_owner_only(open_json: OpenJSON, folder: Path) -> None:
    old_mask = os.umask(0)
    try:
        store(open_json(), "q", "answer")
    finally:
        os.umask(old_mask)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert len(modes) == 7  # the folder, its mark and lock, the namespace, its mark, one part of it, the entry
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}


def test_a_folder_that_was_removed_is_made_again_for_its_owner_only(cache: JSONFileCache, folder: Path) -> None:
    store(cache, "q", "answer")
    shutil.rmtree(folder)
    assert found(cache, "q") is None
    old_mask = os.umask(0)
    try:
        store(cache, "q", "answer")
    finally:
        os.umask(old_mask)
    assert found(cache, "q") == ["answer"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*")) if path.is_dir()} == {0o700}


def test_a_file_can_be_read_by_a_person(cache: JSONFileCache, clock: FakeClock) -> None:
    store(cache.view(ttl=60), chat_prompt("Who was Carl Sagan?"), "An astronomer.\nFrom Brooklyn — “born” 1934.")
    file = file_of(cache, chat_prompt("Who was Carl Sagan?"))
    text = file.read_text(encoding="utf-8")
    document = json.loads(text)
    assert document["prompt"] == "Who was Carl Sagan?"
    assert document["generations"] == [{"message": {"content": "An astronomer.\nFrom Brooklyn — “born” 1934."}}]
    assert (document["format"], document["hits"], document["model"]) == (2, 0, "demo-1")
    assert (document["created_at"], document["expires_at"]) == (clock.now, clock.now + 60)
    assert (document["namespace"], document["llm_string"]) == ("default", LLM)
    assert document["key"] == file.stem
    lines = text.splitlines()
    assert lines[0] == "{"
    assert all(line.startswith("  ") for line in lines[1:-1])
    assert '        "content": "An astronomer.\\nFrom Brooklyn — “born” 1934."' in lines


def test_a_file_with_its_uses_written_is_still_a_good_one(cache: JSONFileCache) -> None:
    store(cache, "q", "answer")
    for _ in range(12):
        found(cache, "q")
    assert cache.entries().entries[0].hits == 12
    assert json.loads(file_of(cache, "q").read_bytes())["hits"] == 12
    assert found(cache, "q") == ["answer"]
    assert cache.entries().entries[0].hits == 13


def test_a_prompt_that_is_not_one_message_is_kept_as_it_is(cache: JSONFileCache) -> None:
    store(cache, "plain", "answer")
    document = json.loads(file_of(cache, "plain").read_bytes())
    assert (document["prompt"], document["prompt_is_message"]) == ("plain", False)


def test_an_entry_tells_its_file(cache: JSONFileCache) -> None:
    store(cache, "q", "answer")
    entry = entry_of(cache, "q")
    assert entry is not None
    assert entry.location == str(file_of(cache, "q"))


def test_names_of_files_say_nothing_of_prompts_and_namespaces(cache: JSONFileCache, folder: Path) -> None:
    store(cache.view(namespace="Carl"), "Sagan", "answer")
    names = {path.name for path in folder.rglob("*")}
    assert not any("carl" in name.lower() or "sagan" in name.lower() for name in names)


def test_a_store_that_fails_leaves_the_earlier_answer_and_no_file(
    cache: JSONFileCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(cache, "q", "old")
    before = files(folder)
    for call in ("write", "fsync", "replace"):
        with monkeypatch.context() as broken:
            broken.setattr(atomic_file.os, call, _no_space)
            with cache.observe() as lookups:
                store(cache, "q", "new")
        (made,) = lookups.stores
        assert "can't be written: No space left on device" in str(made.detail)
        assert files(folder) == before
        assert found(cache, "q") == ["old"]


def _no_space(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_write_in_pieces_is_put_together(cache: JSONFileCache, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(atomic_file.os, "write", lambda descriptor, data: write(descriptor, data[:100]))
    store(cache, "q", "answer " * 100)
    assert found(cache, "q") == ["answer " * 100]


def test_a_file_is_synced_before_it_takes_its_place(cache: JSONFileCache, monkeypatch: pytest.MonkeyPatch) -> None:
    store(cache, "q", "old")
    calls: list[str] = []
    for name in ("write", "fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            atomic_file.os, name, lambda *args, name=name, real=real: [calls.append(name), real(*args)][1]
        )
    store(cache, "q", "new")
    assert calls == ["write", "fsync", "replace"]


def test_uses_of_a_file_that_is_gone_are_forgotten(cache: JSONFileCache) -> None:
    for prompt in ("q", "r"):
        store(cache, prompt, "answer")
        found(cache, prompt)
    file_of(cache, "q").unlink()
    assert [(entry.prompt, entry.hits) for entry in cache.entries().entries] == [("r", 1)]


def test_leftovers_of_a_killed_writer_are_swept_and_those_of_a_live_one_stay(open_json: OpenJSON, folder: Path) -> None:
    with open_json() as cache:
        store(cache, "q", "answer")
        entry = file_of(cache, "q")
    places = (folder / "llm-cache.json", entry.parent.parent / "namespace.json", entry)
    dead = [place.with_name(f"{place.name}.123-abcdef01.tmp") for place in places]
    live = [place.with_name(f"{place.name}.456-abcdef01.tmp") for place in places]
    for path in (*dead, *live):
        path.write_text("half")
    held = [os.open(path, os.O_RDWR) for path in live]
    try:
        for descriptor in held:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        again = open_json()
        assert not any(path.exists() for path in dead)
        assert all(path.read_text() == "half" for path in live)
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert found(again, "q") == ["answer"]
    open_json()
    assert not any(path.exists() for path in live)


def test_a_leftover_is_no_entry(cache: JSONFileCache) -> None:
    store(cache, "q", "answer")
    file = file_of(cache, "q")
    file.with_name(f"{file.name}.123-abcdef01.tmp").write_text("half")
    assert cache.stats().entries == 1
    assert cache.entries().total == 1


def test_a_file_that_was_swept_before_it_was_locked_is_written_again(
    cache: JSONFileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = atomic_file.lock_if_free, []

    def sweep_first(descriptor: int) -> bool:
        if len(swept) < 3:
            (path,) = cache.path.rglob("*.tmp")
            path.unlink()
            swept.append(path)
            return lock(descriptor) and len(swept) != 2
        return lock(descriptor)

    store(cache, "other", "answer")
    monkeypatch.setattr(atomic_file, "lock_if_free", sweep_first)
    store(cache, "q", "answer")
    assert len(swept) == 3
    assert found(cache, "q") == ["answer"]


def test_a_file_system_without_locks_can_be_written(
    cache: JSONFileCache, open_json: OpenJSON, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.file_lock.fcntl.flock", _no_locks)
    store(cache, "q", "answer")
    assert found(open_json(), "q") == ["answer"]


def _no_locks(*_: object) -> None:
    raise OSError(37, "No locks available")


def test_opening_while_others_write_takes_nothing_away_from_them(open_json: OpenJSON, folder: Path) -> None:
    def write() -> int:
        cache = open_json(strict=True)
        for number in range(60):
            store(cache, f"q{number % 5}", f"answer {number}")
        return cache.counters.errors

    children = [Child(write) for _ in range(2)]
    for _ in range(60):
        JSONFileCache(folder).close()
    assert [child.result() for child in children] == [0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_writer_leaves_whole_files_and_leftovers_that_are_swept(
    open_json: OpenJSON, folder: Path, seed: int
) -> None:
    stop_after = random.Random(seed).randrange(1, 80)
    cache = open_json()

    def write(number: int) -> None:
        store(cache, f"q{number % 7}", f"answer {number} " * 200)

    with killed_writer(write) as acknowledged:
        next(number for number in acknowledged if number >= stop_after)
    again = open_json()
    assert not [name for name in files(folder) if name.endswith(".tmp")]
    for entry in again.entries().entries:
        assert found(again, entry.prompt) == [f"answer {_number(entry.answer)} " * 200]
    assert again.counters.corrupt == 0
    assert min(7, stop_after + 1) <= again.stats().entries <= 7


def _number(answer: str) -> int:
    return int(answer.split()[1])
