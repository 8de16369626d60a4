"""Why a request ended as it did, as a reason that a page puts into words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lab.history import Kept
from lab.measurement import Measurement

Reason = Literal[
    "found",
    "shared",
    "first_time",
    "expired",
    "emptied_by_restart",
    "removed_since",
    "damaged",
    "cache_failed",
    "no_cache",
    "bypassed",
    "model_failed",
    "strategy_unavailable",
]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The reason, and how long ago what it speaks of happened, in seconds, where that is known."""

    reason: Reason
    ago_s: float | None = None


def explain(measurement: Measurement, kept_before: Kept | None, emptied_at: float | None) -> Explanation:
    """The reason behind a measurement.

    `kept_before` is when the store was last known to hold the answer, `emptied_at` when a restart last emptied it (both
    before this request).
    """
    by_outcome: dict[str, Explanation] = {
        "hit": Explanation("found", measurement.entry_age_s),
        "shared": Explanation("shared"),
        "expired": Explanation("expired", measurement.expired_for_s),
        "corrupt": Explanation("damaged"),
        "error": Explanation("cache_failed"),
        "bypass": Explanation("no_cache" if measurement.not_stored == "no_cache" else "bypassed"),
    }
    if measurement.failure == "strategy_unavailable":
        return Explanation("strategy_unavailable")
    if measurement.failure is not None:
        return Explanation("model_failed")
    if measurement.outcome in by_outcome:
        return by_outcome[measurement.outcome]
    if kept_before is None:
        return Explanation("first_time")
    if emptied_at is not None and kept_before.at <= emptied_at:
        return Explanation("emptied_by_restart", measurement.asked_at - emptied_at)
    return Explanation("removed_since", measurement.asked_at - kept_before.at)
