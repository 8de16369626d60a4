"""Changes of one entry: the offer to undo a deletion."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from cache_backends import MemoryCache
from tests.cache_backends.answers import store, whole
from ui import entries_state, entry_changes
from ui.entries_state import UNDO_S, Removed


class RerunError(Exception):
    """What a rerun of the page is here."""


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> Removed:
    """What was removed just now."""

    def rerun() -> None:
        raise RerunError

    monkeypatch.setattr(entry_changes.st, "session_state", {})
    monkeypatch.setattr(entry_changes.st, "rerun", rerun)
    with MemoryCache() as cache:
        store(cache, "q", "answer")
        made = Removed(whole(cache, "q"), "memory", "default", time.monotonic())
    entries_state.state().removed = made
    return made


def offer(removed: Removed) -> None:
    """One run of the fragment that offers it."""
    entry_changes._show_undo.__wrapped__(removed)  # type: ignore[attr-defined]


def test_an_undo_is_offered_while_there_is_time(removed: Removed) -> None:
    offer(removed)


def test_an_offer_that_was_taken_goes_at_once(removed: Removed) -> None:
    entries_state.state().removed = None
    with pytest.raises(RerunError):
        offer(removed)


def test_an_offer_goes_when_its_time_is_over(removed: Removed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_changes, "time", SimpleNamespace(monotonic=lambda: removed.at + UNDO_S))
    with pytest.raises(RerunError):
        offer(removed)
