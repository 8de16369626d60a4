"""The records of a comparison: what was asked for, each strategy's race and timings, and the run as it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated

from pydantic import Field

from lab.measurement import Measurement
from lab.statistics import Interval, Summary, ratio_of_medians, summary

REPEATS = (400, 1_000, 2_000, 10_000)
"""How many warm hits of each strategy a person can choose to have timed."""
DEFAULT_REPEATS = 2_000
Seconds = Annotated[float, Field(ge=0, le=1e9)]
"""As they are read from a kept run, which somebody may have written by hand."""
UnixTime = Annotated[float, Field(ge=0, le=1e11)]
BLOCK = 20
"""Calls of one strategy in a row: so many follow one another in a program that is busy."""
STORES_SHARE = 4
"""One store is timed for so many hits: they are slower, and fill the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRequest:
    """What a person wants compared. `visitor_key` was typed for this model's endpoint and goes nowhere else."""

    prompt: str
    strategies: tuple[str, ...]
    model_id: str
    scope: str
    temperature: float = 0.7
    repeats: int = DEFAULT_REPEATS
    ask_each: bool = False
    """Whether the model is called once for each strategy, else once for all."""
    visitor_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a run was measured on."""

    system: str
    processor: str
    cores: int | None
    python: str
    versions: dict[str, str]
    """Of the packages that matter, by name."""


@dataclass(frozen=True, kw_only=True)
class Timings:
    """The timings of one kind of call of one strategy, in seconds."""

    rounds: list[list[Seconds]] = field(default_factory=list)
    """Of the calls that succeeded, by round, the warm-up left out."""
    first_s: Seconds | None = None
    """The first of the timed calls, which belongs to the warm-up."""
    failures: int = 0

    @cached_property
    def summary(self) -> Summary | None:
        """All of them summed up; None where none succeeded."""
        return summary(self.rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One strategy in a run. None and nothing: not measured, or not known."""

    strategy: str
    problem: str | None = None
    """Why it could not be measured, or not to the end."""
    cold: Measurement | None = None
    warm: Measurement | None = None
    lookups: Timings = field(default_factory=Timings)
    """Hits, inside the backend alone."""
    invokes: Timings = field(default_factory=Timings)
    """Hits, as whole calls of the model with this cache."""
    stores: Timings = field(default_factory=Timings)
    """Stores of new entries, inside the backend alone."""
    entry_bytes: int | None = None
    survives_restart: bool | None = None
    shared_between_machines: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A comparison with its results. `began_at` is a Unix time."""

    id: str
    scope: str
    began_at: UnixTime
    request: CompareRequest
    simulated: bool
    machine: Machine
    compared: tuple[Compared, ...]
    """In the order they were chosen in."""
    stopped: bool = False
    name: str | None = None
    ratios: dict[str, Interval] = field(default_factory=dict)
    """By strategy: how many times as long a hit of its backend takes as one of the baseline."""

    @property
    def model_times_s(self) -> list[float]:
        """Every model call of the race, in seconds; one that was bought for all counts once."""
        return self._of_calls([each.cold.model_s for each in self.compared if each.cold and not each.cold.failure])

    @property
    def cold_times_s(self) -> list[float]:
        """Every whole call in which the model answered, in seconds; one that was bought for all counts once."""
        return self._of_calls([each.cold.total_s for each in self.compared if each.cold and not each.cold.failure])

    def _of_calls(self, times_s: list[float | None]) -> list[float]:
        known = [time for time in times_s if time is not None]
        return known if self.request.ask_each else known[:1]

    @property
    def measured(self) -> tuple[Compared, ...]:
        """Those with timings of hits, fastest backend first."""
        timed = [(each, found) for each in self.compared if (found := each.lookups.summary) is not None]
        return tuple(each for each, _ in sorted(timed, key=lambda pair: pair[1].median_s))

    @property
    def baseline(self) -> Compared | None:
        """What the others are compared with: the first of those with timings, in the order they were chosen in."""
        return next((each for each in self.compared if each.lookups.summary is not None), None)

    @property
    def failed(self) -> tuple[Compared, ...]:
        """Those that could not be measured, or not to the end."""
        return tuple(each for each in self.compared if each.problem is not None)

    def with_ratios(self) -> Run:
        """The run with the ratios of its timings: they take up to a second each."""
        ratios: dict[str, Interval] = {}
        baseline = self.baseline
        for each in self.measured:
            if baseline is not None and each.strategy != baseline.strategy:
                ratio = ratio_of_medians(each.lookups.rounds, baseline.lookups.rounds)
                if ratio is not None:
                    ratios[each.strategy] = ratio
        return replace(self, ratios=ratios)
