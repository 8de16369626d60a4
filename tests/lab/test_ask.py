"""`ask`: real LangChain invocations of the simulated model, through every strategy."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.caches import BaseCache
from langchain_core.messages import AIMessage
from langchain_core.outputs import Generation

from cache_backends import CacheBackend, MemoryCache
from lab.ask import ask
from lab.measurement import Measurement
from lab.models import Model
from lab.prices import Prices
from lab.server_urls import secrets_of
from lab.strategies import NO_CACHE, Strategies, Strategy
from tests.lab.building import CACHES, LANGCHAINS, OURS, SAGAN, Counting, ToldChat, as_model, simulated
from tests.lab.made_up_server import MadeUpServer

NAMESPACE = "shared:simulated"


class Broken(BaseCache):
    """A cache whose lookup, update or both raise."""

    def __init__(self, *, lookup: Exception | None = None, update: Exception | None = None) -> None:
        self.lookup_error, self.update_error = lookup, update

    def lookup(self, prompt: str, llm_string: str) -> None:
        if self.lookup_error is not None:
            raise self.lookup_error

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        if self.update_error is not None:
            raise self.update_error

    def clear(self, **kwargs: Any) -> None:
        raise NotImplementedError


class Finding(BaseCache):
    """A cache that finds the same thing whatever it is asked."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def lookup(self, prompt: str, llm_string: str) -> Any:
        return self.found

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        self.found = list(return_val)

    def clear(self, **kwargs: Any) -> None:
        self.found = None


def entries(strategy: Strategy) -> int:
    assert isinstance(strategy.cache, CacheBackend)
    return strategy.cache.stats().entries


def times(measured: Measurement) -> float:
    return sum(part for part in (measured.lookup_s, measured.model_s, measured.store_s) if part is not None)


@pytest.mark.parametrize("name", CACHES)
def test_a_first_question_is_a_miss_and_the_same_again_a_hit_with_the_same_answer(
    name: str, strategies: Strategies
) -> None:
    strategy = strategies.get(name, NAMESPACE)
    first = ask(simulated(), strategy, SAGAN)
    again = ask(simulated(), strategy, SAGAN)
    assert (first.outcome, first.stored, first.not_stored, first.failure) == ("miss", True, None, None)
    assert (again.outcome, again.stored, again.not_stored, again.failure) == ("hit", False, "hit", None)
    assert "Sagan" in first.answer
    assert again.answer == first.answer
    assert first.kept
    assert again.kept
    assert again.key == first.key


@pytest.mark.parametrize("name", CACHES)
def test_the_times_of_the_parts_add_up_to_no_more_than_the_whole(name: str, strategies: Strategies) -> None:
    strategy = strategies.get(name, NAMESPACE)
    miss, hit = ask(simulated(), strategy, SAGAN), ask(simulated(), strategy, SAGAN)
    assert None not in (miss.lookup_s, miss.model_s, miss.store_s)
    assert 0 < times(miss) <= miss.total_s
    assert hit.lookup_s is not None
    assert 0 < hit.lookup_s <= hit.total_s
    assert (hit.model_s, hit.store_s) == (None, None)


@pytest.mark.parametrize("name", OURS)
def test_a_hit_saves_the_time_that_the_model_took_and_the_price_of_its_tokens(
    name: str, strategies: Strategies
) -> None:
    strategy = strategies.get(name, NAMESPACE)
    miss, hit = ask(simulated(), strategy, SAGAN), ask(simulated(), strategy, SAGAN)
    assert isinstance(strategy.cache, CacheBackend)
    assert hit.key is not None
    entry = strategy.cache.get(hit.key)
    assert entry is not None
    assert entry.model_time_s is not None
    assert hit.lookup_s is not None
    assert hit.saved_s == pytest.approx(entry.model_time_s - hit.lookup_s)
    assert miss.input_tokens is not None
    assert miss.output_tokens is not None
    price = Prices().cost_usd("gpt-4o-mini", miss.input_tokens, miss.output_tokens)
    assert price
    assert (miss.cost_usd, miss.saved_s, miss.saved_usd) == (price, None, None)
    assert (hit.cost_usd, hit.saved_usd) == (0, price)
    assert (hit.input_tokens, hit.output_tokens) == (miss.input_tokens, miss.output_tokens)
    assert not miss.tokens_estimated


