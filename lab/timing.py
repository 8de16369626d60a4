"""The process that times caches: a task on standard input, what was found line by line on standard output.

A process of its own, since what a page draws meanwhile would be in the timings: threads of one take turns of 5 ms.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Literal

import orjson
from langchain_core.caches import BaseCache
from langchain_core.outputs import Generation
from pydantic import TypeAdapter

from cache_backends import CacheBackend, cache_key
from cache_backends.codec import decode
from lab.foreign import qualified
from lab.models import NO_KEY, LanguageModel, Models
from lab.rounds import Contender, Judge, Operation, Round, timed_rounds
from lab.settings import Settings
from lab.strategies import Strategies

What = Literal["lookup", "invoke", "store"]
NOT_FOUND = "The answer was not found again."
ENOUGH_FAILURES = 20
"""After so many a strategy is not asked any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be timed: the hits on one answer in each strategy, and stores of others like it."""

    settings: dict[str, Any]
    """`lab.settings.Settings` as JSON, without keys."""
    strategies: tuple[str, ...]
    namespace: str
    model_id: str
    temperature: float
    prompt: str
    cached_prompt: str
    llm_string: str
    """Prompt and parameters as LangChain passes them to a cache."""
    answer: str
    """The generations, as `cache_backends.codec` writes them."""
    rounds: int
    store_rounds: int
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A strategy holds the answer, and can be timed."""

    strategy: str
    entry_bytes: int | None
    kind: Literal["opened"] = "opened"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a strategy is not timed, or no longer."""

    strategy: str
    reason: str
    kind: Literal["problem"] = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One block of calls. Those of the warm-up have negative round numbers."""

    strategy: str
    what: What
    number: int
    seconds: list[float]
    failures: int
    kind: Literal["timed"] = "timed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsDone:
    """So many rounds of all are done."""

    done: int
    of: int
    kind: Literal["rounds"] = "rounds"


Line = Opened | Problem | Timed | RoundsDone
TASK: TypeAdapter[Task] = TypeAdapter(Task)
LINE: TypeAdapter[Line] = TypeAdapter(Line)


class OnlyHits(BaseCache):
    """Passes lookups on to a cache, in the namespace of the run, and never lets a miss reach the model."""

    def __init__(self, inner: BaseCache, qualified: Callable[[str], str]) -> None:
        self._inner = inner
        self._qualified = qualified

    def lookup(self, prompt: str, llm_string: str) -> Sequence[Generation]:
        """The stored answer. Raises `LookupError` where there is none."""
        found = self._inner.lookup(prompt, self._qualified(llm_string))
        if not found:
            raise LookupError(NOT_FOUND)
        return found

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """There is nothing to store."""

    def clear(self, **kwargs: Any) -> None:
        """There is nothing to clear."""


