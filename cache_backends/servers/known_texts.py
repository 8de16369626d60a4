"""`KnownTexts`: which texts a process takes to be in a database already, so that not every store writes them."""

from __future__ import annotations

import time

from cache_backends.table_rows import interned_id

MOST_KNOWN = 1_000
"""Texts that a process remembers to be in the database; programs have few, and some have one for each request."""
KNOWN_FOR_S = 60.0
"""They are stored again after this: somebody may have emptied the tables."""


class KnownTexts:
    """Texts by their numbers, remembered for a while."""

    def __init__(self) -> None:
        self._numbers: set[int] = set()
        self._since = 0.0

    def unknown(self, *texts: str) -> list[tuple[int, str]]:
        """Those that may not be in the database yet, with their numbers."""
        return [(interned_id(text), text) for text in texts if interned_id(text) not in self._numbers]

    def add(self, *texts: str) -> None:
        """They are there now."""
        now = time.monotonic()
        if len(self._numbers) >= MOST_KNOWN or now - self._since > KNOWN_FOR_S:
            self._numbers.clear()
            self._since = now
        self._numbers.update(map(interned_id, texts))

    def clear(self) -> None:
        """The server may be another one now, with less in it."""
        self._numbers.clear()