@pytest.mark.parametrize("name", OURS)
def test_with_bypass_the_cache_is_neither_asked_nor_filled(name: str, strategies: Strategies) -> None:
    strategy = strategies.get(name, NAMESPACE)
    assert isinstance(strategy.cache, CacheBackend)
    lookups = strategy.cache.counters.hits, strategy.cache.counters.misses
    before = ask(simulated(), strategy, SAGAN, bypass=True)
    assert (before.outcome, before.stored, before.not_stored) == ("bypass", False, "bypass")
    assert (before.key, before.lookup_s, before.store_s) == (None, None, None)
    assert before.model_s is not None
    assert 0 < before.model_s <= before.total_s
    assert entries(strategy) == 0
    assert (strategy.cache.counters.hits, strategy.cache.counters.misses) == lookups

    stored = ask(simulated(), strategy, SAGAN)
    around = ask(simulated(), strategy, SAGAN, bypass=True)
    assert stored.outcome == "miss"
    assert around.answer != stored.answer
    assert ask(simulated(), strategy, SAGAN).answer == stored.answer


def test_without_a_cache_every_request_goes_to_the_model(strategies: Strategies) -> None:
    strategy = strategies.get(NO_CACHE, NAMESPACE)
    first, again = ask(simulated(), strategy, SAGAN), ask(simulated(), strategy, SAGAN)
    assert first.answer != again.answer
    for each in (first, again):
        assert (each.outcome, each.stored, each.not_stored, each.failure) == ("bypass", False, "no_cache", None)
        assert (each.lookup_s, each.store_s, each.key) == (None, None, None)
        assert each.model_s is not None


@pytest.mark.parametrize("name", CACHES)
def test_another_temperature_has_another_key_and_finds_nothing(name: str, strategies: Strategies) -> None:
    strategy = strategies.get(name, NAMESPACE)
    cool, warm = simulated(temperature=0.1), simulated(temperature=0.9)
    first, other, again = (ask(model, strategy, SAGAN) for model in (cool, warm, cool))
    assert [first.outcome, other.outcome, again.outcome] == ["miss", "miss", "hit"]
    assert first.key == again.key != other.key
    assert again.answer == first.answer
    assert (first.temperature, other.temperature) == (0.1, 0.9)


def test_the_model_object_is_never_changed(strategies: Strategies) -> None:
    model = simulated()
    before = dict(model.runnable.__dict__)
    for name in (*CACHES, NO_CACHE):
        ask(model, strategies.get(name, NAMESPACE), SAGAN)
        ask(model, strategies.get(name, NAMESPACE), SAGAN, bypass=True)
    assert model.runnable.__dict__ == before
    assert model.runnable.cache is None


@pytest.mark.parametrize("name", CACHES)
def test_many_at_once_on_one_model_each_get_their_own_answer_and_times(name: str, strategies: Strategies) -> None:
    model, strategy = simulated(), strategies.get(name, NAMESPACE)
    prompts = [f"Say word{number} please" for number in range(8)] * 2

    def asked(prompt: str) -> tuple[str, Measurement, str]:
        tokens: list[str] = []
        return prompt, ask(model, strategy, prompt, on_token=tokens.append), "".join(tokens)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(asked, prompts))
    for prompt, measured, tokens in results:
        assert measured.failure is None
        assert prompt in measured.answer
        assert tokens == ("" if measured.outcome in ("hit", "shared") else measured.answer)
        assert times(measured) <= measured.total_s
    assert all(ask(model, strategy, prompt).outcome == "hit" for prompt in prompts)


@pytest.mark.parametrize("error", [RuntimeError("disk on fire"), KeyError("answer"), OSError(5, "I/O error")])
def test_a_foreign_cache_that_fails_does_not_break_the_request_and_is_reported(error: Exception) -> None:
    asked = ask(simulated(), Strategy("foreign", Broken(lookup=error), ""), SAGAN)
    assert (asked.outcome, asked.failure, asked.stored) == ("error", None, True)
    assert "Sagan" in asked.answer
    assert asked.detail == str(error)
    assert asked.lookup_s is not None

    kept_not = ask(simulated(), Strategy("foreign", Broken(update=error), ""), SAGAN)
    assert (kept_not.outcome, kept_not.failure, kept_not.stored) == ("miss", None, False)
    assert (kept_not.not_stored, kept_not.detail) == ("error", str(error))
    assert "Sagan" in kept_not.answer


def test_what_a_failing_cache_says_is_shown_without_its_password() -> None:
    error = ConnectionError("no route to redis://app:hunter2secret@cache:6379/0")
    for cache in (Broken(lookup=error), Broken(update=error)):
        asked = ask(simulated(), Strategy("foreign", cache, ""), SAGAN)
        assert asked.detail is not None
        assert "no route" in asked.detail
        assert "hunter2" not in asked.detail


