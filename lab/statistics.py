"""What timings say: their summary, which percentiles they can support, and ratios with an interval. Pure, no I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Of every interval, and of what a percentile needs to be shown."""
RESAMPLES = 1_000
OUTLIER_DEVIATIONS = 10.0
"""A timing is an outlier so many robust standard deviations (1.4826 times the median absolute deviation) off."""
_NORMAL_MAD = 1.4826
"""The standard deviation of a normal distribution by its median absolute deviation."""
_CHUNK = 2_000_000
"""Numbers in memory at once while resampling."""

Floats = NDArray[np.float64]
Rounds = Sequence[Sequence[float]]
"""The timings of one contender by round, in seconds: rounds in their order, of any length, some may be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The timings of one contender. Seconds; None where so few timings can't say it."""

    n: int
    min_s: float
    median_s: float
    p95_s: float | None
    p99_s: float | None
    max_s: float
    mean_s: float
    deviation_s: float | None
    """Standard deviation of the sample (n - 1)."""
    outliers: int
    """Timings further from the median than `OUTLIER_DEVIATIONS`."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A ratio and what it lies between with a probability of `CONFIDENCE`."""

    value: float
    low: float
    high: float


def summary(rounds: Rounds) -> Summary | None:
    """Sum up all timings; None where there are none."""
    seconds = _pooled(rounds)
    if not seconds.size:
        return None
    n = int(seconds.size)
    return Summary(
        n=n,
        min_s=float(seconds.min()),
        median_s=float(np.median(seconds)),
        p95_s=percentile(seconds, 95),
        p99_s=percentile(seconds, 99),
        max_s=float(seconds.max()),
        mean_s=float(seconds.mean()),
        deviation_s=float(seconds.std(ddof=1)) if n > 1 else None,
        outliers=outliers(seconds),
    )


def percentile(seconds: Sequence[float] | Floats, percent: float) -> float | None:
    """The percentile by linear interpolation (Hyndman and Fan's type 7, numpy's own); None where n is too small."""
    return float(np.percentile(seconds, percent)) if len(seconds) >= needed(percent) else None


def needed(percent: float) -> int:
    """How many timings a percentile needs: so many that the largest lies beyond it with a probability of 95 %.

    The smallest n with 1 - p**n >= 0.95 (S. S. Wilks, "Determination of sample sizes for setting tolerance limits",
    1941): 59 for the 95th, 299 for the 99th; below the median by symmetry.

    >>> needed(95), needed(99)
    (59, 299)
    """
    share: float = max(percent, 100 - percent) / 100
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(share))


def outliers(seconds: Sequence[float] | Floats) -> int:
    """How many timings lie far off the median, by the median absolute deviation (Iglewicz and Hoaglin, 1993)."""
    values = np.asarray(seconds, dtype=np.float64)
    if values.size < 3:
        return 0
    off = np.abs(values - np.median(values))
    deviation = _NORMAL_MAD * float(np.median(off))
    return int(np.count_nonzero(off > OUTLIER_DEVIATIONS * deviation)) if deviation else 0


