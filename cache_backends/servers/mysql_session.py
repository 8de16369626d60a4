"""Connections to MySQL and MariaDB: each statement within a time, and what goes wrong as this library's errors."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pymysql  # type: ignore[import-untyped]
from pymysql.constants import CLIENT, CR, ER  # type: ignore[import-untyped]

from cache_backends.errors import CacheError, CacheUnavailableError, CacheUnreachableError, NotCacheableError
from cache_backends.servers.address import Address
from cache_backends.servers.bounded import bounded
from cache_backends.servers.connections import DroppedError
from cache_backends.servers.mysql_driver import Connection
from cache_backends.servers.mysql_prepared import Prepared, TooLongError
from cache_backends.servers.sql_session import GRACE_S, MissingTableError, Rows, Values

Result = TypeVar("Result")

DEFAULT_PORT = 3306
SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
"""Nothing is cut silently."""
TRIES = 5
"""How often a statement is tried that met another one in a deadlock, or waited too long for its lock."""
LONG_S = 10
"""Where statements may take this long, the server ends those itself that nobody waits for any more. Of shorter times it
is not even told: MariaDB needs 50 µs to set its clock, which a lookup would feel."""

TRY_AGAIN = (ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT)
TOO_LARGE = (ER.NET_PACKET_TOO_LARGE, ER.TOO_BIG_ROWSIZE, ER.DATA_TOO_LONG)
CONNECTION_KILLED, DISCONNECTED_BY_SERVER = 1927, 4031
"""Codes of MariaDB and of MySQL that the driver has no names for, like the next two."""
TOOK_TOO_LONG = (1969, 3024)
CONNECTION_IS_GONE = (
    0,  # what the driver says itself about a connection that it has closed
    CR.CR_SERVER_GONE_ERROR,
    CR.CR_SERVER_LOST,
    ER.SERVER_SHUTDOWN,
    ER.NORMAL_SHUTDOWN,
    ER.NET_READ_ERROR,
    ER.NET_READ_INTERRUPTED,
    ER.NET_ERROR_ON_WRITE,
    ER.NET_WRITE_INTERRUPTED,
    CONNECTION_KILLED,
    DISCONNECTED_BY_SERVER,
)


class MySQLSession:
    """One connection, as `sql_session.Session`."""

    def __init__(self, connection: Connection, address: Address, timeout_s: float) -> None:
        self.connection = connection
        self._address = address
        self._timeout_s = timeout_s
        self.most_bytes = self._settle()
        """What the server accepts in one packet, and as one value."""
        self.prepared = Prepared(connection, self.most_bytes)

    def _settle(self) -> int:
        """Make the settings of the session, and learn that of the server. Raises the driver's errors."""
        cursor = self.connection.cursor()
        settings = {"sql_mode": f"'{SQL_MODE}'", "innodb_lock_wait_timeout": max(1, int(self._timeout_s / 10))}
        if self._timeout_s >= LONG_S:
            limit_s = int(self._timeout_s) + GRACE_S
            is_mariadb = "MariaDB" in self.connection.get_server_info()
            settings |= {"max_statement_time": limit_s} if is_mariadb else {"max_execution_time": 1000 * limit_s}
        cursor.execute("set " + ", ".join(f"{name} = {value}" for name, value in settings.items()))
        cursor.execute("set session transaction isolation level read committed")
        cursor.execute("select @@max_allowed_packet")
        ((most_bytes,),) = cursor.fetchall()
        return int(most_bytes)

    def select(self, statement: str, values: Values = ()) -> Rows:
        """The rows that a statement gives. Raises `CacheError`."""
        try:
            return self.prepared.select(statement, values)
        except TooLongError as error:
            raise self._too_long(error) from error
        except (pymysql.Error, OSError) as error:
            raise failure(self._address, error, self._timeout_s) from error

    def change(self, statement: str, values: Values = ()) -> int:
        """How many rows a statement found to change. Raises `CacheError`, `NotCacheableError` where it is too large."""
        return self._try(lambda: self.prepared.change(statement, values))

    def change_many(self, statement: str, rows: Sequence[Values]) -> int:
        """How many rows a statement changed in all, once for each of `rows`, all or none. Raises `CacheError`."""

        def change() -> int:
            self.connection.begin()
            changed = sum(self.prepared.change(statement, row) for row in rows)
            self.connection.commit()
            return changed

        return self._try(change)

    def make_tables(self, statements: Sequence[str]) -> None:
        """Run statements that make tables, whoever else does the same now. Raises `CacheError`.

        One by one: each is a transaction of its own here, whatever one does.
        """
        for statement in statements:
            self.change(statement)

    def close(self) -> None:
        """Give the connection back to the server."""
        self.connection.close()

    def _too_long(self, error: TooLongError) -> NotCacheableError:
        return NotCacheableError(
            "too_large",
            f"{error} are more than {self._address.name} takes in one statement. "
            f"Its max_allowed_packet is {self.most_bytes:,}: set it higher on the server to store such answers.",
        )

    def _try(self, execute: Callable[[], int]) -> int:
        """What `execute` returns, tried again where another session was in its way."""
        give_up_at = time.monotonic() + self._timeout_s
        tries = 0
        while True:
            tries += 1
            try:
                return execute()
            except TooLongError as error:
                raise self._too_long(error) from error
            except (pymysql.Error, OSError) as error:
                code = code_of(error)
                if code in TRY_AGAIN and tries < TRIES and time.monotonic() < give_up_at:
                    with contextlib.suppress(pymysql.Error, OSError):
                        self.connection.rollback()
                        continue
                if code in TOO_LARGE:
                    said = self._address.without_password(str(error.args[-1]))
                    raise NotCacheableError("too_large", f"{self._address.name} refused: {said}") from error
                raise failure(self._address, error, self._timeout_s) from error


