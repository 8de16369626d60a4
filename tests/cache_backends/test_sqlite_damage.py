"""What `SQLiteCache` promises about damage: set aside, never an answer, and a new file begun."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from cache_backends import CacheConfigError, CacheUnavailableError, SQLiteCache, cache_key
from cache_backends.codec import seal
from cache_backends.errors import CorruptEntryError
from tests.cache_backends.answers import LLM, chat_prompt, found, look, store
from tests.cache_backends.processes import in_child
from tests.cache_backends.sqlite_outside import OpenSQLite, closed_store, damaged_copies, sql


def _random_bytes(content: bytes) -> bytes:
    return random.Random(1).randbytes(len(content))


def _damaged_header(content: bytes) -> bytes:
    return b"SQLite nonsense " + content[16:]


def _damaged_schema(content: bytes) -> bytes:
    return content[:100] + b"\xff" * 1000 + content[1100:]


def _truncated(content: bytes) -> bytes:
    return content[: len(content) // 2 + 100]


def _only_the_header(content: bytes) -> bytes:
    return content[:100]


DAMAGES = [_random_bytes, _damaged_header, _damaged_schema, _truncated, _only_the_header]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    open_sqlite: OpenSQLite, path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    closed_store(open_sqlite)
    path.write_bytes(damage(path.read_bytes()))
    content = path.read_bytes()
    cache = open_sqlite()
    for number in range(20):
        prompt = chat_prompt(f"q{number}")
        assert found(cache, prompt) in (None, [f"answer {number} " * 20])
        store(cache, prompt, "new")
    for number in range(20):
        assert found(cache, chat_prompt(f"q{number}")) in (None, ["new"])
    store(cache, "last", "answer")
    assert found(cache, "last") == ["answer"]
    (aside,) = damaged_copies(path)
    assert len(aside.read_bytes()) == len(content)
    (notice,) = cache.notices
    assert f"It was kept as {aside.name}, and a new SQLite cache begun" in notice
    assert notice in caplog.text
    with open_sqlite() as again:
        assert again.notices == ()
        assert found(again, "last") == ["answer"]


def test_damage_that_is_found_while_working_is_set_aside_too(open_sqlite: OpenSQLite, path: Path) -> None:
    cache = open_sqlite()
    for number in range(300):
        store(cache, f"q{number}", "x" * 3000)
    cache._store.file._drop_connections()  # as a new process would: nothing of the file is in memory
    found(cache, "q0")
    in_child(lambda: _overwrite_all_but_the_first_page(path))
    outcomes = {look(cache, f"q{number}").outcome for number in range(300)}
    assert "error" in outcomes
    assert len(cache.notices) == 1
    assert len(damaged_copies(path)) == 1
    store(cache, "q", "answer")
    assert found(cache, "q") == ["answer"]
    assert cache.counters.corrupt == 0


def _overwrite_all_but_the_first_page(path: Path) -> None:
    with apsw.Connection(str(path)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def test_two_threads_that_meet_damage_set_aside_one_file(open_sqlite: OpenSQLite, path: Path) -> None:
    cache = open_sqlite()
    store(cache, "q", "answer")
    file = cache._store.file
    with file.connection() as one, file.connection() as two:
        inode = one.inode
        assert two.inode == inode
    assert "and a new SQLite cache begun" in file._set_aside(apsw.CorruptError("first"), inode)
    store(cache, "new", "answer")
    assert "has been replaced meanwhile" in file._set_aside(apsw.CorruptError("second"), inode)
    assert len(damaged_copies(path)) == 1
    assert found(cache, "new") == ["answer"]


@pytest.mark.parametrize("seed", range(3))
def test_any_changed_byte_of_the_file_is_a_miss_or_the_right_answer(
    path: Path, open_sqlite: OpenSQLite, seed: int
) -> None:
    chance = random.Random(seed)
    closed_store(open_sqlite, answers=8)
    whole = path.read_bytes()
    for _ in range(60):
        for leftover in path.parent.iterdir():
            leftover.unlink()
        changed = bytearray(whole)
        for _ in range(chance.choice([1, 1, 5])):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        try:
            cache = SQLiteCache(path)
        except CacheConfigError:
            continue  # the mark of the format was hit: rightly taken for another program's, or a newer one's
        with cache:
            for number in range(8):
                assert found(cache, chat_prompt(f"q{number}")) in (None, [f"answer {number} " * 20])
            with suppress(CacheUnavailableError):
                for entry in cache.entries().entries:
                    cache.get(entry.key)
                cache.stats()
                cache.namespaces()
            store(cache, "after", "answer")
            assert look(cache, "after").outcome in ("hit", "miss", "error")


@pytest.mark.parametrize(
    "change",
    [
        "update entries set value = substr(value, 1, 20)",
        "update entries set value = value || x'20'",
        "update entries set value = 'text'",
        "update entries set value = 5",
        "update entries set value = cast(x'ff' as text)",
        "update entries set value = x''",
        "update entries set created_at = 'yesterday'",
        "update entries set expires_at = 'tomorrow'",
        "update entries set model_time_s = x'00'",
        "update entries set value = (select value from entries order by id desc limit 1)",
    ],
)
def test_a_changed_row_is_corrupt_and_is_set_aside(open_sqlite: OpenSQLite, path: Path, change: str) -> None:
    with open_sqlite() as cache:
        store(cache, "q", "answer")
        store(cache, "other", "other")
    sql(path, f"{change} where id = (select min(id) from entries)")
    cache = open_sqlite()
    assert look(cache, "q").outcome == "corrupt"
    assert look(cache, "q").outcome == "miss"
    assert cache.counters.corrupt == 1
    assert found(cache, "other") == ["other"]
    assert {entry.prompt for entry in cache.entries().entries} == {"other"}
    assert sql(path, "select count(*) from damaged") == [(1,)]
    store(cache, "q", "new")
    assert found(cache, "q") == ["new"]


def test_a_row_under_another_key_is_corrupt(open_sqlite: OpenSQLite, path: Path) -> None:
    with open_sqlite() as cache:
        store(cache, "q", "answer")
    sql(path, f"update entries set key = x'{cache_key('other', LLM)}'")
    cache = open_sqlite()
    assert look(cache, "other").outcome == "corrupt"
    assert look(cache, "q").outcome == "miss"


@pytest.mark.parametrize(
    "change",
    [
        "update details set prompt = cast(x'ff' as text)",
        "update details set model = cast(x'ff' as text)",
        "update llm_strings set text = cast(x'ff' as text)",
        "update details set hits = 'many'",
        "update details set last_used_at = 'then'",
        "update entries set key = 'short'",
        "delete from llm_strings",
        "delete from details",
    ],
)
def test_a_list_passes_over_a_row_it_cannot_show(open_sqlite: OpenSQLite, path: Path, change: str) -> None:
    with open_sqlite() as cache:
        store(cache, "q", "answer")
    sql(path, change)
    cache = open_sqlite()
    store(cache, "other", "answer", llm_string="other")
    assert [entry.prompt for entry in cache.entries().entries] == ["other"]
    assert cache.get(cache_key("q", LLM)) is None
    assert sum(one.entries for one in cache.tally()) == 1
    assert cache.stats().entries == 2, "it is there, and takes room"


def test_a_planted_constructor_is_never_run(open_sqlite: OpenSQLite, path: Path) -> None:
    with open_sqlite() as cache:
        store(cache, "q", "answer")
    key = cache_key("q", LLM)
    planted = (
        b'[{"lc": 1, "type": "constructor", "id": ["langchain_core", "prompts", "PromptTemplate"], "kwargs": {"x": 1}}]'
    )
    sql(path, f"update entries set value = x'{seal(key, planted).hex()}'")
    assert look(open_sqlite(), "q").outcome == "corrupt"


def test_only_the_newest_damaged_rows_are_kept(
    open_sqlite: OpenSQLite, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.sqlite.DAMAGED_KEPT", 3)
    cache = open_sqlite()
    for number in range(6):
        store(cache, f"q{number}", "answer")
    with cache._store.file.transaction() as connection:
        connection.execute("update entries set value = x'00'")
    assert [look(cache, f"q{number}").outcome for number in range(6)] == ["corrupt"] * 6
    with cache._store.file.connection() as connection:
        assert connection.execute("select count(*) from damaged").get == 3


def test_text_that_is_not_utf_8_leaves_no_read_open_that_a_store_would_fail_by(open_sqlite: OpenSQLite) -> None:
    cache = open_sqlite()
    store(cache, "damaged", "answer")
    other = apsw.Connection(str(cache.path))
    other.execute("update entries set value = cast(x'fffefd' as text)")
    with suppress(CorruptEntryError):
        cache._read(bytes.fromhex(cache_key("damaged", LLM)))
    other.execute("update entries set created_at = 1")  # the file goes on, a read that is open does not
    other.close()
    store(cache, "next", "answer")
    assert (cache.counters.stores, cache.counters.errors) == (2, 0)


def test_what_has_the_right_checksum_and_the_wrong_shape_is_set_aside(open_sqlite: OpenSQLite) -> None:
    cache = open_sqlite()
    store(cache, "q", "answer")
    value = seal(cache_key("q", LLM), b'[{"nothing": 1}]')
    sql(cache.path, f"update entries set value = x'{value.hex()}'")
    assert look(cache, "q").outcome == "corrupt"
    assert look(cache, "q").outcome == "miss"
    assert sql(cache.path, "select count(*) from damaged") == [(1,)]


def test_a_row_with_text_in_place_of_bytes_hides_no_other(open_sqlite: OpenSQLite) -> None:
    cache = open_sqlite()
    for prompt in ("damaged", "other"):
        store(cache, prompt, "answer")
    where = f"where key = x'{cache_key('damaged', LLM)}'"
    for column in ("value", "expires_at", "created_at"):
        sql(cache.path, f"update entries set {column} = cast(x'fffefd' as text) {where}")
        assert [entry.prompt for entry in cache.entries().entries] == ["other"]
        assert sum(one.entries for one in cache.tally()) == 1
        assert cache.stats().entries == 2, "it is there, and takes room"
        assert cache.get(cache_key("damaged", LLM)) is None
