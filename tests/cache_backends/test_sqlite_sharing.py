"""What `SQLiteCache` promises about sharing its file: locks, forks, deleted files, full disks."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import apsw
import pytest

from cache_backends import CacheUnavailableError, SQLiteCache, cache_key
from cache_backends.sqlite_file import Connection
from tests.cache_backends.answers import LLM, chat_prompt, found, look, store
from tests.cache_backends.processes import Child, in_child
from tests.cache_backends.sqlite_outside import OpenSQLite, another_program, closed_store, damaged_copies, locked, sql


def test_a_file_that_is_locked_when_it_is_opened_is_refused_with_a_sentence(
    open_sqlite: OpenSQLite, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_S", 0.001)
    closed_store(open_sqlite)
    with locked(path), pytest.raises(CacheUnavailableError, match=r"is locked by another program\. It is used again"):
        open_sqlite()
    assert found(open_sqlite(), chat_prompt("q0")) == ["answer 0 " * 20]
    assert damaged_copies(path) == []


def test_a_file_that_is_locked_while_working_fails_open(
    open_sqlite: OpenSQLite, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_S", 0.001)
    cache, strict = open_sqlite(), open_sqlite(strict=True)
    store(cache, "q", "answer")
    with locked(path, "begin immediate"):
        assert found(cache, "q") == ["answer"]  # reading waits for nobody
        with cache.observe() as lookups:
            store(cache, "q", "new")
        assert [made.refusal for made in lookups.stores] == ["error"]
        with pytest.raises(CacheUnavailableError):
            store(strict, "q", "new")
        assert [entry.prompt for entry in cache.entries().entries] == ["q"]  # a person can look all the same
        assert cache.get(cache_key("q", LLM)) is not None
    assert cache.counters.errors == 1
    store(cache, "q", "new")
    assert found(cache, "q") == ["new"]
    assert sum(entry.hits for entry in cache.entries().entries) == 1


def test_a_locked_file_does_not_keep_a_cache_from_closing(
    open_sqlite: OpenSQLite, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_S", 0.001)
    cache = open_sqlite()
    store(cache, "q", "answer")
    found(cache, "q")
    with locked(path, "begin immediate"):
        cache.close()
    assert look(cache, "q").outcome == "error"


def test_a_reader_with_a_page_open_never_blocks_a_writer(
    open_sqlite: OpenSQLite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_S", 0.001)
    cache, reader = open_sqlite(strict=True), open_sqlite()
    for number in range(5):
        store(cache, f"q{number}", "old")
    with reader._store.file.connection() as connection:
        connection.execute("begin")
        rows = connection.execute("select prompt from details order by id")
        first = next(rows)
        for number in range(5):
            store(cache, f"q{number}", "new")
        store(cache, "more", "answer")
        assert [first, *rows] == [(f"q{number}",) for number in range(5)]
        connection.execute("commit")
    assert [found(reader, f"q{number}") for number in range(5)] == [["new"]] * 5


def test_after_its_file_was_deleted_the_next_store_begins_a_new_one(open_sqlite: OpenSQLite, path: Path) -> None:
    cache = open_sqlite(strict=True)
    store(cache, "old", "answer")
    path.unlink()
    store(cache, "new", "answer")
    assert path.is_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (found(cache, "old"), found(cache, "new")) == (None, ["answer"])
    assert in_child(lambda: found(SQLiteCache(path), "new")) == ["answer"]


def test_after_its_folder_was_deleted_the_next_store_fails_open_or_begins_anew(
    open_sqlite: OpenSQLite, path: Path
) -> None:
    cache = open_sqlite()
    store(cache, "old", "answer")
    shutil.rmtree(path.parent)
    store(cache, "new", "answer")
    assert found(cache, "old") is None
    path.parent.mkdir(exist_ok=True)
    store(cache, "newer", "answer")
    assert found(cache, "newer") == ["answer"]


def test_a_thread_that_is_reading_a_deleted_file_does_not_bring_it_back(open_sqlite: OpenSQLite, path: Path) -> None:
    cache = open_sqlite(strict=True)
    store(cache, "old", "answer")
    file = cache._store.file
    with file.connection():  # another thread is in the middle of something
        path.unlink()
        store(cache, "new", "answer")
    store(cache, "newer", "answer")
    for prompt in ("new", "newer"):
        assert found(cache, prompt) == ["answer"]
    assert in_child(lambda: [found(SQLiteCache(path), prompt) for prompt in ("new", "newer")]) == [["answer"]] * 2


def test_processes_follow_each_other_to_a_new_file(open_sqlite: OpenSQLite, path: Path) -> None:
    one, two = open_sqlite(strict=True), open_sqlite(strict=True)
    store(one, "old", "answer")
    store(two, "old", "answer")
    path.unlink()
    store(one, "from one", "answer")
    store(two, "from two", "answer")
    assert found(one, "from two") == found(two, "from one") == ["answer"]


def test_opening_more_connections_keeps_the_locks_of_the_first(open_sqlite: OpenSQLite, path: Path) -> None:
    """A descriptor of the file that is closed drops SQLite's locks: another process would then remove the log."""
    cache = open_sqlite(strict=True)
    store(cache, "before", "answer")
    file = cache._store.file
    with file.connection(), file.connection(), file.connection():
        pass
    open_sqlite()
    code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)"
    locking = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert "BlockingIOError" in locking.stderr
    assert another_program(path, "select count(*) from entries") == "1"
    assert path.with_name("cache.db-wal").exists()
    store(cache, "after", "answer")
    assert another_program(path, "select count(*) from entries") == "2"


