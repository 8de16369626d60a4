"""The language of a page: English, the source, or Brazilian Portuguese; one for each browser session."""

from __future__ import annotations

import gettext
import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path

import streamlit as st
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LANGUAGES = {"en": "English", "pt-BR": "Português"}
"""Codes as in `<html lang>`, with their names in themselves."""
DEFAULT_LANGUAGE = "en"
LANGUAGE_KEY = "lang"
LOCALES = Path(__file__).parent.parent / "locales"


_of_this_run: ContextVar[str | None] = ContextVar("language_of_this_run", default=None)


def begin_run() -> None:
    """Look the language up once for this run of the script: a page asks for it thousands of times."""
    _of_this_run.set(None)
    _of_this_run.set(language())


def language() -> str:
    """The code of this session's language: what was chosen, else what the browser asks for."""
    known = _of_this_run.get()
    if known is not None:
        return known
    chosen = st.session_state.get(LANGUAGE_KEY)
    return chosen if chosen in LANGUAGES else browser_language(st.context.locale)


@contextmanager
def spoken(code: str) -> Iterator[None]:
    """Speak this language meanwhile, outside of a script run too, such as in a download that is made when asked for."""
    before = _of_this_run.set(code)
    try:
        yield
    finally:
        _of_this_run.reset(before)


def browser_language(locale: str | None) -> str:
    """Our language that is nearest to a browser's locale such as "pt" or "en-GB"."""
    return "pt-BR" if (locale or "").lower().startswith("pt") else DEFAULT_LANGUAGE


def babel_locale() -> str:
    """The session's language as babel names it."""
    return language().replace("-", "_")


def _(message: str) -> str:
    """The message in the session's language; `message` is English."""
    return _translations(language()).gettext(message)


def ngettext(singular: str, plural: str, number: int) -> str:
    """The message for that number of things in the session's language."""
    return _translations(language()).ngettext(singular, plural, number)


@lru_cache
def _translations(code: str) -> gettext.NullTranslations:
    """The catalogue of a language, compiled in memory: nothing to build, nothing to forget."""
    path = LOCALES / code.replace("-", "_") / "LC_MESSAGES" / "messages.po"
    if code == DEFAULT_LANGUAGE:
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with path.open("rb") as source:
        write_mo(compiled, read_po(source))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