def ratio_of_medians(ours: Rounds, other: Rounds, *, seed: int = 0) -> Interval | None:
    """How many times the median of `other` the median of `ours` is; None where one has too few rounds.

    What slowed a round down for both alike (drift of the machine) is taken out first: each round is divided by the
    geometric mean of its two medians, which leaves their ratio as it is. The interval comes from a circular block
    bootstrap over the rounds (Politis and Romano, 1992): whole stretches of neighbouring rounds are drawn, of both
    contenders together, so that what lasted some rounds counts as one event. It is widened by Student's t, since few
    stretches show less than all of the spread. Timings that a clock rounded are spread over its step before, else an
    interval could shrink to nothing. Drift that hits one contender only, for longer than a stretch, is seen in part.
    """
    if min(_median(ours), _median(other)) <= 0:
        return None  # a clock too coarse to say
    pairs = [(a, b) for a, b in zip(ours, other, strict=False) if len(a) and len(b)]
    if len(pairs) < FEWEST_ROUNDS:
        return None
    rng = np.random.default_rng(seed)
    first, second = _without_drift(*(_unrounded([pair[side] for pair in pairs], rng) for side in (0, 1)))
    value = float(np.median(np.concatenate(first)) / np.median(np.concatenate(second)))
    block = _block_length(len(pairs))
    drawn = _circular_blocks(len(pairs), block, rng)
    logs = np.log(_medians(first, drawn)) - np.log(_medians(second, drawn))
    middle = math.log(value)
    low, high = np.quantile(logs - middle, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    wider = _student(len(pairs) / block)
    return Interval(value, math.exp(middle + low * wider), math.exp(middle + high * wider))


FEWEST_ROUNDS = 8
"""Below this there is nothing to resample."""


def distribution(rounds: Rounds, points: int = 101) -> list[tuple[float, float]]:
    """The distribution in so many points: share of the timings, and the seconds that this share did not exceed."""
    seconds = _pooled(rounds)
    if not seconds.size:
        return []
    shares = np.linspace(0, 1, points)
    return list(zip(shares.tolist(), np.quantile(seconds, shares).tolist(), strict=True))


def _median(rounds: Rounds) -> float:
    seconds = _pooled(rounds)
    return float(np.median(seconds)) if seconds.size else 0.0


def _pooled(rounds: Rounds) -> Floats:
    return np.concatenate([np.asarray(each, dtype=np.float64) for each in rounds]) if rounds else np.empty(0)


def _block_length(rounds: int) -> int:
    """By n to the power of 1/3, the optimal rate (Hall, Horowitz and Jing, 1995); a factor of 1 covered best."""
    return max(1, round(math.cbrt(rounds)))


def _circular_blocks(rounds: int, block: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which rounds each resample consists of: `RESAMPLES` rows."""
    starts = rng.integers(0, rounds, (RESAMPLES, math.ceil(rounds / block)))
    drawn = (starts[:, :, None] + np.arange(block)) % rounds
    return drawn.reshape(RESAMPLES, -1)[:, :rounds]


def _medians(rounds: Sequence[Floats], drawn: NDArray[np.int64]) -> Floats:
    """The median of each resample."""
    longest = max(map(len, rounds))
    table = np.full((len(rounds), longest), np.nan)
    for row, seconds in zip(table, rounds, strict=True):
        row[: len(seconds)] = seconds
    whole = all(len(seconds) == longest for seconds in rounds)
    median = np.median if whole else np.nanmedian
    step = max(1, _CHUNK // table.size)
    return np.concatenate(
        [
            median(table[part].reshape(len(part), -1), axis=1)
            for part in (drawn[at : at + step] for at in range(0, len(drawn), step))
        ]
    )


def _without_drift(first: Sequence[Floats], second: Sequence[Floats]) -> tuple[list[Floats], list[Floats]]:
    common = [math.sqrt(float(np.median(a)) * float(np.median(b))) for a, b in zip(first, second, strict=True)]
    return tuple([each / drift for each, drift in zip(side, common, strict=True)] for side in (first, second))  # type: ignore[return-value]


def _unrounded(rounds: Rounds, rng: np.random.Generator) -> list[Floats]:
    """The timings, each somewhere within the step that its clock rounded it to: the least distance of two of them."""
    distinct = np.unique(_pooled(rounds))
    step = float(np.diff(distinct).min()) if distinct.size > 1 else 0.0
    return [np.asarray(each) + rng.uniform(-step / 2, step / 2, len(each)) for each in rounds]


def _student(stretches: float) -> float:
    """How much wider than a normal an interval from so many independent stretches must be.

    Student's t by its expansion (Abramowitz and Stegun, 26.7.5). Not times sqrt(k / (k - 1)) too, as for a mean: of 20
    rounds with 20 calls, 97 % of the intervals would then cover the true ratio, without it 96 %.
    """
    z, k = 1.959964, max(3.0, stretches)
    free = k - 1
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return t / z
