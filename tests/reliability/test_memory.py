"""A cache that runs for a long time takes no more of the machine at its end than at its beginning."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import random
import tracemalloc
from pathlib import Path

import psutil

from cache_backends import CacheBackend
from tests.cache_backends.answers import LLM, chat, found, store
from tests.cache_backends.backends import Backend, FakeClock
from tests.cache_backends.processes import in_child
from tests.reliability.stores import Answer, at_once, every_kind, found_answer, opened, simulated

OPERATIONS = 20_000
THREADS = 8
ROUNDS = 10


def descriptors_and_threads() -> tuple[int, int]:
    """What this process holds of the system that is not memory."""
    gc.collect()
    process = psutil.Process()
    return process.num_fds(), process.num_threads()


def churn(cache: CacheBackend, seed: int, operations: int) -> None:
    """Stores, lookups, deletions and pages of a thread, among more keys than the limit leaves room for."""
    chance = random.Random(seed)
    for number in range(operations):
        prompt = f"q{chance.randrange(1_000)}"
        match number % 10:
            case 0:
                assert cache.delete("0" * 64) == 0
            case 1 | 2 | 3:
                Answer(f"{seed}", number).store(cache, prompt)
            case _:
                found_answer(cache, prompt)
        if number % 200 == 0:
            cache.entries(limit=5)
            cache.purge_expired()


def bytes_below(folder: Path) -> int:
    """What all files take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@every_kind
def test_threads_that_come_and_go_leave_descriptors_threads_and_disk_as_they_were(
    kind: Backend, tmp_path: Path
) -> None:
    cache = opened(kind, tmp_path, max_entries=100, ttl="1h")
    with cache:
        fds_before, threads_before = descriptors_and_threads()
        for round_ in range(ROUNDS):
            seeds = [round_ * THREADS + thread for thread in range(THREADS)]
            at_once(*[lambda seed=seed: churn(cache, seed, OPERATIONS // ROUNDS // THREADS) for seed in seeds])
            if round_ == 1:
                disk_before = bytes_below(tmp_path)
        fds, threads = descriptors_and_threads()
        assert threads == threads_before
        assert fds <= fds_before + 2 * THREADS  # connections for as many threads as were busy in one moment
        assert bytes_below(tmp_path) <= 2 * disk_before + 100_000
        assert cache.stats().entries <= 101
        assert cache.counters.evictions > OPERATIONS / 10
        assert cache.counters.errors == 0


@every_kind
def test_caches_views_and_copies_that_come_and_go_leave_nothing_open(kind: Backend, tmp_path: Path) -> None:
    closed: list[CacheBackend] = []  # what was closed holds nothing, although somebody holds it

    def come_and_go(times: int) -> None:
        for number in range(times):
            with opened(kind, tmp_path) as cache, pickle.loads(pickle.dumps(cache)) as unpickled:
                store(cache, f"q{number % 7}", "answer")
                copied = copy.deepcopy(simulated(cache.view(namespace=f"n{number % 7}", ttl=60)))
                assert copied.invoke("q").content == copied.invoke("q").content
                found(unpickled, "q")
                asyncio.run(cache.aupdate("loop", LLM, [chat("answer")]))
                if number % 20 == 0:
                    assert in_child(lambda cache=cache: found(cache, "loop")) == ["answer"]
            closed.extend([cache, unpickled])

    come_and_go(10)
    before = descriptors_and_threads()
    come_and_go(100)
    assert descriptors_and_threads() == before


@every_kind
def test_a_cache_that_is_dropped_without_being_closed_gives_everything_back(kind: Backend, tmp_path: Path) -> None:
    def drop(times: int) -> None:
        for number in range(times):
            cache = opened(kind, tmp_path)
            store(cache, f"q{number % 7}", "answer")
            assert found(cache, f"q{number % 7}") == ["answer"]

    drop(5)
    before = descriptors_and_threads()
    drop(50)
    assert descriptors_and_threads() == before


@every_kind
def test_memory_does_not_grow_with_what_was_asked(kind: Backend, tmp_path: Path) -> None:
    """What is remembered of misses and uses is bounded too: none of it may grow with requests that never come back."""
    clock = FakeClock()

    def ask(cache: CacheBackend, first: int, last: int) -> None:
        for number in range(first, last):
            prompt = f"asked once {number}"
            found(cache, prompt)
            if number % 4:
                store(cache, prompt, "answer")
                found(cache, prompt)
            clock.tick()

    with opened(kind, tmp_path, max_entries=20, clock=clock) as cache:
        ask(cache, 0, 500)
        gc.collect()
        tracemalloc.start()
        try:
            ask(cache, 500, 2_000)
            gc.collect()
            grown_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # The newest times and unanswered misses are remembered, up to 10,000 of each: some 200 bytes a request here.
        # An entry takes some 1,000.
        assert grown_bytes < 1_500 * 350
