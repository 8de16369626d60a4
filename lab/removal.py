"""Removing many entries: all that match, all that have expired, all there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cache_backends import CacheBackend, CacheError
from lab.entry_filter import EntryFilter
from lab.failures import detail
from lab.jobs import Job

REMOVED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Removing:
    """How far it is, in entries."""

    removed: int
    of: int


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of it. What was removed before it was stopped or failed stays removed."""

    removed: int
    stopped: bool = False
    error: str | None = None
    """Why it could not go on, in a sentence."""


RemovalJob = Job[Removing, Removal]
Remove = Callable[[CacheBackend, RemovalJob], Removal]


def matching(chosen: EntryFilter, now: float) -> Remove:
    """Removes all entries that match and were stored before the Unix time `now`, oldest first, until it is stopped."""
    before = now if chosen.created_before is None else min(now, chosen.created_before)
    bounded = replace(chosen, created_before=before)

    def remove(cache: CacheBackend, job: RemovalJob) -> Removal:
        removed, after = 0, None
        try:
            cache.bring_up_to_date()
            while not job.stopping:
                page = cache.entries(
                    **bounded.query, descending=False, limit=REMOVED_AT_ONCE, after=after, up_to_date=False
                )
                removed += cache.delete(*(entry.key for entry in page.entries))
                job.show(Removing(removed, max(page.total, removed)))
                after = page.next
                if after is None:
                    cache.bring_up_to_date()
                    return Removal(removed)
        except CacheError as error:
            return Removal(removed, error=detail(error))
        return Removal(removed, stopped=True)

    return remove


def expired(cache: CacheBackend, _job: RemovalJob) -> Removal:
    """Removes what has expired."""
    try:
        removed = cache.purge_expired()
        cache.bring_up_to_date()
    except CacheError as error:
        return Removal(0, error=detail(error))
    return Removal(removed)


def everything(cache: CacheBackend, _job: RemovalJob) -> Removal:
    """Removes every entry of the namespace."""
    try:
        entries = cache.stats().entries
        cache.clear()
        cache.bring_up_to_date()
    except CacheError as error:
        return Removal(0, error=detail(error))
    return Removal(entries)
