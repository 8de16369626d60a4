"""What each strategy is, how a cache works, what the numbers mean, the code to take one home, and how each store is."""

import streamlit as st

from ui.guide_choice import choice
from ui.guide_code import show_code
from ui.guide_data import show_data
from ui.guide_numbers import show_numbers
from ui.guide_strategies import show_strategies
from ui.guide_workings import show_workings
from ui.health_view import show_health
from ui.language import _

WIDTH = 1300
"""Pixels: on a wide screen a table across all of it would tear its columns apart."""
SECTIONS = {
    "strategies": show_strategies,
    "workings": show_workings,
    "numbers": show_numbers,
    "code": show_code,
    "data": show_data,
    "health": show_health,
}


def section_label(section: str) -> str:
    """What a section is called."""
    return {
        "strategies": _("Strategies"),
        "workings": _("How a cache works"),
        "numbers": _("What the numbers mean"),
        "code": _("Code to take home"),
        "data": _("What is kept where"),
        "health": _("Health"),
    }[section]


st.title(_("Guide"))
with st.container(width=WIDTH):
    st.caption(_("Which cache to choose, how it works, what the numbers mean, and how to use it in your own program."))
    section = choice(
        _("Section"),
        list(SECTIONS),
        key="guide_section",
        format_func=section_label,
        label_visibility="collapsed",
    )
    SECTIONS[section]()
