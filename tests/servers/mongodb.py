"""MongoDB for the tests: `nx-27017`, which speaks its protocol over SQLite, or a real one named by MONGODB_URL."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tests.servers.process import Server
from tests.servers.programs import NotInstalledError

if TYPE_CHECKING:
    import pymongo

EXACT_NX = Path(__file__).with_name("exact_nx.py")


class ProtocolServer(Server):
    """`nx-27017` from PyPI. It knows no passwords; what it proves is the protocol, not MongoDB."""

    name = "nx-27017"
    scheme = "mongodb"
    user = None
    password = None
    is_real = False

    def connect(self, **options: Any) -> pymongo.MongoClient[dict[str, Any]]:
        """A client of the driver."""
        return client(self.url(), **options)

    def _command(self) -> list[str]:
        if importlib.util.find_spec("nx_27017") is None:
            raise NotInstalledError(
                "Tests on MongoDB's protocol need nx-27017: pip install -r requirements-dev.txt, or set MONGODB_URL."
            )
        command = [sys.executable, "-P", str(EXACT_NX), "--host", self.host, "--port", str(self.port)]
        return [*command, "--db", str(self.folder / "mongo.db"), "--log-file", "nx.log", "--pid-file", "nx.pid"]

    def _answers(self) -> bool:
        return pings(self.url())


class NamedServer:
    """The real MongoDB that MONGODB_URL names. It is somebody else's: it can't be killed or paused from here."""

    name = "MongoDB"
    is_real = True
    is_running = True

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self.host = self._parts.hostname or ""
        self.port = self._parts.port or 27017
        self.password = self._parts.password
        self.database = self._parts.path.strip("/") or "cache"

    def url(self, **options: Any) -> str:
        """The URL for `open_cache`: the named one, a database where it has none, and these options."""
        query = urlencode(dict(parse_qsl(self._parts.query)) | options)
        return urlunsplit(self._parts._replace(path=f"/{self.database}", query=query))

    def connect(self, **options: Any) -> pymongo.MongoClient[dict[str, Any]]:
        """A client of the driver."""
        return client(self.url(), **options)

    def start(self) -> Self:
        """See that it answers."""
        if not pings(self.url()):
            raise NotInstalledError(f"The MongoDB that MONGODB_URL names does not answer ({self.host}:{self.port}).")
        return self

    def stop(self) -> None:
        """It goes on."""

    close = stop

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        """It goes on."""


def mongodb_server() -> ProtocolServer | NamedServer:
    """The real one if MONGODB_URL names one, else one that speaks the protocol; not started yet."""
    url = os.environ.get("MONGODB_URL")
    return NamedServer(url) if url else ProtocolServer()


def client(url: str, **options: Any) -> pymongo.MongoClient[dict[str, Any]]:
    """A client of the driver, with a wait for a server short enough for a test."""
    import pymongo

    return pymongo.MongoClient(url, **{"serverSelectionTimeoutMS": 2000, "connectTimeoutMS": 2000} | options)


def pings(url: str) -> bool:
    """Whether a MongoDB answers at this URL."""
    import pymongo.errors

    try:
        with client(url, serverSelectionTimeoutMS=500) as asked:
            return bool(asked.admin.command("ping")["ok"])
    except pymongo.errors.PyMongoError:
        return False
