""" "Why would this miss?": a stored entry's key beside that of a request that a person changes."""

from __future__ import annotations

import time

import pandas as pd
import streamlit as st

from cache_backends import CacheEntry
from cache_backends.readable import shortened
from lab.key_parts import ComparedPart, KeyComparison, compare_keys, key_parts, stored_prompt
from lab.parameters import MODEL_NAMES, WHOLE
from ui.language import _, ngettext
from ui.marked_text import legend, marked, plainly
from ui.miss_words import part_title, verdict
from ui.numbers import DASH, count
from ui.places import in_its_place
from ui.safe_text import shown_in_line

LONGEST_EDITED = 50_000
"""Characters of a prompt that is put into the field, and sent back with every change."""
LONGEST_VALUE = 2_000
"""Characters of a parameter that can be changed."""
PROMPT_HEIGHT = 124
MOST_EQUAL = 30
"""Parameters that are shown though they are the same."""
KEY_DIGITS = 16
NAMESPACE_LENGTH = 80
ADDABLE = "temperature"
"""What can be given though the stored request left it to the model."""

_ENTRY = "why_entry"


def show_why_miss(entry: CacheEntry) -> None:
    """Let a person change the entry's request, and show whether the entry would still be found."""
    values = _changeable(entry)
    _begin(entry)
    st.markdown("#### " + _("Why would this miss?"))
    st.caption(
        _(
            "An entry is found by its key alone: a hash of the prompt and of the model's parameters, to the letter. "
            "Change something, and see."
        )
    )
    prompt, changes = _fields(entry, values)
    compared = compare_keys(entry, prompt, changes)
    _show_verdict(entry, compared)
    _show_keys(entry, compared)
    _show_what_is_not_in_it(entry)


def _begin(entry: CacheEntry) -> None:
    """What was typed for one entry is not asked of another."""
    if st.session_state.get(_ENTRY) != (entry.namespace, entry.key) or "why_prompt" not in st.session_state:
        st.session_state[_ENTRY] = (entry.namespace, entry.key)
        _as_stored(entry)


def _as_stored(entry: CacheEntry) -> None:
    st.session_state["why_prompt"] = _editable(entry) or ""
    st.session_state["why_parameter"] = None
    st.session_state["why_value"] = ""
    st.session_state["why_line_ends"] = True


def _editable(entry: CacheEntry) -> str | None:
    """The prompt as a browser's field can hold it, where it is not too long for one. A field knows no CR."""
    prompt = stored_prompt(entry)
    return _with_line_feeds(prompt) if len(prompt) <= LONGEST_EDITED else None


def _changeable(entry: CacheEntry) -> dict[str, str]:
    """Names and values of the parameters that can be changed."""
    parts = key_parts(entry.llm_string)
    values = {part.name: part.value for part in parts if len(part.value) <= LONGEST_VALUE}
    if ADDABLE not in {part.name for part in parts} and parts[:1] and parts[0].name != WHOLE:
        values[ADDABLE] = ""
    return values


