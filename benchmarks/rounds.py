"""Timing several contenders in one run, block by block in turn, so that drift of the machine hits all alike."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Operation = Callable[[], object]
"""One call to be timed, with all it needs made beforehand."""


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


def interleaved(
    contenders: Mapping[str, Callable[[int], Operation]], *, rounds: int, block: int, warm_up: int = 2
) -> dict[str, Times]:
    """Time `block` calls of each contender, in a new order each round; the first `warm_up` rounds are left out.

    A contender makes its n-th call ready when it is given n, outside of the timing.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    shuffle = random.Random(0).shuffle
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for number in range(-warm_up, rounds):
            shuffle(order)
            for name in order:
                make = contenders[name]
                calls = [make((number + warm_up) * block + place) for place in range(block)]
                for call in calls:
                    began = time.perf_counter()
                    call()
                    elapsed_s = time.perf_counter() - began
                    if number >= 0:
                        seconds[name].append(elapsed_s)
            gc.collect(0)
    finally:
        if was_enabled:
            gc.enable()
    return {name: Times(measured_s) for name, measured_s in seconds.items()}
