"""What can be done with one entry: pin it, let it live longer, remove it and put it back."""

from __future__ import annotations

import time
from collections.abc import Callable

import streamlit as st

from cache_backends import CacheEntry, CacheError
from lab.strategies import StrategyUnavailableError
from ui import choices, entries_state
from ui.entries_state import UNDO_S, Removed
from ui.language import _
from ui.numbers import count
from ui.places import in_its_place, keep_place
from ui.safe_text import shown_in_line

TTL_CHOICES = ("none", "10m", "1h", "1d", "7d", "30d")


def show_changes(entry: CacheEntry) -> None:
    """The buttons."""
    with st.container(border=True):
        st.toggle(
            _("Pinned"), value=entry.pinned,
            key=f"entry_pin_{entry.key}_{entries_state.state().version}_{entry.pinned}",  # as it is, whoever changed it
            on_change=_pin, args=(entry, not entry.pinned),
            help=_("A pinned entry neither expires nor is evicted. A new answer under the same key is not pinned."),
        )  # fmt: skip
        ttl, button = st.columns([1.4, 1], vertical_alignment="bottom")
        st.session_state.setdefault("entry_ttl", TTL_CHOICES[2])
        choices.select(ttl, _("Keep for"), TTL_CHOICES, key="entry_ttl", title=_ttl_title)
        button.button(_("Set"), key="entry_ttl_set", on_click=_set_ttl, args=(entry,), width="stretch")
        st.button(
            _("Delete"), key="entry_delete", icon=":material/delete:", on_click=entries_state.remove, args=(entry,),
            width="stretch",
        )  # fmt: skip


def show_messages() -> None:
    """What was done last, and how to undo it."""
    state = entries_state.state()
    _show_what_was_done(state.mistake, state.message)
    if state.removed is not None and time.monotonic() - state.removed.at >= UNDO_S:
        state.removed = None
    if state.removed is None:
        keep_place()
    else:
        _show_undo(state.removed)


@in_its_place
def _show_what_was_done(mistake: str | None, message: str | None) -> None:
    if mistake is not None:
        st.error(shown_in_line(mistake), icon=":material/error:")
    if message is not None:
        st.success(message, icon=":material/check:")


@st.fragment(run_every=1.0)
def _show_undo(removed: Removed) -> None:
    left_s = UNDO_S - (time.monotonic() - removed.at)
    if left_s <= 0 or entries_state.state().removed is not removed:  # it is too late, or was undone just now
        st.rerun()
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="entries_removed"):
        st.markdown(
            _("Deleted: {prompt}").format(prompt=f"“{shown_in_line(' '.join(removed.entry.prompt[:90].split()))}”"),
            width="stretch",
        )
        st.button(
            _("Undo ({seconds} s)").format(seconds=count(int(left_s) + 1)),
            key="entry_undo",
            icon=":material/undo:",
            on_click=entries_state.undo,
        )


def _pin(entry: CacheEntry, pinned: bool) -> None:
    _change(
        lambda: entries_state.cache().pin(entry.key, pinned),
        _("The entry is pinned now.") if pinned else _("The entry is not pinned any more."),
    )


def _set_ttl(entry: CacheEntry) -> None:
    choice = choices.chosen("entry_ttl") or TTL_CHOICES[2]
    _change(
        lambda: entries_state.cache().set_ttl(entry.key, None if choice == "none" else choice),
        _("Kept from now on: {ttl}.").format(ttl=_ttl_title(choice)),
    )


def _change(change: Callable[[], bool], done: str) -> None:
    state = entries_state.state()
    entries_state.forget_words()
    try:
        was_there = change()
    except (CacheError, StrategyUnavailableError) as error:
        state.mistake = entries_state.safe(str(error))
    else:
        if was_there:
            state.message = done
        else:
            state.mistake = _("The entry is not there any more.")
    entries_state.changed()


def _ttl_title(choice: str) -> str:
    return {
        "none": _("For ever"),
        "10m": _("10 minutes"),
        "1h": _("1 hour"),
        "1d": _("1 day"),
        "7d": _("7 days"),
        "30d": _("30 days"),
    }[choice]
