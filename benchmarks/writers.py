"""Several threads and processes that store at once, against one raw writer that has the disk to itself."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks import payload
from benchmarks.floors import SQLiteFloor, digest, dump
from benchmarks.tables import Goal, Table, goals_table
from cache_backends import SQLiteCache

STORES, ROUNDS = 4_000, 5
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Run:
    """How many stores a second, and how many of them failed."""

    rate: float
    errors: int


def measure() -> list[Table]:
    """Each way of writing once a round, in turn; the medians of the rounds' ratios."""
    ways: dict[str, Callable[[Path], Run]] = {
        "1 thread": lambda path: _processes(path, processes=1, threads=1),
        "4 threads": lambda path: _processes(path, processes=1, threads=4),
        "2 processes": lambda path: _processes(path, processes=2, threads=1),
        "2 processes with 4 threads each": lambda path: _processes(path, processes=2, threads=4),
    }
    ratios: dict[str, list[float]] = {name: [] for name in ways}
    raw_rates, errors = [], 0
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            raw_rates.append(_raw(Path(folder) / "raw.db"))
            for number, (name, way) in enumerate(ways.items()):
                run = way(Path(folder) / f"{number}.db")
                ratios[name].append(run.rate / raw_rates[-1])
                errors += run.errors
    return [
        goals_table(
            "SQLite: storing at the same time",
            f"Stores a second of new entries, {STORES:,} in all each time, divided by what one raw writer reaches that "
            f"does nothing but upsert prepared rows (median {statistics.median(raw_rates):,.0f}); medians of {ROUNDS} "
            f"rounds, write-ahead log, synchronous=NORMAL, checkpoints included.",
            [
                *(
                    Goal.none(name, statistics.median(values))
                    if name == "1 thread"
                    else Goal.at_least(name, 0.6, statistics.median(values))
                    for name, values in ratios.items()
                ),
                Goal.at_most("stores that failed", 0, errors),
            ],
        )
    ]


def _raw(path: Path) -> float:
    floor = SQLiteFloor(path)
    rows = [
        (digest(payload.prompt(number), payload.LLM_STRING), dump(payload.answer(number))) for number in range(STORES)
    ]
    began = time.perf_counter()
    for key, value in rows:
        floor.write(key, value)
    return STORES / (time.perf_counter() - began)


def _processes(path: Path, *, processes: int, threads: int) -> Run:
    SQLiteCache(path).close()
    barrier, runs = SPAWN.Barrier(processes), SPAWN.Queue()
    started = [
        SPAWN.Process(target=_write, args=(path, number, processes, threads, barrier, runs))
        for number in range(processes)
    ]
    for process in started:
        process.start()
    done: list[tuple[float, float, int]] = [runs.get() for _ in started]
    for process in started:
        process.join()
    began, ended = min(run[0] for run in done), max(run[1] for run in done)
    return Run(STORES / (ended - began), sum(run[2] for run in done))


def _write(
    path: Path, number: int, processes: int, threads: int, barrier: Barrier, runs: multiprocessing.Queue[object]
) -> None:
    """One process: its share of the stores, divided among its threads."""
    mine = range(number * STORES // processes, (number + 1) * STORES // processes)
    answers = [(payload.prompt(each), payload.answer(each)) for each in mine]
    with SQLiteCache(path) as cache:

        def store(first: int) -> None:
            for prompt, answer in answers[first::threads]:
                cache.update(prompt, payload.LLM_STRING, answer)

        workers = [threading.Thread(target=store, args=(first,)) for first in range(threads)]
        barrier.wait()
        began = time.monotonic()  # the same clock in all processes of a machine
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        runs.put((began, time.monotonic(), cache.counters.errors))
