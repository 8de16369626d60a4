"""Choices that a link carries: `?strategy=sqlite&model=simulated`, in values that no language changes.

Streamlit's own binding writes the label that is shown, which differs from language to language.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ui import choices

_PAGE, _LEFT, _CHOSEN, _IS_OLD = "page_of_link", "left_in_link", "chosen_in_link", "link_is_old"


def choose_from_link(key: str, allowed: Sequence[str], default: str) -> None:
    """Before a widget is made: give it what the link says if that is allowed, else the default."""
    if st.session_state.get(key) not in allowed:
        asked = st.query_params.get(key)
        st.session_state[key] = asked if asked in allowed else default


def begin_page(page: str) -> None:
    """Before a page runs: another one has another link, which says nothing of what was chosen on this one before."""
    state = st.session_state
    if state.get(_PAGE) != page:
        state[_PAGE], state[_LEFT], state[_CHOSEN] = page, {}, {}
    # Who chooses something else while the page still answers to the last choice sends the link of before that along.
    state[_IS_OLD] = any(key in state and choices.chosen(key) != value for key, value in state[_CHOSEN].items())


def went_elsewhere(key: str) -> bool:
    """Whether the link says something else than what was left in it: somebody went back or forward in the browser."""
    left = st.session_state.get(_LEFT, {})
    return key in left and left[key] != st.query_params.get(key) and not st.session_state.get(_IS_OLD, False)


def follow_link(key: str, allowed: Sequence[str], default: str) -> None:
    """`choose_from_link` that also goes back and forward with the browser."""
    if went_elsewhere(key):
        st.session_state.pop(key, None)
    choose_from_link(key, allowed, default)


def keep_in_link(key: str, default: str) -> None:
    """After a widget was made: put its value into the link, or nothing where it is the default."""
    chosen = st.session_state.get(key)
    if chosen in (None, default):
        if key in st.query_params:
            del st.query_params[key]
    elif st.query_params.get(key) != chosen:
        st.query_params[key] = chosen
    st.session_state.setdefault(_LEFT, {})[key] = st.query_params.get(key)
    st.session_state.setdefault(_CHOSEN, {})[key] = choices.chosen(key)
