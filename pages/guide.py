"""What each strategy is and when to choose it, how a cache works, what the numbers mean, and the code to take home."""

import streamlit as st

from ui.guide_code import show_code
from ui.guide_data import show_data
from ui.guide_numbers import show_numbers
from ui.guide_sections import choose_section
from ui.guide_strategies import show_strategies
from ui.guide_workings import show_workings
from ui.language import _

WIDTH = 1300
"""Pixels: on a wide screen a table across all of it would tear its columns apart."""

st.title(_("Guide"))
with st.container(width=WIDTH):
    st.caption(_("Which cache to choose, how it works, what the numbers mean, and how to use it in your own program."))
    match choose_section():
        case "workings":
            show_workings()
        case "numbers":
            show_numbers()
        case "code":
            show_code()
        case "data":
            show_data()
        case _other:
            show_strategies()
