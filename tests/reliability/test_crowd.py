"""Eight processes of eight threads each on one store: nobody errs, nothing is mixed, the last write wins whole."""

from __future__ import annotations

import multiprocessing
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest

from cache_backends import CacheBackend, EntrySummary, SQLiteCache, cache_key
from tests.cache_backends.answers import LLM, found
from tests.cache_backends.backends import Backend, FakeClock
from tests.cache_backends.processes import Child
from tests.cache_backends.sqlite_outside import sql
from tests.reliability.stores import (
    HANG_SECONDS,
    Answer,
    at_once,
    every_persistent_kind,
    found_answer,
    opened,
    warnings_logged,
)

PROCESSES = THREADS = 8
SAME = "the one prompt that everybody asks"

Work = Callable[[CacheBackend, str], Any]
"""What one thread does with the cache of its process; it is told its name."""

when_opened = pytest.mark.parametrize("opened_before_fork", [False, True], ids=["opened after fork", "open at fork"])


@dataclass(frozen=True, slots=True)
class Report:
    """What one process of the crowd has seen."""

    errors: int
    corrupt: int
    warnings: tuple[str, ...]


class Crowd:
    """Processes with threads that wait until `begin`, and then all work at once."""

    def __init__(self, open_it: Callable[[], CacheBackend], work: Work) -> None:
        self._gate = multiprocessing.get_context("fork").Barrier(PROCESSES + 1)
        self._open_it, self._work = open_it, work
        self._children = [Child(lambda process=process: self._process(process)) for process in range(PROCESSES)]

    def begin(self) -> None:
        """Open the gate, when everybody is at it."""
        self._gate.wait(HANG_SECONDS)

    def end(self) -> None:
        """Wait for all. Raises AssertionError where one failed, erred or warned."""
        with ThreadPoolExecutor(PROCESSES) as pool:
            waiting = [pool.submit(child.result) for child in self._children]
        assert [future.result() for future in waiting] == [Report(errors=0, corrupt=0, warnings=())] * PROCESSES

    def _process(self, process: int) -> Report:
        with warnings_logged() as warnings:
            cache = self._open_it()
            self._gate.wait(HANG_SECONDS)
            at_once(*[lambda name=f"{process}.{thread}": self._work(cache, name) for thread in range(THREADS)])
            cache.flush()
            return Report(cache.counters.errors, cache.counters.corrupt, tuple(warnings))


def names() -> list[str]:
    """The names of all threads of all processes."""
    return [f"{process}.{thread}" for process in range(PROCESSES) for thread in range(THREADS)]


def opener(kind: Backend, folder: Path, *, before_fork: bool, **options: Any) -> Callable[[], CacheBackend]:
    """Opens the store: in each process, or once, in use already, for all of them to take over."""
    if not before_fork:
        kind.url(folder)  # its server, where it has one, is one for all of them
        return lambda: opened(kind, folder, **options)
    cache = opened(kind, folder, **options)
    Answer("nobody", 0).store(cache, SAME)
    assert found(cache, SAME) is not None
    return lambda: cache


def is_sound(cache: CacheBackend, folder: Path) -> None:
    """What holds of any store after a crowd: all that is listed can be looked up whole, and no debris lies about."""
    for entry in all_entries(cache):
        assert found_answer(cache, entry.prompt) is not None
    assert (cache.notices, cache.counters.errors, cache.counters.corrupt) == ((), 0, 0)
    cache.close()
    if isinstance(cache, SQLiteCache):
        assert sql(cache.path, "pragma integrity_check") == [("ok",)]
        assert sql(cache.path, "select count(*) from damaged") == [(0,)]
    assert [path for path in folder.rglob("*") if path.suffix in (".tmp", ".damaged")] == []


def all_entries(cache: CacheBackend, limit: int = 50) -> list[EntrySummary]:
    """Every entry, page by page."""
    page = cache.entries(limit=limit)
    entries = list(page.entries)
    while page.next is not None:
        page = cache.entries(limit=limit, after=page.next)
        entries += page.entries
    return entries


