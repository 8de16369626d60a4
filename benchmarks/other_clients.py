"""What clients of a server feel while somebody else browses: raw reads at a steady pace, alone and beside a browser."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event

from benchmarks.floors import digest
from benchmarks.many_entries import FREQUENT, RARE
from benchmarks.rounds import Times
from benchmarks.served import Running, cache_at, served
from benchmarks.tables import Table

PACE_S = 0.005
READS, ROUNDS = 300, 3
KEYS = 200
ALONE, BROWSED, BUSY = "alone", "somebody browses", "somebody computes"
GOAL = 2.0
SPAWN = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class _Felt:
    """The seconds of the reads in each situation."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {ALONE: [], BROWSED: [], BUSY: []})

    def times(self, situation: str) -> Times:
        """As `Times`."""
        return Times(self.seconds[situation])


def table(servers: Sequence[Running]) -> Table:
    """Median and p99 of the reads on each server, in each situation."""
    rows = []
    for server in servers:
        felt = _felt(server)
        alone = felt.times(ALONE)
        for situation in felt.seconds:
            times = felt.times(situation)
            ratio = times.percentile_s(99) / alone.percentile_s(99)
            is_goal = situation == BROWSED
            rows.append(
                (
                    server.name,
                    situation,
                    f"{times.median_s * 1e6:.0f}",
                    f"{times.percentile_s(99) * 1e6:.0f}",
                    "" if situation == ALONE else f"{times.median_s / alone.median_s:.2f}",
                    "" if situation == ALONE else f"{ratio:.2f}",
                    f"≤ {GOAL:g}" if is_goal else "",
                    ("yes" if ratio <= GOAL else "**no**") if is_goal else "",
                )
            )
    return Table(
        "Other clients while somebody browses",
        f"A process makes a raw read of the driver every {PACE_S * 1e3:g} ms, {READS * ROUNDS:,} in each situation, in "
        f"{ROUNDS} rounds in turn: alone, while another process pages and searches without a pause, and while another "
        "process only computes, which shows what is the machine's part: server, browser and reader share its cores.",
        ("server", "meanwhile", "median µs", "p99 µs", "median / alone", "p99 / alone", "goal", "reached"),
        rows,
    )


def _felt(server: Running) -> _Felt:
    felt = _Felt()
    stops: dict[str, Callable[[Event, Event], multiprocessing.process.BaseProcess | None]] = {
        ALONE: lambda _, __: None,
        BROWSED: lambda started, stop: SPAWN.Process(target=_browse, args=(server.url, started, stop)),
        BUSY: lambda started, stop: SPAWN.Process(target=_compute, args=(started, stop)),
    }
    asked, answered = SPAWN.Queue(), SPAWN.Queue()
    reader = SPAWN.Process(target=_read, args=(server.kind.name, server.url, asked, answered))
    reader.start()
    try:
        for _ in range(ROUNDS):
            for situation, make in stops.items():
                started, stop = SPAWN.Event(), SPAWN.Event()
                other = make(started, stop)
                if other is not None:
                    other.start()
                    started.wait()
                asked.put(READS)
                felt.seconds[situation] += answered.get()
                stop.set()
                if other is not None:
                    other.join()
    finally:
        asked.put(0)
        reader.join()
    return felt


def _read(kind: str, url: str, asked: multiprocessing.Queue[int], answered: multiprocessing.Queue[list[float]]) -> None:
    """The client: reads at its pace, as often as it is asked to."""
    raw = served(kind).raw(url)
    keys = [digest(str(number), "other clients") for number in range(KEYS)]
    for key in keys:
        raw.write(key, bytes(1_500))
    chosen = random.Random(0)
    while reads := asked.get():
        seconds = []
        due = time.perf_counter()
        for _ in range(reads):
            due += PACE_S
            time.sleep(max(0.0, due - time.perf_counter()))
            key = keys[chosen.randrange(KEYS)]
            began = time.perf_counter()
            raw.read(key)
            seconds.append(time.perf_counter() - began)
        answered.put(seconds)


def _browse(url: str, started: Event, stop: Event) -> None:
    """Pages and searches in turn, until told to stop."""

    def progress(_: int, __: int | None) -> None:
        if stop.is_set():
            raise InterruptedError

    with cache_at(url) as cache:
        cache.entries()
        started.set()
        try:
            while not stop.is_set():
                page = cache.entries()
                cache.entries(after=page.next)
                cache.entries(search=RARE, order_by="hits", progress=progress)
                cache.entries(search=FREQUENT, order_by="size_bytes", progress=progress)
        except InterruptedError:
            return


def _compute(started: Event, stop: Event) -> None:
    """A core's worth of work that has nothing to do with the server."""
    started.set()
    while not stop.is_set():
        sum(range(10_000))
