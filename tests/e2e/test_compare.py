"""A comparison in the browser: watched, stopped, run again, left and come back to, opened by link, and taken away."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.app_page import by_key, errors_of, expect_no_exception, open_page, requests_outside, wait_for_idle
from tests.e2e.conftest import FAST_MODEL, AppServer

StartServer = Callable[..., AppServer]
NewContext = Callable[..., BrowserContext]
CHOSEN = ["Memory", "SQLite", "JSON files", "LangChain's memory", "LangChain's SQLite"]
LONG_MS = 60_000
"""How long a comparison may take before the test is given up."""


def begin(page: Page) -> None:
    """Press Compare."""
    by_key(page, "compare_run").get_by_role("button").click()


def wait_for_result(page: Page) -> None:
    """Until the newest comparison is finished."""
    expect(by_key(page, "compare_table").locator("table")).to_be_visible(timeout=LONG_MS)
    wait_for_idle(page)


def numbers(page: Page) -> list[str]:
    """Every cell of the table that is shown, and every figure of the worth."""
    cells = by_key(page, "compare_table").locator("td").all_inner_texts()
    figures = page.locator("[data-testid='stMetricValue']").all_inner_texts()
    return [text.strip() for text in (*cells, *figures)]


def quantities(page: Page) -> set[str]:
    """Every time, ratio and amount of money or bytes in the result: table, cards, sentences, worth."""
    text = plain(by_key(page, "compare_result").inner_text())
    return set(re.findall(r"\d[\d.,]*(?: (?:µs|ms|s|min|h|days|B|kB|MB)\b|×)|US\$ \d[\d.,]*\d", text))


def plain(text: str) -> str:
    """With ordinary spaces only."""
    return text.replace("\u00a0", " ")


def download(page: Page, key: str, folder: Path) -> Path:
    """Press a download button; the file it gave."""
    with page.expect_download() as waiting:
        by_key(page, key).get_by_role("button").click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_the_whole_story_of_a_comparison(app_server: StartServer, new_context: NewContext, tmp_path: Path) -> None:
    server = app_server(config=FAST_MODEL)
    page = new_context(accept_downloads=True).new_page()
    open_page(page, f"{server.url}/compare?lang=en")
    by_key(page, "compare_strategies").get_by_role("button", name="No cache").click()
    by_key(page, "compare_repeats").get_by_text("10,000").click()
    wait_for_idle(page)

    begin(page)  # watched, and stopped
    expect(page.get_by_text(re.compile(r"Timing hits and stores: round \d+ of 625"))).to_be_visible(timeout=LONG_MS)
    assert by_key(page, "compare_run").get_by_role("button").is_disabled()
    by_key(page, "compare_stop").get_by_role("button").click()
    expect(page.get_by_text("Stopped; what was measured until then.")).to_be_visible(timeout=LONG_MS)
    wait_for_idle(page)
    stopped = page.url

    by_key(page, "compare_repeats").get_by_text("400", exact=True).click()
    wait_for_idle(page)
    begin(page)  # again, to the end
    expect(page.get_by_text("Stopped; what was measured until then.")).to_have_count(0, timeout=LONG_MS)
    wait_for_result(page)
    expect_no_exception(page)
    assert page.url != stopped
    assert sorted(by_key(page, "compare_table").locator("thead th").all_inner_texts()[1:]) == sorted(CHOSEN)
    assert page.locator("[data-testid='stVegaLiteChart'] svg, [data-testid='stVegaLiteChart'] canvas").count() == 4
    shown = numbers(page)

    page.get_by_role("link", name="Playground").click()  # left, and come back to
    wait_for_idle(page)
    page.get_by_role("link", name="Compare").click()
    wait_for_result(page)
    assert numbers(page) == shown

    other = new_context().new_page()  # somebody else, by the link
    open_page(other, page.url)
    wait_for_result(other)
    assert numbers(other)[: len(numbers(page)) - 3] == shown[:-3]

    found = list(csv.DictReader(io.StringIO(download(page, "compare_csv", tmp_path).read_text("utf-8-sig"))))
    assert len(found) == 3 * len(CHOSEN)
    assert {row["n"] for row in found if row["timed"] != "stores"} == {"400"}

    path = download(page, "compare_report", tmp_path)
    offline = new_context(offline=True).new_page()
    offline.goto(path.as_uri())
    text = plain(offline.locator("body").inner_text())
    for what in ("A hit, inside the cache", "A hit, the whole call", "A store, inside the cache"):
        by_key(page, "compare_what").get_by_text(what, exact=True).click()
        wait_for_idle(page)
        assert [number for number in numbers(page) if plain(number) not in text] == [], what
        assert len(quantities(page)) > 60
        assert [quantity for quantity in quantities(page) if quantity not in text] == [], what
    assert offline.locator("svg").count() == 4
    assert errors_of(offline) == []
    assert requests_outside(page, server.url) == []
    assert errors_of(page) == []


def test_two_people_who_compare_wait_for_each_other(app_server: StartServer, new_context: NewContext) -> None:
    server = app_server(config=FAST_MODEL)
    one, other = new_context().new_page(), new_context().new_page()
    for page in (one, other):
        open_page(page, f"{server.url}/compare?lang=en")
    by_key(one, "compare_repeats").get_by_text("10,000").click()
    wait_for_idle(one)
    begin(one)
    expect(one.get_by_text(re.compile("Timing hits and stores|Starting the process"))).to_be_visible(timeout=LONG_MS)
    begin(other)
    expect(other.get_by_text("Waiting: 1 before this one.")).to_be_visible(timeout=LONG_MS)
    by_key(one, "compare_stop").get_by_role("button").click()
    wait_for_result(other)
    expect_no_exception(other)
    assert by_key(other, "compare_table").locator("td").first.inner_text() == "2,000"


def test_hostile_text_is_only_ever_text(app_server: StartServer, new_context: NewContext) -> None:
    server = app_server(config=FAST_MODEL)
    page = new_context().new_page()
    open_page(page, f"{server.url}/compare?lang=en&run=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    expect(page.get_by_text("There is no comparison under this link.")).to_be_visible()
    prompt = by_key(page, "compare_prompt").locator("input")
    prompt.fill("<img src='http://evil.example/x.png' onerror=alert(1)> ![a](http://evil.example/y.png) $x$ :red[z]")
    prompt.press("Enter")
    by_key(page, "compare_repeats").get_by_text("400", exact=True).click()
    wait_for_idle(page)
    begin(page)
    wait_for_result(page)
    expect(page.locator("h3").filter(has_text="<img src='http://evil.example/x.png'")).to_be_visible()
    assert requests_outside(page, server.url) == []
    assert errors_of(page) == []
