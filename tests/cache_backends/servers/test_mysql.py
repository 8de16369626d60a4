"""MySQL and MariaDB: what only they can do wrong. What they share with every backend is in the shared suite."""

from __future__ import annotations

import asyncio
import gc
import math
import multiprocessing
import random
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import pymysql
import pytest
from pymysql.constants import COMMAND, ER

from cache_backends import (
    CacheConfigError,
    CacheUnavailableError,
    CacheUnreachableError,
    Durability,
    MySQLCache,
    open_cache,
)
from cache_backends.browse import Query
from cache_backends.errors import NotCacheableError
from cache_backends.servers.connections import DroppedError
from cache_backends.servers.mysql import MOST_INDEXED, durability
from cache_backends.servers.mysql_driver import Answer
from cache_backends.servers.mysql_prepared import MOST_KEPT
from cache_backends.servers.mysql_session import DEFAULT_PORT, MySQLSession
from cache_backends.servers.mysql_tls import tls_parameters
from cache_backends.servers.sql_session import MissingTableError, Values
from cache_backends.storage import StoredEntry
from cache_backends.table_rows import interned_id
from tests.cache_backends.answers import LLM, found, key_of, look, store, whole
from tests.cache_backends.backends import own_prefix
from tests.cache_backends.processes import Child, in_child
from tests.servers.available import available
from tests.servers.certificates import Certificates, make_certificates
from tests.servers.mariadb import MariaDBServer
from tests.servers.process import PASSWORD, wait_until
from tests.servers.shared import shared_mariadb

OpenMySQL = Callable[..., MySQLCache]

PROCESSES = 8
PATIENT_S = 20
"""The timeout of caches that are not to fail because the machine is busy."""


@pytest.fixture
def server() -> MariaDBServer:
    """The server of the test run."""
    return available(shared_mariadb)


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """What the test's tables begin with."""
    return own_prefix(tmp_path)


@pytest.fixture
def open_mysql(server: MariaDBServer, prefix: str) -> Iterator[OpenMySQL]:
    """Opens the test's cache, as often as asked."""
    opened: list[MySQLCache] = []

    def open_it(
        *, on: MariaDBServer = server, user: str | None = None, password: str | None = None, **options: Any
    ) -> MySQLCache:
        url = on.url(user=user, password=password, prefix=prefix, timeout=PATIENT_S)
        cache = open_cache(url, **{"strict": True, **options})
        assert isinstance(cache, MySQLCache)
        opened.append(cache)
        return cache

    yield open_it
    for cache in opened:
        cache.close()


@pytest.fixture
def cache(open_mysql: OpenMySQL) -> MySQLCache:
    """An empty, strict cache."""
    return open_mysql()


@pytest.fixture(scope="module")
def small_packets() -> Iterator[MariaDBServer]:
    """A server that takes statements of a megabyte."""
    server = available(MariaDBServer(settings={"max-allowed-packet": "1M"}).start)
    yield server
    server.close()


NOT_ITS_ADDRESS = "127.0.0.9"


class EncryptingServer(MariaDBServer):
    """MariaDB with TLS, whose certificate is for `localhost`, which it is, and for an address that it has not."""

    certificates: Certificates

    def _prepare(self) -> None:
        super()._prepare()
        self.certificates = make_certificates(self.folder, NOT_ITS_ADDRESS)
        # The server reads its key as another user than the one who made it.
        key = self._own_file("own.key", self.certificates.key.read_text(encoding="utf-8"))
        self._settings |= {"ssl-cert": str(self.certificates.certificate), "ssl-key": str(key)}


@pytest.fixture(scope="module")
def encrypting() -> Iterator[EncryptingServer]:
    """A server with TLS, and its certificates."""
    server = EncryptingServer()
    yield available(server.start)
    server.close()


def session_of(cache: MySQLCache) -> MySQLSession:
    """A session that the cache keeps open."""
    cache.ping()
    session = cache._store._sessions._idle[-1][0]
    assert isinstance(session, MySQLSession)
    return session


