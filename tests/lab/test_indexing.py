"""Bringing indexes up to date: one job a strategy, whoever asks; rests after a slow run; nothing new is overlooked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from cache_backends import CacheBackend, CacheUnavailableError, MemoryCache
from cache_backends.browse import Progress as Told
from cache_backends.browse import no_progress
from lab import jobs as jobs_module
from lab.indexing import LOOKED_FOR_NEW, MOST_LOOKED_FOR_NEW_S, MOST_RESTED_S, RESTED, Indexing, Progress, StoppedError
from lab.jobs import Jobs, TooManyJobsError
from tests.cache_backends.flights import LONG_S
from tests.lab.building import Clock
from tests.lab.entries import DOWN, Slow, Troubled, done


class Timed(MemoryCache):
    """Its index takes so many seconds of a clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.time = clock
        self.takes_s = 0.0
        self.fails = False
        self.only_new: list[bool] = []
        """Of each time it was brought up to date."""

    @property
    def updates(self) -> int:
        return len(self.only_new)

    def bring_up_to_date(self, progress: Told = no_progress, *, only_new: bool = False) -> None:
        self.only_new.append(only_new)
        self.time.advance(self.takes_s)
        if self.fails:
            raise CacheUnavailableError(DOWN)


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def indexing(jobs: Jobs, clock: Clock) -> Indexing:
    return Indexing(jobs, monotonic=clock)


@pytest.fixture
def slow() -> Iterator[Slow]:
    cache = Slow()
    cache.slow = {"index"}
    yield cache
    cache.goes_on.set()


def opens(cache: CacheBackend) -> Callable[[], CacheBackend]:
    return lambda: cache


def test_who_asks_while_a_job_runs_gets_that_job(indexing: Indexing, slow: Slow) -> None:
    job = indexing.begin("a", opens(slow))
    assert slow.waits.wait(LONG_S)
    assert indexing.begin("a", opens(slow)) is job
    assert indexing.begin("a", opens(slow), at_once=True) is job
    assert slow.calls == ["index"]


