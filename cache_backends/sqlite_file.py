"""A SQLite file that threads and processes share: its connections, and what happens when it is damaged or replaced.

Write-ahead log with `synchronous=NORMAL`: a store survives the end of the process at once, a power cut may take the
last moments, and readers never block a writer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import apsw

from cache_backends.errors import CacheConfigError, CacheError, CacheUnavailableError
from cache_backends.file_lock import file_lock

logger = logging.getLogger("cache_backends")

BUSY_TIMEOUT_MS = 5_000
"""How long a writer waits for another process's transaction."""

DAMAGE = (apsw.CorruptError, apsw.NotADBError)


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file holds, and how it is known again."""

    content: str
    """What a person calls it: "cache", "history"."""
    application_id: int
    """Marks a file as ours, see https://sqlite.org/fileformat.html#application_id."""
    version: int
    statements: tuple[str, ...]


class _Connection(apsw.Connection):
    """A connection that knows which file it belongs to: one that was set aside meanwhile is not used again."""

    epoch = 0


class SQLiteFile:
    """Connections to one SQLite file, taken and given back, never used by two threads at once."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path = path
        self.schema = schema
        self.notices: list[str] = []
        self._idle: deque[_Connection] = deque()
        self._left_to_parent: list[deque[_Connection]] = []
        self._inode: int | None = None
        self._epoch = 0
        self._closed = False
        self._lock = threading.RLock()
        _open_files.add(self)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.is_dir():
                raise CacheConfigError(f"{path} is a folder. Name a file for the {schema.content}.")
        except OSError as error:
            raise CacheUnavailableError(
                f"{path.parent} can't be used for the {schema.content}: {error.strerror}."
            ) from error
        with self.connection():
            pass

    @contextmanager
    def connection(self) -> Iterator[apsw.Connection]:
        """A connection for the block. A damaged file is set aside and a new one begun; the call still fails."""
        connection = self.take()
        try:
            yield connection
        except DAMAGE as error:
            self._set_aside(error)
            raise CacheUnavailableError(self.notices[-1]) from error
        except apsw.Error as error:
            raise CacheUnavailableError(f"{self.path}: {error}") from error
        finally:
            self.give(connection)

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """A connection inside one write transaction, on the file that has the path now."""
        self._follow_path()
        with self.connection() as connection:
            connection.execute("begin immediate")
            try:
                yield connection
                connection.execute("commit")
            except BaseException:
                with contextlib.suppress(apsw.Error):
                    connection.execute("rollback")
                raise

    def take(self) -> _Connection:
        """An idle connection, or a new one."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._open()

    def give(self, connection: _Connection) -> None:
        """Give a connection back for the next to take; one to a file that was left meanwhile is closed."""
        if self._closed or connection.epoch != self._epoch:
            connection.close()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        """Close all idle connections; whoever asks afterwards is refused."""
        self._closed = True
        self._drop_connections()

    def leave_to_parent(self) -> None:
        """After a fork: never touch the parent's connections again, not even to close them."""
        self._left_to_parent.append(self._idle)
        self._idle = deque()
        self._lock = threading.RLock()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def _drop_connections(self) -> None:
        self._epoch += 1
        while self._idle:
            with contextlib.suppress(IndexError, apsw.Error):
                self._idle.pop().close()

    def _open(self) -> _Connection:
        if self._closed:
            raise CacheUnavailableError(f"The {self.schema.content} on {self.path} was closed. Open a new one.")
        try:
            with self._lock:
                return self._open_ready()
        except DAMAGE as error:
            self._set_aside(error)
            return self._open_ready()
        except apsw.BusyError as error:
            raise CacheUnavailableError(
                f"{self.path} is locked by another program. It is used again as soon as that program lets go."
            ) from error
        except (apsw.Error, OSError) as error:
            raise CacheUnavailableError(f"{self.path} can't be opened: {error}") from error

    def _open_ready(self) -> _Connection:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would make it 0644
        connection = _Connection(str(self.path))
        connection.epoch = self._epoch
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            self._inode = os.stat(self.path).st_ino
            self._check_format(connection)
            connection.execute("pragma synchronous = normal")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_format(self, connection: apsw.Connection) -> None:
        application_id, version = connection.pragma("application_id"), connection.pragma("user_version")
        if (application_id, version) == (self.schema.application_id, self.schema.version):
            return
        if application_id == self.schema.application_id:
            raise CacheConfigError(
                f"{self.path} was made by a newer version (format {version}; this one knows up to {self.schema.version}). "
                "Update the program, or name another file."
            )
        if connection.execute("select count(*) from sqlite_schema").get:
            raise CacheConfigError(f"{self.path} is the SQLite database of another program. Name another file.")
        connection.pragma("journal_mode", "wal")
        connection.execute("begin immediate")
        if connection.pragma("application_id") != self.schema.application_id:  # else another process was first
            for statement in self.schema.statements:
                connection.execute(statement)
            connection.pragma("user_version", self.schema.version)
            connection.pragma("application_id", self.schema.application_id)
        connection.execute("commit")

    def _follow_path(self) -> None:
        """Leave a file that was deleted or set aside meanwhile, so that all processes write to the same one."""
        try:
            inode: int | None = os.stat(self.path).st_ino
        except OSError:
            inode = None
        if inode != self._inode:
            self._drop_connections()

    def _set_aside(self, error: Exception) -> None:
        """Give a damaged file another name, unless another process has done so already."""
        with self._lock, file_lock(self.path.with_name(self.path.name + ".lock")):
            self._drop_connections()
            try:
                is_the_damaged_one = os.stat(self.path).st_ino == self._inode
            except FileNotFoundError:
                is_the_damaged_one = False
            if is_the_damaged_one:
                aside = self._free_name()
                for suffix in ("", "-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        os.rename(f"{self.path}{suffix}", f"{aside}{suffix}")
                notice = f"{self.path} was damaged ({error}). It was kept as {aside.name}, and a new {self.schema.content} begun."
            else:
                notice = f"{self.path} was damaged ({error}) and has been replaced by another process."
        self.notices.append(notice)
        logger.error("%s", notice)

    def _free_name(self) -> Path:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for number in range(1, 10_000):
            name = self.path.with_name(f"{self.path.name}.damaged-{stamp}-{number}")
            if not name.exists():
                return name
        raise CacheError(f"Too many damaged copies of {self.path} lie beside it. Remove some.")


_open_files: weakref.WeakSet[SQLiteFile] = weakref.WeakSet()


def _leave_all_to_parent() -> None:
    for file in list(_open_files):
        file.leave_to_parent()


os.register_at_fork(after_in_child=_leave_all_to_parent)
