"""Connections to PostgreSQL: each statement within a time, and what goes wrong as this library's errors."""

from __future__ import annotations

import asyncio
import contextlib
import select
import struct
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import pq, waiting

from cache_backends.errors import CacheError, CacheUnavailableError, CacheUnreachableError
from cache_backends.servers.address import Address
from cache_backends.servers.bounded import bounded
from cache_backends.servers.connections import DroppedError
from cache_backends.servers.postgres_hosts import Hosts, parameters
from cache_backends.servers.sql_session import GRACE_S, MissingTableError, Rows, Values

Yielded = TypeVar("Yielded")
Sent = TypeVar("Sent")
Returned = TypeVar("Returned")
CHECK_EVERY_S = 0.05
"""How often it is looked whether a statement has taken too long."""
NO_TABLE = "42P01"
REFUSED_FOR_NOW = ("08", "57", "53300")
"""Beginnings of the codes of errors after which a connection is of no use: it broke, the server is going down (or
ended this connection), there are too many. See "PostgreSQL Error Codes" in its manual."""
CANCELLED = "57014"
TIME_LIMIT = """select set_config('statement_timeout', (1000 * least(
    extract(epoch from nullif(current_setting('statement_timeout'), '0')::interval), {seconds}))::int::text, true)"""
"""Sets a limit for a transaction, unless a shorter one was set by whoever runs the server."""
ANY_TEXT = ("UTF8", "SQL_ASCII")
"""Encodings of databases that keep every text."""
LOOKUP = b"llm_cache_lookup"
"""The name of the prepared statement that reads an entry."""
STORE = b"llm_cache_store"
"""That of the one that stores one."""
MOST_STORED_BYTES = 100_000
"""Of a row that is sent at once; of a larger one, the rest is sent as the server reads, which is left to cursors."""
INT8, BYTEA, TEXT, FLOAT8 = 20, 17, 25, 701
"""Numbers of PostgreSQL's types; see `pg_type.dat` in its source."""
_BIGINT, _DOUBLE = struct.Struct(">q"), struct.Struct(">d")
SCHEMA_LOCK = 0x4C4C4D43  # "LLMC"
"""Held while the tables are made: `if not exists` alone fails where two make the same table at once."""


