"""The charts of a comparison: medians with their spread, distributions, and where a request's time goes."""

from __future__ import annotations

import math

import altair as alt
import pandas as pd

from lab.comparison import Compared, Run
from lab.statistics import distribution
from ui.charts import POWERS_OF_TEN, SECONDS_AXIS, strategy_colours
from ui.compare_sentences import model_time, title
from ui.language import _
from ui.metrics import What, what_title
from ui.numbers import duration

BAR_STEP = 30
HEIGHT = 340
SHORTEST_S = 1e-8
"""Nothing shorter is shown on a log axis: a coarse clock gives 0."""
PARTS = ("lookup", "langchain", "model", "store")
PART_COLOURS = {"lookup": "#0072B2", "langchain": "#8A93A0", "model": "#C2570C", "store": "#0B8F6A"}
"""Seen on both backgrounds."""


def medians_chart(run: Run) -> alt.LayerChart | None:
    """Median of hits inside the cache and of the whole call, from the 5th to the 95th of the timings; log axis."""
    whats: tuple[What, ...] = ("lookups", "invokes")
    rows = []
    for compared in run.measured:
        for what in whats:
            points = dict(distribution(getattr(compared, what).rounds, 21))
            if points:
                low, middle, high = (list(points.values())[at] for at in (1, 10, 19))
                rows.append(
                    {
                        "strategy": title(compared),
                        "what": what_title(what),
                        "low": low,
                        "median": middle,
                        "high": high,
                        "label": duration(middle),
                        "spread": f"{duration(low)} – {duration(high)}",
                    }
                )
    if not rows:
        return None
    frame = pd.DataFrame(rows)
    model_s = model_time(run)
    largest = max([frame["high"].max(), model_s or 0])
    base = alt.Chart(frame).encode(
        y=alt.Y("strategy:N", title=None, sort=None, axis=alt.Axis(labelLimit=220)),
        yOffset=alt.YOffset("what:N", sort=None),
        color=alt.Color(
            "what:N",
            title=None,
            sort=None,
            scale=alt.Scale(domain=[what_title(each) for each in whats], range=["#2F7DD1", "#C2570C"]),
            legend=alt.Legend(orient="top", direction="horizontal", labelLimit=260),
        ),
        tooltip=[
            alt.Tooltip("strategy:N", title=_("Strategy")),
            alt.Tooltip("what:N", title=_("What was timed")),
            alt.Tooltip("label:N", title=_("Median")),
            alt.Tooltip("spread:N", title=_("90 % of the timings")),
        ],
    )
    seconds = _SecondsAxis(frame["low"].min(), largest, _("Time (log scale, left is better)"))
    chart = base.mark_rule(strokeWidth=3, opacity=0.5).encode(x=seconds("low"), x2="high:Q")
    chart += base.mark_point(filled=True, size=90, opacity=1).encode(x=seconds("median"))
    chart += base.mark_text(align="left", dx=9, dy=-8, fontSize=11).encode(x=seconds("median"), text="label:N")
    if model_s is not None:
        model = pd.DataFrame([{"model": model_s, "label": _("Model: {time}").format(time=duration(model_s))}])
        line = alt.Chart(model).encode(x=seconds("model"))
        chart += line.mark_rule(strokeDash=[6, 4], color=PART_COLOURS["model"], strokeWidth=2)
        chart += line.mark_text(align="right", dx=-6, dy=-6, baseline="bottom", color=PART_COLOURS["model"]).encode(
            y=alt.value(8), text="label:N"
        )
    return chart.properties(height=alt.Step(BAR_STEP / 2))  # type: ignore[no-any-return]


def distribution_chart(run: Run, what: What, strategies: list[str]) -> alt.Chart | None:
    """For each time, the share of the timings that did not exceed it."""
    rows = [
        {"strategy": title(compared), "seconds": seconds, "share": share, "label": duration(seconds)}
        for compared in run.measured
        for share, seconds in distribution(getattr(compared, what).rounds)
    ]
    if not rows:
        return None
    frame = pd.DataFrame(rows)
    names = [compared.strategy for compared in run.measured]
    titles = {compared.strategy: title(compared) for compared in run.measured}
    seconds = _SecondsAxis(
        frame["seconds"].min(), frame["seconds"].quantile(0.999), _("Time (log scale, left is better)")
    )
    return (
        alt.Chart(frame)
        .mark_line(clip=True, strokeWidth=2)
        .encode(
            x=seconds("seconds"),
            y=alt.Y(
                "share:Q",
                title=_("Share of the timings"),
                axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], labelExpr="format(datum.value * 100, 'd') + ' %'"),
            ),
            color=strategy_colours(names, strategies, titles.__getitem__, field="strategy"),
            tooltip=[
                alt.Tooltip("strategy:N", title=_("Strategy")),
                alt.Tooltip("share:Q", title=_("Share"), format=".0%"),
                alt.Tooltip("label:N", title=_("Time")),
            ],
        )
        .properties(height=HEIGHT)
        .configure_legend(orient="bottom", direction="horizontal", columns=5, labelLimit=170, titleOrient="top")
    )


