"""The statistics of timings against numpy, scipy and `statistics`, and how often an interval covers the true ratio."""

from __future__ import annotations

import doctest
import math
import statistics as oracle
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lab import statistics
from lab.statistics import (
    FEWEST_ROUNDS,
    OUTLIER_DEVIATIONS,
    Floats,
    Interval,
    distribution,
    needed,
    outliers,
    percentile,
    ratio_of_medians,
    summary,
)

QUICK = settings(max_examples=60, deadline=None)
SLOW = settings(max_examples=15, deadline=None)
TIMES = st.floats(1e-7, 10)
SAMPLES = st.lists(TIMES, min_size=1, max_size=400)
MICROSECOND = 1e-6


def lognormal(seed: int, rounds: int, block: int, middle_s: float = 20e-6, sigma: float = 0.15) -> list[list[float]]:
    """Timings by round."""
    drawn = np.random.default_rng(seed).normal(0, sigma, (rounds, block))
    return (middle_s * np.exp(drawn)).tolist()  # type: ignore[no-any-return]


def interval(ours: list[list[float]], other: list[list[float]]) -> Interval:
    found = ratio_of_medians(ours, other)
    assert found is not None
    return found


# Summaries


def test_the_examples_of_the_docstrings_are_right() -> None:
    assert doctest.testmod(statistics) == (0, 1)


def test_a_known_sample_is_summed_up() -> None:
    found = summary([[2.0, 4.0, 4.0], [4.0, 5.0], [5.0, 7.0, 9.0]])
    assert found is not None
    assert (found.n, found.min_s, found.median_s, found.max_s, found.mean_s) == (8, 2.0, 4.5, 9.0, 5.0)
    assert found.deviation_s == pytest.approx(math.sqrt(32 / 7))
    assert (found.p95_s, found.p99_s, found.outliers) == (None, None, 0)


@QUICK
@given(SAMPLES)
def test_a_summary_says_what_numpy_scipy_and_the_standard_library_say(seconds: list[float]) -> None:
    found = summary([seconds])
    assert found is not None
    assert (found.n, found.min_s, found.max_s) == (len(seconds), stats.tmin(seconds), stats.tmax(seconds))
    assert found.mean_s == pytest.approx(oracle.fmean(seconds))
    assert found.mean_s == pytest.approx(stats.tmean(seconds))
    assert found.median_s == pytest.approx(oracle.median(seconds))
    if found.n == 1:
        assert found.deviation_s is None
    else:
        assert found.deviation_s == pytest.approx(oracle.stdev(seconds), rel=1e-6, abs=1e-12)


@QUICK
@given(SAMPLES, st.lists(st.integers(0, 400), max_size=12))
def test_how_timings_fell_into_rounds_changes_nothing_of_their_summary(seconds: list[float], cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(seconds)]
    rounds = [seconds[start:end] for start, end in pairwise(edges)]
    assert summary(rounds) == summary([seconds])


@pytest.mark.parametrize("rounds", [[], [[]], [[], []]])
def test_of_no_timings_there_is_no_summary_and_no_distribution(rounds: list[list[float]]) -> None:
    assert summary(rounds) is None
    assert distribution(rounds) == []


# Percentiles


@QUICK
@given(SAMPLES, st.sampled_from([5.0, 25.0, 50.0, 90.0, 95.0, 99.0]))
def test_a_percentile_is_numpys_where_there_are_enough_timings(seconds: list[float], percent: float) -> None:
    expected = np.percentile(seconds, percent) if len(seconds) >= needed(percent) else None
    assert percentile(seconds, percent) == expected


@pytest.mark.parametrize(("percent", "fewest"), [(50, 5), (95, 59), (99, 299)])
def test_a_percentile_is_shown_from_so_many_timings_on(percent: float, fewest: int) -> None:
    seconds = [float(number) for number in range(1, fewest + 1)]
    assert percentile(seconds[1:], percent) is None
    assert percentile(seconds, percent) == pytest.approx(1 + (fewest - 1) * percent / 100)


def test_a_summary_shows_the_percentiles_that_its_timings_support() -> None:
    shown = {}
    for n in (58, 59, 298, 299):
        found = summary([[1.0] * n])
        assert found is not None
        shown[n] = (found.p95_s, found.p99_s)
    assert shown == {58: (None, None), 59: (1.0, None), 298: (1.0, None), 299: (1.0, 1.0)}


