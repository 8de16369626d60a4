"""What `SQLiteCache` promises about its file: modes, settings, formats, other programs' files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cache_backends import CacheConfigError, cache_key
from tests.cache_backends.answers import LLM, chat_prompt, found, store
from tests.cache_backends.sqlite_outside import OpenSQLite, closed_store, damaged_copies, sql


def test_file_and_folder_are_for_their_owner_only(open_sqlite: OpenSQLite, path: Path) -> None:
    old_mask = os.umask(0)
    try:
        cache = open_sqlite()
        store(cache, "q", "answer")
    finally:
        os.umask(old_mask)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert {"cache.db", "cache.db-wal", "cache.db-shm"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_every_connection_has_the_write_ahead_log_and_its_settings(open_sqlite: OpenSQLite) -> None:
    file = open_sqlite()._store.file
    with file.connection() as first, file.connection() as second, file.connection() as third:
        assert len({first, second, third}) == 3
        for connection in (first, second, third):
            assert connection.pragma("journal_mode") == "wal"
            assert connection.pragma("synchronous") == 1
            assert connection.pragma("application_id") == 0x4C4C4D43
            assert connection.pragma("user_version") == 2


def test_a_small_message_is_kept_as_its_text_and_parameters_once(open_sqlite: OpenSQLite, path: Path) -> None:
    with open_sqlite() as cache:
        for number in range(3):
            store(cache, chat_prompt(f"Who? {number}"), "answer")
        assert cache.get(cache_key(chat_prompt("Who? 1"), LLM)) is not None
    assert sql(path, "select prompt, prompt_is_message from details order by id limit 1") == [("Who? 0", 1)]
    assert sql(path, "select count(*), max(text) from llm_strings") == [(1, LLM)]
    assert sql(path, "pragma integrity_check") == [("ok",)]


def test_an_entry_tells_its_file_table_and_row(open_sqlite: OpenSQLite, path: Path) -> None:
    cache = open_sqlite()
    store(cache, "q", "answer")
    entry = cache.get(cache_key("q", LLM))
    assert entry is not None
    assert entry.location == f"{path}, table entries, row with key x'{entry.key}'"
    assert sql(path, f"select count(*) from entries where key = x'{entry.key}'") == [(1,)]


def test_the_database_of_another_program_is_refused_and_left_alone(open_sqlite: OpenSQLite, path: Path) -> None:
    path.parent.mkdir()
    sql(path, "create table notes (text)", "insert into notes values ('precious')")
    before = path.read_bytes()
    with pytest.raises(CacheConfigError, match=r"is the SQLite database of another program\. Name another file"):
        open_sqlite()
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["cache.db"]


def test_a_newer_format_is_refused_and_left_alone(open_sqlite: OpenSQLite, path: Path) -> None:
    closed_store(open_sqlite)
    sql(path, "pragma user_version = 3")
    before = path.read_bytes()
    with pytest.raises(CacheConfigError, match=r"newer version \(format 3; this one knows up to 2\)\. Update"):
        open_sqlite()
    assert path.read_bytes() == before
    assert damaged_copies(path) == []


def test_an_empty_file_becomes_a_cache(open_sqlite: OpenSQLite, path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    cache = open_sqlite()
    store(cache, "q", "answer")
    assert found(cache, "q") == ["answer"]
    assert cache.notices == ()


def test_a_creation_that_was_cut_short_is_finished(open_sqlite: OpenSQLite, path: Path) -> None:
    path.parent.mkdir()
    sql(path, "pragma journal_mode = wal")
    assert path.stat().st_size > 0
    cache = open_sqlite()
    store(cache, "q", "answer")
    assert found(cache, "q") == ["answer"]
