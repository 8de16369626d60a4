"""The SQLite file under `SQLiteCache`: its connections, its schema, and what happens when it is damaged or replaced.

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
from datetime import UTC, datetime
from pathlib import Path

import apsw

from cache_backends.errors import CacheConfigError, CacheError, CacheUnavailableError
from cache_backends.file_lock import file_lock

logger = logging.getLogger("cache_backends")

APPLICATION_ID = 0x4C4C4D43
"""Marks a file as ours ("LLMC"), see https://sqlite.org/fileformat.html#application_id."""
FORMAT = 1
BUSY_TIMEOUT_MS = 5_000
"""How long a writer waits for another process's transaction."""

SCHEMA = """
create table namespaces (id integer primary key, name text not null);
create table llm_strings (id integer primary key, text text not null);
create table entries (
    id integer primary key,
    namespace integer not null,
    key blob not null,
    created_at real not null,
    expires_at real,
    model_time_s real,
    last_used_at real not null,
    hits integer not null default 0,
    model text,
    llm_string integer not null,
    prompt_is_message integer not null,  -- 1: LangChain's JSON of one human message, of which only the text is kept
    prompt text not null,
    value blob not null,
    unique (namespace, key)
);
create table damaged (id integer primary key, namespace integer, key blob, found_at real, value blob);
"""

DAMAGE = (apsw.CorruptError, apsw.NotADBError)


class SQLiteFile:
    """Connections to one SQLite file, taken and given back, never used by two threads at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notices: list[str] = []
        self._idle: deque[apsw.Connection] = deque()
        self._left_to_parent: list[deque[apsw.Connection]] = []
        self._inode: int | None = None
        self._closed = False
        self._lock = threading.RLock()
        _open_files.add(self)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.is_dir():
                raise CacheConfigError(f"{path} is a folder. Name a file for the SQLite cache.")
        except OSError as error:
            raise CacheUnavailableError(
                f"{path.parent} can't be used for the SQLite cache: {error.strerror}."
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

    def take(self) -> apsw.Connection:
        """An idle connection, or a new one."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._open()

    def give(self, connection: apsw.Connection) -> None:
        """Give a connection back for the next to take."""
        if not self._closed:
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
        while self._idle:
            with contextlib.suppress(IndexError, apsw.Error):
                self._idle.pop().close()

    def _open(self) -> apsw.Connection:
        if self._closed:
            raise CacheUnavailableError(f"The cache on {self.path} was closed. Open a new one.")
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

    def _open_ready(self) -> apsw.Connection:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would make it 0644
        connection = apsw.Connection(str(self.path))
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
        if (application_id, version) == (APPLICATION_ID, FORMAT):
            return
        if application_id == APPLICATION_ID:
            raise CacheConfigError(
                f"{self.path} was made by a newer version (format {version}; this one knows up to {FORMAT}). "
                "Update the program, or name another file."
            )
        if connection.execute("select count(*) from sqlite_schema").get:
            raise CacheConfigError(f"{self.path} is the SQLite database of another program. Name another file.")
        connection.pragma("journal_mode", "wal")
        connection.execute("begin immediate")
        if connection.pragma("application_id") != APPLICATION_ID:  # else another process was first
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            connection.pragma("user_version", FORMAT)
            connection.pragma("application_id", APPLICATION_ID)
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
                notice = f"{self.path} was damaged ({error}). It was kept as {aside.name}, and a new cache begun."
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
