"""A choice that the guide's address carries: links lead to it, and the browser's back and forward buttons change it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import streamlit as st


def choice(
    label: str,
    options: Sequence[str],
    *,
    key: str,
    format_func: Callable[[str], str],
    label_visibility: Literal["visible", "collapsed"] = "visible",
) -> str:
    """One of the options, the first by default; `key` is the widget's, and the name of the parameter in the address."""
    seen_key = f"{key}_in_address"
    asked = st.query_params.get(key)
    if key not in st.session_state or asked != st.session_state.get(seen_key):
        # The page was just opened, or somebody went back or forward: the address decides.
        st.session_state[key] = asked if asked in options else options[0]
        st.session_state[seen_key] = asked

    def into_address() -> None:
        st.query_params[key] = st.session_state[seen_key] = st.session_state[key]

    chosen = st.segmented_control(
        label,
        options,
        format_func=format_func,
        key=key,
        required=True,
        label_visibility=label_visibility,
        on_change=into_address,
    )
    return chosen or options[0]
