"""Work that stores are followed by: one thread at a time, waited for no longer than allowed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cache_backends.servers.upkeep import Upkeep
from tests.cache_backends.processes import in_child

PATIENT_S = 20


def soon() -> float:
    """Until when a test waits for what is done at once."""
    return time.monotonic() + PATIENT_S


def test_who_has_work_done_waits_for_it() -> None:
    done: list[int] = []
    upkeep = Upkeep()
    for number in range(3):
        upkeep.do(lambda number=number: done.append(number), soon())  # type: ignore[misc]
    assert done == [0, 1, 2]


def test_nobody_waits_any_longer_than_allowed_nor_for_what_another_has_begun() -> None:
    upkeep, may_end, times = Upkeep(), threading.Event(), []

    def work() -> None:
        times.append(1)
        may_end.wait(PATIENT_S)

    upkeep.do(work, time.monotonic())
    upkeep.do(work, soon())
    assert not may_end.is_set()
    may_end.set()
    upkeep.wait(soon())
    assert len(times) == 2  # once more for the second, who may have come after all was looked at


def test_work_for_many_threads_is_done_by_one_at_a_time_and_after_the_last_has_asked() -> None:
    upkeep, at_work, asked = Upkeep(), threading.Lock(), [0]
    seen = []

    def work() -> None:
        assert at_work.acquire(blocking=False)
        seen.append(asked[0])
        at_work.release()

    def ask(_: int) -> None:
        asked[0] += 1
        upkeep.do(work, soon())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(200)))
    upkeep.wait(soon())
    assert seen[-1] == 200


def test_after_work_that_failed_there_can_be_more(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    upkeep, done = Upkeep(), []
    upkeep.do(lambda: 1 // 0, soon())  # type: ignore[arg-type, return-value]
    upkeep.do(lambda: done.append(1), soon())
    assert (len(failed), done) == (1, [1])


def test_where_no_thread_can_be_had_the_work_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    upkeep, done = Upkeep(), []
    for _ in range(2):
        upkeep.do(lambda: done.append(1), soon())
    upkeep.wait(soon())
    assert done == [1, 1]


def test_a_forked_child_has_work_done_though_a_thread_of_its_parent_is_at_it() -> None:
    upkeep, may_end, done = Upkeep(), threading.Event(), []
    upkeep.do(lambda: may_end.wait(PATIENT_S) and None, time.monotonic())

    def work_here() -> list[int]:
        upkeep.do(lambda: done.append(1), soon())
        return done

    assert in_child(work_here) == [1]
    may_end.set()
    upkeep.wait(soon())
