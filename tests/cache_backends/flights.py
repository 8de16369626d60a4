"""Calls and models that wait at a gate, and waiting until so many wait for them."""

from __future__ import annotations

import asyncio
import faulthandler
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult

LONG_S = 30.0
"""A bound on waiting for what happens at once: reached only where the test fails."""
LOOK_S = 0.001


@pytest.fixture(autouse=True)
def hang_guard() -> Iterator[None]:
    """Ends a run in which threads wait for each other for ever, and shows where."""
    faulthandler.dump_traceback_later(4 * LONG_S, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


class Gated:
    """A call that counts how often it was made and ends when its gate is opened."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.gate = threading.Event()
        self.count = 0
        self._lock = threading.Lock()

    def __call__(self) -> Any:
        with self._lock:
            self.count += 1
        assert self.gate.wait(LONG_S), "nobody opened the gate"
        return self.function()

    async def acall(self) -> Any:
        """The same, for tasks that are not to make it."""
        return self()


class GatedModel(BaseChatModel):
    """A chat model whose calls go through a gate, and whose answers say how many there were."""

    call: Gated

    @property
    def _llm_type(self) -> str:
        return "gated"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.call())])


def gated_model(answer: Callable[[], AIMessage] | None = None) -> GatedModel:
    call = Gated(lambda: None)
    call.function = answer or (lambda: AIMessage(f"answer {call.count}"))
    return GatedModel(call=call)


def until(condition: Callable[[], bool]) -> None:
    """Come back once it holds."""
    never = threading.Event()
    for _ in range(int(LONG_S / LOOK_S)):
        if condition():
            return
        never.wait(LOOK_S)
    raise AssertionError("what was waited for did not come")


async def auntil(condition: Callable[[], bool]) -> None:
    """Come back once it holds; the event loop goes on meanwhile."""
    async with asyncio.timeout(LONG_S):
        while not condition():  # noqa: ASYNC110  # there is no event for "so many are waiting"
            await asyncio.sleep(0)
