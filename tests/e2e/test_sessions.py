"""Two visitors at once, and the language and theme each of them sees."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.app_page import ask, by_key, expect_no_exception, open_page, wait_for_answer, wait_for_idle
from tests.e2e.conftest import FAST_MODEL, AppServer

PROMPT = "Who is Neil deGrasse Tyson?"
OWN_SERVER = """
endpoints:
  - {name: first, base_url: "http://127.0.0.1:9/v1", models: [alpha]}
  - {name: second, base_url: "http://127.0.0.1:9/v2", models: [beta]}
"""
StartServer = Callable[..., AppServer]
NewContext = Callable[..., BrowserContext]


def test_settings_and_keys_of_two_sessions_stay_apart(app_server: StartServer, new_context: NewContext) -> None:
    server = app_server(config=FAST_MODEL + OWN_SERVER)
    one, other = new_context().new_page(), new_context().new_page()
    open_page(one, f"{server.url}/?strategy=sqlite&model=first/alpha")
    open_page(other, f"{server.url}/?strategy=json&model=second/beta")

    key = by_key(one, "api_key_first").locator("input")
    key.fill("sk-visitor-of-the-first-session")
    key.press("Enter")
    wait_for_idle(one)
    other.reload()
    wait_for_idle(other)

    assert "strategy=sqlite" in one.url
    assert "strategy=json" in other.url
    expect(by_key(other, "api_key_second").locator("input")).to_have_value("")
    assert by_key(other, "api_key_first").count() == 0
    assert "sk-visitor" not in other.content()
    assert "sk-visitor" not in server.log


def test_a_shared_answer_is_a_hit_for_the_other_visitor(app_server: StartServer, new_context: NewContext) -> None:
    server = app_server()
    one, other = new_context().new_page(), new_context().new_page()
    open_page(one, f"{server.url}/?strategy=memory")
    open_page(other, f"{server.url}/?strategy=memory")

    ask(one, PROMPT)
    wait_for_answer(one)
    ask(other, PROMPT)
    wait_for_answer(other)

    expect(by_key(other, "outcome_hit")).to_be_visible()
    assert by_key(other, "answer").inner_text() == by_key(one, "answer").inner_text()


def test_private_sessions_share_nothing(app_server: StartServer, new_context: NewContext) -> None:
    server = app_server(config=FAST_MODEL + "sharing: private\n")
    one, other = new_context().new_page(), new_context().new_page()
    for visitor in (one, other):
        open_page(visitor, f"{server.url}/?strategy=memory")
        ask(visitor, PROMPT)
        wait_for_answer(visitor)
        expect(by_key(visitor, "outcome_miss")).to_be_visible()


def test_the_browsers_language_is_used_and_can_be_switched(app_server: StartServer, new_context: NewContext) -> None:
    server = app_server()
    page = new_context(locale="pt-BR").new_page()
    open_page(page, f"{server.url}/guide")
    expect(page.locator("html")).to_have_attribute("lang", "pt-BR")
    expect(page.get_by_role("heading", level=1)).to_have_text("Guia")

    by_key(page, "lang").get_by_text("English").click()
    wait_for_idle(page)

    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.get_by_role("heading", level=1)).to_have_text("Guide")
    page.get_by_role("link", name="Playground").click()
    wait_for_idle(page)
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect_no_exception(page)


def test_a_text_of_a_megabyte_is_answered_with_a_sentence_and_kept(app_server: StartServer, page: Page) -> None:
    server = app_server()
    open_page(page, server.url)

    ask(page, "long " * 200_000)

    wait_for_idle(page)
    expect(by_key(page, "outcome_mistake")).to_contain_text("at most 100,000 are allowed")
    assert len(by_key(page, "rejected_prompt").locator("textarea").input_value()) >= 999_999


def test_hostile_text_is_only_text(app_server: StartServer, page: Page) -> None:
    server = app_server()
    open_page(page, server.url)
    hostile = "<img src=x onerror=alert(1)> ![i](http://example.org/i.png) <script>alert(2)</script> a\0b $x$ :red[r]"

    for _ in range(2):
        ask(page, hostile)
        wait_for_answer(page)

    expect(by_key(page, "outcome_hit")).to_be_visible()
    assert page.locator("img[src*='example.org'], img[src='x']").count() == 0
    expect_no_exception(page)