def entry(digest: bytes, answer: bytes = b'[{"text":"an answer"}]') -> StoredEntry:
    """An entry under a digest that no request has."""
    return StoredEntry(
        digest=digest,
        payload=answer,
        created_at=1.0,
        expires_at=None,
        model_time_s=None,
        model=None,
        raw_prompt="q",
        llm_string=LLM,
        last_used_at=1.0,
    )


# Statements and values


def test_every_byte_comes_back_wherever_it_stands(cache: MySQLCache) -> None:
    session, chosen = session_of(cache), random.Random(1)
    values = [bytes(range(256)), b"\\" * 50 + b"'", b"x'" * 40, b"%s %d %% " * 9]
    # What could begin a longer character and swallow the end of the string.
    values += [
        bytes([first]) + b"'\\" + bytes([first, second]) + b"'" * 40 for first in range(256) for second in b"'\\\x80"
    ]
    values += [chosen.randbytes(100) for _ in range(200)]
    for some in range(0, len(values), 50):
        sent = values[some : some + 50]
        columns = ", ".join(f"%s as c{number}" for number in range(len(sent)))
        assert session.select(f"select {columns}", sent) == [tuple(sent)]


def test_texts_come_back_whatever_is_in_them(cache: MySQLCache) -> None:
    text = "it's \\ \0 100 % _ 🪐 \u2028 \x1a \r\n"
    assert session_of(cache).select("select %s as c", [text]) == [(text,)]


def test_numbers_come_back_to_the_last_bit(cache: MySQLCache) -> None:
    session, chosen = session_of(cache), random.Random(2)
    numbers = [0.0, 1e22, 1e-7, 1 / 3, 2.0**53, 1_700_000_000.123457]
    numbers += [1_700_000_000 + chosen.random() for _ in range(500)]
    numbers += [struct.unpack("d", chosen.randbytes(8))[0] for _ in range(500)]
    numbers = [number for number in numbers if math.isfinite(number) and (not number or abs(number) > 1e-300)]
    session.change("create temporary table kept (id integer primary key, number double)")
    for number in enumerate(numbers):
        session.change("insert into kept values (%s, %s)", number)
    kept = session.select("select number from kept order by id")
    assert [struct.pack("d", number) for (number,) in kept] == [struct.pack("d", number) for number in numbers]
    equal = [
        session.select("select count(*) from kept where id = %s and number = %s", pair) for pair in enumerate(numbers)
    ]
    assert equal == [[(1,)]] * len(numbers)


def test_a_value_of_another_type_is_no_value(cache: MySQLCache) -> None:
    with pytest.raises(TypeError, match="list is not among the types"):
        session_of(cache).select("select %s", [["a"]])


def test_rows_that_were_found_count_even_if_nothing_changed(cache: MySQLCache) -> None:
    store(cache, "q", "answer")
    place = cache._place(bytes.fromhex(key_of("q")))
    session = session_of(cache)
    assert session.change(cache._statements.set_pinned, [0, *place]) == 1
    assert session.change(cache._statements.set_pinned, [0, place[0], b"?" * 32]) == 0


def test_a_session_cuts_nothing_silently_and_sees_what_others_have_committed(cache: MySQLCache) -> None:
    ((mode, isolation, autocommit, characters),) = session_of(cache).select(
        "select @@sql_mode, @@tx_isolation, @@autocommit, @@character_set_client"
    )
    assert "STRICT_ALL_TABLES" in mode
    assert (isolation, autocommit, characters) == ("READ-COMMITTED", 1, "utf8mb4")


def test_the_server_ends_only_statements_that_may_take_long(cache: MySQLCache) -> None:
    assert cache._store.select("select @@max_statement_time") == [(32.0,)]
    (quick,) = [MySQLCache(cache.url, timeout=1)]
    with closing(quick):
        assert session_of(quick).select("select @@max_statement_time") == [(0.0,)]


def test_keys_that_a_collation_takes_for_equal_are_different(cache: MySQLCache) -> None:
    digests = [b"a" * 32, b"A" * 32, b"a" * 31 + b" ", b"a" * 31 + b"\0", "ä".encode() * 16, "Ä".encode() * 16]
    for number, digest in enumerate(digests):
        cache._write(entry(digest, b'[{"text":"%d"}]' % number))
    answers = [read.answers for digest in digests if (read := cache._read(digest))]
    assert answers == [[{"text": str(number)}] for number in range(len(digests))]


