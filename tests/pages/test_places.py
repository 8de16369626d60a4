"""What comes and goes on a page moves nothing that stays: the browser would make it anew, and lose a click on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import lab.jobs
from tests.lab.entries import Slow, fill
from tests.lab.made_up_server import MadeUpServer
from tests.pages.conftest import Configure, Visit
from tests.pages.entries_page import NAMESPACE, be_patient, on, opened, put, settled
from tests.pages.visitor import PATIENCE_S, Visitor
from ui import entries_jobs, entries_list, entries_state, waiting
from ui.session import laboratory

SAGAN = "Who was Carl Sagan?"
OF_ANOTHER_CARD = "answer"
"""Another answer may have more said of it before it."""
NOTICE = "a history of old was set aside"


@pytest.fixture
def slow() -> Iterator[Slow]:
    """The store of the strategy "memory", with two entries; it waits in the steps that it is told."""
    made = Slow(namespace=NAMESPACE)
    laboratory().strategies._opened["memory", ""] = made
    fill(made, 2)
    yield made
    made.goes_on.set()


def assert_nothing_moved(before: dict[str, tuple[int, ...]], visitor: Visitor, *looked_for: str) -> None:
    """What was there `before` and still is stands where it stood; `looked_for` is among it."""
    after = visitor.assert_sound().places
    both = before.keys() & after.keys() - {OF_ANOTHER_CARD}
    assert set(looked_for) <= both
    assert {key: after[key] for key in both} == {key: before[key] for key in both}


@pytest.mark.parametrize("lacks_entries", [True, False])
def test_an_index_that_is_brought_up_to_date_moves_no_list(
    visit: Visit, slow: Slow, monkeypatch: pytest.MonkeyPatch, lacks_entries: bool
) -> None:
    monkeypatch.setattr(entries_jobs, "INDEX_PATIENCE_S", 0.0)
    slow.of = 100 if lacks_entries else slow.looked_at
    slow.slow = {"index"}
    visitor = visit().go("entries")
    assert slow.waits.wait(PATIENCE_S)
    before = visitor.look().places
    buttons = before["entries_next"][:-1]
    assert lacks_entries == ("entries_indexing" in before)
    assert before.get("entries_indexing", buttons)[: len(buttons)] == buttons, "beside them, where it moves no list"
    be_patient(monkeypatch)
    slow.goes_on.set()
    assert_nothing_moved(before, settled(visitor), "entries_table_0", "entries_removal_open")


def test_counts_that_come_late_move_nothing(visit: Visit, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries_jobs, "COUNTS_PATIENCE_S", 0.0)
    monkeypatch.setattr(entries_list, "COUNTED_IN_SILENCE_S", 0.0)
    slow.slow = {"tally"}
    visitor = visit().go("entries")
    assert slow.waits.wait(PATIENCE_S)
    before = visitor.look().places
    buttons = before["entries_next"][:-1]
    (said,) = [place for place, node in visitor.placed if "Still counting" in str(getattr(node, "value", ""))]
    assert said[: len(buttons)] == buttons, "beside them, where it moves no list"
    slow.goes_on.set()
    assert_nothing_moved(before, settled(visitor), "entries_table_0", "entries_removal_open")


@pytest.mark.parametrize("lacks_entries", [True, False])
def test_beside_the_buttons_is_said_how_far_the_index_is_or_else_that_counts_are_on_their_way(
    visit: Visit, slow: Slow, monkeypatch: pytest.MonkeyPatch, lacks_entries: bool
) -> None:
    monkeypatch.setattr(entries_jobs, "INDEX_PATIENCE_S", 0.0)
    monkeypatch.setattr(entries_list, "COUNTED_IN_SILENCE_S", 0.0)
    slow.of = 100 if lacks_entries else slow.looked_at
    slow.slow = {"index", "tally"}
    visitor = visit().go("entries")
    assert slow.waits.wait(PATIENCE_S)
    visitor.look().assert_sound()
    assert ("entries_indexing" in visitor.keys, "Still counting" in visitor.text) == (lacks_entries, not lacks_entries)


def test_a_list_that_comes_late_moves_no_button(visit: Visit, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = opened(on(visit()), "removal")
    monkeypatch.setattr(waiting.wait_for, "__defaults__", (0.0,))
    slow.slow = {"entries"}
    before = visitor.look().places
    assert slow.waits.wait(PATIENCE_S)
    be_patient(monkeypatch)
    slow.goes_on.set()
    assert_nothing_moved(before, settled(visitor), "remove_matching", "remove_expired")


def test_a_list_that_could_not_be_begun_moves_nothing(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    put("question")
    visitor = on(visit())
    before = visitor.places
    monkeypatch.setattr(lab.jobs, "MAX_RUNNING", 0)
    assert "So many requests are running" in visitor.look().text
    assert_nothing_moved(before, visitor, "entries_result", "entries_removal_open")


def test_what_is_said_of_a_change_moves_nothing(visit: Visit) -> None:
    put("question")
    visitor = opened(on(visit()), "removal")
    before = visitor.places
    visitor.at.session_state[entries_state.STATE_KEY].message = "Done."
    visitor.at.session_state[entries_state.STATE_KEY].mistake = "Not done."
    assert {"Done.", "Not done."} <= set(visitor.look().text.splitlines())
    assert_nothing_moved(before, visitor, "entries_table_0", "remove_matching")


@pytest.mark.parametrize("page", ["playground", "compare", "entries"])
def test_news_of_a_store_moves_nothing(visit: Visit, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    visitor = settled(visit().go(page))
    before = visitor.places
    monkeypatch.setattr(type(laboratory()), "notices", lambda _: (NOTICE,))
    settled(visitor)
    assert NOTICE in visitor.text
    assert_nothing_moved(before, visitor)


def test_a_demo_moves_nothing(visit: Visit) -> None:
    visitor = visit().ask(SAGAN)
    before = visitor.places
    visitor.widget("guided_demo").click()
    assert_nothing_moved(before, visitor.look(), "prompt", "history_chart")
    visitor.wait()
    assert "demo_finished" in visitor.keys
    assert_nothing_moved(before, visitor, "prompt", "history_chart")
    assert_nothing_moved(before, visitor.click("demo_close"), "prompt", "history_chart")


def test_an_answer_and_a_mistake_move_no_history(visit: Visit) -> None:
    visitor = visit().ask(SAGAN)
    before = visitor.places
    assert_nothing_moved(before, visitor.choose(prompt=" "), "history_chart", "history_table")
    visitor.widget("ask_again").click()
    assert_nothing_moved(before, visitor.look(), "history_chart", "history_table")
    assert_nothing_moved(before, visitor.wait(), "history_chart", "history_table")


def test_a_server_that_goes_and_comes_back_moves_no_prompt(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, configure: Configure
) -> None:
    server = MadeUpServer().install(monkeypatch)
    monkeypatch.setenv("REDIS_URL", "redis://cache:6379/0")
    configure()
    laboratory().strategies._reach._begin = lambda work: work()
    visitor = visit().ask(SAGAN)
    before = visitor.places
    assert_nothing_moved(before, visitor.choose(strategy="redis"), "prompt", "history_chart")
    server.down = "redis://cache:6379/0 does not answer."
    visitor.click("ask_again")
    assert visitor.at.warning
    assert_nothing_moved(before, visitor, "prompt", "history_chart")
    server.down = None
    visitor.click("ask_again")
    assert not visitor.at.warning
    assert_nothing_moved(before, visitor, "prompt", "history_chart")


def test_a_mistake_moves_no_comparison(visit: Visit) -> None:
    visitor = visit().go("compare")
    before = visitor.places
    visitor.at.session_state["comparing"].mistake = "Not done."
    assert_nothing_moved(before, visitor.look(), "compare_result")


def test_a_check_of_the_stores_moves_nothing_below_it(visit: Visit) -> None:
    visitor = visit().go("guide").choose(guide_section="health")
    before = below_the_check(visitor)
    assert len(before) == 2
    visitor.widget("health_check").click()
    assert below_the_check(visitor.look()) == before
    assert below_the_check(visitor.wait()) == before


def below_the_check(visitor: Visitor) -> list[tuple[int, ...]]:
    """Where the sentences stand that say how it is checked."""
    said = ("How it is checked", ":small[A round trip asks")
    return [place for place, node in visitor.placed if str(getattr(node, "value", "")).strip("# ").startswith(said)]


@pytest.mark.parametrize("page", ["playground", "compare", "entries", "guide"])
def test_where_nothing_is_said_no_room_is_taken(visit: Visit, page: str) -> None:
    put("question")
    visitor = settled(visit().ask(SAGAN).go(page))
    gaps = [place for place, node in visitor.placed if getattr(node, "children", None) and not shows_anything(node)]
    assert gaps == [], "the browser leaves out a container that is empty, not one that holds an empty one"


def shows_anything(node: Any) -> bool:
    """Whether there is more in it than containers."""
    return not hasattr(node, "children") or any(map(shows_anything, node.children.values()))
