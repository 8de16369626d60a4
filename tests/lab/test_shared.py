"""Equal requests at once: one model call, and each of those who share it measured, counted and told the truth."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from cache_backends import CacheBackend
from lab.ask import FLIGHTS, ask
from lab.explain import Explanation
from lab.laboratory import Answered, Laboratory, Request
from lab.measurement import Measurement
from lab.models import Model
from lab.prices import Prices
from lab.strategies import NO_CACHE, Strategies, Strategy
from tests.cache_backends.flights import LONG_S, GatedModel, gated_model, hang_guard, until
from tests.lab.building import CACHES, OURS, SAGAN, Gate, as_model, simulated

MANY = 16
__all__ = ["hang_guard"]
NAMESPACE = "shared:simulated"


@pytest.fixture(autouse=True)
def _none_is_left_in_flight() -> Iterator[None]:
    yield
    assert FLIGHTS.in_flight == 0


def gated(answer: Callable[[], AIMessage] | None = None) -> tuple[Model, GatedModel]:
    runnable = gated_model(answer)
    return as_model(runnable), runnable


def all_at_once(work: Callable[[], Any], n: int = MANY) -> list[Future[Any]]:
    """`n` threads ask; the first of them leads and all others wait."""
    pool = ThreadPoolExecutor(n)
    asked = [pool.submit(work) for _ in range(n)]
    pool.shutdown(wait=False)
    until(lambda: FLIGHTS.waiting == n - 1)
    return asked


def results(asked: list[Future[Any]]) -> list[Any]:
    return [each.result(LONG_S) for each in asked]


@pytest.mark.parametrize("name", CACHES)
def test_many_who_ask_the_same_make_one_model_call_and_share_it(name: str, strategies: Strategies) -> None:
    gate, strategy = Gate(), strategies.get(name, NAMESPACE)
    asked = all_at_once(lambda: ask(simulated(sleep=gate), strategy, SAGAN))
    gate.opened.set()
    measured: list[Measurement] = results(asked)
    (leader,) = [each for each in measured if each.outcome == "miss"]
    shared = [each for each in measured if each.outcome == "shared"]
    assert (gate.calls, len(shared)) == (1, MANY - 1)
    assert (leader.stored, leader.saved_usd) == (True, None)
    assert leader.cost_usd
    for each in shared:
        assert (each.answer, each.key, each.failure) == (leader.answer, leader.key, None)
        assert (each.cost_usd, each.saved_usd, each.saved_s) == (0, leader.cost_usd, None)
        assert (each.input_tokens, each.output_tokens) == (leader.input_tokens, leader.output_tokens)
        assert (each.stored, each.not_stored, each.kept) == (False, "shared", False)
        assert (each.model_s, each.store_s, each.first_token_s) == (None, None, None)
        assert each.lookup_s is not None
        assert 0 < each.lookup_s <= each.total_s
        assert not each.tokens_estimated
    again = ask(simulated(), strategies.get(name, NAMESPACE), SAGAN)
    assert (again.outcome, again.answer) == ("hit", leader.answer)


def test_the_calls_avoided_are_counted_in_money_too(laboratory: Laboratory) -> None:
    gate = Gate()
    model = laboratory.models.get("simulated", 0.7)
    laboratory.models.get = lambda *_: replace(  # type: ignore[method-assign]
        model, runnable=model.runnable.model_copy(update={"sleep": gate})
    )
    request = Request(prompt=SAGAN, strategy="memory", model_id="simulated")
    asked = all_at_once(lambda: laboratory.answer(request))
    gate.opened.set()
    answered: list[Answered] = results(asked)
    assert {each.explanation for each in answered} == {Explanation("first_time"), Explanation("shared")}
    hit = laboratory.answer(request)
    assert hit.explanation.reason == "found"
    totals = laboratory.history.totals("shared")
    price = hit.measurement.saved_usd
    assert price
    assert (totals.requests, totals.lookups, totals.hits, totals.shared) == (MANY + 1, MANY + 1, 1, MANY - 1)
    assert (totals.calls_avoided, totals.hit_ratio) == (MANY, 1 / (MANY + 1))
    assert totals.saved_usd == pytest.approx(MANY * price)
    assert totals.cost_usd == pytest.approx(price)
    assert totals.saved_s == hit.measurement.saved_s
    assert totals.misses_answered == 1  # those who shared had no model call whose time could be counted
    ratios = laboratory.history.hit_ratios("shared", None)
    assert list(ratios.iloc[-1][["hits", "lookups"]]) == [1, MANY + 1]
    assert set(laboratory.history.latencies("shared", None)["outcome"]) == {"miss", "shared", "hit"}
    assert set(laboratory.history.newest("shared", 50)["outcome"]) == {"miss", "shared", "hit"}


@pytest.mark.parametrize(("name", "bypass"), [("memory", True), ("sqlite", True), (NO_CACHE, False), (NO_CACHE, True)])
def test_who_bypasses_the_cache_or_has_none_is_never_joined(name: str, bypass: bool, strategies: Strategies) -> None:
    model, runnable = gated()
    strategy = strategies.get(name, NAMESPACE)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, model, strategy, SAGAN, bypass=bypass) for _ in range(4)]
        until(lambda: runnable.call.count == 4)
        assert FLIGHTS.in_flight == 0
        runnable.call.gate.set()
        assert {each.outcome for each in results(asked)} == {"bypass"}


def test_who_bypasses_does_not_wait_for_one_who_does_not(strategies: Strategies) -> None:
    model, runnable = gated()
    strategy = strategies.get("memory", NAMESPACE)
    asked = all_at_once(lambda: ask(model, strategy, SAGAN), n=1)
    until(lambda: runnable.call.count == 1)
    assert ask(simulated(), strategy, SAGAN, bypass=True).outcome == "bypass"
    runnable.call.gate.set()
    assert results(asked)[0].outcome == "miss"


DIFFERENT: dict[str, Callable[[Strategies, Strategy], Measurement]] = {
    "namespace": lambda all_, _: ask(simulated(), all_.get("memory", "session-1:simulated"), SAGAN),
    "strategy": lambda all_, _: ask(simulated(), all_.get("json", NAMESPACE), SAGAN),
    "LangChain's": lambda all_, _: ask(simulated(), all_.get("langchain-memory", NAMESPACE), SAGAN),
    "model": lambda _, here: ask(replace(simulated(), choice=replace(simulated().choice, id="another")), here, SAGAN),
    "key": lambda _, here: ask(replace(simulated(), secrets=("sk-other",)), here, SAGAN),
    "parameters": lambda _, here: ask(simulated(temperature=0.1), here, SAGAN),
    "prompt": lambda _, here: ask(simulated(), here, "Who was Marie Curie?"),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_requests_that_differ_are_not_joined(what: str, strategies: Strategies) -> None:
    gate, strategy = Gate(), strategies.get("memory", NAMESPACE)
    asked = all_at_once(lambda: ask(simulated(sleep=gate), strategy, SAGAN), n=1)
    until(lambda: gate.calls == 1)
    other = DIFFERENT[what](strategies, strategy)
    assert (other.outcome, other.failure) == ("miss", None)
    gate.opened.set()
    assert results(asked)[0].failure is None


@pytest.mark.parametrize("name", CACHES)
def test_a_failure_of_the_leader_reaches_all_and_is_stored_by_none(name: str, strategies: Strategies) -> None:
    def fail() -> AIMessage:
        raise ConnectionError("the server hung up")

    model, runnable = gated(fail)
    strategy = strategies.get(name, NAMESPACE)
    asked = all_at_once(lambda: ask(model, strategy, SAGAN))
    runnable.call.gate.set()
    measured: list[Measurement] = results(asked)
    assert runnable.call.count == 1
    assert sorted(each.outcome for each in measured) == ["miss"] + ["shared"] * (MANY - 1)
    for each in measured:
        assert (each.failure, each.detail) == ("connection_lost", "the server hung up")
        assert (each.stored, each.not_stored, each.answer, each.shown_outcome) == (False, "no_answer", "", "error")
        assert (each.cost_usd, each.saved_usd) == (None, None)
        assert (each.model_s is None) == (each.outcome == "shared")
    runnable.call.function = lambda: AIMessage("up again")
    anew = ask(model, strategy, SAGAN)
    assert (anew.outcome, anew.answer) == ("miss", "up again")


@pytest.mark.parametrize("name", CACHES)
def test_a_leader_who_is_stopped_stops_nobody_else(name: str, strategies: Strategies) -> None:
    gate, strategy = Gate(), strategies.get(name, NAMESPACE)
    stopped = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        leader = pool.submit(ask, simulated(sleep=gate), strategy, SAGAN, stopping=stopped.is_set)
        until(lambda: gate.calls == 1)
        waiting = [pool.submit(ask, simulated(sleep=gate), strategy, SAGAN) for _ in range(3)]
        until(lambda: FLIGHTS.waiting == 3)
        stopped.set()
        gate.opened.set()
        assert leader.result(LONG_S).failure == "stopped"
        measured = results(waiting)
    assert [each.failure for each in measured] == [None] * 3
    assert gate.calls == 2
    assert {each.outcome for each in measured} <= {"miss", "shared", "hit"}  # hit: found when it was to lead itself
    assert len({each.answer for each in measured}) == 1
    (next_leader,) = [each for each in measured if each.outcome == "miss"]
    assert next_leader.lookup_s + next_leader.model_s <= next_leader.total_s


def test_a_model_that_makes_another_error_of_being_stopped_fails_nobody_else(strategies: Strategies) -> None:
    stopped = threading.Event()

    def answer() -> AIMessage:
        if stopped.is_set() and runnable.call.count == 1:
            raise ConnectionError("the stream was closed")
        return AIMessage("An astronomer.")

    model, runnable = gated(answer)
    strategy = strategies.get("memory", NAMESPACE)
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(ask, model, strategy, SAGAN, stopping=stopped.is_set)
        until(lambda: runnable.call.count == 1)
        other = pool.submit(ask, model, strategy, SAGAN)
        until(lambda: FLIGHTS.waiting == 1)
        stopped.set()
        runnable.call.gate.set()
        assert leader.result(LONG_S).failure == "stopped"
        assert (other.result(LONG_S).failure, other.result().answer) == (None, "An astronomer.")


def test_one_who_waits_can_be_stopped_and_the_leader_goes_on(strategies: Strategies) -> None:
    model, runnable = gated()
    strategy = strategies.get("memory", NAMESPACE)
    stopped = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(ask, model, strategy, SAGAN)
        until(lambda: runnable.call.count == 1)
        waiting = pool.submit(ask, model, strategy, SAGAN, stopping=stopped.is_set)
        until(lambda: FLIGHTS.waiting == 1)
        stopped.set()
        ended = waiting.result(LONG_S)
        assert not leader.done()
        runnable.call.gate.set()
        assert leader.result(LONG_S).failure is None
    assert (ended.failure, ended.shown_outcome, ended.stored, ended.model_s) == ("stopped", "error", False, None)
    assert runnable.call.count == 1


@pytest.mark.parametrize("name", OURS)
def test_an_answer_that_is_not_stored_is_shared_all_the_same(name: str, strategies: Strategies) -> None:
    model, runnable = gated(lambda: AIMessage("An astronom", response_metadata={"finish_reason": "length"}))
    strategy = strategies.get(name, NAMESPACE)
    asked = all_at_once(lambda: ask(model, strategy, SAGAN), n=3)
    runnable.call.gate.set()
    measured = results(asked)
    assert runnable.call.count == 1
    assert [each.answer for each in measured] == ["An astronom"] * 3
    assert sorted(each.not_stored for each in measured) == ["shared", "shared", "truncated"]
    assert isinstance(strategy.cache, CacheBackend)
    assert strategy.cache.stats().entries == 0


def test_a_price_that_nobody_knows_saves_nothing_that_could_be_said(strategies: Strategies) -> None:
    model, runnable = gated()
    strategy = strategies.get("memory", NAMESPACE)
    asked = all_at_once(lambda: ask(replace(model, priced_as="nobody sells it"), strategy, SAGAN), n=2)
    runnable.call.gate.set()
    (shared,) = [each for each in results(asked) if each.outcome == "shared"]
    assert (shared.cost_usd, shared.saved_usd, shared.tokens_estimated) == (0, None, True)


def test_a_strategy_opened_twice_on_memory_is_two_stores(strategies: Strategies, tmp_path: Any) -> None:
    """A restart makes a new store of LangChain's memory: it has none of the old one's requests in flight."""
    from langchain_core.caches import InMemoryCache

    model, runnable = gated()
    old, new = (Strategy("langchain-memory", InMemoryCache(), NAMESPACE) for _ in range(2))
    asked = all_at_once(lambda: ask(model, old, SAGAN), n=1)
    until(lambda: runnable.call.count == 1)
    assert ask(simulated(), new, SAGAN, prices=Prices()).outcome == "miss"
    runnable.call.gate.set()
    assert results(asked)[0].outcome == "miss"
