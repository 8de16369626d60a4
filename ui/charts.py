"""The charts: frames of `lab.history` and `lab.demo` in, Altair charts out, in the session's language and theme."""

from __future__ import annotations

import math
from collections.abc import Callable

import altair as alt
import pandas as pd
import streamlit as st
from altair import Undefined

from ui.colours import OUTCOME_COLOURS, outcome_colour, strategy_colour, strategy_shape
from ui.language import _
from ui.numbers import count, duration, ratio

CHART_HEIGHT = 380
POINT_SIZE = 60
NEUTRAL = "#868D9A"
"""For what has a shape but no colour of its own; seen on both backgrounds."""
Label = Callable[[str], str]
"""Names something in the session's language."""

SECONDS_AXIS = (
    "datum.value >= 1 ? format(datum.value, ',') + ' s' : "
    "datum.value >= 0.001 ? format(datum.value * 1000, ',') + ' ms' : format(datum.value * 1000000, ',') + ' µs'"
)
POWERS_OF_TEN = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100, 1000]


def draw(chart: alt.Chart, *, key: str, alt: str) -> None:
    """Show a chart whose data changes from run to run.

    `st.altair_chart` names the data by its content, so that new data make a new chart in the browser (60 ms); here they
    go into the one that is there, as long as the rest stays the same, `alt` included.
    """
    data, without_data = chart.data, chart.copy(deep=False)
    without_data.data = Undefined
    spec = without_data.to_dict()
    del spec["data"], spec["datasets"]  # altair's stand-in for none, which would be drawn instead of ours
    st.vega_lite_chart(data, spec, key=key, alt=alt)


def latency_chart(
    points: pd.DataFrame, strategies: list[str], strategy_label: Label, outcome_label: Label
) -> alt.Chart:
    """Total time of each request on a log axis, coloured by outcome, shaped by strategy.

    `points` is what `History.latencies` gives; `strategies` are all names in the order of the settings.
    """
    shown = points[points["total_s"] > 0].assign(
        strategy_label=lambda frame: _named(frame["strategy"], strategy_label),
        outcome_label=lambda frame: _named(frame["outcome"], outcome_label),
        time_label=lambda frame: frame["total_s"].map(duration),
        number_label=lambda frame: frame["request"].map(count),
        of_label=lambda frame: frame["requests"].map(count),
    )
    outcomes = [name for name in OUTCOME_COLOURS if name in set(shown["outcome"])]
    present = [name for name in strategies if name in set(shown["strategy"])]
    return (
        alt.Chart(shown)
        .mark_point(filled=True, size=POINT_SIZE, opacity=0.85)
        .encode(
            x=_request_axis(),
            y=_seconds_axis("total_s", alt.Y, shown["total_s"]),
            color=alt.Color(
                "outcome_label:N",
                title=_("Outcome"),
                scale=alt.Scale(
                    domain=[outcome_label(name) for name in outcomes], range=[outcome_colour(name) for name in outcomes]
                ),
            ),
            shape=alt.Shape(
                "strategy_label:N",
                title=_("Strategy"),
                legend=alt.Legend(orient="bottom", columns=2, symbolFillColor=NEUTRAL, symbolStrokeColor=NEUTRAL),
                scale=alt.Scale(
                    domain=[strategy_label(name) for name in present],
                    range=[strategy_shape(name, strategies) for name in present],
                ),
            ),
            tooltip=[
                alt.Tooltip("number_label:N", title=_("Request")),
                alt.Tooltip("strategy_label:N", title=_("Strategy")),
                alt.Tooltip("outcome_label:N", title=_("Outcome")),
                alt.Tooltip("time_label:N", title=_("Total time")),
                alt.Tooltip("of_label:N", title=_("Median of so many requests")),
            ],
        )
        .properties(height=CHART_HEIGHT)
        .configure_legend(orient="top", direction="horizontal", titleOrient="top", columns=3, labelLimit=150)
    )


