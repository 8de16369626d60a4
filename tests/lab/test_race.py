"""The race of a comparison: one prompt for every strategy, cold and then warm; and what `ask` exchanged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.caches import BaseCache
from langchain_core.messages import AIMessage
from langchain_core.outputs import Generation

from cache_backends import MemoryCache
from lab.ask import answer_from_elsewhere, ask
from lab.laboratory import Laboratory
from lab.models import Model
from lab.observed_cache import Exchange
from lab.race import Race, Raced
from lab.strategies import NO_CACHE, Strategy
from tests.lab.building import CACHES, OURS, SAGAN, Counting, ToldChat, as_model

pytestmark = pytest.mark.filterwarnings("ignore:The default value of `allowed_objects`")

NAMESPACE = "compare-1:simulated"
ALL = (NO_CACHE, *CACHES)


class Full(BaseCache):
    """Finds nothing and keeps nothing."""

    def lookup(self, prompt: str, llm_string: str) -> None:
        """Nothing."""

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Refuse, with a password in the reason."""
        raise OSError("no space left for hunter2secret")

    def clear(self, **kwargs: Any) -> None:
        """Nothing to do."""


class Racing:
    """A race whose results are listed as they come."""

    def __init__(self, laboratory: Laboratory, model: Model, strategies: Sequence[Strategy], *, each: bool) -> None:
        self.results: list[Raced] = []
        self.on_show: Callable[[Raced], None] = lambda _: None
        self.stopped = threading.Event()
        self.race = Race(
            laboratory=laboratory,
            model=model,
            prompt=SAGAN,
            strategies=strategies,
            ask_each=each,
            show=self._show,
            stopping=self.stopped.is_set,
        )

    def run(self) -> Exchange | None:
        return self.race.run()

    def of(self, act: str) -> dict[str, Any]:
        return {raced.strategy: raced.measurement for raced in self.results if raced.act == act}

    def _show(self, raced: Raced) -> None:
        self.results.append(raced)
        self.on_show(raced)


def strategies_of(laboratory: Laboratory, names: Sequence[str] = ALL) -> list[Strategy]:
    return [laboratory.strategies.get(name, NAMESPACE) for name in names]


def counting() -> tuple[Model, Counting]:
    runnable = Counting(place="here")
    return as_model(runnable), runnable


# What was exchanged


@pytest.mark.parametrize("name", ALL)
def test_what_was_exchanged_finds_the_answer_in_the_cache(name: str, laboratory: Laboratory) -> None:
    model, _ = counting()
    (strategy,) = strategies_of(laboratory, [name])
    exchanges: list[Exchange] = []
    ask(model, strategy, SAGAN, exchanged=exchanges.append)
    (exchange,) = exchanges
    assert (exchange.prompt, [each.text for each in exchange.generations]) == (SAGAN, ["answer 1 from here"])
    (memory,) = strategies_of(laboratory, ["memory"])
    assert memory.cache is not None
    memory.cache.update(exchange.prompt, exchange.llm_string, exchange.generations)
    assert ask(model, memory, SAGAN).outcome == "hit"


def test_a_hit_exchanges_what_was_stored(laboratory: Laboratory) -> None:
    model, _ = counting()
    (strategy,) = strategies_of(laboratory, ["memory"])
    exchanges: list[Exchange] = []
    for _ in range(2):
        ask(model, strategy, SAGAN, exchanged=exchanges.append)
    first, second = exchanges
    assert (second.prompt, second.llm_string) == (first.prompt, first.llm_string)
    assert list(second.generations) == list(first.generations)


def test_where_no_answer_came_nothing_was_exchanged(laboratory: Laboratory) -> None:
    model = as_model(ToldChat(told=[ValueError("no luck")]))
    exchanges: list[Exchange] = []
    ask(model, strategies_of(laboratory, ["memory"])[0], SAGAN, exchanged=exchanges.append)
    assert exchanges == []


# An answer from elsewhere


def bought(model: Model) -> tuple[Any, Exchange]:
    exchanges: list[Exchange] = []
    measured = ask(model, Strategy(NO_CACHE, None, NAMESPACE), SAGAN, scope="mine", exchanged=exchanges.append)
    return measured, exchanges[0]


