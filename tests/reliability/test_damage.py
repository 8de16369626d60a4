"""Damaged, exchanged and planted entries: never a wrong answer, never code run, never an exception."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from cache_backends import CacheBackend, CacheError, SQLiteCache, cache_key
from tests.cache_backends.answers import LLM, chat, found, store
from tests.cache_backends.backends import on_persistent_backends
from tests.cache_backends.conftest import OpenAgain
from tests.cache_backends.json_outside import OpenJSON, file_of
from tests.cache_backends.processes import in_child
from tests.cache_backends.sqlite_outside import OpenSQLite
from tests.reliability.damaging import OneRowEach, damages
from tests.reliability.planting import Watch, plant
from tests.reliability.proof import prove_files_sound

ANSWER: list[Generation] = [
    chat("An astronomer.", response_metadata={"finish_reason": "stop"}, id="run-1"),
    chat("He wrote Cosmos.", tool_calls=[{"name": "book", "args": {"title": "Cosmos"}, "id": "1"}]),
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of warnings are due here, and slow."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


def _look_at_everything(cache: CacheBackend) -> None:
    """What a person does with a damaged store; a sentence is all that may go wrong."""
    with suppress(CacheError):
        for entry in cache.entries(search="astronomer").entries:
            cache.get(entry.key)
        cache.stats()
        cache.models()
        cache.namespaces()


def test_any_damage_to_a_stored_value_is_a_miss_or_the_right_answer_in_sqlite(
    open_sqlite: OpenSQLite, path: Path
) -> None:
    with open_sqlite() as cache:
        cache.update("q", LLM, ANSWER)
    file, cache = OneRowEach(path), open_sqlite()
    longest, *_ = file.cells()
    for cell in file.cells():
        for number, damaged in enumerate(damages(cell.content)):
            if damaged == cell.content:
                continue
            file.set(cell, damaged)
            if number % 50 == 0:
                _look_at_everything(cache)
            answer = cache.lookup("q", LLM)
            assert answer in (None, ANSWER), f"{cell.table}.{cell.column}: {damaged!r}"
            assert answer is None or cell != longest, damaged
            file.restore()
            assert number % 50 or cache.lookup("q", LLM) == ANSWER
    file.close()
    assert cache.counters.corrupt > 2 * len(longest.content)
    assert cache.counters.errors == 0
    cache.close()
    prove_files_sound(path.parent)


def test_any_damage_to_a_json_file_is_a_miss_or_the_right_answer(open_json: OpenJSON, folder: Path) -> None:
    cache = open_json()
    cache.update("q", LLM, ANSWER)
    file = file_of(cache, "q")
    whole = file.read_bytes()
    hits = 0
    for number, damaged in enumerate(damages(whole)):
        if damaged == whole:
            continue
        file.write_bytes(damaged)
        if number % 50 == 0:
            _look_at_everything(cache)
        answer = cache.lookup("q", LLM)
        assert answer in (None, ANSWER), damaged
        hits += answer is not None
    assert hits < 150, "only the number of hits may change unseen"
    assert cache.counters.corrupt > 2 * len(whole)
    file.write_bytes(whole)
    assert cache.lookup("q", LLM) == ANSWER
    cache.close()
    prove_files_sound(folder)


def test_a_file_of_another_namespace_is_not_an_answer(open_json: OpenJSON) -> None:
    """The endpoint of a model may be told apart by its namespace only."""
    cache = open_json(namespace="ours")
    cache.update("q", LLM, [chat("ours")])
    theirs = cache.view(namespace="theirs")
    theirs.update("q", LLM, [chat("theirs")])
    shutil.copy(file_of(theirs, "q"), file_of(cache, "q"))
    assert found(cache, "q") is None
    assert found(theirs, "q") == ["theirs"]


SECRET = "s3cr3t"


def _constructor(*path: str, **keywords: str) -> dict[str, Any]:
    return {"lc": 1, "type": "constructor", "id": list(path), "kwargs": keywords}


CONSTRUCTORS: list[dict[str, Any]] = [
    _constructor("langchain", "schema", "messages", "AIMessage", content="x"),
    _constructor("langchain", "schema", "output", "Generation", text="x"),
    _constructor("langchain_core", "prompts", "PromptTemplate", template="x"),
    _constructor("wsgiref", "simple_server", "demo_app"),
    {"lc": 1, "type": "secret", "id": ["PLANTED_SECRET"]},
    {"lc": 1, "type": "not_implemented", "id": ["os", "system"], "repr": "system"},
    {"py/object": "wsgiref.simple_server.demo_app", "py/reduce": [{"py/function": "os.system"}, ["true"]]},
    {"__class__": "wsgiref.simple_server.WSGIServer", "cls": "x", "_fields_set": ["content"]},
]
PLACES: list[Any] = [
    lambda planted: planted,
    lambda planted: [planted],
    lambda planted: [{"text": planted}],
    lambda planted: [{"text": "x", "info": planted}],
    lambda planted: [{"message": planted}],
    lambda planted: [{"message": {"content": planted}}],
    lambda planted: [{"message": {"content": [planted]}}],
    lambda planted: [{"message": {"content": "x", "additional_kwargs": planted}}],
    lambda planted: [{"message": {"content": "x", "additional_kwargs": {"parsed": planted}}}],
    lambda planted: [{"message": {"content": "x", "response_metadata": {"model": planted}}}],
    lambda planted: [{"message": {"content": "x", "tool_calls": [planted]}}],
    lambda planted: [{"message": {"content": "x", "usage_metadata": planted}}],
    lambda planted: [{"message": {"content": "x", "extra": planted}}],
    lambda planted: [{"message": {"content": "x", "extra": {"example": planted, "type": planted}}}],
]
RAW = [
    pickle.dumps(AIMessage("x")),
    b"!!python/object/apply:os.system [true]",
    b"__import__('os').system('true')",
    b"\xef\xbb\xbf[]",
    b"[" * 100_000,
    b"[" * 2_000 + b"]" * 2_000,
    b'[{"text": "x", "text": ["y"]}]',
    b'[{"text": NaN}]',
    b"",
]


@on_persistent_backends
def test_a_planted_entry_is_data_and_never_code(open_again: OpenAgain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_SECRET", SECRET)

    def child() -> list[str]:
        cache = open_again()
        payloads = [json.dumps(place(planted)).encode() for planted in CONSTRUCTORS for place in PLACES]
        store(cache, "q", "answer")
        plant(cache, "q", payloads[0])
        cache.lookup("q", LLM)  # what is imported once is imported
        _look_at_everything(cache)
        store(cache, "q", "answer")
        watch = Watch()
        for payload in [*payloads, *(RAW if isinstance(cache, SQLiteCache) else [])]:
            store(cache, "q", "answer")
            plant(cache, "q", payload)
            for generation in cache.lookup("q", LLM) or []:
                _check_plain(generation)
            _look_at_everything(cache)
            cache.delete(cache_key("q", LLM))
        assert cache.counters.errors == 0
        return watch.stop()

    assert in_child(child) == []


def test_the_watch_sees_code_that_is_run() -> None:
    def child() -> list[str]:
        watch = Watch()
        eval("1 + 1")
        return watch.stop()

    assert [event.split()[0] for event in in_child(child)] == ["compile", "exec"]


def _check_plain(generation: Generation) -> None:
    assert type(generation) in (Generation, ChatGeneration)
    if isinstance(generation, ChatGeneration):
        assert type(generation.message) is AIMessage
        _check_plain_value({**generation.message.__dict__, **(generation.message.model_extra or {})})
    _check_plain_value(generation.generation_info)


def _check_plain_value(value: object) -> None:
    assert type(value) in (dict, list, str, int, float, bool, type(None)), value
    assert value != SECRET, "an environment variable was looked up"
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_plain_value(inner)
