"""The entries page in the browser: found, read, changed, moved, shown harmlessly, and never broken by anybody else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from cache_backends import CacheBackend
from tests.e2e.app_page import (
    ask,
    by_key,
    errors_of,
    expect_no_exception,
    open_page,
    requests_outside,
    wait_for_answer,
    wait_for_idle,
    wait_until_drawn,
)
from tests.e2e.conftest import FAST_MODEL, AppServer, wait_until
from tests.e2e.stored_examples import BIG, ELSEWHERE, HOSTILE, json_files, sqlite, store, store_hostile

StartServer = Callable[..., AppServer]
NewContext = Callable[..., BrowserContext]
ROW = 35
"""Pixels of a row of the list, its titles' too."""
JOB_MS = 30_000
"""How long a search, a removal or an import may take before the test is given up."""
READ_CLIPBOARD = "() => navigator.clipboard.readText()"


def click_table(page: Page, x: float, row: int) -> None:
    """Click into the canvas of the list; row 0 are the titles."""
    box = page.locator("[class*='st-key-entries_table'] canvas").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + x, box["y"] + ROW * row + ROW / 2)


def open_row(page: Page, row: int) -> str:
    """Tick the box before a row, 1 the first; return the key of its entry, which the address names at once."""
    click_table(page, 15, row)
    page.wait_for_url(re.compile(r"[?&]entry=[0-9a-f]{64}"))
    expect(by_key(page, "entry_location")).to_be_visible()
    wait_until_drawn(page)
    found = re.search(r"[?&]entry=([0-9a-f]{64})", page.url)
    assert found is not None
    return found[1]


def back_to_list(page: Page) -> None:
    """Press the button that closes an entry."""
    by_key(page, "entry_back").get_by_role("button").click()
    expect(by_key(page, "entry_back")).to_have_count(0)
    wait_until_drawn(page)


def type_search(page: Page, words: str, expected: str) -> None:
    """Look for words as one types them, until the list says what it found."""
    box = by_key(page, "entries_search").locator("input")
    box.fill("")
    box.press_sequentially(words, delay=30)
    expect(by_key(page, "entries_result").get_by_text(expected, exact=True)).to_be_visible(timeout=JOB_MS)
    wait_until_drawn(page)


def expect_found(page: Page, sentence: str) -> None:
    """Wait until the list says how many entries there are."""
    expect(by_key(page, "entries_result").get_by_text(sentence, exact=True)).to_be_visible(timeout=JOB_MS)
    wait_until_drawn(page)


def expect_found_in_the_end(page: Page, sentence: str) -> None:
    """Reload until the list says how many entries there are: after a long look its index rests for a while."""

    def is_found() -> bool:
        open_page(page, page.url)
        return by_key(page, "entries_result").get_by_text(sentence, exact=True).count() == 1

    wait_until(is_found, JOB_MS / 1000, lambda: by_key(page, "entries_result").inner_text())


def unfold(page: Page, key: str) -> None:
    """Open what is folded away below the list."""
    by_key(page, key).locator("summary").click()
    wait_until_drawn(page)


def part(page: Page, name: str) -> None:
    """Choose what of an open entry is shown."""
    by_key(page, "entry_part").get_by_text(name, exact=True).click()
    wait_until_drawn(page)


def copied(page: Page, key: str, expected: str) -> None:
    """Press the copy button of a text; the clipboard has it then."""
    page.evaluate("() => navigator.clipboard.writeText('')")
    code = by_key(page, key).get_by_test_id("stCode").first
    code.hover()
    code.get_by_role("button", name="Copy to clipboard").click()
    wait_until(lambda: page.evaluate(READ_CLIPBOARD) == expected, 5, lambda: repr(page.evaluate(READ_CLIPBOARD)))


def refuse_dialogs(page: Page) -> list[str]:
    """Close every dialog that a script opens; return the list of what they say."""
    said: list[str] = []

    def close(dialog: object) -> None:
        said.append(dialog.message)  # type: ignore[attr-defined]
        dialog.dismiss()  # type: ignore[attr-defined]

    page.on("dialog", close)
    return said


def expect_no_way_out(page: Page, *, but_in: str = "") -> None:
    """No link of the page leads elsewhere, other than links within `but_in` (CSS)."""
    found = page.evaluate(
        """but => [...document.querySelectorAll("[data-testid='stMain'] a[href]")]
            .filter(link => /elsewhere/i.test(link.getAttribute("href")) && !(but && link.closest(but)))
            .map(link => link.outerHTML)""",
        but_in,
    )
    assert found == []


