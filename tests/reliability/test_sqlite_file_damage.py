"""A damaged SQLite file: never a wrong answer, set aside under another name, and all processes meet on the new one."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cache_backends import CacheError, CacheUnavailableError, SQLiteCache
from tests.cache_backends.answers import found, store
from tests.reliability.proof import prove_files_sound, set_aside
from tests.reliability.workers import Worker

SECTOR_BYTES = 4096
HEADER_BYTES = 100
ATTEMPTS = 4
"""Stores after which a cache on a damaged file must work again: each may meet damage once more."""


@pytest.fixture
def quiet() -> Iterator[None]:
    """Hundreds of errors are due here, and slow."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@dataclass
class History:
    """Every state that a store went through, and every answer that a prompt ever had."""

    states: list[dict[str, str]] = field(default_factory=lambda: [{}])

    def store(self, cache: SQLiteCache, prompt: str, answer: str) -> None:
        """Store one more answer."""
        store(cache, prompt, answer)
        self.states.append({**self.states[-1], prompt: answer})

    def held(self, cache: SQLiteCache) -> dict[str, str]:
        """What the store holds now; every answer must be one that was stored for its prompt."""
        held = {}
        for prompt in self.states[-1]:
            answer = found(cache, prompt)
            if answer is not None:
                assert answer in [[state[prompt]] for state in self.states if prompt in state], prompt
                held[prompt] = answer[0]
        return held


def _make(cache: SQLiteCache) -> History:
    """Entries of one page and of several, overwritten ones, and free pages."""
    history = History()
    for number in range(12):
        history.store(cache, f"q{number}", f"answer {number} " * (900 if number % 4 == 0 else 20))
    for number in range(0, 12, 3):
        history.store(cache, f"q{number}", f"again {number} " * 30)
    return history


def _prove_it_works(cache: SQLiteCache) -> None:
    """A few stores are enough for a cache on a damaged file to work again."""
    with suppress(CacheError):
        cache.entries()
    for attempt in range(ATTEMPTS):
        store(cache, f"after {attempt}", "works")
        if found(cache, f"after {attempt}") == ["works"]:
            return
    raise AssertionError("the cache never worked again")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("part", range(3))
