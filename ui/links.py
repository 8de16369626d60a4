"""Choices that a link carries: `?strategy=sqlite&model=simulated`, in values that no language changes.

Streamlit's own binding writes the label that is shown, which differs from language to language.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st


def choose_from_link(key: str, allowed: Sequence[str], default: str) -> None:
    """Before a widget is made: give it what the link says if that is allowed, else the default."""
    if st.session_state.get(key) not in allowed:
        asked = st.query_params.get(key)
        st.session_state[key] = asked if asked in allowed else default


def keep_in_link(key: str, default: str) -> None:
    """After a widget was made: put its value into the link, or nothing where it is the default."""
    chosen = st.session_state.get(key)
    if chosen in (None, default):
        if key in st.query_params:
            del st.query_params[key]
    elif st.query_params.get(key) != chosen:
        st.query_params[key] = chosen
