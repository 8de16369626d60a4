"""The entry point: `streamlit run app.py`.

The shell is a script of its own in `ui/`, because a folder named `pages/` beside the script that Streamlit runs
switches on its old page discovery, which breaks deep links on a fresh server.
"""

import streamlit as st

from ui.export_route import ROUTES
from ui.garbage import short_collections

app = st.App("ui/shell.py", routes=ROUTES, lifespan=short_collections)
