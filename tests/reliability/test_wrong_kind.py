"""A folder where a file should be, a file where a folder should be, and things that are gone: never an exception."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from cache_backends import CacheBackend, CacheError, JSONFileCache, SQLiteCache, cache_key
from tests.cache_backends.answers import LLM, found, store
from tests.cache_backends.json_outside import OpenJSON, file_of
from tests.cache_backends.small_models import SmallChatModel
from tests.cache_backends.sqlite_outside import OpenSQLite
from tests.reliability.proof import prove_files_sound

ANSWERS = {f"q{number}": f"answer {number} " * 20 for number in range(6)}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _folder(path: Path) -> None:
    _remove(path)
    path.mkdir()
    (path / "theirs.txt").write_text("precious")


def _file(path: Path) -> None:
    _remove(path)
    path.write_text("precious")


def _dangling_link(path: Path) -> None:
    _remove(path)
    path.symlink_to(path.with_name("nowhere"))


def _looping_link(path: Path) -> None:
    _remove(path)
    path.symlink_to(path)


KINDS = (_folder, _file, _dangling_link, _looping_link, _remove)
on_kinds = pytest.mark.parametrize("put", KINDS)
when = pytest.mark.parametrize("is_open", [True, False], ids=["while it is open", "before it is opened"])


@dataclass(frozen=True, slots=True)
class Spot:
    """A place of a store where something else may lie."""

    name: str
    path: Callable[[Path], Path]


SQLITE = (
    Spot("database", lambda folder: folder / "cache.db"),
    Spot("log", lambda folder: folder / "cache.db-wal"),
    Spot("index of the log", lambda folder: folder / "cache.db-shm"),
    Spot("lock", lambda folder: folder / "cache.db.lock"),
    Spot("folder", lambda folder: folder),
)
JSON = (
    Spot("mark", lambda folder: folder / "llm-cache.json"),
    Spot("mark of the namespace", lambda folder: next(folder.rglob("namespace.json"))),
    Spot("folder of the namespace", lambda folder: next(folder.rglob("namespace.json")).parent),
    Spot("folder of some entries", lambda folder: next(folder.rglob(f"{cache_key('q0', LLM)}.json")).parent),
    Spot("entry", lambda folder: next(folder.rglob(f"{cache_key('q0', LLM)}.json"))),
    Spot("folder", lambda folder: folder),
)


def _use(cache: CacheBackend) -> None:
    """Everything that LangChain does, which never raises; and what a person does, who gets a sentence at worst."""
    model = SmallChatModel(cache=cache)
    question = f"asked {len(ANSWERS)}"
    assert model.invoke(question).content == f"{question}: answer 1"
    for prompt, answer in ANSWERS.items():
        assert found(cache, prompt) in (None, [answer])
        store(cache, prompt, answer)
        assert found(cache, prompt) in (None, [answer])
    for look in (cache.entries, cache.stats, cache.models, cache.namespaces, cache.purge_expired, cache.flush):
        with suppress(CacheError):
            look()
    with suppress(CacheError):
        cache.get(cache_key("q0", LLM))
    with suppress(CacheError):
        cache.ping()


def _wrong_kind(
    open_it: Callable[[], CacheBackend], folder: Path, spot: Spot, put: Callable[[Path], None], is_open: bool
) -> None:
    with open_it() as cache:
        for prompt, answer in ANSWERS.items():
            store(cache, prompt, answer)
        path = spot.path(folder)
        if is_open:
            put(path)
            _use(cache)
    if not is_open:
        put(path)
        with suppress(CacheError), open_it() as cache:
            _use(cache)
    if put is _folder and path.is_dir():
        assert (path / "theirs.txt").read_text() == "precious"
    _remove(path)
    with open_it() as cache:  # whoever takes away what was in the way has a cache that works
        _use(cache)
        store(cache, "q0", "new")
        assert found(cache, "q0") == ["new"]
    prove_files_sound(folder)


@pytest.mark.parametrize("spot", SQLITE, ids=[spot.name for spot in SQLITE])
@on_kinds
@when
def test_whatever_lies_in_the_place_of_an_sqlite_file_the_model_answers(
    open_sqlite: OpenSQLite, path: Path, spot: Spot, put: Callable[[Path], None], is_open: bool
) -> None:
    _wrong_kind(open_sqlite, path.parent, spot, put, is_open)


@pytest.mark.parametrize("spot", JSON, ids=[spot.name for spot in JSON])
@on_kinds
@when
def test_whatever_lies_in_the_place_of_a_json_file_the_model_answers(
    open_json: OpenJSON, folder: Path, spot: Spot, put: Callable[[Path], None], is_open: bool
) -> None:
    _wrong_kind(open_json, folder, spot, put, is_open)


def test_what_was_put_in_the_way_of_an_entry_never_costs_the_others(open_json: OpenJSON, folder: Path) -> None:
    cache = open_json()
    for prompt, answer in ANSWERS.items():
        store(cache, prompt, answer)
    for put in KINDS:
        put(file_of(cache, "q0"))
        assert found(cache, "q0") is None
        store(cache, "q0", "new")
        assert found(cache, "q0") == ["new"]
        for prompt, answer in list(ANSWERS.items())[1:]:
            assert found(cache, prompt) == [answer]


def test_the_caches_go_back_to_their_place_once_it_is_free(tmp_path: Path) -> None:
    """The same objects, not new ones: an app that runs on need not be started again."""
    caches = (SQLiteCache(tmp_path / "sqlite" / "cache.db"), JSONFileCache(tmp_path / "json"))
    for cache in caches:
        with cache:
            store(cache, "q", "answer")
            place: Path = cache.path
            os.rename(place, f"{place}.away")
            _folder(place) if isinstance(cache, SQLiteCache) else _file(place)
            _use(cache)
            _remove(place)
            for suffix in ("-wal", "-shm") if isinstance(cache, SQLiteCache) else ():
                _remove(Path(f"{place}{suffix}"))
            store(cache, "again", "works")
            assert found(cache, "again") == ["works"]
            with type(cache)(place) as other:
                assert found(other, "again") == ["works"]
