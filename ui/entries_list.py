"""The list of entries, page by page, while its index, its counts and itself may still be on their way."""

from __future__ import annotations

import time

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cache_backends import EntryPage
from lab.browsing import ListJob, NoSuchPlaceError, TallyJob
from lab.indexing import IndexJob, StoppedError
from ui import entries_state, words
from ui.entries_jobs import Begun, begin_counts, is_behind
from ui.entries_table import show_table
from ui.language import _, ngettext
from ui.numbers import count
from ui.places import keep_place
from ui.safe_text import shown_in_line
from ui.waiting import wait_for

POLL_S = 0.5
COUNTED_IN_SILENCE_S = 1.0


def show_list(begun: Begun, counting: TallyJob | None, *, is_counted: bool) -> EntryPage | None:
    """One page in whatever state it is, and how far its index and its counts are; the page once it is there."""
    job = begun.listing
    is_there = job is not None and wait_for("list")
    page = job.result if job is not None and is_there else None
    has_rows = page is not None and (bool(page.entries) or begun.asked.after is not None)
    if has_rows:
        keep_place()  # it stands beside the buttons then
    else:
        _watch_progress(begun)
    beside: DeltaGenerator | None = None
    with st.container(key="entries_result"):
        if job is None:
            st.error(words.too_many_requests())
        elif not is_there:
            _watch_list(job)
        elif job.error is not None:
            _show_failure(job.error)
        elif page is not None and has_rows:
            beside = _show_page(page, begun)
        elif page is not None and not begun.lacked_entries:  # else nobody knows yet that there is nothing
            _show_nothing()
    counting = counting or begin_counts(begun, is_shown=True)
    if counting is None or is_counted or counting.error is not None:
        keep_place()
    elif beside is not None and not begun.lacked_entries:  # else the progress of the index stands there
        with beside:
            _watch_counts(counting, says_so=True)
        keep_place()
    else:
        _watch_counts(counting, says_so=False)
    return page


def _watch_progress(begun: Begun) -> None:
    """How far the index is: beside the buttons of a list, which would move if it came and went above them."""
    if begun.index is None:
        keep_place()
    elif begun.lacked_entries:
        _watch_index(begun.index)
    else:
        _watch_rest(begun.index)


@st.fragment(run_every=POLL_S)
def _watch_index(index: IndexJob) -> None:
    if not is_behind(index):
        st.rerun()
    steps = index.progress
    with st.container(key="entries_indexing"):
        if not steps or not steps[-1].of:
            st.progress(0.0, text=_("Looking for what is new."))
            return
        newest = steps[-1]
        st.progress(
            min(1.0, newest.looked_at / (newest.of or 1)),
            text=_("{done} of {all} entries looked at so far.").format(
                done=count(newest.looked_at), all=count(newest.of or 0)
            ),
        )


@st.fragment(run_every=POLL_S)
def _watch_rest(index: IndexJob) -> None:
    """What was removed elsewhere is taken out of the index last: list and count anew when that is done."""
    if index.finished:
        st.rerun()


@st.fragment(run_every=POLL_S)
def _watch_counts(counting: TallyJob, *, says_so: bool) -> None:
    if counting.finished:
        st.rerun()
    if says_so and time.monotonic() - counting.began_at >= COUNTED_IN_SILENCE_S:
        st.caption(_("Still counting the choices above."))


@st.fragment(run_every=POLL_S)
def _watch_list(job: ListJob) -> None:
    if job.finished:
        st.rerun()
    steps = job.progress
    with st.container(horizontal=True, vertical_alignment="center"):
        of = steps[-1].of if steps else None
        text = _("Looking through the entries")
        if steps:
            text = _("{done} entries looked at").format(done=count(steps[-1].looked_at))
        st.progress(min(1.0, steps[-1].looked_at / of) if steps and of else 0.0, text=text)
        st.button(_("Stop"), key="entries_stop", icon=":material/stop_circle:", on_click=job.stop)


def _show_failure(error: Exception) -> None:
    if isinstance(error, StoppedError):
        st.info(_("Stopped. Nothing is shown of what was found so far."), icon=":material/stop_circle:")
    elif isinstance(error, NoSuchPlaceError):
        st.warning(
            _("This link names a place that is none in this list. Begin at the first page."), icon=":material/link_off:"
        )
    else:
        reason = shown_in_line(entries_state.safe(str(error)))
        st.error(_("The entries can't be listed now: {reason}").format(reason=reason), icon=":material/cloud_off:")
    with st.container(horizontal=True):
        st.button(_("Try again"), key="entries_again", icon=":material/refresh:", on_click=entries_state.refresh)
        st.button(_("First page"), key="entries_first_again", on_click=entries_state.first_page)


def _show_page(page: EntryPage, begun: Begun) -> DeltaGenerator:
    """A page of the list; the place beside its buttons for what may come and go."""
    asked = begun.asked
    # On the left: what Streamlit shows above a table's right end while the mouse is over it would cover buttons there.
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            _("First page"), key="entries_first", icon=":material/first_page:",
            on_click=entries_state.first_page, disabled=asked.after is None,
        )  # fmt: skip
        st.button(
            _("Previous"), key="entries_previous", icon=":material/chevron_left:",
            on_click=entries_state.previous_page, disabled=asked.after is None,
        )  # fmt: skip
        st.button(
            _("Next"), key="entries_next", icon=":material/chevron_right:", icon_position="right",
            on_click=entries_state.next_page, args=(page.next or "",), disabled=page.next is None,
        )  # fmt: skip
        st.markdown(f"**{_found(page)}**", width="content", help=_not_all_yet() if begun.lacked_entries else None)
        _watch_progress(begun)
        beside = st.container(width="content")
    show_table(page.entries)
    return beside


def _found(page: EntryPage) -> str:
    if entries_state.search() or entries_state.narrowing().is_chosen:
        return ngettext("{count} entry matches", "{count} entries match", page.total).format(count=count(page.total))
    return ngettext("{count} entry", "{count} entries", page.total).format(count=count(page.total))


def _not_all_yet() -> str:
    return _(
        "The index for browsing is being brought up to date. What is shown and counted here is what can be found so "
        "far."
    )


def _show_nothing() -> None:
    with st.container(border=True, key="entries_empty"):
        if entries_state.search() or entries_state.narrowing().is_chosen:
            st.markdown("#### " + _("Nothing matches"))
            st.markdown(
                _("No entry has all of these words and properties. Words are found by how they begin; try fewer.")
            )
            st.button(
                _("Show all entries"), key="entries_show_all", icon=":material/filter_alt_off:",
                on_click=entries_state.clear_narrowing,
            )  # fmt: skip
            return
        st.markdown("#### " + _("Nothing is stored here yet"))
        st.markdown(
            _(
                "Ask something on the playground with this strategy, and its answer appears here. Entries of another "
                "cache can be imported below."
            )
        )
        st.page_link("../pages/playground.py", label=_("Go to the playground"), icon=":material/bolt:")
