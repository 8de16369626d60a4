"""What a cache has done in this process: counts by outcome, and how long lookups and stores took."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.records import Outcome

REMEMBERED_TIMES = 10_000
"""Newest lookups and stores whose times are kept for percentiles (80 kB each)."""


class Counters(Forkable):
    """Counts since the process began, shared by all views of a store. Reading needs no lock."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.expired = 0
        self.corrupt = 0
        self.errors = 0
        self.stores = 0
        self.uncacheable = 0
        self.evictions = 0
        self._failed_stores = 0
        self._lookup_times_s: deque[float] = deque(maxlen=REMEMBERED_TIMES)
        self._store_times_s: deque[float] = deque(maxlen=REMEMBERED_TIMES)
        self._lock = threading.Lock()
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """A thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]  # a copy in another process counts from nought

    @property
    def lookups(self) -> int:
        """All lookups, whatever their outcome."""
        return self.hits + self.misses + self.expired + self.corrupt + self.errors - self._failed_stores

    def count_lookup(self, outcome: Outcome, elapsed_s: float) -> None:
        """Count one lookup."""
        self._lookup_times_s.append(elapsed_s)
        with self._lock:
            if outcome == "hit":
                self.hits += 1
            elif outcome == "miss":
                self.misses += 1
            elif outcome == "expired":
                self.expired += 1
            elif outcome == "corrupt":
                self.corrupt += 1
            else:
                self.errors += 1

    def count_store(self, elapsed_s: float) -> None:
        """Count one answer stored."""
        with self._lock:
            self.stores += 1
            self._store_times_s.append(elapsed_s)

    def count_uncacheable(self) -> None:
        """Count one answer that was not worth storing or could not be kept faithfully."""
        with self._lock:
            self.uncacheable += 1

    def count_error(self) -> None:
        """Count one store that failed."""
        with self._lock:
            self.errors += 1
            self._failed_stores += 1

    def count_evictions(self, evicted: int) -> None:
        """Count entries removed to stay within a limit."""
        with self._lock:
            self.evictions += evicted

    def lookup_percentile_s(self, percent: float) -> float | None:
        """The `percent`-th percentile (nearest rank) of the newest lookup times in seconds; None before the first."""
        return _percentile(self._lookup_times_s.copy(), percent)

    def store_percentile_s(self, percent: float) -> float | None:
        """The `percent`-th percentile (nearest rank) of the newest store times in seconds; None before the first."""
        return _percentile(self._store_times_s.copy(), percent)


def _percentile(times_s: Iterable[float], percent: float) -> float | None:
    ordered = sorted(times_s)
    if not ordered:
        return None
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
