"""Lookups and stores of our embedded caches beside LangChain's own, interleaved in one run."""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration

from benchmarks.tables import Table
from cache_backends import JSONFileCache, MemoryCache, SQLiteCache

ENTRIES = 1_000
ROUNDS = 2_000
WARM_UP = 100
PEER = "LangChain SQLiteCache"
LLM_STRING = str(sorted({"model_name": "gpt-4o-mini", "temperature": 0.7, "stop": None, "max_tokens": 256}.items()))


def measure() -> list[Table]:
    """Hit, miss and store of each cache, round by round, so that drift of the machine hits all alike."""
    with tempfile.TemporaryDirectory() as folder:
        caches = _caches(Path(folder))
        for cache in caches.values():
            for number in range(ENTRIES):
                cache.update(_prompt(number), LLM_STRING, _answer(number))
        return [
            _table("Hit", caches, lambda number: number % ENTRIES, _look_up),
            _table("Miss", caches, lambda number: -number - 1, _look_up),
            _table("Store", caches, lambda number: ENTRIES + number, _store),
        ]


def _caches(folder: Path) -> dict[str, BaseCache]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # langchain_community says that it is no longer maintained
        from langchain_community.cache import SQLiteCache as LangChainSQLiteCache

    return {
        "MemoryCache": MemoryCache(),
        "SQLiteCache": SQLiteCache(folder / "cache.db"),
        "JSONFileCache": JSONFileCache(folder / "answers"),
        "LangChain InMemoryCache": InMemoryCache(),
        PEER: LangChainSQLiteCache(str(folder / "langchain.db")),
    }


def _look_up(cache: BaseCache, prompt: str, answer: list[ChatGeneration]) -> None:
    cache.lookup(prompt, LLM_STRING)


def _store(cache: BaseCache, prompt: str, answer: list[ChatGeneration]) -> None:
    cache.update(prompt, LLM_STRING, answer)


def _table(
    name: str,
    caches: dict[str, BaseCache],
    entry: Callable[[int], int],
    operation: Callable[[BaseCache, str, list[ChatGeneration]], None],
) -> Table:
    times_s: dict[str, list[float]] = {title: [] for title in caches}
    for number in range(-WARM_UP, ROUNDS):
        chosen = entry(number + WARM_UP)
        for title, cache in caches.items():
            prompt, answer = _prompt(chosen), _answer(chosen)  # made anew for each cache: none profits from another
            began = time.perf_counter()
            operation(cache, prompt, answer)
            elapsed_s = time.perf_counter() - began
            if number >= 0:
                times_s[title].append(elapsed_s)
    medians_s = {title: statistics.median(measured_s) for title, measured_s in times_s.items()}
    return Table(
        name,
        f"Medians of {ROUNDS:,} rounds after {WARM_UP} of warm-up, {ENTRIES:,} entries; a question of 300 characters, "
        "an answer of 1,000 with OpenAI's metadata. SQLite: write-ahead log, synchronous=NORMAL; JSON files synced.",
        ("cache", "median µs", f"times as fast as {PEER}"),
        [
            (title, f"{median_s * 1e6:.1f}", f"{medians_s[PEER] / median_s:.1f}")
            for title, median_s in medians_s.items()
        ],
    )


def _prompt(number: int) -> str:
    return dumps([HumanMessage(f"Question {number}: " + "what is known about it, and how? " * 9)])


def _answer(number: int) -> list[ChatGeneration]:
    message = AIMessage(
        content=(f"Answer {number}: " + "this much is known, and this is how. " * 28)[:1000],
        additional_kwargs={"refusal": None},
        response_metadata={
            "token_usage": {"completion_tokens": 220, "prompt_tokens": 80, "total_tokens": 300},
            "model_name": "gpt-4o-mini-2024-07-18",
            "system_fingerprint": "fp_0123456789",
            "finish_reason": "stop",
            "logprobs": None,
        },
        id=f"lc_run--{abs(number):032x}-0",
        usage_metadata={"input_tokens": 80, "output_tokens": 220, "total_tokens": 300},
    )
    return [ChatGeneration(message=message, generation_info={"finish_reason": "stop", "logprobs": None})]
