"""What is special about the upkeep of `SQLiteCache`: it is done in small transactions that others come between."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from cache_backends import CacheUnavailableError, SQLiteCache, sqlite_upkeep
from cache_backends.sqlite_file import SQLiteFile
from tests.cache_backends.answers import found, key_of, look, prompts, store, whole
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.sqlite_outside import OpenSQLite, locked, sql

MANY = 5_300
"""More entries than one step of anything takes."""


class Transactions:
    """The write transactions that were made: how many entries each removed. `between` is called after each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.removed: list[int] = []
        self.between: Callable[[int], object] = lambda _: None
        original = SQLiteFile.transaction

        @contextmanager
        def noted(file: SQLiteFile) -> Iterator[Any]:
            with original(file) as connection:
                before = connection.execute("select count(*) from entries").get
                yield connection
                self.removed.append(before - connection.execute("select count(*) from entries").get)
            self.between(len(self.removed))

        monkeypatch.setattr(SQLiteFile, "transaction", noted)


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> Transactions:
    """The write transactions of this test, single stores aside."""
    return Transactions(monkeypatch)


def fill(cache: SQLiteCache, entries: int = MANY) -> None:
    """Store so many entries."""
    for number in range(entries):
        store(cache, f"q{number}", "answer")


def in_thread(work: Callable[[], None]) -> None:
    """Let another thread do something, and wait for it."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


def test_a_purge_goes_in_small_steps_and_others_can_store_between_them(
    open_sqlite: OpenSQLite, clock: FakeClock, transactions: Transactions
) -> None:
    cache, theirs = open_sqlite(ttl=10), open_sqlite(namespace="theirs")
    fill(cache)
    cache.pin(key_of("q0"))
    store(theirs.view(ttl=10), "theirs", "answer")
    clock.tick(10)
    theirs_stored: list[int] = []

    def between(step: int) -> None:
        in_thread(lambda: store(theirs, f"between {step}", "answer"))
        in_thread(lambda: store(cache, f"q{MANY - 1}", "stored anew"))
        theirs_stored.append(step)

    transactions.removed.clear()
    transactions.between = between
    assert cache.purge_expired() == MANY - 2
    assert max(transactions.removed) <= sqlite_upkeep.ROWS_A_TRANSACTION
    assert sum(transactions.removed) == MANY - 2
    assert len(theirs_stored) == len(transactions.removed) > 20
    assert prompts(cache) == {"q0", f"q{MANY - 1}"}
    assert found(cache, f"q{MANY - 1}") == ["stored anew"]
    assert theirs.stats().entries == 1 + len(theirs_stored)
    assert theirs.counters.errors == cache.counters.errors == 0


def test_what_others_do_between_looking_and_removing_counts(
    open_sqlite: OpenSQLite, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, theirs = open_sqlite(), open_sqlite()
    brief = cache.view(ttl=10)
    for prompt in ("stored", "pinned", "prolonged", "deleted", "expired"):
        store(brief, prompt, "old")
    clock.tick(10)
    delete = sqlite_upkeep._delete

    def after_others(*arguments: Any) -> int:
        monkeypatch.setattr(sqlite_upkeep, "_delete", delete)
        store(theirs, "stored", "new")
        theirs.pin(key_of("pinned"))
        theirs.set_ttl(key_of("prolonged"), 1)
        theirs.delete(key_of("deleted"))
        return delete(*arguments)

    monkeypatch.setattr(sqlite_upkeep, "_delete", after_others)
    assert cache.purge_expired() == 1
    assert prompts(cache) == {"stored", "pinned", "prolonged"}
    assert found(cache, "stored") == ["new"]


def test_a_row_whose_number_is_taken_by_another_entry_is_not_purged(
    open_sqlite: OpenSQLite, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.sqlite_rows.next_id", lambda: 1)  # each id is one more than the greatest
    cache = open_sqlite()
    other = cache.view(namespace="other", ttl=10)
    store(other, "theirs", "answer")
    entry = whole(other, "theirs")
    other.clear()
    store(cache.view(ttl=10), "ours", "answer")
    clock.tick(10)
    delete = sqlite_upkeep._delete

    def after_others(*arguments: Any) -> int:
        monkeypatch.setattr(sqlite_upkeep, "_delete", delete)
        cache.delete(key_of("ours"))
        other.restore(entry)  # expired too, and it gets the number of the row that has just gone
        return delete(*arguments)

    monkeypatch.setattr(sqlite_upkeep, "_delete", after_others)
    assert cache.purge_expired() == 0
    assert prompts(other) == {"theirs"}


def test_clearing_more_than_one_step_holds_removes_all(open_sqlite: OpenSQLite, transactions: Transactions) -> None:
    cache = open_sqlite()
    other = cache.view(namespace="other")
    store(other, "q", "answer")
    fill(cache)
    transactions.removed.clear()
    transactions.between = lambda step: in_thread(lambda: store(cache, f"later {step}", "answer"))
    cache.clear()
    assert len(transactions.removed) == 2
    assert max(transactions.removed) == sqlite_upkeep.CLEARED_AT_ONCE
    assert "later 2" in prompts(cache) <= {"later 1", "later 2"}
    assert prompts(other) == {"q"}


def test_a_store_that_is_full_is_brought_within_its_limit_in_small_steps(
    open_sqlite: OpenSQLite, clock: FakeClock, transactions: Transactions
) -> None:
    with open_sqlite() as unlimited:
        for number in range(1_000):
            store(unlimited, f"q{number}", "answer")
            clock.tick()
    transactions.removed.clear()
    limited, other = open_sqlite(max_entries=100), open_sqlite(namespace="other")
    transactions.between = lambda step: in_thread(lambda: store(other, f"{step}", "answer"))
    store(limited, "newest", "answer")
    assert max(transactions.removed) <= sqlite_upkeep.ROWS_A_TRANSACTION
    assert "newest" in prompts(limited)
    total = sum(limited.view(namespace=name).stats().entries for name in limited.namespaces())
    assert 100 <= total <= 100 + len(transactions.removed)


@pytest.mark.parametrize("meanwhile", ["stored", "used", "pinned", "deleted"])
def test_what_changes_between_looking_and_evicting_stays(
    open_sqlite: OpenSQLite, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    ours, theirs = open_sqlite(max_entries=2), open_sqlite()
    for prompt in "ab":
        store(ours, prompt, "old")
        clock.tick()
    changes: dict[str, Callable[[], object]] = {
        "stored": lambda: store(theirs, "a", "new"),
        "used": lambda: (found(theirs, "a"), theirs.flush()),
        "pinned": lambda: theirs.pin(key_of("a")),
        "deleted": lambda: theirs.delete(key_of("a")),
    }
    delete = sqlite_upkeep._delete

    def after_others(*arguments: Any) -> int:
        monkeypatch.setattr(sqlite_upkeep, "_delete", delete)
        changes[meanwhile]()
        return delete(*arguments)

    monkeypatch.setattr(sqlite_upkeep, "_delete", after_others)
    store(ours, "c", "answer")
    assert prompts(theirs) == ({"b", "c"} if meanwhile == "deleted" else {"a", "b", "c"})
    assert ours.counters.evictions == 0
    monkeypatch.undo()
    store(ours, "d", "answer")
    assert len(prompts(theirs)) == 2
    assert "d" in prompts(theirs)


def test_victims_are_found_by_an_index(open_sqlite: OpenSQLite, path: Path) -> None:
    cache = open_sqlite(max_entries=10)
    fill(cache, 20)
    for statement in (sqlite_upkeep.MEASURE, sqlite_upkeep.LEAST_RECENTLY_USED.replace("?", "200")):
        plan = " ".join(str(row[-1]) for row in sql(path, f"explain query plan {statement}"))
        assert "INDEX details_by_use" in plan
        assert "TEMP B-TREE FOR ORDER BY" not in plan


def test_a_store_without_limits_has_no_index_to_keep(open_sqlite: OpenSQLite, path: Path) -> None:
    fill(open_sqlite(), 20)
    assert sql(path, "select name from sqlite_schema where name like '%_by_use'") == []


def test_many_uses_are_written_in_small_steps(
    open_sqlite: OpenSQLite, clock: FakeClock, transactions: Transactions
) -> None:
    cache = open_sqlite()
    fill(cache, 900)
    for number in range(900):
        found(cache, f"q{number}")
    transactions.removed.clear()
    cache.flush()
    assert len(transactions.removed) == 5
    assert {entry.hits for entry in cache.entries(limit=1000).entries} == {1}
    transactions.removed.clear()
    cache.flush()
    assert transactions.removed == []


def test_uses_that_could_not_be_written_are_written_later(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_S", 0.05)
    cache = open_sqlite()
    store(cache, "q", "answer")
    clock.tick()
    found(cache, "q")
    with locked(path, "begin immediate"):
        cache.flush()
    clock.tick()
    found(cache, "q")
    entry = whole(cache, "q")
    assert (entry.hits, entry.last_used_at) == (2, clock.now)


def test_a_locked_file_says_so_when_an_entry_is_changed(
    open_sqlite: OpenSQLite, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_S", 0.05)
    cache = open_sqlite(ttl=60)
    store(cache, "q", "answer")
    entry = whole(cache, "q")
    with locked(path, "begin immediate"):
        for change in (
            lambda: cache.pin(key_of("q")),
            lambda: cache.set_ttl(key_of("q"), 1),
            lambda: cache.restore(entry),
        ):
            with pytest.raises(CacheUnavailableError, match="locked"):
                change()
        assert look(cache, "q").outcome == "hit"
    assert whole(cache, "q").expires_at == entry.expires_at


def test_the_index_and_the_table_agree_after_all_of_it(open_sqlite: OpenSQLite, path: Path, clock: FakeClock) -> None:
    with open_sqlite(max_entries=50, max_bytes=40_000, ttl=30) as cache:
        for number in range(200):
            store(cache, f"q{number}", "x" * (number * 7 % 900))
            cache.pin(key_of(f"q{number}"), number % 20 == 0)
            cache.set_ttl(key_of(f"q{number - 3}"), 5)
            found(cache, f"q{number - 9}")
            clock.tick(0.5)
        assert cache.purge_expired() > 0
        entry = whole(cache, "q180")
        cache.delete(entry.key)
        cache.restore(entry)
    connection = apsw.Connection(str(path))
    assert connection.pragma("integrity_check") == "ok"
    connection.close()


def test_ids_that_lie_far_apart_do_not_slow_a_purge_down(open_sqlite: OpenSQLite, clock: FakeClock) -> None:
    cache = open_sqlite(ttl=10)
    for number in range(3):
        store(cache, f"q{number}", "answer")
    for table in ("entries", "details"):
        sql(cache.path, f"update {table} set id = 4000000000000000000 where id = (select max(id) from {table})")
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it looks at every id that could be"))
    signal.alarm(10)
    try:
        clock.tick(11)
        assert cache.purge_expired() == 3
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_a_connection_remembers_no_end_of_texts(open_sqlite: OpenSQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache_backends.sqlite_writer.MOST_KNOWN", 10)
    cache = open_sqlite()
    for number in range(30):
        store(cache, "q", "answer", llm_string=f"model {number}")
    assert len(cache._store.file._idle[-1].known) <= 12
    assert cache.stats().entries == 30
