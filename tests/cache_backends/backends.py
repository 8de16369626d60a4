"""The backends under test: adding one to the shared suite is one line of `BACKENDS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Backend:
    """One kind of cache: how the tests name it, and the URL of an empty store of its own for one test."""

    name: str
    url: Callable[[Path], str]
    persistent: bool = True


BACKENDS = (
    Backend("memory", lambda _: "memory://", persistent=False),
    Backend("sqlite", lambda folder: f"sqlite:///{folder}/store/cache.db"),
    Backend("json", lambda folder: f"json:///{folder}/store"),
)
PERSISTENT = tuple(backend for backend in BACKENDS if backend.persistent)

on_persistent_backends = pytest.mark.parametrize(
    "backend", PERSISTENT, ids=[backend.name for backend in PERSISTENT], indirect=True
)
"""For tests of what only a store that outlives its process can promise."""


class FakeClock:
    """A clock that moves when it is told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.now += seconds