def connect(address: Address, parameters: dict[str, Any], timeout_s: float, statement_timeout_s: float) -> MySQLSession:
    """A new connection, whose statements may each take `statement_timeout_s`. Raises `CacheUnreachableError`.

    `parameters` are those of `tls_parameters`.
    """
    ((host, port),) = address.hosts

    def make() -> MySQLSession:
        connection = Connection(
            host=host,
            port=port or DEFAULT_PORT,
            user=address.user,
            password=(address.password or "").encode(),  # the driver would take text as latin1
            database=address.database or None,
            charset="utf8mb4",
            autocommit=True,
            client_flag=CLIENT.FOUND_ROWS,
            connect_timeout=timeout_s,
            timeout_s=statement_timeout_s,
            program_name="llm_cache",
            **parameters,
        )
        return MySQLSession(connection, address, statement_timeout_s)

    try:
        return bounded(make, timeout_s, MySQLSession.close)
    except Exception as error:
        if isinstance(error, TimeoutError) or is_timeout(error):
            raise failure(address, error, timeout_s) from error
        said = address.without_password(str(error.args[-1] if isinstance(error, pymysql.Error) else error))
        raise CacheUnreachableError(f"{address.name} can't be connected to: {said}") from error


def failure(address: Address, error: Exception, timeout_s: float) -> CacheError:
    """What a driver's error means for the cache, in a sentence without secrets."""
    code = code_of(error)
    if is_timeout(error) or code in TOOK_TOO_LONG:
        return CacheUnreachableError(f"{address.name} did not answer within {timeout_s:g} s.")
    said = address.without_password(str(error.args[-1] if error.args else error))
    if code == ER.NO_SUCH_TABLE:
        return MissingTableError(said)
    if code in CONNECTION_IS_GONE or isinstance(error, OSError | pymysql.InternalError | pymysql.InterfaceError):
        return DroppedError(f"{address.name} ended the connection: {said}")
    return CacheUnavailableError(f"{address.name} refused: {said}")


def is_timeout(error: BaseException) -> bool:
    """Whether a wait for the server was too long: the driver tells it only as the reason of its own error."""
    return isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)


def code_of(error: Exception) -> int | None:
    """The number of an error of server or driver."""
    code = error.args[0] if isinstance(error, pymysql.Error) and error.args else None
    return code if isinstance(code, int) else None