def test_who_asks_at_the_same_time_gets_the_same_job(indexing: Indexing, slow: Slow) -> None:
    together = threading.Barrier(8, timeout=LONG_S)
    got = []

    def ask() -> None:
        together.wait()
        got.append(indexing.begin("a", opens(slow)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert len({id(job) for job in got}) == 1


def test_each_strategy_has_a_job_of_its_own(indexing: Indexing, slow: Slow, clock: Clock) -> None:
    first = indexing.begin("a", opens(slow))
    other = indexing.begin("b", opens(Timed(clock)))
    assert done(other) is not first
    assert not first.finished


def test_it_tells_how_far_it_is(indexing: Indexing, slow: Slow) -> None:
    job = indexing.begin("a", opens(slow))
    assert slow.waits.wait(LONG_S)
    assert job.progress == [Progress(30, 100)]


def test_a_quick_one_is_done_anew_each_time(indexing: Indexing, clock: Clock) -> None:
    cache = Timed(clock)
    first = done(indexing.begin("a", opens(cache)))
    assert done(indexing.begin("a", opens(cache))) is not first
    assert cache.updates == 2


@pytest.mark.parametrize(("takes_s", "rests_s"), [(0.1, 0.1 * RESTED), (600.0, MOST_RESTED_S)])
def test_after_a_slow_one_it_rests_for_a_while(
    indexing: Indexing, clock: Clock, takes_s: float, rests_s: float
) -> None:
    cache = Timed(clock)
    cache.takes_s = takes_s
    first = done(indexing.begin("a", opens(cache)))
    clock.advance(rests_s - 0.01)
    assert indexing.begin("a", opens(cache)) is first
    clock.advance(0.02)
    assert done(indexing.begin("a", opens(cache))) is not first
    assert cache.updates == 2


@pytest.mark.parametrize(("takes_s", "while_s"), [(0.1, 0.1 * LOOKED_FOR_NEW), (600.0, MOST_LOOKED_FOR_NEW_S)])
def test_for_a_while_after_a_look_at_the_whole_store_only_what_is_new_is_looked_for(
    indexing: Indexing, clock: Clock, takes_s: float, while_s: float
) -> None:
    cache = Timed(clock)
    cache.takes_s = takes_s
    done(indexing.begin("a", opens(cache)))
    cache.takes_s = 0.0
    clock.advance(while_s - 0.01)
    done(indexing.begin("a", opens(cache)))
    done(indexing.begin("a", opens(cache)))
    assert cache.only_new == [False, True, True]
    clock.advance(0.02)
    done(indexing.begin("a", opens(cache)))
    assert cache.only_new == [False, True, True, False]


def test_after_a_look_that_failed_the_whole_store_is_looked_at(indexing: Indexing, clock: Clock) -> None:
    cache = Timed(clock)
    cache.takes_s, cache.fails = 600.0, True
    done(indexing.begin("a", opens(cache)))
    cache.fails = False
    clock.advance(MOST_RESTED_S)
    done(indexing.begin("a", opens(cache)))
    assert cache.only_new == [False, False]


def test_after_a_change_the_whole_store_is_looked_at(indexing: Indexing, clock: Clock) -> None:
    cache = Timed(clock)
    cache.takes_s = 10.0
    for _ in range(2):
        done(indexing.begin("a", opens(cache), at_once=True))
    assert cache.only_new == [False, False]


def test_what_was_changed_is_indexed_without_a_rest(indexing: Indexing, clock: Clock) -> None:
    cache = Timed(clock)
    cache.takes_s = 10.0
    first = done(indexing.begin("a", opens(cache)))
    assert done(indexing.begin("a", opens(cache), at_once=True)) is not first


def test_what_was_changed_while_a_job_ran_is_looked_for_before_it_ends(indexing: Indexing, slow: Slow) -> None:
    job = indexing.begin("a", opens(slow))
    assert slow.waits.wait(LONG_S)
    assert indexing.begin("a", opens(slow), at_once=True) is job
    slow.goes_on.set()
    done(job)
    assert slow.calls == ["index", "index"], "the first time it may have looked before the change"
    assert done(indexing.begin("a", opens(slow))).error is None
    assert slow.calls == ["index", "index", "index"]


def test_one_that_failed_keeps_its_error_and_is_tried_again(indexing: Indexing, clock: Clock) -> None:
    cache = Troubled()
    cache.fail("index")
    job = done(indexing.begin("a", opens(cache)))
    assert DOWN in str(job.error)
    cache.on.clear()
    assert done(indexing.begin("a", opens(cache))).error is None


def test_one_that_was_stopped_is_no_failure(indexing: Indexing, slow: Slow) -> None:
    job = indexing.begin("a", opens(slow))
    assert slow.waits.wait(LONG_S)
    job.stop()
    slow.goes_on.set()
    assert done(job).error is None
    assert not isinstance(job.error, StoppedError)


def test_a_store_that_can_not_be_opened_is_a_failed_job(indexing: Indexing) -> None:
    def fail() -> CacheBackend:
        raise ValueError("no such strategy")

    assert isinstance(done(indexing.begin("a", fail)).error, ValueError)


def test_where_too_many_jobs_run_it_says_so_and_begins_later(
    indexing: Indexing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as limited:
        limited.setattr(jobs_module, "MAX_RUNNING", 0)
        with pytest.raises(TooManyJobsError):
            indexing.begin("a", opens(Timed(clock)))
    assert done(indexing.begin("a", opens(Timed(clock)))).error is None


def test_old_jobs_are_not_piled_up(indexing: Indexing, jobs: Jobs, clock: Clock) -> None:
    begun = [done(indexing.begin("a", opens(Timed(clock)))) for _ in range(20)]
    assert sum(jobs.get(job.id) is not None for job in begun) == 1