@every_persistent_kind
@when_opened
def test_one_key_written_by_all_is_always_one_whole_answer(
    kind: Backend, tmp_path: Path, opened_before_fork: bool
) -> None:
    rounds = 40

    def work(cache: CacheBackend, name: str) -> None:
        newest: Counter[str] = Counter()
        for number in range(rounds):
            Answer(name, number).store(cache, SAME)
            newest[name] = number
            for _ in range(2):
                seen = found_answer(cache, SAME)
                assert seen is not None
                assert seen.number >= newest[seen.writer], f"{seen} came back after it had been replaced"
                newest[seen.writer] = seen.number

    crowd = Crowd(opener(kind, tmp_path, before_fork=opened_before_fork), work)
    crowd.begin()
    crowd.end()
    cache = opened(kind, tmp_path)
    last = found_answer(cache, SAME)
    assert last is not None
    assert (last.writer in names(), last.number) == (True, rounds - 1)
    assert cache.stats().entries == 1
    is_sound(cache, tmp_path)


@every_persistent_kind
@when_opened
def test_keys_written_by_one_each_are_all_there(kind: Backend, tmp_path: Path, opened_before_fork: bool) -> None:
    rounds = 25

    def work(cache: CacheBackend, name: str) -> None:
        chance = random.Random(name)
        for number in range(rounds):
            prompt = f"{name} asks {number}"
            assert found(cache, prompt) is None
            Answer(name, number).store(cache, prompt)
            assert found_answer(cache, prompt) == Answer(name, number)
            other = chance.choice(names())
            assert found_answer(cache, f"{other} asks {number}") in (None, Answer(other, number))

    crowd = Crowd(opener(kind, tmp_path, before_fork=opened_before_fork), work)
    crowd.begin()
    crowd.end()
    cache = opened(kind, tmp_path)
    for name in names():
        for number in range(rounds):
            assert found_answer(cache, f"{name} asks {number}") == Answer(name, number)
    assert cache.stats().entries == PROCESSES * THREADS * rounds + opened_before_fork
    is_sound(cache, tmp_path)


@every_persistent_kind
@when_opened
def test_clearing_and_deleting_meanwhile_takes_whole_answers_and_only_its_own(
    kind: Backend, tmp_path: Path, opened_before_fork: bool
) -> None:
    """The default namespace is cleared, purged and deleted from all the time; nobody touches the one called "kept"."""
    clock, rounds = FakeClock(), 20

    def work(cache: CacheBackend, name: str) -> None:
        chance, kept, brief, own = random.Random(name), cache.view(namespace="kept"), cache.view(ttl=5), f"for {name}"
        removing = [cache.clear, cache.purge_expired, cache.stats, lambda: all_entries(cache, 3)]
        for number in range(rounds):
            shared = f"for many {chance.randrange(6)}"
            Answer(name, number).store(chance.choice([cache, brief]), shared)
            found_answer(cache, shared)
            Answer(name, number).store(cache, own)
            assert found_answer(cache, own) in (None, Answer(name, number))
            Answer(name, number).store(kept, own)
            if chance.random() < 0.3:
                cache.delete(cache_key(own, LLM), cache_key(shared, LLM))
                assert found(cache, own) is None
            assert found_answer(kept, own) == Answer(name, number)
            clock.tick()
            chance.choice(removing)()

    crowd = Crowd(opener(kind, tmp_path, before_fork=opened_before_fork, clock=clock), work)
    crowd.begin()
    crowd.end()
    cache = opened(kind, tmp_path)
    kept = cache.view(namespace="kept")
    for name in names():
        assert found_answer(kept, f"for {name}") == Answer(name, rounds - 1)
    cache.clear()
    assert (cache.stats().entries, kept.stats().entries) == (0, PROCESSES * THREADS)
    is_sound(cache, tmp_path)