@pytest.mark.parametrize("percent", [1, 5, 50, 75, 90, 95, 99, 99.9])
def test_so_many_timings_are_needed_that_one_lies_beyond_the_percentile_almost_surely(percent: float) -> None:
    beyond = max(percent, 100 - percent) / 100
    assert stats.binom.sf(0, needed(percent), 1 - beyond) >= 0.95
    assert stats.binom.sf(0, needed(percent) - 1, 1 - beyond) < 0.95


# Outliers


def test_outliers_are_counted_by_their_distance_in_robust_standard_deviations() -> None:
    seconds = [10.0, 11.0, 12.0, 13.0, 14.0] * 20
    off = OUTLIER_DEVIATIONS * float(stats.median_abs_deviation(seconds, scale="normal"))
    assert outliers([*seconds, 12 + 0.99 * off, 12 - 0.99 * off]) == 0
    assert outliers([*seconds, 12 + 1.01 * off, 12 - 1.01 * off, 1000.0]) == 3


@pytest.mark.parametrize("seconds", [[], [1.0], [1.0, 1000.0], [1.0] * 50, [1.0] * 50 + [2.0]])
def test_where_too_little_is_known_of_the_spread_nothing_is_an_outlier(seconds: list[float]) -> None:
    assert outliers(seconds) == 0


# Distribution


@QUICK
@given(SAMPLES)
def test_a_distribution_goes_from_the_fastest_to_the_slowest_by_numpys_quantiles(seconds: list[float]) -> None:
    points = distribution([seconds], points=11)
    shares = [share for share, _ in points]
    times = [time for _, time in points]
    assert shares == pytest.approx([number / 10 for number in range(11)])
    assert times == pytest.approx([np.percentile(seconds, 10 * number) for number in range(11)])
    assert (times[0], times[-1]) == (min(seconds), max(seconds))


# Ratios


@SLOW
@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_the_ratio_and_its_interval_scale_with_one_side(seed: int, factor: float) -> None:
    ours, other = lognormal(seed, 20, 5), lognormal(seed + 5000, 20, 5)
    plain = interval(ours, other)
    scaled = interval([[factor * time for time in each] for each in ours], other)
    assert scaled.value == pytest.approx(factor * plain.value, rel=1e-3)
    assert (scaled.low, scaled.high) == pytest.approx((factor * plain.low, factor * plain.high), rel=1e-3)


@SLOW
@given(st.integers(0, 1000))
def test_the_sides_the_other_way_round_give_about_the_inverse(seed: int) -> None:
    ours, other = lognormal(seed, 20, 5, 38e-6), lognormal(seed + 5000, 20, 5)
    one, inverse = interval(ours, other), interval(other, ours)
    assert inverse.value == pytest.approx(1 / one.value, rel=1e-3)
    assert (inverse.low, inverse.high) == pytest.approx((1 / one.high, 1 / one.low), rel=1e-3)


@SLOW
@given(st.integers(0, 1000))
def test_the_ratio_lies_within_its_interval_and_near_the_quotient_of_the_medians(seed: int) -> None:
    ours, other = lognormal(seed, 20, 5, 38e-6), lognormal(seed + 5000, 20, 5)
    found = interval(ours, other)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(np.median(ours) / np.median(other), rel=0.1)


def test_the_same_timings_give_the_same_interval_every_time() -> None:
    ours, other = lognormal(1, 20, 5), lognormal(2, 20, 5)
    assert interval(ours, other) == interval(ours, other)


def test_more_rounds_make_a_narrower_interval() -> None:
    few, many = (interval(lognormal(1, n, 5), lognormal(2, n, 5)) for n in (20, 320))
    assert math.log(many.high / many.low) < math.log(few.high / few.low) / 2


def test_drift_that_hits_both_alike_widens_nothing() -> None:
    ours, other = lognormal(1, 40, 5, 38e-6), lognormal(2, 40, 5)
    steady = interval(ours, other)
    slower = np.exp(np.linspace(0, 3, 40))
    drifted = interval(
        *([[drift * time for time in each] for drift, each in zip(slower, side, strict=True)] for side in (ours, other))
    )
    assert (drifted.value, drifted.low, drifted.high) == pytest.approx(
        (steady.value, steady.low, steady.high), rel=1e-3
    )


def test_a_disturbance_of_neighbouring_rounds_counts_as_one_event() -> None:
    ours, other = lognormal(1, 40, 5), lognormal(2, 40, 5)
    slow = {*range(20)}
    together = [[2 * time for time in each] if at in slow else each for at, each in enumerate(ours)]
    scattered = [[2 * time for time in each] if at % 2 else each for at, each in enumerate(ours)]
    one_event, many_events = interval(together, other), interval(scattered, other)
    assert math.log(one_event.high / one_event.low) > 1.5 * math.log(many_events.high / many_events.low)