# What is too large


def test_an_answer_that_the_server_would_not_take_is_refused_before_it_is_sent(
    open_mysql: OpenMySQL, small_packets: MariaDBServer
) -> None:
    cache = open_mysql(on=small_packets)
    store(cache, "q", "old")
    with cache.observe() as observed:
        store(cache, "q", "x" * 2**20)
    (refused,) = observed.stores
    assert (refused.stored, refused.refusal) == (False, "too_large")
    assert refused.detail is not None
    assert "max_allowed_packet is 1,048,576" in refused.detail
    assert cache.trouble is None
    assert found(cache, "q") == ["old"]


def test_prompt_and_answer_need_to_fit_a_statement_each_not_together(
    open_mysql: OpenMySQL, small_packets: MariaDBServer
) -> None:
    cache = open_mysql(on=small_packets)
    prompt, answer = "why so many words? " * 45_000, "because it's " * 65_000
    store(cache, prompt, answer)
    assert found(cache, prompt) == [answer]
    assert whole(cache, prompt).raw_prompt == prompt
    assert [shown.key for shown in cache.entries(search="because words").entries] == [key_of(prompt)]


def test_an_entry_that_does_not_fit_is_refused_when_it_is_put_back(
    open_mysql: OpenMySQL, small_packets: MariaDBServer
) -> None:
    with open_cache("memory://") as elsewhere:
        store(elsewhere, "q", "x" * 2**20)
        kept = whole(elsewhere, "q")
    with pytest.raises(NotCacheableError, match="max_allowed_packet") as refused:
        open_mysql(on=small_packets).restore(kept)
    assert refused.value.reason == "too_large"


def test_a_value_of_the_greatest_length_is_taken_and_one_byte_more_is_refused_by_both(
    open_mysql: OpenMySQL, small_packets: MariaDBServer
) -> None:
    session = session_of(open_mysql(on=small_packets))
    most = session.most_bytes
    assert session.select("select length(%s)", [b"x" * most]) == [(most,)]
    with pytest.raises(NotCacheableError, match="max_allowed_packet"):
        session.select("select length(%s)", [b"x" * (most + 1)])
    session.prepared._most_bytes *= 2
    with pytest.raises(CacheUnavailableError):
        session.select("select length(%s)", [b"x" * (most + 1)])


def test_many_values_that_are_too_long_together_go_apart(open_mysql: OpenMySQL, small_packets: MariaDBServer) -> None:
    session = session_of(open_mysql(on=small_packets))
    values = [bytes([number]) * 250_000 for number in range(9)]
    assert session.select(f"select {', '.join('length(%s)' for _ in values)}", values) == [(250_000,) * 9]
    assert session.select("select %s = %s", [values[1], values[1]]) == [(1,)]


# Statements that the server keeps ready


def test_a_statement_that_the_server_has_dropped_is_prepared_again(cache: MySQLCache) -> None:
    session = session_of(cache)
    statement = "select %s + 1"
    assert session.select(statement, [1]) == [(2,)]
    number = session.prepared._numbers[statement]
    session.connection._execute_command(COMMAND.COM_STMT_CLOSE, number)
    assert session.select(statement, [2]) == [(3,)]
    assert session.prepared._numbers[statement] != number


def test_a_statement_goes_on_when_its_table_is_changed(cache: MySQLCache) -> None:
    session = session_of(cache)
    session.change("create temporary table changing (id integer)")
    assert session.change("insert into changing (id) values (%s)", [1]) == 1
    assert session.select("select * from changing") == [(1,)]
    session.change("alter table changing add column name varbinary(9) default 'n'")
    assert session.change("insert into changing (id) values (%s)", [2]) == 1
    assert session.select("select * from changing") == [(1, b"n"), (2, b"n")]


def test_of_many_different_statements_the_server_keeps_the_last_ones(cache: MySQLCache) -> None:
    session = session_of(cache)
    for number in range(3 * MOST_KEPT):
        assert session.select(f"select %s + {number}", [1]) == [(number + 1,)]
    assert len(session.prepared._numbers) == MOST_KEPT
    assert session.select("select %s + 0", [1]) == [(1,)]


