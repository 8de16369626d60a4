"""What stands below the list, folded away until somebody wants it: a glance, moving, removing."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from cache_backends import EntryPage, Tally
from lab.browsing import ListRequest
from ui.entries_glance import show_glance
from ui.entries_removal import show_removal
from ui.entries_transfer import show_transfer
from ui.language import _


def show_more(asked: ListRequest, page: EntryPage | None, tallies: Sequence[Tally] | None) -> None:
    """The three, each worked out only while it is open."""
    at_a_glance = st.expander(
        _("At a glance"), icon=":material/monitoring:", key="entries_glance_open", on_change="rerun"
    )
    if at_a_glance.open:
        with at_a_glance:
            show_glance()
    move = st.expander(
        _("Export and import"), icon=":material/swap_vert:", key="entries_transfer_open", on_change="rerun"
    )
    if move.open:
        with move:
            show_transfer(asked, None if page is None else page.total)
    remove = st.expander(
        _("Remove many"), icon=":material/delete_sweep:", key="entries_removal_open", on_change="rerun"
    )
    if remove.open:
        expired = None if tallies is None else sum(one.entries for one in tallies if one.is_expired)
        with remove:
            show_removal(asked, None if page is None else page.total, expired)
