"""The table of entries: what stands in its cells, and what a click in it does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from cache_backends import EntrySummary
from cache_backends.records import EntryOrder
from ui import entries_state
from ui.entries_controls import order_title
from ui.language import _
from ui.numbers import DASH, ago, count, duration, moment, size, span

ROW_HEIGHT, ROWS_SEEN = 35, 15


def show_table(entries: Sequence[EntrySummary]) -> None:
    """One page of them. A tick before a row opens its entry, a click on a column's title orders by it."""
    state = entries_state.state()
    table_key = f"entries_table_{state.tables}"
    state.shown = tuple(entry.key for entry in entries)
    st.dataframe(
        table(entries, time.time(), st.context.timezone, st.session_state["entries_order"]),
        key=table_key,
        hide_index=True,
        height=ROW_HEIGHT * (min(ROWS_SEEN, max(1, len(entries))) + 1) + 3,
        row_height=ROW_HEIGHT,
        column_config=_columns(),
        on_select=partial(_selected, table_key),  # which Streamlit keeps: with the page it would keep all pages
        selection_mode=["single-row", "single-column"],
        alt=_("{count} entries of the list").format(count=count(len(entries))),
    )
    st.caption(
        _(
            "Tick the box before a row to open its entry; click the title of a column from “Stored” on to order all "
            "entries by it."
        )
        + " "
        + _("A bar shows how much of an entry's time to live is left.")
    )


def _selected(table_key: str) -> None:
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
    "model_time": "model_time_s",
    "hits": "hits",
    "size": "size_bytes",
    "time_left": "expires_at",
    "life": "expires_at",
}


def table(
    entries: Sequence[EntrySummary], now: float, timezone: str | None, order: EntryOrder = "created_at"
) -> Styler:
    """The rows of the list; what stands in a cell is text, whatever was stored. What it is ordered by is among it."""
    frame = pd.DataFrame(
        {
            "prompt": [one_line(entry.prompt) for entry in entries],
            "answer": [one_line(entry.answer) for entry in entries],
            "model": [entry.model or DASH for entry in entries],
            "created_at": [moment(entry.created_at, timezone)[:-3] for entry in entries],
            "last_used_at": [ago(now - entry.last_used_at) for entry in entries],
            "model_time": [duration(entry.model_time_s) for entry in entries],
            "hits": [entry.hits for entry in entries],
            "size": [entry.size_bytes for entry in entries],
            "life": [life_left(entry, now) for entry in entries],
            "time_left": [time_left(entry, now) for entry in entries],
        }
    )
    left_out = "last_used_at" if order == "model_time_s" else "model_time"  # there is no room for both
    return frame.drop(columns=left_out).style.format({"hits": count, "size": size})


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
        "model_time": column.TextColumn(order_title("model_time_s"), width=85),
        "hits": column.NumberColumn(order_title("hits"), width=58),
        "size": column.NumberColumn(order_title("size_bytes"), width=70),
        "life": column.ProgressColumn(_("Life left"), min_value=0, max_value=100, format="%d %%", width=82),
        "time_left": column.TextColumn(order_title("expires_at"), width=88),
    }
