"""What the tests of the entries page are built of: stores with entries in them, and a visitor who is on the page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from cache_backends import CacheBackend, cache_key
from lab.browsing import cache_of
from tests.lab.entries import parameters
from tests.pages.visitor import PATIENCE_S, Visitor
from ui import entries_jobs, waiting
from ui.session import laboratory

NAMESPACE = "shared:simulated"
DAY_S = 86_400


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a page waits for what is quick; and an index never rests."""
    monkeypatch.setattr(waiting.wait_for, "__defaults__", (PATIENCE_S,))
    monkeypatch.setattr(entries_jobs, "INDEX_PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr(entries_jobs, "COUNTS_PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr("lab.indexing.RESTED", 0)
    monkeypatch.setattr("lab.indexing.LOOKED_FOR_NEW", 0)


def cache(strategy: str = "memory", namespace: str = NAMESPACE) -> CacheBackend:
    """What the page shows of a strategy."""
    return cache_of(laboratory(), strategy, namespace)


def put(
    prompt: str,
    answer: str | Sequence[Generation] = "answer",
    *,
    into: CacheBackend | None = None,
    model: str = "demo-1",
    llm_string: str | None = None,
    days_old: float = 0.0,
    **changes: Any,
) -> str:
    """Store an entry with a past; its key."""
    target = cache() if into is None else into
    llm_string = parameters(model) if llm_string is None else llm_string
    generations = [ChatGeneration(message=AIMessage(answer))] if isinstance(answer, str) else list(answer)
    target.update(prompt, llm_string, generations)
    key = cache_key(prompt, llm_string)
    entry = target.get(key)
    assert entry is not None
    if days_old or changes:
        at = time.time() - days_old * DAY_S
        target.restore(replace(entry, **{"created_at": at, "last_used_at": at} | changes))
    return key


def on(visitor: Visitor, **in_the_link: str) -> Visitor:
    """Go to the page, by a link that says this."""
    if visitor.page != "entries":
        visitor.at.switch_page("../pages/entries.py")
        visitor.page = "entries"
    for name, value in in_the_link.items():
        visitor.at.query_params[name] = value
    return settled(visitor.look())


def settled(visitor: Visitor) -> Visitor:
    """Wait for what the page has begun, and show what came of it."""
    laboratory().jobs.wait_for_all(PATIENCE_S)
    return visitor.look().assert_sound()


def click(visitor: Visitor, key: str) -> Visitor:
    """Click a button, and wait for what it began."""
    visitor.widget(key).click()
    return settled(visitor.look())


def opened(visitor: Visitor, *expanders: str) -> Visitor:
    """Open what is folded away: glance, transfer, removal."""
    for name in expanders:
        visitor.at.session_state[f"entries_{name}_open"] = True
    return settled(visitor.look())


def rows(visitor: Visitor) -> list[str]:
    """The prompts in the list."""
    return [str(prompt) for prompt in listing(visitor)["prompt"]]


def listing(visitor: Visitor) -> Any:
    """The table of the list."""
    (table,) = (shown for shown in visitor.at.dataframe if str(shown.key).startswith("entries_table_"))
    return table.value


def link(visitor: Visitor) -> dict[str, str]:
    """What the link says besides the language."""
    return {name: visitor.at.query_params[name] for name in visitor.at.query_params if name != "lang"}