def test_an_answer_of_twelve_megabytes_of_different_words_is_stored_and_found(cache: MySQLCache) -> None:
    answer = " ".join(f"w{number}" for number in range(1_500_000))
    assert len(answer) > 12_000_000
    store(cache, "q", answer)
    assert found(cache, "q") == [answer]
    assert cache.entries(search="w0 w1499999").total == 1
    assert cache.entries(search="w1500000").total == 0


def test_what_does_not_fit_a_column_is_refused_not_cut(cache: MySQLCache) -> None:
    with pytest.raises(NotCacheableError, match="model"):
        cache._write(entry(b"d" * 32)._replace(model="m" * 801))
    cache._write(entry(b"d" * 32)._replace(model="m" * 800))
    assert cache.models() == ["m" * 800]


# Search


@pytest.mark.parametrize("words", [3, MOST_INDEXED // 3, MOST_INDEXED], ids=["few words", "some words", "many words"])
def test_a_text_is_found_by_its_first_and_last_word_however_long_it_is(cache: MySQLCache, words: int) -> None:
    store(cache, "Ärger", " ".join(f"w{number}" for number in range(words)) + " Ünd \U0001d7d8")
    store(cache, "other", "w0")
    assert cache.entries(search=f"arger w{words - 1} und").total == 1
    assert cache.entries(search=f"w{words}").total == 0
    assert cache.entries(search="w0", order_by="hits").total == 2


def test_searches_read_their_index_to_and_fro_and_find_the_same(cache: MySQLCache) -> None:
    entries = [entry(bytes([number]) * 32)._replace(created_at=float(number), hits=number % 7) for number in range(30)]
    for each in entries:
        cache._write(each)
    expected = [each.key for each in sorted(entries, key=lambda each: (each.hits, each.digest), reverse=True)]
    query = Query(search="an answer", model=None, state="any", order_by="hits", descending=True, limit=50, after=None)
    matching, values = cache._statements.matches(query, interned_id(cache.namespace), now=1.0)
    seen = {}
    for _ in range(4):
        statement, with_place = cache._statements.page(query, matching, values)
        assert [row[0].hex() for row in cache._store.select(statement, with_place)] == expected
        plan = cache._store.select(f"explain {statement}", with_place)
        (seen[statement],) = [extra for *_, key, _, _, _, extra in plan if key == "by_words"]
    assert len(seen) == 2
    assert all("Using index" in extra and "filesort" not in extra for extra in seen.values())


def test_pages_in_the_order_of_times_that_differ_by_a_microsecond_miss_and_repeat_nothing(cache: MySQLCache) -> None:
    chosen, first = random.Random(3), 1_700_000_000.0
    for number in range(60):
        created_at = first + chosen.randrange(20) / 1e6
        cache._write(entry(number.to_bytes(32, "big"))._replace(created_at=created_at))
    shown, after = [], None
    while True:
        page = cache.entries(limit=7, after=after)
        shown += page.entries
        after = page.next
        if after is None:
            break
    places = [(one.created_at, one.key) for one in shown]
    assert places == sorted(set(places), reverse=True)
    assert len(places) == 60


# Tables


def test_eight_processes_make_the_tables_at_once(server: MariaDBServer, prefix: str) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        ready = context.Barrier(PROCESSES)

        def work(name: str, ready: Any = ready, attempt: int = attempt) -> int:
            with open_cache(server.url(prefix=f"{prefix}_{attempt}", timeout=PATIENT_S), strict=True) as cache:
                ready.wait()
                store(cache, name, "answer")
                assert found(cache, name) == ["answer"]
                return len(cache.entries().entries)

        children = [Child(lambda name=name: work(f"q{name}")) for name in range(PROCESSES)]
        seen = [child.result() for child in children]
        assert max(seen) == PROCESSES


def test_tables_dropped_while_running_are_made_anew(cache: MySQLCache, server: MariaDBServer) -> None:
    store(cache, "q", "answer")
    with server.connect() as raw, raw.cursor() as cursor:
        for name in ("entries", "texts", "damaged", "format"):
            cursor.execute(f"drop table {cache.prefix}_{name}")
    assert found(cache, "q") is None
    store(cache, "q", "new")
    assert found(cache, "q") == ["new"]
    assert cache.namespaces() == ["default"]


def test_tables_whose_making_was_interrupted_are_made_whole(cache: MySQLCache, server: MariaDBServer) -> None:
    with server.connect() as raw, raw.cursor() as cursor:
        for statement in cache._statements.schema[:-1]:
            cursor.execute(statement)
    store(cache, "q", "answer")
    assert found(cache, "q") == ["answer"]


def test_a_role_that_may_make_no_tables_is_told_and_uses_those_that_an_administrator_made(
    open_mysql: OpenMySQL, server: MariaDBServer, prefix: str
) -> None:
    with server.connect(user=server.admin) as raw, raw.cursor() as cursor:
        cursor.execute(f"create user {prefix}@'%' identified by '{PASSWORD}'")
        cursor.execute(f"grant select, insert, update, delete on cache.* to {prefix}@'%'")
        cache = open_mysql(user=prefix)
        with pytest.raises(CacheUnavailableError, match=r"could not be made.*CREATE command denied.*administrator"):
            cache.lookup("q", LLM)
        assert cache.trouble is None
        cursor.execute(f"use {server.database}")
        for statement in cache._statements.schema:
            cursor.execute(statement)
        store(cache, "q", "answer")
        store(cache, "q", "new")
        assert found(cache, "q") == ["new"]
        assert cache.delete(key_of("q")) == 1
        cursor.execute(f"drop user {prefix}@'%'")


# Others at the same rows


@pytest.mark.parametrize(
    "name",
    [
        "set_expiry",
        "set_pinned",
        "note_uses",
        "delete",
        "delete_some",
        "evict",
        "clear_step",
        "purge_step",
        "delete_damaged",
    ],
)
def test_rows_are_changed_by_the_key_that_never_moves(cache: MySQLCache, name: str) -> None:
    store(cache, "q", "answer")
    statement = getattr(cache._statements, name)
    session = session_of(cache)
    values = [number % 2 for number in range(statement.count("%s"))]
    (plan,) = session.select(f"explain {statement}", values)
    possible = plan[4]
    assert possible == "PRIMARY"


class Interrupted:
    """Prepared statements of which the first end as others' do that were in somebody's way."""

    def __init__(self, prepared: Any, code: int, times: int) -> None:
        self._prepared = prepared
        self._code = code
        self.left = times

    def change(self, statement: str, values: Values) -> Any:
        """Fail, or do as it should."""
        if self.left:
            self.left -= 1
            raise pymysql.OperationalError(self._code, "somebody was in the way")
        return self._prepared.change(statement, values)


def interrupt(session: MySQLSession, code: int, times: int) -> None:
    """Let the next statements of a session meet another's."""
    prepared: Any = Interrupted(session.prepared, code, times)
    session.prepared = prepared


@pytest.mark.parametrize("code", [ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT])
def test_a_statement_that_was_in_somebodys_way_is_tried_again(cache: MySQLCache, code: int) -> None:
    session = session_of(cache)
    interrupt(session, code, 2)
    assert session.change(cache._statements.know_text, [5, b"five"]) == 1
    interrupt(session, code, 2)
    assert session.change_many(cache._statements.know_text, [[6, b"six"], [7, b"seven"]]) == 2


def test_a_statement_that_is_always_in_somebodys_way_fails_at_last(cache: MySQLCache) -> None:
    session = session_of(cache)
    interrupt(session, ER.LOCK_DEADLOCK, 10**6)
    with pytest.raises(CacheUnavailableError, match="somebody was in the way"):
        session.change(cache._statements.know_text, [5, b"five"])


def test_uses_are_written_whole_after_a_real_deadlock(cache: MySQLCache, server: MariaDBServer) -> None:
    for prompt in ("a", "b", *map(str, range(20))):
        store(cache, prompt, "answer")
    first, second = (cache._place(bytes.fromhex(key_of(prompt))) for prompt in "ab")
    session = session_of(cache)
    (thread,) = session.select("select connection_id()")[0]
    table = f"{cache.prefix}_entries"

    async def play() -> int:
        with server.connect(autocommit=False) as raw, raw.cursor() as cursor:
            cursor.execute("set session transaction isolation level read committed")
            cursor.execute(f"update {table} set size_bytes = 1 where digest <> %s", [first[1]])  # too much to undo
            uses = [(1, 5.0, *first), (1, 5.0, *second)]
            writing = asyncio.create_task(asyncio.to_thread(session.change_many, cache._statements.note_uses, uses))
            await asyncio.to_thread(
                wait_until, lambda: is_waiting(server, thread), PATIENT_S, lambda: "it never waited"
            )
            cursor.execute(f"update {table} set size_bytes = 1 where namespace = %s and digest = %s", first)
            raw.commit()
            return await writing

    with server.connect() as raw, raw.cursor() as cursor:
        cursor.execute("show global status like 'Innodb_deadlocks'")
        before = int(cursor.fetchall()[0][1])
        assert asyncio.run(play()) == 2
        cursor.execute("show global status like 'Innodb_deadlocks'")
        assert int(cursor.fetchall()[0][1]) > before
    assert [whole(cache, prompt).hits for prompt in "ab"] == [1, 1]


def is_waiting(server: MariaDBServer, thread: int) -> bool:
    """Whether a connection waits for a lock of another one."""
    with server.connect(user=server.admin) as raw, raw.cursor() as cursor:
        cursor.execute(
            "select count(*) from information_schema.innodb_trx "
            "where trx_state = 'LOCK WAIT' and trx_mysql_thread_id = %s",
            [thread],
        )
        return cursor.fetchone() == (1,)


# Connections


def test_a_connection_that_the_server_ended_is_replaced(cache: MySQLCache, server: MariaDBServer) -> None:
    store(cache, "q", "answer")
    (thread,) = session_of(cache).select("select connection_id()")[0]
    with server.connect(user=server.admin) as raw, raw.cursor() as cursor:
        cursor.execute(f"kill {thread}")
    assert found(cache, "q") == ["answer"]
    assert cache.trouble is None
    assert session_of(cache).select("select connection_id()")[0] != (thread,)


def test_a_forked_child_leaves_its_parents_connection_alone(cache: MySQLCache) -> None:
    store(cache, "q", "answer")
    thread = session_of(cache).select("select connection_id()")

    def work() -> object:
        assert found(cache, "q") == ["answer"]
        own = session_of(cache).select("select connection_id()")
        cache._store._sessions._inherited.clear()
        gc.collect()
        cache.close()
        return own

    assert in_child(work) != thread
    assert session_of(cache).select("select connection_id()") == thread
    assert found(cache, "q") == ["answer"]


def test_a_wrong_password_is_told_without_it(open_mysql: OpenMySQL, caplog: pytest.LogCaptureFixture) -> None:
    cache = open_mysql(password="an0ther-passw0rd", strict=False)
    missed = look(cache, "q")
    assert missed.outcome == "error"
    store(cache, "q", "answer")
    assert cache.trouble is not None
    assert "can't be connected to: Access denied for user 'tester'" in cache.trouble
    with pytest.raises(CacheUnreachableError, match="Access denied"):
        cache.ping()
    assert "an0ther-passw0rd" not in f"{missed} {cache.trouble} {caplog.text}"


def test_a_password_in_other_letters_than_latin_ones_opens_the_door(
    open_mysql: OpenMySQL, server: MariaDBServer, prefix: str
) -> None:
    with server.connect(user=server.admin) as raw, raw.cursor() as cursor:
        cursor.execute(f"create user {prefix}@'%%' identified by 'pässwörd-密码'", [])
        cursor.execute(f"grant all on cache.* to {prefix}@'%'")
        assert open_mysql(user=prefix, password="pässwörd-密码").ping() > 0
        cursor.execute(f"drop user {prefix}@'%'")


def test_a_database_that_is_not_there_is_unreachable(server: MariaDBServer) -> None:
    url = server.url(user=server.admin, timeout=PATIENT_S).replace("/cache?", "/nowhere?")
    with open_cache(url) as cache, pytest.raises(CacheUnreachableError, match="Unknown database 'nowhere'"):
        cache.ping()


def test_an_answer_that_comes_bit_by_bit_is_not_waited_for_beyond_the_timeout() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"abc")
        answer = Answer(ours, 60)
        answer.asked_at = monotonic() - 30
        assert (answer.read(1), answer.read(1)) == (b"a", b"b")
        assert 0 < ours.gettimeout() < 31  # type: ignore[operator]
        answer.asked_at = monotonic() - 61
        with pytest.raises(TimeoutError):
            answer.read(1)


def test_after_an_answer_in_bits_the_next_has_the_whole_time_again(cache: MySQLCache) -> None:
    def timeouts(session: Any) -> list[float]:
        sock, seen = session.connection._sock, []
        for statement in ("select repeat('x', 100000)", "select 1"):
            session.select(statement)
            seen.append(sock.gettimeout())
        return seen

    in_bits, at_once = cache._store.run(timeouts)
    assert in_bits < at_once == PATIENT_S


def test_a_port_where_nobody_answers_is_unreachable() -> None:
    with (
        open_cache("mysql://user:pa55word@127.0.0.1:1/cache") as cache,
        pytest.raises(CacheUnreachableError, match=r"mysql://127.0.0.1:1/cache can't be connected to") as failed,
    ):
        cache.ping()
    assert "pa55word" not in str(failed.value)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ((ER.NO_SUCH_TABLE, "Table 'x' doesn't exist"), MissingTableError),
        ((2013, "Lost connection"), DroppedError),
        ((1927, "Connection was killed"), DroppedError),
        ((1969, "Query execution was interrupted (max_statement_time exceeded)"), CacheUnreachableError),
        ((ER.TABLEACCESS_DENIED_ERROR, "INSERT command denied"), CacheUnavailableError),
        ((1114, "The table is full"), CacheUnavailableError),
    ],
)
def test_errors_of_the_server_become_those_of_the_cache(
    cache: MySQLCache, said: tuple[int, str], kind: type[Exception]
) -> None:
    session = session_of(cache)

    class Failing:
        def select(self, statement: str, values: Values) -> None:
            raise pymysql.OperationalError(*said)

    failing: Any = Failing()
    session.prepared = failing
    with pytest.raises(CacheUnavailableError) as failed:
        session.select("select 1")
    assert type(failed.value) is kind


