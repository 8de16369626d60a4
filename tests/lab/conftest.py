"""Fixtures of the tests of `lab`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.laboratory import Laboratory
from lab.strategies import Strategies
from tests.lab.building import Clock, quick_settings
from tests.openai_server import OpenAIServer


@pytest.fixture(autouse=True)
def _no_keys_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a key of their own: it must neither be used nor change what happens."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def strategies(tmp_path: Path) -> Strategies:
    return Strategies(quick_settings(tmp_path))


@pytest.fixture
def laboratory(tmp_path: Path, clock: Clock) -> Iterator[Laboratory]:
    """One with its own data folder and a clock that stands still."""
    made = Laboratory(quick_settings(tmp_path), clock=clock)
    yield made
    made.history.close()


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """Always answers, unless told otherwise by `next`."""
    with OpenAIServer(seed=1) as started:
        yield started
