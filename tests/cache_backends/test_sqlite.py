"""What `SQLiteCache` promises about its file: modes, settings, damage, locks, and other programs' files."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
import pytest

from cache_backends import CacheConfigError, CacheUnavailableError, SQLiteCache, cache_key
from cache_backends.codec import seal
from tests.cache_backends.answers import LLM, chat_prompt, found, look, store
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.processes import Child, in_child

OpenCache = Callable[..., SQLiteCache]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the cache lies."""
    return tmp_path / "store" / "cache.db"


@pytest.fixture
def open_it(path: Path, clock: FakeClock) -> Iterator[OpenCache]:
    """Opens the cache, as often as asked."""
    opened: list[SQLiteCache] = []

    def open_cache(**options: object) -> SQLiteCache:
        opened.append(SQLiteCache(path, **{"clock": clock, **options}))
        return opened[-1]

    yield open_cache
    for cache in opened:
        cache.close()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_MS", 20_000)


def closed_store(open_it: OpenCache, answers: int = 20) -> None:
    """A file with answers in it, that nobody has open."""
    with open_it() as cache:
        for number in range(answers):
            store(cache, chat_prompt(f"q{number}"), f"answer {number} " * 20)


def sql(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """What another program gets that runs these statements on the file; rows of the last one."""
    connection = apsw.Connection(str(path))
    try:
        for statement in statements:
            rows = list(connection.execute(statement))
        return rows
    finally:
        connection.close()


def another_program(path: Path, statement: str) -> str:
    """The first value that a statement gives to a process that has nothing to do with this one."""
    code = "import apsw, sys; print(list(apsw.Connection(sys.argv[1]).execute(sys.argv[2]))[0][0])"
    done = subprocess.run([sys.executable, "-c", code, path, statement], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def damaged_copies(path: Path) -> list[Path]:
    """Files that were set aside."""
    return sorted(copy for copy in path.parent.glob("cache.db.damaged-*") if copy.name[-4:] not in ("-wal", "-shm"))


@contextmanager
def locked(path: Path, how: str = "begin exclusive") -> Iterator[None]:
    """Another program that holds the file."""
    connection = apsw.Connection(str(path))
    connection.execute("pragma locking_mode = exclusive" if how == "begin exclusive" else "select 1")
    connection.execute(how)
    try:
        yield
    finally:
        connection.execute("rollback")
        connection.close()


# The file


def test_file_and_folder_are_for_their_owner_only(open_it: OpenCache, path: Path) -> None:
    old_mask = os.umask(0)
    try:
        cache = open_it()
        store(cache, "q", "answer")
    finally:
        os.umask(old_mask)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert {"cache.db", "cache.db-wal", "cache.db-shm"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_every_connection_has_the_write_ahead_log_and_its_settings(open_it: OpenCache) -> None:
    file = open_it()._store.file
    with file.connection() as first, file.connection() as second, file.connection() as third:
        assert len({first, second, third}) == 3
        for connection in (first, second, third):
            assert connection.pragma("journal_mode") == "wal"
            assert connection.pragma("synchronous") == 1
            assert connection.pragma("busy_timeout") == 20_000
            assert connection.pragma("application_id") == 0x4C4C4D43
            assert connection.pragma("user_version") == 1


def test_a_small_message_is_kept_as_its_text_and_parameters_once(open_it: OpenCache, path: Path) -> None:
    with open_it() as cache:
        for number in range(3):
            store(cache, chat_prompt(f"Who? {number}"), "answer")
        assert cache.get(cache_key(chat_prompt("Who? 1"), LLM)) is not None
    assert sql(path, "select prompt, prompt_is_message from entries order by id limit 1") == [("Who? 0", 1)]
    assert sql(path, "select count(*), max(text) from llm_strings") == [(1, LLM)]
    assert sql(path, "pragma integrity_check") == [("ok",)]


def test_an_entry_tells_its_file_table_and_row(open_it: OpenCache, path: Path) -> None:
    cache = open_it()
    store(cache, "q", "answer")
    entry = cache.get(cache_key("q", LLM))
    assert entry is not None
    assert entry.location == f"{path}, table entries, row 1"


def test_the_database_of_another_program_is_refused_and_left_alone(open_it: OpenCache, path: Path) -> None:
    path.parent.mkdir()
    sql(path, "create table notes (text)", "insert into notes values ('precious')")
    before = path.read_bytes()
    with pytest.raises(CacheConfigError, match=r"is the SQLite database of another program\. Name another file"):
        open_it()
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["cache.db"]


def test_a_newer_format_is_refused_and_left_alone(open_it: OpenCache, path: Path) -> None:
    closed_store(open_it)
    sql(path, "pragma user_version = 2")
    before = path.read_bytes()
    with pytest.raises(CacheConfigError, match=r"newer version \(format 2; this one knows up to 1\)\. Update"):
        open_it()
    assert path.read_bytes() == before
    assert damaged_copies(path) == []


def test_an_empty_file_becomes_a_cache(open_it: OpenCache, path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    cache = open_it()
    store(cache, "q", "answer")
    assert found(cache, "q") == ["answer"]
    assert cache.notices == ()


def test_a_creation_that_was_cut_short_is_finished(open_it: OpenCache, path: Path) -> None:
    path.parent.mkdir()
    sql(path, "pragma journal_mode = wal")
    assert path.stat().st_size > 0
    cache = open_it()
    store(cache, "q", "answer")
    assert found(cache, "q") == ["answer"]


# Damage


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
    open_it: OpenCache, path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    closed_store(open_it)
    path.write_bytes(damage(path.read_bytes()))
    content = path.read_bytes()
    cache = open_it()
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
    with open_it() as again:
        assert again.notices == ()
        assert found(again, "last") == ["answer"]


def test_damage_that_is_found_while_working_is_set_aside_too(open_it: OpenCache, path: Path) -> None:
    cache = open_it()
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


def test_two_threads_that_meet_damage_set_aside_one_file(open_it: OpenCache, path: Path) -> None:
    cache = open_it()
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
def test_any_changed_byte_of_the_file_is_a_miss_or_the_right_answer(path: Path, open_it: OpenCache, seed: int) -> None:
    chance = random.Random(seed)
    closed_store(open_it, answers=8)
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
        "update entries set value = (select value from entries where prompt = 'other')",
    ],
)
def test_a_changed_row_is_corrupt_and_is_set_aside(open_it: OpenCache, path: Path, change: str) -> None:
    with open_it() as cache:
        store(cache, "q", "answer")
        store(cache, "other", "other")
    sql(path, f"{change} where prompt = 'q'")
    cache = open_it()
    assert look(cache, "q").outcome == "corrupt"
    assert look(cache, "q").outcome == "miss"
    assert cache.counters.corrupt == 1
    assert found(cache, "other") == ["other"]
    assert {entry.prompt for entry in cache.entries().entries} == {"other"}
    assert sql(path, "select count(*) from damaged") == [(1,)]
    store(cache, "q", "new")
    assert found(cache, "q") == ["new"]


def test_a_row_under_another_key_is_corrupt(open_it: OpenCache, path: Path) -> None:
    with open_it() as cache:
        store(cache, "q", "answer")
    sql(path, f"update entries set key = x'{cache_key('other', LLM)}'")
    cache = open_it()
    assert look(cache, "other").outcome == "corrupt"
    assert look(cache, "q").outcome == "miss"


@pytest.mark.parametrize(
    "change",
    [
        "update entries set prompt = cast(x'ff' as text)",
        "update entries set model = cast(x'ff' as text)",
        "update llm_strings set text = cast(x'ff' as text)",
        "update entries set hits = 'many'",
        "update entries set last_used_at = 'then'",
        "update entries set key = 'short'",
        "delete from llm_strings",
    ],
)
def test_a_list_passes_over_a_row_it_cannot_show(open_it: OpenCache, path: Path, change: str) -> None:
    with open_it() as cache:
        store(cache, "q", "answer")
    sql(path, change)
    cache = open_it()
    store(cache, "other", "answer", llm_string="other")
    assert [entry.prompt for entry in cache.entries().entries] == ["other"]
    assert cache.get(cache_key("q", LLM)) is None
    assert cache.stats().entries == 1


def test_a_planted_constructor_is_never_run(open_it: OpenCache, path: Path) -> None:
    with open_it() as cache:
        store(cache, "q", "answer")
    key = cache_key("q", LLM)
    planted = (
        b'[{"lc": 1, "type": "constructor", "id": ["langchain_core", "prompts", "PromptTemplate"], "kwargs": {"x": 1}}]'
    )
    sql(path, f"update entries set value = x'{seal(key, planted).hex()}'")
    assert look(open_it(), "q").outcome == "corrupt"


def test_only_the_newest_damaged_rows_are_kept(open_it: OpenCache, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache_backends.sqlite.DAMAGED_KEPT", 3)
    cache = open_it()
    for number in range(6):
        store(cache, f"q{number}", "answer")
    with cache._store.file.transaction() as connection:
        connection.execute("update entries set value = x'00'")
    assert [look(cache, f"q{number}").outcome for number in range(6)] == ["corrupt"] * 6
    with cache._store.file.connection() as connection:
        assert connection.execute("select count(*) from damaged").get == 3


# Locks, deleted files, places that can't be written


def test_a_file_that_is_locked_when_it_is_opened_is_refused_with_a_sentence(
    open_it: OpenCache, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_MS", 1)
    closed_store(open_it)
    with locked(path), pytest.raises(CacheUnavailableError, match=r"is locked by another program\. It is used again"):
        open_it()
    assert found(open_it(), chat_prompt("q0")) == ["answer 0 " * 20]
    assert damaged_copies(path) == []


def test_a_file_that_is_locked_while_working_fails_open(
    open_it: OpenCache, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_MS", 1)
    cache, strict = open_it(), open_it(strict=True)
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
    open_it: OpenCache, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_MS", 1)
    cache = open_it()
    store(cache, "q", "answer")
    found(cache, "q")
    with locked(path, "begin immediate"):
        cache.close()
    assert look(cache, "q").outcome == "error"


def test_a_reader_with_a_page_open_never_blocks_a_writer(open_it: OpenCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_MS", 1)
    cache, reader = open_it(strict=True), open_it()
    for number in range(5):
        store(cache, f"q{number}", "old")
    with reader._store.file.connection() as connection:
        connection.execute("begin")
        rows = connection.execute("select prompt from entries order by id")
        first = next(rows)
        for number in range(5):
            store(cache, f"q{number}", "new")
        store(cache, "more", "answer")
        assert [first, *rows] == [(f"q{number}",) for number in range(5)]
        connection.execute("commit")
    assert [found(reader, f"q{number}") for number in range(5)] == [["new"]] * 5


def test_after_its_file_was_deleted_the_next_store_begins_a_new_one(open_it: OpenCache, path: Path) -> None:
    cache = open_it(strict=True)
    store(cache, "old", "answer")
    path.unlink()
    store(cache, "new", "answer")
    assert path.is_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (found(cache, "old"), found(cache, "new")) == (None, ["answer"])
    assert in_child(lambda: found(SQLiteCache(path), "new")) == ["answer"]


def test_after_its_folder_was_deleted_the_next_store_fails_open_or_begins_anew(open_it: OpenCache, path: Path) -> None:
    cache = open_it()
    store(cache, "old", "answer")
    shutil.rmtree(path.parent)
    store(cache, "new", "answer")
    assert found(cache, "old") is None
    path.parent.mkdir(exist_ok=True)
    store(cache, "newer", "answer")
    assert found(cache, "newer") == ["answer"]


def test_a_thread_that_is_reading_a_deleted_file_does_not_bring_it_back(open_it: OpenCache, path: Path) -> None:
    cache = open_it(strict=True)
    store(cache, "old", "answer")
    file = cache._store.file
    with file.connection():  # another thread is in the middle of something
        path.unlink()
        store(cache, "new", "answer")
    store(cache, "newer", "answer")
    for prompt in ("new", "newer"):
        assert found(cache, prompt) == ["answer"]
    assert in_child(lambda: [found(SQLiteCache(path), prompt) for prompt in ("new", "newer")]) == [["answer"]] * 2


def test_processes_follow_each_other_to_a_new_file(open_it: OpenCache, path: Path) -> None:
    one, two = open_it(strict=True), open_it(strict=True)
    store(one, "old", "answer")
    store(two, "old", "answer")
    path.unlink()
    store(one, "from one", "answer")
    store(two, "from two", "answer")
    assert found(one, "from two") == found(two, "from one") == ["answer"]


def test_opening_more_connections_keeps_the_locks_of_the_first(open_it: OpenCache, path: Path) -> None:
    """A descriptor of the file that is closed drops SQLite's locks: another process would then remove the log."""
    cache = open_it(strict=True)
    store(cache, "before", "answer")
    file = cache._store.file
    with file.connection(), file.connection(), file.connection():
        pass
    open_it()
    code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)"
    locking = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert "BlockingIOError" in locking.stderr
    assert another_program(path, "select count(*) from entries") == "1"
    assert path.with_name("cache.db-wal").exists()
    store(cache, "after", "answer")
    assert another_program(path, "select count(*) from entries") == "2"


def test_a_child_has_locks_of_its_own_on_the_file(open_it: OpenCache, path: Path) -> None:
    """SQLite keeps account of its locks by file and process: a child that inherits the account has no locks at all."""
    cache = open_it(strict=True)
    store(cache, "before", "answer")

    def child() -> list[object]:
        store(cache, "child", "answer")
        seen = another_program(path, "select count(*) from entries")
        store(cache, "child again", "answer")
        return [seen, another_program(path, "select count(*) from entries")]

    waiting = Child(child)
    cache.close()
    assert waiting.result() == ["2", "3"]


def test_a_child_that_is_forked_while_threads_write_can_write_too(open_it: OpenCache) -> None:
    cache = open_it(strict=True)
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
    open_it: OpenCache, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so SQLite is told to open the file for reading only."""
    closed_store(open_it)
    sql(path, "pragma user_version = 0", "pragma application_id = 0", "drop table entries", "drop table damaged")
    sql(path, "drop table llm_strings", "drop table namespaces")

    class ReadOnly(apsw.Connection):
        inode: int

        def __init__(self, filename: str) -> None:
            super().__init__(filename, flags=apsw.SQLITE_OPEN_READONLY)

    monkeypatch.setattr("cache_backends.sqlite_file._Connection", ReadOnly)
    with pytest.raises(CacheUnavailableError, match="can't be opened"):
        open_it()


def test_a_full_disk_loses_nothing_stored_before(open_it: OpenCache, path: Path) -> None:
    cache = open_it()
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


def test_the_store_is_sound_after_many_threads(open_it: OpenCache, path: Path) -> None:
    cache = open_it(max_entries=30)

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
