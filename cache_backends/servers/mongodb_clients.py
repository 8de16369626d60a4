"""`Clients`: the driver's clients for one MongoDB, one of the process and one of each event loop."""

from __future__ import annotations

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
from cache_backends.servers.mongodb_collections import AsyncClient, AsyncCollections, Client, Collections
from cache_backends.servers.per_loop import PerLoop

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

_USUAL = {name.lower(): name for name in OPTIONS}
_SWITCHES = {"True": "true", "False": "false"}


def with_usual_names(url: str) -> str:
    """A URL with MongoDB's options as `OPTIONS` spells them: their case does not matter to MongoDB.

    >>> with_usual_names("mongodb://localhost/cache?replicaset=rs0&ttl=1h")
    'mongodb://localhost/cache?replicaSet=rs0&ttl=1h'
    """
    place, separator, query = url.partition("?")
    options = (option.partition("=") for option in query.split("&"))
    named = ("".join((_USUAL.get(name.lower(), name), *rest)) for name, *rest in options)
    return f"{place}{separator}{'&'.join(named)}"


class Clients(Forkable):
    """Clients connect when they are first used, and keep connections, and tasks that watch the server, until closed."""

    def __init__(self, address: Address, prefix: str, settings: dict[str, str], timeout_s: float) -> None:
        """Raises `CacheConfigError` for settings that the driver can't use."""
        self._address = address
        self._prefix = prefix
        self._options = _options(address, settings, timeout_s)
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._here: tuple[Client, Collections] | None = None
        self._of_loops = PerLoop(self._open_in_loop, self._close_in_loop)
        self._inherited: list[object] = []
        self._closed = False
        tell_of_forks(self)
        self.collections()

    def after_fork_in_child(self) -> None:
        """Clients are the parent's. They are kept, not closed: that would end the parent's sessions."""
        self._lock = threading.Lock()
        self._inherited.append(self._here)
        self._here = None

    def collections(self) -> Collections:
        """The collections by the client of this process."""
        here = self._here
        if here is None:
            with self._lock:
                here = self._here
                if here is None:
                    client = self._made(pymongo.MongoClient)
                    here = self._here = client, Collections.of(client, self._address.database, self._prefix)
        return here[1]

    async def collections_of_loop(self) -> AsyncCollections:
        """The collections by the client of the running event loop."""
        _, collections = await self._of_loops.here()
        return collections

    def close(self) -> None:
        """Close all clients; those of event loops as soon as these get to it."""
        if self._closed:
            return
        self._closed = True
        if self._here is not None:
            with pymongo.timeout(self._timeout_s), contextlib.suppress(PyMongoError):
                self._here[0].close()
        self._of_loops.close()

    def _open_in_loop(self) -> tuple[AsyncClient, AsyncCollections]:
        client = self._made(pymongo.AsyncMongoClient)
        return client, AsyncCollections.of(client, self._address.database, self._prefix)

    async def _close_in_loop(self, opened: tuple[AsyncClient, AsyncCollections]) -> None:
        client, _ = opened
        with pymongo.timeout(self._timeout_s), contextlib.suppress(PyMongoError):
            await client.close()

    def _made(self, kind: Callable[..., Any]) -> Any:
        try:
            return kind(_url(self._address), **self._options)
        except (PyMongoError, ValueError, TypeError, OSError) as error:
            raise CacheConfigError(
                f"{self._address.name!r} can't be used as it is: "
                f"{self._address.without_password(str(error)).rstrip('.')}. "
                f"Options of MongoDB that may stand in the URL: {', '.join(OPTIONS)}."
            ) from error


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
