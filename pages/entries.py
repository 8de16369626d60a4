"""What is really stored: find an entry, read it, change it, move it."""

import streamlit as st

from ui import entries_state
from ui.entries_controls import choose_store, narrowing_row, search_field
from ui.entries_list import begin_index, show_list, tallies
from ui.entry_changes import show_messages
from ui.entry_view import show_entry
from ui.language import _
from ui.notices import show_notices
from ui.session import laboratory

st.title(_("Entries"))
st.caption(_("What is really stored, for every strategy that can list its entries."))

show_notices()
if choose_store() and laboratory().strategies.is_ours(entries_state.strategy()):
    show_messages()
    if entries_state.ENTRY in st.query_params:
        show_entry(st.query_params[entries_state.ENTRY])
    else:
        index = begin_index()
        search_field()
        narrowing_row(tallies())
        show_list(index)
