"""The limits of a persistent store, and when a process that stores should look whether they are kept."""

from __future__ import annotations

import math
import threading

from cache_backends.forks import Forkable, tell_of_forks

CHECKS = 100
"""Limits are checked each time a hundredth of them was stored: counting costs more than storing."""


class Limits(Forkable):
    """The limits of one store, and how much this process has stored since it last looked at them."""

    def __init__(self, max_entries: int | None, max_bytes: int | None) -> None:
        self.max_entries = math.inf if max_entries is None else max_entries
        self.max_bytes = math.inf if max_bytes is None else max_bytes
        self.exist = max_entries is not None or max_bytes is not None
        self._entries = self._bytes = math.inf  # a process that stores little must look too
        self.evicting = threading.Lock()
        """Held by the thread that evicts: two at once would remove twice as much."""
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """A thread of the parent may be evicting."""
        self.evicting = threading.Lock()

    def are_due(self, stored_bytes: int) -> bool:
        """Whether it is time to look, now that one more entry was stored."""
        self._entries += 1
        self._bytes += stored_bytes
        if self._entries < self.max_entries / CHECKS and self._bytes < self.max_bytes / CHECKS:
            return False
        self._entries = self._bytes = 0
        return True