@dataclass(slots=True)
class _Measuring:
    """One task in work."""

    task: Task
    strategies: Strategies
    model: LanguageModel
    answer: list[Generation]
    caches: dict[str, BaseCache] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    handles: list[CacheBackend] = field(default_factory=list)
    """Those to be closed: closing a view of one does nothing."""

    def lines(self) -> Iterator[Line]:
        """Everything, as it is found."""
        for name in self.task.strategies:
            yield self._open(name)
        lookups = {f"lookup {name}": self._lookup(name) for name in self.caches}
        invokes = {f"invoke {name}": self._invoke(name) for name in self.caches}
        yield from self._timed(lookups | invokes, self.task.rounds, 0, judge=_is_found)
        stores = {f"store {name}": self._store(name) for name in self.caches} if self.task.store_rounds else {}
        yield from self._timed(stores, self.task.store_rounds, self.task.rounds, judge=lambda _: None)

    def close(self) -> None:
        """Give the caches back."""
        for handle in self.handles:
            with contextlib.suppress(Exception):  # all is measured by now
                handle.close()

    def _open(self, name: str) -> Line:
        task = self.task
        try:
            cache = self.strategies.apart(name, strict=True)
            if isinstance(cache, CacheBackend):
                self.handles.append(cache)
                cache = cache.view(namespace=task.namespace, ttl=None)
            self.caches[name] = cache
            llm_string = self._qualified(name, task.llm_string)
            cache.update(task.cached_prompt, llm_string, self.answer)
            if not cache.lookup(task.cached_prompt, llm_string):
                raise LookupError(NOT_FOUND)
            entry = cache.get(cache_key(task.cached_prompt, llm_string)) if isinstance(cache, CacheBackend) else None
        except Exception as error:  # noqa: BLE001  # whatever it is, it is why this one is not timed
            self.caches.pop(name, None)
            return Problem(strategy=name, reason=self._said(name, str(error) or type(error).__name__))
        return Opened(strategy=name, entry_bytes=None if entry is None else entry.size_bytes)

    def _timed(self, contenders: dict[str, Contender], rounds: int, before: int, *, judge: Judge) -> Iterator[Line]:
        of = self.task.rounds + self.task.store_rounds
        for each in timed_rounds(contenders, rounds=rounds, block=self.task.block, judge=judge):
            yield from self._lines_of(each, contenders)
            if each.number >= 0:
                yield RoundsDone(done=before + each.number + 1, of=of)

    def _lines_of(self, each: Round, contenders: dict[str, Contender]) -> Iterator[Line]:
        for contender, block in each.blocks.items():
            what, _, name = contender.partition(" ")
            yield Timed(
                strategy=name,
                what=what,  # type: ignore[arg-type]
                number=each.number,
                seconds=block.seconds,
                failures=len(block.failures),
            )
            if not block.failures:
                continue
            self.failures[name] = self.failures.get(name, 0) + len(block.failures)
            if self.failures[name] >= ENOUGH_FAILURES and name in self.caches:
                del self.caches[name]
                for key in [key for key in contenders if key.partition(" ")[2] == name]:
                    del contenders[key]
                yield Problem(strategy=name, reason=self._said(name, block.failures[-1]))

    def _lookup(self, name: str) -> Contender:
        lookup, llm_string = self.caches[name].lookup, self._qualified(name, self.task.llm_string)
        return lambda _: partial(lookup, _fresh(self.task.cached_prompt), _fresh(llm_string))

    def _invoke(self, name: str) -> Contender:
        cache = OnlyHits(self.caches[name], partial(self._qualified, name))
        call = partial(self.model.model_copy(update={"cache": cache}).invoke, self.task.prompt)
        return lambda _: call

    def _store(self, name: str) -> Contender:
        update, llm_string = self.caches[name].update, self._qualified(name, self.task.llm_string)

        def make(number: int) -> Operation:
            return partial(update, f"{self.task.cached_prompt}\n{number}", _fresh(llm_string), self.answer)

        return make

    def _qualified(self, name: str, llm_string: str) -> str:
        """LangChain's own caches know no namespaces."""
        is_ours = isinstance(self.caches[name], CacheBackend)
        return llm_string if is_ours else qualified(self.task.namespace, llm_string)

    def _said(self, name: str, text: str) -> str:
        return self.strategies.safe(name, text)


def measure(task: Task) -> Iterator[Line]:
    """Time the task's strategies, a line for everything that is found."""
    settings = Settings.model_validate(task.settings)
    model = Models(settings).get(task.model_id, task.temperature, NO_KEY)
    measuring = _Measuring(task, Strategies(settings), model.runnable, decode(task.answer.encode()))
    try:
        yield from measuring.lines()
    finally:
        measuring.close()


def main(source: BinaryIO, target: BinaryIO) -> None:
    """One task in one line, and one line for each thing found."""
    for line in measure(TASK.validate_json(source.readline())):
        target.write(orjson.dumps(line) + b"\n")
        target.flush()


def _end_with(pipe: int) -> None:
    """Wait until nobody holds the other end, and end: in a pipe whose writer was killed nothing else tells.

    By the system's own call: a thread in the middle of a buffered read would not let the process end.
    """
    while os.read(pipe, 1):
        pass
    os._exit(1)


def _fresh(text: str) -> str:
    """The same text as another object, as a real request has it: Python keeps the hash of one that it has seen."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")


def _is_found(result: object) -> str | None:
    return None if result else NOT_FOUND


if __name__ == "__main__":
    task = io.BytesIO(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()
    main(task, sys.stdout.buffer)
