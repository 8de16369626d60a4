"""Files that are there whole or not at all: written beside their place, synced, renamed; leftovers are swept."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import secrets

from cache_backends.file_lock import lock_if_free

TEMPORARY_SUFFIX = ".tmp"
_TEMPORARY = re.compile(r".+\.\d+-[0-9a-f]{8}\.tmp")
"""What `_open_temporary` calls its files: nothing else is ever swept."""


def write_atomically(
    file: str, content: bytes, *, used_at: float | None = None, replacing: os.stat_result | None = None
) -> None:
    """Write a file (mode 0600) so that readers see the old content or the new, and sync it.

    `used_at` (Unix time, seconds) becomes its time of modification. Raises FileNotFoundError where the file that it is
    `replacing` is not there any more.
    """
    temporary, descriptor = _open_temporary(file)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        if used_at is not None:
            used_at_ns = nanoseconds(used_at)
            os.utime(descriptor, ns=(used_at_ns, used_at_ns))
        os.fsync(descriptor)
        if replacing is not None and not os.path.samestat(os.stat(file), replacing):
            raise FileNotFoundError(errno.ENOENT, "Somebody has replaced it", file)
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)


def nanoseconds(unix_time_s: float) -> int:
    """A Unix time in the unit of files, of which `os.stat` makes the same float again.

    Multiplying all of it would round to steps of 256 ns, which is as far apart as floats of today are.
    """
    seconds = math.floor(unix_time_s)
    return seconds * 1_000_000_000 + round((unix_time_s - seconds) * 1_000_000_000)


def _open_temporary(file: str) -> tuple[str, int]:
    """A new file beside `file`, locked: that is how `sweep` knows the ones that a killed process left."""
    while True:
        temporary = f"{file}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            is_locked = lock_if_free(descriptor)
        except OSError:
            return temporary, descriptor  # a file system without locks, where nobody sweeps either
        try:
            if is_locked and os.fstat(descriptor).st_nlink:
                return temporary, descriptor
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        os.close(descriptor)  # somebody swept it in the moment before it was locked


def sweep(folder: str) -> None:
    """Remove what writers left in a folder that were killed: temporary files that nobody holds locked."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if _TEMPORARY.fullmatch(name):
            with contextlib.suppress(OSError):
                descriptor = os.open(f"{folder}/{name}", os.O_RDWR | os.O_CLOEXEC)
                try:
                    if lock_if_free(descriptor):
                        os.unlink(f"{folder}/{name}")
                finally:
                    os.close(descriptor)