def test_a_child_has_locks_of_its_own_on_the_file(open_sqlite: OpenSQLite, path: Path) -> None:
    """SQLite keeps account of its locks by file and process: a child that inherits the account has no locks at all."""
    cache = open_sqlite(strict=True)
    store(cache, "before", "answer")

    def child() -> list[object]:
        store(cache, "child", "answer")
        seen = another_program(path, "select count(*) from entries")
        store(cache, "child again", "answer")
        return [seen, another_program(path, "select count(*) from entries")]

    waiting = Child(child)
    cache.close()
    assert waiting.result() == ["2", "3"]


def test_a_child_that_is_forked_while_threads_write_can_write_too(open_sqlite: OpenSQLite) -> None:
    cache = open_sqlite(strict=True)
    done = threading.Event()

    def write(thread: int) -> None:
        number = 0
        while not done.is_set():
            store(cache, f"{thread} {number % 50}", "answer")
            number += 1

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(12):
            assert in_child(lambda number=number: [store(cache, "child", f"{number}"), found(cache, "child")][1]) == [
                f"{number}"
            ]
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert found(cache, "child") == ["11"]
    assert cache.counters.errors == 0


def test_a_place_below_a_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheUnavailableError, match="can't be used for the SQLite cache: File exists"):
        SQLiteCache(tmp_path / "file" / "cache.db")
    with pytest.raises(CacheUnavailableError, match="can't be used for the SQLite cache: Not a directory"):
        SQLiteCache(tmp_path / "file" / "folder" / "cache.db")


def test_a_file_that_can_only_be_read_is_refused_with_a_sentence(
    open_sqlite: OpenSQLite, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so SQLite is told to open the file for reading only."""
    closed_store(open_sqlite)
    sql(path, "pragma user_version = 0", "pragma application_id = 0", "drop table entries", "drop table damaged")
    sql(path, "drop table llm_strings", "drop table namespaces", "drop table details")

    class ReadOnly(apsw.Connection):
        inode: int

        def __init__(self, filename: str) -> None:
            super().__init__(filename, flags=apsw.SQLITE_OPEN_READONLY)

    monkeypatch.setattr("cache_backends.sqlite_file.Connection", ReadOnly)
    with pytest.raises(CacheUnavailableError, match="can't be opened"):
        open_sqlite()


def test_a_full_disk_loses_nothing_stored_before(open_sqlite: OpenSQLite, path: Path) -> None:
    cache = open_sqlite()
    for number in range(10):
        store(cache, f"q{number}", f"answer {number}")
    with cache._store.file.connection() as connection:
        pages = connection.pragma("page_count")
        connection.pragma("max_page_count", pages)
    with cache.observe() as lookups:
        for number in range(20):
            store(cache, f"big {number}", "x" * 10_000)
    assert "error" in [made.refusal for made in lookups.stores]
    assert [found(cache, f"q{number}") for number in range(10)] == [[f"answer {number}"] for number in range(10)]
    with cache._store.file.connection() as connection:
        connection.pragma("max_page_count", 2**30)
    store(cache, "after", "answer")
    assert found(cache, "after") == ["answer"]
    assert cache.notices == ()


def test_the_store_is_sound_after_many_threads(open_sqlite: OpenSQLite, path: Path) -> None:
    cache = open_sqlite(max_entries=30)

    def work(thread: int) -> None:
        for number in range(20):
            store(cache, f"q{(thread * 7 + number) % 40}", f"{thread} {number}", "second")
            found(cache, f"q{number}")

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.counters.errors == 0
    cache.close()
    assert sql(path, "pragma integrity_check") == [("ok",)]
    assert sql(path, "select count(*) from entries") == [(30,)]
    assert not path.with_name("cache.db-wal").exists()


def test_a_connection_given_back_while_the_cache_closes_is_closed(
    open_sqlite: OpenSQLite, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = open_sqlite()._store.file
    connection = file.take()
    autocommit = Connection.getautocommit

    def closing_meanwhile(self: Connection) -> bool:
        file.close()
        return autocommit(self)

    monkeypatch.setattr(Connection, "getautocommit", closing_meanwhile)
    file.give(connection)
    assert not file._idle
    assert not file._opened
