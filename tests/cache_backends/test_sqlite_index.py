"""The index beside a SQLite cache: stores replaced, damaged or written by others; processes, threads, forks."""

from __future__ import annotations

import copy
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cache_backends import CacheError, SQLiteCache, sqlite_index, sqlite_rows, sqlite_upkeep
from tests.cache_backends.answers import found, key_of, prompts, store, whole
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.index_outside import (
    contents,
    index_path,
    nothing_said,
    same_as_by_looking,
    same_as_made_anew,
    visited,
)
from tests.cache_backends.processes import Child, in_child
from tests.cache_backends.sqlite_outside import OpenSQLite, sql

INDEX = "cache.db.browse"


def agree(cache: SQLiteCache) -> None:
    """The index says what looking at every entry says, and is what one made anew would be."""
    same_as_by_looking(cache)
    same_as_made_anew(cache)


def fill(cache: SQLiteCache, clock: FakeClock, answers: int = 10) -> None:
    """Entries with different times, words and lifetimes."""
    for number in range(answers):
        store(cache.view(ttl=[None, 5, 5_000][number % 3]), f"q{number}", f"word{number} " * (number + 1))
        clock.tick()


def copy_store(path: Path, to: Path) -> None:
    """The store alone, as a backup has it."""
    sql(path, f"vacuum into '{to}'")


