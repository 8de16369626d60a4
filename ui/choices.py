"""Choices whose titles change: with what they would leave, with the language, with another choice.

A browser sends the title of a choice, as it was when the choice was made. Streamlit (1.67) knows the titles of its last
run alone, and takes any other for the choice itself. So the browser is told whenever the title of what is chosen has
changed, and what it sends before it has heard of that is understood all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import streamlit as st

STATE_KEY = "titles_of_choices"
MOST_REMEMBERED = 500
"""Titles of one widget."""


@dataclass
class _Titles:
    now: dict[str, str] = field(default_factory=dict)
    """By choice, as they were last shown."""
    ever: dict[str, str] = field(default_factory=dict)
    """The choice of each title that was shown, the newest last."""


def chosen(key: str) -> str | None:
    """What is chosen, whatever title the browser knows it by. For callbacks and before the widget is made."""
    value, titles = st.session_state.get(key), _titles(key)
    if not isinstance(value, str) or value in titles.now:
        return value
    return titles.ever.get(value, value)


def select(
    place: Any, label: str, options: Sequence[str], *, key: str, title: Callable[[str], str], **others: Any
) -> None:
    """`selectbox` in a place, of choices that are texts. What is chosen first is in the session's state already."""
    value, titles = chosen(key), _titles(key)
    now = {option: title(option) for option in options}
    if value is not None and (value != st.session_state[key] or titles.now.get(value) != now.get(value)):
        st.session_state[key] = value  # has the browser told
    for option, shown in now.items():
        titles.ever.pop(shown, None)
        titles.ever[shown] = option
    while len(titles.ever) > MOST_REMEMBERED:
        del titles.ever[next(iter(titles.ever))]
    titles.now = now
    place.selectbox(label, options, format_func=lambda option: now.get(option, option), key=key, **others)


def _titles(key: str) -> _Titles:
    known = cast(dict[str, _Titles], st.session_state.setdefault(STATE_KEY, {}))
    return known.setdefault(key, _Titles())