def test_what_a_server_says_is_shown_without_the_password_of_its_strategy() -> None:
    server = MadeUpServer()
    server.down = "AUTH p@ssword failed"
    strategy = Strategy("far", server.open("redis://h", {}), "a", secrets_of("redis://:p%40ssword@h"))
    measured = ask(simulated(), strategy, SAGAN)
    assert (measured.outcome, measured.not_stored, measured.detail) == ("error", "error", "AUTH [redacted] failed")
    assert measured.answer
    assert "p@ssword" not in repr(strategy)
    assert "p%40ssword" not in repr(strategy)


@pytest.mark.parametrize("junk", [["text"], [None], [Generation(text="fine"), 7], ("tuple",), "text", 0, {"a": 1}])
def test_a_foreign_cache_that_finds_something_else_than_generations_is_no_hit(junk: Any) -> None:
    cache = Finding(junk)
    asked = ask(simulated(), Strategy("foreign", cache, ""), SAGAN)
    assert asked.outcome in ("miss", "corrupt")
    assert asked.failure is None
    assert "Sagan" in asked.answer
    assert ask(simulated(), Strategy("foreign", cache, ""), SAGAN).outcome == "hit"


def test_our_own_backend_in_strict_mode_is_reported_not_raised(tmp_path: Any) -> None:
    cache = MemoryCache(strict=True)
    cache.close()
    asked = ask(simulated(), Strategy("memory", cache, "default"), SAGAN)
    assert (asked.outcome, asked.failure, asked.stored, asked.not_stored) == ("error", None, False, "error")
    assert asked.detail is not None
    assert "closed" in asked.detail
    assert "Sagan" in asked.answer


@pytest.mark.parametrize("name", CACHES)
def test_a_miss_shows_tokens_that_join_to_the_answer_and_a_hit_shows_none(name: str, strategies: Strategies) -> None:
    strategy = strategies.get(name, NAMESPACE)
    of_miss: list[str] = []
    of_hit: list[str] = []
    miss = ask(simulated(), strategy, SAGAN, on_token=of_miss.append)
    hit = ask(simulated(), strategy, SAGAN, on_token=of_hit.append)
    assert len(of_miss) > 10
    assert "".join(of_miss) == miss.answer == hit.answer
    assert of_hit == []
    assert miss.lookup_s is not None
    assert miss.first_token_s is not None
    assert miss.lookup_s <= miss.first_token_s <= miss.total_s
    assert hit.first_token_s is None


@pytest.mark.parametrize("name", CACHES)
@pytest.mark.parametrize("shown", [0, 1, 7])
def test_an_answer_stopped_in_its_middle_is_not_stored(name: str, shown: int, strategies: Strategies) -> None:
    strategy = strategies.get(name, NAMESPACE)
    tokens: list[str] = []
    stopped = ask(simulated(), strategy, SAGAN, on_token=tokens.append, stopping=lambda: len(tokens) >= shown)
    assert (stopped.failure, stopped.outcome, stopped.shown_outcome) == ("stopped", "miss", "error")
    assert (stopped.stored, stopped.not_stored, stopped.answer) == (False, "no_answer", "")
    assert (stopped.cost_usd, stopped.input_tokens, stopped.output_tokens) == (None, None, None)
    assert not stopped.tokens_estimated
    assert len(tokens) == shown
    assert times(stopped) <= stopped.total_s
    assert ask(simulated(), strategy, SAGAN).outcome == "miss"
    assert ask(simulated(), strategy, SAGAN, stopping=lambda: True).outcome == "hit"


@pytest.mark.parametrize("name", CACHES)
def test_two_endpoints_with_the_same_completion_model_never_share_an_answer(name: str, strategies: Strategies) -> None:
    here, there = Counting(place="here"), Counting(place="there")
    strategy_here, strategy_there = strategies.get(name, "shared:a-1"), strategies.get(name, "shared:a-2")
    first = ask(as_model(here), strategy_here, SAGAN)
    other = ask(as_model(there), strategy_there, SAGAN)
    assert first.key == other.key  # LangChain itself does not tell them apart
    assert (first.outcome, other.outcome) == ("miss", "miss")
    assert ask(as_model(here), strategy_here, SAGAN).answer == "answer 1 from here"
    assert ask(as_model(there), strategy_there, SAGAN).answer == "answer 1 from there"
    assert len(here.calls) == len(there.calls) == 1


