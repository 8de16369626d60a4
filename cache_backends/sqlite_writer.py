"""Storing entries from many threads: whoever may write takes what the others have ready along, in one transaction.

A thread that has waited for its turn mostly finds its entry written. The work before a store is done by one thread
while another one's transaction is being written, and a transaction is begun and ended once for all of them.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass
from typing import Any

import apsw

from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.sqlite_file import Connection, SQLiteFile, in_transaction
from cache_backends.sqlite_rows import KNOW_LLM_STRING, KNOW_NAMESPACE, WRITE


@dataclass(slots=True, eq=False)
class NewRow:
    """A row to be written, and the texts that it refers to by number."""

    row: tuple[Any, ...]
    namespace: tuple[int, str]
    llm_string: tuple[int, str]
    written: bool = False
    error: Exception | None = None


class RowWriter(Forkable):
    """Writes the rows of all threads of this process."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file
        self._ready: deque[NewRow] = deque()
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """The threads that wait are the parent's."""
        self._ready = deque()

    def write(self, new: NewRow) -> None:
        """Write a row, and return when it is in the file. Raises `CacheError`."""
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

    def _write_together(self, connection: Connection, news: list[NewRow]) -> bool:
        try:
            with in_transaction(connection):
                for new in news:
                    self._make_known(connection, new)
                    connection.writer.execute(WRITE, new.row)
        except Exception:  # noqa: BLE001  # each is then written by itself, and has an error of its own
            connection.known.clear()
            return False
        for new in news:
            new.written = True
        return True

    def _write_one(self, connection: Connection, new: NewRow) -> None:
        if connection.known >= {new.namespace, new.llm_string}:
            connection.writer.execute(WRITE, new.row)  # a transaction by itself
            return
        try:
            with in_transaction(connection):
                self._make_known(connection, new)
                connection.writer.execute(WRITE, new.row)
        except BaseException:
            connection.known.clear()
            raise

    def _make_known(self, connection: Connection, new: NewRow) -> None:
        for text, statement in ((new.namespace, KNOW_NAMESPACE), (new.llm_string, KNOW_LLM_STRING)):
            if text not in connection.known:
                connection.execute(statement, text)
                connection.known.add(text)