def fill(cache: CacheBackend, number: int) -> list[str]:
    """Store many small entries; every tenth is about a comet."""
    return [
        store(cache, f"Question {n} about a {'comet' if n % 10 == 0 else 'planet'}", f"Answer {n}")
        for n in range(number)
    ]


def test_found_opened_copied_deleted_and_brought_back(app_server: StartServer, new_context: NewContext) -> None:
    server = app_server(config=FAST_MODEL)
    with sqlite(server.data_dir) as cache:
        keys = fill(cache, 60)
        context = new_context()
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
        page = context.new_page()
        open_page(page, f"{server.url}/entries?entries_strategy=sqlite")
        expect_found(page, "60 entries")

        type_search(page, "come", "6 entries match")
        listed = page.url
        key = open_row(page, 1)
        assert key == keys[50]
        entry = cache.get(key)
        assert entry is not None
        assert "Question 50 about a comet" in by_key(page, "entry_prompt").inner_text()
        assert "Answer 50" in by_key(page, "entry_content").inner_text()
        copied(page, "entry_prompt", "Question 50 about a comet")
        copied(page, "entry_location", entry.location)
        part(page, "Key")
        copied(page, "entry_content", key)
        opened = page.url

        other = new_context().new_page()  # somebody else, by the links
        open_page(other, opened)
        expect(by_key(other, "entry_content").get_by_text(key)).to_be_visible()
        open_page(other, listed)
        expect_found(other, "6 entries match")
        expect(by_key(other, "entries_search").locator("input")).to_have_value("come")
        assert open_row(other, 1) == key

        page.go_back()  # through what was chosen, with the browser
        expect(by_key(page, "entry_content").get_by_text("Answer 50")).to_be_visible()
        page.go_back()
        expect_found(page, "6 entries match")
        assert page.url == listed
        page.go_back()
        expect_found(page, "60 entries")
        expect(by_key(page, "entries_search").locator("input")).to_have_value("")
        page.go_forward()
        expect_found(page, "6 entries match")

        open_row(page, 1)
        by_key(page, "entry_delete").get_by_role("button").click()
        expect_found(page, "5 entries match")
        assert cache.get(key) is None
        by_key(page, "entry_undo").get_by_role("button").click()
        expect_found(page, "6 entries match")
        assert cache.get(key) == entry
        expect(by_key(page, "entries_removed")).to_have_count(0)

        click_table(page, 150, 0)  # a title that no order belongs to: nothing breaks
        wait_until_drawn(page)
        by_key(page, "entries_search").locator("input").fill("")
        expect_found(page, "60 entries")
        click_table(page, 33 + 140 + 120 + 92 + 60, 0)  # the title "Stored": it is the order already, so the other way
        page.wait_for_url(re.compile("entries_direction=up"))
        wait_until_drawn(page)
        assert open_row(page, 1) == keys[0]
        for one in (page, other):
            expect_no_exception(one)
            assert errors_of(one) == []
            assert requests_outside(one, server.url) == []


