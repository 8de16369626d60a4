"""A lock between processes on a file, freed by the kernel when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOTHING_BUT_FILES = os.O_NOFOLLOW | os.O_NONBLOCK
"""For files that others may have put there: a link is refused, a pipe that nobody writes to is not waited for."""


@contextmanager
def file_lock(path: str | Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock file `path` (made when missing, mode 0600) until the block ends; waits for other holders.

    Several may hold it at once where all of them hold it `shared`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        _unlock_and_close(descriptor)


@contextmanager
def locked(file: str) -> Iterator[int]:
    """A file that is there, open for reading and writing, and locked until the block ends; waits for other holders.

    By the time it is locked, another file may have its name. Raises FileNotFoundError where there is none.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | NOTHING_BUT_FILES)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        _unlock_and_close(descriptor)


def _unlock_and_close(descriptor: int) -> None:
    """Closing alone frees nothing while a child lives that another thread has forked meanwhile: it has a copy."""
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


@contextmanager
def held_still(descriptor: int) -> Iterator[None]:
    """Keep an open file from being `locked` by others until the block ends; waits for those who have it locked now."""
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def lock_if_free(descriptor: int) -> bool:
    """Lock an open file until it is closed, unless somebody holds it; whether that worked.

    Raises OSError where the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
