"""Hits in a small and in a large `SQLiteCache`: how time grows with what is stored."""

from __future__ import annotations

import random
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import payload
from benchmarks.rounds import Operation, interleaved
from benchmarks.tables import Goal, Table, goals_table
from cache_backends import SQLiteCache
from cache_backends.codec import encode
from cache_backends.keys import request_digest
from cache_backends.sqlite_rows import KNOW_LLM_STRING, KNOW_NAMESPACE, WRITE, new_entry
from cache_backends.sqlite_schema import in_transaction
from cache_backends.storage import StoredEntry

SMALL, LARGE = 10_000, 1_000_000
A_TRANSACTION = 10_000
ROUNDS, BLOCK = 300, 20


def measure() -> list[Table]:
    """Interleaved hits on random entries of both."""
    with tempfile.TemporaryDirectory() as folder:
        caches = {entries: SQLiteCache(Path(folder) / f"{entries}.db") for entries in (SMALL, LARGE)}
        for entries, cache in caches.items():
            fill(cache, entries)
        chosen = random.Random(2)
        times = interleaved(
            {str(entries): partial(_hit, cache, entries, chosen) for entries, cache in caches.items()},
            rounds=ROUNDS,
            block=BLOCK,
        )
        size = sum(file.stat().st_size for file in Path(folder).glob(f"{LARGE}.db*")) / LARGE
        for cache in caches.values():
            cache.close()
    small, large = times[str(SMALL)], times[str(LARGE)]
    return [
        goals_table(
            f"SQLite hits at {LARGE:,} entries against {SMALL:,}",
            f"{ROUNDS * BLOCK:,} hits each on random entries, interleaved as above, files in the system's page cache. "
            f"Median {large.median_s * 1e6:.1f} µs against {small.median_s * 1e6:.1f}, "
            f"p99 {large.percentile_s(99) * 1e6:.0f} µs against {small.percentile_s(99) * 1e6:.0f}.",
            [
                Goal.at_most("median / median", 1.5, large.median_s / small.median_s),
                Goal.at_most("p99 / p99", 2, large.percentile_s(99) / small.percentile_s(99)),
                Goal.none(f"bytes an entry at {LARGE:,}", size),
            ],
        )
    ]


def fill(cache: SQLiteCache, entries: int) -> None:
    """Store answers 0, 1, 2 … in large transactions: what is measured is reading them."""
    with cache._store.file.connection() as connection:
        for first in range(0, entries, A_TRANSACTION):
            with in_transaction(connection):
                for number in range(first, min(first + A_TRANSACTION, entries)):
                    new = new_entry(_entry(number), cache.namespace)
                    if number == 0:
                        connection.execute(KNOW_NAMESPACE, new.namespace)
                        connection.execute(KNOW_LLM_STRING, new.llm_string)
                    connection.writer.execute(WRITE, new.row)


_PAYLOAD = encode(payload.answer(0))


def _entry(number: int) -> StoredEntry:
    prompt = payload.prompt(number)
    return StoredEntry(
        digest=request_digest(prompt, payload.LLM_STRING),
        payload=_PAYLOAD,
        created_at=1_700_000_000.0 + number,
        expires_at=None,
        model_time_s=1.0,
        model="gpt-4o-mini",
        raw_prompt=prompt,
        llm_string=payload.LLM_STRING,
        last_used_at=1_700_000_000.0 + number,
    )


def _hit(cache: SQLiteCache, entries: int, chosen: random.Random, _: int) -> Operation:
    return partial(cache.lookup, payload.prompt(chosen.randrange(entries)), payload.LLM_STRING)
