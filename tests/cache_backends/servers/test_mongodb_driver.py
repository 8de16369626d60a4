"""MongoDB's driver: its options, its errors as sentences, and what the server says of itself. No server is needed."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import pymongo
import pytest
from pymongo import errors
from pymongo.common import URI_OPTIONS_VALIDATOR_MAP

from cache_backends import CacheConfigError, CacheUnavailableError, CacheUnreachableError, open_cache
from cache_backends.errors import CacheError
from cache_backends.servers.address import Address
from cache_backends.servers.mongodb import MongoDBCache
from cache_backends.servers.mongodb_about import about, durability_of
from cache_backends.servers.mongodb_clients import OPTIONS, with_usual_names
from cache_backends.servers.mongodb_errors import failure
from tests.cache_backends.answers import look

NOWHERE = "mongodb://127.0.0.1:1/cache?timeout=0.01"
"""Where nobody listens."""
SECRET = "s3cr3t-passw0rd"
HOUR = 3600.0


# Options


def test_mongodbs_own_options_reach_the_driver() -> None:
    url = f"{NOWHERE}&replicaSet=rs0&w=2&journal=true&readPreference=nearest&retryWrites=false&maxPoolSize=7&ttl=1h"
    with MongoDBCache(url, appName="ours") as cache:
        entries = cache._store.clients.collections().entries
        client = entries.database.client
    assert (entries.write_concern.document, client.read_preference.name) == ({"w": 2, "j": True}, "Nearest")
    assert (client.options.retry_writes, client.options.pool_options.max_pool_size) == (False, 7)
    assert (client.options.replica_set_name, client.options.pool_options.appname) == ("rs0", "ours")
    assert client.options.server_selection_timeout == client.options.pool_options.connect_timeout == 0.01
    assert cache.ttl_s == HOUR


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_one_of_the_drivers_and_its_case_does_not_matter(name: str) -> None:
    assert name.lower() in URI_OPTIONS_VALIDATOR_MAP
    assert with_usual_names(f"mongodb://h/d?{name.upper()}=a%26B&ttl=1h") == f"mongodb://h/d?{name}=a%26B&ttl=1h"


@pytest.mark.parametrize("url", ["mongodb://h/d", "mongodb://h/d?", "mongodb://h/d?ttl=1h", "mongodb://h/d?a&b=1=2"])
def test_all_else_of_a_url_stays_as_it_is(url: str) -> None:
    assert with_usual_names(url) == url


def test_a_switch_may_be_one_of_python() -> None:
    with MongoDBCache(NOWHERE, tls=True, retryWrites=False) as cache:
        options = cache._store.clients.collections().entries.database.client.options
    assert (options.pool_options._ssl_context is not None, options.retry_writes) == (True, False)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("tls=maybe", "tls must be 'true' or 'false'"),
        ("w=-1", "w must be a non negative integer"),
        ("readPreference=first", "secondaryPreferred"),
        ("maxPoolSize=many", "maxPoolSize must be an integer"),
        ("tlsCAFile=/no/such/file", "/no/such/file"),
        ("w=0&journal=true", "Cannot set w to 0 and j to True."),
        ("timeoutMS=100", "Unknown option 'timeoutMS'"),
        ("replicas=3", "Unknown option 'replicas'"),
    ],
)
def test_a_wrong_option_is_said_and_what_is_allowed(option: str, said: str) -> None:
    with pytest.raises(CacheConfigError) as raised:
        open_cache(f"mongodb://ada:{SECRET}@localhost/cache?{option}")
    assert said in str(raised.value)
    assert "replicaSet" in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["mongodb://h", "mongodb://h/?w=1", "mongodb://h/a.b", "mongodb://h/%24a", "mongodb://h/a%20b"]
)
def test_a_url_must_name_a_database(url: str) -> None:
    with pytest.raises(CacheConfigError, match="names no database of MongoDB"):
        open_cache(url)


@pytest.mark.parametrize(
    "url", ["mongodb+srv://h.example.com:27017/d", "mongodb+srv://a.b.com,c.d.com/d", "mongodb://ada@h/d"]
)
def test_what_the_driver_cannot_use_is_refused_when_the_cache_is_opened(url: str) -> None:
    with pytest.raises(CacheConfigError, match="can't be used as it is"):
        open_cache(url)


def test_a_name_that_nobody_knows_is_a_failure_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    import dns.resolver

    def unknown(*_: Any, **__: Any) -> None:
        raise dns.resolver.NXDOMAIN

    monkeypatch.setattr(dns.resolver, "resolve", unknown)
    with open_cache(f"mongodb+srv://ada:{SECRET}@cluster.example.com/cache") as cache:
        lookup = look(cache, "q")
    assert lookup.outcome == "error"
    assert "mongodb+srv://cluster.example.com/cache can't be found" in str(lookup.error)


# Errors

ADDRESS = Address.parsed(f"mongodb://ada:{SECRET}@h:27017/cache")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            errors.ServerSelectionTimeoutError(
                "h:27017: [Errno 111] Connection refused (configured timeouts: connectTimeoutMS: 1000.0ms), "
                "Timeout: 1.0s, Topology Description: <TopologyDescription id: 1>"
            ),
            CacheUnreachableError,
            "mongodb://h:27017/cache can't be connected to within 1 s: h:27017: [Errno 111] Connection refused.",
        ),
        (
            errors.ServerSelectionTimeoutError("h:27017: timed out (configured timeouts: x), Timeout: 1.0s"),
            CacheUnreachableError,
            "mongodb://h:27017/cache did not answer within 1 s.",
        ),
        (errors.NetworkTimeout("h:27017: timed out"), CacheUnreachableError, "did not answer within 1 s"),
        (errors.ExecutionTimeout("operation exceeded time limit", 50), CacheUnreachableError, "did not answer within"),
        (
            errors.WaitQueueTimeoutError("Timed out while checking out a connection"),
            CacheUnreachableError,
            "not answer",
        ),
        (errors.AutoReconnect("h:27017: connection closed"), CacheUnreachableError, "ended the connection: h:27017"),
        (errors.NotPrimaryError("not primary"), CacheUnreachableError, "has no primary server now"),
        (errors.OperationFailure("Authentication failed.", 18), CacheUnreachableError, "with this user and password"),
        (errors.OperationFailure("bad auth", 8000), CacheUnreachableError, "with this user and password"),
        (errors.OperationFailure(f"no, {SECRET}", 13), CacheUnavailableError, "refused: no, ***"),
        (
            errors.OperationFailure("over quota, full error: {'x': 1}", 14031),
            CacheUnavailableError,
            "refused: over quota.",
        ),
        (errors.ConfigurationError("no SRV record"), CacheUnreachableError, "can't be found: no SRV record."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_of_the_driver_becomes_a_sentence(error: Exception, kind: type[CacheError], said: str) -> None:
    became = failure(ADDRESS, error, 1.0)
    assert type(became) is kind
    assert said in str(became)
    assert SECRET not in str(became)


def test_who_gives_no_password_where_one_is_needed_is_not_let_in() -> None:
    error = errors.OperationFailure("command find requires authentication", 13)
    assert type(failure(Address.parsed("mongodb://h/cache"), error, 1.0)) is CacheUnreachableError


# What it is, and what survives


class FakeServer:
    """A database whose server answers commands as it is told to."""

    def __init__(self, answers: Mapping[str, Any], write_concern: Mapping[str, Any]) -> None:
        self.client = self.admin = self
        self._answers = answers
        self.write_concern = pymongo.WriteConcern(**write_concern)

    def command(self, name: str) -> Any:
        """The answer to a command."""
        if name not in self._answers:
            raise errors.OperationFailure(f"no such command: {name}", 59)
        return self._answers[name]


MONGODB = {"version": "8.0.4", "gitVersion": "bc35ab4305d9920d9d0491c1c9ef9b72383d31f9", "modules": []}


@pytest.mark.parametrize(
    ("answers", "write_concern", "durability", "detail"),
    [
        ({"hello": {}}, {}, "every_second", "w=1, j=unset, no replica set: the journal is written every 100 ms"),
        ({"hello": {}}, {"j": True}, "every_write", "w=1, j=true, no replica set"),
        ({"hello": {"setName": "rs0"}}, {}, "every_write", "w=majority, j=unset, replica set"),
        ({"hello": {"msg": "isdbgrid"}}, {}, "every_write", "w=majority, j=unset, replica set"),
        ({"hello": {"setName": "rs0"}}, {"w": 1}, "every_second", "w=1, j=unset, replica set: the journal is"),
        ({"hello": {"setName": "rs0"}}, {"w": 0}, "unknown", "w=0, j=unset, replica set: nothing is acknowledged"),
        (
            {"hello": {"setName": "rs0"}, "getDefaultRWConcern": {"defaultWriteConcern": {"w": 1, "wtimeout": 0}}},
            *({}, "every_second", "w=1, j=unset, replica set"),
        ),
        ({"hello": {"setName": "rs0"}, "buildInfo": MONGODB | {"version": "4.4.1"}}, {}, "every_second", "w=1"),
    ],
)
def test_what_survives_follows_from_the_write_concern(
    answers: dict[str, Any], write_concern: dict[str, Any], durability: str, detail: str
) -> None:
    said = about(FakeServer({"buildInfo": MONGODB} | answers, write_concern))  # type: ignore[arg-type]
    assert (said.product, said.durability) == ("MongoDB", durability)
    assert said.detail.startswith(detail)


def test_a_server_that_only_speaks_the_protocol_is_called_by_its_name() -> None:
    ferretdb = about(FakeServer({"buildInfo": MONGODB | {"ferretdb": {"version": "v2.0.0"}}}, {}))  # type: ignore[arg-type]
    assert (ferretdb.product, ferretdb.durability) == ("FerretDB", "unknown")
    assert "speaks its protocol" in ferretdb.detail


def test_a_journal_is_no_promise_where_nothing_is_acknowledged() -> None:
    assert durability_of({"w": 0}, has_replicas=True)[0] == "unknown"
    assert durability_of({"w": "majority", "j": False}, has_replicas=True)[0] == "every_second"
    assert durability_of({"w": "majority"}, has_replicas=False)[0] == "every_second"


def test_nobody_is_asked_when_a_cache_is_opened_but_when_it_is_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with open_cache(f"mongodb://127.0.0.1:{listener.getsockname()[1]}/cache?timeout=0.1") as cache:
            assert cache.trouble is None
            with pytest.raises(BlockingIOError):
                listener.accept()
            look(cache, "q")
            listener.accept()[0].close()
