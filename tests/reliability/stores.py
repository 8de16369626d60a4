"""What the tests of sharing, clocks and formats build on: stores of every kind, whole answers, warnings noticed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cache_backends import CacheBackend, open_cache
from lab.simulated import SimulatedChatModel
from tests.cache_backends.answers import found, store
from tests.cache_backends.backends import BACKENDS, FILES, Backend

HANG_SECONDS = 50
"""A thread or process that waits this long for the others has been forgotten by them: a failure, not a slow machine."""

CROWDED = tuple(kind for kind in BACKENDS if kind.name not in ("redis-cluster", "mongodb"))
"""A cluster runs the same scripts as one Redis does, and takes a minute for what that does in seconds; what speaks
MongoDB's protocol here answers one client after the other."""
every_kind = pytest.mark.parametrize("kind", CROWDED, ids=[kind.name for kind in CROWDED])
every_kind_of_file = pytest.mark.parametrize("kind", FILES, ids=[kind.name for kind in FILES])
every_persistent_kind = pytest.mark.parametrize(
    "kind", [kind for kind in CROWDED if kind.persistent], ids=[kind.name for kind in CROWDED if kind.persistent]
)


def opened(kind: Backend, folder: Path, **options: Any) -> CacheBackend:
    """A cache on the one store of this kind in `folder`; strict, so that whatever fails is seen to fail.

    A crowd may wait for a server longer than a model should.
    """
    patience = {"timeout": 30} if kind.is_server else {}
    return open_cache(kind.url(folder), **{"strict": True, **patience, **options})


def simulated(cache: CacheBackend) -> SimulatedChatModel:
    """The app's own model, which words every answer anew, without its waiting."""
    return SimulatedChatModel(cache=cache, first_token_s=0, tokens_per_second=1e9, spread=0)


@contextmanager
def warnings_logged() -> Iterator[list[str]]:
    """What the caches log inside the block that a person on duty would look at."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("cache_backends")
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)


def at_once(*functions: Callable[[], Any]) -> list[Any]:
    """What functions return that run in a thread each and begin at once."""
    ready = threading.Barrier(len(functions))

    def run(function: Callable[[], Any]) -> Any:
        ready.wait(HANG_SECONDS)
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that says who wrote it, so that one mixed from two can't be taken for whole.

    Writer and number decide how many generations it has and how long they are.
    """

    writer: str
    number: int

    def texts(self, prompt: str) -> list[str]:
        """Its generations, one to three, from a line up to some pages of a database."""
        parts, length = self.number % 3 + 1, (len(self.writer) + self.number) % 5 * 500
        return [f"{prompt}|{self.writer}|{self.number}|{part} of {parts}|{'é🪐' * length}" for part in range(parts)]

    def store(self, cache: CacheBackend, prompt: str) -> None:
        """Store it under a prompt."""
        store(cache, prompt, *self.texts(prompt))


def answer_of(prompt: str, texts: list[str] | None) -> Answer | None:
    """The answer that a lookup gave. Raises AssertionError unless it was written like that, whole, to that prompt."""
    if texts is None:
        return None
    _, writer, number, *_ = texts[0].split("|")
    answer = Answer(writer, int(number))
    assert texts == answer.texts(prompt), f"not an answer to {prompt!r} as one writer wrote it: {texts}"
    return answer


def found_answer(cache: CacheBackend, prompt: str) -> Answer | None:
    """The whole answer that a cache has to a prompt."""
    return answer_of(prompt, found(cache, prompt))


@contextmanager
def while_busy(cache: CacheBackend, threads: int) -> Iterator[None]:
    """Threads that store and look up whole answers all through the block; what fails in them fails the test."""
    done, begun = threading.Event(), threading.Barrier(threads + 1)

    def work(name: str) -> None:
        number = 0
        begun.wait(HANG_SECONDS)
        while not done.is_set():
            Answer(name, number).store(cache, f"{name} asks {number % 20}")
            assert found_answer(cache, f"{name} asks {number % 20}") == Answer(name, number)
            found_answer(cache, f"busy 0 asks {number % 20}")
            number += 1

    with ThreadPoolExecutor(threads) as pool:
        working = [pool.submit(work, f"busy {thread}") for thread in range(threads)]
        begun.wait(HANG_SECONDS)
        try:
            yield
        finally:
            done.set()
        for future in working:
            future.result()
