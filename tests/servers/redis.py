"""Redis for the tests: alone, in each way of keeping its data, with a password, with TLS, full; and as a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from tests.servers.certificates import Certificates, make_certificates
from tests.servers.process import PASSWORD, Server
from tests.servers.programs import Program

if TYPE_CHECKING:
    import redis

REDIS_SERVER = Program("redis-server", "redis-server")

Persistence = Literal["none", "rdb", "aof", "aof-everysec"]
PERSISTENCE: Mapping[Persistence, Mapping[str, str]] = {
    "none": {"save": "", "appendonly": "no"},
    # As Redis ships: after an hour with 1 change, 5 minutes with 100, a minute with 10,000.
    "rdb": {"save": "3600 1 300 100 60 10000", "appendonly": "no"},
    "aof": {"save": "", "appendonly": "yes", "appendfsync": "always"},
    "aof-everysec": {"save": "", "appendonly": "yes", "appendfsync": "everysec"},
}


class RedisServer(Server):
    """One Redis: `RedisServer()`, `RedisServer(persistence="aof", password=True, tls=True, maxmemory="2mb")`.

    With `maxmemory` it is one that refuses to store when full (`noeviction`).
    """

    name = "Redis"
    scheme = "redis"
    user = None
    database = "0"

    def __init__(
        self,
        *,
        persistence: Persistence = "none",
        password: bool = False,
        tls: bool = False,
        maxmemory: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.password = PASSWORD if password else None
        self.scheme = "rediss" if tls else "redis"
        self.certificates: Certificates | None = None
        self._settings = dict(PERSISTENCE[persistence])
        if maxmemory is not None:
            self._settings |= {"maxmemory": maxmemory, "maxmemory-policy": "noeviction"}
        self._settings |= settings or {}

    def connect(self, **options: Any) -> redis.Redis:
        """A client of the driver."""
        import redis

        place: dict[str, Any] = {"host": self.host, "port": self.port, "password": self.password}
        if self.certificates is not None:
            place |= {"ssl": True, "ssl_ca_certs": str(self.certificates.authority)}
        # A failure is seen at once: by default the driver tries again for seconds.
        patience: dict[str, Any] = {"socket_timeout": 10, "socket_connect_timeout": 10, "retry": None}
        return redis.Redis(**patience | place | options)

    def _prepare(self) -> None:
        if self.scheme == "rediss":
            self.certificates = make_certificates(self.folder, self.host)

    def _command(self) -> list[str]:
        own = {"bind": self.host, "port": str(self.port), "dir": str(self.folder), "daemonize": "no"}
        if self.certificates is not None:
            own |= {
                "port": "0",
                "tls-port": str(self.port),
                "tls-cert-file": str(self.certificates.certificate),
                "tls-key-file": str(self.certificates.key),
                "tls-ca-cert-file": str(self.certificates.authority),
                "tls-auth-clients": "no",
            }
        if self.password is not None:
            own["requirepass"] = self.password
        settings = (word for name, value in {**self._settings, **own}.items() for word in (f"--{name}", value))
        return [REDIS_SERVER.path, *settings]

    def _answers(self) -> bool:
        import redis

        try:
            with self.connect() as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):  # a BusyLoadingError is one of the first
            return False