def test_mariadb_is_another_name_for_mysql(server: MariaDBServer, prefix: str) -> None:
    url = server.url(prefix=prefix, timeout=PATIENT_S).replace("mysql://", "mariadb://")
    with open_cache(url, strict=True) as cache:
        store(cache, "q", "answer")
        assert whole(cache, "q").location.startswith(
            f"mariadb://{server.host}:{server.port}/cache, table {prefix}_entries"
        )
    assert DEFAULT_PORT == 3306


@pytest.mark.parametrize("url", ["mysql://localhost", "mysql://one,two/cache"])
def test_an_address_that_is_not_whole_or_too_much_is_refused(url: str) -> None:
    with pytest.raises(CacheConfigError, match=r"Write mysql://user:password@host:3306/database"):
        open_cache(url)


# TLS


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"ssl_mode": "preferred"},
            "'preferred' is unknown. Use one of: disabled, required, verify_ca, verify_identity.",
        ),
        ({"ssl_ca": "/no/such.pem"}, "ssl_ca='/no/such.pem' can't be used"),
        ({"ssl_cert": "/no/such.pem"}, "ssl_cert='/no/such.pem' and ssl_key=None can't be used"),
        ({"ssl_key": "/no/such.pem"}, "ssl_key= is of no use without the certificate"),
        ({"charset": "latin1"}, "charset"),
    ],
)
def test_a_wrong_option_of_the_connection_is_refused_with_what_is_allowed(
    options: Mapping[str, str], sentence: str
) -> None:
    with pytest.raises(CacheConfigError, match=sentence):
        open_cache("mysql://localhost/cache", **options)


