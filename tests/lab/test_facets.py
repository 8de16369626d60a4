"""What a list can be narrowed by: the count of a choice is what choosing it lists, whatever else is chosen."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from cache_backends import CacheBackend, open_cache
from cache_backends.browse import SIZE_MARKS
from cache_backends.records import EntryState
from lab import facets
from lab.entry_filter import EntryFilter
from lab.facets import AGE_CHOICES, SIZE_CLASSES, AgeChoice, Narrowing, age_marks, begin_of_hour
from tests.lab.building import Clock
from tests.lab.entries import listed, parameters, various
from tests.lab.transfers import store

STATES: tuple[EntryState, ...] = ("any", "live", "expired")


@pytest.fixture(params=["memory://", "sqlite:///{}/cache.db", "json:///{}/answers"], ids=["memory", "sqlite", "json"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> CacheBackend:
    """With different entries."""
    made = open_cache(request.param.format(tmp_path), clock=clock)
    various(made, clock)
    return made


def test_every_count_is_what_choosing_it_lists(cache: CacheBackend, clock: Clock) -> None:
    tallies = cache.tally(search="question", ages=age_marks(clock.now))
    models = [None, *facets.models(tallies)]
    assert models == [None, "demo-0", "demo-1", "demo-2"]
    sizes = [None, *SIZE_CLASSES]
    counts = {
        chosen: facets.count(tallies, chosen)
        for model, state, age, size in product(models, STATES, AGE_CHOICES, sizes)
        for chosen in [Narrowing(model=model, state=state, age=age, size=size)]
    }
    assert len({*counts.values()}) > 10, "so that the test tells anything"
    everything = listed(cache)
    for chosen, said in counts.items():
        query = chosen.filter("question", clock.now)
        assert said == cache.entries(**query.query, limit=1, up_to_date=False).total, chosen
    assert counts[Narrowing()] == len(everything) == 48


def test_the_counts_of_a_group_of_choices_make_the_whole(cache: CacheBackend, clock: Clock) -> None:
    tallies = cache.tally(ages=age_marks(clock.now))
    assert sum(facets.count(tallies, Narrowing(size=size)) for size in SIZE_CLASSES) == 48
    assert sum(facets.count(tallies, Narrowing(state=state)) for state in STATES[1:]) == 48
    assert facets.count(tallies, Narrowing(age="older")) + facets.count(tallies, Narrowing(age="30d")) == 48


@pytest.mark.parametrize(
    ("age", "hours"), [("1d", 24), ("7d", 7 * 24), ("30d", 30 * 24)],
)  # fmt: skip
@pytest.mark.parametrize("late", [-1, 0, 1])
def test_an_age_begins_at_a_whole_hour_for_counts_and_lists_alike(
    clock: Clock, age: AgeChoice, hours: int, late: int
) -> None:
    cache, now = open_cache("memory://", clock=clock), clock.now
    clock.now = begin_of_hour(now) - hours * 3_600 + late
    store(cache, "question")
    tallies = cache.tally(ages=age_marks(now))
    for chosen in (Narrowing(age=age), Narrowing(age="older")):
        is_in = (late >= 0) == (chosen.age == age) and not (chosen.age == "older" and age != "30d")
        listing = cache.entries(**chosen.filter("", now).query).total
        assert (facets.count(tallies, chosen), listing) == (int(is_in), int(is_in))


@pytest.mark.parametrize("number", SIZE_CLASSES)
def test_a_class_of_sizes_ends_where_the_next_begins(number: int) -> None:
    chosen = Narrowing(size=number).filter("", 0.0)
    assert chosen.min_bytes == (SIZE_MARKS[number - 1] if number else None)
    assert chosen.below_bytes == (SIZE_MARKS[number] if number < len(SIZE_MARKS) else None)


def test_nothing_chosen_leaves_all() -> None:
    assert Narrowing().filter("", 1e9) == EntryFilter()
    assert not Narrowing().is_chosen


@pytest.mark.parametrize("chosen", [{"model": "m"}, {"state": "live"}, {"age": "1d"}, {"size": 0}])
def test_anything_chosen_is_a_narrowing(chosen: dict[str, str]) -> None:
    assert Narrowing(**chosen).is_chosen  # type: ignore[arg-type]


def test_entries_without_a_model_are_among_those_of_every_model_alone(clock: Clock) -> None:
    cache = open_cache("memory://", clock=clock)
    store(cache, "question", llm_string="no model is named")
    store(cache, "question", llm_string=parameters("demo-1"))
    tallies = cache.tally(ages=age_marks(clock.now))
    assert facets.models(tallies) == ["demo-1"]
    counts: Callable[[str | None], int] = lambda model: facets.count(tallies, Narrowing(model=model))  # noqa: E731
    assert (counts(None), counts("demo-1"), counts("demo")) == (2, 1, 0)
