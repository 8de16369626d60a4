"""Bringing indexes for browsing up to date: one job for each strategy, whoever browses it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cache_backends import CacheBackend
from lab.jobs import Job, Jobs, RefusedError

Result = TypeVar("Result")

RESTED, MOST_RESTED_S = 4, 2.0
"""So many times as long as it took, an index is left alone, and at most so long."""
LOOKED_FOR_NEW, MOST_LOOKED_FOR_NEW_S = 20, 15.0
"""So many times as long as it took, after a look at the whole store, only what is new is looked for, and at most so
long: in a store that others change all the time, whoever turns pages would else have it looked through for each."""


class StoppedError(RefusedError):
    """A person has stopped it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How many entries were looked at, and of how many if that is known."""

    looked_at: int
    of: int | None


IndexJob = Job[Progress, None]


class Indexing:
    """The newest job of each strategy."""

    def __init__(self, jobs: Jobs, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._jobs = jobs
        self._monotonic = monotonic
        self._newest: dict[str, IndexJob] = {}
        self._looking: set[str] = set()
        """Strategies whose newest job will still see what is changed now."""
        self._changed: set[str] = set()
        """Of those, the ones in which something was changed since it began to look."""
        self._rests_until: dict[str, float] = {}
        self._only_new_until: dict[str, float] = {}
        self._lock = threading.Lock()

    def begin(self, strategy: str, open_cache: Callable[[], CacheBackend], *, at_once: bool = False) -> IndexJob:
        """The job that brings a strategy's index up to date: the one that does so already, else a new one.

        For a while after a look at the whole store a new one only finds what was stored since. Soon after the last one
        has ended that is the last one. With `at_once`, since something was changed or somebody has just come, the whole
        store is looked at, and without a rest. Raises `jobs.TooManyJobsError`.
        """
        with self._lock:
            job = self._newest.get(strategy)
            if job is not None:
                if strategy in self._looking:
                    if at_once:
                        self._changed.add(strategy)
                    return job
                if not at_once and self._monotonic() < self._rests_until.get(strategy, 0.0):
                    return job
                self._jobs.forget(job.id)
            only_new = not at_once and self._monotonic() < self._only_new_until.get(strategy, 0.0)
            job = self._newest[strategy] = self._jobs.start(
                lambda job: self._update(strategy, open_cache, job, only_new=only_new)
            )
            self._looking.add(strategy)
            return job

    def _update(self, strategy: str, open_cache: Callable[[], CacheBackend], job: IndexJob, *, only_new: bool) -> None:
        try:
            self._look(strategy, open_cache, job, only_new=only_new)
            while self._is_changed(strategy):
                self._look(strategy, open_cache, job, only_new=False)
        except BaseException as error:
            with self._lock:
                self._looking.discard(strategy)
                self._changed.discard(strategy)
            if not isinstance(error, StoppedError):
                raise

    def _look(self, strategy: str, open_cache: Callable[[], CacheBackend], job: IndexJob, *, only_new: bool) -> None:
        began = self._monotonic()
        try:
            open_cache().bring_up_to_date(telling(job), only_new=only_new)
        finally:
            ended = self._monotonic()
            self._rests_until[strategy] = ended + min(RESTED * (ended - began), MOST_RESTED_S)
        if not only_new:
            self._only_new_until[strategy] = ended + min(LOOKED_FOR_NEW * (ended - began), MOST_LOOKED_FOR_NEW_S)

    def _is_changed(self, strategy: str) -> bool:
        with self._lock:
            if strategy in self._changed:
                self._changed.discard(strategy)
                return True
            self._looking.discard(strategy)
            return False


def telling(job: Job[Progress, Result]) -> Callable[[int, int | None], None]:
    """What tells a job how far it is, and ends it when it should stop."""

    def progress(looked_at: int, of: int | None) -> None:
        job.show(Progress(looked_at, of))
        if job.stopping:
            raise StoppedError("It was stopped.")

    return progress
