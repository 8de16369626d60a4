"""Browsing very many entries on servers: how long a page takes, and what others who use the server feel of it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import other_clients
from benchmarks.many_entries import DESCRIPTION, FREQUENT, FREQUENT_EVERY, RARE, RARE_EVERY, many_entries
from benchmarks.served import DURABILITY, Running, running
from benchmarks.tables import Goal, Table, goals_table
from cache_backends import CacheBackend

ENTRIES = 100_000
TIMES = 5
PAGE_GOAL_S = 0.2
STOP_GOAL_S = 0.2
SEARCHES: tuple[tuple[str, str], ...] = (
    (RARE, "hits"),
    (RARE, "expires_at"),
    (FREQUENT, "size_bytes"),
    (FREQUENT, "hits"),
    (FREQUENT, "expires_at"),
)
FOUND = {RARE: ENTRIES // RARE_EVERY, FREQUENT: ENTRIES // FREQUENT_EVERY}


def measure() -> list[Table]:
    """One table of goals for all servers, and one of the other clients."""
    with running() as (servers, missing):
        caches = {server.name: server.cache() for server in servers}
        _fill(servers, caches)
        goals = [goal for server in servers for goal in _goals(server, caches[server.name])]
        others = other_clients.table(servers)
        for cache in caches.values():
            cache.close()
    how = (
        f"{ENTRIES:,} entries in each: {DESCRIPTION}. Seconds, medians of {TIMES}; pages of 50, with the number of all "
        f'that match. The words are in {FOUND[RARE]:,} and in {FOUND[FREQUENT]:,} entries. "Stopped": from the error '
        f"that `progress` raises to the end of the search. {DURABILITY} {missing}"
    )
    return [goals_table("Browsing on servers", how.strip(), goals), others]


def _fill(servers: Sequence[Running], caches: dict[str, CacheBackend]) -> None:
    for portion in many_entries(ENTRIES):
        for server in servers:
            server.kind.load(caches[server.name], portion)
    for server in servers:
        server.kind.settle(server.url)


def _goals(server: Running, cache: CacheBackend) -> list[Goal]:
    name, goals = server.name, []
    after = cache.entries().next
    goals.append(Goal.at_most(f"{name}: newest first", PAGE_GOAL_S, _median_s(cache.entries)))
    goals.append(Goal.at_most(f"{name}: the next page", PAGE_GOAL_S, _median_s(lambda: cache.entries(after=after))))
    for word, order in SEARCHES:
        query: dict[str, Any] = {"search": word, "order_by": order}
        assert cache.entries(**query).total == FOUND[word]
        goals.append(
            Goal.at_most(
                f"{name}: search for {FOUND[word]:,}, by {order}",
                server.kind.search_goal_s,
                _median_s(lambda query=query: cache.entries(**query)),
            )
        )
    if server.kind.reports_progress:
        told, stopped_s = _progress(cache)
        goals.append(Goal.at_least(f"{name}: times that a search tells its progress", 100, told))
        goals.append(Goal.at_most(f"{name}: stopped", STOP_GOAL_S, stopped_s))
    return goals


def _median_s(page: Callable[[], object]) -> float:
    seconds = []
    for _ in range(TIMES):
        gc.collect()
        began = time.perf_counter()
        page()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


class StoppedError(Exception):
    """What a person who has seen enough raises."""


def _progress(cache: CacheBackend) -> tuple[int, float]:
    """How often a search tells how far it is, and how long it goes on when it is told to stop halfway."""
    told: list[int] = []
    cache.entries(search=RARE, progress=lambda looked_at, _: told.append(looked_at))
    raised_at = 0.0

    def stop(looked_at: int, _: int | None) -> None:
        nonlocal raised_at
        if looked_at > ENTRIES // 2:
            raised_at = time.perf_counter()
            raise StoppedError

    try:
        cache.entries(search=RARE, progress=stop)
    except StoppedError:
        return len(told), time.perf_counter() - raised_at
    raise AssertionError("the search went on")
