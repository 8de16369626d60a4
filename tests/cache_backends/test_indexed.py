"""Browsing by an index: nothing of it on the way of a request, and the same answers where it can't be used."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from cache_backends import CacheError, browse_index, indexed, json_index, open_cache, sqlite_index
from cache_backends.sqlite_file import Connection
from tests.cache_backends.answers import found, key_of, prompts, store, whole
from tests.cache_backends.backends import Backend, FakeClock, on_files
from tests.cache_backends.conftest import OpenAgain
from tests.cache_backends.index_outside import (
    FileCache,
    contents,
    index_files,
    index_path,
    same_as_by_looking,
    same_as_made_anew,
)
from tests.cache_backends.processes import in_child
from tests.cache_backends.sqlite_outside import locked, sql

pytestmark = on_files
UNUSABLE = "the index for browsing can't be used, every entry is looked at instead"


@pytest.fixture
def files(open_again: OpenAgain) -> FileCache:
    """A cache in files."""
    return open_again()  # type: ignore[return-value]


def fill(cache: FileCache, clock: FakeClock, first: int = 0, answers: int = 12) -> None:
    """Entries with different times and words."""
    for number in range(first, first + answers):
        store(cache.view(ttl=[None, 5, 5_000][number % 3]), f"q{number}", f"word{number} " * (number + 1))
        clock.tick()


# The way of a request


def requests(cache: FileCache, clock: FakeClock) -> None:
    """All that happens while a model is asked, and what a person does to single entries."""
    fill(cache, clock)
    for number in range(12):
        found(cache, f"q{number}")
    found(cache, "nothing")
    cache.flush()
    entry = whole(cache, "q0")
    cache.pin(entry.key)
    cache.set_ttl(entry.key, 5)
    cache.delete(key_of("q3"))
    cache.restore(entry)
    cache.purge_expired()
    cache.stats()
    cache.namespaces()
    cache.clear()


def test_a_request_makes_no_index(files: FileCache, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("the index was opened")

    monkeypatch.setattr(browse_index.BrowseIndex, "__init__", refuse)
    requests(files, clock)
    files.close()
    assert index_files(files) == []


def test_a_request_leaves_an_index_as_it_is(
    files: FileCache, open_again: OpenAgain, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(files, clock)
    files.entries()
    before, bytes_before = contents(index_path(files)), [file.read_bytes() for file in index_files(files)[:2]]
    seen: list[str] = []
    make = Connection.__init__

    def traced(self: Connection, name: str, *args: Any, **options: Any) -> None:
        seen.append(name)
        make(self, name, *args, **options)

    monkeypatch.setattr(Connection, "__init__", traced)

    def refuse(*args: Any) -> None:
        raise AssertionError("the index was used")

    with monkeypatch.context() as patched:
        for name in ("take", "begin_writing", "row"):
            whole_method = getattr(browse_index.SQLiteFile, name)

            def guarded(file: Any, *args: Any, whole_method: Any = whole_method) -> Any:
                assert file.schema.content != "index for browsing", "the index was used"
                return whole_method(file, *args)

            patched.setattr(browse_index.SQLiteFile, name, guarded)
        requests(files, clock)
        requests(open_again(), clock)  # type: ignore[arg-type]
    assert not [name for name in seen if "browse" in name]
    assert [file.read_bytes() for file in index_files(files)[:2]] == bytes_before
    assert contents(index_path(files)) == before
    same_as_by_looking(files)


# Where it can't be used


def test_a_folder_that_can_not_be_written_is_browsed_by_looking(
    backend: Backend, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        cache: Any = open_cache(backend.url(folder), clock=clock)
        fill(cache, clock)
        found(cache, "q0")
        cache.flush()
        nobody = 65_534
        keeper = apsw.Connection(str(cache.path)) if backend.name == "sqlite" else None
        if keeper is not None:  # whose log stays: nobody could make one in the child
            keeper.execute("select count(*) from entries").fetchall()
        for place in (folder, *folder.rglob("*")):
            if os.geteuid() == 0:
                shutil.chown(place, nobody, nobody)
        (folder / "store").chmod(0o500)

        def theirs() -> list[str]:
            if os.geteuid() == 0:
                os.setgid(nobody)
                os.setuid(nobody)
            said: list[str] = []
            handler = logging.Handler()
            handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
            logging.getLogger("cache_backends").addHandler(handler)
            assert len(prompts(cache)) == 12
            same_as_by_looking(cache)
            with pytest.raises(CacheError, match="browse"):
                cache.bring_up_to_date()
            return said

        said = in_child(theirs)
        assert said
        assert all(UNUSABLE in line for line in said)
        (folder / "store").chmod(0o700)
        if keeper is not None:
            keeper.close()
        same_as_by_looking(cache)
        same_as_made_anew(cache)
        cache.close()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def full(files: FileCache) -> Callable[[bool], None]:
    """Makes the disk full for the index, or not."""

    def set_full(is_full: bool) -> None:
        with files._store.index.get().file.connection() as connection:
            pages = connection.pragma("page_count")
            connection.pragma("max_page_count", pages if is_full else 2**31)

    return set_full


def test_a_disk_that_is_full_for_the_index_hides_nothing(
    files: FileCache, clock: FakeClock, full: Callable[[bool], None], caplog: pytest.LogCaptureFixture
) -> None:
    fill(files, clock)
    same_as_by_looking(files)
    full(True)
    for number in range(40):
        store(files, f"new {number}", " ".join(f"{number}x{word}" for word in range(100)))
    assert len(prompts(files)) == 52
    assert UNUSABLE in caplog.text
    assert "full" in caplog.text
    same_as_by_looking(files)
    with pytest.raises(CacheError, match="full"):
        files.bring_up_to_date()
    assert files.entries(up_to_date=False).total >= 12
    full(False)
    caplog.clear()
    same_as_by_looking(files)
    same_as_made_anew(files)
    assert caplog.messages == []


@pytest.mark.parametrize("kind", ["folder", "other program", "newer", "link to nowhere"])
def test_what_is_no_index_of_ours_is_left_alone(
    files: FileCache, clock: FakeClock, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    fill(files, clock)
    path = index_path(files)
    if kind == "folder":
        path.mkdir()
    elif kind == "link to nowhere":
        path.symlink_to("nowhere/at/all")
    else:
        sql(path, "create table mine (text)", f"pragma application_id = {0x4C4C4D42 if kind == 'newer' else 7}")
        sql(path, "pragma user_version = 99", "insert into mine values ('kept')")
    assert len(prompts(files)) == 12
    same_as_by_looking(files)
    assert UNUSABLE in caplog.text
    if kind in ("newer", "other program"):
        assert sql(path, "select text from mine") == [("kept",)]
    with pytest.raises(CacheError):
        files.bring_up_to_date()


def test_an_index_that_another_program_holds_is_not_waited_for_for_ever(
    files: FileCache, clock: FakeClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(files, clock)
    files.entries()
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_S", 0.001)
    store(files, "new", "answer")
    with locked(index_path(files), "begin immediate"):
        assert len(prompts(files)) == 13
        assert UNUSABLE in caplog.text
        assert files.entries(up_to_date=False).total == 12  # what is indexed can be read
        store(files, "newer", "answer")  # and nobody who stores waits
    same_as_by_looking(files)
    same_as_made_anew(files)


def test_a_failure_while_reading_the_index_is_made_up_for(
    files: FileCache, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(files, clock)

    def fail(*args: Any) -> None:
        raise apsw.IOError("the disk is gone")

    for name in ("page", "tally", "models"):
        monkeypatch.setattr(indexed.Reader, name, fail)
    assert len(prompts(files)) == 12
    assert sum(one.entries for one in files.tally()) == 12
    assert files.models() == ["demo-1"]
    assert caplog.text.count(UNUSABLE) == 3


def test_a_query_that_is_wrong_is_refused_and_not_looked_for(
    files: FileCache, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    fill(files, clock, answers=1)
    with pytest.raises(ValueError, match="is not a cursor"):
        files.entries(after="nonsense")
    assert caplog.messages == []


# Its files


def test_nobody_else_may_read_the_index(files: FileCache, clock: FakeClock) -> None:
    umask = os.umask(0)
    try:
        fill(files, clock)
        files.entries()
        assert len(index_files(files)) == 3
        for file in index_files(files):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        for file in index_path(files).parent.glob(f"{index_path(files).name}.*"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    finally:
        os.umask(umask)


def test_the_index_holds_no_text(files: FileCache) -> None:
    store(files, "who is the secretive zanzibarian", "an answer of several words")
    files.entries()
    files.close()
    for file in index_files(files):
        assert b"secretive zanzibarian" not in file.read_bytes()


def test_an_index_that_is_removed_is_made_anew_though_nothing_is_new(
    files: FileCache, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (json_index, sqlite_index):  # every file was changed long ago
        monkeypatch.setattr(module, "time", SimpleNamespace(time_ns=lambda: 2**62))
    fill(files, clock)
    files.entries()
    before = contents(index_path(files))
    for _ in range(2):
        index_path(files).unlink()
        assert files.entries(search="word7").total == 1
        assert contents(index_path(files)) == before


def test_a_view_uses_the_index_of_its_store(files: FileCache, clock: FakeClock) -> None:
    fill(files, clock)
    view = files.view(namespace="other")
    store(view, "elsewhere", "answer")
    assert prompts(view) == {"elsewhere"}
    assert view._browse_index() is files._browse_index()
    same_as_by_looking(view)
    same_as_made_anew(view)
