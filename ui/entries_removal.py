"""Removing many entries: all that match, all that have expired, all of a strategy; what became of it."""

from __future__ import annotations

import time

import streamlit as st

from lab import browsing, removal
from lab.browsing import ListRequest
from lab.jobs import TooManyJobsError
from lab.removal import Removal, RemovalJob, Remove
from ui import entries_state, words
from ui.language import _, ngettext
from ui.numbers import count
from ui.places import in_its_place
from ui.safe_text import shown_in_line
from ui.session import laboratory

POLL_S = 0.5
SURE_OF_KEY = "remove_matching_sure_of"


def show_removal(asked: ListRequest, total: int | None, expired: int | None) -> None:
    """The three ways to remove many."""
    job = entries_state.state().removing
    idle = job is None or job.finished
    first, second, third = st.columns(3, gap="large")
    with first:
        st.markdown("##### " + _("What matches"))
        st.markdown(_("All entries that the search and the choices above leave, on every page of the list."))
        _ask_whether_sure(asked, total, idle=idle)
        st.button(
            _("Remove what matches"), key="remove_matching", icon=":material/delete_sweep:",
            on_click=_begin, args=(removal.matching(asked.entries, time.time()),),
            disabled=not idle or not total or not st.session_state.get("remove_matching_sure"),
        )  # fmt: skip
    with second:
        st.markdown("##### " + _("What has expired"))
        st.markdown(_("Entries whose time to live is over. They give no answers any more, and only take up room."))
        label = _("Remove expired entries")
        if expired is not None:
            label = ngettext("Remove {count} expired entry", "Remove {count} expired entries", expired).format(
                count=count(expired)
            )
        st.button(
            label, key="remove_expired", icon=":material/auto_delete:", on_click=_begin, args=(removal.expired,),
            disabled=not idle or expired == 0,
        )  # fmt: skip
    with third:
        title = words.strategy(laboratory(), asked.strategy)
        st.markdown("##### " + _("Everything"))
        st.markdown(
            _(
                "Every entry of {strategy} in this namespace, whatever is chosen above. Type its name to confirm."
            ).format(strategy=shown_in_line(title))
        )
        typed = st.text_input(_("Name of the strategy"), key="entries_clear_name", placeholder=title, live="200ms")
        st.button(
            _("Remove everything"), key="entries_clear", icon=":material/delete_forever:",
            on_click=_begin, args=(removal.everything,),
            disabled=not idle or typed.strip().casefold() != title.casefold(),
        )  # fmt: skip
    _show_job()


@in_its_place
def _ask_whether_sure(asked: ListRequest, total: int | None, *, idle: bool) -> None:
    if total is not None:
        _ask_again_for(asked)
        st.checkbox(
            ngettext("Yes, remove {count} entry", "Yes, remove {count} entries", total).format(count=count(total)),
            key="remove_matching_sure", disabled=not total or not idle,
        )  # fmt: skip


def _ask_again_for(asked: ListRequest) -> None:
    """Whoever was sure of what matched before is asked again of what matches now."""
    sure_of = (asked.strategy, asked.namespace, entries_state.search(), entries_state.narrowing())
    if st.session_state.get(SURE_OF_KEY) != sure_of:
        st.session_state[SURE_OF_KEY] = sure_of
        st.session_state["remove_matching_sure"] = False


def _begin(remove: Remove) -> None:
    lab, state = laboratory(), entries_state.state()
    strategy, namespace = entries_state.strategy(), entries_state.namespace()
    entries_state.forget_words()
    st.session_state["remove_matching_sure"] = False
    st.session_state["entries_clear_name"] = ""
    try:
        state.removing_from = strategy
        state.removing = lab.jobs.start(lambda job: remove(browsing.cache_of(lab, strategy, namespace), job))
    except TooManyJobsError:
        state.mistake = words.too_many_requests()


def _show_job() -> None:
    job = entries_state.state().removing
    if job is None:
        return
    with st.container(key="removal_result"):
        if not entries_state.has_ended(job):
            _watch(job)
        elif job.result is not None:
            show_result(job.result)
        else:
            st.error(
                shown_in_line(entries_state.safe(str(job.error), entries_state.state().removing_from)),
                icon=":material/error:",
            )


@st.fragment(run_every=POLL_S)
def _watch(job: RemovalJob) -> None:
    if job.finished:
        st.rerun()
    steps = job.progress
    text = _("Entries are being removed")
    if steps:
        text = _("{removed} of {of} entries removed").format(removed=count(steps[-1].removed), of=count(steps[-1].of))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(min(1.0, steps[-1].removed / max(1, steps[-1].of)) if steps else 0.0, text=text)
        st.button(_("Stop"), key="removal_stop", icon=":material/stop_circle:", on_click=job.stop)


def show_result(result: Removal) -> None:
    """What became of it."""
    text = ngettext("{count} entry removed.", "{count} entries removed.", result.removed).format(
        count=count(result.removed)
    )
    if result.error is not None:
        reason = shown_in_line(entries_state.safe(result.error, entries_state.state().removing_from))
        st.error(f"{text} {_('The rest could not be: {reason}').format(reason=reason)}", icon=":material/error:")
    elif result.stopped:
        st.warning(f"{_('Stopped.')} {text}", icon=":material/stop_circle:")
    else:
        st.success(text, icon=":material/check:")