def test_without_a_mode_who_is_to_be_trusted_is_also_checked(encrypting: EncryptingServer) -> None:
    authority = str(encrypting.certificates.authority)
    assert tls_parameters({"ssl_ca": authority})["ssl"].verify_mode.name == "CERT_REQUIRED"
    assert not tls_parameters({"ssl_ca": authority})["ssl"].check_hostname
    assert tls_parameters({"ssl_mode": "DISABLED"}) == {"ssl_disabled": True}


@pytest.mark.parametrize(
    ("mode", "is_encrypted"),
    [(None, True), ("disabled", False), ("required", True), ("verify_ca", True), ("verify_identity", True)],
)
def test_a_connection_is_encrypted_as_its_url_says(
    encrypting: EncryptingServer, mode: str | None, is_encrypted: bool
) -> None:
    options = {"ssl_mode": mode, "ssl_ca": str(encrypting.certificates.authority)} if mode else {}
    url = encrypting.url(timeout=PATIENT_S, **options).replace(f"@{encrypting.host}", "@localhost")
    with open_cache(url, strict=True) as cache:
        assert isinstance(cache, MySQLCache)
        store(cache, "q", "answer")
        ((_, cipher),) = session_of(cache).select("show session status like 'Ssl_cipher'")
        assert bool(cipher) is is_encrypted
        assert found(cache, "q") == ["answer"]


