"""The history: what all requests came to, their latencies, hit ratios, and the list of them."""

from __future__ import annotations

import time
from functools import partial

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from lab.csv_export import csv_of
from lab.history import History, Totals
from lab.laboratory import Laboratory
from ui import words
from ui.charts import hit_ratio_chart, latency_chart
from ui.language import _, language, ngettext
from ui.numbers import DASH, ago, count, duration, money, of, ratio, times
from ui.session import laboratory, scope

FIGURE_WIDTHS = (0.82, 0.92, 1, 1.06, 1, 1.3)
TABLE_ROWS = 200
TABLE_HEIGHT = 320
ROW_HEIGHT = 35
"""Pixels, as Streamlit draws tables."""
WINDOWS = {"200": 200, "2000": 2000, "all": None}
"""How many of the newest requests the charts show."""


def show_key_figures() -> None:
    """One row that answers how much faster, how much saved, on how many requests."""
    totals = _totals(laboratory().history, scope(), _version())
    by_hits = ngettext("by {n} hit", "by {n} hits", totals.hits).format(n=count(totals.hits))
    failed = ngettext("{n} failed", "{n} failed", totals.failures).format(n=count(totals.failures))
    figures = (
        (_("Requests"), count(totals.requests), failed),
        (_("Hit ratio"), ratio(totals.hits, totals.lookups), of(totals.hits, totals.lookups)),
        (_("Median hit"), duration(totals.median_hit_s), f"n = {count(totals.hits)}"),
        (_("Median miss"), duration(totals.median_miss_s), f"n = {count(totals.misses_answered)}"),
        (_("Time saved"), duration(totals.saved_s) if totals.hits else DASH, by_hits),
        (_("Money saved"), money(totals.saved_usd) if totals.hits else DASH, by_hits),
    )
    for column, (label, value, basis) in zip(st.columns(FIGURE_WIDTHS, gap="small"), figures, strict=True):
        column.metric(label, value, delta=basis, delta_color="off", delta_arrow="off", border=True)


def show_history() -> None:
    """Charts and table of the history, or what to do to get one."""
    lab = laboratory()
    version = _version()
    if version == 0:
        st.caption(_("The history is empty. Every request will appear here, with its outcome and its time."))
        return
    names = lab.strategies.names
    strategy_label = partial(words.strategy, lab)
    heading, window_column = st.columns([3, 2], vertical_alignment="bottom")
    heading.markdown("#### " + _("History"))
    with window_column:
        window = st.segmented_control(
            _("Show"),
            list(WINDOWS),
            default="200",
            format_func=_window_label,
            key="history_window",
            required=True,
            label_visibility="collapsed",
            persist_state="session",
        )
    limit = WINDOWS[window or "200"]
    left, right = st.columns([3, 2], gap="large")
    with left, st.container(key="history_chart"):
        points = _latencies(lab.history, scope(), version, limit)
        st.markdown("**" + _("Latency of each request") + "**")
        st.altair_chart(
            latency_chart(points, names, strategy_label, words.outcome),
            key="latency_chart",
            alt=_latency_in_words(points),
        )
        st.caption(_latency_in_words(points))
    with right, st.container(key="hit_ratio_chart"):
        ratios = _hit_ratios(lab.history, scope(), version, limit)
        st.markdown("**" + _("Running hit ratio by strategy") + "**")
        if ratios.empty:
            st.caption(_("No cache has been asked yet."))
        else:
            in_words = _ratios_in_words(lab, ratios)
            st.altair_chart(hit_ratio_chart(ratios, names, strategy_label), key="ratio_chart", alt=in_words)
            st.caption(in_words)
    _show_table(lab, version)


def _show_table(lab: Laboratory, version: int) -> None:
    table = _table(lab.history, scope(), version, language())
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
                "outcome": st.column_config.TextColumn(_("Outcome"), width="small"),
                "strategy": st.column_config.TextColumn(_("Strategy")),
                "total_s": st.column_config.NumberColumn(_("Total"), width="small"),
                "lookup_s": st.column_config.NumberColumn(_("Lookup"), width="small"),
                "model_s": st.column_config.NumberColumn(_("Model"), width="small"),
                "store_s": st.column_config.NumberColumn(_("Store"), width="small"),
                "saved_s": st.column_config.NumberColumn(_("Time saved"), width=105),
                "saved_usd": st.column_config.NumberColumn(_("Money saved"), width=105),
                "asked_at": st.column_config.NumberColumn(_("Asked")),
                "model": st.column_config.TextColumn(_("Model asked")),
                "failure": st.column_config.TextColumn(_("What failed")),
            },
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            _("The newest {shown} of {total} requests.").format(
                shown=count(len(table.index)), total=count(_totals(lab.history, scope(), version).requests)
            )
        )
        st.download_button(
            _("Download all as CSV"),
            data=partial(_csv, lab.history, scope()),
            file_name="llm-cache-history.csv",
            mime="text/csv",
            key="download_history",
            icon=":material/download:",
            on_click="ignore",
        )
        with st.popover(_("Clear history"), icon=":material/delete_sweep:"):
            st.markdown(_("This removes all measurements shown here. What the caches hold stays."))
            if laboratory().settings.sharing == "shared":
                st.caption(_("All visitors share this history."))
            st.button(
                _("Remove all measurements"),
                key="clear_history",
                type="primary",
                on_click=_clear,
            )