def _fields(entry: CacheEntry, values: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The fields; the prompt and the parameters that they ask with."""
    prompt = _prompt_field(entry)
    for_parameters, for_reset = st.columns([4, 1.6], gap="small", vertical_alignment="bottom")
    with for_parameters:
        changes = _parameter_fields(values)
    for_reset.button(
        _("As stored"),
        key="why_reset",
        icon=":material/undo:",
        on_click=_as_stored,
        args=(entry,),
        disabled=not changes and prompt == stored_prompt(entry),
    )
    return prompt, changes


def _prompt_field(entry: CacheEntry) -> str:
    stored, editable = stored_prompt(entry), _editable(entry)
    typed = st.text_area(
        _("Prompt to ask with") if editable is not None else _("Another prompt"),
        key="why_prompt",
        height=PROMPT_HEIGHT,
        placeholder=None if editable is not None else _("The stored prompt is too long to change. Paste another one."),
        help=None if stored != entry.raw_prompt or editable is None else _(
            "This is all that LangChain passed: of a chat model asked with several messages, their JSON."
        ),
    ) or ""  # fmt: skip
    if editable is None:
        return typed or stored
    if editable == stored:
        return typed
    as_stored = st.toggle(
        _("Lines end as in the stored prompt"),
        key="why_line_ends",
        help=_("The stored prompt has carriage returns (CR), which can't be typed into a field."),
    )
    if not as_stored:
        return typed
    return stored if typed == editable else _with_returns(typed, stored)


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _with_returns(text: str, stored: str) -> str:
    """The text with the line ends that are most in the stored one."""
    pairs = stored.count("\r\n")
    end = "\r\n" if 2 * pairs >= stored.count("\r") else "\r"
    return text if stored.count("\n") > 2 * pairs else text.replace("\n", end)


def _parameter_fields(values: dict[str, str]) -> dict[str, str]:
    if st.session_state.get("why_parameter") not in values:
        st.session_state["why_parameter"] = None

    def take_value() -> None:
        st.session_state["why_value"] = values.get(st.session_state["why_parameter"] or "", "")

    name, value = st.columns([3, 2], gap="small")
    with name:
        chosen = st.selectbox(
            _("Parameter to change"),
            list(values),
            index=None,
            format_func=part_title,
            key="why_parameter",
            placeholder=_("Choose a parameter"),
            on_change=take_value,
            disabled=not values,
        )
    with value:
        typed = st.text_input(_("Its value"), key="why_value", disabled=chosen is None, live="300ms") or ""
    if chosen is None or typed == values[chosen] or not typed.strip():
        return {}
    return {chosen: typed}


@in_its_place
def _show_verdict(entry: CacheEntry, compared: KeyComparison) -> None:
    sentence = shown_in_line(verdict(entry, compared, time.time()))
    with st.container(key="why_verdict_hit" if compared.would_hit else "why_verdict_miss"):
        if not compared.would_hit:
            st.warning(f"**{sentence}**", icon=":material/cloud_download:")
        elif compared.key_is_known and not entry.is_expired(time.time()):
            st.success(f"**{sentence}**", icon=":material/check_circle:")
        else:
            st.info(f"**{sentence}**", icon=":material/info:")
    if not compared.differing:
        st.caption(
            _(
                "Try it: one more space at the end, a small letter for a capital, “é” typed as “e” with an accent, "
                "temperature 0.2, another model."
            )
        )


@in_its_place
def _show_keys(entry: CacheEntry, compared: KeyComparison) -> None:
    """The parts of both keys side by side."""
    equal = [part for part in compared.parameters if not part.differs]
    left_out = {part.name for part in equal[MOST_EQUAL:]}
    parts = [compared.prompt, *(part for part in compared.parameters if part.name not in left_out)]
    rows = [_row(part, _("Prompt") if part is compared.prompt else part_title(part.name)) for part in parts]
    signs = legend("".join(stored + asked for _title, stored, asked in rows))
    rows.append(_key_row(entry, compared))
    with st.container(key="why_keys"):
        st.table(
            pd.DataFrame(rows, columns=["", _("Stored"), _("This request")]),
            border="horizontal",
            hide_index=True,
            alt=verdict(entry, compared, time.time()),
        )
    remarks = [signs] if signs is not None else []
    if left_out:
        remarks.append(
            ngettext(
                "{n} more parameter is the same in both.", "{n} more parameters are the same in both.", len(left_out)
            ).format(n=count(len(left_out)))
        )
    if remarks:
        st.caption("  \n".join(map(shown_in_line, remarks)))


def _row(part: ComparedPart, title: str) -> tuple[str, str, str]:
    icon = ":material/difference:" if part.differs else ":material/check:"
    name = shown_in_line(title)
    stored = DASH if part.stored is None else marked(part.pieces, "stored")
    asked = DASH if part.asked is None else marked(part.pieces, "asked")
    return f"{icon} **{name}**" if part.differs else f":gray[{icon} {name}]", stored, asked


def _key_row(entry: CacheEntry, compared: KeyComparison) -> tuple[str, str, str]:
    asked = compared.asked_key
    return (
        f":material/key: {_('Key (SHA-256)')}",
        shown_in_line(f"{entry.key[:KEY_DIGITS]}…"),
        _("not known") if asked is None else shown_in_line(f"{asked[:KEY_DIGITS]}…"),
    )


def _show_what_is_not_in_it(entry: CacheEntry) -> None:
    lines = [
        _(
            "**Namespace**: entries of different namespaces are kept apart, so the same key in another one is another "
            "entry. This one lies in {namespace}. The app has one for each server that it asks, and so never gives an "
            "answer of one for that of another."
        ).format(namespace=shown_in_line(shortened(plainly(entry.namespace), NAMESPACE_LENGTH))),
        _("**Time to live**: it ends an entry, and changes nothing in its key."),
        _("**API key**: with another one, the same answer is found."),
    ]
    if any(part.name in MODEL_NAMES for part in key_parts(entry.llm_string)):
        lines.append(
            _(
                "**In the key all the same**: time limits, retries and streaming, where a chat model was given them, "
                "though answers don't depend on them."
            )
        )
    with st.expander(_("What is not in the key"), expanded=True, key="why_not_in_key"):
        st.markdown("\n".join(f"- {line}" for line in lines))
