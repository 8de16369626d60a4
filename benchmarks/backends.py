"""Lookups and stores of every embedded cache, its floor and its peers, interleaved in one run."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks import payload
from benchmarks.contenders import (
    JSON_FLOOR,
    MEMORY_FLOOR,
    OUR_JSON,
    OUR_MEMORY,
    OUR_SQLITE,
    SQLITE_FLOOR,
    THEIR_SQLITE,
    Contender,
    contenders,
    fill,
)
from benchmarks.rounds import Operation, Times, interleaved
from benchmarks.tables import Goal, Table, goals_table

ENTRIES, MANY_ENTRIES = 1_000, 100_000
ROUNDS, BLOCK = 100, 20
WARM_UP_ROUNDS_OF_MANY = 250
"""Until each cache has the pages of its index in memory, as a program has that runs for more than a second."""
COMPARED_WHEN_MANY = (OUR_SQLITE, SQLITE_FLOOR, THEIR_SQLITE)
METHOD = (
    f"Medians of {ROUNDS * BLOCK:,} calls each, made in {ROUNDS} rounds of {BLOCK} in an order drawn anew for each "
    f"round; {payload.DESCRIPTION}. SQLite of ours and of the floor: apsw, write-ahead log, synchronous=NORMAL, pages "
    "of 16 KiB; JSON files of both are synced. A floor hashes the request, makes one raw read, parses the JSON and "
    "builds validated generations; or dumps them and makes one raw write of key and value. It keeps none of the "
    "promises: no check of damage, no time to live, no counting, nothing to browse."
)


def measure() -> list[Table]:
    """One table of times and sizes, and one of the goals."""
    with tempfile.TemporaryDirectory() as folder:
        caches = contenders(Path(folder))
        for contender in caches.values():
            fill(contender, ENTRIES)
        sizes = {name: contender.bytes_on_disk() for name, contender in caches.items()}
        hits, misses, stores = _hits(caches, ENTRIES), _misses(caches), _stores(caches)
    with tempfile.TemporaryDirectory() as folder:
        many = contenders(Path(folder), *COMPARED_WHEN_MANY)
        for contender in many.values():
            fill(contender, MANY_ENTRIES)
        _hits(many, MANY_ENTRIES, rounds=WARM_UP_ROUNDS_OF_MANY)
        hits_of_many = _hits(many, MANY_ENTRIES)
    return [
        Table(
            "Caches side by side",
            f"{METHOD} {ENTRIES:,} entries, and hits again with {MANY_ENTRIES:,}. Bytes an entry are those of its "
            f"files after {ENTRIES:,} stores; question and answer together have "
            f"{payload.QUESTION_LENGTH + payload.ANSWER_LENGTH:,}.",
            ("cache", "hit µs", f"hit µs of {MANY_ENTRIES:,}", "miss µs", "store µs", "bytes an entry"),
            [
                (
                    name,
                    _us(hits[name]),
                    _us(hits_of_many[name]) if name in hits_of_many else "",
                    _us(misses[name]),
                    _us(stores[name]),
                    "" if (size := sizes[name]) is None else f"{size / ENTRIES:,.0f}",
                )
                for name in caches
            ],
        ),
        goals_table("Goals of the embedded caches", METHOD, _goals(hits, hits_of_many, misses, stores, sizes)),
    ]


def _goals(
    hits: Mapping[str, Times],
    hits_of_many: Mapping[str, Times],
    misses: Mapping[str, Times],
    stores: Mapping[str, Times],
    sizes: Mapping[str, int | None],
) -> list[Goal]:
    stored_text = payload.QUESTION_LENGTH + payload.ANSWER_LENGTH
    size = sizes[OUR_SQLITE] or 0
    return [
        Goal.at_least(f"SQLite hit, {ENTRIES:,} entries: times as fast as LangChain's", 18, _faster(hits)),
        Goal.at_least(f"SQLite hit, {MANY_ENTRIES:,} entries: times as fast as LangChain's", 18, _faster(hits_of_many)),
        Goal.at_most("SQLite hit / its floor", 0.9, _ratio(hits, OUR_SQLITE, SQLITE_FLOOR)),
        Goal.at_most(
            f"SQLite hit / its floor, {MANY_ENTRIES:,} entries", 0.9, _ratio(hits_of_many, OUR_SQLITE, SQLITE_FLOOR)
        ),
        Goal.at_least("SQLite miss: times as fast as LangChain's", 25, _faster(misses)),
        Goal.at_least("SQLite store: times as fast as LangChain's", 25, _faster(stores)),
        Goal.at_most("SQLite store / raw upsert", 1.5, _ratio(stores, OUR_SQLITE, SQLITE_FLOOR)),
        Goal.at_most("JSON hit / its floor", 1.0, _ratio(hits, OUR_JSON, JSON_FLOOR)),
        Goal.at_most("JSON store / raw temporary file, fsync, rename", 1.25, _ratio(stores, OUR_JSON, JSON_FLOOR)),
        Goal.at_most("memory hit / SQLite hit", 0.6, _ratio(hits, OUR_MEMORY, OUR_SQLITE)),
        Goal.none("memory hit / its floor", _ratio(hits, OUR_MEMORY, MEMORY_FLOOR)),
        Goal.at_most("SQLite bytes an entry / bytes of question and answer", 2, size / ENTRIES / stored_text),
    ]


def _hits(caches: Mapping[str, Contender], entries: int, rounds: int = ROUNDS) -> dict[str, Times]:
    chosen = random.Random(rounds)
    return _timed(caches, lambda cache, _: _lookup(cache, chosen.randrange(entries)), rounds)


def _misses(caches: Mapping[str, Contender]) -> dict[str, Times]:
    return _timed(caches, lambda cache, number: _lookup(cache, -number - 1))


def _stores(caches: Mapping[str, Contender]) -> dict[str, Times]:
    return _timed(caches, lambda cache, number: _store(cache, ENTRIES + number))


def _lookup(contender: Contender, number: int) -> Operation:
    return partial(contender.cache.lookup, payload.prompt(number), payload.LLM_STRING)


def _store(contender: Contender, number: int) -> Operation:
    return partial(contender.cache.update, payload.prompt(number), payload.LLM_STRING, payload.answer(number))


def _timed(
    caches: Mapping[str, Contender], operation: Callable[[Contender, int], Operation], rounds: int = ROUNDS
) -> dict[str, Times]:
    return interleaved(
        {name: partial(operation, contender) for name, contender in caches.items()}, rounds=rounds, block=BLOCK
    )


def _ratio(times: Mapping[str, Times], ours: str, other: str) -> float:
    return times[ours].median_s / times[other].median_s


def _faster(times: Mapping[str, Times]) -> float:
    return _ratio(times, THEIR_SQLITE, OUR_SQLITE)


def _us(times: Times) -> str:
    return f"{times.median_s * 1e6:.1f}"
