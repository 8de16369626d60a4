"""The servers of the tests are real: they answer, refuse, keep what they should, hang, and end without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pymongo.errors
import pymysql
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.cache_backends.processes import fork
from tests.servers import shared
from tests.servers.asking import AnyServer, asked
from tests.servers.available import available
from tests.servers.mariadb import MariaDBServer
from tests.servers.mongodb import NamedServer, ProtocolServer
from tests.servers.postgres import INITDB, POSTGRES, PostgresServer
from tests.servers.process import RUN, is_alive, wait_until
from tests.servers.programs import NotInstalledError, Program
from tests.servers.redis import REDIS_SERVER, RedisServer
from tests.servers.redis_cluster import NODES, SLOTS, RedisClusterServer


def locked_cluster() -> RedisClusterServer:
    """A cluster with a password that keeps everything."""
    return RedisClusterServer(persistence="aof", password=True)


ALONE: dict[str, Callable[[], AnyServer]] = {
    "PostgreSQL": PostgresServer,
    "MariaDB": MariaDBServer,
    "Redis": RedisServer,
    "MongoDB's protocol": ProtocolServer,
}
SERVERS: dict[str, Callable[[], AnyServer]] = {**ALONE, "Redis Cluster": RedisClusterServer}
LOCKED: dict[str, Callable[[], AnyServer]] = {
    "PostgreSQL": PostgresServer,
    "MariaDB": MariaDBServer,
    "Redis": lambda: RedisServer(password=True),
    "Redis Cluster": locked_cluster,
}
"""Those with passwords: nx-27017 knows none."""
KEEPS: dict[str, Callable[[], AnyServer]] = {
    "PostgreSQL, durable": lambda: PostgresServer(durable=True),
    "PostgreSQL, fast": PostgresServer,
    "MariaDB, durable": lambda: MariaDBServer(durable=True),
    "MariaDB, fast": MariaDBServer,
    "Redis, AOF always": lambda: RedisServer(persistence="aof"),
    "Redis, AOF every second": lambda: RedisServer(persistence="aof-everysec"),
    "MongoDB's protocol": ProtocolServer,
}
DRIVER_ERRORS = (
    *(psycopg.Error, pymysql.err.MySQLError, pymongo.errors.PyMongoError, OSError),
    *(redis.RedisError, redis.exceptions.RedisClusterException),  # the second is none of the first
)
SHORT: dict[type, dict[str, Any]] = {
    PostgresServer: {"connect_timeout": 2},  # the shortest that libpq takes
    MariaDBServer: {"connect_timeout": 1, "read_timeout": 1},
    RedisServer: {"socket_timeout": 0.2},
    RedisClusterServer: {"socket_timeout": 0.2, "retry": Retry(NoBackoff(), 0)},
    ProtocolServer: {"serverSelectionTimeoutMS": 200, "connectTimeoutMS": 200, "socketTimeoutMS": 200},
}
"""How long each driver is let wait for a server that hangs or is away."""

RUN_THAT_IS_KILLED = """
import os, signal
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

