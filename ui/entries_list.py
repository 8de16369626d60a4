"""The list of entries: found, counted, shown page by page, while its index may still be on its way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from cache_backends import EntryPage, EntrySummary, Tally
from cache_backends.records import EntryOrder
from lab import browsing, facets
from lab.browsing import ListJob, ListRequest, TallyJob
from lab.indexing import IndexJob, StoppedError
from lab.jobs import TooManyJobsError
from ui import entries_state
from ui.entries_controls import order_title
from ui.language import _, ngettext
from ui.numbers import DASH, ago, count, moment, size, span
from ui.safe_text import shown_in_line
from ui.session import laboratory
from ui.waiting import begin, is_begun, wait_for

POLL_S = 0.5
INDEX_PATIENCE_S = 0.15
ROW_HEIGHT, ROWS_SEEN = 35, 15
COUNTS_PATIENCE_S = 0.02
"""So long the page waits for counts once there is a list: what each choice would leave stands in no choice that is
closed."""
COUNTED_BEFORE_SHOWN = 10_000
"""So many entries that a search has found are counted by kind within that time."""
COUNTED_IN_SILENCE_S = 1.0
COUNTS_KEPT_S = 10.0
"""So long what took a while to count is shown as it was, while one goes from page to page."""


@dataclass(frozen=True)
class Begun:
    """A page of a list on its way; without a job where too many are running."""

    asked: ListRequest
    listing: ListJob | None
    index: IndexJob | None
    """Where it was not up to date when this began: entries may be missing, or be counted that are gone."""
    lacked_entries: bool
    of: tuple[object, ...]
    """What it is a list of, and in which state that was: as long as this is the same, so is what is found there."""


def begin_index() -> IndexJob | None:
    """Have the index brought up to date, and wait a little: most often nothing, or a few entries, are new."""
    strategy, state = entries_state.strategy(), entries_state.state()
    at_once, state.indexed_version = state.version != state.indexed_version, state.version
    try:
        job = laboratory().indexing.begin(
            strategy, lambda: browsing.cache_of(laboratory(), strategy, "default"), at_once=at_once
        )
    except TooManyJobsError:
        return None
    until = time.monotonic() + INDEX_PATIENCE_S
    while not job.finished and not _has_all_that_is_new(job) and time.monotonic() < until:
        job.wait(0.005)
    return job


def begin_list(index: IndexJob | None) -> Begun:
    """Begin to list a page."""
    state = entries_state.state()
    unfinished = index if index is not None and not index.finished else None
    lacks = unfinished is not None and is_behind(unfinished)
    if unfinished is None:
        state.settled_version = state.version
    elif not lacks and state.settled_version == state.version:
        unfinished = None  # somebody else changes something all the time: a list that follows each change would jump
    asked = entries_state.request()
    of = (asked.strategy, asked.namespace, state.version, unfinished is None, lacks)
    listing: ListJob | None = None
    with contextlib.suppress(TooManyJobsError):
        listing = begin("list", (*of, _without_now(asked)), lambda: browsing.start_list(laboratory(), asked))
    return Begun(asked, listing, unfinished, lacks, of)


def begin_counts(begun: Begun, *, is_shown: bool = False) -> TallyJob | None:
    """Begin to count what the list can be narrowed by, once there is a list: at the same time each would slow the other
    down. Where that takes long, not before the list `is_shown`."""
    if begun.listing is None or not wait_for("list") or begun.listing.result is None:
        return None
    asked, hour = begun.asked, facets.begin_of_hour(time.time())
    search = asked.entries.search
    key = (*begun.of, search, hour)
    takes_long = bool(search) and begun.listing.result.total > COUNTED_BEFORE_SHOWN
    if takes_long and not is_shown and not is_begun("tally", key):
        return None
    with contextlib.suppress(TooManyJobsError):
        return begin(
            "tally",
            key,
            lambda: browsing.start_tally(laboratory(), asked.strategy, asked.namespace, search, facets.age_marks(hour)),
            keep_s=COUNTS_KEPT_S,
        )
    return None


def counts(counting: TallyJob | None) -> Sequence[Tally] | None:
    """How many of the entries found there are of each kind; None while that is being counted."""
    if counting is None or not wait_for("tally", COUNTS_PATIENCE_S):
        return None
    return counting.result


def show_list(begun: Begun, counting: TallyJob | None, *, is_counted: bool) -> EntryPage | None:
    """One page in whatever state it is, and how far its index and its counts are; the page once it is there."""
    if begun.index is not None and begun.lacked_entries:
        _watch_index(begun.index)
    elif begun.index is not None:
        _watch_rest(begun.index)
    if begun.listing is None:
        st.error(_("So many requests are running that this one was not begun. Try again in a moment."))
        return None
    page: EntryPage | None = None
    with st.container(key="entries_result"):
        job = begun.listing
        if not wait_for("list"):
            _watch_list(job)
        elif job.error is not None:
            _show_failure(job.error)
        elif job.result is not None:
            page = job.result
            if page.entries or not begun.lacked_entries:  # else nobody knows yet that there is nothing
                _show_page(page, begun.asked)
    counting = counting or begin_counts(begun, is_shown=True)
    if counting is not None and not is_counted and counting.error is None:
        _watch_counts(counting)
    return page


def is_behind(index: IndexJob) -> bool:
    """Whether what is shown may lack entries that are there."""
    return not index.finished and not _has_all_that_is_new(index)


def _has_all_that_is_new(index: IndexJob) -> bool:
    steps = index.progress
    return bool(steps) and steps[-1].looked_at == steps[-1].of


@st.fragment(run_every=POLL_S)
def _watch_index(index: IndexJob) -> None:
    if not is_behind(index):
        st.rerun()
    steps = index.progress
    with st.container(border=True, key="entries_indexing"):
        if not steps or not steps[-1].of:
            st.progress(0.0, text=_("Looking for what is new. What is shown below is what was found before."))
            return
        newest = steps[-1]
        st.progress(
            min(1.0, newest.looked_at / (newest.of or 1)),
            text=_(
                "{done} of {all} entries can be found so far: the index for browsing is being made. What is shown and "
                "counted below is among those."
            ).format(done=count(newest.looked_at), all=count(newest.of or 0)),
        )


@st.fragment(run_every=POLL_S)
def _watch_rest(index: IndexJob) -> None:
    """What was removed elsewhere is taken out of the index last: list and count anew when that is done."""
    if index.finished:
        st.rerun()


@st.fragment(run_every=POLL_S)
def _watch_counts(counting: TallyJob) -> None:
    if counting.finished:
        st.rerun()
    if time.monotonic() - counting.began_at >= COUNTED_IN_SILENCE_S:
        st.caption(_("What each choice above would leave is still being counted."))


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
    elif isinstance(error, ValueError):  # of a cursor: all else that a list is asked for is chosen among
        st.warning(
            _("This link names a place that is none in this list. Begin at the first page."), icon=":material/link_off:"
        )
    else:
        reason = shown_in_line(entries_state.safe(str(error)))
        st.error(_("The entries can't be listed now: {reason}").format(reason=reason), icon=":material/cloud_off:")
    with st.container(horizontal=True):
        st.button(_("Try again"), key="entries_again", icon=":material/refresh:", on_click=entries_state.refresh)
        st.button(_("First page"), key="entries_first_again", on_click=entries_state.first_page)


def _show_page(page: EntryPage, asked: ListRequest) -> None:
    if not page.entries and asked.after is None:
        _show_nothing()
        return
    state = entries_state.state()
    # On the left: what Streamlit shows above a table's right end while the mouse is over it would cover buttons there.
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            _("First page"), key="entries_first", icon=":material/first_page:",
            on_click=entries_state.first_page, disabled=asked.after is None,
        )  # fmt: skip
        st.button(
            _("Previous"), key="entries_previous", icon=":material/chevron_left:",
            on_click=entries_state.previous_page, disabled=not entries_state.pages_before(),
        )  # fmt: skip
        st.button(
            _("Next"), key="entries_next", icon=":material/chevron_right:", icon_position="right",
            on_click=entries_state.next_page, args=(page.next or "",), disabled=page.next is None,
        )  # fmt: skip
        st.markdown(f"**{_found(page)}**", width="content")
    table_key = f"entries_table_{state.tables}"
    state.shown = tuple(entry.key for entry in page.entries)
    st.dataframe(
        table(page.entries, time.time(), st.context.timezone),
        key=table_key,
        hide_index=True,
        height=ROW_HEIGHT * (min(ROWS_SEEN, max(1, len(page.entries))) + 1) + 3,
        row_height=ROW_HEIGHT,
        column_config=_columns(),
        on_select=partial(_selected, table_key),  # which Streamlit keeps: with the page it would keep all pages
        selection_mode=["single-row", "single-column"],
        alt=_("{count} entries of the list").format(count=count(len(page.entries))),
    )
    st.caption(
        _("Tick the box before a row to open its entry; click a column's title to order all entries by it.")
        + " "
        + _("A bar shows how much of an entry's time to live is left.")
    )


def _found(page: EntryPage) -> str:
    if entries_state.search() or entries_state.narrowing().is_chosen:
        return ngettext("{count} entry matches", "{count} entries match", page.total).format(count=count(page.total))
    return ngettext("{count} entry", "{count} entries", page.total).format(count=count(page.total))


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


def _selected(table_key: str) -> None:
    """A tick before a row opens its entry, a click on a column's title orders by it."""
    selection = st.session_state[table_key]["selection"]
    shown = entries_state.state().shown
    for row in selection.get("rows", ()):
        if 0 <= row < len(shown):
            entries_state.open_entry(shown[row])
            return
    for column in selection.get("columns", ()):
        order = _ORDER_OF.get(column)
        if order is not None:
            entries_state.order_by(order)
        else:
            entries_state.leave_table()


