"""Where the time of one hit and of one store in SQLite goes, part by part, beside the floor's."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import orjson

from benchmarks import payload
from benchmarks.floors import SQLiteFloor, digest, dump, load
from benchmarks.rounds import Operation, Times, interleaved
from benchmarks.tables import Table
from cache_backends import SQLiteCache
from cache_backends.codec import encode, unseal
from cache_backends.fresh_objects import generations_from
from cache_backends.keys import request_digest
from cache_backends.sqlite_rows import READ, WRITE, new_entry
from cache_backends.storage import StoredEntry
from cache_backends.table_rows import interned_id
from cache_backends.worth_keeping import refuse_what_is_not_worth_keeping

ROUNDS, BLOCK = 100, 20


def measure() -> list[Table]:
    """Both tables from one interleaved run."""
    with tempfile.TemporaryDirectory() as folder, SQLiteCache(Path(folder) / "cache.db") as cache:
        floor = SQLiteFloor(Path(folder) / "floor.db")
        for number in range(1_000):
            for each in (cache, floor):
                each.update(payload.prompt(number), payload.LLM_STRING, payload.answer(number))
        parts = {**_hit_parts(cache, floor), **_store_parts(cache, floor)}
        times = interleaved(
            {name: lambda _, make=make: make() for name, make in parts.items()}, rounds=ROUNDS, block=BLOCK
        )
    return [
        _table(
            "Where a SQLite hit's time goes",
            times,
            "hit",
            {
                "key": "hash of the request",
                "select": "one SELECT",
                "checksum": "SHA-256 over key and value",
                "parse": "JSON",
                "build": "new objects, types checked (the floor validates them by pydantic)",
            },
        ),
        _table(
            "Where a SQLite store's time goes",
            times,
            "store",
            {
                "key": "hash of the request",
                "worth": "not empty, not cut off",
                "encode": "JSON, parsed again and compared (the floor only dumps)",
                "row": "prompt as a person wrote it, checksum, sizes",
                "statement": "one statement and transaction, two tables (the floor: one)",
            },
        ),
    ]


def _hit_parts(cache: SQLiteCache, floor: SQLiteFloor) -> dict[str, Callable[[], Operation]]:
    prompt = payload.prompt(1)
    key, namespace_id = request_digest(prompt, payload.LLM_STRING), interned_id(cache.namespace)
    value = cache._store.file.row(READ, (namespace_id, key))[0]
    content = unseal(key.hex(), value)
    theirs = floor.read(digest(prompt, payload.LLM_STRING))
    assert theirs is not None
    return {
        "ours hit whole": lambda: partial(cache.lookup, prompt, payload.LLM_STRING),
        "ours hit key": lambda: partial(request_digest, prompt, payload.LLM_STRING),
        "ours hit select": lambda: partial(cache._store.file.row, READ, (namespace_id, key)),
        "ours hit checksum": lambda: partial(unseal, key.hex(), value),
        "ours hit parse": lambda: partial(orjson.loads, content),
        "ours hit build": lambda: partial(generations_from, orjson.loads(content)),
        "floor hit whole": lambda: partial(floor.lookup, prompt, payload.LLM_STRING),
        "floor hit key": lambda: partial(digest, prompt, payload.LLM_STRING),
        "floor hit select": lambda: partial(floor.read, digest(prompt, payload.LLM_STRING)),
        "floor hit parse": lambda: partial(orjson.loads, theirs),
        "floor hit parse and build": lambda: partial(load, theirs),
    }


def _store_parts(cache: SQLiteCache, floor: SQLiteFloor) -> dict[str, Callable[[], Operation]]:
    numbers = itertools.count(10_000)
    answer = payload.answer(1)
    connection = cache._store.file.take()

    def entry() -> StoredEntry:
        prompt = payload.prompt(next(numbers))
        return cache._new_entry(request_digest(prompt, payload.LLM_STRING), prompt, payload.LLM_STRING, answer, None)

    def whole(store: SQLiteCache | SQLiteFloor) -> Operation:
        return partial(store.update, payload.prompt(next(numbers)), payload.LLM_STRING, answer)

    return {
        "ours store whole": lambda: whole(cache),
        "ours store key": lambda: partial(request_digest, payload.prompt(1), payload.LLM_STRING),
        "ours store worth": lambda: partial(refuse_what_is_not_worth_keeping, answer, store_truncated=False),
        "ours store encode": lambda: partial(encode, answer),
        "ours store row": lambda: partial(new_entry, entry(), cache.namespace),
        "ours store statement": lambda: partial(
            connection.writer.execute, WRITE, new_entry(entry(), cache.namespace).row
        ),
        "floor store whole": lambda: whole(floor),
        "floor store key": lambda: partial(digest, payload.prompt(1), payload.LLM_STRING),
        "floor store encode": lambda: partial(dump, answer),
        "floor store statement": lambda: partial(
            floor.write, digest(payload.prompt(next(numbers)), payload.LLM_STRING), dump(answer)
        ),
    }


def _table(title: str, times: dict[str, Times], what: str, parts: dict[str, str]) -> Table:
    def us(who: str, part: str) -> float | None:
        measured = times.get(f"{who} {what} {part}")
        return None if measured is None else measured.median_s * 1e6

    columns: dict[str, dict[str, float | None]] = {
        who: {part: us(who, part) for part in parts} for who in ("ours", "floor")
    }
    together, parsed = us("floor", "parse and build"), columns["floor"].get("parse")
    if together is not None and parsed is not None:
        columns["floor"]["build"] = together - parsed
    rows = [
        (said, *("" if (value := columns[who][part]) is None else f"{value:.1f}" for who in ("ours", "floor")))
        for part, said in parts.items()
    ]
    wholes = [us(who, "whole") or 0.0 for who in ("ours", "floor")]
    known = [sum(value or 0.0 for value in columns[who].values()) for who in ("ours", "floor")]
    rest = [f"{whole - part:.1f}" for whole, part in zip(wholes, known, strict=True)]
    return Table(
        title,
        f"Medians in µs of {ROUNDS * BLOCK:,} calls of each part by itself, interleaved as above. The rest of ours is "
        "time to live, counters, uses, connections, locks, and calls between the parts.",
        ("part", "ours µs", "floor µs"),
        [*rows, ("the rest", *rest), ("all of it", *(f"{whole:.1f}" for whole in wholes))],
    )