for server in (RedisServer().start(), PostgresServer().start()):
    connection = server.connect()
    print(server.pid, server.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


Start = Callable[[Callable[[], AnyServer]], Any]


@pytest.fixture(scope="module")
def started() -> Iterator[Start]:
    """Start servers: `started(PostgresServer)`, or start it again; the same class or function is the same server."""
    servers: dict[Callable[[], AnyServer], AnyServer] = {}
    with ExitStack() as ends:

        def start(make: Callable[[], AnyServer]) -> AnyServer:
            if make not in servers:
                servers[make] = make()
                ends.callback(servers[make].close)
            return available(servers[make].start)

        yield start


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """What a test stores under: a name of its own."""
    return str(request.node.name)[-50:]


def processes(server: Any) -> list[psutil.Process]:
    """All processes of a server."""
    first = [psutil.Process(one.pid) for one in getattr(server, "nodes", [server])]
    return first + [child for process in first for child in process.children(recursive=True)]


@pytest.mark.parametrize("make", SERVERS.values(), ids=SERVERS)
def test_a_server_answers_its_own_driver(started: Start, make: Callable[[], AnyServer], name: str) -> None:
    server = started(make)
    asked(server).put(name, "Carl Sagan")
    assert asked(server).get(name) == "Carl Sagan"


@pytest.mark.parametrize("make", SERVERS.values(), ids=SERVERS)
def test_a_url_says_where_the_server_is_and_carries_options(started: Start, make: Callable[[], AnyServer]) -> None:
    server = started(make)
    url = urlsplit(server.url(prefix="t 1", timeout=0.5))
    place = (url.scheme, url.hostname, url.port, url.password)
    assert place == (server.scheme, server.host, server.port, server.password)
    assert parse_qs(url.query) == {"prefix": ["t 1"], "timeout": ["0.5"]}


@pytest.mark.parametrize("make", LOCKED.values(), ids=LOCKED)
def test_a_wrong_password_is_refused(started: Start, make: Callable[[], AnyServer], name: str) -> None:
    server = started(make)
    with pytest.raises(DRIVER_ERRORS, match=r"(?i)password|access denied"):
        asked(server, password="wrong").get(name)
    assert ":wrong@" in server.url(password="wrong")


@pytest.mark.parametrize("make", KEEPS.values(), ids=KEEPS)
def test_what_was_acknowledged_survives_a_kill_where_the_server_keeps_it(
    started: Start, make: Callable[[], AnyServer], name: str
) -> None:
    server = started(make)
    for number in range(20):
        asked(server).put(f"{name[-40:]} {number}", str(number))
    port = server.port
    server.kill()
    with pytest.raises(DRIVER_ERRORS):
        asked(server, **SHORT[type(server)]).get(name)
    server.start()
    assert [asked(server).get(f"{name[-40:]} {number}") for number in range(20)] == [str(n) for n in range(20)]
    assert server.port == port


def test_redis_that_keeps_nothing_has_nothing_after_a_kill(started: Start, name: str) -> None:
    server = started(RedisServer)
    asked(server).put(name, "Carl Sagan")
    server.kill()
    server.start()
    assert asked(server).get(name) is None


def test_redis_with_snapshots_has_the_last_one_after_a_kill_and_all_after_a_stop(started: Start) -> None:
    server = started(lambda: RedisServer(persistence="rdb"))
    asked(server).put("before", "1")
    with server.connect() as client:
        client.save()
    asked(server).put("after", "2")
    server.kill()
    server.start()
    assert (asked(server).get("before"), asked(server).get("after")) == ("1", None)
    asked(server).put("after", "2")
    server.stop()
    server.start()
    assert (asked(server).get("before"), asked(server).get("after")) == ("1", "2")


@pytest.mark.parametrize("make", SERVERS.values(), ids=SERVERS)
def test_a_kill_leaves_no_process_of_the_server(started: Start, make: Callable[[], AnyServer]) -> None:
    server = started(make)
    connections = [server.connect() for _ in range(3)]  # PostgreSQL has a process for each
    family = processes(server)
    assert len(family) >= (9 if make is PostgresServer else 1)
    server.kill()
    assert not [process for process in family if is_alive(process)]
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("make", SERVERS.values(), ids=SERVERS)
def test_a_paused_server_hangs_and_a_resumed_one_answers(
    started: Start, make: Callable[[], AnyServer], name: str
) -> None:
    server = started(make)
    asked(server).put(name, "Carl Sagan")
    server.pause()
    assert {process.status() for process in processes(server)} <= {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    with pytest.raises(DRIVER_ERRORS, match=r"(?i)time"):
        asked(server, **SHORT[type(server)]).get(name)
    server.resume()
    server.start()  # the nodes of a cluster need a moment to find each other again: this waits for it
    assert asked(server).get(name) == "Carl Sagan"


@pytest.mark.parametrize("make", ALONE.values(), ids=ALONE)
def test_a_paused_server_can_be_killed_and_ended(started: Start, make: Callable[[], AnyServer]) -> None:
    server = started(make)
    server.pause()
    server.kill()
    server.start()
    server.pause()
    server.stop()
    assert not server.is_running


@pytest.mark.parametrize("make", ALONE.values(), ids=ALONE)
def test_a_stopped_server_has_its_data_when_it_is_started_again(
    started: Start, make: Callable[[], AnyServer], name: str
) -> None:
    server = started(make)
    asked(server).put(name, "Carl Sagan")
    family = processes(server)
    server.stop()
    assert not [process for process in family if is_alive(process)]
    server.start()
    assert asked(server).get(name) == (None if make is RedisServer else "Carl Sagan")


@pytest.mark.parametrize("make", SERVERS.values(), ids=SERVERS)
def test_a_closed_server_leaves_neither_process_nor_folder(started: Start, make: Callable[[], AnyServer]) -> None:
    server = started(make)
    folders = [one.folder for one in getattr(server, "nodes", [server])]
    family = processes(server)
    server.close()
    assert not [process for process in family if is_alive(process)]
    assert not any(folder.exists() for folder in folders)


def test_a_run_that_is_killed_leaves_no_server_behind() -> None:
    available(lambda: [program.path for program in (REDIS_SERVER, POSTGRES, INITDB)])
    run = subprocess.run(
        [sys.executable, "-c", RUN_THAT_IS_KILLED], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    left = [line.split(" ", 1) for line in run.stdout.splitlines()]
    assert len(left) == 2

    def all_gone() -> bool:
        return not any(psutil.pid_exists(int(pid)) or Path(folder).exists() for pid, folder in left)

    wait_until(all_gone, 30, lambda: f"still there: {left}")


def test_a_forked_child_that_ends_leaves_its_parents_servers_alone(started: Start) -> None:
    server = started(RedisServer)
    pid = fork()
    if pid == 0:
        RUN.close()  # not all of atexit's: other libraries would remove folders that are their parent's
        os._exit(0)
    os.waitpid(pid, 0)
    assert server.folder.exists()
    asked(server).put("astronomer", "Carl Sagan")


def test_redis_with_tls_is_reached_by_those_who_trust_its_authority(started: Start) -> None:
    server = started(lambda: RedisServer(tls=True, password=True))
    asked(server).put("astronomer", "Carl Sagan")
    assert server.url().startswith("rediss://")
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        asked(server, ssl_ca_certs=None).get("astronomer")
    with pytest.raises(redis.ConnectionError), redis.Redis(server.host, server.port, retry=None) as plain:
        plain.ping()


def test_a_full_redis_refuses_to_store(started: Start) -> None:
    server = started(lambda: RedisServer(maxmemory="3mb"))
    with server.connect() as client:
        client.set("first", "")
        with pytest.raises(redis.OutOfMemoryError):
            fill(client)
        assert client.get("first") == b""


def fill(client: redis.Redis) -> None:
    """Store 10 MB."""
    for number in range(100):
        client.set(f"n{number}", bytes(100_000))


def test_a_cluster_serves_every_slot_from_all_of_its_nodes(started: Start, name: str) -> None:
    server = started(locked_cluster)
    for number in range(30):
        asked(server).put(f"{name} {number}", str(number))
    for node in server.nodes:
        with node.connect() as client:
            assert client.dbsize() > 0
    with server.connect() as cluster:
        assert len(cluster.get_primaries()) == NODES
        assert len(cluster.nodes_manager.slots_cache) == SLOTS


def test_a_cluster_is_whole_again_when_a_node_that_was_away_comes_back(started: Start, name: str) -> None:
    server = started(locked_cluster)
    for number in range(10):
        asked(server).put(f"{name} {number}", str(number))
    server.nodes[1].kill()
    server.start()
    assert [asked(server).get(f"{name} {number}") for number in range(10)] == [str(number) for number in range(10)]


def test_the_shared_servers_are_one_of_each_kind() -> None:
    for start in (
        shared.shared_postgres,
        shared.shared_mariadb,
        shared.shared_redis,
        shared.shared_redis_cluster,
        shared.shared_mongodb,
    ):
        server = available(start)
        assert available(start) is server
        assert server.url()


def not_there() -> str:
    """What starting a server that nobody installed does."""
    return Program("no-such-server", "no-such-package").path


def test_what_is_not_installed_is_a_skipped_test_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(
        pytest.skip.Exception, match=r"need no-such-server: install it .*apt-get install no-such-package"
    ):
        available(not_there)


def test_what_is_not_installed_is_a_failure_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="need no-such-server"):
        available(not_there)


def test_a_real_mongodb_is_asked_by_the_url_that_names_it() -> None:
    server = NamedServer("mongodb://ada:pass%20word@db.example.com:27018/?authSource=admin")
    assert server.url(prefix="t1") == "mongodb://ada:pass%20word@db.example.com:27018/cache?authSource=admin&prefix=t1"
    assert (server.host, server.port, server.database) == ("db.example.com", 27018, "cache")


def test_a_real_mongodb_that_does_not_answer_is_a_sentence_without_its_password() -> None:
    with pytest.raises(NotInstalledError, match=r"MONGODB_URL names does not answer") as raised:
        NamedServer("mongodb://ada:secret@127.0.0.1:9/").start()
    assert "secret" not in str(raised.value)
