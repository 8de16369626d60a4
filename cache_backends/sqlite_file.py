"""A SQLite file that threads and processes share: its connections, and what happens when it is damaged or replaced.

Write-ahead log with `synchronous=NORMAL`: a store survives the end of the process at once, a power cut may take the
last moments, and readers never block a writer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import apsw

from cache_backends.errors import CacheConfigError, CacheError, CacheUnavailableError
from cache_backends.file_lock import file_lock
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.sqlite_schema import Schema, in_transaction, is_made, make, probe

logger = logging.getLogger("cache_backends")

BUSY_TIMEOUT_S = 5.0
"""How long a writer waits for another process's transaction."""
FIRST_WAIT_S = 0.0001
"""A transaction of another process takes about as long. SQLite's own handler begins with 1 ms, which halves the rate
of two processes that write."""

CONNECTIONS = 4
"""Kept open for each file. As many threads as one likes take turns with these as fast as with one each, since Python
runs one of them at a time; each takes two descriptors and up to `PAGE_CACHE_KIB` of memory."""
TURN_WAIT_S = 0.005
"""How long to wait for one of them rather than open another, which is closed after its use. Opening takes 1 to 2 ms."""

FORK_WAIT_S = 1.0
"""How long a fork waits for connections that other threads are using."""

PAGE_CACHE_KIB = 16_384
"""Pages a connection keeps in memory; SQLite's own 2 MiB hold fewer than a thousand entries."""

DAMAGE = (apsw.CorruptError, apsw.NotADBError)


class Connection(apsw.Connection):
    """A connection that knows which file it belongs to: one on a file that was left meanwhile is not used again."""

    inode: int
    reader: apsw.Cursor
    """For single reads: making a cursor takes a quarter as long as reading a row."""
    writer: apsw.Cursor
    """For single writes."""
    known: set[object]
    """What whoever writes knows to be in this file already."""


class _Patience:
    """Waits for another process's transaction: shortly at first, then longer, `BUSY_TIMEOUT_S` in all."""

    def __init__(self) -> None:
        self._until = 0.0

    def __call__(self, waits: int) -> bool:
        now = time.monotonic()
        if waits == 0:
            self._until = now + BUSY_TIMEOUT_S
        if now >= self._until:
            return False
        time.sleep(FIRST_WAIT_S * min(100, 1 + waits / 10))
        return True


