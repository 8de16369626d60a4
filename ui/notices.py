"""What a person should know: what went wrong just now, and what happened to a store."""

from __future__ import annotations

import streamlit as st

from ui.language import _
from ui.places import in_its_place
from ui.safe_text import shown_in_line
from ui.session import laboratory


@in_its_place
def show_notices() -> None:
    """A warning for each thing that happened to a store."""
    for notice in dict.fromkeys(laboratory().notices()):
        st.warning(
            _("Something happened to a store: {notice}").format(notice=shown_in_line(notice)), icon=":material/healing:"
        )


@in_its_place
def show_mistake(mistake: str | None) -> None:
    """What was wrong and what to do, if anything was."""
    if mistake is not None:
        st.error(shown_in_line(mistake), icon=":material/error:")
