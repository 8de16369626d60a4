"""What `SQLiteFile` promises about its connections: few are kept, and nobody waits long for one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cache_backends.sqlite_file import CONNECTIONS, SQLiteFile
from cache_backends.sqlite_rows import SCHEMA
from tests.reliability.stores import at_once

LONG_S = 60.0


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SQLiteFile]:
    """A store's file, closed afterwards."""
    file = SQLiteFile(tmp_path / "cache.db", SCHEMA)
    yield file
    file.close()


def use_at_once(file: SQLiteFile, times: int) -> set[int]:
    """The connections of so many blocks that are all open in one moment."""
    with ExitStack() as stack:
        return {id(stack.enter_context(file.connection())) for _ in range(times)}


def test_whoever_finds_all_connections_taken_gets_another_which_is_closed_afterwards(file: SQLiteFile) -> None:
    assert len(use_at_once(file, CONNECTIONS + 3)) == CONNECTIONS + 3
    assert len(file._opened) == len(file._idle) == CONNECTIONS


def test_a_connection_given_back_in_time_goes_to_who_waits(file: SQLiteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.TURN_WAIT_S", LONG_S)
    taken = [file.take() for _ in range(CONNECTIONS)]
    got: list[object] = []
    waiter = threading.Thread(target=lambda: got.append(file.take()))
    waiter.start()
    while not file._waiting:
        assert waiter.is_alive()
    file.give(taken[0])
    waiter.join(LONG_S / 2)  # it does not come to that by itself
    assert got == [taken[0]]
    assert len(file._opened) == CONNECTIONS


def test_where_the_file_was_replaced_no_connection_to_the_old_one_is_used_again(file: SQLiteFile) -> None:
    taken = [file.take() for _ in range(CONNECTIONS)]
    for name in file.path.parent.glob("cache.db*"):
        name.rename(name.with_suffix(".away"))
    file.give(taken.pop())  # nobody knows of it yet
    opened = file._open_ready()
    assert opened.inode == file.path.stat().st_ino
    assert list(file._idle) == []
    for connection in taken:
        file.give(connection)
    assert list(file._idle) == []
    file.give(opened)
    assert list(file._idle) == [opened]


def test_a_crowd_of_readers_leaves_no_more_than_the_connections_that_are_kept(file: SQLiteFile) -> None:
    def read() -> None:
        for _ in range(200):
            assert file.row("select 1", ()) == 1

    at_once(*[read] * (8 * CONNECTIONS))
    assert len(file._opened) == len(file._idle) <= CONNECTIONS