def test_many_exported_imported_elsewhere_hit_there_and_removed(
    app_server: StartServer, new_context: NewContext, tmp_path: Path
) -> None:
    server = app_server(config=FAST_MODEL)
    page = new_context(accept_downloads=True).new_page()
    open_page(page, f"{server.url}/?strategy=sqlite")
    ask(page, "Who was Carl Sagan?")
    wait_for_answer(page)
    answer = by_key(page, "answer").inner_text()
    with sqlite(server.data_dir) as cache:
        fill(cache, 1_200)
        open_page(page, f"{server.url}/entries?entries_strategy=sqlite")
        expect_found(page, "1,201 entries")
        unfold(page, "entries_transfer_open")
        with page.expect_download() as downloading:
            by_key(page, "entries_export").get_by_role("link", name="Download 1,201 entries (JSONL)").click()
        assert downloading.value.suggested_filename == "entries-sqlite.jsonl"
        exported = tmp_path / "exported.jsonl"
        downloading.value.save_as(exported)
        lines = exported.read_bytes().splitlines()
        assert len({json.loads(line)["key"] for line in lines}) == len(lines) == 1_201
        exported.write_bytes(b"\n".join([*lines[:600], b'{"format": 1}', b"no JSON at all", *lines[600:]]) + b"\n")

        by_key(page, "entries_strategy").get_by_text("JSON files", exact=True).click()  # into another strategy
        expect(by_key(page, "entries_empty")).to_be_visible()
        wait_for_idle(page)
        by_key(page, "entries_import").locator("input[type=file]").set_input_files(exported)
        run = by_key(page, "entries_import_run").get_by_role("button")
        expect(run).to_be_enabled(timeout=JOB_MS)
        run.click()
        result = by_key(page, "import_result")
        expect(result.get_by_text("1,201 entries imported. 2 could not be imported.")).to_be_visible(timeout=JOB_MS)
        expect(result.get_by_text("Line 601:")).to_be_visible()
        expect(result.get_by_text("Line 602:")).to_be_visible()
        expect_found(page, "1,201 entries")

        page.get_by_role("link", name="Playground").click()  # a hit there
        wait_for_idle(page)
        by_key(page, "strategy").get_by_text("JSON files", exact=True).click()
        wait_for_idle(page)
        ask(page, "Who was Carl Sagan?")
        wait_for_answer(page)
        expect(by_key(page, "outcome_hit")).to_be_visible()
        assert by_key(page, "answer").inner_text() == answer

        page.get_by_role("link", name="Entries").click()  # and away with what matches
        expect_found(page, "1,201 entries")
        type_search(page, "comet", "120 entries match")
        unfold(page, "entries_removal_open")
        remove = by_key(page, "remove_matching").get_by_role("button")
        expect(remove).to_be_disabled()
        by_key(page, "remove_matching_sure").get_by_text("Yes, remove 120 entries").click()
        expect(remove).to_be_enabled()
        remove.click()
        expect(by_key(page, "removal_result").get_by_text("120 entries removed.")).to_be_visible(timeout=JOB_MS)
        expect(by_key(page, "entries_empty")).to_be_visible(timeout=JOB_MS)
        by_key(page, "entries_show_all").get_by_role("button").click()
        expect_found(page, "1,081 entries")
        assert cache.entries().total == 1_201
        expect_no_exception(page)
        assert errors_of(page) == []
        assert requests_outside(page, server.url) == []


@pytest.mark.parametrize("strategy", ["sqlite", "json"])
def test_hostile_answers_are_only_ever_text(app_server: StartServer, new_context: NewContext, strategy: str) -> None:
    server = app_server(config=FAST_MODEL)
    with (sqlite if strategy == "sqlite" else json_files)(server.data_dir) as cache:
        keys = store_hostile(cache, with_big=True)
        kept = {name: cache.get(key) for name, key in keys.items()}
    context = new_context(viewport={"width": 1280, "height": 1600})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    page = context.new_page()
    dialogs = refuse_dialogs(page)
    open_page(page, f"{server.url}/entries?entries_strategy={strategy}")
    expect_found(page, f"{len(keys) + 1} entries")
    unfold(page, "entries_glance_open")
    type_search(page, "after", f"{len(keys) + 1} entries match")
    for name, key in keys.items():
        open_page(page, f"{server.url}/entries?entries_strategy={strategy}&entry={key}")
        for title in ("Answer", "As text", "As stored", "Key", "Why would this miss?"):
            part(page, title)
            expect(by_key(page, "entry_content")).to_contain_text("Before" if title != "Key" else key, timeout=JOB_MS)
            if title == "Answer":
                shown = by_key(page, "entry_content").get_by_test_id("stMarkdownContainer").first
                links = shown.locator("a[href]:not([href^='#'])").all()  # without those of titles to themselves
                assert all(link.get_attribute("target") == "_blank" for link in links)
                assert not [link for link in links if "script:" in (link.get_attribute("href") or "")]
            expect_no_way_out(page, but_in="[class*='st-key-entry_content']" if title == "Answer" else "")
            assert page.locator("img[src*='elsewhere'], img[src=x], iframe, svg[onload], object, embed").count() == 0
            expect_no_exception(page)
        entry = kept[name]
        assert entry is not None
        if name not in {"big", "nul"}:
            part(page, "As text")
            copied(page, "entry_text", HOSTILE[name])
        if name == "big":
            part(page, "As text")
            with page.expect_download() as downloading:
                by_key(page, "entry_text_whole").get_by_role("button").click()
            assert downloading.value.path().read_text() == BIG
    open_page(page, f"{server.url}/entries?entries_strategy={strategy}&entry={keys['addresses']}")
    part(page, "Why would this miss?")
    asked = by_key(page, "why_prompt").locator("textarea")
    asked.fill("Now www.elsewhere.example/d and d@elsewhere.example")
    asked.press("Control+Enter")
    expect(by_key(page, "why_keys")).to_contain_text("www.elsewhere.example/d")
    wait_until_drawn(page)
    expect_no_way_out(page)
    by_key(page, "entry_delete").get_by_role("button").click()
    removed = by_key(page, "entries_removed")
    expect(removed).to_contain_text("(http://elsewhere.example/c) www.elsewhere.example a@")
    expect_no_way_out(page)
    expect_found(page, f"{len(keys)} entries")
    by_key(page, "entry_undo").get_by_role("button").click()
    expect_found(page, f"{len(keys) + 1} entries")
    expect(removed).to_have_count(0)
    assert page.title() != "taken"
    assert dialogs == []
    assert [url for url in requests_outside(page, server.url) if not url.startswith("blob:")] == []
    assert errors_of(page) == []
    assert ELSEWHERE.removeprefix("http://") not in " ".join(server.outside_connections())


