"""A store at a glance: its figures are those of its entries, and the most useful entries really are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from cache_backends import CacheBackend, CacheUnavailableError, MemoryCache, cache_key, open_cache
from lab import glance
from lab.glance import GROWTH_STEPS, MOST_USEFUL, Glance, look
from lab.indexing import StoppedError
from tests.lab.building import Clock
from tests.lab.entries import Troubled, fill, parameters, various
from tests.lab.transfers import store


@pytest.fixture(params=["memory://", "sqlite:///{}/cache.db", "json:///{}/answers"], ids=["memory", "sqlite", "json"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> CacheBackend:
    made: CacheBackend = open_cache(request.param.format(tmp_path), clock=clock)
    return made


def no_price(model: str, tokens_in: int, tokens_out: int) -> None:
    """No model has one."""


def seen(cache: CacheBackend) -> Glance:
    cache.bring_up_to_date()
    return look(cache, no_price)


def put(
    cache: CacheBackend,
    prompt: str,
    generations: Sequence[Generation] = (Generation(text="answer"),),
    *,
    hits: int = 0,
    took_s: float | None = None,
    created_at: float | None = None,
    model: str = "demo-1",
) -> None:
    """An entry with a past."""
    cache.update(prompt, parameters(model), list(generations))
    entry = cache.get(cache_key(prompt, parameters(model)))
    assert entry is not None
    at = entry.created_at if created_at is None else created_at
    cache.restore(replace(entry, hits=hits, model_time_s=took_s, created_at=at))


def test_its_figures_are_those_of_the_entries(cache: CacheBackend, clock: Clock) -> None:
    various(cache, clock)
    said, stats = seen(cache), cache.stats()
    assert (said.entries, said.size_bytes, said.expired) == (stats.entries, stats.size_bytes, stats.expired)
    assert (said.oldest, said.newest) == (stats.oldest, stats.newest)
    assert said.expired > 0


def test_an_empty_store_is_one_without_figures(cache: CacheBackend) -> None:
    assert seen(cache) == Glance(0, 0, 0, None, None, [], [], are_surely_most_useful=True)


def test_one_entry_makes_no_growth(cache: CacheBackend, clock: Clock) -> None:
    fill(cache, 1)
    said = seen(cache)
    assert (said.entries, said.oldest, said.newest, said.growth) == (1, clock.now, clock.now, [])


@pytest.mark.parametrize("apart_s", [1.0, 3_000.0, 20 * 86_400.0])
def test_growth_says_how_many_had_been_stored_by_when(cache: CacheBackend, clock: Clock, apart_s: float) -> None:
    created = []
    for number in range(9):
        clock.advance(apart_s / 3 * (number % 4))
        created.append(clock.now)
        fill(cache, 1, prompt=f"{number}")
    growth = seen(cache).growth
    assert growth
    for mark, entries in growth:
        assert entries == sum(at < mark for at in created)
    assert growth[-1][1] == 9, "the line ends with all there are"
    marks = [mark for mark, _ in growth]
    assert marks == sorted({*marks})
    assert len(marks) <= GROWTH_STEPS


@pytest.mark.parametrize("worth", [(-1e308, 1e308), (0.0, 1e18), (-1e12, 5.0)])
def test_times_of_no_calendar_break_nothing(clock: Clock, worth: tuple[float, float]) -> None:
    cache = MemoryCache(clock=clock)
    for at in worth:
        put(cache, f"{at}", created_at=at)
    said = look(cache, no_price)
    assert (said.oldest, said.newest) == worth
    assert all(math.isfinite(mark) for mark, _ in said.growth)


def test_the_most_useful_are_those_whose_hits_saved_most_time(cache: CacheBackend) -> None:
    for number in range(30):
        put(cache, f"often {number}", hits=100 + number, took_s=0.1)
        put(cache, f"slow {number}", hits=2, took_s=5.0 + number)
    useful = seen(cache).useful
    assert len(useful) == MOST_USEFUL
    assert [one.saved_s for one in useful] == sorted((one.saved_s for one in useful), reverse=True)
    assert {one.entry.prompt for one in useful} == {f"slow {number}" for number in range(20, 30)}
    assert useful[0].saved_s == pytest.approx(68.0)


def test_entries_without_hits_are_not_useful(cache: CacheBackend) -> None:
    put(cache, "used", hits=1, took_s=1.0)
    put(cache, "never used", hits=0, took_s=100.0)
    assert [one.entry.prompt for one in seen(cache).useful] == ["used"]


def test_hits_whose_time_is_not_known_come_last(cache: CacheBackend) -> None:
    put(cache, "imported", hits=50)
    put(cache, "timed", hits=1, took_s=1.0)
    assert [(one.entry.prompt, one.saved_s) for one in seen(cache).useful] == [("timed", 1.0), ("imported", 0.0)]


def test_it_looks_at_no_more_than_it_must(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "LOOKED_AT_A_TIME", 10)
    cache = Troubled(clock=clock)
    for number in range(60):
        put(cache, f"{number}", hits=number, took_s=1.0)
    pages: list[int] = []
    cache.on["entries"] = lambda: pages.append(1)
    said = look(cache, no_price)
    assert said.are_surely_most_useful
    assert [one.entry.hits for one in said.useful] == list(range(59, 49, -1))
    assert len(pages) == 3 + 1, "the oldest, the newest, the slowest, and one page of the most used"


def test_it_says_where_what_it_did_not_look_at_may_be_worth_more(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "LOOKED_AT_A_TIME", 10)
    monkeypatch.setattr(glance, "MOST_LOOKED_AT", 20)
    cache = MemoryCache(clock=clock)
    for number in range(40):
        put(cache, f"{number}", hits=100, took_s=0.001)
    put(cache, "slow", hits=1, took_s=3_600.0)
    said = look(cache, no_price)
    assert not said.are_surely_most_useful
    assert "slow" not in {one.entry.prompt for one in said.useful}


def with_usage(asked: object, answered: object) -> ChatGeneration:
    message = AIMessage("answer")
    message.usage_metadata = {"input_tokens": asked, "output_tokens": answered, "total_tokens": 0}  # type: ignore[typeddict-item]
    return ChatGeneration(message=message)


def test_money_is_hits_times_the_price_of_the_tokens_that_the_answer_says() -> None:
    cache = MemoryCache()
    put(cache, "question", [with_usage(100, 20)], hits=3, took_s=1.0)
    asked: list[tuple[str, int, int]] = []

    def price(model: str, tokens_in: int, tokens_out: int) -> float:
        asked.append((model, tokens_in, tokens_out))
        return 0.5

    (useful,) = look(cache, price).useful
    assert asked == [("demo-1", 100, 20)]
    assert (useful.saved_usd, useful.is_estimated) == (1.5, False)


@pytest.mark.parametrize("usage", [None, ("many", 3), (-1, 3), (2.5, 3), (None, None)])
def test_tokens_are_estimated_where_the_answer_does_not_say(usage: tuple[object, object] | None) -> None:
    cache = MemoryCache()
    generation = with_usage(1, 1)
    if usage is None:
        generation = ChatGeneration(message=AIMessage("four words, or so"))
    put(cache, "a question", [generation], hits=1, took_s=1.0)
    (entry,) = cache.get_many([cache.entries().entries[0].key])
    if usage is not None:
        broken = dict(zip(("input_tokens", "output_tokens"), usage, strict=True))
        entry.generations[0].message.usage_metadata = broken  # type: ignore[attr-defined]
    assert glance._tokens(entry)[2]
    assert min(glance._tokens(entry)[:2]) > 0


def test_a_model_without_a_price_saves_time_and_no_known_money() -> None:
    cache = MemoryCache()
    put(cache, "question", hits=2, took_s=1.5)
    (useful,) = look(cache, no_price).useful
    assert (useful.saved_s, useful.saved_usd) == (3.0, None)


def test_an_entry_that_goes_meanwhile_is_told_of_without_its_price() -> None:
    cache = Troubled()
    put(cache, "question", hits=2, took_s=1.5)
    cache.on["get_many"] = cache.clear
    (useful,) = look(cache, lambda *_: 1.0).useful
    assert (useful.saved_s, useful.saved_usd, useful.is_estimated) == (3.0, None, False)


def test_a_store_that_empties_meanwhile_breaks_nothing() -> None:
    cache = Troubled()
    put(cache, "question", hits=2, took_s=1.5)
    calls: list[int] = []

    def clear_later() -> None:
        calls.append(1)
        if len(calls) == 2:
            MemoryCache.clear(cache)

    cache.on["entries"] = clear_later
    said = look(cache, no_price)
    assert (said.entries, said.newest, list(said.useful)) == (0, None, [])


def test_a_store_that_fails_says_so() -> None:
    cache = Troubled()
    cache.fail("entries")
    with pytest.raises(CacheUnavailableError):
        look(cache, no_price)


def test_it_can_be_stopped() -> None:
    cache = MemoryCache()
    fill(cache, 600)

    def stop(looked_at: int, of: int | None) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        look(cache, no_price, stop)


def test_no_answer_of_another_namespace_is_in_it(cache: CacheBackend) -> None:
    store(cache.view(namespace="other"), "secret")
    store(cache, "own")
    said = seen(cache)
    assert said.entries == 1