class SQLiteFile(Forkable):
    """Connections to one SQLite file, taken and given back, never used by two threads at once."""

    _creating: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path = path
        self.schema = schema
        self.notices: list[str] = []
        self._idle: deque[Connection] = deque()
        self._opened: set[Connection] = set()
        self._left_to_parent: list[set[Connection]] = []
        self._forker: int | None = None
        self._inode: int | None = None
        self._closed = False
        self._lock = threading.RLock()
        self._writing = threading.Lock()  # threads queue here: SQLite's own lock is waited for in steps
        self._given = threading.Condition()
        self._waiting = 0
        tell_of_forks(self)
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

    def row(self, query: str, bindings: tuple[apsw.SQLiteValue, ...]) -> Any:
        """The one row that a query gives: a tuple, the value itself where it has one column, None where there is none.

        Reads what `connection` would read, in half the time.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._await_or_open()
        try:
            return connection.reader.execute(query, bindings).get
        except apsw.Error as error:
            raise self.failure(error, connection) from error
        except BaseException:  # text that is not UTF-8, an interrupt: a read in the middle of its row goes on for ever
            connection.reader.close(True)
            connection.reader = connection.cursor()
            raise
        finally:
            self.give(connection)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for the block. A damaged file is set aside and a new one begun; the call still fails."""
        connection = self.take()
        try:
            yield connection
        except apsw.Error as error:
            raise self.failure(error, connection) from error
        finally:
            self.give(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for the block, to which the file stays as it is now. Nobody waits for that."""
        with self.connection() as connection:
            connection.execute("begin")
            try:
                yield connection
            finally:
                if not connection.getautocommit():
                    connection.execute("commit")

    def begin_writing(self) -> Connection:
        """A connection on the file that has the path now, for the only thread of this process that writes.

        For whoever can't wait for a context manager: `end_writing` must follow, whatever happens.
        """
        if not self._writing.acquire(timeout=BUSY_TIMEOUT_S):
            raise CacheUnavailableError(f"{self.path} is locked: another thread has been writing for too long.")
        try:
            self.follow_path()
            return self.take()
        except BaseException:
            self._writing.release()
            raise

    def end_writing(self, connection: Connection) -> None:
        """Let the next thread write."""
        try:
            self.give(connection)
        finally:
            self._writing.release()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection on the file that has the path now, for the only thread of this process that writes."""
        connection = self.begin_writing()
        try:
            yield connection
        except apsw.Error as error:
            raise self.failure(error, connection) from error
        finally:
            self.end_writing(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection inside one write transaction, on the file that has the path now."""
        with self.writing() as connection, in_transaction(connection):
            yield connection

    def follow_path(self) -> None:
        """Leave a file that was deleted or set aside meanwhile, so that all processes write to the same one.

        Not while another thread writes: to the old one, then, while a reader opens the new one and the same log.
        """
        try:
            inode: int | None = os.stat(self.path).st_ino
        except OSError:
            inode = None
        self._use(inode)

    def take(self) -> Connection:
        """An idle connection, one that is given back in a moment, or a new one."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._await_or_open()

    def give(self, connection: Connection) -> None:
        """Give a connection back for the next to take; one too many, or to a file that was left, is closed."""
        is_current = connection.inode == self._inode and not self._closed
        if is_current and len(self._idle) < CONNECTIONS and connection.getautocommit():
            self._idle.append(connection)
            if connection.inode != self._inode or self._closed:  # since that was asked
                self._drop_connections()
            elif self._waiting:
                with self._given:
                    self._given.notify()
        else:
            self._close_connection(connection)

    def close(self) -> None:
        """Close all idle connections; whoever asks afterwards is refused."""
        self._closed = True
        self._drop_connections()

    def before_fork(self) -> None:
        """Close all connections, those in use as they are given back.

        SQLite keeps account of its locks by process and file. A child that inherits the account has no locks: other
        processes then remove the log it writes to, or a lock that one of its parent's threads held stays for ever
        (https://sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_).
        """
        if not self._lock.acquire(timeout=FORK_WAIT_S):
            return
        self._forker = threading.get_ident()
        deadline = time.monotonic() + FORK_WAIT_S
        while self._opened and time.monotonic() < deadline:
            self._drop_connections()
            time.sleep(0.0005)

    def after_fork_in_parent(self) -> None:
        """Let connections be opened again."""
        if self._forker == threading.get_ident():
            self._forker = None
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Never touch a connection of the parent again, not even to close it."""
        SQLiteFile._creating = threading.Lock()
        self._left_to_parent.append(self._opened)
        self._opened, self._idle = set(), deque()
        self._forker = None
        self._lock = threading.RLock()
        self._writing = threading.Lock()
        self._given, self._waiting = threading.Condition(), 0

    @property
    def identity(self) -> int | None:
        """The inode in use: another number once the file was replaced."""
        return self._inode

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def _drop_connections(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):
                self._close_connection(self._idle.pop())

    def _close_connection(self, connection: Connection) -> None:
        with contextlib.suppress(apsw.Error):
            connection.close()
        self._opened.discard(connection)

    def _await_or_open(self) -> Connection:
        connection = self._given_back() if len(self._opened) >= CONNECTIONS else None
        return self._open() if connection is None else connection

    def _given_back(self) -> Connection | None:
        deadline = time.monotonic() + TURN_WAIT_S
        with self._given:
            self._waiting += 1  # before looking: whoever gives one back looks for who waits afterwards
            try:
                while True:
                    with contextlib.suppress(IndexError):
                        return self._idle.pop()
                    if not self._given.wait(deadline - time.monotonic()):
                        return None
            finally:
                self._waiting -= 1

    def _open(self) -> Connection:
        if self._closed:
            raise CacheUnavailableError(f"The {self.schema.content} on {self.path} was closed. Open a new one.")
        try:
            with self._lock:
                with contextlib.suppress(IndexError):
                    return self._idle.pop()  # given back while others opened theirs
                try:
                    return self._open_ready()
                except DAMAGE as error:
                    self._set_aside(error, self._inode)
                    return self._open_ready()
        except apsw.BusyError as error:
            raise CacheUnavailableError(
                f"{self.path} is locked by another program. It is used again as soon as that program lets go."
            ) from error
        except (apsw.Error, OSError) as error:
            raise CacheUnavailableError(f"{self.path} can't be opened: {error}") from error

    def _open_ready(self) -> Connection:
        self._create_if_missing()
        inode = os.stat(self.path).st_ino
        self._use(inode)
        connection = Connection(str(self.path))
        connection.inode = inode
        try:
            connection.set_busy_handler(_Patience())
            connection.reader, connection.writer = connection.cursor(), connection.cursor()
            connection.known = set()
            self._check_format(connection)
            probe(connection, self.path, self.schema)
            for statement in self.schema.connection:
                connection.execute(statement)
            connection.execute("pragma synchronous = normal")
            connection.execute(f"pragma cache_size = {-PAGE_CACHE_KIB}")
        except BaseException:
            connection.close()
            raise
        self._opened.add(connection)
        return connection

    def _create_if_missing(self) -> None:
        """An empty file of mode 0600, where SQLite would make one of 0644.

        A file that is there must never be opened but by SQLite: closing it would drop the locks that SQLite holds on
        it in this process (https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread).
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # it may have been removed meanwhile
        with self._creating, contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def _check_format(self, connection: apsw.Connection) -> None:
        if os.stat(self.path).st_size and is_made(connection, self.path, self.schema):
            return
        with self._lock_file():  # one process makes the tables, the others wait for it
            if not is_made(connection, self.path, self.schema):
                make(connection, self.schema)

    def _use(self, inode: int | None) -> None:
        """From now on this file, and none of the connections to another that had the path before."""
        if inode != self._inode:
            self._inode = inode
            self._drop_connections()

    def _lock_file(self) -> AbstractContextManager[None]:
        return file_lock(self.path.with_name(f"{self.path.name}.lock"))

    def failure(self, error: apsw.Error, connection: Connection) -> CacheUnavailableError:
        """What to raise for an error of SQLite: a damaged file is set aside first."""
        if isinstance(error, DAMAGE):
            return CacheUnavailableError(self._set_aside(error, connection.inode))
        return CacheUnavailableError(f"{self.path}: {error}")

    def _set_aside(self, error: Exception, inode: int | None) -> str:
        """Give a damaged file another name, unless that has been done already; what a person should know of it."""
        try:
            with self._lock, self._lock_file():
                notice = self._rename_if_still_there(error, inode)
        except OSError as refused:
            notice = f"{self.path} is damaged ({error}) and can't be set aside: {refused.strerror}. Move it away."
        if notice not in self.notices:
            self.notices.append(notice)
            logger.error("%s", notice)
        return notice

    def _rename_if_still_there(self, error: Exception, inode: int | None) -> str:
        if self._inode == inode:
            self._inode = None  # connections on it that are in use now are closed when they are given back
            self._drop_connections()
        try:
            still_there = os.stat(self.path).st_ino == inode
        except FileNotFoundError:
            still_there = False
        if not still_there:
            return f"{self.path} was damaged ({error}) and has been replaced meanwhile."
        aside = self._free_name()
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self.path}{suffix}", f"{aside}{suffix}")
        return f"{self.path} was damaged ({error}). It was kept as {aside.name}, and a new {self.schema.content} begun."

    def _free_name(self) -> Path:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for number in range(1, 10_000):
            name = self.path.with_name(f"{self.path.name}.damaged-{stamp}-{number}")
            if not name.exists():
                return name
        raise CacheError(f"Too many damaged copies of {self.path} lie beside it. Remove some.")
