"""Waiting: a quick job is done anew at each run of the script, a slow one is neither lost nor begun again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab import jobs as jobs_module
from lab.jobs import Job, Jobs, TooManyJobsError
from tests.cache_backends.flights import LONG_S
from tests.lab.building import Clock
from ui import waiting
from ui.waiting import begin, wait_for

AnyJob = Job[Any, Any]


class Session:
    """One browser session: its state, a clock, and work that waits or not."""

    def __init__(self, clock: Clock) -> None:
        self.jobs = Jobs()
        self.clock = clock
        self.goes_on = threading.Event()
        self.begun: list[AnyJob] = []

    def slow(self) -> AnyJob:
        """Begin work that takes until `goes_on`."""
        return self._note(self.jobs.start(lambda job: self.goes_on.wait(LONG_S) and not job.stopping))

    def quick(self) -> AnyJob:
        """Begin work that has ended."""
        job: AnyJob = self._note(self.jobs.start(lambda _: "done"))
        assert job.wait(LONG_S)
        return job

    def run(
        self, start: Callable[[], AnyJob], key: object = "a", *, keep_s: float | None = None, takes_s: float = 0.0
    ) -> tuple[AnyJob, bool]:
        """One run of the script that waits for a job; the job, and whether it had ended."""
        job = begin("slot", key, start, keep_s=keep_s)
        self.clock.advance(takes_s)
        return job, wait_for("slot", patience_s=0.0 if not job.finished else LONG_S)

    def end(self) -> None:
        """Let all that is slow end."""
        self.goes_on.set()
        for job in self.begun:
            assert job.wait(LONG_S)

    def _note(self, job: AnyJob) -> AnyJob:
        job.began_at = self.clock.now
        self.begun.append(job)
        return job


@pytest.fixture
def session(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    made = Session(clock)
    monkeypatch.setattr(waiting.st, "session_state", {})
    monkeypatch.setattr(waiting.time, "monotonic", clock)
    monkeypatch.setattr(waiting, "laboratory", lambda: made)
    yield made
    monkeypatch.undo()
    made.end()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_quick_job_is_done_anew_at_each_run(session: Session) -> None:
    first, ended = session.run(session.quick)
    second, _ = session.run(session.quick)
    assert ended
    assert second is not first
    assert second.result == "done"


def test_a_slow_job_is_not_begun_anew(session: Session) -> None:
    first, ended = session.run(session.slow)
    assert not ended
    assert session.run(session.slow) == (first, False)
    session.end()
    assert session.run(session.slow) == (first, True)
    assert session.run(session.slow) == (first, True), "its result is kept, since it took a while"
    assert len(session.begun) == 1


def test_a_slow_job_for_something_else_stops_the_one_before(session: Session) -> None:
    first, _ = session.run(session.slow, "a")
    second, ended = session.run(session.quick, "b")
    assert first.stopping
    assert ended
    assert second is not first
    assert session.jobs.get(first.id) is None


def test_a_slow_job_that_failed_is_not_tried_again_by_itself(session: Session) -> None:
    def fail(job: AnyJob) -> None:
        session.goes_on.wait(LONG_S)
        raise OSError("down")

    def start() -> AnyJob:
        session.begun.append(session.jobs.start(fail))
        return session.begun[-1]

    first, _ = session.run(start)
    session.end()
    job, ended = session.run(start)
    assert (job, ended, str(job.error)) == (first, True, "down")


def test_what_took_a_while_is_kept_for_as_long_as_it_may_be_old(session: Session) -> None:
    first, _ = session.run(session.quick, keep_s=10.0, takes_s=1.0)
    session.clock.advance(9.9)
    assert session.run(session.quick, keep_s=10.0)[0] is first
    session.clock.advance(0.2)
    assert session.run(session.quick, keep_s=10.0)[0] is not first


def test_what_was_not_waited_for_is_kept_as_long_once_it_was_seen_to_have_ended(session: Session) -> None:
    first, ended = session.run(session.slow, keep_s=10.0)
    assert not ended
    session.end()
    session.clock.advance(100.0)
    assert session.run(session.slow, keep_s=10.0) == (first, True)
    session.clock.advance(9.9)
    assert session.run(session.slow, keep_s=10.0) == (first, True)
    session.clock.advance(0.2)
    assert session.run(session.slow, keep_s=10.0)[0] is not first


def test_what_runs_still_is_not_begun_again_though_nobody_waited_for_it(session: Session) -> None:
    first = begin("slot", "a", session.slow)
    assert begin("slot", "a", session.slow) is first
    assert not first.stopping


def test_what_took_no_time_is_not_kept(session: Session) -> None:
    first, _ = session.run(session.quick, keep_s=10.0, takes_s=waiting.COSTLY_S / 2)
    assert session.run(session.quick, keep_s=10.0)[0] is not first


def test_what_is_kept_is_done_anew_for_something_else(session: Session) -> None:
    first, _ = session.run(session.quick, "a", keep_s=10.0, takes_s=1.0)
    assert session.run(session.quick, "b", keep_s=10.0, takes_s=1.0)[0] is not first


def test_slots_know_nothing_of_each_other(session: Session) -> None:
    first = begin("one", "a", session.slow)
    assert begin("two", "a", session.slow) is not first
    assert not first.stopping
    assert not wait_for("one", 0.0)
    assert begin("one", "a", session.slow) is first


def test_where_too_many_jobs_run_it_says_so_and_another_run_tries_again(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.run(session.slow, "a")
    with monkeypatch.context() as limited:
        limited.setattr(jobs_module, "MAX_RUNNING", 0)
        with pytest.raises(TooManyJobsError):
            session.run(session.slow, "b")
    job, _ = session.run(session.quick, "a")
    assert not job.stopping, "the one before was stopped for one that was never begun"
