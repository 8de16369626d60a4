"""Forks, pickles and deep copies of a cache and of a model that holds one, made while others are busy with it."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cache_backends import CacheBackend
from tests.cache_backends.answers import found, store
from tests.cache_backends.backends import Backend
from tests.cache_backends.processes import Child, in_child
from tests.cache_backends.small_models import SmallChatModel, SmallCompletionModel
from tests.reliability.stores import (
    Answer,
    at_once,
    every_kind,
    found_answer,
    opened,
    simulated,
    warnings_logged,
    while_busy,
)

QUESTION = "Who was Carl Sagan?"
FORKS = 24


MODELS: dict[str, Callable[[CacheBackend], Any]] = {
    "simulated": simulated,
    "small chat": lambda cache: SmallChatModel(cache=cache),
    "small completion": lambda cache: SmallCompletionModel(cache=cache),
}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def asked(model: Any, question: str = QUESTION) -> str:
    """What a model answers, chat or completion."""
    answer = model.invoke(question)
    return str(getattr(answer, "content", answer))


# Forks


@every_kind
def test_children_forked_amid_stores_and_lookups_can_do_everything(kind: Backend, tmp_path: Path) -> None:
    def child(number: int) -> list[str]:
        mine = cache.view(namespace=f"child {number}")
        with warnings_logged() as warnings:
            Answer("parent", number).store(mine, "q")
            assert found_answer(mine, "q") == Answer("parent", number)
            assert found_answer(cache, "there before") == Answer("nobody", 0)
            assert mine.stats().entries == len(mine.entries().entries) == 1
            mine.clear()
            assert found(mine, "q") is None
            Answer("child", number).store(mine, "q")
            assert (cache.counters.errors, cache.counters.corrupt) == (0, 0)
            cache.flush()
        return warnings

    with opened(kind, tmp_path) as cache, warnings_logged() as warnings:
        Answer("nobody", 0).store(cache, "there before")
        with while_busy(cache, threads=6):
            for first in range(0, FORKS, 3):
                children = [Child(lambda number=number: child(number)) for number in range(first, first + 3)]
                assert [each.result() for each in children] == [[], [], []]
        assert (warnings, cache.counters.errors, cache.counters.corrupt) == ([], 0, 0)
        assert found_answer(cache, "there before") == Answer("nobody", 0)
        for number in range(FORKS):
            left = found_answer(cache.view(namespace=f"child {number}"), "q")
            assert left == (Answer("child", number) if kind.persistent else None)


@every_kind
def test_children_to_the_third_generation_share_the_store_with_their_ancestors(kind: Backend, tmp_path: Path) -> None:
    """Two children each, three levels deep: fourteen processes, all alive at once, that took over an open cache."""

    def life(name: str, depth: int) -> list[str]:
        ancestors = [name[:length] for length in range(len(name) + 1)]
        assert [found_answer(cache, f"by {ancestor}") for ancestor in ancestors[:-1]] == [
            Answer(ancestor, 1) for ancestor in ancestors[:-1]
        ]
        Answer(name, 1).store(cache, f"by {name}")
        children = [Child(lambda one=one: life(name + one, depth - 1)) for one in "ab"] if depth else []
        assert found_answer(cache, f"by {name}") == Answer(name, 1)
        descendants = [descendant for child in children for descendant in child.result()]
        if kind.persistent:
            assert [found_answer(cache, f"by {one}") for one in descendants] == [Answer(one, 1) for one in descendants]
        assert (cache.counters.errors, cache.counters.corrupt) == (0, 0)
        return [name, *descendants]

    with opened(kind, tmp_path) as cache:
        everybody = life("", depth=3)
        assert len(everybody) == 15
        assert cache.stats().entries == (15 if kind.persistent else 1)


@every_kind
@every_model
def test_a_forked_model_answers_from_its_cache(
    kind: Backend, tmp_path: Path, make: Callable[[CacheBackend], Any]
) -> None:
    with opened(kind, tmp_path) as cache:
        model = make(cache)
        answer = asked(model)
        assert in_child(lambda: [asked(model), asked(model, "new") == asked(model, "new")]) == [answer, True]
        assert asked(model) == answer


# Pickles

LOADER = """
import json, pickle, sys
from tests.reliability.test_copies import use_in_another_process
print(json.dumps(use_in_another_process(*pickle.load(sys.stdin.buffer))))
"""


def use_in_another_process(cache: CacheBackend, model: Any) -> list[Any]:
    """What a process gets that has nothing of this one but a pickle: a stored answer, its own, and the model's."""
    with warnings_logged() as warnings:
        first = found(cache, "q")
        store(cache, "r", "from another process")
        result = [first, found(cache, "r"), asked(model), asked(model) == asked(model), cache.counters.errors, warnings]
        asked(model, "asked in another process")
        cache.close()
        return result


