"""The guided demo: its steps as they happen, and the comparison at its end."""

from __future__ import annotations

import statistics

import pandas as pd
import streamlit as st

from lab.demo import DemoAct, DemoJob, DemoStep
from ui import ask_state, words
from ui.charts import demo_chart
from ui.controls import SAMPLES
from ui.language import _, language
from ui.numbers import duration, times
from ui.session import laboratory

POLL_S = 0.25
ACTS: tuple[DemoAct, ...] = ("first", "again", "restart", "after_restart")


def demo_button() -> None:
    """The one button that plays the story."""
    st.button(
        _("Guided demo"),
        key="guided_demo",
        icon=":material/play_circle:",
        on_click=ask_state.begin_demo,
        args=(SAMPLES[language()][0],),
        disabled=ask_state.asking().demo is not None or not ask_state.demo_strategies(),
    )


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
    names = ask_state.demo_strategies()
    with st.container(border=True, key="demo_finished" if job.finished else "demo_running"):
        heading, button = st.columns([5, 1], vertical_alignment="center")
        heading.markdown("#### " + _("Guided demo: the same question, three caches, one restart"))
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
        for column, name in zip(st.columns(len(names), gap="large"), names, strict=True):
            with column:
                _show_strategy(name, [step for step in steps if step.strategy == name])
        if job.finished:
            st.markdown(_conclusion(steps))
            _show_comparison(steps)


def _progress_text(job: DemoJob, done: int, expected: int) -> str:
    if not job.finished:
        return _("Step {step} of {steps}").format(step=min(done + 1, expected), steps=expected)
    return _("All {steps} steps done").format(steps=expected) if done == expected else _("Stopped")


def _show_strategy(name: str, steps: list[DemoStep]) -> None:
    icon = words.STRATEGY_ICONS.get(name, ":material/link:")
    st.markdown(f"**{icon} {words.strategy(laboratory(), name)}**")
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
                f"{duration(step.measurement.total_s)}"
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
    if failed and failed[0].failure is not None:
        return _("The demo could not be played whole: {failure}").format(failure=words.failure(failed[0].failure))
    hits = [each.total_s for each in measured if each.outcome == "hit"]
    misses = [each.total_s for each in measured if each.outcome == "miss"]
    if not hits or not misses:
        return _("The demo was stopped before there was anything to compare.")
    hit_s, miss_s = statistics.median(hits), statistics.median(misses)
    simulated = " " + _("The model's time is simulated.") if measured[0].simulated else ""
    return (
        _(
            "A stored answer came back in **{hit}** (median of {hits} hits) instead of **{miss}** (median of {misses} "
            "misses): **{times}** as fast. After the restart, memory had forgotten the answer; SQLite and the JSON "
            "files still had it."
        ).format(
            hit=duration(hit_s),
            hits=len(hits),
            miss=duration(miss_s),
            misses=len(misses),
            times=times(miss_s / hit_s),
        )
        + simulated
    )


def _act(act: DemoAct) -> str:
    return {
        "first": _("First question"),
        "again": _("Asked again"),
        "restart": _("Restart"),
        "after_restart": _("After the restart"),
    }[act]
