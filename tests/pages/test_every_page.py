"""Every page in every language: it is shown without an exception, and whole in that language."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages.conftest import Visit
from tests.pages.visitor import SHELL, Visitor
from ui.controls import SAMPLES
from ui.language import LANGUAGES, _translations

PAGES = sorted(path.stem for path in Path(SHELL.parent.parent / "pages").glob("*.py"))


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_shown_without_an_exception(visit: Visit, page: str, code: str) -> None:
    visitor = visit(locale=code).go(page).assert_sound()
    assert len(visitor.at.title) == 1
    assert f"documentElement.lang = '{code}'" in visitor.text
    assert not visitor.look().assert_sound().at.error


def lines(visitor: Visitor) -> set[str]:
    """Every line of text on the page, those of tables, charts, choices and helps too."""
    shown = visitor.text.splitlines()
    for node in visitor.at._tree:
        shown += [
            text for name in ("help", "placeholder", "delta") if isinstance(text := getattr(node, name, None), str)
        ]
        shown += [text for text in getattr(node, "options", []) if isinstance(text, str)]
    for table in (*visitor.at.table, *visitor.at.dataframe):
        shown += [str(cell) for cell in [*table.value.columns, *table.value.to_numpy().ravel()]]
    return {line.strip("#* ") for line in shown}


@pytest.mark.parametrize("section", [None, "strategies", "workings", "numbers", "code", "data", "health"])
def test_nothing_stays_english_on_a_portuguese_page(visit: Visit, section: str | None) -> None:
    visitor = visit(locale="pt-BR")
    if section is None:
        visitor.ask("Quem foi Carl Sagan?").click("ask_again").click("restart").click("guided_demo")
    else:
        visitor.go("guide").choose(guide_section=section)
    if section == "health":
        visitor.click("health_check")
    translations = _translations("pt-BR")
    shown = lines(visitor.assert_sound()) - {"", *SAMPLES["en"]}  # the samples are offered in both languages
    english = sorted(line for line in shown if translations.gettext(line) != line)
    assert not english
    assert len(shown) > 20


@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_left_and_come_back_to(visit: Visit, page: str) -> None:
    visitor = visit().ask("Who was Carl Sagan?").choose(strategy="json", temperature=1.1)
    visitor.go(page).assert_sound().go("playground").assert_sound()
    assert visitor.outcome == "miss"
    assert visitor.at.session_state["strategy"] == "json"
    assert visitor.at.session_state["temperature"] == 1.1
    assert visitor.click("ask_again").measurement.strategy == "json"


def test_the_language_of_the_link_wins_over_the_browsers(visit: Visit) -> None:
    assert visit(locale="en-US", lang="pt-BR").at.title[0].value != "Playground"
    assert visit(locale="pt-BR", lang="en").at.title[0].value == "Playground"


def test_the_language_is_switched_at_once_and_stays_on_the_next_page(visit: Visit) -> None:
    visitor = visit(locale="en-US").ask("Who was Carl Sagan?").choose(lang="pt-BR")
    assert visitor.at.title[0].value != "Playground"
    assert visitor.outcome == "miss"
    assert visitor.go("guide").assert_sound().at.title[0].value == "Guia"
    assert visitor.go("playground").choose(lang="en").at.title[0].value == "Playground"
