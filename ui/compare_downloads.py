"""A comparison to take away: its numbers as CSV, and all of it as one page."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from lab.comparison import Run
from lab.csv_export import csv_of
from ui import compare_sentences
from ui.language import _, language
from ui.metrics import METRICS, WHATS
from ui.report import report
from ui.session import laboratory


def show_downloads(run: Run, worth: list[str]) -> None:
    """The buttons. `worth` is what the cost panel says."""
    with st.container(horizontal=True):
        st.download_button(
            _("Download the numbers as CSV"),
            data=partial(numbers_csv, run),
            file_name=f"comparison-{run.id}.csv",
            mime="text/csv",
            key="compare_csv",
            icon=":material/download:",
            on_click="ignore",
        )
        st.download_button(
            _("Download the report (one HTML file)"),
            data=partial(report, run, worth, language(), st.context.timezone, laboratory().strategies.names),
            file_name=f"comparison-{run.id}.html",
            mime="text/html",
            key="compare_report",
            icon=":material/article:",
            on_click="ignore",
        )


def numbers_csv(run: Run) -> bytes:
    """A row for each strategy and thing timed: metrics in the units of their names, and why one was not measured."""
    rows = [
        {
            "run": run.id,
            "began_at": run.began_at,
            "model": run.request.model_id,
            "simulated": run.simulated,
            "strategy": each.strategy,
            "timed": what,
            **{metric.key: metric.raw(each, what) for metric in METRICS},
            "times_the_baseline": _ratio(run, each.strategy, "value") if what == "lookups" else None,
            "times_the_baseline_low": _ratio(run, each.strategy, "low") if what == "lookups" else None,
            "times_the_baseline_high": _ratio(run, each.strategy, "high") if what == "lookups" else None,
            "cold_total_s": None if each.cold is None else each.cold.total_s,
            "warm_total_s": None if each.warm is None else each.warm.total_s,
            "model_s": compare_sentences.model_time(run),
            "problem": each.problem,
        }
        for each in run.compared
        for what in WHATS
    ]
    return csv_of([pd.DataFrame(rows, dtype=object)]).encode("utf-8-sig")


def _ratio(run: Run, strategy: str, end: str) -> float | None:
    ratio = run.ratios.get(strategy)
    found: float | None = None if ratio is None else getattr(ratio, end)
    return found
