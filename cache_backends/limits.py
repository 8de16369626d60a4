"""The limits of a persistent store, and when a process that stores should look whether they are kept."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

from cache_backends.forks import Forkable, tell_of_forks

logger = logging.getLogger("cache_backends")

CHECKS = 100
"""Limits are checked each time a hundredth of them was stored: counting costs more than storing."""

TICK_S = 0.000001
MOST_SET_BACK_S = 366 * 86_400.0
"""A use still later than this is no use but damage."""


class Limits(Forkable):
    """The limits of one store, and how much this process has stored since it last looked at them."""

    def __init__(
        self, max_entries: int | None, max_bytes: int | None, newest_use: Callable[[], float | None] = lambda: None
    ) -> None:
        """`newest_use` finds the Unix time of the store's newest use; asked once, and only where there are limits."""
        self.max_entries = math.inf if max_entries is None else max_entries
        self.max_bytes = math.inf if max_bytes is None else max_bytes
        self.exist = max_entries is not None or max_bytes is not None
        self._entries = self._bytes = math.inf  # a process that stores little must look too
        self._newest_use: float | None = None
        self._find_newest_use = newest_use
        self.evicting = threading.Lock()
        """Held by the thread that evicts: two at once would remove twice as much."""
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """A thread of the parent may be evicting."""
        self.evicting = threading.Lock()

    def use_at(self, now: float) -> float:
        """When a use of now is said to have been: never before an earlier one, though the clock was set back.

        What was used last would else be evicted first for as long as the clock takes to catch up.
        """
        if not self.exist:
            return now
        newest = self._newest_use
        if newest is None:
            try:
                newest = self._find_newest_use() or now
            except Exception as error:  # noqa: BLE001  # an answer is worth more than the order of uses
                logger.warning("when entries were last used can't be found: %s", error)
                newest = now
        if now < newest <= now + MOST_SET_BACK_S:
            now = newest + TICK_S
        self._newest_use = now
        return now

    def are_due(self, stored_bytes: int) -> bool:
        """Whether it is time to look, now that one more entry was stored."""
        self._entries += 1
        self._bytes += stored_bytes
        if self._entries < self.max_entries / CHECKS and self._bytes < self.max_bytes / CHECKS:
            return False
        self._entries = self._bytes = 0
        return True
