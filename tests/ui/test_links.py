"""Links: what a person chooses, where the browser goes, and a link that is older than the last choice."""

from __future__ import annotations

from typing import Any

import pytest

from ui import links
from ui.links import begin_page, follow_link, keep_in_link

COLOURS = ["red", "green", "blue"]


class Session:
    """One browser session on a page with two choices."""

    def __init__(self, state: dict[str, Any], query: dict[str, str]) -> None:
        self.state = state
        self.query = query

    def run(self) -> tuple[str, str]:
        """One run of the page; what is chosen after it."""
        begin_page("page")
        for key in ("one", "two"):
            follow_link(key, COLOURS, "red")
            keep_in_link(key, "red")
        return self.state["one"], self.state["two"]

    def go(self, **query: str) -> tuple[str, str]:
        """The browser goes to another link of the page."""
        self.query.clear()
        self.query.update(query)
        return self.run()

    def choose(self, *, of_before: dict[str, str] | None = None, **chosen: str) -> tuple[str, str]:
        """Choose something; the browser sends its link along, which may still be that of before."""
        self.state.update(chosen)
        if of_before is not None:
            self.query.clear()
            self.query.update(of_before)
        return self.run()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    state: dict[str, Any] = {}
    query: dict[str, str] = {}
    monkeypatch.setattr(links.st, "session_state", state)
    monkeypatch.setattr(links.st, "query_params", query)
    return Session(state, query)


def test_what_is_chosen_stands_in_the_link_unless_it_is_the_default(session: Session) -> None:
    assert session.run() == ("red", "red")
    assert session.query == {}
    session.choose(one="blue")
    assert session.query == {"one": "blue"}
    session.choose(one="red")
    assert session.query == {}


def test_a_link_is_followed_and_so_are_back_and_forward(session: Session) -> None:
    assert session.go(one="blue") == ("blue", "red")
    assert session.choose(two="green") == ("blue", "green")
    assert session.go(one="blue") == ("blue", "red")
    assert session.go(one="blue", two="green") == ("blue", "green")
    assert session.go() == ("red", "red")


def test_who_chooses_again_before_the_browser_has_the_new_link_has_both_choices(session: Session) -> None:
    session.run()
    session.choose(one="blue")
    assert session.choose(two="green", of_before={}) == ("blue", "green")
    assert session.query == {"one": "blue", "two": "green"}
    assert session.choose(one="green", of_before={"one": "blue"}) == ("green", "green")
    assert session.query == {"one": "green", "two": "green"}


def test_a_link_that_names_nothing_allowed_is_the_default(session: Session) -> None:
    assert session.go(one="<script>") == ("red", "red")
    assert session.query == {}


def test_another_page_begins_with_its_own_link(session: Session) -> None:
    session.choose(one="blue")
    begin_page("another")
    assert session.go() == ("blue", "red"), "what was chosen stays, until the link of this page says otherwise"
