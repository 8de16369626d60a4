"""PostgreSQL for the tests: an own cluster in a temporary folder, passwords on."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.servers.process import Server
from tests.servers.programs import Program, unprivileged

if TYPE_CHECKING:
    import psycopg

POSTGRES = Program("postgres", "postgresql", "/usr/lib/postgresql/*/bin/postgres")
INITDB = Program("initdb", "postgresql", "/usr/lib/postgresql/*/bin/initdb")

SMALL = {
    "shared_buffers": "32MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    # Parallel workers and compiled queries only cost here: memory, and the first moments of a query.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # Memory shared by workers as files of the data folder, so that kill -9 leaves nothing behind in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
}
FAST = {"fsync": "off"}
"""Not safe from a power cut, as safe as ever from kill -9: what the kernel has taken it writes, whatever becomes of the
process. (With `synchronous_commit=off` that would be lost too: a commit returns before the kernel has it.)"""


class PostgresServer(Server):
    """PostgreSQL. The account `tester` owns the database `cache`; `postgres`, with the same password, may do all."""

    name = "PostgreSQL"
    scheme = "postgresql"
    stop_signal = signal.SIGINT  # "fast": open connections are ended, not waited for
    admin = "postgres"

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.runs_as = unprivileged("postgres")
        self._settings = {**SMALL, **({} if durable else FAST), **(settings or {})}

    def connect(self, *, user: str | None = None, password: str | None = None, **options: Any) -> psycopg.Connection:
        """A connection of the driver, autocommit: as `tester`, or as `user=server.admin`."""
        import psycopg

        account: dict[str, Any] = {"user": user or self.user, "password": password or self.password}
        place: dict[str, Any] = {"host": self.host, "port": self.port, "dbname": self.database}
        return psycopg.connect(**{"autocommit": True, "connect_timeout": 10} | place | account | options)

    def _prepare(self) -> None:
        password = self._own_file("password", f"{self.password}\n")
        self._install(
            INITDB.path,
            *("--pgdata=data", f"--username={self.admin}", f"--pwfile={password}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--no-locale", "--no-sync"),
        )
        self._accounts_made = False

    def _command(self) -> list[str]:
        # No socket file: every connection is TCP, with its password.
        own = {"listen_addresses": self.host, "port": str(self.port), "unix_socket_directories": ""}
        settings = (f"--{name}={value}" for name, value in {**self._settings, **own}.items())
        return [POSTGRES.path, "-D", str(self.folder / "data"), *settings]

    def _answers(self) -> bool:
        import psycopg

        try:
            if not self._accounts_made:
                self._make_accounts()
            with self.connect() as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def _make_accounts(self) -> None:
        from psycopg import sql

        with self.connect(user=self.admin, dbname="postgres") as connection:
            for template in ("CREATE ROLE {user} LOGIN PASSWORD {password}", "CREATE DATABASE {database} OWNER {user}"):
                names = {"user": sql.Identifier(str(self.user)), "database": sql.Identifier(self.database)}
                connection.execute(sql.SQL(template).format(**names, password=sql.Literal(self.password)))
        self._accounts_made = True
