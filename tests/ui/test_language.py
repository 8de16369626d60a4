"""Two languages: the catalogue is complete, no visible text goes past it, and no session speaks another's."""

from __future__ import annotations

import ast
import builtins
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po
from streamlit.testing.v1 import AppTest

from ui import language
from ui.language import LANGUAGES, LOCALES, browser_language, ngettext

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("ui", "pages") for path in (ROOT / folder).glob("*.py"))
CATALOGUE = LOCALES / "pt_BR" / "LC_MESSAGES" / "messages.po"

SHOWING = frozenset(
    {"title", "header", "subheader", "markdown", "caption", "text", "write", "table"}
    | {"info", "warning", "error", "success", "toast", "badge", "metric", "progress", "status", "popover", "expander"}
    | {"button", "download_button", "link_button", "page_link", "toggle", "checkbox", "radio", "selectbox", "pills"}
    | {"multiselect", "slider", "select_slider", "segmented_control", "text_input", "text_area", "number_input"}
    | {"chat_input", "file_uploader", "Page", "Column", "NumberColumn", "TextColumn", "DatetimeColumn"}
    | {"heading", "subheading", "prose", "detail", "choice"}
)
"""Functions whose arguments people read: Streamlit's and ours."""
ONLY_THE_FIRST = frozenset({"heading", "Page", "choice"})
"""Those of them of which people read the first argument only."""
SHOWN = frozenset({"help", "placeholder", "title", "label", "alt", "text", "page_title"})
"""Keyword arguments that people read, whatever the function."""
THE_SAME_IN_ALL_LANGUAGES = frozenset(
    {
        "Language / Idioma",  # for those too who can't read the page yet
        "LLM Cache Lab",
        "Redis",
        "PostgreSQL",
        "MongoDB",
    }
)
MARKUP = re.compile(r"`[^`]*`|:[\w-]+(?:/\w+:|\[)|</?\w[^>]*>|\bn = ")
"""Code, icons, colours and tags, and the statistician's n."""
OTHER_TERMS = re.compile(
    r"\b(?:hits?|miss(?:es)?|lookups?|stores?|keys?|requests?|latency|bypass|side ?bar"
    r"|pedidos?|solicitaç\w+|faltas? de cache|erros? de cache|cachê)\b",
    re.IGNORECASE,
)
"""English terms, and Portuguese ones that would be a second name for something: it is acerto, ausência, requisição."""
NOT_TRANSLATED = frozenset({"SQLite", "Prompt", "Total"})
"""Messages that are the same in Portuguese."""


def translations(path: Path) -> Iterator[ast.Call]:
    """The calls of `_` and `ngettext` in a file, those within f-strings too, which babel's extraction passes over."""
    return (node for node in ast.walk(ast.parse(path.read_text())) if is_translation(node))


