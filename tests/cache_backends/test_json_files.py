"""What `JSONFileCache` promises about its files: readable, private, whole or set aside, and none left over."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cache_backends import CacheConfigError, CacheEntry, CacheUnavailableError, JSONFileCache, cache_key, json_files
from cache_backends.base import StoredEntry
from cache_backends.json_format import to_bytes
from tests.cache_backends.answers import LLM, chat_prompt, found, look, store
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.processes import Child, killed_writer

OpenCache = Callable[..., JSONFileCache]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the cache lies."""
    return tmp_path / "store"


@pytest.fixture
def open_it(folder: Path, clock: FakeClock) -> Iterator[OpenCache]:
    """Opens the cache, as often as asked."""
    opened: list[JSONFileCache] = []

    def open_cache(**options: object) -> JSONFileCache:
        opened.append(JSONFileCache(folder, **{"clock": clock, **options}))
        return opened[-1]

    yield open_cache
    for cache in opened:
        cache.close()


@pytest.fixture
def cache(open_it: OpenCache) -> JSONFileCache:
    """An empty cache."""
    return open_it()


def file_of(cache: JSONFileCache, prompt: str) -> Path:
    """Where the entry of a prompt lies."""
    return cache._file(cache_key(prompt, LLM))


def entry_of(cache: JSONFileCache, prompt: str) -> CacheEntry | None:
    """The whole entry of a prompt."""
    return cache.get(cache_key(prompt, LLM))


def files(folder: Path) -> set[str]:
    """The names of all files, however deep."""
    return {path.name for path in folder.rglob("*") if path.is_file()}


# What a file is


def test_files_and_folders_are_for_their_owner_only(open_it: OpenCache, folder: Path) -> None:
    old_mask = os.umask(0)
    try:
        store(open_it(), "q", "answer")
    finally:
        os.umask(old_mask)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert len(modes) == 6  # the folder, its mark, the namespace, its mark, one part of it, the entry
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
    assert (document["format"], document["hits"], document["model"]) == (1, 0, "demo-1")
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


# Damage


@pytest.mark.parametrize("flip", [0x01, 0x08, 0x20, 0x80])
def test_a_flipped_byte_is_set_aside_or_the_answer_is_still_right(cache: JSONFileCache, flip: int) -> None:
    store(cache, "q", "answer")
    file = file_of(cache, "q")
    whole = file.read_bytes()
    aside = file.with_name(f"{file.name}.damaged")
    hits = range(whole.index(b'"hits": ') + 8, whole.index(b'"hits": ') + 19)
    for position in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[position] ^= flip
        file.write_bytes(changed)
        lookup = look(cache, "q")
        if lookup.outcome == "hit":
            assert position in hits
            assert found(cache, "q") == ["answer"]
        elif lookup.outcome == "error":
            assert bytes(changed[:16]) in (b'{\n  "format": 9,\n'[:16], b'{\n  "format": 3,\n'[:16])
            assert file.read_bytes() == changed, "what a newer version may have made is left alone"
        else:
            assert lookup.outcome == "corrupt"
            assert aside.read_bytes() == changed
            assert not file.exists()
            assert look(cache, "q").outcome == "miss"


def test_a_truncated_file_is_corrupt_and_is_set_aside(cache: JSONFileCache) -> None:
    store(cache, "q", "answer")
    file = file_of(cache, "q")
    whole = file.read_bytes()
    for length in range(0, len(whole), 3):
        file.write_bytes(whole[:length])
        assert look(cache, "q").outcome == "corrupt"
        assert not file.exists()
    file.write_bytes(whole + b" ")
    assert look(cache, "q").outcome == "corrupt"
    file.write_bytes(whole)
    assert found(cache, "q") == ["answer"]


def test_a_file_under_another_key_is_corrupt(cache: JSONFileCache) -> None:
    store(cache, "q", "answer")
    store(cache, "other", "other answer")
    shutil.copy(file_of(cache, "other"), file_of(cache, "q"))
    assert look(cache, "q").outcome == "corrupt"
    assert found(cache, "other") == ["other answer"]


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"\0" * 4096, b"An astronomer.", b"\xff" * 100])
def test_what_is_no_entry_is_corrupt_and_the_list_passes_over_it(cache: JSONFileCache, content: bytes) -> None:
    store(cache, "q", "answer")
    store(cache, "other", "answer")
    file_of(cache, "q").write_bytes(content)
    assert [entry.prompt for entry in cache.entries().entries] == ["other"]
    assert entry_of(cache, "q") is None
    assert cache.stats().entries == 1
    assert look(cache, "q").outcome == "corrupt"
    store(cache, "q", "new")
    assert found(cache, "q") == ["new"]


def test_a_folder_where_a_file_should_be_is_set_aside(cache: JSONFileCache) -> None:
    for _ in range(2):
        file_of(cache, "q").mkdir(parents=True)
        assert cache.entries().entries == []
        assert entry_of(cache, "q") is None
        assert look(cache, "q").outcome == "corrupt"
        store(cache, "q", "answer")
        assert found(cache, "q") == ["answer"]
        assert cache.delete(cache_key("q", LLM)) == 1


