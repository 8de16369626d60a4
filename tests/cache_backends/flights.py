"""Calls that wait at a gate, and waiting until so many wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

LONG_S = 30.0
"""A bound on waiting for what happens at once: reached only where the test fails."""
LOOK_S = 0.001


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
