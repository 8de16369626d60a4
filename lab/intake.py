"""What every import has in common: entries go in one by one, mistakes are noted, and the result tells all of it."""

from __future__ import annotations

from dataclasses import dataclass

from cache_backends import CacheBackend, CacheEntry
from cache_backends.errors import NotCacheableError

MOST_MISTAKES = 1_000
"""Mistakes that are kept as sentences; the others are counted."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """Why a line of a file, or a row of a table, did not go in."""

    number: int
    """Of the line, from 1; of the row, as the table numbers it."""
    sentence: str


@dataclass(frozen=True, slots=True)
class Importing:
    """How far an import is: lines or rows that were read, and entries that went in."""

    read: int
    imported: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What became of an import, also of one that was stopped or failed: what went in stays."""

    imported: int
    """Entries that went in, those that replaced another among them."""
    replaced: int
    already_there: int
    """Entries that did not go in, since there was one with their key."""
    unverified: int
    """Of those that went in: entries whose key can't be checked, since a secret was taken out of their parameters."""
    skipped: int
    """Answers of other namespaces."""
    mistakes: tuple[Mistake, ...]
    """The first of them, at most `MOST_MISTAKES`."""
    mistakes_in_all: int
    stopped: bool
    """A person stopped it."""
    error: str | None
    """Why it could not go on, in a sentence."""


class Intake:
    """Puts entries into a cache and keeps count. Not for several threads at once."""

    def __init__(self, cache: CacheBackend, *, overwrite: bool) -> None:
        self.cache = cache
        self.skipped = 0
        self._overwrite = overwrite
        self._imported = self._replaced = self._already_there = self._unverified = 0
        self._mistakes: list[Mistake] = []
        self._mistakes_in_all = 0

    def refuse(self, number: int, sentence: str) -> None:
        """Note a mistake."""
        self._mistakes_in_all += 1
        if len(self._mistakes) < MOST_MISTAKES:
            self._mistakes.append(Mistake(number, sentence))

    def put(self, number: int, entry: CacheEntry, *, is_verified: bool = True) -> None:
        """Put an entry in, unless one is there that is to stay. Raises `CacheError` where the store fails."""
        there = self.cache.get(entry.key)
        if there is not None and not self._overwrite:
            self._already_there += 1
            return
        if there is not None and not is_verified and there.raw_prompt != entry.raw_prompt:
            self.refuse(number, "under this key, which can't be checked, lies the answer to another prompt, and stays.")
            return
        try:
            self.cache.restore(entry)
        except NotCacheableError as error:
            self.refuse(number, f"the entry can't be kept: {error}.")
            return
        self._imported += 1
        self._replaced += there is not None
        self._unverified += not is_verified

    def so_far(self, read: int) -> Importing:
        """How far it is, for `Job.show`."""
        return Importing(read, self._imported)

    def result(self, *, stopped: bool = False, error: str | None = None) -> ImportResult:
        """What became of it."""
        return ImportResult(
            imported=self._imported,
            replaced=self._replaced,
            already_there=self._already_there,
            unverified=self._unverified,
            skipped=self.skipped,
            mistakes=tuple(self._mistakes),
            mistakes_in_all=self._mistakes_in_all,
            stopped=stopped,
            error=error,
        )