@every_persistent_kind
def test_pins_and_lifetimes_changed_by_all_leave_the_answer_whole(kind: Backend, tmp_path: Path) -> None:
    """Both are changed in place: whoever reads, lists or changes in that moment sees the old or the new."""
    prompts = [f"changed by all {number}" for number in range(3)]
    keys = {prompt: cache_key(prompt, LLM) for prompt in prompts}

    def work(cache: CacheBackend, name: str) -> None:
        chance = random.Random(name)
        for _ in range(40):
            prompt = chance.choice(prompts)
            assert cache.pin(keys[prompt], chance.random() < 0.5)
            assert cache.set_ttl(keys[prompt], chance.choice([None, 3600, 86_400.5]))
            assert found_answer(cache, prompt) == Answer("nobody", 1)
            whole = cache.get(keys[prompt])
            assert whole is not None
            assert [generation.text for generation in whole.generations] == Answer("nobody", 1).texts(prompt)
            assert whole.expires_at in (None, clock.now + 3600, clock.now + 86_400.5)
            assert {entry.prompt for entry in cache.entries().entries} == set(prompts)
            cache.flush()

    clock = FakeClock()
    with opened(kind, tmp_path, clock=clock) as cache:
        for prompt in prompts:
            Answer("nobody", 1).store(cache, prompt)
    crowd = Crowd(lambda: opened(kind, tmp_path, clock=clock), work)
    crowd.begin()
    crowd.end()
    cache = opened(kind, tmp_path, clock=clock)
    assert cache.stats().entries == len(prompts)
    is_sound(cache, tmp_path)


@every_persistent_kind
def test_a_reader_with_a_page_open_sees_whole_entries_and_is_in_nobodys_way(kind: Backend, tmp_path: Path) -> None:
    rounds = 12
    before = {f"there before {number}": Answer("nobody", number) for number in range(20)}

    def work(cache: CacheBackend, name: str) -> None:
        for number in range(rounds):
            Answer(name, number).store(cache, f"{name} asks {number}")
            Answer(name, number).store(cache, SAME)
            assert found_answer(cache, f"{name} asks {number}") == Answer(name, number)
            assert found_answer(cache, SAME) is not None

    with opened(kind, tmp_path) as cache:
        for prompt, answer in before.items():
            answer.store(cache, prompt)
    crowd = Crowd(lambda: opened(kind, tmp_path), work)
    reader = opened(kind, tmp_path)
    page, done = reader.entries(limit=7), threading.Event()
    with snapshot(reader) as seen_all_along, ThreadPoolExecutor(1) as pool:
        assert len(page.entries) == 7
        walks = pool.submit(walk_until, done, reader)
        crowd.begin()
        crowd.end()
        done.set()
        for entries in walks.result():
            prompts = Counter(entry.prompt for entry in entries)
            assert {prompt for prompt in prompts if prompt in before} == before.keys()
            assert {prompt for prompt, times in prompts.items() if times > 1} <= {SAME}  # moves as it is written again
            assert all(entry.answer.startswith(f"{entry.prompt}|") for entry in entries)
        rest = reader.entries(limit=1000, after=page.next).entries
        assert {entry.prompt for entry in [*page.entries, *rest]} >= before.keys()
        assert seen_all_along() == before.keys()
    assert reader.stats().entries == len(before) + PROCESSES * THREADS * rounds + 1
    is_sound(reader, tmp_path)


def walk_until(done: threading.Event, reader: CacheBackend) -> list[list[EntrySummary]]:
    """What a person sees who goes through all pages again and again."""
    walks = []
    while not done.is_set():
        walks.append(all_entries(reader, 7))
    return walks


@contextmanager
def snapshot(cache: CacheBackend) -> Iterator[Callable[[], set[str]]]:
    """In SQLite another program that began to read, and reads on when it is asked; in JSON files a listing."""
    if not isinstance(cache, SQLiteCache):
        rows = iter(cache._rows())
        first = next(rows)
        yield lambda: {row.summary.prompt for row in [first, *rows] if row.summary.prompt.startswith("there before")}
        return
    connection = apsw.Connection(str(cache.path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.execute("begin")
    keys = connection.execute("select key from entries")
    (one,) = next(keys)
    prompts = {cache_key(f"there before {number}", LLM): f"there before {number}" for number in range(100)}
    yield lambda: {prompts[key.hex()] for (key,) in [(one,), *keys]}
    connection.close()
