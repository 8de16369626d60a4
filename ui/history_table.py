"""The list of the newest requests, and what can be done with all of them: download, clear."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from lab.csv_export import csv_of
from lab.history import History
from lab.laboratory import Laboratory
from ui import words
from ui.language import _, language
from ui.numbers import DASH, count, duration, money
from ui.session import laboratory, scope

TABLE_ROWS = 100
TABLE_HEIGHT = 320
ROW_HEIGHT = 35
"""Pixels, as Streamlit draws tables."""


def show_table(lab: Laboratory, whose: str, version: str, requests: int) -> None:
    """The newest requests, and what can be done with all `requests` of them."""
    _draw_table(lab, lab.settings.data_dir, whose, version, language(), st.context.timezone)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            _("The newest {shown} of {total} requests.").format(
                shown=count(min(TABLE_ROWS, requests)), total=count(requests)
            )
        )
        st.download_button(
            _("Download all as CSV"),
            data=partial(_csv, lab.history, whose),
            file_name="llm-cache-history.csv",
            mime="text/csv",
            key="download_history",
            icon=":material/download:",
            on_click="ignore",
        )
        clear_button()


def clear_button() -> None:
    """Remove all measurements of this scope, after a second click."""
    with st.popover(_("Clear history"), icon=":material/delete_sweep:"):
        st.markdown(_("This removes all measurements shown here. What the caches hold stays."))
        if laboratory().settings.sharing == "shared":
            st.caption(_("All visitors share this history."))
        st.button(_("Remove all measurements"), key="clear_history", type="primary", on_click=_clear)


def _clear() -> None:
    laboratory().history.clear(scope())


@st.cache_data(show_spinner=False, max_entries=50)
def _draw_table(
    _lab: Laboratory,
    data_dir: Path,  # noqa: ARG001  # these three are part of the key: the same table is drawn only once
    whose: str,
    version: str,  # noqa: ARG001
    code: str,  # noqa: ARG001
    timezone: str | None,
) -> None:
    table = _table(_lab, whose)
    with st.container(key="history_table"):
        st.dataframe(
            table,
            hide_index=True,
            height=TABLE_HEIGHT if len(table.index) > TABLE_HEIGHT // ROW_HEIGHT else "auto",
            placeholder=DASH,
            key="history_rows",
            alt=_("The newest requests with their outcomes and times"),
            column_config={
                "request": st.column_config.NumberColumn(_("Request"), width="small"),
                "prompt": st.column_config.TextColumn(_("Prompt"), width="medium"),
                "outcome": st.column_config.TextColumn(_("Outcome"), width=125),
                "strategy": st.column_config.TextColumn(_("Strategy")),
                "total_s": st.column_config.NumberColumn(_("Total"), width="small"),
                "lookup_s": st.column_config.NumberColumn(_("Lookup"), width="small"),
                "model_s": st.column_config.NumberColumn(_("Model"), width="small"),
                "store_s": st.column_config.NumberColumn(_("Store"), width="small"),
                "saved_s": st.column_config.NumberColumn(_("Time saved"), width=105),
                "saved_usd": st.column_config.NumberColumn(_("Money saved"), width=105),
                "asked_at": st.column_config.DatetimeColumn(
                    _("Asked"), format="YYYY-MM-DD HH:mm:ss", timezone=timezone
                ),
                "model": st.column_config.TextColumn(_("Model asked")),
                "failure": st.column_config.TextColumn(_("What failed")),
            },
        )


def _table(lab: Laboratory, whose: str) -> Styler:
    """The newest requests, numbers kept as numbers for sorting and shown in the session's language."""
    newest = lab.history.newest(whose, TABLE_ROWS)
    outcomes = newest["outcome"].where(newest["failure"].isna(), "error")
    seconds = ["total_s", "lookup_s", "model_s", "store_s", "saved_s"]
    frame = pd.DataFrame(
        {
            "request": newest["request"],
            "prompt": newest["prompt"],
            "outcome": outcomes.map({name: words.outcome(name) for name in outcomes.unique()}),
            "strategy": newest["strategy"].map(
                {name: words.strategy(lab, name) for name in newest["strategy"].unique()}
            ),
            **{name: newest[name].astype(float).replace(0.0, math.nan) for name in seconds},  # 0: never begun
            "saved_usd": newest["saved_usd"].astype(float),
            "asked_at": pd.to_datetime(newest["asked_at"], unit="s", utc=True),
            "model": newest["model"].map({name: words.model(lab, name) for name in newest["model"].unique()}),
            "failure": newest["failure"].map(words.failure, na_action="ignore").fillna(""),
        }
    )
    return frame.style.format({"request": count, "saved_usd": money, **dict.fromkeys(seconds, duration)})


def _csv(history: History, whose: str) -> bytes:
    """The whole history as CSV (UTF-8 with a mark that spreadsheets recognise), formulas defused."""
    return csv_of(history.export(whose)).encode("utf-8-sig")