@pytest.mark.parametrize("strategy", ["sqlite", "json"])
def test_others_delete_and_store_while_one_pages(
    app_server: StartServer, new_context: NewContext, strategy: str
) -> None:
    server = app_server(config=FAST_MODEL)
    with (sqlite if strategy == "sqlite" else json_files)(server.data_dir) as cache:
        keys = fill(cache, 230)
        page = new_context().new_page()
        open_page(page, f"{server.url}/entries?entries_strategy={strategy}")
        expect_found(page, "230 entries")
        following = by_key(page, "entries_next").get_by_role("button")
        following.click()  # 51 to 100, the newest first
        page.wait_for_url(re.compile("after="))
        wait_until_drawn(page)

        for key in (keys[179], keys[130], *keys[80:130]):  # this page's first and last, and all of the next one
            cache.delete(key)
        late = [store(cache, f"Late {n}", "Answer") for n in range(3)]
        click_table(page, 15, 1)  # of what is still shown: gone meanwhile
        expect(page.get_by_text("There is no entry under this key any more.")).to_be_visible()
        expect_no_exception(page)
        back_to_list(page)
        expect_found_in_the_end(page, "181 entries")
        assert open_row(page, 1) == keys[178]
        page.go_back()
        expect_found(page, "181 entries")
        by_key(page, "entries_next").get_by_role("button").click()
        wait_until_drawn(page)
        assert open_row(page, 1) in keys[:80]
        back_to_list(page)

        for key in (*keys, *late):  # everything, while a page of it is looked at
            cache.delete(key)
        by_key(page, "entries_previous").get_by_role("button").click()
        wait_until_drawn(page)
        expect_no_exception(page)
        by_key(page, "entries_first").get_by_role("button").click()
        expect(by_key(page, "entries_empty")).to_be_visible(timeout=JOB_MS)
        store(cache, "The only one", "Answer")
        by_key(page, "entries_strategy").get_by_text("Memory", exact=True).click()
        expect(by_key(page, "entries_empty")).to_be_visible(timeout=JOB_MS)
        wait_for_idle(page)
        by_key(page, "entries_strategy").get_by_text(
            "SQLite" if strategy == "sqlite" else "JSON files", exact=True
        ).click()
        page.wait_for_url(re.compile(f"entries_strategy={strategy}"))
        expect_found_in_the_end(page, "1 entry")
        expect_no_exception(page)
        assert errors_of(page) == []


def test_langchains_own_entries_are_copied_and_hit(app_server: StartServer, page: Page) -> None:
    server = app_server(config=FAST_MODEL)
    open_page(page, f"{server.url}/?strategy=langchain-sqlite")
    ask(page, "Who was Carl Sagan?")
    wait_for_answer(page)
    answer = by_key(page, "answer").inner_text()

    open_page(page, f"{server.url}/entries?entries_strategy=langchain-sqlite")
    expect(by_key(page, "entries_foreign").get_by_text("LangChain's SQLite can't be browsed")).to_be_visible()
    by_key(page, "foreign_import").get_by_role("button").click()
    expect(by_key(page, "import_result").get_by_text("1 entry imported.")).to_be_visible(timeout=JOB_MS)
    wait_for_idle(page)
    by_key(page, "entries_strategy").get_by_text("SQLite", exact=True).click()
    expect_found(page, "1 entry")
    open_row(page, 1)
    expect(by_key(page, "entry_content").get_by_text("Carl Sagan").first).to_be_visible()

    open_page(page, f"{server.url}/?strategy=sqlite")
    ask(page, "Who was Carl Sagan?")
    wait_for_answer(page)
    expect(by_key(page, "outcome_hit")).to_be_visible()
    assert by_key(page, "answer").inner_text() == answer
    expect_no_exception(page)
    assert errors_of(page) == []
