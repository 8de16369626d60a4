"""`kill -9` of a writing process: every store that returned is there, whole, when the store is opened again."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cache_backends import open_cache
from tests.cache_backends.answers import LLM, chat
from tests.cache_backends.backends import Backend, on_files
from tests.cache_backends.processes import in_child
from tests.reliability.killing import Write, kill_after
from tests.reliability.proof import leftovers, prove_sound

ROUNDS = 50
ROUNDS_OF_ONE_STORE = 10
MOST_THREADS = 4

Answers = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the threads of one round store, and when they are killed: the same in every run."""

    number: int

    @property
    def threads(self) -> int:
        """One in most rounds."""
        return (1, 1, MOST_THREADS)[self.number % 3]

    @property
    def acknowledgements(self) -> int:
        """Stores to wait for before the kill; none in the first round of a store: killed while it is made."""
        if self.number % ROUNDS_OF_ONE_STORE == 0:
            return 0
        return random.Random(self.number).randrange(1, 30)

    def stores(self, thread: int) -> Iterator[tuple[str, list[str]]]:
        """Prompts and answers, without end: new ones, and ones that the rounds before stored too."""
        chance = random.Random(f"{self.number} {thread}")
        for count in itertools.count():
            prompt = chance.choice([f"{thread} new {self.number} {count}", f"{thread} old {chance.randrange(6)}"])
            mark = f"{self.number} {thread} {count} "
            yield prompt, [mark * chance.choice([1, 30, 3000])] * chance.choice([1, 1, 3])

    def after(self, thread: int, count: int) -> Answers:
        """What the first `count` stores of a thread leave."""
        return dict(itertools.islice(self.stores(thread), count))


def _writers(url: str, plan: Plan) -> list[Iterator[Write]]:
    cache = open_cache(url, strict=True)

    def writes(thread: int) -> Iterator[Write]:
        for prompt, answers in plan.stores(thread):
            yield partial(cache.update, prompt, LLM, [chat(text) for text in answers])

    return [writes(thread) for thread in range(plan.threads)]


def _of_thread(answers: Answers, thread: int) -> Answers:
    return {prompt: texts for prompt, texts in answers.items() if prompt.startswith(f"{thread} ")}


@on_files
def test_a_killed_writer_loses_no_store_that_returned(backend: Backend, tmp_path: Path) -> None:
    held: Answers = {}
    unfinished = 0
    for number in range(ROUNDS):
        plan = Plan(number)
        folder = tmp_path / f"{number // ROUNDS_OF_ONE_STORE}"
        if number % ROUNDS_OF_ONE_STORE == 0:
            held = {}
        url = backend.url(folder)
        killed = kill_after(plan.acknowledgements, partial(_writers, url, plan))
        unfinished += len(leftovers(folder))
        found = in_child(partial(prove_sound, url, folder)).get("default", {})
        for thread in range(MOST_THREADS):
            before, count = _of_thread(held, thread), killed.stores[thread]
            possible = [before | plan.after(thread, count)]
            if thread < plan.threads:  # its next store may have ended too, unheard
                possible.append(before | plan.after(thread, count + 1))
            assert _of_thread(found, thread) in possible, f"round {number}, thread {thread}"
        held = found
    assert len(held) > ROUNDS_OF_ONE_STORE
    assert unfinished, "no writer was killed in the middle of anything"


@on_files
def test_a_store_that_was_killed_while_it_was_made_is_made_by_the_next(backend: Backend, tmp_path: Path) -> None:
    """Wherever the kill comes: right away, in the middle of opening, or in the first stores."""
    plan = Plan(1)
    for number in range(20):
        folder = tmp_path / str(number)
        url = backend.url(folder)
        killed = kill_after(0, partial(_writers, url, plan), then_wait_s=number * 0.0002)
        found = prove_sound(url, folder).get("default", {})
        count = killed.stores[0]
        assert found in (plan.after(0, count), plan.after(0, count + 1))