def replace_store(path: Path, by: Path | None) -> None:
    """Put another file in the place of the store, or none."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.unlink()
    if by is not None:
        shutil.copy(by, path)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file was changed long ago, so that its time tells whether it was changed since."""
    monkeypatch.setattr(sqlite_index, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 10**12))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of rows that are read to be indexed."""
    ids: list[int] = []
    whole_rows = sqlite_index.stored

    def noted(row: tuple[Any, ...]) -> Any:
        ids.append(row[0])
        return whole_rows(row)

    monkeypatch.setattr(sqlite_index, "stored", noted)
    return ids


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """How often the whole index was compared with the store."""
    times: list[object] = []
    compare = sqlite_index._compare

    def noted(*args: Any, newest: int | None) -> None:
        if newest is None:
            times.append(args)
        compare(*args, newest=newest)

    monkeypatch.setattr(sqlite_index, "_compare", noted)
    return times


# What is read, and when


def test_only_what_is_new_is_read(open_sqlite: OpenSQLite, clock: FakeClock, read: list[int]) -> None:
    cache = open_sqlite()
    fill(cache, clock)
    assert len(prompts(cache)) == 10
    assert len(read) == 10
    store(cache, "new", "answer")
    found(cache, "q0")
    cache.delete(key_of("q3"))
    cache.pin(key_of("q6"))
    read.clear()
    assert len(prompts(cache)) == 10
    assert len(read) == 2  # the new one, and the pinned one under its new id
    assert whole(cache, "q0").hits == 1
    agree(cache)


def test_a_store_that_nobody_changed_is_not_compared(
    open_sqlite: OpenSQLite, clock: FakeClock, still: None, compared: list[object]
) -> None:
    cache = open_sqlite()
    fill(cache, clock)
    cache.entries()
    compared.clear()
    cache.entries()
    cache.tally()
    cache.models()
    cache.view(namespace="other").entries()
    cache.bring_up_to_date()
    assert compared == []
    store(cache, "new", "answer")
    assert "new" in prompts(cache)
    assert len(compared) == 1


def test_who_only_wants_what_is_new_has_the_newest_compared_and_sees_nothing_that_is_gone(
    open_sqlite: OpenSQLite, clock: FakeClock, compared: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_index, "COMPARED_OF_NEW", 4)
    cache = open_sqlite()
    fill(cache, clock)
    cache.entries()
    compared.clear()
    store(cache, "new", "answer")
    cache.delete(key_of("q3"), key_of("q8"))
    cache.bring_up_to_date(only_new=True)
    page = cache.entries(up_to_date=False)
    assert {entry.prompt for entry in page.entries} == {"new", *(f"q{number}" for number in range(10))} - {"q3", "q8"}
    assert page.total == 10, "that an old one is gone was left for another time"
    assert compared == []
    assert cache.entries().total == 9
    agree(cache)


def test_two_programs_that_browse_leave_each_other_alone(
    open_sqlite: OpenSQLite, clock: FakeClock, still: None, compared: list[object]
) -> None:
    one, other = open_sqlite(), open_sqlite()
    fill(one, clock)
    for cache in (one, other, one):
        cache.entries()
    compared.clear()
    for cache in (one, other) * 3:
        cache.entries()
    assert compared == []


def test_a_store_that_was_changed_just_now_is_compared_again(
    open_sqlite: OpenSQLite, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, compared: list[object]
) -> None:
    monkeypatch.setattr(sqlite_index, "time", SimpleNamespace(time_ns=lambda: 0))  # before whatever happened
    cache = open_sqlite()
    fill(cache, clock, 1)
    cache.entries()
    cache.entries()
    assert len(compared) == 2


def test_what_another_process_does_is_noticed_at_once(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock, still: None
) -> None:
    cache = open_sqlite()
    fill(cache, clock)
    assert len(prompts(cache)) == 10

    def theirs(number: int) -> None:
        with SQLiteCache(path, clock=clock) as other:
            store(other, f"theirs {number}", "answer")
            other.delete(key_of(f"q{number}"))
            found(other, "q9")

    for number in range(6):
        in_child(lambda number=number: theirs(number))
        there = prompts(cache)
        assert f"theirs {number}" in there
        assert f"q{number}" not in there
        assert sum(entry.hits for entry in cache.entries().entries) == number + 1
        same_as_by_looking(cache)
    same_as_made_anew(cache)


def test_a_damaged_row_is_never_listed_and_read_once(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock, read: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_sqlite()
    fill(cache, clock, 12)
    ids = [row[0] for row in sql(path, "select id from entries order by id")]
    for row_id, damage in zip(
        ids,
        [
            "update entries set value = x'00' where id = {}",
            "update entries set created_at = 'yesterday' where id = {}",
            "update entries set expires_at = 9e999 where id = {}",
            "update entries set namespace = cast(x'ff' as text) where id = {}",
            "update details set hits = '12 or so' where id = {}",
            "update details set size_bytes = x'3132' where id = {}, prompt = cast(x'ff' as text)",
            "update details set last_used_at = 'now' where id = {}",
            "update details set llm_string = 1 where id = {}",
            "update details set hits = 1.5 where id = {}",
            "update entries set key = 5 where id = {}",
        ],
        strict=False,
    ):
        if "prompt" in damage:
            damage = "update details set size_bytes = x'3132', prompt = cast(x'ff' as text) where id = {}"
        sql(path, damage.format(row_id))
    with nothing_said(caplog):
        assert prompts(cache) == {"q10", "q11"}
        assert cache.entries().total == 2
        same_as_by_looking(cache)
        read.clear()
        store(cache, "new", "answer")
        assert prompts(cache) == {"q10", "q11", "new"}
    assert len(read) == 1
    agree(cache)


def test_a_row_that_is_repaired_is_listed(open_sqlite: OpenSQLite, path: Path, clock: FakeClock) -> None:
    cache = open_sqlite()
    store(cache, "q", "answer")
    sql(path, "update details set last_used_at = 'now'")
    assert prompts(cache) == set()
    sql(path, f"update details set last_used_at = {clock.now!r}")
    assert prompts(cache) == {"q"}
    agree(cache)


def test_a_row_that_is_set_aside_is_forgotten(open_sqlite: OpenSQLite, path: Path, clock: FakeClock) -> None:
    cache = open_sqlite()
    fill(cache, clock, 3)
    cache.entries()
    sql(path, "update entries set value = x'00' where id = (select min(id) from entries)")
    assert found(cache, "q0") is None
    assert prompts(cache) == {"q1", "q2"}
    agree(cache)


# Stores that are not what they were


def test_an_older_copy_in_place_of_the_store_is_indexed(
    open_sqlite: OpenSQLite, path: Path, tmp_path: Path, clock: FakeClock
) -> None:
    cache = open_sqlite()
    fill(cache, clock)
    cache.entries()
    copy_store(path, tmp_path / "older.db")
    cache.pin(key_of("q1"))  # a new id, and the same sums
    cache.set_ttl(key_of("q2"), 7)
    store(cache, "q4", "another answer")
    cache.delete(key_of("q5"))
    found(cache, "q6")
    store(cache, "new", "answer")
    agree(cache)
    cache.close()
    replace_store(path, tmp_path / "older.db")
    again = open_sqlite()
    assert prompts(again) == {f"q{number}" for number in range(10)}
    agree(again)


def test_an_older_copy_that_differs_in_one_lifetime_only_is_noticed(
    open_sqlite: OpenSQLite, path: Path, tmp_path: Path, clock: FakeClock
) -> None:
    cache = open_sqlite(ttl=5)
    store(cache, "q", "answer")
    copy_store(path, tmp_path / "older.db")
    cache.pin(key_of("q"))
    clock.tick(10)
    assert cache.entries(state="expired").total == 0
    cache.close()
    replace_store(path, tmp_path / "older.db")
    again = open_sqlite()
    assert again.entries(state="expired").total == 1
    agree(again)


def test_a_store_that_is_replaced_while_it_is_open_is_indexed(
    open_sqlite: OpenSQLite, path: Path, tmp_path: Path, clock: FakeClock
) -> None:
    cache = open_sqlite()
    fill(cache, clock)
    copy_store(path, tmp_path / "older.db")
    store(cache, "new", "answer")
    cache.entries()
    replace_store(path, tmp_path / "older.db")
    store(cache, "newer", "answer")
    assert prompts(cache) == {*(f"q{number}" for number in range(10)), "newer"}
    agree(cache)


@pytest.mark.parametrize("is_open", [True, False])
def test_a_store_that_was_begun_anew_is_indexed_anew(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock, is_open: bool
) -> None:
    cache = open_sqlite()
    fill(cache, clock)
    cache.entries()
    if not is_open:
        cache.close()
    replace_store(path, None)
    again = cache if is_open else open_sqlite()
    store(again, "new", "answer")
    assert prompts(again) == {"new"}
    agree(again)


@pytest.mark.parametrize("theirs_is_later", [True, False])
def test_the_index_of_another_store_is_made_that_of_this(
    open_sqlite: OpenSQLite, path: Path, tmp_path: Path, clock: FakeClock, theirs_is_later: bool
) -> None:
    other = SQLiteCache(tmp_path / "other" / "cache.db", clock=clock)
    for cache in [open_sqlite(), other] if theirs_is_later else [other, open_sqlite()]:
        with cache:
            store(cache, "theirs" if cache is other else "a mine", "answer")  # as many bytes, at the same time
            cache.entries()
    shutil.copy(other.path.with_name(INDEX), path.with_name(INDEX))
    again = open_sqlite()
    assert prompts(again) == {"a mine"}
    assert again.entries(search="theirs").total == 0
    assert again.entries(search="mine").total == 1
    agree(again)


def test_an_empty_store_lists_nothing_of_the_index_of_another(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock
) -> None:
    with open_sqlite() as cache:
        fill(cache, clock)
        cache.entries()
    replace_store(path, None)
    again = open_sqlite()
    assert again.entries().total == 0
    agree(again)


def test_an_entry_that_gets_another_id_while_it_is_compared_is_listed(
    open_sqlite: OpenSQLite, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, other = open_sqlite(), open_sqlite()
    fill(cache, clock)
    cache.entries()
    compare = sqlite_index._compare

    def meanwhile(*args: Any, **options: Any) -> None:
        other.pin(key_of("q1"))
        store(other, "q2", "another answer")
        compare(*args, **options)

    monkeypatch.setattr(sqlite_index, "_compare", meanwhile)
    store(cache, "new", "answer")
    assert prompts(cache) == {"new", *(f"q{number}" for number in range(10))}
    agree(cache)


# The index itself


def test_an_index_that_was_removed_between_runs_is_made_anew(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock
) -> None:
    with open_sqlite() as cache:
        fill(cache, clock)
        cache.entries()
    path.with_name(INDEX).unlink()
    agree(open_sqlite())


@pytest.mark.parametrize("damage", [b"", b"not a database" * 1_000, None], ids=["emptied", "overwritten", "truncated"])
def test_an_index_that_was_damaged_between_runs_is_made_anew(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock, damage: bytes | None
) -> None:
    with open_sqlite() as cache:
        fill(cache, clock)
        cache.entries()
    index = path.with_name(INDEX)
    index.write_bytes(index.read_bytes()[: index.stat().st_size // 3] if damage is None else damage)
    again = open_sqlite()
    for _ in range(3):
        same_as_by_looking(again)
    agree(again)


def test_a_table_that_is_missing_in_the_index_makes_it_anew(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with open_sqlite() as cache:
        fill(cache, clock)
        cache.entries()
    sql(path.with_name(INDEX), "drop table tallies")
    agree(open_sqlite())
    assert "was damaged" in caplog.text


def test_an_index_that_is_removed_while_it_is_open_is_made_anew(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock, still: None
) -> None:
    cache = open_sqlite()
    fill(cache, clock)
    cache.entries()
    for file in path.parent.glob(f"{INDEX}*"):
        file.unlink()
    with ThreadPoolExecutor(4) as threads:  # several connections: some of them are opened now
        for future in [threads.submit(same_as_by_looking, cache) for _ in range(8)]:
            future.result()
    store(cache, "new", "answer")
    same_as_by_looking(cache)
    agree(cache)


def test_an_index_that_is_damaged_while_it_is_open_is_made_anew(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock, still: None, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_sqlite()
    fill(cache, clock, 40)
    cache.entries()
    index = path.with_name(INDEX)
    sql(index, "pragma wal_checkpoint(truncate)")
    size = index.stat().st_size
    with open(index, "r+b") as file:
        file.write(b"\xa5" * size)
    cache._store.index.get().file._drop_connections()
    for _ in range(3):
        same_as_by_looking(cache)
    assert "was damaged" in caplog.text
    agree(cache)


def test_what_is_known_of_an_index_is_not_taken_for_the_one_begun_after_it(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock, still: None
) -> None:
    cache = open_sqlite()
    fill(cache, clock, 10)
    assert cache.entries(search="word1").total == 1
    cache._store.index.get().file._drop_connections()
    for file in path.parent.glob(f"{INDEX}*"):
        file.unlink()
    assert cache.entries(search="word1").total == 1  # though nobody has changed the store
    assert prompts(cache) == {f"q{number}" for number in range(10)}
    cache.delete(key_of("q1"))
    cache._store.index.get().file._drop_connections()
    for file in path.parent.glob(f"{INDEX}*"):
        file.unlink()
    assert cache.entries(search="word1").total == 0  # as many changes as before, but another index


# Older programs, clocks that are set back

_OLD_STORE = (
    """
    insert into entries (namespace, key, created_at, expires_at, model_time_s, pinned, value)
    select namespace, key, created_at, expires_at, model_time_s, pinned, value from new.entries where true
    on conflict (namespace, key) do update set
        created_at = excluded.created_at, expires_at = excluded.expires_at, model_time_s = excluded.model_time_s,
        pinned = excluded.pinned, value = excluded.value
    """,
    """
    insert or replace into details (
        id, last_used_at, hits, size_bytes, model, llm_string, prompt_is_message, prompt
    )
    select (select id from main.entries where (namespace, key) = (new.entries.namespace, new.entries.key)),
           last_used_at, hits, size_bytes, model, llm_string, prompt_is_message, prompt
    from new.entries join new.details using (id)
    """,
    "insert or ignore into namespaces select * from new.namespaces",
    "insert or ignore into llm_strings select * from new.llm_strings",
)
"""How the same format was written before ids were given once: a new answer under the id of the old one."""


@pytest.fixture
def old_program(path: Path, tmp_path: Path, clock: FakeClock) -> Callable[[str, str], None]:
    """An older program that stores."""
    new = tmp_path / "new" / "cache.db"

    def store_as_before(prompt: str, answer: str) -> None:
        with SQLiteCache(new, clock=clock) as scratch:
            scratch.clear()
            store(scratch, prompt, answer)
        sql(path, f"attach '{new}' as new", *_OLD_STORE)

    return store_as_before


def renumber(path: Path) -> None:
    """Give all entries the ids that an older program would have given."""
    rows = sql(path, "select id from entries order by id")
    for number, (row_id,) in enumerate(rows, 1):
        sql(
            path,
            f"update entries set id = {number} where id = {row_id}",
            f"update details set id = {number} where id = {row_id}",
        )


def test_small_ids_of_an_older_program_are_indexed(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock, old_program: Callable[[str, str], None]
) -> None:
    with open_sqlite() as cache:
        fill(cache, clock)
    renumber(path)
    old_program("older", "answer")
    cache = open_sqlite()
    assert len(prompts(cache)) == 11
    agree(cache)
    old_program("older still", "answer")
    store(cache, "q3", "new")
    assert len(prompts(cache)) == 12
    old_program("after a new one", "answer")
    assert len(prompts(cache)) == 13
    agree(cache)


@pytest.mark.parametrize("hits", [0, 1, 3])
def test_what_an_older_program_writes_over_an_entry_is_noticed(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock, old_program: Callable[[str, str], None], hits: int
) -> None:
    with open_sqlite() as cache:
        fill(cache, clock)
    renumber(path)
    cache = open_sqlite()
    store(cache, "q5", "first")
    found(cache, "q5")
    assert cache.entries(search="first").total == 1
    clock.tick()
    old_program("q5", "other")  # as long
    for _ in range(hits):
        found(cache, "q5")
    assert cache.entries(search="first").total == 0
    assert cache.entries(search="other").total == 1
    agree(cache)


def test_entries_of_the_first_format_are_read_once(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock, read: list[int]
) -> None:
    path.parent.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "stores" / "sqlite-1.db", path)
    cache = open_sqlite()
    for namespace in cache.namespaces():
        same_as_by_looking(cache.view(namespace=namespace))
    assert read
    read.clear()
    store(cache, "new", "answer")
    assert "new" in prompts(cache)
    assert len(read) == 1
    agree(cache)


def test_ids_that_are_given_again_after_a_clock_was_set_back_are_noticed(
    open_sqlite: OpenSQLite, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_sqlite()
    fill(cache, clock)
    cache.entries()
    for module in (sqlite_rows, sqlite_upkeep):
        monkeypatch.setattr(module, "next_id", lambda: 1)
    clock.now -= 3_600
    store(cache, "q9", "other9 " * 10)  # the newest, under its old id, as long
    assert cache.entries(search="word9").total == 0
    assert cache.entries(search="other9").total == 1
    agree(cache)
    for number in range(10):
        clock.tick(0.001)
        cache.delete(key_of("q9"))
        store(cache, "q9", f"again{number} " * 10)
        cache.pin(key_of("q4"), number % 2 == 0)
        same_as_by_looking(cache)
    agree(cache)


# Processes, threads, forks, copies


def test_two_processes_may_bring_it_up_to_date_at_once(
    open_sqlite: OpenSQLite, path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_index, "AT_A_TIME", 7)
    with open_sqlite() as cache:
        fill(cache, clock, 700)

    def theirs() -> int:
        with SQLiteCache(path, clock=clock) as other:
            other.bring_up_to_date()
            return other.entries().total

    assert [child.result() for child in [Child(theirs) for _ in range(3)]] == [700] * 3
    agree(open_sqlite())


def test_threads_browse_store_and_delete_at_once(
    open_sqlite: OpenSQLite, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    cache, other = open_sqlite(), open_sqlite()
    fill(cache, clock)

    def work(number: int) -> None:
        ours = (cache, other)[number % 2].view(namespace=f"n{number % 3}")
        for step in range(15):
            store(ours, f"{number} {step}", f"word{step}")
            found(ours, f"{number} {step}")
            page = ours.entries(search="word", limit=5)
            assert len(page.entries) <= 5
            ours.tally(ages=[clock.now - 1])
            ours.models()
            if step % 3 == 0:
                assert ours.delete(key_of(f"{number} {step}")) == 1
            if step % 5 == 0:
                ours.pin(key_of(f"{number} {step + 1}"))

    with nothing_said(caplog), ThreadPoolExecutor(6) as threads:
        for future in [threads.submit(work, number) for number in range(6)]:
            future.result()
    for namespace in ("default", "n0", "n1", "n2"):
        same_as_by_looking(cache.view(namespace=namespace))
    agree(cache)
    agree(other)


def test_a_child_that_is_forked_while_the_index_is_open_browses(open_sqlite: OpenSQLite, clock: FakeClock) -> None:
    cache = open_sqlite()
    fill(cache, clock)
    cache.entries()

    def theirs() -> set[str]:
        store(cache, "theirs", "answer")
        agree(cache)
        return prompts(cache)

    assert len(in_child(theirs)) == 11
    agree(cache)
    assert len(prompts(cache)) == 11


def test_a_child_that_is_forked_while_a_thread_opens_or_updates_the_index_browses(
    open_sqlite: OpenSQLite, clock: FakeClock
) -> None:
    cache = open_sqlite()
    fill(cache, clock)
    beside = cache._store.index
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with beside._opening:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        assert in_child(lambda: cache.entries().total) == 10
    finally:
        done.set()
        thread.join()
    with beside.get().updating:
        assert in_child(lambda: cache.entries().total) == 10


def test_copies_share_the_index(open_sqlite: OpenSQLite, clock: FakeClock) -> None:
    cache = open_sqlite()
    fill(cache, clock)
    cache.entries()
    for other in (pickle.loads(pickle.dumps(cache)), copy.deepcopy(cache)):
        with other:
            other.clock = clock
            store(other, "theirs", "answer")
            agree(other)
            assert "theirs" in prompts(cache)
    agree(cache)


# Stopped in the middle


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_what_was_indexed_before_a_stop_stays_and_is_used(
    open_sqlite: OpenSQLite, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, read: list[int], kind: type[Exception]
) -> None:
    monkeypatch.setattr(sqlite_index, "AT_A_TIME", 4)
    cache = open_sqlite()
    fill(cache, clock)
    told: list[tuple[int, int | None]] = []

    def stop(done: int, of: int | None) -> None:
        told.append((done, of))
        if done >= 8:
            raise kind("enough")

    with pytest.raises(kind, match="enough"):
        cache.bring_up_to_date(stop)
    assert told == [(4, 10), (8, 10)]
    shown, total = visited(cache, up_to_date=False, limit=3)
    assert {entry.prompt for entry in shown} == {f"q{number}" for number in range(8)}
    assert total == 8
    assert sum(one.entries for one in cache.tally(up_to_date=False)) == 8
    read.clear()
    told.clear()
    cache.bring_up_to_date(lambda done, of: told.append((done, of)))
    assert len(read) == 2
    assert told[-1] == (10, 10)
    agree(cache)


def test_an_interrupt_while_a_row_is_read_leaves_the_index_whole(
    open_sqlite: OpenSQLite, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_index, "AT_A_TIME", 4)
    cache = open_sqlite()
    fill(cache, clock)
    readable, calls = sqlite_index.readable_prompt, []

    def interrupted(prompt: str) -> str:
        calls.append(prompt)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return readable(prompt)

    monkeypatch.setattr(sqlite_index, "readable_prompt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.entries()
    assert cache.entries(up_to_date=False).total == 4
    agree(cache)


def test_an_interrupt_while_comparing_is_made_up_for(
    open_sqlite: OpenSQLite, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, still: None
) -> None:
    cache = open_sqlite()
    fill(cache, clock)
    cache.entries()
    cache.delete(key_of("q1"))
    with monkeypatch.context() as patched:

        def interrupted(*args: Any) -> None:
            raise KeyboardInterrupt

        patched.setattr(sqlite_index, "_mend", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache.entries()
    assert "q1" not in prompts(cache)
    agree(cache)


def test_it_is_closed_and_opened_again_with_the_store(open_sqlite: OpenSQLite, clock: FakeClock) -> None:
    cache = open_sqlite()
    fill(cache, clock)
    cache.entries()
    before = contents(index_path(cache))
    cache.close()
    for browse in (cache.entries, cache.tally, cache.models, cache.bring_up_to_date):
        with pytest.raises(CacheError, match="was closed"):
            browse()
    with open_sqlite() as again:
        assert again.entries(up_to_date=False).total == 10
        assert contents(index_path(again)) == before
        agree(again)


def test_a_closed_cache_makes_no_index(open_sqlite: OpenSQLite, path: Path) -> None:
    cache = open_sqlite()
    cache.close()
    with pytest.raises(CacheError, match="was closed"):
        cache.entries()
    assert not path.with_name(INDEX).exists()


def test_an_empty_model_is_a_model(open_sqlite: OpenSQLite) -> None:
    cache = open_sqlite()
    store(cache, "q", "answer")
    cache.restore(replace(whole(cache, "q"), model=""))
    assert cache.models() == [""]
    assert cache.entries(model="").total == 1
    assert whole(cache, "q").model == ""
