"""The story that the app exists for, in a real browser, without network and without a key."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.app_page import (
    ask,
    by_key,
    errors_of,
    expect_no_exception,
    open_page,
    requests_outside,
    wait_for_answer,
    wait_for_idle,
)
from tests.e2e.conftest import AppServer

PROMPT = "Who was Carl Sagan?"
StartServer = Callable[..., AppServer]


def answer_with(page: Page, outcome: str) -> str:
    """The answer shown, once the page shows that outcome."""
    wait_for_answer(page)
    expect(by_key(page, f"outcome_{outcome}")).to_be_visible()
    return by_key(page, "answer").inner_text()


@pytest.mark.parametrize(
    ("strategy", "survives"), [("memory", False), ("sqlite", True), ("json", True)], ids=["memory", "sqlite", "json"]
)
def test_ask_again_hits_and_a_restart_shows_what_the_strategy_keeps(
    app_server: StartServer, page: Page, strategy: str, survives: bool
) -> None:
    server = app_server()
    open_page(page, f"{server.url}/?strategy={strategy}")

    ask(page, PROMPT)
    first = answer_with(page, "miss")
    assert "Carl Sagan" in first

    by_key(page, "ask_again").get_by_role("button").click()
    assert answer_with(page, "hit") == first

    by_key(page, "restart").get_by_role("button").click()
    wait_for_idle(page)
    by_key(page, "ask_again").get_by_role("button").click()
    after_button = answer_with(page, "hit" if survives else "miss")
    assert (after_button == first) is survives

    server.restart()  # a new process finds what the button had promised
    open_page(page, f"{server.url}/?strategy={strategy}")
    ask(page, PROMPT)
    after_process = answer_with(page, "hit" if survives else "miss")
    assert (after_process == after_button) is survives

    assert requests_outside(page, server.url) == []
    assert server.outside_connections() == []
    expect_no_exception(page)


def test_strategies_are_chosen_by_clicking_and_end_up_in_the_link(app_server: StartServer, page: Page) -> None:
    server = app_server()
    open_page(page, server.url)

    by_key(page, "strategy").get_by_text("JSON files", exact=True).click()
    wait_for_idle(page)
    ask(page, PROMPT)
    answer_with(page, "miss")

    assert "strategy=json" in page.url
    assert list((server.data_dir / "answers").glob("*/*/*.json"))


def test_the_answer_appears_while_it_is_written(app_server: StartServer, page: Page) -> None:
    server = app_server(config="simulated: {first_token_s: 0.1, tokens_per_second: 20, spread: 0}\n")
    open_page(page, server.url)

    ask(page, PROMPT)

    growing = by_key(page, "outcome_running").locator(".st-key-answer")
    expect(growing).to_contain_text("Sagan")
    seen = growing.inner_text()
    assert "Simulated answer" not in seen  # its end, which has not been written yet
    assert seen.split()[0] == answer_with(page, "miss").split()[0]


def test_a_sample_prompt_asks_with_one_click(app_server: StartServer, page: Page) -> None:
    server = app_server()
    open_page(page, server.url)

    by_key(page, "sample_prompt").get_by_text("Quem foi Neil Armstrong?").click()

    assert "Armstrong" in answer_with(page, "miss")


def test_the_guided_demo_plays_the_same_story_every_time(app_server: StartServer, page: Page) -> None:
    server = app_server()
    open_page(page, server.url)
    for _ in range(2):
        by_key(page, "guided_demo").get_by_role("button").click()
        finished = by_key(page, "demo_finished")
        expect(finished).to_be_visible(timeout=30_000)
        wait_for_idle(page)
        assert finished.get_by_text("Miss", exact=True).count() == 4  # each first question, and memory's last
        assert finished.get_by_text("Hit", exact=True).count() == 5
        expect(by_key(page, "demo_chart").locator("canvas, svg").first).to_be_visible()
        by_key(page, "demo_close").get_by_role("button").click()
        wait_for_idle(page)
    assert not list((server.data_dir / "answers").glob("*/*/*.json"))  # its namespace was removed
    expect_no_exception(page)


def test_a_cold_deep_link_shows_the_page_with_the_whole_navigation(app_server: StartServer, page: Page) -> None:
    server = app_server()

    open_page(page, f"{server.url}/guide")

    expect(page.get_by_role("heading", level=1)).to_have_text("Guide")
    links = page.get_by_test_id("stSidebarNavLink")
    paths = ("/", "/compare", "/entries", "/guide")
    assert [link.get_attribute("href") for link in links.all()] == [f"{server.url}{path}" for path in paths]
    assert errors_of(page) == []
    assert requests_outside(page, server.url) == []
    assert server.outside_connections() == []


def test_the_history_is_downloaded_as_csv(app_server: StartServer, page: Page) -> None:
    server = app_server()
    open_page(page, server.url)
    ask(page, "=1+1")
    answer_with(page, "miss")

    with page.expect_download() as downloading:
        by_key(page, "download_history").get_by_role("button").click()

    header, row, *rest = downloading.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert header.startswith("asked_at,scope,strategy,model,simulated,prompt,")
    assert ",'=1+1," in row
    assert rest == []


def test_the_first_prompt_after_a_restart_of_the_server_is_asked(app_server: StartServer, page: Page) -> None:
    server = app_server()
    open_page(page, f"{server.url}/?strategy=json")
    ask(page, PROMPT)
    first = answer_with(page, "miss")

    server.restart()  # and the page is left open: it connects again by itself
    wait_for_idle(page, timeout_s=60)
    ask(page, PROMPT)

    assert answer_with(page, "hit") == first