@pytest.mark.parametrize("name", CACHES)
def test_an_answer_from_elsewhere_is_a_miss_that_is_stored_and_found_again(name: str, laboratory: Laboratory) -> None:
    model, runnable = counting()
    measured, exchange = bought(model)
    (strategy,) = strategies_of(laboratory, [name])
    given = answer_from_elsewhere(model, strategy, measured, exchange)
    assert (given.outcome, given.stored, given.not_stored, given.failure) == ("miss", True, None, None)
    assert (given.strategy, given.answer, given.scope) == (name, measured.answer, "mine")
    again = ask(model, strategy, SAGAN)
    assert (again.outcome, again.answer, again.key) == ("hit", measured.answer, given.key)
    assert len(runnable.calls) == 1


def test_the_whole_of_an_answer_from_elsewhere_is_the_sum_of_its_parts(laboratory: Laboratory) -> None:
    model, _ = counting()
    measured, exchange = bought(model)
    given = answer_from_elsewhere(model, strategies_of(laboratory, ["sqlite"])[0], measured, exchange)
    assert given.lookup_s is not None
    assert given.store_s is not None
    assert given.model_s == measured.model_s is not None
    assert given.total_s == pytest.approx(given.lookup_s + given.model_s + given.store_s)
    assert given.first_token_s is None


def test_an_answer_from_elsewhere_that_can_not_be_stored_says_why_without_its_password() -> None:
    model, _ = counting()
    measured, exchange = bought(model)
    given = answer_from_elsewhere(model, Strategy("full", Full(), NAMESPACE, ("hunter2secret",)), measured, exchange)
    assert (given.outcome, given.stored, given.not_stored) == ("miss", False, "error")
    assert given.detail is not None
    assert "no space left" in given.detail
    assert "hunter2secret" not in given.detail


def test_an_answer_that_repeats_the_key_is_not_stored_elsewhere() -> None:
    runnable = ToldChat(told=[AIMessage("Your key is sk-visitor-1")])
    model = as_model(runnable, secrets=("sk-visitor-1",))
    measured, exchange = bought(model)
    cache = MemoryCache()
    given = answer_from_elsewhere(model, Strategy("memory", cache, NAMESPACE), measured, exchange)
    assert (given.stored, given.not_stored) == (False, "holds_key")
    assert cache.stats().entries == 0


# Asked once for all


def test_asked_once_for_all_the_model_is_called_once_and_every_strategy_is_warm(laboratory: Laboratory) -> None:
    model, runnable = counting()
    racing = Racing(laboratory, model, strategies_of(laboratory), each=False)
    exchange = racing.run()
    assert len(runnable.calls) == 1
    assert exchange is not None
    assert [each.text for each in exchange.generations] == ["answer 1 from here"]
    cold, warm = racing.of("cold"), racing.of("warm")
    assert [*cold] == [*ALL]
    assert [*warm] == [*CACHES]
    assert {name: (each.outcome, each.stored) for name, each in cold.items()} == {
        NO_CACHE: ("bypass", False)
    } | dict.fromkeys(CACHES, ("miss", True))
    assert {(each.outcome, each.answer) for each in warm.values()} == {("hit", "answer 1 from here")}
    assert len({each.model_s for each in cold.values()}) == 1


@pytest.mark.parametrize("each", [False, True])
def test_all_are_cold_before_the_first_is_warm(each: bool, laboratory: Laboratory) -> None:
    model, _ = counting()
    racing = Racing(laboratory, model, strategies_of(laboratory), each=each)
    racing.run()
    assert [raced.act for raced in racing.results] == ["cold"] * len(ALL) + ["warm"] * len(CACHES)


@pytest.mark.parametrize("each", [False, True])
def test_what_a_strategy_is_asked_is_in_the_scope_of_the_race(each: bool, laboratory: Laboratory) -> None:
    model, _ = counting()
    racing = Racing(laboratory, model, strategies_of(laboratory), each=each)
    racing.run()
    assert {raced.measurement.scope for raced in racing.results} == {NAMESPACE}
    assert all(raced.measurement.strategy == raced.strategy for raced in racing.results)


@pytest.mark.parametrize("each", [False, True])
def test_a_strategy_that_can_not_store_costs_no_second_call_and_holds_up_no_other(
    each: bool, laboratory: Laboratory
) -> None:
    model, runnable = counting()
    full = Strategy("full", Full(), NAMESPACE)
    racing = Racing(laboratory, model, [full, *strategies_of(laboratory, OURS)], each=each)
    racing.run()
    cold, warm = racing.of("cold"), racing.of("warm")
    assert (cold["full"].stored, cold["full"].not_stored, cold["full"].failure) == (False, "error", None)
    assert {name: each.outcome for name, each in warm.items()} == dict.fromkeys(OURS, "hit")
    assert len(runnable.calls) == (1 + len(OURS) if each else 1)


