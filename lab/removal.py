"""Removing many entries: all that match, all that have expired, all there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cache_backends import CacheBackend, CacheError
from cache_backends.browse import Progress, no_progress
from lab.entry_filter import EntryFilter
from lab.failures import detail
from lab.indexing import StoppedError
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
        def end_if_stopping(_looked_at: int, _of: int | None) -> None:
            if job.stopping:
                raise StoppedError("It was stopped.")

        removed, after = 0, None
        try:
            is_indexed = _index(cache, end_if_stopping)
            while not job.stopping:
                page = cache.entries(
                    **bounded.query,
                    descending=False,
                    limit=REMOVED_AT_ONCE,
                    after=after,
                    up_to_date=not is_indexed,
                    progress=end_if_stopping,
                )
                removed += cache.delete(*(entry.key for entry in page.entries))
                job.show(Removing(removed, max(page.total, removed)))
                after = page.next
                if after is None:
                    _index(cache)
                    return Removal(removed)
        except StoppedError:
            pass
        except CacheError as error:
            return Removal(removed, error=detail(error))
        return Removal(removed, stopped=True)

    return remove


def expired(cache: CacheBackend, _job: RemovalJob) -> Removal:
    """Removes what has expired."""
    try:
        removed = cache.purge_expired()
    except CacheError as error:
        return Removal(0, error=detail(error))
    _index(cache)
    return Removal(removed)


def everything(cache: CacheBackend, _job: RemovalJob) -> Removal:
    """Removes every entry of the namespace."""
    try:
        entries = cache.stats().entries
        cache.clear()
    except CacheError as error:
        return Removal(0, error=detail(error))
    _index(cache)
    return Removal(entries)


def _index(cache: CacheBackend, progress: Progress = no_progress) -> bool:
    """Bring the index up to date; whether that was possible. On a full disk it is not, and removing is what helps."""
    try:
        cache.bring_up_to_date(progress)
    except CacheError:
        return False
    return True