def in_another_process(*pickled: Any) -> list[Any]:
    """Hand a pickle to a new Python, which knows nothing of this one."""
    done = subprocess.run(
        [sys.executable, "-c", LOADER],
        input=pickle.dumps(pickled),
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr.decode()
    result: list[Any] = json.loads(done.stdout)
    return result


@every_kind
@pytest.mark.parametrize("make", [MODELS["simulated"], MODELS["small completion"]], ids=["simulated", "completion"])
def test_a_pickle_loaded_in_another_process_opens_the_store_or_brings_a_copy(
    kind: Backend, tmp_path: Path, make: Callable[[CacheBackend], Any]
) -> None:
    with opened(kind, tmp_path, namespace="ours", ttl="1h") as cache:
        store(cache, "q", "answer")
        model = make(cache)
        answer = asked(model)
        with while_busy(cache.view(namespace="theirs"), threads=2):  # a pickle may be made at any moment
            result = in_another_process(cache, model)
        assert result == [["answer"], ["from another process"], answer, True, 0, []]
        assert found(cache, "r") == (["from another process"] if kind.persistent else None)
        entries = {entry.prompt: entry.expires_at for entry in cache.entries().entries}
        assert ("asked in another process" in entries) == kind.persistent
        assert None not in entries.values()


@every_kind
def test_a_pickle_made_amid_stores_holds_whole_answers(kind: Backend, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as cache, while_busy(cache, threads=3):
        for _ in range(15):
            with pickle.loads(pickle.dumps(cache)) as again:
                for entry in again.entries().entries:
                    assert found_answer(again, entry.prompt) is not None
                Answer("copy", 0).store(again, "from a copy")
                assert found_answer(again, "from a copy") == Answer("copy", 0)
                assert (again.counters.errors, again.counters.corrupt) == (0, 0)


# Deep copies


@every_kind
@every_model
def test_copies_of_a_model_in_other_threads_answer_from_the_same_store(
    kind: Backend, tmp_path: Path, make: Callable[[CacheBackend], Any]
) -> None:
    with opened(kind, tmp_path) as cache:
        model = make(cache)
        answer = asked(model)

        def use(number: int) -> set[str]:
            answers = set()
            for round_ in range(5):
                copied = copy.deepcopy(model) if number % 2 else model.model_copy(deep=True)
                answers.add(asked(copied))
                assert asked(copied, f"{number} {round_}") == asked(copy.deepcopy(copied), f"{number} {round_}")
            return answers

        assert at_once(*[lambda number=number: use(number) for number in range(8)]) == [{answer}] * 8
        assert cache.stats().entries == 1 + 8 * 5
        assert cache.counters.errors == 0


@every_kind
def test_a_deep_copy_outlives_what_it_was_copied_from(kind: Backend, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as keeper:
        model = simulated(keeper.view(namespace="models"))
        answer = asked(model)
        copied = copy.deepcopy(model)
        copied.cache.close()  # a copy shares the store: it may be put away, and the others go on
        del model
        assert asked(copied) == answer
        assert asked(simulated(keeper.view(namespace="models"))) == answer