def is_translation(node: ast.AST) -> bool:
    """Whether it is a call of `_` or `ngettext`."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "ngettext")


def message_of(call: ast.Call) -> tuple[str, ...]:
    """What is to be translated: (singular,), or (singular, plural). Raises ValueError where that is put together."""
    return tuple(ast.literal_eval(text) for text in call.args[: 1 if ast.unparse(call.func) == "_" else 2])


def extracted() -> set[tuple[str, ...]]:
    """Every message of the sources."""
    return {message_of(call) for path in SOURCES for call in translations(path)}


def catalogue() -> Catalog:
    """The Portuguese messages."""
    with CATALOGUE.open("rb") as source:
        return read_po(source, locale="pt_BR", abort_invalid=True)


def messages() -> list[Message]:
    """All but the header."""
    return [message for message in catalogue() if message.id]


def as_tuple(text: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """One form or several, as several."""
    return (text,) if isinstance(text, str) else tuple(text)


def pairs() -> list[tuple[str, str]]:
    """Each message with its translation; of those with a plural, each form."""
    return [pair for message in messages() for pair in zip(as_tuple(message.id), as_tuple(message.string), strict=True)]


def fields(text: str) -> Counter[str]:
    """The {placeholders} of a text."""
    return Counter(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def test_there_are_messages() -> None:
    assert len(extracted()) > 100


def test_every_message_is_translated() -> None:
    translated = {as_tuple(message.id) for message in messages() if all(as_tuple(message.string))}
    assert not extracted() - translated


def test_no_translation_is_left_over() -> None:
    assert not {as_tuple(message.id) for message in messages()} - extracted()
    assert not catalogue().obsolete


def test_no_translation_is_in_doubt() -> None:
    assert not [message.id for message in messages() if message.fuzzy]


def test_what_is_filled_in_is_the_same_in_both_languages() -> None:
    assert not [pair for pair in pairs() if fields(pair[0]) != fields(pair[1])]


@pytest.mark.parametrize("sign", ["**", "`", "\n", "](", "\n- ", ":material/", "[", "]", "<"])
def test_markup_is_the_same_in_both_languages(sign: str) -> None:
    assert not [pair for pair in pairs() if pair[0].count(sign) != pair[1].count(sign)]


def test_code_in_a_text_is_not_translated() -> None:
    def code(text: str) -> Counter[str]:
        return Counter(re.findall(r"`[^`]*`", text))

    assert not [pair for pair in pairs() if code(pair[0]) != code(pair[1])]


def test_a_sentence_stays_a_sentence() -> None:
    def end(text: str) -> str:
        return text[-1] if text[-1] in ".:?!…" else ""

    assert not [pair for pair in pairs() if end(pair[0]) != end(pair[1])]


def test_nothing_is_left_in_english() -> None:
    assert {one for one, other in pairs() if one == other} <= NOT_TRANSLATED


def test_the_terms_of_the_field_are_the_same_everywhere() -> None:
    english = re.compile(
        r"\b(hits?|miss(es)?|lookups?|stores?|keys?|requests?|latency|bypass|side ?bar)\b", re.IGNORECASE
    )
    others = re.compile(
        r"\b(chaves? de cache|pedidos?|solicitaç\w+|erros? de cache|faltas? de cache|cachê)\b", re.IGNORECASE
    )
    texts = [re.sub(r"`[^`]*`|\{\w+\}", "", translation) for _, translation in pairs()]
    assert not [text for text in texts if english.search(text) or others.search(text)]


def test_the_catalogue_is_sorted_and_changes_only_with_its_messages() -> None:
    text = CATALOGUE.read_text()
    assert "#: " not in text
    assert "POT-Creation-Date" not in text
    ids = [as_tuple(message.id)[0] for message in messages()]
    assert ids == sorted(ids)


@pytest.mark.parametrize(("number", "shown"), [(0, "em {n} acerto"), (1, "em {n} acerto"), (2, "em {n} acertos")])
def test_portuguese_counts_as_portuguese_does(monkeypatch: pytest.MonkeyPatch, number: int, shown: str) -> None:
    monkeypatch.setattr(language, "language", lambda: "pt-BR")
    assert ngettext("by {n} hit", "by {n} hits", number) == shown


@pytest.mark.parametrize(
    ("locale", "code"),
    [
        ("pt-BR", "pt-BR"),
        ("pt", "pt-BR"),
        ("pt-PT", "pt-BR"),
        ("PT_br", "pt-BR"),
        ("en-US", "en"),
        ("de-DE", "en"),
        ("zh", "en"),
        ("", "en"),
        (None, "en"),
    ],
)
def test_the_browsers_language_decides(locale: str | None, code: str) -> None:
    assert browser_language(locale) == code
    assert code in LANGUAGES


def page() -> None:
    """A page of one sentence and one number, in the language of its session."""
    import streamlit as st

    from ui.language import LANGUAGE_KEY, _, begin_run, language
    from ui.numbers import duration

    st.session_state.setdefault(LANGUAGE_KEY, st.query_params.get(LANGUAGE_KEY))
    begin_run()
    st.button("again")
    st.write(f"{language()}: {_('History')} {duration(1.25)}")


def test_sessions_with_different_languages_never_mix() -> None:
    sessions = {code: AppTest.from_function(page) for code in ("pt-BR", "en")}
    for code, session in sessions.items():
        session.query_params["lang"] = code
    for _ in range(3):
        for session in sessions.values():
            session.run()
        shown = {code: session.markdown[0].value for code, session in sessions.items()}
        assert shown == {"pt-BR": "pt-BR: Histórico 1,25 s", "en": "en: History 1.25 s"}


def test_no_language_is_installed_for_the_whole_process() -> None:
    assert not callable(getattr(builtins, "_", None))  # doctest leaves its last result there
    assert not hasattr(builtins, "ngettext")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_message_is_put_together(path: Path) -> None:
    for call in translations(path):
        assert all(isinstance(part, str) for part in message_of(call)), call.lineno


def literals(node: ast.AST) -> Iterator[str]:
    """The text that stands in an expression itself, not what a call in it gives."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield from (text for part in parts for text in literals(part))
        case ast.BinOp(left=left, right=right):
            yield from literals(left)
            yield from literals(right)
        case ast.IfExp(body=body, orelse=orelse):
            yield from literals(body)
            yield from literals(orelse)
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            yield from (text for element in elements for text in literals(element))


def visible(call: ast.Call) -> Iterator[str]:
    """The literal texts that a call shows to people."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    shown = call.args[: 1 if name in ONLY_THE_FIRST else None] if name in SHOWING else []
    shown = [*shown, *(each.value for each in call.keywords if each.arg in SHOWN and name != "encode")]
    for text in (text for node in shown for text in literals(node)):
        if re.search(r"[^\W\d_]", MARKUP.sub("", text)) and not text.endswith(".py"):
            yield text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_visible_text_goes_past_the_catalogue(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    found = {text: call.lineno for call in calls for text in visible(call)}
    assert not {text: line for text, line in found.items() if text not in THE_SAME_IN_ALL_LANGUAGES}


@pytest.mark.parametrize(
    "code",
    [
        'st.title("Guide")',
        'column.metric("Total", 1)',
        'st.markdown("#### " + "History")',
        'st.caption(f"{n} rows")',
        'st.button(_("Ask"), help="Asks the model")',
        'st.badge(":material/check: Done")',
        'heading("Keys", "keys")',
        'alt.Tooltip("x:N", title="Request")',
    ],
)
def test_a_visible_text_without_translation_is_noticed(code: str) -> None:
    (call,) = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and not is_translation(node))
    assert list(visible(call))