def test_a_folder_where_a_file_should_be_is_nothing_to_clear_or_delete(cache: JSONFileCache) -> None:
    file_of(cache, "q").mkdir(parents=True)
    cache.clear()
    with pytest.raises(CacheUnavailableError, match="can't be written: Is a directory"):
        cache.delete(cache_key("q", LLM))


def test_a_file_where_a_folder_should_be_fails_open(cache: JSONFileCache, folder: Path) -> None:
    store(cache, "q", "answer")
    namespace = file_of(cache, "q").parent.parent
    shutil.rmtree(namespace)
    namespace.write_text("in the way")
    assert found(cache, "q") is None
    with cache.observe() as lookups:
        store(cache, "q", "answer")
    assert [made.refusal for made in lookups.stores] == ["error"]
    assert cache.entries().total == 0
    assert namespace.read_text() == "in the way"


PLANTED = [
    '[{"lc": 1, "type": "constructor", "id": ["langchain_core", "prompts", "PromptTemplate"], "kwargs": {}}]',
    '{"lc": 1, "type": "constructor", "id": ["langchain", "schema", "output", "Generation"], "kwargs": {"text": "x"}}',
    '[{"message": {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "AIMessage"]}}]',
    '[{"message": {"content": "x", "extra": {"type": "system"}}}]',
    '[{"py/object": "os.system"}]',
    "[]",
    "null",
]


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_constructor_with_a_right_checksum_is_corrupt(cache: JSONFileCache, planted: str) -> None:
    store(cache, "q", "answer")
    _plant(cache, "q", planted)
    assert look(cache, "q").outcome == "corrupt"


