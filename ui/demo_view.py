"""The guided demo: its steps as they happen, and the comparison at its end."""

from __future__ import annotations

import statistics

import pandas as pd
import streamlit as st

from lab.demo import DemoAct, DemoJob, DemoStep, demo_strategies
from ui import ask_state, words
from ui.charts import demo_chart
from ui.controls import SAMPLES
from ui.language import _, language, ngettext
from ui.numbers import count, duration, times
from ui.places import in_its_place
from ui.safe_text import shown_in_line
from ui.session import laboratory

POLL_S = 0.25
ACTS: tuple[DemoAct, ...] = ("first", "again", "restart", "after_restart")
MOST_IN_A_ROW = 4
"""Strategies side by side; more of them would be too narrow to read."""
NO_BREAK_SPACE = "\u00a0"


def demo_button() -> None:
    """The one button that plays the story."""
    st.button(
        _("Guided demo"),
        key="guided_demo",
        icon=":material/play_circle:",
        on_click=ask_state.begin_demo,
        args=(SAMPLES[language()][0],),
        disabled=ask_state.asking().demo is not None or not demo_strategies(laboratory()),
    )


@in_its_place
def show_demo() -> None:
    """The demo in whatever state it is; nothing where none was begun."""
    job = ask_state.asking().demo
    if job is None:
        return
    if job.finished:
        _show(job)
    else:
        _show_running(job)


@st.fragment(run_every=POLL_S)
def _show_running(job: DemoJob) -> None:
    if job.finished:
        st.rerun()
    _show(job)


def _show(job: DemoJob) -> None:
    steps = job.progress
    names = demo_strategies(laboratory())
    with st.container(border=True, key="demo_finished" if job.finished else "demo_running"):
        heading, button = st.columns([5, 1], vertical_alignment="center")
        title = ngettext(
            "Guided demo: the same question, {n} cache, one restart",
            "Guided demo: the same question, {n} caches, one restart",
            len(names),
        ).format(n=count(len(names)))
        heading.markdown(f"#### {title}")
        with button:
            st.button(
                _("Close") if job.finished else _("Stop"),
                key="demo_close",
                icon=":material/close:" if job.finished else ":material/stop_circle:",
                on_click=ask_state.end_demo,
                width="stretch",
            )
        expected = len(names) * len(ACTS)
        st.progress(len(steps) / expected, text=_progress_text(job, len(steps), expected))
        for first in range(0, len(names), MOST_IN_A_ROW):
            row = names[first : first + MOST_IN_A_ROW]
            columns = st.columns(min(len(names), MOST_IN_A_ROW), gap="large" if len(names) < MOST_IN_A_ROW else "small")
            for column, name in zip(columns, row, strict=False):  # the last row may have fewer
                with column:
                    _show_strategy(name, [step for step in steps if step.strategy == name])
        if job.finished:
            st.markdown(_conclusion(steps))
            _show_comparison(steps)


def _progress_text(job: DemoJob, done: int, expected: int) -> str:
    if not job.finished:
        return _("Step {step} of {steps}").format(step=min(done + 1, expected), steps=expected)
    if done == expected:
        return _("All {steps} steps done").format(steps=expected)
    return _("Stopped") if job.stopping else _("{done} of {steps} steps done").format(done=done, steps=expected)


def _show_strategy(name: str, steps: list[DemoStep]) -> None:
    lab = laboratory()
    st.markdown(f"**{words.strategy_icon(lab, name)} {shown_in_line(words.strategy(lab, name))}**")
    done = {step.act: step for step in steps}
    for act in ACTS:
        step = done.get(act)
        if step is None:
            st.markdown(f":gray[:material/radio_button_unchecked: {_act(act)}]")
        elif step.measurement is None:
            st.markdown(f":material/restart_alt: {_act(act)}")
        else:
            outcome = step.measurement.shown_outcome
            st.markdown(
                f"{words.OUTCOME_ICONS[outcome]} {_act(act)}: **{words.outcome(outcome)}**, "
                f"{duration(step.measurement.total_s).replace(' ', NO_BREAK_SPACE)}"
            )


def _show_comparison(steps: list[DemoStep]) -> None:
    """All requests of the demo in one chart."""
    rows = [
        {
            "step_label": f"{words.strategy(laboratory(), step.strategy)} · {_act(step.act)}",
            "outcome": step.measurement.shown_outcome,
            "total_s": step.measurement.total_s,
        }
        for step in steps
        if step.measurement is not None and step.measurement.total_s > 0
    ]
    if rows:
        with st.container(key="demo_chart"):
            st.altair_chart(demo_chart(pd.DataFrame(rows), words.outcome), key="demo_points", alt=_conclusion(steps))


def _conclusion(steps: list[DemoStep]) -> str:
    measured = [step.measurement for step in steps if step.measurement is not None]
    failed = [each for each in measured if each.failure is not None]
    sentences = []
    if failed and failed[0].failure is not None:
        sentences.append(
            _("The demo could not be played whole on {names}: {failure}").format(
                names=_titles([each.strategy for each in failed]), failure=words.failure(failed[0].failure)
            )
        )
    hits = [each.total_s for each in measured if each.outcome == "hit"]
    misses = [each.total_s for each in measured if each.outcome == "miss"]
    if hits and misses:
        hit_s, miss_s = statistics.median(hits), statistics.median(misses)
        sentences.append(
            _(
                "A stored answer came back in **{hit}** (median of {hits} hits) instead of **{miss}** (median of "
                "{misses} misses): **{times}** as fast."
            ).format(
                hit=duration(hit_s),
                hits=len(hits),
                miss=duration(miss_s),
                misses=len(misses),
                times=times(miss_s / hit_s),
            )
        )
        sentences.append(_after_restart(steps))
        if measured[0].simulated:
            sentences.append(_("The model's time is simulated."))
    unasked = dict.fromkeys(step.strategy for step in steps if step.measurement and step.measurement.outcome == "error")
    if unasked:
        sentences.append(
            _("Could not be asked, so that the model answered: {names}.").format(names=_titles(list(unasked)))
        )
    return " ".join(filter(None, sentences)) or _("The demo was stopped before there was anything to compare.")


def _after_restart(steps: list[DemoStep]) -> str:
    """Who still had the answer after the restart, and who had not."""
    ends = {
        step.strategy: step.measurement.outcome
        for step in steps
        if step.act == "after_restart" and step.measurement is not None
    }
    gone = _titles([name for name, outcome in ends.items() if outcome == "miss"])
    there = _titles([name for name, outcome in ends.items() if outcome == "hit"])
    if gone and there:
        return _("After the restart, the answer was gone from {gone}, and still there in {there}.").format(
            gone=gone, there=there
        )
    if there:
        return _("After the restart, the answer was still there in {there}.").format(there=there)
    return _("After the restart, the answer was gone from {gone}.").format(gone=gone) if gone else ""


def _titles(names: list[str]) -> str:
    lab = laboratory()
    return ", ".join(shown_in_line(words.strategy(lab, name)) for name in names)


def _act(act: DemoAct) -> str:
    return {
        "first": _("First question"),
        "again": _("Asked again"),
        "restart": _("Restart"),
        "after_restart": _("After the restart"),
    }[act]
