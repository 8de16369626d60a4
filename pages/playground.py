"""Ask through a cache, see what it did, and watch the history grow."""

import streamlit as st

from ui.answer_card import show_newest
from ui.ask_state import settle
from ui.controls import action_row, prompt_row, settings_row
from ui.demo_view import demo_button, show_demo
from ui.history_view import show_history
from ui.language import _
from ui.notices import show_notices

heading, demo = st.columns([4, 1], vertical_alignment="bottom")
with heading:
    st.title(_("Playground"))
    st.caption(_("Ask the same thing twice and see what a cache saves."))
with demo:
    demo_button()

show_notices()
show_demo()
settings_row()
prompt_row()
settle()
action_row()
show_newest()
show_history()