def parts_of_hit(run: Run) -> pd.DataFrame:
    """Where the time of a hit goes: `strategy, part, part_label, seconds, label`; medians."""
    rows = []
    for compared in run.measured:
        lookups, invokes = compared.lookups.summary, compared.invokes.summary
        if lookups is None or invokes is None:
            continue
        rows += _part_rows(
            compared,
            {"lookup": lookups.median_s, "langchain": max(0.0, invokes.median_s - lookups.median_s)},
        )
    return pd.DataFrame(rows)


def parts_of_miss(run: Run) -> pd.DataFrame:
    """Where the time of the cold request went: `strategy, part, part_label, seconds, label`; one request each."""
    rows = []
    for compared in run.compared:
        cold = compared.cold
        if cold is None or cold.failure is not None or cold.total_s <= 0:
            continue
        known = {"lookup": cold.lookup_s or 0.0, "model": cold.model_s or 0.0, "store": cold.store_s or 0.0}
        rows += _part_rows(compared, known | {"langchain": max(0.0, cold.total_s - sum(known.values()))})
    return pd.DataFrame(rows)


def parts_chart(frame: pd.DataFrame) -> alt.Chart | None:
    """The parts of a request stacked, on a linear axis: lengths can be compared."""
    if frame.empty:
        return None
    present = [part for part in PARTS if part in set(frame["part"])]
    return (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            y=alt.Y("strategy:N", title=None, sort=None, axis=alt.Axis(labelLimit=220)),
            x=alt.X(
                "seconds:Q", title=_("Time (shorter is better)"), axis=alt.Axis(labelExpr=SECONDS_AXIS, tickCount=5)
            ),
            order=alt.Order("place:Q"),
            color=alt.Color(
                "part_label:N",
                title=None,
                scale=alt.Scale(
                    domain=[part_title(part) for part in present], range=[PART_COLOURS[part] for part in present]
                ),
                legend=alt.Legend(orient="top", direction="horizontal", columns=2),
            ),
            tooltip=[
                alt.Tooltip("strategy:N", title=_("Strategy")),
                alt.Tooltip("part_label:N", title=_("Part")),
                alt.Tooltip("label:N", title=_("Time")),
            ],
        )
        .properties(height=alt.Step(BAR_STEP))
    )


def parts_in_words(frame: pd.DataFrame) -> list[str]:
    """The numbers of such a chart, a line for each strategy."""
    if frame.empty:
        return []
    return [
        f"{name}: " + ", ".join(f"{row.part_label} {row.label}" for row in rows.itertuples() if row.seconds > 0)
        for name, rows in frame.groupby("strategy", sort=False)
    ]


def part_title(part: str) -> str:
    """What a part of a request is called."""
    return {"lookup": _("Lookup"), "langchain": "LangChain", "model": _("Model"), "store": _("Store")}[part]


def _part_rows(compared: Compared, seconds: dict[str, float]) -> list[dict[str, object]]:
    return [
        {
            "strategy": title(compared),
            "part": part,
            "place": PARTS.index(part),
            "part_label": part_title(part),
            "seconds": seconds[part],
            "label": duration(seconds[part]),
        }
        for part in PARTS
        if part in seconds
    ]


class _SecondsAxis:
    """A log axis in seconds whose marks are powers of ten."""

    def __init__(self, smallest: float, largest: float, axis_title: str) -> None:
        lowest = math.floor(math.log10(max(smallest, SHORTEST_S)))
        low, high = 10.0**lowest, 10.0 ** max(math.ceil(math.log10(max(largest, SHORTEST_S) * 1.3)), lowest + 1)
        self._scale = alt.Scale(type="log", domain=[low, high], nice=False)
        marks = [mark for mark in POWERS_OF_TEN if low <= mark <= high]
        self._axis = alt.Axis(values=marks, labelExpr=SECONDS_AXIS, title=axis_title)

    def __call__(self, field: str) -> alt.X:
        return alt.X(f"{field}:Q", scale=self._scale, axis=self._axis)
