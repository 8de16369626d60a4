"""The frame around every page: title and icon, language, navigation, and what is wrong with the settings."""

from pathlib import Path

import streamlit as st

from lab.settings import SettingsError
from ui import session
from ui.language import LANGUAGE_KEY, LANGUAGES, _, begin_run, browser_language, language
from ui.links import begin_page, choose_from_link, keep_in_link
from ui.safe_text import shown_in_line

SIDEBAR_WIDTH = 250  # pixels: as narrow as the language switch allows, since the page needs the room on a projector
ICON = Path(__file__).parent / "icon.png"

# A local icon, set before st.navigation: Streamlit would fetch a page's Material icon from another host.
st.set_page_config(page_title="LLM Cache Lab", page_icon=str(ICON), layout="wide", initial_sidebar_state=SIDEBAR_WIDTH)

choose_from_link(LANGUAGE_KEY, list(LANGUAGES), browser_language(st.context.locale))
begin_run()

page = st.navigation(
    [
        st.Page("../pages/playground.py", title=_("Playground"), icon=":material/bolt:", url_path="home", default=True),
        # The default page's own path is "/"; links to /playground must lead there too.
        st.Page("../pages/playground.py", title=_("Playground"), url_path="playground", visibility="hidden"),
        st.Page("../pages/compare.py", title=_("Compare"), icon=":material/sports_score:", url_path="compare"),
        st.Page("../pages/entries.py", title=_("Entries"), icon=":material/table_rows:", url_path="entries"),
        st.Page("../pages/guide.py", title=_("Guide"), icon=":material/menu_book:", url_path="guide"),
    ]
)
with st.sidebar:
    st.segmented_control(
        "Language / Idioma",
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        key=LANGUAGE_KEY,
        required=True,
        persist_state="session",
    )
keep_in_link(LANGUAGE_KEY, browser_language(st.context.locale))
st.html(
    f"<script>document.documentElement.lang = {language()!r}</script>",
    unsafe_allow_javascript=True,
)

try:
    session.begin_run()
except SettingsError as error:
    st.title(_("The settings have a mistake"))
    st.error("\n\n".join(map(shown_in_line, str(error).splitlines())), icon=":material/settings_alert:")
    st.caption(_("Correct the file and reload this page. Nothing that is stored was touched."))
    st.stop()

begin_page(page.url_path)
page.run()
