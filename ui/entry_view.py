"""One entry, whole: prompt, answer, stored form, parameters, times, where it lies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import orjson
import pandas as pd
import streamlit as st
from langchain_core.outputs import ChatGeneration, Generation

from cache_backends import CacheEntry, CacheError
from cache_backends.codec import encode
from cache_backends.readable import readable_prompt
from lab.key_parts import key_parts
from lab.strategies import StrategyUnavailableError
from ui import entries_state
from ui.entries_table import time_left
from ui.entry_changes import show_changes
from ui.language import _, ngettext
from ui.links import follow_link, keep_in_link
from ui.miss_view import show_why_miss
from ui.numbers import DASH, ago, count, duration, moment, size
from ui.safe_text import safe_markdown, shown_in_line

PARTS = ("answer", "text", "stored", "key", "miss")
LONGEST_SHOWN = 100_000
"""Characters of a text that a page shows: a browser takes seconds for the 10 MB that an answer may have."""
LONGEST_VALUE = 2_000
"""Characters of a parameter that the table of them shows."""
TEXT_HEIGHT = 300


def show_entry(key: str) -> None:
    """The entry under a key, or why it can't be shown."""
    st.button(_("Back to the list"), key="entry_back", icon=":material/arrow_back:", on_click=entries_state.close_entry)
    try:
        entry = entries_state.cache().get(key)
    except ValueError:
        st.warning(
            _("This link names no entry: a key has 64 hexadecimal digits. Choose one from the list."),
            icon=":material/link_off:",
        )
        return
    except (CacheError, StrategyUnavailableError) as error:
        st.error(
            _("The entry can't be read now: {reason}").format(reason=shown_in_line(entries_state.safe(str(error)))),
            icon=":material/cloud_off:",
        )
        st.button(_("Try again"), key="entry_again", icon=":material/refresh:")
        return
    if entry is None:
        st.info(
            _(
                "There is no entry under this key any more. It was removed or evicted, or this link belongs to another "
                "strategy or namespace."
            ),
            icon=":material/search_off:",
        )
        return
    _show(entry)


def _show(entry: CacheEntry) -> None:
    now = time.time()
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        st.caption(_("Prompt"))
        _show_text(readable_prompt(entry.raw_prompt), "entry_prompt", 120)
        follow_link("entry_part", PARTS, PARTS[0])
        st.segmented_control(
            _("What to read"),
            PARTS,
            format_func=_part_title,
            key="entry_part",
            required=True,
            label_visibility="collapsed",
            persist_state="session",
        )
        keep_in_link("entry_part", PARTS[0])
        with st.container(key="entry_content"):
            _show_part(entry, st.session_state["entry_part"])
        st.caption(_("Where it lies"))
        with st.container(key="entry_location"):
            st.code(visible(entry.location), language=None, wrap_lines=True)
    with right:
        _show_facts(entry, now)
        show_changes(entry)


def _show_part(entry: CacheEntry, part: str) -> None:
    if part == "answer":
        if not entry.text:
            st.caption(_("This answer has no text; see its stored form."))
        with st.container(height=_fitting(entry.text, TEXT_HEIGHT), border=True):
            st.markdown(safe_markdown(_beginning(entry.text)))
        _say_what_is_shown(entry.text)
    elif part == "text":
        _show_text(entry.text, "entry_text", TEXT_HEIGHT)
    elif part == "stored":
        _show_generations(entry.generations)
        _show_text(stored_form(entry.generations), "entry_stored", TEXT_HEIGHT, language="json")
    elif part == "key":
        _show_key(entry)
    else:
        show_why_miss(entry)


def _show_text(text: str, key: str, height: int, language: str | None = None) -> None:
    """A text to read and to copy, as it is."""
    with st.container(key=key):
        st.code(visible(_beginning(text)), language=language, wrap_lines=True, height=_fitting(text, height))
    _say_what_is_shown(text, key)


def _fitting(text: str, height: int) -> int | Literal["content"]:
    return height if len(text) > height * 4 or text.count("\n") > height // 24 else "content"


