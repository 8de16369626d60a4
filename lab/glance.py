"""A store at a glance: how much it holds, how it grew, and which entries are worth most."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cache_backends import CacheBackend, CacheEntry, EntrySummary, Tally
from lab.facets import HOUR_S
from lab.prices import estimated_tokens

GROWTH_STEPS = 48
MOST_USEFUL = 10
LOOKED_AT_A_TIME, MOST_LOOKED_AT = 200, 2_000
"""Entries that are looked at for the most useful ones, the most used first."""

Price = Callable[[str, int, int], float | None]
"""US dollars for a model's name, tokens in and tokens out; None where no price is known."""


@dataclass(frozen=True, slots=True)
class Useful:
    """An entry and what its hits have saved: model time in seconds, money in US dollars."""

    entry: EntrySummary
    saved_s: float
    saved_usd: float | None
    is_estimated: bool
    """Whether its tokens are, since the answer does not say."""


@dataclass(frozen=True, slots=True)
class Glance:
    """One namespace of a store. Times are Unix times in seconds."""

    entries: int
    size_bytes: int
    expired: int
    oldest: float | None
    newest: float | None
    growth: Sequence[tuple[float, int]]
    """Times, and how many of the entries that are there now had been stored by then."""
    useful: Sequence[Useful]
    are_surely_most_useful: bool
    """Whether no entry that was not looked at can be worth more."""


def look(
    cache: CacheBackend, price: Price, progress: Callable[[int, int | None], None] = lambda _looked_at, _of: None
) -> Glance:
    """Look at a namespace. `progress` as in `CacheBackend.entries`. Raises `CacheError`, and what `progress` raises."""

    def edge(*, descending: bool) -> float | None:
        page = cache.entries(descending=descending, limit=1, up_to_date=False, progress=progress)
        return page.entries[0].created_at if page.entries else None

    oldest, newest = edge(descending=False), edge(descending=True)
    marks = _marks(oldest, newest)
    tallies = cache.tally(ages=marks, up_to_date=False, progress=progress)
    useful, are_surely = _most_useful(cache, price, progress)
    return Glance(
        entries=sum(one.entries for one in tallies),
        size_bytes=sum(one.size_bytes for one in tallies),
        expired=sum(one.entries for one in tallies if one.is_expired),
        oldest=oldest,
        newest=newest,
        growth=_growth(marks, tallies),
        useful=useful,
        are_surely_most_useful=are_surely,
    )


def _marks(oldest: float | None, newest: float | None) -> list[float]:
    """Times from the oldest entry to just after the newest: whole hours where that makes enough of them."""
    if oldest is None or newest is None or newest <= oldest:
        return []
    first, last = oldest // HOUR_S + 1, newest // HOUR_S + 1
    if last - first >= GROWTH_STEPS:
        hours = (last - first) / (GROWTH_STEPS - 1)
        return [*((first + int(number * hours)) * HOUR_S for number in range(GROWTH_STEPS - 1)), last * HOUR_S]
    step_s = (newest - oldest) / GROWTH_STEPS
    return [*(oldest + step_s * number for number in range(1, GROWTH_STEPS)), math.nextafter(newest, math.inf)]


def _growth(marks: Sequence[float], tallies: Sequence[Tally]) -> list[tuple[float, int]]:
    return [(mark, sum(one.entries for one in tallies if one.age <= number)) for number, mark in enumerate(marks)]


def _most_useful(
    cache: CacheBackend, price: Price, progress: Callable[[int, int | None], None]
) -> tuple[list[Useful], bool]:
    """Those whose hits saved most model time: by hits, until what is left has too few hits to be worth more."""
    slowest = cache.entries(order_by="model_time_s", limit=1, up_to_date=False, progress=progress).entries
    longest_s = slowest[0].model_time_s or 0.0 if slowest else 0.0
    best: list[EntrySummary] = []
    after, looked_at, surely = None, 0, False
    while looked_at < MOST_LOOKED_AT and not surely:
        page = cache.entries(order_by="hits", limit=LOOKED_AT_A_TIME, after=after, up_to_date=False, progress=progress)
        looked_at += len(page.entries)
        best = heapq.nlargest(MOST_USEFUL, [*best, *page.entries], key=_saved_s)
        after = page.next
        fewest = page.entries[-1].hits if page.entries else 0
        surely = after is None or (len(best) == MOST_USEFUL and fewest * longest_s <= _saved_s(best[-1]))
    best = [entry for entry in best if entry.hits]
    whole = {entry.key: entry for entry in cache.get_many([entry.key for entry in best])}
    return [_useful(entry, whole.get(entry.key), price) for entry in best], surely


def _saved_s(entry: EntrySummary) -> float:
    return entry.hits * (entry.model_time_s or 0.0)


def _useful(entry: EntrySummary, whole: CacheEntry | None, price: Price) -> Useful:
    if whole is None or entry.model is None:
        return Useful(entry, _saved_s(entry), None, is_estimated=False)
    tokens_in, tokens_out, is_estimated = _tokens(whole)
    usd = price(entry.model, tokens_in, tokens_out)
    return Useful(entry, _saved_s(entry), None if usd is None else usd * entry.hits, is_estimated)


def _tokens(entry: CacheEntry) -> tuple[int, int, bool]:
    """Tokens in and out of one call, and whether they are estimated."""
    for generation in entry.generations:
        usage = getattr(getattr(generation, "message", None), "usage_metadata", None) or {}
        asked, answered = usage.get("input_tokens"), usage.get("output_tokens")
        if isinstance(asked, int) and isinstance(answered, int) and min(asked, answered) >= 0:
            return asked, answered, False
    return estimated_tokens(entry.prompt), estimated_tokens(entry.text), True
