"""Collections of garbage pass over what libraries have loaded."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ui import garbage

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def whole_collections() -> Iterator[None]:
    """The other tests are to have them."""
    yield
    gc.unfreeze()


class Thing:
    """Something that holds itself when it is told to."""

    itself: Thing


def is_gone_through(thing: object) -> bool:
    """Whether a collection looks at it."""
    return any(other is thing for other in gc.get_objects())


async def happened(it: Callable[[], bool]) -> None:
    """Wait until the app has looked often enough for that. Raises AssertionError."""
    for _ in range(1_000):
        if it():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never happens")


def test_what_is_there_is_left_out_and_what_comes_later_is_collected() -> None:
    there = Thing()
    assert is_gone_through(there)
    garbage.leave_out_what_is_there()
    assert not is_gone_through(there)
    later = Thing()
    later.itself = later
    gone = weakref.ref(later)
    del later
    gc.collect()
    assert gone() is None


def test_what_was_left_out_and_is_garbage_since_is_collected_the_next_time() -> None:
    thing = Thing()
    thing.itself = thing
    garbage.leave_out_what_is_there()
    gone = weakref.ref(thing)
    del thing
    assert gone() is not None
    garbage.leave_out_what_is_there()
    assert gone() is None


def test_modules_that_are_loaded_while_the_app_serves_are_left_out_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "LOOK_S", 0)

    async def serve() -> None:
        async with garbage.short_collections(None):
            first = Thing()
            await happened(lambda: not is_gone_through(first))
            second = Thing()
            for _ in range(5):
                await asyncio.sleep(0)
            assert is_gone_through(second)  # nothing was loaded
            monkeypatch.setitem(sys.modules, "loaded_later", ModuleType("loaded_later"))
            await happened(lambda: not is_gone_through(second))
            assert not is_gone_through(first)

    asyncio.run(serve())


def test_what_was_left_out_is_gone_through_again_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "LOOK_S", 0)
    monkeypatch.setattr(garbage, "AGAIN_S", 0)

    async def serve() -> None:
        async with garbage.short_collections(None):
            gone = await left_out_and_dropped()
            await happened(lambda: gone() is None)

    async def left_out_and_dropped() -> weakref.ref[Thing]:
        thing = Thing()
        thing.itself = thing
        await happened(lambda: not is_gone_through(thing))
        return weakref.ref(thing)

    asyncio.run(serve())
    assert gc.get_freeze_count() == 0


def test_the_app_keeps_its_collections_short() -> None:
    """In a process of its own: there is but one app of Streamlit in each."""
    program = """
import gc
from starlette.testclient import TestClient
from app import app
from ui import garbage
garbage.LOOK_S = 0
with TestClient(app) as client:
    while not gc.get_freeze_count():
        assert client.get("/_stcore/health").status_code == 200
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120, cwd=ROOT)
