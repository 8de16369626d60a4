"""What a list of entries can be narrowed by, in choices a person makes, and how many entries each would leave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from cache_backends import Tally
from cache_backends.browse import SIZE_MARKS
from cache_backends.records import EntryState
from lab.entry_filter import EntryFilter

AgeChoice = Literal["any", "1d", "7d", "30d", "older"]
AGE_CHOICES: tuple[AgeChoice, ...] = get_args(AgeChoice)
HOUR_S, DAY_S = 3_600, 86_400
_DAYS: dict[AgeChoice, int] = {"1d": 1, "7d": 7, "30d": 30}
_LEAST_CLASS: dict[AgeChoice, int] = {"any": 0, "30d": 1, "7d": 2, "1d": 3}
SIZE_CLASSES = range(len(SIZE_MARKS) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """What is chosen; without anything, all entries are left."""

    model: str | None = None
    state: EntryState = "any"
    age: AgeChoice = "any"
    size: int | None = None
    """A class of sizes: how many of `SIZE_MARKS` an entry has at least."""

    def filter(self, search: str, now: float) -> EntryFilter:
        """The same for a cache, at the Unix time `now`."""
        oldest, *_ = age_marks(now)
        bounds = (None, *SIZE_MARKS, None)
        return EntryFilter(
            search=search,
            model=self.model,
            state=self.state,
            created_from=begin_of_hour(now) - _DAYS[self.age] * DAY_S if self.age in _DAYS else None,
            created_before=oldest if self.age == "older" else None,
            min_bytes=None if self.size is None else bounds[self.size],
            below_bytes=None if self.size is None else bounds[self.size + 1],
        )

    def admits(self, one: Tally) -> bool:
        """Whether entries of this kind, counted by `age_marks`, are left."""
        of_age = one.age == 0 if self.age == "older" else one.age >= _LEAST_CLASS[self.age]
        return (
            of_age
            and self.model in (None, one.model)
            and (self.state == "any" or one.is_expired == (self.state == "expired"))
            and self.size in (None, one.size)
        )

    @property
    def is_chosen(self) -> bool:
        """Whether anything is."""
        return self != Narrowing()


def age_marks(now: float) -> tuple[float, ...]:
    """The Unix times that divide entries by age, ascending: whole hours, by which indexes for browsing count."""
    return tuple(begin_of_hour(now) - days * DAY_S for days in sorted(_DAYS.values(), reverse=True))


def begin_of_hour(now: float) -> float:
    """The Unix time at which its hour began."""
    return now // HOUR_S * HOUR_S


def count(tallies: Iterable[Tally], narrowing: Narrowing) -> int:
    """How many entries are left."""
    return sum(one.entries for one in tallies if narrowing.admits(one))


def models(tallies: Iterable[Tally]) -> list[str]:
    """The models there are, in alphabetical order."""
    return sorted({one.model for one in tallies if one.model is not None})
