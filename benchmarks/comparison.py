"""Whether the app's comparison says what these benchmarks say: the same answer in the same kinds of caches."""

from __future__ import annotations

import statistics
import tempfile
import threading
from functools import partial
from pathlib import Path

from benchmarks.contenders import OUR_JSON, OUR_MEMORY, OUR_SQLITE, THEIR_SQLITE, contenders
from benchmarks.rounds import Times, interleaved
from benchmarks.tables import Goal, Table, goals_table
from lab.ask import ask
from lab.compare import start_comparison
from lab.comparison import CompareRequest, Run
from lab.laboratory import Laboratory
from lab.observed_cache import Exchange
from lab.settings import Settings
from lab.strategies import NO_CACHE, Strategy

PROMPT = "Who was Carl Sagan?"
ROUNDS, BLOCK = 100, 20
RUNS = 3
GOAL = 0.2
COMPARED = {"memory": OUR_MEMORY, "sqlite": OUR_SQLITE, "json": OUR_JSON, "langchain-sqlite": THEIR_SQLITE}
"""Strategies of the app, and what they are called here."""


def measure() -> list[Table]:
    """One table of goals: how far the ratios of the two are apart, medians of runs in turn."""
    ours: dict[str, list[float]] = {name: [] for name in COMPARED}
    theirs: dict[str, list[float]] = {name: [] for name in COMPARED}
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            laboratory = Laboratory(Settings(data_dir=Path(folder) / "data"))
            exchange = _exchange(laboratory)
            here = _hits(Path(folder), exchange)
            run = _compared(laboratory)
            laboratory.history.close()
            laboratory.runs.close()
        for each in run.measured:
            found = each.lookups.summary
            assert found is not None
            theirs[each.strategy].append(found.median_s)
            ours[each.strategy].append(here[COMPARED[each.strategy]].median_s)
    goals = []
    for name in list(COMPARED)[1:]:
        by_bench, by_app = _ratio(ours, name), _ratio(theirs, name)
        goals.append(Goal.none(f"{COMPARED[name]} hit / {OUR_MEMORY} hit, here", by_bench))
        goals.append(Goal.none(f"{COMPARED[name]} hit / {OUR_MEMORY} hit, in the app", by_app))
        goals.append(Goal.at_most(f"{COMPARED[name]}: how far they are apart", GOAL, abs(by_app / by_bench - 1)))
    how = (
        f"Hits on one answer of the simulated model, by these benchmarks (in this process, {ROUNDS * BLOCK:,} calls in "
        f"rounds of {BLOCK}) and by the app's comparison (by a process of its own), {RUNS} runs of each in turn; "
        "medians of each run's ratio."
    )
    return [goals_table("What the comparison page says against these benchmarks", how, goals)]


def _exchange(laboratory: Laboratory) -> Exchange:
    """An answer of the simulated model, with what LangChain asked the cache for."""
    exchanges: list[Exchange] = []
    model = laboratory.models.get("simulated", 0.7)
    ask(model, Strategy(NO_CACHE, None, "bench"), PROMPT, exchanged=exchanges.append)
    return exchanges[0]


def _hits(folder: Path, exchange: Exchange) -> dict[str, Times]:
    caches = contenders(folder, *COMPARED.values())
    for contender in caches.values():
        contender.cache.update(exchange.prompt, exchange.llm_string, exchange.generations)
    lookups = {
        name: partial(contender.cache.lookup, exchange.prompt, exchange.llm_string)
        for name, contender in caches.items()
    }
    return interleaved({name: lambda _, call=call: call for name, call in lookups.items()}, rounds=ROUNDS, block=BLOCK)


def _compared(laboratory: Laboratory) -> Run:
    """A comparison as the page begins it, with somebody who looks at it as a page does."""
    job = start_comparison(
        laboratory,
        CompareRequest(
            prompt=PROMPT,
            strategies=tuple(COMPARED),
            model_id="simulated",
            scope="shared",
            repeats=ROUNDS * BLOCK,
            ask_each=False,
        ),
    )
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(done,))
    watcher.start()
    job.wait(600)
    done.set()
    watcher.join()
    assert job.result is not None
    return job.result


def _watch(done: threading.Event) -> None:
    """The work of a page that is drawn again and again: 50 ms of it every 0.4 s."""
    while not done.wait(0.4):
        sum(range(1_500_000))


def _ratio(seconds: dict[str, list[float]], name: str) -> float:
    return statistics.median(a / b for a, b in zip(seconds[name], seconds["memory"], strict=True))
