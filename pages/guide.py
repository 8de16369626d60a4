"""What each strategy is, when to choose it, what the numbers mean."""

import streamlit as st

from ui.language import _

st.title(_("Guide"))
