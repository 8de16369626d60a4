"""Uses of entries that are noted in memory until somebody has time to write them."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

from cache_backends.forks import Forkable, tell_of_forks

Place = TypeVar("Place")
"""How a backend finds an entry again."""

MOST_NOTED = 100_000
"""Entries whose use may wait to be written; uses of more entries are then not noted."""

MANY = 1_000
"""With so many entries noted, whoever stores next writes them."""

ADDED_UP_AFTER = 4_096
"""Uses that are only listed, which takes a hit a tenth of a microsecond, before they are added up by entry."""


class UnwrittenUses(Forkable, Generic[Place]):
    """How often and when entries were used since that was last written. One per store and process."""

    def __init__(self) -> None:
        self._listed: deque[tuple[Place, float]] = deque()
        self._added_up: dict[Place, tuple[int, float]] = {}
        self._lock = threading.Lock()
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """What was not written yet, the parent writes."""
        self._lock = threading.Lock()
        self._listed = deque()
        self._added_up = {}

    def note(self, place: Place, now: float) -> None:
        """Note one use at the Unix time `now`."""
        self._listed.append((place, now))
        if len(self._listed) >= ADDED_UP_AFTER:
            with self._lock:
                self._add_up()

    def are_many(self) -> bool:
        """Whether it is time to write them."""
        if len(self._listed) + len(self._added_up) < MANY:
            return False
        with self._lock:
            self._add_up()
            return len(self._added_up) >= MANY

    def forget(self, place: Place) -> None:
        """Forget the uses of an entry that is replaced."""
        if self._listed or self._added_up:
            with self._lock:
                self._add_up()
                self._added_up.pop(place, None)

    def take(self, most: int) -> list[tuple[Place, int, float]]:
        """Up to `most` entries to write now: place, uses, Unix time of the last. They count as written."""
        with self._lock:
            self._add_up()
            places = [place for place, _ in zip(self._added_up, range(most), strict=False)]
            return [(place, *self._added_up.pop(place)) for place in places]

    def put_back(self, uses: list[tuple[Place, int, float]]) -> None:
        """Note again what could not be written."""
        with self._lock:
            for place, count, used_at in uses:
                self._add(place, count, used_at)

    def _add_up(self) -> None:
        listed = self._listed
        for _ in range(len(listed)):
            place, used_at = listed.popleft()
            self._add(place, 1, used_at)

    def _add(self, place: Place, count: int, used_at: float) -> None:
        noted = self._added_up.get(place)
        if noted is not None:
            self._added_up[place] = (noted[0] + count, max(noted[1], used_at))
        elif len(self._added_up) < MOST_NOTED:
            self._added_up[place] = (count, used_at)
