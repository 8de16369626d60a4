"""What tests, and other programs, do to the file of a `SQLiteCache` from outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from cache_backends import SQLiteCache
from tests.cache_backends.answers import chat_prompt, store

OpenSQLite = Callable[..., SQLiteCache]


def closed_store(open_sqlite: OpenSQLite, answers: int = 20) -> None:
    """A file with answers in it, that nobody has open."""
    with open_sqlite() as cache:
        for number in range(answers):
            store(cache, chat_prompt(f"q{number}"), f"answer {number} " * 20)


def sql(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """What another program gets that runs these statements on the file; rows of the last one."""
    connection = apsw.Connection(str(path))
    try:
        for statement in statements:
            rows = list(connection.execute(statement))
        return rows
    finally:
        connection.close()


def another_program(path: Path, statement: str) -> str:
    """The first value that a statement gives to a process that has nothing to do with this one."""
    code = "import apsw, sys; print(list(apsw.Connection(sys.argv[1]).execute(sys.argv[2]))[0][0])"
    done = subprocess.run([sys.executable, "-c", code, path, statement], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def damaged_copies(path: Path) -> list[Path]:
    """Files that were set aside."""
    return sorted(copy for copy in path.parent.glob("cache.db.damaged-*") if copy.name[-4:] not in ("-wal", "-shm"))


@contextmanager
def locked(path: Path, how: str = "begin exclusive") -> Iterator[None]:
    """Another program that holds the file."""
    connection = apsw.Connection(str(path))
    connection.execute("pragma locking_mode = exclusive" if how == "begin exclusive" else "select 1")
    connection.execute(how)
    try:
        yield
    finally:
        connection.execute("rollback")
        connection.close()
