"""A full disk: the caller still gets the model's answer, nothing stored before is lost, and it works again later."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cache_backends import CacheBackend, CacheUnavailableError, cache_key, open_cache
from tests.cache_backends.answers import LLM, found, store
from tests.cache_backends.backends import Backend, on_files
from tests.cache_backends.processes import in_child
from tests.cache_backends.small_models import SmallChatModel
from tests.reliability.disks import KINDS, FileSizeLimit, SmallDisk, Tmpfs, mounted
from tests.reliability.proof import contents, leftovers, prove_sound

ROOMS_BYTES = (0, 100, 5_000, 9_000, 20_000, 70_000)
"""How much is left when the disk is called full, so that a store fails in different places."""

MOST_STORES = 100
"""More than any of the rooms can take."""

on_rooms = pytest.mark.parametrize("room_bytes", ROOMS_BYTES)

OnSmallDisk = Callable[[Callable[[SmallDisk], Any]], Any]


@pytest.fixture(params=KINDS)
def on_small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnSmallDisk]:
    """Runs a function with a small disk in a process of its own, where a limit harms nobody else."""
    make: Callable[[Path], SmallDisk] = Tmpfs if request.param == "tmpfs" else FileSizeLimit
    with mounted(tmp_path) if request.param == "tmpfs" else contextlib.nullcontext():

        def run(function: Callable[[SmallDisk], Any]) -> Any:
            def child() -> Any:
                logging.disable()
                return function(make(tmp_path))

            return in_child(child)

        yield run


def _ask_until_nothing_more_is_stored(model: SmallChatModel, cache: CacheBackend) -> None:
    """Ask longer and longer questions; every one is answered, whether the answer can be stored or not."""
    for number in range(MOST_STORES):
        question = f"full {number} " + "x" * (500 * number)
        calls, errors = len(model.calls), cache.counters.errors
        assert model.invoke(question).content == f"{question}: answer {calls + 1}"
        if cache.counters.errors > errors:
            assert model.invoke(question).content in (
                f"{question}: answer {calls + 1}",
                f"{question}: answer {calls + 2}",
            )
            return
    raise AssertionError("the disk never became full")


@on_files
@on_rooms
def test_on_a_full_disk_the_model_answers_and_what_was_stored_stays(
    backend: Backend, on_small_disk: OnSmallDisk, room_bytes: int
) -> None:
    def scenario(disk: SmallDisk) -> None:
        url = backend.url(disk.folder)
        with open_cache(url) as cache:
            model = SmallChatModel(cache=cache)
            before = {question: model.invoke(question).content for question in map(str, range(20))}
            disk.fill(room_bytes)
            _ask_until_nothing_more_is_stored(model, cache)
            assert [name for name in leftovers(disk.folder) if name.endswith(".tmp")] == []
            asked = len(model.calls)
            assert {question: model.invoke(question).content for question in before} == before
            assert len(model.calls) == asked, "what was stored before is there to be read"
            held = contents(cache)
            disk.free()
            assert contents(cache) == held
            answer = model.invoke("after").content
            assert model.invoke("after").content == answer
            held = contents(cache)
            assert (cache.notices, cache.counters.corrupt) == ((), 0)
        assert prove_sound(url, disk.folder) == held

    on_small_disk(scenario)


@on_files
@on_rooms
def test_an_overwrite_on_a_full_disk_leaves_the_old_answer_or_the_new(
    backend: Backend, on_small_disk: OnSmallDisk, room_bytes: int
) -> None:
    def scenario(disk: SmallDisk) -> None:
        url = backend.url(disk.folder)
        before = {f"q{number}": [f"old {number} " * 50] for number in range(10)}
        with open_cache(url) as cache:
            for prompt, answers in before.items():
                store(cache, prompt, *answers)
            disk.fill(room_bytes)
            expected = dict(before)
            for number, prompt in enumerate(before):
                stores = cache.counters.stores
                new = f"new {number} " * (200 << number)
                store(cache, prompt, new)
                if cache.counters.stores > stores:
                    expected[prompt] = [new]
                assert found(cache, prompt) == expected[prompt]
            assert cache.counters.errors > 0
            disk.free()
        assert prove_sound(url, disk.folder) == {"default": expected}

    on_small_disk(scenario)


@on_files
@on_rooms
def test_removing_on_a_full_disk_removes_all_or_nothing(
    backend: Backend, on_small_disk: OnSmallDisk, room_bytes: int
) -> None:
    def scenario(disk: SmallDisk) -> None:
        url = backend.url(disk.folder)
        with open_cache(url) as cache:
            for number in range(10):
                store(cache, f"q{number}", f"answer {number} " * 100)
            expected = contents(cache)
            disk.fill(room_bytes)
            with contextlib.suppress(CacheUnavailableError):
                assert cache.delete(cache_key("q3", LLM)) == 1
                del expected["default"]["q3"]
            assert contents(cache) == expected
            with contextlib.suppress(CacheUnavailableError):
                cache.clear()
                expected = {}
            assert contents(cache) == expected
            disk.free()
        assert prove_sound(url, disk.folder) == expected

    on_small_disk(scenario)


@on_files
@on_rooms
def test_a_store_opened_on_a_full_disk_is_refused_with_a_sentence_or_can_be_read(
    backend: Backend, on_small_disk: OnSmallDisk, room_bytes: int
) -> None:
    """SQLite needs room for the index of its log to open a file at all."""

    def scenario(disk: SmallDisk) -> None:
        url = backend.url(disk.folder)
        with open_cache(url) as cache:
            for number in range(10):
                store(cache, f"q{number}", f"answer {number}")
            expected = contents(cache)
        disk.fill(room_bytes)
        refused: AbstractContextManager[Any] = contextlib.nullcontext()
        if backend.name == "sqlite":
            refused = contextlib.suppress(CacheUnavailableError)
        with refused, open_cache(url) as cache:
            model = SmallChatModel(cache=cache)
            question = "x" * 100_000
            assert model.invoke(question).content == f"{question}: answer 1"
            assert contents(cache) == expected
        disk.free()
        assert prove_sound(url, disk.folder) == expected

    on_small_disk(scenario)


@on_files
@on_rooms
def test_a_store_begun_on_a_full_disk_is_begun_again_once_there_is_room(
    backend: Backend, on_small_disk: OnSmallDisk, room_bytes: int
) -> None:
    def scenario(disk: SmallDisk) -> None:
        url = backend.url(disk.folder)
        disk.fill(room_bytes)
        with contextlib.suppress(CacheUnavailableError), open_cache(url) as cache:
            model = SmallChatModel(cache=cache)
            _ask_until_nothing_more_is_stored(model, cache)
        disk.free()
        with open_cache(url, strict=True) as cache:
            store(cache, "q", "answer")
            held = contents(cache)
        assert held["default"]["q"] == ["answer"]
        assert prove_sound(url, disk.folder) == held

    on_small_disk(scenario)


def test_a_full_disk_can_be_had_in_one_way_at_least() -> None:
    assert "file size limit" in KINDS
