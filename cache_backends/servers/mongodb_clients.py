"""`Clients`: the driver's clients for one MongoDB, one of the process and one of each event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pymongo
from pymongo.errors import PyMongoError

from cache_backends.errors import CacheConfigError
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.servers.address import Address
from cache_backends.servers.connections import IDLE_S, MOST_AT_ONCE

Client = pymongo.MongoClient[dict[str, Any]]
AsyncClient = pymongo.AsyncMongoClient[dict[str, Any]]

OPTIONS = (
    "appName",
    "authMechanism",
    "authMechanismProperties",
    "authSource",
    "compressors",
    "directConnection",
    "journal",
    "loadBalanced",
    "localThresholdMS",
    "maxPoolSize",
    "maxStalenessSeconds",
    "minPoolSize",
    "readConcernLevel",
    "readPreference",
    "readPreferenceTags",
    "replicaSet",
    "retryReads",
    "retryWrites",
    "srvMaxHosts",
    "srvServiceName",
    "ssl",
    "tls",
    "tlsAllowInvalidCertificates",
    "tlsAllowInvalidHostnames",
    "tlsCAFile",
    "tlsCertificateKeyFile",
    "tlsCertificateKeyFilePassword",
    "tlsCRLFile",
    "tlsDisableOCSPEndpointCheck",
    "tlsInsecure",
    "w",
    "zlibCompressionLevel",
)
"""The options of MongoDB's own URLs, but for timeouts, which follow from `timeout`; see "Connection String Options" in
its manual. The driver checks their values."""

_SWITCHES = {"True": "true", "False": "false"}


class Clients(Forkable):
    """Clients connect when they are first used, and keep connections, and tasks that watch the server, until closed."""

    def __init__(self, address: Address, settings: dict[str, str], timeout_s: float) -> None:
        """Raises `CacheConfigError` for settings that the driver can't use."""
        self._address = address
        self._options = _options(address, settings, timeout_s)
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._of_loops: dict[asyncio.AbstractEventLoop, AsyncClient] = {}
        self._inherited: list[object] = []
        self._closed = False
        tell_of_forks(self)
        self.client()

    def after_fork_in_child(self) -> None:
        """Clients are the parent's. They are kept, not closed: that would end the parent's sessions."""
        self._lock = threading.Lock()
        self._inherited.append((self._client, self._of_loops))
        self._client = None
        self._of_loops = {}

    def client(self) -> Client:
        """The client of this process."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = self._made(pymongo.MongoClient)
        return self._client

    def client_of_loop(self) -> AsyncClient:
        """The client of the running event loop."""
        loop = asyncio.get_running_loop()
        client = self._of_loops.get(loop)
        if client is None:
            with self._lock:
                for other in [other for other in self._of_loops if other.is_closed()]:
                    del self._of_loops[other]  # its tasks ended with the loop
                client = self._of_loops[loop] = self._made(pymongo.AsyncMongoClient)
        return client

    def close(self) -> None:
        """Close all clients; those of other event loops as soon as these get to it."""
        if self._closed:
            return
        self._closed = True
        if self._client is not None:
            with pymongo.timeout(self._timeout_s), contextlib.suppress(PyMongoError):
                self._client.close()
        for loop, client in list(self._of_loops.items()):
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                loop.call_soon_threadsafe(_close_soon, loop, client)

    def _made(self, kind: Callable[..., Any]) -> Any:
        try:
            return kind(_url(self._address), **self._options)
        except (PyMongoError, ValueError, TypeError, OSError) as error:
            raise CacheConfigError(
                f"{self._address.name!r} can't be used as it is: {self._address.without_password(str(error))} "
                f"Options of MongoDB that may stand in the URL: {', '.join(OPTIONS)}."
            ) from error


def _close_soon(loop: asyncio.AbstractEventLoop, client: AsyncClient) -> None:
    closing = loop.create_task(client.close())
    closing.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody waits for it


def _url(address: Address) -> str:
    """The URL without user and password, which are handed over apart."""
    hosts = ",".join(_host(name) + (f":{port}" if port else "") for name, port in address.hosts)
    return f"{address.scheme}://{hosts}/{quote(address.database, safe='')}"


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else quote(name, safe="")  # a socket has slashes in it


def _options(address: Address, settings: dict[str, str], timeout_s: float) -> dict[str, Any]:
    milliseconds = timeout_s * 1000
    options: dict[str, Any] = {
        "appName": "llm_cache",
        "maxPoolSize": MOST_AT_ONCE,
        "maxIdleTimeMS": IDLE_S * 1000,
        **{name: _SWITCHES.get(value, value) for name, value in settings.items()},
        "connect": False,
        "timeoutMS": milliseconds,
        "connectTimeoutMS": milliseconds,
        "serverSelectionTimeoutMS": milliseconds,
    }
    if address.user is not None:
        options["username"] = address.user
    if address.password is not None:
        options["password"] = address.password
    return options
