"""MariaDB for the tests: an own data folder, passwords on. It speaks MySQL's protocol, and its SQL where used here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.servers.process import PASSWORD, Server
from tests.servers.programs import Program, unprivileged

if TYPE_CHECKING:
    import pymysql
    from pymysql.cursors import Cursor

MARIADBD = Program("mariadbd", "mariadb-server", "/usr/sbin/mariadbd")
INSTALL_DB = Program("mariadb-install-db", "mariadb-server")

SMALL = {
    "innodb-buffer-pool-size": "32M",
    "innodb-log-file-size": "32M",
    "aria-pagecache-buffer-size": "8M",
    "key-buffer-size": "1M",
    "max-connections": "100",
    # As Debian's configuration has it; the built-in is latin1.
    "character-set-server": "utf8mb4",
    "collation-server": "utf8mb4_general_ci",
}
FAST = {"innodb-flush-log-at-trx-commit": "2", "innodb-flush-method": "nosync"}
"""Not safe from a power cut, as safe as ever from kill -9: what the kernel has taken it writes, whatever becomes of the
process. (With 0 that would be lost too: a commit returns before the kernel has it.)"""

ACCOUNTS = f"""\
DROP USER IF EXISTS ''@'localhost', root@'127.0.0.1', root@'::1';
CREATE DATABASE IF NOT EXISTS cache;
CREATE USER IF NOT EXISTS tester@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON cache.* TO tester@'%';
CREATE USER IF NOT EXISTS root@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;
"""


class MariaDBServer(Server):
    """MariaDB. The account `tester` may do all in the database `cache`; `root`, with the same password, everywhere."""

    name = "MariaDB"
    scheme = "mysql"
    admin = "root"

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.runs_as = unprivileged("mysql")
        self._settings = {**SMALL, **({} if durable else FAST), **(settings or {})}

    def connect(
        self, *, user: str | None = None, password: str | None = None, **options: Any
    ) -> pymysql.Connection[Cursor]:
        """A connection of the driver, autocommit: as `tester`, or as `user=server.admin`."""
        import pymysql

        account: dict[str, Any] = {"user": user or self.user, "password": password or self.password}
        place: dict[str, Any] = {"host": self.host, "port": self.port, "database": self.database, "charset": "utf8mb4"}
        return pymysql.connect(**{"autocommit": True, "connect_timeout": 10} | place | account | options)

    def _prepare(self) -> None:
        self._own_file("accounts.sql", ACCOUNTS)
        self._install(
            INSTALL_DB.path,
            *("--no-defaults", f"--datadir={self.folder / 'data'}"),
            *("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"),
        )

    def _command(self) -> list[str]:
        own = {
            "datadir": self.folder / "data",
            "bind-address": self.host,
            "port": self.port,
            "socket": "mariadb.sock",  # in the data folder: a longer path may be too long for a socket
            "pid-file": "mariadb.pid",
            "init-file": self.folder / "accounts.sql",
        }
        settings = (f"--{name}={value}" for name, value in {**self._settings, **own}.items())
        return [MARIADBD.path, "--no-defaults", "--skip-name-resolve", *settings]

    def _answers(self) -> bool:
        import pymysql

        try:
            with self.connect() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                return cursor.fetchone() == (1,)
        except pymysql.err.OperationalError:
            return False
