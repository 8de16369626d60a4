"""The history: what all requests came to, their latencies and hit ratios, and the list of them."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from cache_backends import CacheError
from lab.history import Totals
from lab.laboratory import Laboratory
from ui import words
from ui.charts import draw, hit_ratio_chart, latency_chart
from ui.colours import is_dark
from ui.history_table import clear_button, show_table
from ui.language import _, language, ngettext
from ui.numbers import DASH, count, duration, money, of, ratio, times
from ui.safe_text import shown_in_line
from ui.session import laboratory, scope

logger = logging.getLogger("ui.history")

FIGURE_WIDTHS = (0.82, 0.92, 1, 1.06, 1, 1.3)
WINDOWS = {"200": 200, "2000": 2000, "all": None}
"""How many of the newest requests the charts show."""


def show_history() -> None:
    """Figures, charts and table of all requests; a sentence where the history can't be read."""
    try:
        _show_history()
    except (CacheError, TypeError, ValueError, KeyError, ArithmeticError) as error:  # its file may hold anything
        logger.exception("the history can't be shown")
        st.warning(
            _("The history can't be shown: {reason}").format(reason=shown_in_line(str(error))),
            icon=":material/healing:",
        )
        clear_button()


def _show_history() -> None:
    lab = laboratory()
    totals = lab.history.totals(scope())
    _show_key_figures(totals)
    if not totals.requests:
        st.caption(_("The history is empty. Every request will appear here, with its outcome and its time."))
        return
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
    version = lab.history.version(scope())
    _draw_charts(lab, lab.settings.data_dir, scope(), version, window or "200", language(), is_dark())
    show_table(lab, scope(), version, totals.requests)


def _show_key_figures(totals: Totals) -> None:
    """One row that answers how much faster, how much saved, on how many requests."""
    by_hits = ngettext("by {n} hit", "by {n} hits", totals.hits).format(n=count(totals.hits))
    avoided = ngettext("by {n} call avoided", "by {n} calls avoided", totals.calls_avoided).format(
        n=count(totals.calls_avoided)
    )
    failed = ngettext("{n} failed", "{n} failed", totals.failures).format(n=count(totals.failures))
    figures = (
        (_("Requests"), count(totals.requests), failed),
        (_("Hit ratio"), ratio(totals.hits, totals.lookups), of(totals.hits, totals.lookups)),
        (_("Median hit"), duration(totals.median_hit_s), f"n = {count(totals.hits)}"),
        (_("Median miss"), duration(totals.median_miss_s), f"n = {count(totals.misses_answered)}"),
        (_("Time saved"), duration(totals.saved_s) if totals.hits else DASH, by_hits),
        (_("Money saved"), money(totals.saved_usd) if totals.calls_avoided else DASH, avoided),
    )
    for column, (label, value, basis) in zip(st.columns(FIGURE_WIDTHS, gap="small"), figures, strict=True):
        column.metric(label, value, delta=basis, delta_color="off", delta_arrow="off", border=True)


@st.cache_data(show_spinner=False, max_entries=50)
def _draw_charts(
    _lab: Laboratory,
    data_dir: Path,  # noqa: ARG001  # these four are part of the key: the same charts are drawn only once
    whose: str,
    version: str,  # noqa: ARG001
    window: str,
    code: str,  # noqa: ARG001
    dark: bool,  # noqa: ARG001
) -> None:
    names = _lab.strategies.names
    strategy_label = partial(words.strategy, _lab)
    left, right = st.columns(2, gap="medium")
    with left, st.container(key="history_chart"):
        points = _lab.history.latencies(whose, WINDOWS[window])
        st.markdown("**" + _("Latency of each request") + "**")
        if (points["total_s"] > 0).any():
            draw(
                latency_chart(points, names, strategy_label, words.outcome),
                key="latency_chart",
                alt=_("A point for each request, its time on a log axis. The sentence below says it in numbers."),
            )
            whole = _lab.history.totals(whose) if (points["requests"] > 1).any() else None
            st.caption(_latency_in_words(points, whole))
        else:  # none got as far as the model or a cache
            st.caption(_("No request has been timed yet."))
    with right, st.container(key="hit_ratio_chart"):
        ratios = _lab.history.hit_ratios(whose, WINDOWS[window])
        st.markdown("**" + _("Running hit ratio by strategy") + "**")
        if ratios.empty:
            st.caption(_("No cache has been asked yet."))
        else:
            draw(
                hit_ratio_chart(ratios, names, strategy_label),
                key="ratio_chart",
                alt=_("A line for each strategy, its hit ratio so far. The sentence below says it in numbers."),
            )
            st.caption(_ratios_in_words(_lab, ratios))


def _latency_in_words(points: pd.DataFrame, whole: Totals | None) -> str:
    """What the latency chart shows, for those who can't see it and those who want the numbers.

    `whole`: the totals, where a point stands for many requests and medians of the points would be none of the requests.
    """
    answered = points[points["outcome"] != "error"]
    hits = answered[answered["outcome"] == "hit"]["total_s"]
    others = answered[answered["outcome"].isin(["miss", "expired", "corrupt"])]["total_s"]
    if hits.empty or others.empty:
        number = int(points["requests"].sum())
        return ngettext("{n} request shown. Lower is better.", "{n} requests shown. Lower is better.", number).format(
            n=count(number)
        )
    hit_s, miss_s = float(hits.median()), float(others.median())
    hits_n, misses_n = len(hits), len(others)
    if whole is not None and whole.median_hit_s and whole.median_miss_s:
        hit_s, miss_s, hits_n, misses_n = whole.median_hit_s, whole.median_miss_s, whole.hits, whole.misses_answered
    return _(
        "{n} requests shown; lower is better. Here a hit takes {hit} at the median (n = {hits}) and a miss {miss} "
        "(n = {misses}): {times} as long."
    ).format(
        n=count(int(points["requests"].sum())),
        hit=duration(hit_s),
        hits=count(hits_n),
        miss=duration(miss_s),
        misses=count(misses_n),
        times=times(miss_s / hit_s),
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
