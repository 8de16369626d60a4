"""PostgreSQL: what only it can do wrong. What it shares with every backend is in the shared suite."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from cache_backends import CacheUnavailableError, CacheUnreachableError, PostgresCache, open_cache
from cache_backends.servers import postgres_session
from cache_backends.servers.connections import DroppedError
from cache_backends.servers.postgres_session import PostgresSession, _until
from tests.cache_backends.answers import LLM, chat, found, key_of, store, texts, whole
from tests.cache_backends.backends import own_prefix
from tests.servers.available import available
from tests.servers.postgres import PostgresServer
from tests.servers.process import wait_until
from tests.servers.shared import shared_postgres

OpenPostgres = Callable[..., PostgresCache]

PATIENT_S = 20
"""The timeout of caches that are not to fail because the machine is busy."""


@pytest.fixture
def server() -> PostgresServer:
    """The server of the test run."""
    return available(shared_postgres)


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """What the test's tables begin with."""
    return own_prefix(tmp_path)


@pytest.fixture
def open_postgres(server: PostgresServer, prefix: str) -> Iterator[OpenPostgres]:
    """Opens the test's cache, as often as asked."""
    opened: list[PostgresCache] = []

    def open_it(url: str | None = None, **options: Any) -> PostgresCache:
        cache = open_cache(url or server.url(), **{"prefix": prefix, "timeout": PATIENT_S, "strict": True} | options)
        assert isinstance(cache, PostgresCache)
        opened.append(cache)
        return cache

    yield open_it
    for cache in opened:
        cache.close()