@pytest.mark.parametrize("mode", ["verify_ca", "verify_identity"])
def test_a_server_that_a_stranger_vouches_for_is_not_talked_to(
    open_mysql: OpenMySQL, encrypting: EncryptingServer, tmp_path: Path, mode: str
) -> None:
    stranger = make_certificates(tmp_path, encrypting.host)
    with pytest.raises(CacheUnreachableError, match="certificate verify failed"):
        open_mysql(on=encrypting, ssl_mode=mode, ssl_ca=str(stranger.authority)).ping()


@pytest.mark.parametrize("mode", ["required", "verify_ca"])
def test_whose_name_a_certificate_has_matters_only_where_the_identity_does(
    open_mysql: OpenMySQL, encrypting: EncryptingServer, mode: str
) -> None:
    authority = str(encrypting.certificates.authority)
    assert open_mysql(on=encrypting, ssl_mode=mode, ssl_ca=authority).ping() > 0
    with pytest.raises(CacheUnreachableError, match=rf"not valid for '{encrypting.host}'"):
        open_mysql(on=encrypting, ssl_mode="verify_identity", ssl_ca=authority).ping()


def test_a_server_without_tls_is_not_talked_to_where_it_is_required(open_mysql: OpenMySQL) -> None:
    with pytest.raises(CacheUnreachableError, match="SSL is required but the server doesn't support it"):
        open_mysql(ssl_mode="required").ping()