class PostgresSession:
    """One connection, as `sql_cache.Session`."""

    def __init__(self, connection: TimedConnection, address: Address) -> None:
        self.connection = connection
        self._cursor = connection.cursor(binary=True)
        self._address = address
        self._pgconn = connection.pgconn
        self._answer = select.poll()
        self._answer.register(self._pgconn.socket, select.POLLIN)
        self._looks_up = ""
        self._stores = ""

    def lookup(self, statement: str, namespace: int, digest: bytes) -> tuple[Any, ...] | None:
        """The first row of a statement that gives a value and three times, by the driver's layer beneath cursors.

        A cursor takes as long again. Whatever is not simply a row or none is left to it. Raises `CacheError`.
        """
        try:
            if self._looks_up != statement:
                self._pgconn.send_prepare(LOOKUP, _numbered(statement, 2), [INT8, BYTEA])
                if self._result().status != pq.ExecStatus.COMMAND_OK:
                    return next(iter(self.select(statement, (namespace, digest))), None)
                self._looks_up = statement
            self._pgconn.send_query_prepared(LOOKUP, (_BIGINT.pack(namespace), digest), (1, 1), result_format=1)
            result = self._result()
        except (psycopg.Error, TimeoutError) as error:
            raise failure(self._address, error, self.connection.timeout_s) from error
        if result.status != pq.ExecStatus.TUPLES_OK:
            return next(iter(self.select(statement, (namespace, digest))), None)
        if not result.ntuples:
            return None
        get = result.get_value
        ends, took = get(0, 2), get(0, 3)
        return (
            get(0, 0),
            _DOUBLE.unpack(get(0, 1))[0],
            None if ends is None else _DOUBLE.unpack(ends)[0],
            None if took is None else _DOUBLE.unpack(took)[0],
        )

    def store(self, statement: str, row: Values, types: Sequence[int]) -> None:
        """Run a statement that stores a row of numbers, bytes and text, by the same layer. Raises `CacheError`."""
        packed = [_packed(value) for value in row]
        if sum(len(value) for value in packed if value is not None) > MOST_STORED_BYTES:
            self.change(statement, row)
            return
        try:
            if self._stores != statement:
                self._pgconn.send_prepare(STORE, _numbered(statement, len(row)), types)
                if self._result().status != pq.ExecStatus.COMMAND_OK:
                    self.change(statement, row)
                    return
                self._stores = statement
            self._pgconn.send_query_prepared(STORE, packed, [1] * len(row), result_format=1)
            result = self._result()
        except (psycopg.Error, TimeoutError) as error:
            raise failure(self._address, error, self.connection.timeout_s) from error
        if result.status != pq.ExecStatus.COMMAND_OK:
            self.change(statement, row)  # which says why, or succeeds where the table was made meanwhile

    def _result(self) -> Any:
        """What the server answers to what was sent last. Raises psycopg's errors and `TimeoutError`."""
        pgconn, timeout_s = self._pgconn, self.connection.timeout_s
        deadline = time.monotonic() + timeout_s
        while pgconn.flush():  # never but where the server reads nothing: what is sent here is short
            if time.monotonic() >= deadline:
                raise TimeoutError
            time.sleep(0.001)
        while True:
            if timeout_s <= 0 or not self._answer.poll(timeout_s * 1000):
                raise TimeoutError
            pgconn.consume_input()
            if not pgconn.is_busy():
                break
            timeout_s = deadline - time.monotonic()
        first = pgconn.get_result()
        while pgconn.get_result() is not None:
            pass
        return first

    def select(self, statement: str, values: Values = ()) -> Rows:
        """The rows that a statement gives. Raises `CacheError`."""
        try:
            return self._cursor.execute(statement, values, prepare=True).fetchall()
        except (psycopg.Error, TimeoutError) as error:
            raise failure(self._address, error, self.connection.timeout_s) from error

    def select_by_one_process(self, statement: str, values: Values = ()) -> Rows:
        """The rows that a statement gives which looks at very many. Raises `CacheError`.

        PostgreSQL would set several processes to it, and on two cores other clients waited for milliseconds.
        """
        try:
            with self._transaction("set local max_parallel_workers_per_gather = 0"):
                return self._cursor.execute(statement, values, prepare=True).fetchall()
        except (psycopg.Error, TimeoutError) as error:
            raise failure(self._address, error, self.connection.timeout_s) from error

    def change(self, statement: str, values: Values = ()) -> int:
        """How many rows a statement found to change. Raises `CacheError`."""
        try:
            return self._cursor.execute(statement, values, prepare=True).rowcount
        except (psycopg.Error, TimeoutError) as error:
            raise failure(self._address, error, self.connection.timeout_s) from error

    def change_many(self, statement: str, rows: Sequence[Values]) -> int:
        """How many rows a statement changed in all, once for each of `rows`, all or none. Raises `CacheError`."""
        try:
            with self._transaction():
                self._cursor.executemany(statement, rows)  # takes half the time of one by one
                return self._cursor.rowcount
        except (psycopg.Error, TimeoutError) as error:
            raise failure(self._address, error, self.connection.timeout_s) from error

    def make_tables(self, statements: Sequence[str]) -> None:
        """Run statements that make tables, whoever else does the same now. Raises `CacheError`."""
        try:
            with self._transaction():
                self._cursor.execute("select pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
                for statement in statements:
                    self._cursor.execute(statement)
        except (psycopg.Error, TimeoutError) as error:
            raise failure(self._address, error, self.connection.timeout_s) from error

    def close(self) -> None:
        """Give the connection back to the server."""
        self.connection.close()

    @contextlib.contextmanager
    def _transaction(self, *settings: str) -> Iterator[None]:
        """A transaction, whose statements the server ends when nobody waits for them any more.

        Where one fails it is left open, since the connection is closed then. psycopg's own would ask the server that
        does not answer to roll back, and log user and host when that failed.
        """
        limit = TIME_LIMIT.format(seconds=self.connection.timeout_s + GRACE_S)
        self.connection.execute("; ".join(("begin", limit, *settings)))
        yield
        self._cursor.execute("commit")


def _packed(value: Any) -> bytes | None:
    """A value in PostgreSQL's binary format."""
    if isinstance(value, bytes) or value is None:
        return value
    if isinstance(value, int):
        return _BIGINT.pack(value)
    return value.encode() if isinstance(value, str) else _DOUBLE.pack(value)


def _numbered(statement: str, values: int) -> bytes:
    """The statement with `$1`, `$2` … for its values."""
    for number in range(1, values + 1):
        statement = statement.replace("%s", f"${number}", 1)
    return statement.encode()


class AsyncSession:
    """One connection of an event loop."""

    def __init__(self, connection: TimedAsyncConnection, address: Address) -> None:
        self._connection = connection
        self._cursor = connection.cursor(binary=True)
        self._address = address

    async def select(self, statement: str, values: Values = ()) -> Rows:
        """The rows that a statement gives. Raises `CacheError`."""
        try:
            await self._cursor.execute(statement, values, prepare=True)
            return await self._cursor.fetchall()
        except (psycopg.Error, TimeoutError) as error:
            raise failure(self._address, error, self._connection.timeout_s) from error

    async def change(self, statement: str, values: Values = ()) -> int:
        """How many rows a statement found to change. Raises `CacheError`."""
        try:
            await self._cursor.execute(statement, values, prepare=True)
            return self._cursor.rowcount
        except (psycopg.Error, TimeoutError) as error:
            raise failure(self._address, error, self._connection.timeout_s) from error

    def close(self) -> None:
        """Give the connection back to the server; not awaited, since its loop may be closed."""
        self._connection.pgconn.finish()


class TimedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose every wait for the server ends within `timeout_s`.

    PostgreSQL's own `statement_timeout` is kept by the server, which may be what hangs.
    """

    timeout_s: float

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:  # noqa: ARG002  # psycopg's signature
        """psycopg's own `wait`, bounded.

        Its own would also, when it is interrupted, ask the server for seconds to cancel the statement. Here the
        connection is closed then.
        """
        return waiting.wait(_until(time.monotonic() + self.timeout_s, gen), self.pgconn.socket, CHECK_EVERY_S)


class TimedAsyncConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """The same for an event loop."""

    timeout_s: float

    async def wait(self, gen: Any, *args: Any, **options: Any) -> Any:  # noqa: ARG002  # psycopg's signature
        """The same."""
        steps = _until(time.monotonic() + self.timeout_s, gen)
        return await waiting.wait_async(steps, self.pgconn.socket, CHECK_EVERY_S)


def connect(
    address: Address, hosts: Hosts, settings: dict[str, str], timeout_s: float, statement_timeout_s: float
) -> PostgresSession:
    """A new connection, whose statements may each take `statement_timeout_s`. Raises `CacheError`."""
    tried = hosts.in_order
    by = parameters(address, tried, settings, timeout_s)
    try:
        connection = bounded(lambda: TimedConnection.connect(autocommit=True, **by), timeout_s, TimedConnection.close)
    except (psycopg.Error, TimeoutError) as error:
        raise _not_connected(address, hosts, tried, error, timeout_s) from error
    connection.timeout_s = statement_timeout_s
    _check_encoding(address, connection)
    return PostgresSession(connection, address)


async def connect_async(address: Address, hosts: Hosts, settings: dict[str, str], timeout_s: float) -> AsyncSession:
    """A new connection for the running event loop. Raises `CacheError`."""
    tried = hosts.in_order
    by = parameters(address, tried, settings, timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            connection = await TimedAsyncConnection.connect(autocommit=True, **by)
    except (psycopg.Error, TimeoutError) as error:
        raise _not_connected(address, hosts, tried, error, timeout_s) from error
    connection.timeout_s = timeout_s
    _check_encoding(address, connection)
    return AsyncSession(connection, address)


def _check_encoding(address: Address, connection: TimedConnection | TimedAsyncConnection) -> None:
    encoding = (connection.pgconn.parameter_status(b"server_encoding") or b"UTF8").decode()
    if encoding not in ANY_TEXT:
        connection.pgconn.finish()
        raise CacheUnavailableError(
            f"{address.name} has the encoding {encoding}, which can't keep every text. "
            "Use a database that was created with encoding 'UTF8'."
        )


def failure(address: Address, error: Exception, timeout_s: float) -> CacheError:
    """What an error of an open connection means for the cache, in a sentence without secrets."""
    if _is_timeout(error):
        return CacheUnreachableError(f"{address.name} did not answer within {timeout_s:g} s.")
    code = getattr(error, "sqlstate", None) or ""
    said = address.without_password(str(error))
    if code == NO_TABLE:
        return MissingTableError(said)
    is_about_connection = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    if is_about_connection and code != CANCELLED and (not code or code.startswith(REFUSED_FOR_NOW)):
        return DroppedError(f"{address.name} ended the connection: {said}")
    return CacheUnavailableError(f"{address.name} refused: {said}")


def _is_timeout(error: BaseException | None) -> bool:
    """Whether a wait was too long: where many statements are sent at once, the driver then fails to end that first."""
    while error is not None and not isinstance(error, TimeoutError):
        error = error.__context__
    return error is not None


def _not_connected(
    address: Address, hosts: Hosts, tried: tuple[tuple[str, int | None], ...], error: Exception, timeout_s: float
) -> CacheUnreachableError:
    """What an error of connecting means for the cache, in a sentence without secrets."""
    if isinstance(error, TimeoutError | psycopg.errors.ConnectionTimeout):
        hosts.hung(tried)
        return CacheUnreachableError(f"{address.name} did not answer within {timeout_s:g} s.")
    return CacheUnreachableError(f"{address.name} can't be connected to: {address.without_password(str(error))}")


def _until(deadline: float, steps: Generator[Yielded, Sent, Returned]) -> Generator[Yielded, Sent, Returned]:
    """The same steps, ended by `TimeoutError` at the deadline."""
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send((yield wanted))
            if time.monotonic() >= deadline:  # however much has come
                raise TimeoutError
    except StopIteration as end:
        returned: Returned = end.value
        return returned
