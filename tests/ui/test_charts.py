"""The charts: valid Vega-Lite, few enough points, every point within its axis, one fixed colour a strategy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.history import History
from lab.history_points import MAX_POINTS
from lab.measurement import RequestOutcome
from lab.settings import Settings
from lab.strategies import NO_CACHE
from tests.lab.building import measurement
from ui import words
from ui.charts import demo_chart, hit_ratio_chart, latency_chart
from ui.colours import outcome_colour, strategy_colour, strategy_shape

NAMES = [NO_CACHE, *(strategy.name for strategy in Settings().strategies)]
OUTCOMES = get_args(RequestOutcome)


def label(name: str) -> str:
    """A name in the language of the strategies, for these tests."""
    return f"The {name}"


def points(*total_s: float, strategies: tuple[str, ...] = ("memory",), outcome: str = "miss") -> pd.DataFrame:
    """What `History.latencies` gives for requests that took so long, by the strategies in turn."""
    return pd.DataFrame(
        {
            "request": range(1, len(total_s) + 1),
            "asked_at": 1_750_000_000.0,
            "strategy": [strategies[place % len(strategies)] for place in range(len(total_s))],
            "outcome": outcome,
            "total_s": total_s,
            "requests": 1,
        }
    )


def ratios(*strategies: str) -> pd.DataFrame:
    """What `History.hit_ratios` gives for one request by each strategy."""
    return pd.DataFrame(
        {"request": range(1, len(strategies) + 1), "strategy": strategies, "hits": 0, "lookups": 1, "hit_ratio": 0.0}
    )


def steps(*total_s: float) -> pd.DataFrame:
    """What the demo gives for steps that took so long."""
    return pd.DataFrame(
        {"step_label": [f"Step {n}" for n in range(len(total_s))], "outcome": "hit", "total_s": total_s}
    )


def rows(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The data of a chart."""
    (data,) = spec["datasets"].values()
    return list(data)


def colours(spec: dict[str, Any]) -> dict[str, str]:
    """The colour of each name in a chart's legend."""
    scale = spec["encoding"]["color"]["scale"]
    return dict(zip(scale["domain"], scale["range"], strict=True))


@pytest.fixture
def history(tmp_path: Path) -> History:
    """One of 6,000 requests, with every outcome and strategy."""
    made = History(tmp_path / "history.db")
    made.record_many(
        measurement(
            strategy=NAMES[place % len(NAMES)],
            outcome=OUTCOMES[place % len(OUTCOMES)],
            total_s=10 ** (place % 7 - 5) * (1 + place / 6_000),
            failure="timeout" if place % 50 == 49 else None,
        )
        for place in range(6_000)
    )
    return made


@pytest.mark.parametrize("limit", [200, 2_000, None])
def test_a_long_history_makes_valid_charts_of_few_points(code: str, history: History, limit: int | None) -> None:
    latencies = latency_chart(history.latencies("shared", limit), NAMES, label, words.outcome).to_dict()
    hit_ratios = hit_ratio_chart(history.hit_ratios("shared", limit), NAMES, label).to_dict()
    for spec in (latencies, hit_ratios):
        assert 0 < len(rows(spec)) <= MAX_POINTS
        json.dumps(spec, allow_nan=False)
    history.close()


@given(total_s=st.lists(st.floats(min_value=1e-6, max_value=900), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_every_latency_lies_within_the_axis(total_s: list[float]) -> None:
    for spec, channel in (
        (latency_chart(points(*total_s), NAMES, label, words.outcome).to_dict(), "y"),
        (demo_chart(steps(*total_s), words.outcome).to_dict()["layer"][0], "x"),
    ):
        low, high = spec["encoding"][channel]["scale"]["domain"]
        assert spec["encoding"][channel]["scale"]["type"] == "log"
        assert 0 < low < high
        assert low <= min(total_s) * (1 + 1e-9)
        assert max(total_s) <= high * (1 + 1e-9)
        marks = spec["encoding"][channel]["axis"]["values"]
        assert marks[0] == pytest.approx(low)
        assert len(marks) >= 2


@pytest.mark.parametrize("exact", [1e-6, 1e-5, 0.001, 1.0, 100.0])
def test_one_latency_on_a_power_of_ten_still_has_an_axis(exact: float) -> None:
    spec = latency_chart(points(exact), NAMES, label, words.outcome).to_dict()
    low, high = spec["encoding"]["y"]["scale"]["domain"]
    assert low < high


def test_what_took_no_time_is_not_drawn_on_a_log_axis() -> None:
    spec = latency_chart(points(0.0, 1.5, 0.0), NAMES, label, words.outcome).to_dict()
    assert [row["total_s"] for row in rows(spec)] == [1.5]


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_has_one_colour_and_shape_whatever_else_is_shown(theme: str, name: str) -> None:
    for shown in ((name,), tuple(NAMES), tuple(NAMES[::-1])):
        assert colours(hit_ratio_chart(ratios(*shown), NAMES, label).to_dict())[label(name)] == strategy_colour(
            name, NAMES
        )
        spec = latency_chart(points(*[1.0] * len(shown), strategies=shown), NAMES, label, words.outcome).to_dict()
        shapes = spec["encoding"]["shape"]["scale"]
        assert dict(zip(shapes["domain"], shapes["range"], strict=True))[label(name)] == strategy_shape(name, NAMES)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_outcome_has_one_colour_in_every_chart(theme: str, outcome: str) -> None:
    for spec in (
        latency_chart(points(1.0, 2.0, outcome=outcome), NAMES, label, label).to_dict(),
        demo_chart(steps(1.0).assign(outcome=outcome), label).to_dict()["layer"][0],
    ):
        assert colours(spec) == {label(outcome): outcome_colour(outcome)}


def test_the_charts_speak_the_language_of_the_session() -> None:
    titles = {}
    for code in ("en", "pt-BR"):
        with patch("ui.language.language", lambda code=code: code):
            spec = latency_chart(points(0.0012), NAMES, label, words.outcome).to_dict()
            titles[code] = (spec["encoding"]["y"]["title"], rows(spec)[0]["time_label"], rows(spec)[0]["outcome_label"])
    assert titles["en"] == ("Total time (log scale, lower is better)", "1.20 ms", "Miss")
    assert all(one != other for one, other in zip(titles["en"], titles["pt-BR"], strict=True))


def test_the_steps_of_the_demo_stay_in_their_order() -> None:
    spec = demo_chart(steps(3.0, 1.0, 2.0), words.outcome).to_dict()
    assert [row["step_label"] for row in rows(spec)] == ["Step 0", "Step 1", "Step 2"]
    assert spec["layer"][0]["encoding"]["y"]["sort"] is None


def test_a_strategy_that_is_no_longer_in_the_settings_is_no_error() -> None:
    spec = hit_ratio_chart(ratios("memory", "gone"), NAMES, label).to_dict()
    assert len(rows(spec)) == 2
    latency_chart(points(1.0, 2.0, strategies=("memory", "gone")), NAMES, label, words.outcome).to_dict()
