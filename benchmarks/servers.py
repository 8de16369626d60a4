"""Lookups and stores of the caches on servers against one raw round trip and LangChain's own, in one run."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from langchain_core.caches import BaseCache

from benchmarks import payload
from benchmarks.floors import digest, dump
from benchmarks.raw_servers import Raw
from benchmarks.rounds import Operation, Times, interleaved
from benchmarks.served import DURABILITY, SERVED, Running, running
from benchmarks.tables import Goal, Table, goals_table

ENTRIES = 1_000
ROUNDS, STORE_ROUNDS, BLOCK = 100, 40, 20
OURS, RAW, THEIRS, ASYNC = "ours", "raw", "LangChain", "ours, async"
HIT_GOAL, STORE_GOAL = 1.35, 1.5
METHOD = (
    f"Medians of {ROUNDS * BLOCK:,} hits and {STORE_ROUNDS * BLOCK:,} stores of each, on open connections, in rounds "
    f"of {BLOCK} in an order drawn anew for each round, one server after the other; {ENTRIES:,} entries, "
    f"{payload.DESCRIPTION}. {DURABILITY} Raw is one read of a value by its key, or one write of key and value, by the "
    "same driver, and nothing else: no key to hash, no JSON, no objects. Async: awaited one after the other on one "
    "event loop, by itself."
)

Contenders = dict[str, Callable[[int], Operation]]


def measure() -> list[Table]:
    """One table of times and one of the goals; each server by itself, as a program has it."""
    hits: dict[tuple[str, str], Times] = {}
    stores: dict[tuple[str, str], Times] = {}
    names, missing = [], []
    for kind in SERVED:
        with running(kind.name) as (servers, reason):
            missing.append(reason)
            for server in servers:
                names.append(server.name)
                _measure(server, hits, stores)
    left_out = " ".join(filter(None, missing))
    return [
        Table(
            "Caches on servers side by side",
            f"{METHOD} {left_out}".strip(),
            ("server", "who", "hit µs", "store µs"),
            [
                (name, who, f"{hits[name, who].median_s * 1e6:.0f}", f"{stores[name, who].median_s * 1e6:.0f}")
                for name in names
                for who in (OURS, RAW, THEIRS, ASYNC)
                if (name, who) in hits
            ],
        ),
        goals_table("Goals of the caches on servers", METHOD, _goals(names, hits, stores)),
    ]


def _measure(server: Running, hits: dict[tuple[str, str], Times], stores: dict[tuple[str, str], Times]) -> None:
    """Ours, the raw driver and LangChain's, in turn."""
    raw = server.kind.raw(server.url)
    with server.cache() as cache:
        caches: dict[str, BaseCache] = {OURS: cache}
        if server.kind.theirs is not None:
            caches[THEIRS] = server.kind.theirs(server.url)
        _fill(raw, list(caches.values()))
        chosen = random.Random(0)
        reads: Contenders = {RAW: partial(_raw_read, raw, chosen)} | {
            who: partial(_lookup, each, chosen) for who, each in caches.items()
        }
        writes: Contenders = {RAW: partial(_raw_write, raw)} | {
            who: partial(_store, each) for who, each in caches.items()
        }
        for contenders, rounds, times in ((reads, ROUNDS, hits), (writes, STORE_ROUNDS, stores)):
            for who, found in interleaved(contenders, rounds=rounds, block=BLOCK).items():
                times[server.name, who] = found
        hits[server.name, ASYNC], stores[server.name, ASYNC] = asyncio.run(_awaited(cache))


def _goals(
    names: list[str], hits: Mapping[tuple[str, str], Times], stores: Mapping[tuple[str, str], Times]
) -> list[Goal]:
    goals = []
    for name in names:
        goals.append(Goal.at_most(f"{name}: hit / raw read", HIT_GOAL, _ratio(hits, name, OURS, RAW)))
        goals.append(Goal.at_most(f"{name}: store / raw write", STORE_GOAL, _ratio(stores, name, OURS, RAW)))
        if (name, THEIRS) in hits:
            goals.append(Goal.none(f"{name}: hit, times as fast as LangChain's", _ratio(hits, name, THEIRS, OURS)))
            goals.append(Goal.none(f"{name}: store, times as fast as LangChain's", _ratio(stores, name, THEIRS, OURS)))
    return goals


def _ratio(times: Mapping[tuple[str, str], Times], name: str, one: str, other: str) -> float:
    return times[name, one].median_s / times[name, other].median_s


def _fill(raw: Raw, caches: Iterable[BaseCache]) -> None:
    for number in range(ENTRIES):
        prompt, answer = payload.prompt(number), payload.answer(number)
        raw.write(digest(prompt, payload.LLM_STRING), dump(answer))
        for cache in caches:
            cache.update(prompt, payload.LLM_STRING, answer)


def _raw_read(raw: Raw, chosen: random.Random, _: int) -> Operation:
    return partial(raw.read, digest(payload.prompt(chosen.randrange(ENTRIES)), payload.LLM_STRING))


def _raw_write(raw: Raw, number: int) -> Operation:
    number += ENTRIES
    return partial(raw.write, digest(payload.prompt(number), payload.LLM_STRING), dump(payload.answer(number)))


def _lookup(cache: BaseCache, chosen: random.Random, _: int) -> Operation:
    return partial(cache.lookup, payload.prompt(chosen.randrange(ENTRIES)), payload.LLM_STRING)


def _store(cache: BaseCache, number: int) -> Operation:
    number += ENTRIES
    return partial(cache.update, payload.prompt(number), payload.LLM_STRING, payload.answer(number))


async def _awaited(cache: BaseCache) -> tuple[Times, Times]:
    """Hits and stores of one task."""
    hits, stores = [], []
    for number in range(ROUNDS * BLOCK):
        prompt = payload.prompt(number % ENTRIES)
        began = time.perf_counter()
        await cache.alookup(prompt, payload.LLM_STRING)
        hits.append(time.perf_counter() - began)
    for number in range(STORE_ROUNDS * BLOCK):
        prompt, answer = payload.prompt(2 * ENTRIES + number), payload.answer(number)
        began = time.perf_counter()
        await cache.aupdate(prompt, payload.LLM_STRING, answer)
        stores.append(time.perf_counter() - began)
    return Times(hits), Times(stores)
