"""A store at a glance: how much it holds, how it grew, which of its entries are worth most."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from lab import browsing, glance
from lab.browsing import GlanceJob
from lab.glance import Glance
from lab.jobs import TooManyJobsError
from lab.simulated import SIMULATED_MODEL
from lab.strategies import StrategyUnavailableError
from ui import charts, entries_state, words
from ui.language import _
from ui.numbers import DASH, count, duration, moment, money, of, ratio, size
from ui.safe_text import shown_in_line
from ui.session import laboratory
from ui.waiting import begin, wait_for

POLL_S = 0.5
KEPT_S = 10.0
CHART_HEIGHT = 190
DAY_S = 86_400.0
SHORTEST_S = 60.0
"""Between the oldest and the newest entry, for a line that says anything."""


def show_glance() -> None:
    """The figures, in whatever state they are."""
    strategy, namespace = entries_state.strategy(), entries_state.namespace()
    try:
        job = begin(
            "glance",
            (strategy, namespace, entries_state.state().version),
            lambda: browsing.start_glance(laboratory(), strategy, namespace),
            keep_s=KEPT_S,
        )
    except TooManyJobsError:
        st.error(words.too_many_requests())
        return
    with st.container(key="entries_glance"):
        if not wait_for("glance"):
            _watch(job)
        elif job.error is not None:
            reason = shown_in_line(entries_state.safe(str(job.error)))
            st.error(_("The entries can't be listed now: {reason}").format(reason=reason), icon=":material/cloud_off:")
        elif job.result is not None:
            _show(job.result)


@st.fragment(run_every=POLL_S)
def _watch(job: GlanceJob) -> None:
    if job.finished:
        st.rerun()
    steps = job.progress
    st.progress(
        min(1.0, steps[-1].looked_at / steps[-1].of) if steps and steps[-1].of else 0.0,
        text=_("{done} entries looked at").format(done=count(steps[-1].looked_at if steps else 0)),
    )
    st.button(_("Stop"), key="glance_stop", icon=":material/stop_circle:", on_click=job.stop)


def _show(seen: Glance) -> None:
    timezone = st.context.timezone
    row = st.columns(6, gap="small")
    row[0].metric(_("Entries"), count(seen.entries))
    row[1].metric(
        _("Size"), size(seen.size_bytes), help=_("Prompts, parameters and answers; what the store adds is not in it.")
    )
    row[2].metric(_("Expired"), count(seen.expired))
    hits, lookups = _hits()
    row[3].metric(
        _("Hit ratio"), ratio(hits, lookups),
        help=_("Of all lookups of this strategy since the app was started or the strategy restarted: {of}.").format(
            of=of(hits, lookups)
        ),
    )  # fmt: skip
    row[4].metric(_("Oldest"), DASH if seen.oldest is None else moment(seen.oldest, timezone)[:10])
    row[5].metric(_("Newest"), DASH if seen.newest is None else moment(seen.newest, timezone)[:10])
    left, right = st.columns([1, 1.5], gap="large")
    with left:
        st.markdown("##### " + _("Growth"))
        if len(seen.growth) < 2 or seen.growth[-1][0] - seen.growth[0][0] < SHORTEST_S:
            st.caption(_("All entries were stored within a minute: there is no line to draw yet."))
        else:
            _show_growth(seen)
    with right:
        st.markdown("##### " + _("The most useful entries"))
        if not seen.useful:
            st.caption(_("No entry was used yet. Ask a question a second time, and its entry is among these."))
            return
        st.dataframe(_table(seen), hide_index=True, key="entries_useful", height="content", placeholder=DASH)
        st.caption(_note(seen))


def _hits() -> tuple[int, int]:
    try:
        counters = entries_state.cache().counters
    except StrategyUnavailableError:
        return 0, 0
    return counters.hits, counters.lookups


def _show_growth(seen: Glance) -> None:
    points = pd.DataFrame(seen.growth, columns=["at", "entries"])
    points["at"] = pd.to_datetime(points["at"], unit="s", utc=True, errors="coerce")
    chart = (
        alt.Chart(points.dropna())
        .mark_area(line=True, opacity=0.25, interpolate="step-after")
        .encode(
            x=alt.X("at:T", title=None, axis=alt.Axis(format=_time_format(seen), tickCount=3)),
            y=alt.Y("entries:Q", title=_("Entries"), axis=alt.Axis(tickMinStep=1)),
        )
        .properties(height=CHART_HEIGHT)
    )
    charts.draw(chart, key="entries_growth", alt=_("How many of the entries that are there now were there when"))
    st.caption(_("Of the entries that are there now: how many had been stored by when."))


def _time_format(seen: Glance) -> str:
    """As all times of the app, in every language; the day, or the time where it is all about one or two days."""
    return "%Y-%m-%d" if seen.growth[-1][0] - seen.growth[0][0] > 2 * DAY_S else "%H:%M"


def _table(seen: Glance) -> Styler:
    columns = {"prompt": _("Prompt"), "hits": _("Hits"), "time": _("Time saved"), "money": _("Money saved")}
    frame = pd.DataFrame(
        {
            columns["prompt"]: [" ".join(one.entry.prompt.replace("\0", "\u2400").split()) for one in seen.useful],
            columns["hits"]: [one.entry.hits for one in seen.useful],
            columns["time"]: [one.saved_s for one in seen.useful],
            columns["money"]: [one.saved_usd for one in seen.useful],
        }
    )
    return frame.style.format(
        {
            columns["hits"]: count,
            columns["time"]: duration,
            columns["money"]: lambda usd: DASH if pd.isna(usd) else money(usd),
        }
    )


def _note(seen: Glance) -> str:
    note = _(
        "Time saved is hits times what the model took for the answer; money is hits times the price of its tokens."
    )
    if any(one.is_estimated and one.saved_usd is not None for one in seen.useful):
        note += " " + _("Tokens are estimated where the answer does not say them.")
    if any(one.entry.model == SIMULATED_MODEL and one.saved_usd is not None for one in seen.useful):
        note += " " + _("Simulated answers are priced as {model}.").format(
            model=laboratory().settings.simulated.priced_as
        )
    if not seen.are_surely_most_useful:
        note += " " + _("Among the {count} most used.").format(count=count(glance.MOST_LOOKED_AT))
    return note
