"""Timing contenders as the app's own comparison does, with the garbage collector out of the way."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from lab.rounds import Contender, Operation, timed_rounds


@dataclass(frozen=True, slots=True)
class Times:
    """The seconds that each timed call of one contender took."""

    seconds: list[float]

    @property
    def median_s(self) -> float:
        """Half of the calls took less."""
        return statistics.median(self.seconds)

    def percentile_s(self, percent: int) -> float:
        """The nearest-rank percentile."""
        ordered = sorted(self.seconds)
        return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def interleaved(contenders: Mapping[str, Contender], *, rounds: int, block: int, warm_up: int = 2) -> dict[str, Times]:
    """All timings of each contender, the rounds of the warm-up left out."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for each in timed_rounds(contenders, rounds=rounds, block=block, warm_up=warm_up):
            if each.number >= 0:
                for name, timed in each.blocks.items():
                    seconds[name] += timed.seconds
            gc.collect(0)
    finally:
        if was_enabled:
            gc.enable()
    return {name: Times(measured_s) for name, measured_s in seconds.items()}


__all__ = ["Operation", "Times", "interleaved"]