def _clear() -> None:
    laboratory().history.clear(scope())


def _version() -> int:
    return laboratory().history.version(scope())


def _table(history: History, whose: str, version: int, code: str) -> Styler:  # noqa: ARG001  # code: part of the key
    """The newest requests, numbers kept as numbers for sorting and shown in the session's language."""
    lab = laboratory()
    newest = history.newest(whose, TABLE_ROWS)
    now = time.time()
    outcomes = newest["outcome"].where(newest["failure"].isna(), "error")
    frame = pd.DataFrame(
        {
            "request": newest["request"],
            "prompt": newest["prompt"],
            "outcome": outcomes.map(words.outcome),
            "strategy": newest["strategy"].map(partial(words.strategy, lab)),
            "total_s": newest["total_s"],
            "lookup_s": newest["lookup_s"].astype(float),
            "model_s": newest["model_s"].astype(float),
            "store_s": newest["store_s"].astype(float),
            "saved_s": newest["saved_s"].astype(float),
            "saved_usd": newest["saved_usd"].astype(float),
            "asked_at": newest["asked_at"],
            "model": newest["model"].map(partial(words.model, lab)),
            "failure": newest["failure"].map(words.failure, na_action="ignore").fillna(""),
        }
    )
    times = dict.fromkeys(("total_s", "lookup_s", "model_s", "store_s", "saved_s"), duration)
    return frame.style.format({"request": count, "saved_usd": money, "asked_at": lambda at: ago(now - at), **times})


@st.cache_data(show_spinner=False, max_entries=200)
def _totals(_history: History, whose: str, version: int) -> Totals:  # noqa: ARG001
    return _history.totals(whose)


@st.cache_data(show_spinner=False, max_entries=200)
def _latencies(_history: History, whose: str, version: int, limit: int | None) -> pd.DataFrame:  # noqa: ARG001
    return _history.latencies(whose, limit)


@st.cache_data(show_spinner=False, max_entries=200)
def _hit_ratios(_history: History, whose: str, version: int, limit: int | None) -> pd.DataFrame:  # noqa: ARG001
    return _history.hit_ratios(whose, limit)


def _csv(history: History, whose: str) -> bytes:
    """The whole history as CSV (UTF-8 with a mark that spreadsheets recognise), formulas defused."""
    return csv_of(history.export(whose)).encode("utf-8-sig")


def _latency_in_words(points: pd.DataFrame) -> str:
    """What the latency chart shows, for those who can't see it and those who want the numbers."""
    answered = points[points["outcome"] != "error"]
    hits = answered[answered["outcome"] == "hit"]["total_s"]
    others = answered[answered["outcome"].isin(["miss", "expired", "corrupt"])]["total_s"]
    if hits.empty or others.empty:
        number = int(points["requests"].sum())
        return ngettext("{n} request shown. Lower is better.", "{n} requests shown. Lower is better.", number).format(
            n=count(number)
        )
    faster = float(others.median() / hits.median())
    return _(
        "{n} requests shown; lower is better. Here a hit takes {hit} at the median (n = {hits}) and a miss {miss} "
        "(n = {misses}): {times} as long."
    ).format(
        n=count(int(points["requests"].sum())),
        hit=duration(float(hits.median())),
        hits=count(len(hits)),
        miss=duration(float(others.median())),
        misses=count(len(others)),
        times=times(faster),
    )


def _ratios_in_words(lab: Laboratory, ratios: pd.DataFrame) -> str:
    """The newest hit ratio of each strategy, with both numbers."""
    newest = ratios.groupby("strategy", sort=False).last()
    return _("Higher is better. Now: {ratios}.").format(
        ratios="; ".join(
            f"{words.strategy(lab, str(name))} {ratio(int(row['hits']), int(row['lookups']))} "
            f"({of(int(row['hits']), int(row['lookups']))})"
            for name, row in newest.iterrows()
        )
    )


def _window_label(window: str) -> str:
    return {"200": _("Newest 200"), "2000": _("Newest 2,000"), "all": _("All")}[window]