def test_of_too_few_rounds_there_is_no_ratio() -> None:
    ours, other = lognormal(1, FEWEST_ROUNDS, 5), lognormal(2, FEWEST_ROUNDS, 5)
    assert ratio_of_medians(ours, other) is not None
    assert ratio_of_medians(ours[1:], other) is None
    assert ratio_of_medians(ours, other[1:]) is None
    assert ratio_of_medians([], []) is None


def test_a_round_in_which_one_side_has_no_timing_is_left_out() -> None:
    ours, other = lognormal(1, 20, 5), lognormal(2, 20, 5)
    with_gaps = interval([[], *ours[:10], [99.0], *ours[10:]], [[99.0], *other[:10], [], *other[10:]])
    assert with_gaps == interval(ours, other)


def test_rounds_that_lost_all_their_calls_do_not_count_as_rounds() -> None:
    other = lognormal(2, FEWEST_ROUNDS, 5)
    assert ratio_of_medians([[], *lognormal(1, FEWEST_ROUNDS - 1, 5)], other) is None


def test_rounds_may_have_lost_some_of_their_calls() -> None:
    ours, other = lognormal(1, 40, 5, 38e-6), lognormal(2, 40, 5)
    found = interval([each[: 1 + at % 5] for at, each in enumerate(ours)], other)
    assert found.low < 1.9 < found.high


@pytest.mark.parametrize(("ours_s", "other_s", "ratio"), [(2e-6, 1e-6, 2.0), (1e-6, 1e-6, 1.0)])
def test_a_clock_so_coarse_that_all_timings_are_equal_breaks_nothing(
    ours_s: float, other_s: float, ratio: float
) -> None:
    found = interval([[ours_s] * 5] * 20, [[other_s] * 5] * 20)
    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(ratio)


def test_timings_that_a_clock_rounded_do_not_shrink_the_interval_to_nothing() -> None:
    ours, other = lognormal(1, 40, 5, 4e-6, sigma=0.02), lognormal(2, 40, 5, 2e-6, sigma=0.02)
    ours[0][0], other[0][0] = 5e-6, 3e-6
    rounded = [[[round(time / MICROSECOND) * MICROSECOND for time in each] for each in side] for side in (ours, other)]
    found = interval(*rounded)
    assert found.low < 2.0 < found.high
    assert found.high / found.low > 1.05


# Coverage

ROUNDS, CALLS, TRUE_RATIO = 40, 5, 1.9
EXPERIMENTS = 600


def steady(rng: np.random.Generator) -> Floats:
    """Nothing happens to the machine."""
    return np.ones(ROUNDS)


def trend(rng: np.random.Generator) -> Floats:
    """It gets slower all the time, at the end twice."""
    return np.linspace(1, 2, ROUNDS)


def wandering(rng: np.random.Generator) -> Floats:
    """It gets slower and faster, for some ten rounds each time: an AR(1) of its logarithm, 20 % up and down."""
    level, levels = rng.normal(0, 0.2), []
    for step in rng.normal(0, 0.2 * math.sqrt(1 - 0.9**2), ROUNDS):
        levels.append(level)
        level = 0.9 * level + step
    return np.exp(levels)


def experiment(rng: np.random.Generator, drift: Floats, step_s: float | None) -> tuple[Floats, Floats]:
    """Timings of two contenders whose true ratio is known: 20 µs, lognormal, one drift for both, rounded to a step."""
    sides = []
    for ratio in (TRUE_RATIO, 1.0):
        seconds = 20e-6 * ratio * drift[:, None] * np.exp(rng.normal(0, 0.15, (ROUNDS, CALLS)))
        sides.append(seconds if step_s is None else np.round(seconds / step_s) * step_s)
    return sides[0], sides[1]


@pytest.mark.parametrize(
    ("drift", "step_s"),
    [(steady, None), (trend, None), (wandering, None), (steady, MICROSECOND)],
    ids=["independent", "trend", "wandering", "rounded"],
)
def test_the_interval_covers_the_true_ratio_in_95_of_100_experiments_give_or_take_2(
    drift: Callable[[np.random.Generator], Floats], step_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 300)  # as good on average, in a third of the time
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(EXPERIMENTS):
        ours, other = experiment(rng, drift(rng), step_s)
        found = interval(ours.tolist(), other.tolist())
        covered += found.low <= TRUE_RATIO <= found.high
    assert 0.93 <= covered / EXPERIMENTS <= 0.97
