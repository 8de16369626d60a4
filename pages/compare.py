"""One prompt, several strategies: who answers how fast, with numbers that hold."""

import streamlit as st

from ui import compare_state
from ui.compare_controls import compare_controls
from ui.compare_view import show_comparison
from ui.kept_runs import show_kept_runs
from ui.language import _
from ui.notices import show_notices

st.title(_("Compare"))
st.caption(_("One prompt for every strategy, side by side: first cold, then warm, then thousands of hits timed."))

show_notices()
compare_state.follow_link()
compare_controls()
show_comparison()
show_kept_runs()
