"""Disks that fail: the n-th call to the system fails, or every call from the n-th on, as Python and SQLite make them.

Only for a child process: the faulty file system of SQLite becomes that process's default.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import apsw

_OS_CALLS = (
    *("open", "close", "read", "write", "pread", "pwrite", "fsync", "fdatasync", "truncate", "ftruncate"),
    *("replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir", "utime", "chmod", "fchmod"),
    *("stat", "lstat", "fstat", "listdir", "scandir"),
)
_CALLS: tuple[tuple[Any, str], ...] = (
    (builtins, "open"),
    (io, "open"),
    (fcntl, "flock"),
    *((os, name) for name in _OS_CALLS),
)
"""Where Python's own calls to the system go through."""


class Faults:
    """Counts calls to the system, and says which of them fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._first = 0
        self._lasting = False
        self._number = errno.EIO
        self._active = False

    @contextmanager
    def failing(self, first: int, *, lasting: bool, number: int) -> Iterator[None]:
        """Inside the block the call of that place (from 1) fails with that `errno`, and if `lasting` all after it."""
        self.calls = []
        self._first, self._lasting, self._number, self._active = first, lasting, number, True
        try:
            yield
        finally:
            self._active = False

    @property
    def struck(self) -> bool:
        """Whether any call failed in the last block."""
        return len(self.calls) >= self._first

    def strikes(self, call: str) -> bool:
        """Note a call; whether it fails."""
        if not self._active:
            return False
        self.calls.append(call)
        return len(self.calls) == self._first or (self._lasting and len(self.calls) > self._first)

    def os_error(self) -> OSError:
        """What the system reports to Python."""
        return OSError(self._number, os.strerror(self._number))

    def sqlite_error(self, call: str) -> Exception:
        """What the system reports to SQLite by way of its file system."""
        if call == "xOpen":
            return apsw.exception_for(apsw.SQLITE_CANTOPEN)
        if self._number == errno.ENOSPC and call in ("xWrite", "xFileControl"):
            return apsw.exception_for(apsw.SQLITE_FULL)
        return apsw.exception_for(_EXTENDED.get(call, apsw.SQLITE_IOERR))


_EXTENDED = {
    "xRead": apsw.SQLITE_IOERR_READ,
    "xWrite": apsw.SQLITE_IOERR_WRITE,
    "xSync": apsw.SQLITE_IOERR_FSYNC,
    "xTruncate": apsw.SQLITE_IOERR_TRUNCATE,
    "xFileSize": apsw.SQLITE_IOERR_FSTAT,
    "xLock": apsw.SQLITE_IOERR_LOCK,
    "xUnlock": apsw.SQLITE_IOERR_UNLOCK,
    "xClose": apsw.SQLITE_IOERR_CLOSE,
    "xDelete": apsw.SQLITE_IOERR_DELETE,
    "xAccess": apsw.SQLITE_IOERR_ACCESS,
}


@contextmanager
def in_python(faults: Faults) -> Iterator[None]:
    """Python's calls to the system go by `faults` until the block ends."""
    with ExitStack() as patches:
        for module, name in _CALLS:
            patches.enter_context(mock.patch.object(module, name, _faulty(faults, name, getattr(module, name))))
        yield


def _faulty(faults: Faults, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        if faults.strikes(name):
            if name == "write":  # a disk that fails may have taken a part
                real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            elif name == "close":  # Linux closes the descriptor, whatever it reports
                real(*arguments)
            raise faults.os_error()
        return real(*arguments, **keywords)

    return call


class _FaultyFile(apsw.VFSFile):
    """A file of SQLite whose calls go by `faults`."""

    def __init__(self, faults: Faults, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._faults = faults

    def _strike(self, call: str) -> None:
        if self._faults.strikes(call):
            raise self._faults.sqlite_error(call)

    def xRead(self, amount: int, offset: int) -> bytes:
        self._strike("xRead")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._faults.strikes("xWrite"):
            super().xWrite(data[: len(data) // 2], offset)  # a disk that fails may have taken a part
            raise self._faults.sqlite_error("xWrite")
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._strike("xTruncate")
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        self._strike("xSync")
        super().xSync(flags)

    def xFileSize(self) -> int:
        self._strike("xFileSize")
        return super().xFileSize()

    def xFileControl(self, operation: int, pointer: int) -> bool:
        self._strike("xFileControl")
        return super().xFileControl(operation, pointer)

    def xLock(self, level: int) -> None:
        self._strike("xLock")
        super().xLock(level)

    def xClose(self) -> None:
        super().xClose()
        self._strike("xClose")


class FaultyFileSystem(apsw.VFS):
    """SQLite's file system with calls that go by `faults`; the default of this process for as long as it is held."""

    def __init__(self, faults: Faults) -> None:
        super().__init__("faulty", "unix", makedefault=True)
        self._faults = faults

    def _strike(self, call: str) -> None:
        if self._faults.strikes(call):
            raise self._faults.sqlite_error(call)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        self._strike("xOpen")
        return _FaultyFile(self._faults, name, flags)

    def xDelete(self, filename: str, sync_folder: bool) -> None:
        self._strike("xDelete")
        super().xDelete(filename, sync_folder)

    def xAccess(self, pathname: str, flags: int) -> bool:
        self._strike("xAccess")
        return super().xAccess(pathname, flags)