@pytest.mark.parametrize("name", OURS)
def test_an_empty_answer_and_one_cut_off_are_shown_and_not_stored(name: str, strategies: Strategies) -> None:
    strategy = strategies.get(name, NAMESPACE)
    told = ToldChat(
        told=[
            AIMessage(" \n"),
            AIMessage("An astronom", response_metadata={"finish_reason": "length"}),
            AIMessage("An astronomer."),
        ]
    )
    empty, cut_off, whole = (ask(as_model(told), strategy, SAGAN) for _ in range(3))
    assert (empty.not_stored, empty.failure, empty.outcome) == ("empty", None, "miss")
    assert (cut_off.not_stored, cut_off.failure, cut_off.outcome) == ("truncated", None, "miss")
    assert cut_off.answer == "An astronom"
    assert (whole.outcome, whole.stored) == ("miss", True)


def test_an_answer_that_the_model_vouches_not_for_is_not_stored_by_any_cache(strategies: Strategies) -> None:
    for name in CACHES:
        told = ToldChat(told=[AIMessage("Half an"), AIMessage("Half an")])
        model = as_model(told, refuse=lambda _: "no_finish")
        first, again = (ask(model, strategies.get(name, NAMESPACE), SAGAN) for _ in range(2))
        assert (first.stored, first.not_stored, first.store_s) == (False, "no_finish", None)
        assert again.outcome == "miss"


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), OSError("x"), MemoryError()])
@pytest.mark.parametrize("name", [*OURS, *LANGCHAINS, NO_CACHE])
def test_a_model_that_raises_is_a_measurement_and_nothing_is_stored(
    error: Exception, name: str, strategies: Strategies
) -> None:
    strategy = strategies.get(name, NAMESPACE)
    told = ToldChat(told=[error, AIMessage("An astronomer.")])
    failed = ask(as_model(told), strategy, SAGAN)
    assert failed.failure is not None
    assert (failed.stored, failed.answer, failed.cost_usd) == (False, "", None)
    assert failed.not_stored == ("no_cache" if name == NO_CACHE else "no_answer")
    assert failed.detail
    assert failed.model_s is not None
    assert ask(as_model(told), strategy, SAGAN).outcome == ("bypass" if name == NO_CACHE else "miss")


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 10**30, "output_tokens": 5, "total_tokens": 5},
        {"input_tokens": -1, "output_tokens": 5, "total_tokens": 4},
        None,
    ],
)
def test_tokens_that_cannot_be_are_estimated_instead(usage: Any, strategies: Strategies) -> None:
    told = ToldChat(told=[AIMessage("x" * 40, usage_metadata=usage)])
    asked = ask(as_model(told), strategies.get("memory", NAMESPACE), "y" * 80)
    assert (asked.input_tokens, asked.output_tokens, asked.tokens_estimated) == (20, 10, True)


def test_a_model_whose_price_nobody_knows_has_no_cost(strategies: Strategies) -> None:
    strategy = strategies.get("memory", NAMESPACE)
    model = Model(simulated().choice, 0.7, simulated().runnable, "a model that nobody sells")
    assert ask(model, strategy, SAGAN).cost_usd is None
    hit = ask(model, strategy, SAGAN)
    assert (hit.cost_usd, hit.saved_usd) == (0, None)


@given(prompt=st.text(st.characters(), max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_prompt_asking_never_raises_and_a_stored_answer_comes_back(
    prompt: str, strategies: Strategies
) -> None:
    for name in ("memory", "langchain-memory"):
        strategy = strategies.get(name, NAMESPACE)
        first, again = ask(simulated(), strategy, prompt), ask(simulated(), strategy, prompt)
        assert first.failure is None
        assert again.outcome == ("hit" if first.kept else "miss")
        assert (again.answer == first.answer) == first.kept


def test_a_lone_surrogate_is_answered_but_not_stored_by_our_caches(strategies: Strategies) -> None:
    for name in OURS:
        asked = ask(simulated(), strategies.get(name, NAMESPACE), "half \ud83d of a pair")
        assert (asked.failure, asked.outcome, asked.not_stored) == (None, "miss", "unfaithful")
        assert asked.answer


def test_the_clock_says_when_it_was_asked_and_the_scope_who_asked(strategies: Strategies) -> None:
    asked = ask(simulated(), strategies.get("memory", NAMESPACE), SAGAN, scope="session-1", clock=lambda: 12.5)
    assert (asked.asked_at, asked.scope, asked.strategy, asked.model) == (12.5, "session-1", "memory", "simulated")
    assert asked.simulated


def test_an_answer_that_repeats_the_key_it_was_paid_with_is_not_stored() -> None:
    cache = MemoryCache()
    model = as_model(ToldChat(told=[AIMessage("Your key is sk-visitor-1")]), secrets=("sk-visitor-1",))
    measured = ask(model, Strategy("memory", cache, "here"), SAGAN)
    assert (measured.stored, measured.not_stored, measured.failure) == (False, "holds_key", None)
    assert cache.stats().entries == 0