_ORDER_OF: dict[str, EntryOrder] = {
    "created_at": "created_at",
    "last_used_at": "last_used_at",
    "hits": "hits",
    "size": "size_bytes",
    "time_left": "expires_at",
    "life": "expires_at",
}


def table(entries: Sequence[EntrySummary], now: float, timezone: str | None) -> Styler:
    """The rows of the list; what stands in a cell is text, whatever was stored."""
    frame = pd.DataFrame(
        {
            "prompt": [one_line(entry.prompt) for entry in entries],
            "answer": [one_line(entry.answer) for entry in entries],
            "model": [entry.model or DASH for entry in entries],
            "created_at": [moment(entry.created_at, timezone)[:-3] for entry in entries],
            "last_used_at": [ago(now - entry.last_used_at) for entry in entries],
            "hits": [entry.hits for entry in entries],
            "size": [entry.size_bytes for entry in entries],
            "life": [life_left(entry, now) for entry in entries],
            "time_left": [time_left(entry, now) for entry in entries],
        }
    )
    return frame.style.format({"hits": count, "size": size})


def one_line(text: str) -> str:
    """A text for a cell: in one line, with a sign for what can't be seen."""
    return " ".join(text.replace("\0", "\u2400").split())


def life_left(entry: EntrySummary, now: float) -> float | None:
    """How much of an entry's time to live is left, in per cent; None for what never ends."""
    if entry.expires_at is None or entry.pinned:
        return None
    whole = entry.expires_at - entry.created_at
    return min(100.0, max(0.0, 100 * (entry.expires_at - now) / whole)) if whole > 0 else 0.0


def time_left(entry: EntrySummary, now: float) -> str:
    """How long an entry may still be used, in words."""
    if entry.pinned:
        return _("Pinned")
    if entry.expires_at is None:
        return _("For ever")
    if entry.is_expired(now):
        return _("Expired")
    return span(entry.expires_at - now)


def _columns() -> dict[str, Any]:
    column = st.column_config
    return {
        "prompt": column.TextColumn(_("Prompt"), width=134),
        "answer": column.TextColumn(_("Answer"), width=112),
        "model": column.TextColumn(_("Model"), width=92),
        "created_at": column.TextColumn(order_title("created_at"), width=118),
        "last_used_at": column.TextColumn(order_title("last_used_at"), width=85),
        "hits": column.NumberColumn(order_title("hits"), width=58),
        "size": column.NumberColumn(order_title("size_bytes"), width=70),
        "life": column.ProgressColumn(_("Life left"), min_value=0, max_value=100, format="%d %%", width=82),
        "time_left": column.TextColumn(order_title("expires_at"), width=88),
    }


def _without_now(asked: ListRequest) -> tuple[object, ...]:
    """What makes a list another one: not the second at which it is asked for."""
    return (entries_state.search(), entries_state.narrowing(), asked.order_by, asked.descending, asked.after)