# What keeps the store


def test_it_says_what_keeps_it(cache: MySQLCache, server: MariaDBServer) -> None:
    about = cache.about()
    with server.connect() as raw:
        assert f"-{about.version}-MariaDB" in raw.get_server_info()
    assert about.product == "MariaDB"
    assert about.durability == "disk"
    assert "innodb_flush_log_at_trx_commit=2" in about.detail


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({}, "every_write"),
        ({"innodb_flush_log_at_trx_commit": "3"}, "every_write"),
        ({"innodb_flush_log_at_trx_commit": "2"}, "disk"),
        ({"innodb_flush_log_at_trx_commit": "0"}, "every_second"),
        ({"log_bin": "ON", "sync_binlog": "0"}, "disk"),
        ({"log_bin": "ON", "sync_binlog": "1"}, "every_write"),
        ({"innodb_doublewrite": "OFF"}, "disk"),
        ({"innodb_flush_method": "nosync"}, "disk"),
        ({"innodb_flush_log_at_trx_commit": ""}, "unknown"),
    ],
)
def test_what_survives_a_crash_follows_from_the_servers_settings(changed: Mapping[str, str], kept: Durability) -> None:
    settings = {
        "innodb_flush_log_at_trx_commit": "1",
        "innodb_flush_method": "O_DIRECT",
        "innodb_doublewrite": "ON",
        "log_bin": "OFF",
        "sync_binlog": "0",
    }
    assert durability({**settings, **changed}) == kept
