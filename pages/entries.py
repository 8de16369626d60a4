"""What is really stored: find an entry, read it, change it, move it."""

import streamlit as st

from ui import entries_state
from ui.entries_controls import choose_store, narrowing_row, search_row
from ui.entries_jobs import begin_counts, begin_index, begin_list, counts
from ui.entries_list import show_list
from ui.entries_more import show_more
from ui.entry_changes import show_messages
from ui.entry_view import show_entry
from ui.language import _
from ui.notices import show_notices

st.title(_("Entries"))
st.caption(_("What is really stored, for every strategy that can list its entries."))

show_notices()
entries_state.notice_what_ended()
namespaces = choose_store()
if namespaces is not None:
    show_messages()
    if entries_state.ENTRY in st.query_params:
        show_entry(st.query_params[entries_state.ENTRY])
    else:
        entries_state.choose_from_the_link()
        begun = begin_list(begin_index())
        search_row(namespaces)
        counting = begin_counts(begun)
        tallies = counts(counting)
        narrowing_row(tallies)
        page = show_list(begun, counting, is_counted=tallies is not None)
        show_more(begun.asked, page, tallies)