def test_a_model_that_fails_is_asked_once_and_every_strategy_says_so(laboratory: Laboratory) -> None:
    told = ToldChat(told=[ValueError("no luck")])
    racing = Racing(laboratory, as_model(told), strategies_of(laboratory), each=False)
    assert racing.run() is None
    assert told.told == []
    assert [raced.strategy for raced in racing.results] == [*ALL]
    assert {raced.act for raced in racing.results} == {"cold"}
    assert all(raced.measurement.failure == "bad_answer" and not raced.measurement.stored for raced in racing.results)
    assert all("no luck" in str(raced.measurement.detail) for raced in racing.results)


# Asked by each


def test_asked_by_each_every_strategy_makes_its_own_call_and_keeps_its_own_answer(laboratory: Laboratory) -> None:
    model, runnable = counting()
    racing = Racing(laboratory, model, strategies_of(laboratory), each=True)
    exchange = racing.run()
    assert len(runnable.calls) == len(ALL)
    cold, warm = racing.of("cold"), racing.of("warm")
    assert {*cold} == {*ALL}
    assert {name: cold[name].outcome for name in CACHES} == dict.fromkeys(CACHES, "miss")
    assert {name: (each.outcome, each.answer) for name, each in warm.items()} == {
        name: ("hit", cold[name].answer) for name in CACHES
    }
    assert exchange is not None
    assert exchange.generations[0].text in {each.answer for each in cold.values()}


def test_asked_by_each_all_are_asked_at_once(laboratory: Laboratory) -> None:
    together = threading.Barrier(len(ALL), timeout=30)

    class Meeting(Counting):
        def _generate(self, *arguments: Any, **options: Any) -> Any:
            together.wait()
            return super()._generate(*arguments, **options)

    racing = Racing(laboratory, as_model(Meeting(place="here")), strategies_of(laboratory), each=True)
    racing.run()
    assert [raced.measurement.failure for raced in racing.results] == [None] * (len(ALL) + len(CACHES))


def test_asked_by_each_one_answer_is_enough_to_go_on(laboratory: Laboratory) -> None:
    told = [*[ValueError("no luck")] * len(OURS[1:]), AIMessage("An astronomer.")]
    racing = Racing(laboratory, as_model(ToldChat(told=told)), strategies_of(laboratory, OURS), each=True)
    exchange = racing.run()
    assert exchange is not None
    assert exchange.generations[0].text == "An astronomer."
    cold, warm = racing.of("cold"), racing.of("warm")
    assert sorted(str(each.failure) for each in cold.values()) == ["None", "bad_answer", "bad_answer"]
    assert [(name, each.outcome) for name, each in warm.items()] == [
        (name, "hit") for name in OURS if cold[name].failure is None
    ]


def test_asked_by_each_a_model_that_fails_everywhere_ends_the_race(laboratory: Laboratory) -> None:
    told = ToldChat(told=[ValueError("no luck") for _ in OURS])
    racing = Racing(laboratory, as_model(told), strategies_of(laboratory, OURS), each=True)
    assert racing.run() is None
    assert {raced.act for raced in racing.results} == {"cold"}
    assert {raced.measurement.failure for raced in racing.results} == {"bad_answer"}


# Stopped


@pytest.mark.parametrize("each", [False, True])
def test_a_race_that_is_stopped_when_cold_is_not_run_warm(each: bool, laboratory: Laboratory) -> None:
    model, _ = counting()
    racing = Racing(laboratory, model, strategies_of(laboratory), each=each)
    racing.on_show = lambda _: racing.stopped.set()
    racing.run()
    assert racing.of("warm") == {}


def test_a_race_that_is_stopped_when_warm_keeps_what_it_has(laboratory: Laboratory) -> None:
    model, _ = counting()
    racing = Racing(laboratory, model, strategies_of(laboratory), each=False)
    racing.on_show = lambda raced: racing.stopped.set() if raced.act == "warm" else None
    assert racing.run() is not None
    assert [*racing.of("warm")] == [CACHES[0]]
