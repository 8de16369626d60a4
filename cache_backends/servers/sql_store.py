"""`SQLStore`: what the views of one cache in a database share: connections, tables, and which texts it has already."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from cache_backends.errors import CacheUnavailableError, CacheUnreachableError
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.servers.connections import MOST_AT_ONCE, Connections
from cache_backends.servers.known_texts import KnownTexts
from cache_backends.servers.server_cache import ServerStore
from cache_backends.servers.sql_session import MissingTableError, Rows, Session, Values
from cache_backends.servers.sql_statements import FORMAT, Statements

if TYPE_CHECKING:
    from cache_backends.servers.sql_cache import SQLCache

Result = TypeVar("Result")

PATIENT_AT_ONCE = 2
"""Connections of a process that browse or tidy up at the same time."""
PATIENCE_S = 30.0
"""How long one statement may take that browses or tidies up, which no model waits for."""
TURNS = 256
"""So many that writers of different keys hardly ever wait for each other: one for each first byte of a key."""


class SQLStore(ServerStore, Forkable):
    """Connections to one database. A model waits for `run`, only people for `run_patiently`."""

    def __init__(self, cache: SQLCache, connect: Callable[[float], Session]) -> None:
        """`connect` opens a session whose statements may each take so many seconds."""
        super().__init__(cache)
        self._connect = connect
        self.statements = Statements(cache.dialect, cache.prefix)
        self._name = cache.address.name
        self._timeout_s = cache.timeout_s
        self._making = threading.Lock()
        self._turns = _locks()
        self.has_tables = False
        self.known = KnownTexts()
        patience_s = max(PATIENCE_S, cache.timeout_s)
        self._sessions = self._connections(cache.timeout_s, cache.timeout_s, MOST_AT_ONCE)
        self._patient_sessions = self._connections(patience_s, patience_s, PATIENT_AT_ONCE)
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """A thread of the parent may be making tables, or writing."""
        self._making = threading.Lock()
        self._turns = _locks()

    def run(self, operation: Callable[[Session], Result]) -> Result:
        """The result of an operation that a model waits for. Raises `CacheError`."""
        return self.ask(lambda: self._run(self._sessions, operation))

    def run_in_turn(self, digest: bytes, operation: Callable[[Session], Result]) -> Result:
        """`run` for an operation that writes what is under a key: one thread after another, if it is soon its turn.

        On the server they would wait too, each with a connection; and where a row changes its length, InnoDB goes
        through all who wait for it: 64 threads of eight processes write one key ten times as fast when they queue here.
        """
        turn = self._turns[digest[0]]
        has_turn = not self.breaker.is_open and turn.acquire(timeout=self._timeout_s / 10)
        try:
            return self.run(operation)
        finally:
            if has_turn:
                turn.release()

    def run_patiently(self, operation: Callable[[Session], Result]) -> Result:
        """The result of an operation that may take long. Raises `CacheError`, soon where the server does not answer."""
        self.run(lambda session: session.select("select 1"))
        return self.ask(lambda: self._run(self._patient_sessions, operation))

    def select(self, statement: str, values: Values = ()) -> Rows:
        """The rows that a person asks for. Raises `CacheError`."""
        return self.run_patiently(lambda session: session.select(statement, values))

    def change(self, statement: str, values: Values = ()) -> int:
        """How many rows a statement changed that tidies up. Raises `CacheError`."""
        return self.run_patiently(lambda session: session.change(statement, values))

    def change_many(self, statement: str, rows: Sequence[Values]) -> int:
        """`Session.change_many`, tidying up. Raises `CacheError`."""
        return self.run_patiently(lambda session: session.change_many(statement, rows))

    def need_tables(self) -> None:
        """Make the tables if it is not known that they are there. Raises `CacheError`."""
        self.ask(lambda: self._sessions.run(self._make_tables))

    def make_tables_again(self) -> None:
        """Make those tables that somebody has dropped. Raises `CacheError`."""
        self.ask(lambda: self._sessions.run(self._make_dropped_tables))

    def close(self) -> None:
        """Close every connection."""
        self.closed = True
        self._sessions.close()
        self._patient_sessions.close()

    def _connections(self, statement_timeout_s: float, wait_s: float, most: int) -> Connections[Session]:
        def connect() -> Session:
            session = self._connect(statement_timeout_s)
            self.known.clear()  # the server may be another one now, with less in it
            if not self.has_tables:
                self._make_tables(session)
            return session

        return Connections(connect, lambda session: session.close(), wait_s, most=most)

    def _run(self, sessions: Connections[Session], operation: Callable[[Session], Result]) -> Result:
        try:
            return sessions.run(operation)
        except MissingTableError:
            sessions.run(self._make_dropped_tables)
            return sessions.run(operation)

    def _make_tables(self, session: Session) -> None:
        with self._making_tables():
            if self.has_tables:
                return
            try:
                self._check_format(session)
            except MissingTableError:
                self._make_missing_tables(session)
            self.has_tables = True

    def _make_dropped_tables(self, session: Session) -> None:
        with self._making_tables():
            self.has_tables = False
            with contextlib.suppress(MissingTableError):
                self._check_format(session)
            self._make_missing_tables(session)
            self.known.clear()
            self.has_tables = True

    @contextlib.contextmanager
    def _making_tables(self) -> Iterator[None]:
        """One thread at a time. Who has waited as long as a call may take gives up, like the one waited for."""
        if not self._making.acquire(timeout=self._timeout_s):
            raise CacheUnreachableError(f"{self._name} did not answer within {self._timeout_s:g} s.")
        try:
            yield
        finally:
            self._making.release()

    def _make_missing_tables(self, session: Session) -> None:
        try:
            session.make_tables(self.statements.schema)
        except CacheUnreachableError:
            raise
        except CacheUnavailableError as error:
            raise CacheUnavailableError(
                f"The tables of the cache are missing and could not be made: {error} "
                "An administrator can make them with the SQL that the README gives."
            ) from error
        self._check_format(session)

    def _check_format(self, session: Session) -> None:
        rows = session.select(self.statements.format)
        if not rows:  # where each statement is a transaction of its own, the row comes after the table
            raise MissingTableError(f"{self.statements.format_table} is empty")
        version = max(version for (version,) in rows)
        if version != FORMAT:
            raise CacheUnavailableError(
                f"{self.statements.format_table} was made by another version (format {version}; this one knows "
                f"{FORMAT}). Use that version, or another prefix=."
            )


def _locks() -> tuple[threading.Lock, ...]:
    return tuple(threading.Lock() for _ in range(TURNS))