def test_a_planted_constructor_inside_an_answer_stays_data(cache: JSONFileCache) -> None:
    store(cache, "q", "answer")
    secret = {"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]}
    _plant(cache, "q", json.dumps([{"message": {"content": "x", "additional_kwargs": {"a": secret}}}]))
    answer = cache.lookup("q", LLM)
    assert answer is not None
    assert answer[0].message.additional_kwargs == {"a": secret}  # type: ignore[attr-defined]


def _plant(cache: JSONFileCache, prompt: str, generations: str) -> None:
    entry = StoredEntry(
        key=cache_key(prompt, LLM),
        payload=generations.encode(),
        created_at=cache.clock(),
        expires_at=None,
        model_time_s=None,
        model=None,
        raw_prompt=prompt,
        llm_string=LLM,
    )
    file_of(cache, prompt).write_bytes(to_bytes(entry, "default"))


@pytest.mark.parametrize(
    ("field", "value"), [("created_at", '"then"'), ("created_at", "true"), ("expires_at", "[]"), ("model_time_s", "{}")]
)
def test_a_field_of_the_wrong_type_is_corrupt_even_with_a_right_checksum(
    cache: JSONFileCache, field: str, value: str
) -> None:
    from cache_backends.codec import checksum

    store(cache, "q", "answer")
    file = file_of(cache, "q")
    head, body = file.read_bytes().split(b'"key"', 1)
    lines = [f'  "{field}": {value},' if f'"{field}"' in line else line for line in body.decode().split("\n")]
    changed = b'  "key"' + "\n".join(lines).encode()
    old_checksum = head[head.index(b'"checksum": "') + 13 :][:32]
    head = head.rstrip(b" ").replace(old_checksum, checksum(file.stem, changed).hex().encode())
    file.write_bytes(head + changed)
    assert json.loads(file.read_bytes())[field] == json.loads(value)
    assert look(cache, "q").outcome == "corrupt"


def test_an_entry_of_a_newer_version_is_an_error_and_stays_where_it_is(cache: JSONFileCache) -> None:
    store(cache, "q", "answer")
    file = file_of(cache, "q")
    newer = file.read_bytes().replace(b'"format": 1,', b'"format": 2,')
    file.write_bytes(newer)
    lookup = look(cache, "q")
    assert lookup.outcome == "error"
    assert "made by a newer version (format 2; this one knows up to 1). Update the program." in str(lookup.error)
    assert file.read_bytes() == newer
    assert cache.entries().total == 0
    assert entry_of(cache, "q") is None


def test_a_folder_of_a_newer_version_is_refused_and_left_alone(open_it: OpenCache, folder: Path) -> None:
    with open_it() as cache:
        store(cache, "q", "answer")
    marker = folder / "llm-cache.json"
    marker.write_text(json.dumps({"kind": "LLM answers as JSON files", "format": 2}))
    before = files(folder)
    with pytest.raises(CacheConfigError, match=r"newer version of this cache\. Update the program, or name another"):
        open_it()
    assert files(folder) == before


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": null}', '{"format": "x"}', "{}"])
def test_a_damaged_mark_of_the_folder_loses_no_answer(open_it: OpenCache, folder: Path, content: str) -> None:
    with open_it() as cache:
        store(cache, "q", "answer")
    (folder / "llm-cache.json").write_text(content)
    assert found(open_it(), "q") == ["answer"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"namespace": 1}', "{}"])
def test_a_damaged_mark_of_a_namespace_hides_its_name_only(cache: JSONFileCache, content: str) -> None:
    store(cache, "q", "answer")
    (file_of(cache, "q").parent.parent / "namespace.json").write_text(content)
    assert cache.namespaces() == []
    assert found(cache, "q") == ["answer"]


def test_what_else_lies_in_the_folder_is_left_alone(open_it: OpenCache, folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("precious")
    (folder / "photos" / "ab").mkdir(parents=True)
    (folder / "photos" / "ab" / "sun.png").write_bytes(b"png")
    cache = open_it(max_entries=1)
    for prompt in "abc":
        store(cache, prompt, "answer")
    cache.clear()
    assert (folder / "notes.txt").read_text() == "precious"
    assert (folder / "photos" / "ab" / "sun.png").read_bytes() == b"png"


# Writing


def test_a_store_that_fails_leaves_the_earlier_answer_and_no_file(
    cache: JSONFileCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(cache, "q", "old")
    before = files(folder)
    for call in ("write", "fsync", "replace"):
        with monkeypatch.context() as broken:
            broken.setattr(json_files.os, call, _no_space)
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
    monkeypatch.setattr(json_files.os, "write", lambda descriptor, data: write(descriptor, data[:100]))
    store(cache, "q", "answer " * 100)
    assert found(cache, "q") == ["answer " * 100]


def test_a_file_is_synced_before_it_takes_its_place(cache: JSONFileCache, monkeypatch: pytest.MonkeyPatch) -> None:
    store(cache, "q", "old")
    calls: list[str] = []
    for name in ("write", "fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            json_files.os, name, lambda *args, name=name, real=real: [calls.append(name), real(*args)][1]
        )
    store(cache, "q", "new")
    assert calls == ["write", "fsync", "replace"]


def test_uses_of_a_file_that_is_gone_are_forgotten(cache: JSONFileCache) -> None:
    for prompt in ("q", "r"):
        store(cache, prompt, "answer")
        found(cache, prompt)
    file_of(cache, "q").unlink()
    assert [(entry.prompt, entry.hits) for entry in cache.entries().entries] == [("r", 1)]


def test_leftovers_of_a_killed_writer_are_swept_and_those_of_a_live_one_stay(open_it: OpenCache, folder: Path) -> None:
    with open_it() as cache:
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
        again = open_it()
        assert not any(path.exists() for path in dead)
        assert all(path.read_text() == "half" for path in live)
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert found(again, "q") == ["answer"]
    open_it()
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
    lock, swept = json_files.lock_if_free, []

    def sweep_first(descriptor: int) -> bool:
        if len(swept) < 3:
            (path,) = cache.path.rglob("*.tmp")
            path.unlink()
            swept.append(path)
            return lock(descriptor) and len(swept) != 2
        return lock(descriptor)

    store(cache, "other", "answer")
    monkeypatch.setattr(json_files, "lock_if_free", sweep_first)
    store(cache, "q", "answer")
    assert len(swept) == 3
    assert found(cache, "q") == ["answer"]


def test_a_file_system_without_locks_can_be_written(
    cache: JSONFileCache, open_it: OpenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.file_lock.fcntl.flock", _no_locks)
    store(cache, "q", "answer")
    assert found(open_it(), "q") == ["answer"]


def _no_locks(*_: object) -> None:
    raise OSError(37, "No locks available")


def test_opening_while_others_write_takes_nothing_away_from_them(open_it: OpenCache, folder: Path) -> None:
    def write() -> int:
        cache = open_it(strict=True)
        for number in range(60):
            store(cache, f"q{number % 5}", f"answer {number}")
        return cache.counters.errors

    children = [Child(write) for _ in range(2)]
    for _ in range(60):
        JSONFileCache(folder).close()
    assert [child.result() for child in children] == [0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_writer_leaves_whole_files_and_leftovers_that_are_swept(
    open_it: OpenCache, folder: Path, seed: int
) -> None:
    stop_after = random.Random(seed).randrange(1, 80)
    cache = open_it()

    def write(number: int) -> None:
        store(cache, f"q{number % 7}", f"answer {number} " * 200)

    with killed_writer(write) as acknowledged:
        next(number for number in acknowledged if number >= stop_after)
    again = open_it()
    assert not [name for name in files(folder) if name.endswith(".tmp")]
    for entry in again.entries().entries:
        assert found(again, entry.prompt) == [f"answer {_number(entry.answer)} " * 200]
    assert again.counters.corrupt == 0
    assert min(7, stop_after + 1) <= again.stats().entries <= 7


def _number(answer: str) -> int:
    return int(answer.split()[1])
