"""Storing entries from many threads: whoever may write takes what the others have ready along, in one transaction.

A thread that has waited for its turn mostly finds its entry written. The work before a store is done by one thread
while another one's transaction is being written, and a transaction is begun and ended once for all of them.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass

import apsw

from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.sqlite_file import Connection, SQLiteFile, in_transaction
from cache_backends.sqlite_rows import KNOW_LLM_STRING, KNOW_NAMESPACE, WRITE_DETAILS, WRITE_ENTRY, NewRows


@dataclass(slots=True, eq=False)
class _Waiting:
    """An entry that a thread waits to be written."""

    rows: NewRows
    written: bool = False
    error: Exception | None = None


class RowWriter(Forkable):
    """Writes the rows of all threads of this process."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file
        self._ready: deque[_Waiting] = deque()
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """The threads that wait are the parent's."""
        self._ready = deque()

    def write(self, rows: NewRows) -> None:
        """Write an entry, and return when it is in the file. Raises `CacheError`."""
        new = _Waiting(rows)
        self._ready.append(new)
        try:
            connection = self._file.begin_writing()
        except BaseException:
            with contextlib.suppress(ValueError):  # another thread has it in hand: it may be written all the same
                self._ready.remove(new)
            raise
        try:
            if not new.written and new.error is None:
                self._write_all(connection)
        finally:
            self._file.end_writing(connection)
        if new.error is not None:
            raise new.error

    def _write_all(self, connection: Connection) -> None:
        news = [self._ready.popleft() for _ in range(len(self._ready))]
        if len(news) > 1 and self._write_together(connection, news):
            return
        for new in news:  # one that can't be written, for its size say, must not keep the others from it
            try:
                self._write_one(connection, new)
                new.written = True
            except apsw.Error as error:
                new.error = self._file.failure(error, connection)
            except Exception as error:  # noqa: BLE001  # belongs to the thread whose row it is
                new.error = error

    def _write_together(self, connection: Connection, news: list[_Waiting]) -> bool:
        try:
            with in_transaction(connection):
                for new in news:
                    self._write_rows(connection, new.rows)
        except Exception:  # noqa: BLE001  # each is then written by itself, and has an error of its own
            connection.known.clear()
            return False
        for new in news:
            new.written = True
        return True

    def _write_one(self, connection: Connection, new: _Waiting) -> None:
        try:
            with in_transaction(connection):
                self._write_rows(connection, new.rows)
        except BaseException:
            connection.known.clear()
            raise

    def _write_rows(self, connection: Connection, rows: NewRows) -> None:
        if rows.namespace not in connection.known:
            connection.execute(KNOW_NAMESPACE, rows.namespace)
            connection.known.add(rows.namespace)
        if rows.llm_string not in connection.known:
            connection.execute(KNOW_LLM_STRING, rows.llm_string)
            connection.known.add(rows.llm_string)
        writer = connection.writer
        writer.execute(WRITE_DETAILS, (writer.execute(WRITE_ENTRY, rows.entry).get, *rows.details))
