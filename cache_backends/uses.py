"""Uses of entries that are noted in memory until somebody has time to write them."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from cache_backends.forks import Forkable, tell_of_forks

Place = TypeVar("Place")
"""How a backend finds an entry again."""

MOST_NOTED = 100_000
"""Entries whose use may wait to be written; uses of more entries are then not noted."""

MANY = 1_000
"""With so many noted, whoever stores next writes them."""


class UnwrittenUses(Forkable, Generic[Place]):
    """How often and when entries were used since that was last written. One per store and process."""

    def __init__(self) -> None:
        self._noted: dict[Place, tuple[int, float]] = {}
        self._lock = threading.Lock()
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """What was not written yet, the parent writes."""
        self._lock = threading.Lock()
        self._noted = {}

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, place: Place, now: float) -> None:
        """Note one use at the Unix time `now`."""
        with self._lock:
            noted = self._noted.get(place)
            if noted is not None:
                self._noted[place] = (noted[0] + 1, max(noted[1], now))
            elif len(self._noted) < MOST_NOTED:
                self._noted[place] = (1, now)

    def forget(self, place: Place) -> None:
        """Forget the uses of an entry that is replaced."""
        if place in self._noted:
            with self._lock:
                self._noted.pop(place, None)

    def take(self, most: int) -> list[tuple[Place, int, float]]:
        """Up to `most` entries to write now: place, uses, Unix time of the last. They count as written."""
        with self._lock:
            places = [place for place, _ in zip(self._noted, range(most), strict=False)]
            return [(place, *self._noted.pop(place)) for place in places]

    def put_back(self, uses: list[tuple[Place, int, float]]) -> None:
        """Note again what could not be written."""
        with self._lock:
            for place, count, used_at in uses:
                more, later = self._noted.get(place, (0, used_at))
                self._noted[place] = (more + count, max(later, used_at))
