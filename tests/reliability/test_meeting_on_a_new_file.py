"""A damaged SQLite file that several processes have open: one of them sets it aside, and all meet on the new one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import apsw
import pytest

from cache_backends import SQLiteCache
from tests.cache_backends.answers import found, store
from tests.cache_backends.processes import in_child
from tests.cache_backends.sqlite_outside import OpenSQLite, damaged_copies
from tests.reliability.proof import prove_files_sound, set_aside
from tests.reliability.workers import Worker

HEADER_BYTES = 100
FIRST_PAGE_BYTES = 16_384
STORES = 4
"""Stores of each process on the damaged file: the first ones may each meet damage once more."""


def _ruin(path: Path, first_byte: int) -> None:
    """Another program that writes to the file, and then over it."""
    connection = apsw.Connection(str(path))
    connection.execute("create table if not exists theirs (x)")
    connection.execute("insert into theirs values (1)")
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
    with open(path, "r+b") as file:
        file.seek(first_byte)
        file.write(b"\xff" * (path.stat().st_size - first_byte))


@pytest.mark.parametrize("first_byte", [0, HEADER_BYTES, FIRST_PAGE_BYTES])
@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "all at once"])
def test_processes_that_have_a_damaged_file_open_meet_on_one_new_file(
    path: Path, first_byte: int, together: bool
) -> None:
    names = ("one", "two", "three")
    last = [f"{name} {STORES - 1}" for name in names]

    def work(name: str) -> Callable[[SQLiteCache], tuple[str, ...]]:
        def run(cache: SQLiteCache) -> tuple[str, ...]:
            for number in range(12):
                assert found(cache, f"q{number}") in (None, [f"old {number} " * 100])
            for attempt in range(STORES):
                store(cache, f"{name} {attempt}", name)
            return cache.notices

        return run

    def look(cache: SQLiteCache) -> list[list[str] | None]:
        return [found(cache, prompt) for prompt in last]

    for _ in range(4):
        shutil.rmtree(path.parent, ignore_errors=True)
        with SQLiteCache(path) as cache:
            for number in range(12):
                store(cache, f"q{number}", f"old {number} " * 100)
        with ExitStack() as running:
            steps = [(lambda cache: found(cache, "q0"), work(name), look) for name in names]
            workers = [running.enter_context(Worker(lambda: SQLiteCache(path), *each)) for each in steps]
            assert [worker.run() for worker in workers] == [["old 0 " * 100]] * 3
            in_child(lambda: _ruin(path, first_byte))
            for worker in workers if together else ():
                worker.begin()
            notices = [worker.result() if together else worker.run() for worker in workers]
            seen = [worker.run() for worker in workers]
        assert seen == [[[name] for name in names]] * 3
        (aside,) = damaged_copies(path)
        told = [notice for each in notices for notice in each if f"It was kept as {aside.name}" in notice]
        assert len(told) == 1, "exactly one process sets the file aside, and says so"
        assert all(len(each) <= 2 for each in notices)
        with SQLiteCache(path) as cache:
            assert look(cache) == [[name] for name in names]
            assert cache.notices == ()
        for name in set_aside(path.parent):
            path.with_name(name).unlink()
        prove_files_sound(path.parent)


def test_what_was_set_aside_is_in_the_log_and_among_the_notices(
    open_sqlite: OpenSQLite, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_sqlite() as cache:
        store(cache, "q", "answer")
    _ruin(path, HEADER_BYTES)
    cache = open_sqlite()
    (aside,) = damaged_copies(path)
    (notice,) = cache.notices
    assert aside.name in notice
    assert notice in caplog.text
    assert "ERROR" in [record.levelname for record in caplog.records]
