"""An answer that is being paid for is stored and recorded, whatever the visitor does meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import apsw
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.app_page import ask, by_key, open_page, wait_for_answer, wait_for_idle
from tests.e2e.conftest import AppServer, wait_until

PROMPT = "Who was Neil Armstrong?"
SLOW_MODEL = "simulated: {first_token_s: 1.5, tokens_per_second: 400, spread: 0}\n"
StartServer = Callable[..., AppServer]


def begin(server: AppServer, page: Page) -> None:
    """Ask, and return while the model is still silent."""
    open_page(page, f"{server.url}/?strategy=sqlite")
    ask(page, PROMPT)
    expect(by_key(page, "outcome_running")).to_be_visible()


def recorded(server: AppServer) -> list[tuple[str, int]]:
    """Outcome and whether it was stored, of every request in the history file."""
    connection = apsw.Connection(str(server.data_dir / "history.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return list(connection.execute("select outcome, stored from measurements order by id"))
    finally:
        connection.close()


def expect_recorded_and_stored(server: AppServer, page: Page) -> None:
    """The request ends as if nobody had interfered, and the next one finds its answer."""
    wait_until(lambda: len(recorded(server)) == 1, 20, lambda: f"recorded: {recorded(server)}")
    assert recorded(server) == [("miss", 1)]
    open_page(page, f"{server.url}/?strategy=sqlite")
    ask(page, PROMPT)
    wait_for_answer(page)
    expect(by_key(page, "outcome_hit")).to_be_visible()


def test_a_widget_clicked_in_the_middle(app_server: StartServer, page: Page) -> None:
    server = app_server(config=SLOW_MODEL)
    begin(server, page)

    by_key(page, "strategy").get_by_text("Memory", exact=True).click()

    wait_for_answer(page)  # the page itself still gets to the answer
    expect(by_key(page, "outcome_miss")).to_be_visible()
    expect_recorded_and_stored(server, page)


def test_a_reload_in_the_middle(app_server: StartServer, page: Page) -> None:
    server = app_server(config=SLOW_MODEL)
    begin(server, page)

    page.reload()

    wait_for_idle(page)
    expect_recorded_and_stored(server, page)


def test_a_tab_closed_in_the_middle(app_server: StartServer, context: BrowserContext, page: Page) -> None:
    server = app_server(config=SLOW_MODEL)
    begin(server, page)

    second = context.new_page()
    open_page(second, f"{server.url}/?strategy=sqlite")
    page.close()

    expect_recorded_and_stored(server, second)


def test_another_page_in_the_middle(app_server: StartServer, page: Page) -> None:
    server = app_server(config=SLOW_MODEL)
    begin(server, page)

    page.get_by_role("link", name="Guide").click()
    wait_for_idle(page)

    expect_recorded_and_stored(server, page)


def test_a_person_can_stop_an_answer_and_nothing_is_stored(app_server: StartServer, page: Page) -> None:
    server = app_server(config="simulated: {first_token_s: 0.1, tokens_per_second: 10, spread: 0}\n")
    open_page(page, f"{server.url}/?strategy=sqlite")
    ask(page, PROMPT)
    expect(by_key(page, "outcome_running").locator(".st-key-answer")).to_contain_text("Armstrong")

    by_key(page, "stop_answer").get_by_role("button").click()

    wait_for_answer(page)
    expect(by_key(page, "outcome_error")).to_contain_text("The answer was stopped")
    assert recorded(server) == [("miss", 0)]
