"""Jobs: work in a thread that can be watched, stopped and waited for, and whose result is kept."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from cache_backends import CacheUnavailableError
from lab import jobs as jobs_module
from lab.jobs import MAX_KEPT, MAX_RUNNING, Job, Jobs, RefusedError, TooManyJobsError

LONG_S = 30.0
"""A bound on waiting for what happens at once: reached only where the test fails."""


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Work waits at it. Opened at the end, so that no thread is left behind."""
    made = threading.Event()
    yield made
    made.set()


def wait_at(gate: threading.Event) -> bool:
    return gate.wait(LONG_S)


def test_the_result_is_kept(jobs: Jobs) -> None:
    job: Job[str, int] = jobs.start(lambda job: 7)
    assert job.wait(LONG_S)
    assert (job.finished, job.result, job.error, job.progress) == (True, 7, None, [])


@pytest.mark.parametrize(
    ("error", "level"),
    [(RefusedError("no such place"), logging.INFO), (CacheUnavailableError("it is locked"), logging.WARNING)],
)
def test_what_is_no_mistake_of_the_program_is_logged_in_a_line(
    jobs: Jobs, caplog: pytest.LogCaptureFixture, error: Exception, level: int
) -> None:
    def work(job: Job[str, int]) -> int:
        raise error

    with caplog.at_level(logging.INFO, "lab.jobs"):
        job = jobs.start(work)
        assert job.wait(LONG_S)
    assert job.error is error
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (level, None)
    assert str(error) in record.getMessage()


def test_an_error_is_kept_and_logged(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    def work(job: Job[str, int]) -> int:
        raise ValueError("no luck")

    job = jobs.start(work)
    assert job.wait(LONG_S)
    assert job.result is None
    assert isinstance(job.error, ValueError)
    assert "a job failed" in caplog.text
    assert "Traceback" in caplog.text


def test_what_ends_the_thread_is_an_error_too(jobs: Jobs) -> None:
    def work(job: Job[str, int]) -> int:
        raise SystemExit(3)

    job = jobs.start(work)
    assert job.wait(LONG_S)
    assert job.finished
    assert "SystemExit" in str(job.error)


def test_progress_is_seen_while_the_work_goes_on(jobs: Jobs, gate: threading.Event) -> None:
    shown = threading.Event()

    def work(job: Job[str, str]) -> str:
        job.show("one")
        job.show("two")
        shown.set()
        wait_at(gate)
        job.show("three")
        return "done"

    job = jobs.start(work)
    assert shown.wait(LONG_S)
    seen = job.progress
    assert (seen, job.finished, job.result) == (["one", "two"], False, None)
    gate.set()
    assert job.wait(LONG_S)
    assert seen == ["one", "two"]
    assert job.progress == ["one", "two", "three"]


def test_work_that_looks_stops_when_asked_to(jobs: Jobs, gate: threading.Event) -> None:
    started = threading.Event()

    def work(job: Job[str, str]) -> str:
        started.set()
        wait_at(gate)
        return "stopped" if job.stopping else "went on"

    job = jobs.start(work)
    assert started.wait(LONG_S)
    assert not job.stopping
    job.stop()
    gate.set()
    assert job.wait(LONG_S)
    assert job.result == "stopped"


def test_waiting_ends_when_the_time_is_over(jobs: Jobs, gate: threading.Event) -> None:
    job: Job[str, bool] = jobs.start(lambda job: wait_at(gate))
    assert not job.wait(0)
    assert not job.finished


def test_no_more_than_so_many_run_at_once_and_another_may_when_one_ends(jobs: Jobs, gate: threading.Event) -> None:
    one = threading.Event()
    first: Job[str, bool] = jobs.start(lambda job: wait_at(one))
    others: list[Job[str, bool]] = [jobs.start(lambda job: wait_at(gate)) for _ in range(MAX_RUNNING - 1)]
    with pytest.raises(TooManyJobsError, match="Try again in a moment"):
        jobs.start(lambda job: True)
    one.set()
    assert first.wait(LONG_S)
    again: Job[str, bool] = jobs.start(lambda job: True)
    assert again.wait(LONG_S)
    gate.set()
    assert all(job.wait(LONG_S) for job in others)


def test_a_thread_that_the_system_refuses_is_no_job(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(MAX_RUNNING + 1):
        with pytest.raises(TooManyJobsError, match="can't start new thread"):
            jobs.start(lambda job: True)
    monkeypatch.undo()
    job: Job[str, bool] = jobs.start(lambda job: True)
    assert job.wait(LONG_S)


def test_old_results_are_forgotten_and_running_jobs_are_not(
    jobs: Jobs, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "MAX_KEPT", 5)
    running: Job[str, bool] = jobs.start(lambda job: wait_at(gate))
    done: list[Job[str, int]] = []
    for number in range(20):
        job: Job[str, int] = jobs.start(partial(lambda answer, _: answer, number))
        assert job.wait(LONG_S)
        done.append(job)
    kept = list(jobs._jobs)
    assert running.id in kept
    assert len(kept) <= 5 + 2
    assert done[-1].id in kept
    assert done[0].id not in kept
    assert done[0].result == 0
    assert MAX_KEPT == 500


def test_a_job_does_not_see_the_context_of_the_page_that_began_it(jobs: Jobs) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="nobody's")
    variable.set("the page's")
    job: Job[str, str] = jobs.start(lambda job: variable.get())
    assert job.wait(LONG_S)
    assert job.result == "nobody's"


def test_ids_are_not_guessable_and_all_different(jobs: Jobs) -> None:
    ids = {Job[Any, Any]().id for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(found) for found in ids} == {16}


def test_waiting_for_all_ends_with_the_last_or_with_the_time(jobs: Jobs, gate: threading.Event) -> None:
    one = threading.Event()
    done: list[str] = []

    def work(job: Job[str, None]) -> None:
        wait_at(one)
        done.append("one")

    jobs.start(work)
    one.set()
    jobs.wait_for_all(LONG_S)
    assert done == ["one"]
    held: Job[str, bool] = jobs.start(lambda job: wait_at(gate))
    jobs.wait_for_all(0)
    assert not held.finished


def test_a_process_that_ends_waits_for_what_is_being_paid_for() -> None:
    code = """
import threading
from lab.jobs import Jobs
ending = threading.Event()
def work(job):
    ending.wait(30)
    print("stored", flush=True)
jobs = Jobs()
jobs.start(work)
import atexit
atexit.register(ending.set)
print("ends", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["ends", "stored"]