def hit_ratio_chart(points: pd.DataFrame, strategies: list[str], strategy_label: Label) -> alt.Chart:
    """Running hit ratio of each strategy. `points` is what `History.hit_ratios` gives."""
    shown = points.assign(
        strategy_label=_named(points["strategy"], strategy_label),
        ratio_label=[ratio(hits, lookups) for hits, lookups in zip(points["hits"], points["lookups"], strict=True)],
        of_label=[
            f"{count(hits)} / {count(lookups)}" for hits, lookups in zip(points["hits"], points["lookups"], strict=True)
        ],
        number_label=points["request"].map(count),
    )
    present = [name for name in strategies if name in set(shown["strategy"])]
    return (
        alt.Chart(shown)
        .mark_line(point=alt.OverlayMarkDef(filled=True, size=POINT_SIZE / 2), interpolate="step-after")
        .encode(
            x=_request_axis(),
            y=alt.Y(
                "hit_ratio:Q",
                title=_("Hits of all lookups so far"),
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], labelExpr="format(datum.value * 100, 'd') + ' %'"),
            ),
            color=strategy_colours(present, strategies, strategy_label),
            tooltip=[
                alt.Tooltip("number_label:N", title=_("Request")),
                alt.Tooltip("strategy_label:N", title=_("Strategy")),
                alt.Tooltip("ratio_label:N", title=_("Hit ratio")),
                alt.Tooltip("of_label:N", title=_("Hits / lookups")),
            ],
        )
        .properties(height=CHART_HEIGHT)
        .configure_legend(orient="bottom", direction="horizontal", titleOrient="top", columns=2, labelLimit=150)
    )


def demo_chart(steps: pd.DataFrame, outcome_label: Label) -> alt.LayerChart:
    """The steps of the guided demo side by side: `step_label, outcome, total_s`, in their order."""
    shown = steps.assign(
        outcome_label=_named(steps["outcome"], outcome_label),
        time_label=[
            f"{duration(total_s)} · {outcome_label(name)}"
            for total_s, name in zip(steps["total_s"], steps["outcome"], strict=True)
        ],
    )
    outcomes = [name for name in OUTCOME_COLOURS if name in set(shown["outcome"])]
    base = alt.Chart(shown).encode(
        y=alt.Y("step_label:N", title=None, sort=None, axis=alt.Axis(labelLimit=320, labelFontSize=13)),
        x=_seconds_axis("total_s", alt.X, shown["total_s"], room=8),
        color=alt.Color(
            "outcome_label:N",
            title=None,
            legend=None,
            scale=alt.Scale(
                domain=[outcome_label(name) for name in outcomes], range=[outcome_colour(name) for name in outcomes]
            ),
        ),
    )
    points = base.mark_point(filled=True, size=160, opacity=1)
    labels = base.mark_text(align="left", dx=12, fontSize=13).encode(text="time_label:N")
    return (points + labels).properties(height=alt.Step(26))


def _request_axis() -> alt.X:
    return alt.X(
        "request:Q",
        title=_("Request, oldest to newest"),
        scale=alt.Scale(zero=False, nice=False, padding=12),
        axis=alt.Axis(format="d", tickMinStep=1, grid=False),
    )


def _seconds_axis(
    field: str, channel: type[alt.X] | type[alt.Y], values: pd.Series, room: float = 1.0
) -> alt.X | alt.Y:
    """A log axis in seconds whose marks are powers of ten, with room for labels beyond the largest value."""
    lowest = math.floor(math.log10(values.min()))
    highest = max(lowest + 1, math.ceil(math.log10(values.max() * room)))
    low, high = 10.0**lowest, 10.0**highest
    return channel(
        f"{field}:Q",
        title=_("Total time (log scale, lower is better)"),
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(values=[mark for mark in POWERS_OF_TEN if low <= mark <= high], labelExpr=SECONDS_AXIS),
    )


def strategy_colours(
    present: list[str], strategies: list[str], label: Label, field: str = "strategy_label"
) -> alt.Color:
    """Each strategy in its own colour; `field` holds their labels."""
    return alt.Color(
        f"{field}:N",
        title=_("Strategy"),
        scale=alt.Scale(
            domain=[label(name) for name in present], range=[strategy_colour(name, strategies) for name in present]
        ),
    )


def _named(values: pd.Series, label: Label) -> pd.Series:
    """Each value's name, asked for once a value and not once a row."""
    return values.map({value: label(value) for value in values.unique()})