def test_a_store_does_not_wait_for_rows_that_somebody_else_holds(
    open_postgres: OpenPostgres, server: PostgresServer, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_postgres(timeout=0.5, max_entries=100)
    store(cache, "q", "answer")
    assert found(cache, "q") == ["answer"]
    with server.connect(autocommit=False) as other:
        other.execute(f"select 1 from {prefix}_entries for update")
        store(cache, "r", "answer")  # which writes that q was used
        store(cache, "s", "answer")
        with server.connect() as third:
            assert third.execute(f"select max(hits) from {prefix}_entries").fetchone() == (0,)
    wait_until(lambda: whole(cache, "q").hits == 1, PATIENT_S, lambda: "the use was not written")
    assert caplog.messages == []


@pytest.fixture
def session(open_postgres: OpenPostgres) -> Iterator[PostgresSession]:
    """A connection whose statements may take 0.3 s, to a server with one entry."""
    cache = open_postgres()
    store(cache, "q", "answer")
    with closing(cache._store._connect(0.3)) as session:
        assert isinstance(session, PostgresSession)
        yield session


def test_many_changes_that_wait_too_long_are_a_timeout_and_no_dropped_connection(
    session: PostgresSession, server: PostgresServer, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    with server.connect(autocommit=False) as other:
        other.execute(f"select 1 from {prefix}_entries for update")
        with pytest.raises(CacheUnreachableError, match="did not answer within") as caught:
            session.change_many(f"update {prefix}_entries set hits = %s", [(1,), (2,)])
    assert not isinstance(caught.value, DroppedError)
    assert caplog.messages == []


def test_a_list_that_waits_too_long_leaves_nothing_in_the_log(
    session: PostgresSession, server: PostgresServer, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    with server.connect(autocommit=False) as other:
        other.execute(f"lock table {prefix}_entries in access exclusive mode")
        with pytest.raises(CacheUnreachableError, match="did not answer within"):
            session.select_by_one_process(f"select * from {prefix}_entries")
    assert caplog.messages == []


@pytest.mark.parametrize(("set_before", "limit"), [("0", "32s"), ("5s", "5s"), ("1h", "32s"), ("1500ms", "1500ms")])
def test_the_server_ends_a_list_or_upkeep_that_nobody_waits_for_any_more(
    open_postgres: OpenPostgres, set_before: str, limit: str
) -> None:
    cache = open_postgres(options=f"-c statement_timeout={set_before}")
    assert cache._select("select current_setting('statement_timeout')") == [(limit,)]
    assert cache._store.run(lambda session: session.select("show statement_timeout")) == [(set_before,)]


def test_an_answer_that_comes_bit_by_bit_is_not_waited_for_beyond_the_timeout() -> None:
    def bit_by_bit() -> Iterator[int]:
        while True:
            yield 1

    steps = _until(time.monotonic(), bit_by_bit())  # type: ignore[arg-type]
    next(steps)
    with pytest.raises(TimeoutError):
        steps.send(1)


@pytest.fixture
def hung() -> Iterator[str]:
    """Host and port of somebody who takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_the_next_host_is_tried_where_the_first_hangs(
    open_postgres: OpenPostgres, server: PostgresServer, hung: str
) -> None:
    place = f"{server.host}:{server.port}"
    cache = open_postgres(server.url().replace(place, f"{hung},{place}"), timeout=1)
    with pytest.raises(CacheUnreachableError):
        cache.ping()
    cache.ping()
    store(cache, "q", "answer")
    assert found(cache, "q") == ["answer"]


async def test_tasks_try_the_next_host_too(open_postgres: OpenPostgres, server: PostgresServer, hung: str) -> None:
    place = f"{server.host}:{server.port}"
    store(open_postgres(), "q", "answer")
    cache = open_postgres(server.url().replace(place, f"{hung},{place}"), timeout=1, strict=False)
    cache._store.has_tables = True
    assert [texts(await cache.alookup("q", LLM)) for _ in range(2)] == [None, ["answer"]]


@pytest.fixture
def make_database(server: PostgresServer) -> Iterator[Callable[[str], str]]:
    """Makes a database in an encoding; gives its URL."""
    with server.connect(user=server.admin) as admin, ExitStack() as ends:

        def make(encoding: str) -> str:
            name = f"in_{encoding.lower()}"
            admin.execute(
                f"create database {name} encoding '{encoding}' lc_collate 'C' lc_ctype 'C' "
                f"template template0 owner {server.user}"
            )
            ends.callback(admin.execute, f"drop database {name} with (force)")
            return server.url().replace(f"/{server.database}", f"/{name}")

        yield make


def test_a_database_that_keeps_some_texts_only_is_refused_with_what_to_do(
    open_postgres: OpenPostgres, make_database: Callable[[str], str]
) -> None:
    cache = open_postgres(make_database("LATIN1"))
    for _ in range(4):
        with pytest.raises(CacheUnavailableError, match=r"encoding LATIN1.*'UTF8'"):
            store(cache, "q", "answer")


def test_a_database_without_an_encoding_keeps_every_text(
    open_postgres: OpenPostgres, make_database: Callable[[str], str]
) -> None:
    cache = open_postgres(make_database("SQL_ASCII"))
    cache.update("數 ação", LLM, [chat("😀")])
    assert texts(cache.lookup("數 ação", LLM)) == ["😀"]
    assert [entry.prompt for entry in cache.entries(search="數 acao").entries] == ["數 ação"]
    assert cache.about().product == "PostgreSQL"


def test_as_many_uses_as_a_column_holds_keep_nobody_from_counting_more(
    open_postgres: OpenPostgres, server: PostgresServer, prefix: str
) -> None:
    cache = open_postgres()
    for prompt in "qr":
        store(cache, prompt, "answer")
    with server.connect() as other:
        other.execute(
            f"update {prefix}_entries set hits = %s where digest = %s", (2**63 - 1, bytes.fromhex(key_of("q")))
        )
    for prompt in "qr":
        assert found(cache, prompt) == ["answer"]
    cache.flush()
    assert whole(cache, "r").hits == 1
    assert whole(cache, "q").hits > 2**61


@pytest.mark.parametrize("time", ["NaN", "Infinity", "-Infinity"])
def test_a_list_passes_over_an_entry_whose_time_is_none(
    open_postgres: OpenPostgres, server: PostgresServer, prefix: str, time: str
) -> None:
    cache = open_postgres()
    for number in range(4):
        store(cache, f"q{number}", "answer")
    with server.connect() as other:
        other.execute(
            f"update {prefix}_entries set created_at = %s where digest = %s", (time, bytes.fromhex(key_of("q1")))
        )
    shown, after = set(), None
    for _ in range(5):
        page = cache.entries(limit=1, after=after)
        shown |= {entry.prompt for entry in page.entries}
        after = page.next
        if after is None:
            break
    assert shown == {"q0", "q2", "q3"}
    assert cache.get(key_of("q1")) is None
    assert len(list(cache._rows())) == 3
    stats = cache.stats()
    assert {type(stats.oldest), type(stats.newest)} <= {float, type(None)}
    assert not {str(stats.oldest), str(stats.newest)} & {"nan", "inf", "-inf"}


def test_rows_are_stored_equal_by_the_fast_way_and_by_a_cursor(
    open_postgres: OpenPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signs that are none, texts in many bytes, no prompt, and an answer that is too large for the fast way."""
    answers = {"plain": "answer", "": "for nothing", "odd \0 数": "\x01 \u202e", "long": "ação 数 🗝\0" * 30_000}
    cache = open_postgres()
    for prompt, text in answers.items():
        store(cache, prompt, text)
        assert found(cache, prompt) == [text]
    entries = [whole(cache, prompt) for prompt in answers]
    monkeypatch.setattr(postgres_session, "MOST_STORED_BYTES", 0)
    for entry in entries:
        cache.delete(entry.key)
        cache.restore(entry)
        assert cache.get(entry.key) == entry