def _say_what_is_shown(text: str, key: str = "entry_answer") -> None:
    if len(text) <= LONGEST_SHOWN:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            _("The first {shown} of {all} characters are shown.").format(
                shown=count(LONGEST_SHOWN), all=count(len(text))
            )
        )
        st.download_button(
            _("Download all of it"), lambda: text.encode("utf-8", "replace"), file_name="text.txt", mime="text/plain",
            key=f"{key}_whole", on_click="ignore", icon=":material/download:",
        )  # fmt: skip


def _beginning(text: str) -> str:
    return text[:LONGEST_SHOWN]


def visible(text: str) -> str:
    """A text that a browser shows whole: it would end at NUL, or leave it out."""
    return text.replace("\0", "\u2400")


def stored_form(generations: Sequence[Generation]) -> str:
    """The generations as they are stored, with line breaks for people."""
    return orjson.dumps(orjson.loads(encode(generations)), option=orjson.OPT_INDENT_2).decode()


def _show_generations(generations: Sequence[Generation]) -> None:
    sentence = ngettext(
        "{count} answer to this prompt is stored", "{count} answers to this prompt are stored", len(generations)
    )
    st.caption(sentence.format(count=count(len(generations))))
    rows = [_generation(number, generation) for number, generation in enumerate(generations, 1)]
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="entry_generations", placeholder=DASH)


def _generation(number: int, generation: Generation) -> dict[str, Any]:
    message = generation.message if isinstance(generation, ChatGeneration) else None
    metadata = {**(generation.generation_info or {}), **(getattr(message, "response_metadata", None) or {})}
    usage = getattr(message, "usage_metadata", None) or {}
    return {
        _("Number"): str(number),
        _("Type"): type(message or generation).__name__,
        _("Characters"): count(len(generation.text)),
        _("Ended because"): str(metadata.get("finish_reason") or DASH)[:60],
        _("Tokens in"): str(usage.get("input_tokens", DASH)),
        _("Tokens out"): str(usage.get("output_tokens", DASH)),
        _("Answered by"): str(metadata.get("model_name") or DASH)[:80],
    }


def _show_key(entry: CacheEntry) -> None:
    st.caption(_("The key is the SHA-256 of the prompt and of these parameters: another value makes another key."))
    st.code(entry.key, language=None)
    parts = [
        {_("Parameter"): part.name, _("Value"): visible(part.value)[:LONGEST_VALUE]}
        for part in key_parts(entry.llm_string)
    ]
    st.dataframe(pd.DataFrame(parts), hide_index=True, key="entry_parameters")
    st.caption(_("As LangChain passed them, secrets taken out:"))
    _show_text(entry.llm_string, "entry_llm_string", 120)


def _show_facts(entry: CacheEntry, now: float) -> None:
    timezone = st.context.timezone
    first, second = st.columns([1, 1.7])
    first.metric(_("Hits"), count(entry.hits))
    second.metric(_("Time left"), time_left(entry, now))
    saved_s = entry.hits * entry.model_time_s if entry.hits and entry.model_time_s is not None else None
    lines = [
        (_("Model"), entry.model or DASH),
        (_("Stored"), f"{moment(entry.created_at, timezone)} ({ago(now - entry.created_at)})"),
        (_("Last used"), f"{moment(entry.last_used_at, timezone)} ({ago(now - entry.last_used_at)})"),
        (_("Ends"), DASH if entry.expires_at is None else moment(entry.expires_at, timezone)),
        (_("Size"), size(entry.size_bytes)),
        (_("Model time"), duration(entry.model_time_s)),
        (
            _("Time saved by its hits"),
            duration(saved_s),
        ),
    ]
    st.markdown("\n".join(f"- {title}: **{_unbroken(shown_in_line(visible(value)))}**" for title, value in lines))


def _unbroken(value: str) -> str:
    """A value that goes on in the next line only before its remark in brackets."""
    value, bracket, remark = value.partition("\\(")
    return value + bracket + remark.replace(" ", "\u00a0")


def _part_title(part: str) -> str:
    return {
        "answer": _("Answer"),
        "text": _("As text"),
        "stored": _("As stored"),
        "key": _("Key"),
        "miss": _("Why would this miss?"),
    }[part]