def test_any_damage_to_any_page_is_a_miss_or_the_right_answer(path: Path, part: int) -> None:
    with SQLiteCache(path) as cache:
        history = _make(cache)
    whole = path.read_bytes()
    page_bytes = int.from_bytes(whole[16:18], "big")
    tried, worked = 0, 0
    for page in range(part, len(whole) // page_bytes, 3):
        for place in (*range(0, HEADER_BYTES, 1 if page == 0 else 5), *range(HEADER_BYTES, page_bytes, 311)):
            position = page * page_bytes + place
            damaged = bytearray(whole)
            damaged[position : position + 4] = bytes(0xFF ^ byte for byte in whole[position : position + 4])
            shutil.rmtree(path.parent)
            path.parent.mkdir()
            path.write_bytes(damaged)
            tried += 1
            try:
                cache = SQLiteCache(path)
            except CacheError:
                assert page == 0
                assert place < HEADER_BYTES  # taken for a file of another program, or of a newer version
                continue
            with cache:
                history.held(cache)
                if page > 0:
                    _prove_it_works(cache)
            worked += 1
    assert worked > tried * 0.8


def _read_only(content: bytes) -> bytes:
    return content[:18] + b"\x04" + content[19:]


def _newer_schema(content: bytes) -> bytes:
    return content[:44] + b"\0\0\0\xff" + content[48:]


def _no_such_table(content: bytes) -> bytes:
    return content.replace(b"entries", b"fntries")


def _no_such_column(content: bytes) -> bytes:
    return content.replace(b"created_at", b"crfated_at")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("damage", [_read_only, _newer_schema, _no_such_table, _no_such_column])
def test_a_damaged_schema_or_header_is_set_aside_too(path: Path, damage: Callable[[bytes], bytes]) -> None:
    with SQLiteCache(path) as cache:
        history = _make(cache)
    path.write_bytes(damage(path.read_bytes()))
    with SQLiteCache(path) as cache:
        history.held(cache)
        _prove_it_works(cache)
        assert len(cache.notices) == 1


def _cut(content: bytes) -> Iterator[bytes]:
    yield from (content[:length] for length in range(0, len(content), 2222))


def _flip(content: bytes) -> Iterator[bytes]:
    for place in range(0, len(content), 997):
        yield content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


def _wipe(content: bytes) -> Iterator[bytes]:
    for place in range(0, len(content), SECTOR_BYTES):
        yield content[:place] + bytes(SECTOR_BYTES) + content[place + SECTOR_BYTES :]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("damages", [_cut, _flip, _wipe])
def test_a_damaged_log_gives_an_earlier_state_whole(
    path: Path, tmp_path: Path, damages: Callable[[bytes], Iterator[bytes]]
) -> None:
    """The log of a killed process, which SQLite reads up to the first frame that is not sound."""
    with SQLiteCache(path) as cache:
        history = _make(cache)
        shutil.copytree(path.parent, tmp_path / "killed", ignore=shutil.ignore_patterns("*-shm"))
    log = (tmp_path / "killed" / "cache.db-wal").read_bytes()
    states = set()
    for content in damages(log):
        shutil.rmtree(path.parent)
        shutil.copytree(tmp_path / "killed", path.parent)
        path.with_name("cache.db-wal").write_bytes(content)
        with SQLiteCache(path) as cache:
            held = history.held(cache)
            assert held in history.states
            assert cache.notices == ()
            states.add(history.states.index(held))
            _prove_it_works(cache)
        prove_files_sound(path.parent)
    assert len(states) > 3


def _use_again(history: History) -> Callable[[SQLiteCache], None]:
    def use(cache: SQLiteCache) -> None:
        history.held(cache)
        _prove_it_works(cache)
        history.held(cache)

    return use


@pytest.mark.usefixtures("quiet")
def test_a_file_that_is_cut_while_it_is_in_use_is_a_miss_or_the_right_answer(path: Path) -> None:
    with SQLiteCache(path) as cache:
        history = _make(cache)
    whole = path.read_bytes()
    for length in range(0, len(whole), 3000):
        shutil.rmtree(path.parent)
        path.parent.mkdir()
        path.write_bytes(whole)
        with Worker(lambda: SQLiteCache(path), history.held, _use_again(history)) as worker:
            worker.run()
            with open(path, "r+b") as file:
                file.truncate(length)
            worker.run()


@pytest.mark.usefixtures("quiet")
def test_a_file_that_is_overwritten_by_another_cache_gives_answers_of_either(path: Path, tmp_path: Path) -> None:
    """As `cp other.db cache.db` does, while processes have it open."""
    with SQLiteCache(path) as cache:
        ours = _make(cache)
    with SQLiteCache(tmp_path / "other.db") as cache:
        theirs = History()
        for number in range(30):
            theirs.store(cache, f"q{number}", f"theirs {number} " * 50)
    either = History([*ours.states, *theirs.states])

    def work(cache: SQLiteCache) -> None:
        ours.held(cache)
        store(cache, "not yet in the file", "answer")

    with (
        Worker(lambda: SQLiteCache(path), work, _use_again(either)) as one,
        Worker(lambda: SQLiteCache(path), work, _use_again(either)) as two,
    ):
        for worker in (one, two):
            worker.run()
        with open(path, "r+b") as file:
            file.write((tmp_path / "other.db").read_bytes())
        for worker in (one, two):
            worker.run()


@pytest.mark.parametrize("with_log", [False, True], ids=["closed", "killed"])
def test_an_emptied_file_is_begun_anew_or_set_aside(path: Path, tmp_path: Path, with_log: bool) -> None:
    with SQLiteCache(path) as cache:
        history = _make(cache)
        shutil.copytree(path.parent, tmp_path / "killed")
    if with_log:
        shutil.rmtree(path.parent)
        shutil.copytree(tmp_path / "killed", path.parent)
    path.write_bytes(b"")
    with SQLiteCache(path) as cache:
        history.held(cache)
        _prove_it_works(cache)
    with suppress(CacheUnavailableError), SQLiteCache(path) as cache:
        _prove_it_works(cache)
    assert len(set_aside(path.parent)) <= 1
    prove_files_sound(path.parent)
