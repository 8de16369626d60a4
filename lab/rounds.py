"""Timing several contenders in one run, block by block in turn, so that drift of the machine hits all alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

WARM_UP_ROUNDS = 2
Operation = Callable[[], object]
"""One call to be timed, with all it needs made beforehand."""
Contender = Callable[[int], Operation]
"""Makes its n-th call ready, outside of the timing."""
Judge = Callable[[object], str | None]
"""Why what a call gave is no success; None where it is one."""


@dataclass(frozen=True, slots=True)
class Block:
    """The calls of one contender in one round."""

    seconds: list[float]
    """Of the calls that succeeded, in their order."""
    failures: list[str]
    """Why each of the others did not."""


@dataclass(frozen=True, slots=True)
class Round:
    """One block of each contender. Those of the warm-up have negative numbers."""

    number: int
    blocks: dict[str, Block]


def timed_rounds(
    contenders: Mapping[str, Contender],
    *,
    rounds: int,
    block: int,
    warm_up: int = WARM_UP_ROUNDS,
    judge: Judge | None = None,
) -> Iterator[Round]:
    """Time `block` calls of each contender a round, in an order drawn anew for each round; the warm-up comes first.

    A contender that is taken out of `contenders` between two rounds is not called again. With a judge, a call that
    raises is a failure like one that the judge does not accept; without one, what a call raises ends the run.
    """
    shuffle = random.Random(0).shuffle
    for number in range(-warm_up, rounds):
        order = list(contenders)
        shuffle(order)
        first = (number + warm_up) * block
        yield Round(number, {name: _timed(contenders[name], first, block, judge) for name in order})


def _timed(make: Contender, first: int, calls: int, judge: Judge | None) -> Block:
    seconds: list[float] = []
    failures: list[str] = []
    for call in [make(first + place) for place in range(calls)]:
        began = time.perf_counter()
        try:
            result = call()
        except Exception as error:
            if judge is None:
                raise
            failures.append(str(error) or type(error).__name__)
            continue
        elapsed_s = time.perf_counter() - began
        failure = None if judge is None else judge(result)
        if failure is None:
            seconds.append(elapsed_s)
        else:
            failures.append(failure)
    return Block(seconds, failures)
