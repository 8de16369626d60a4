"""The playground: ask, ask again, restart, forget, bypass, and what the page says of each."""

from __future__ import annotations

import pytest

from cache_backends import CacheBackend
from tests.pages.conftest import Configure, Visit
from ui.controls import SAMPLES
from ui.history_table import _csv
from ui.session import laboratory

SAGAN = "Who was Carl Sagan?"
CACHES = ("memory", "sqlite", "json", "langchain-memory", "langchain-sqlite")
FORGETFUL = ("memory", "langchain-memory")


def test_the_empty_page_says_what_to_do_first(visit: Visit) -> None:
    visitor = visit()
    assert visitor.outcome == "none"
    assert "Ask something twice" in visitor.text
    assert "The history is empty" in visitor.text
    assert visitor.figure("Requests") == "0"
    assert [visitor.figure(label) for label in ("Hit ratio", "Median hit", "Median miss", "Time saved")] == ["–"] * 4
    assert all(visitor.widget(key).disabled for key in ("ask_again", "forget"))


@pytest.mark.parametrize("strategy", CACHES)
def test_a_prompt_asked_again_gets_the_same_answer_from_the_cache(visit: Visit, strategy: str) -> None:
    visitor = visit(strategy=strategy).ask(SAGAN)
    first = visitor.answer
    assert visitor.outcome == "miss"
    assert "Carl Sagan" in first
    assert "Asked for the first time" in visitor.text
    visitor.click("ask_again")
    assert visitor.outcome == "hit"
    assert visitor.answer == first
    assert "Found in the cache" in visitor.text
    visitor.assert_sound()


@pytest.mark.parametrize("strategy", CACHES)
def test_a_restart_empties_memory_and_nothing_else(visit: Visit, strategy: str) -> None:
    visitor = visit(strategy=strategy).ask(SAGAN)
    first = visitor.answer
    visitor.click("restart")
    assert ("holds nothing any more" in visitor.text) == (strategy in FORGETFUL)
    visitor.click("ask_again")
    if strategy in FORGETFUL:
        assert visitor.outcome == "miss"
        assert visitor.answer != first
        assert "Memory was emptied by the restart" in visitor.text
    else:
        assert visitor.outcome == "hit"
        assert visitor.answer == first


def test_no_cache_asks_the_model_every_time(visit: Visit) -> None:
    visitor = visit(strategy="none").ask(SAGAN)
    first = visitor.answer
    visitor.click("ask_again")
    assert visitor.outcome == "bypass"
    assert visitor.answer != first
    assert visitor.figure("Hit ratio") == "–"
    assert visitor.widget("restart").disabled
    assert visitor.widget("bypass").disabled


def test_bypass_neither_asks_nor_fills_the_cache(visit: Visit) -> None:
    visitor = visit().choose(bypass=True).ask(SAGAN)
    assert visitor.outcome == "bypass"
    assert "neither asked nor filled" in visitor.text
    visitor.choose(bypass=False).click("ask_again")
    assert visitor.outcome == "miss"
    visitor.choose(bypass=True).click("ask_again")
    assert visitor.outcome == "bypass"


@pytest.mark.parametrize("strategy", ["memory", "sqlite", "json"])
def test_a_forgotten_answer_has_to_be_made_again(visit: Visit, strategy: str) -> None:
    visitor = visit(strategy=strategy).ask(SAGAN)
    first = visitor.answer
    visitor.click("forget")
    assert "The answer was removed from the cache" in visitor.text
    assert visitor.widget("forget").disabled
    visitor.click("ask_again")
    assert visitor.outcome == "miss"
    assert visitor.answer != first
    assert "has been removed since" in visitor.text


def test_an_answer_that_is_gone_already_can_not_be_removed_twice(visit: Visit) -> None:
    one, other = visit().ask(SAGAN), visit().ask(SAGAN)
    one.click("forget")
    other.click("forget")
    assert "The answer was not in the cache any more." in other.text


@pytest.mark.parametrize("strategy", ["langchain-memory", "langchain-sqlite"])
def test_what_langchains_caches_can_not_do_is_not_offered(visit: Visit, strategy: str) -> None:
    visitor = visit(strategy=strategy).ask(SAGAN)
    assert visitor.widget("forget").disabled
    assert visitor.widget("ttl").disabled


@pytest.mark.parametrize(("choice", "seconds"), [("none", None), ("10s", 10), ("1d", 86400)])
def test_the_time_to_live_that_is_chosen_reaches_the_entry(visit: Visit, choice: str, seconds: float | None) -> None:
    visitor = visit(strategy="sqlite").choose(ttl=choice).ask(SAGAN)
    asked = visitor.answered.request
    store = laboratory().strategies.get(asked.strategy, laboratory().namespace(asked.scope, asked.model_id)).cache
    assert isinstance(store, CacheBackend)
    assert visitor.measurement.key is not None
    entry = store.get(visitor.measurement.key)
    assert entry is not None
    lives = None if entry.expires_at is None else pytest.approx(entry.expires_at - entry.created_at)
    assert lives == seconds


def test_another_temperature_is_another_request(visit: Visit) -> None:
    visitor = visit().ask(SAGAN)
    key = visitor.measurement.key
    visitor.choose(temperature=1.3).click("ask_again")
    assert visitor.outcome == "miss"
    assert visitor.measurement.key != key


def test_ask_again_uses_the_settings_that_are_chosen_now(visit: Visit) -> None:
    visitor = visit().ask(SAGAN).choose(strategy="json").click("ask_again")
    assert visitor.measurement.strategy == "json"
    assert visitor.measurement.prompt == SAGAN


@pytest.mark.parametrize("sample", [samples[0] for samples in SAMPLES.values()])
def test_a_sample_is_asked_when_it_is_picked_and_can_be_picked_again(visit: Visit, sample: str) -> None:
    visitor = visit().pick_sample(sample)
    assert visitor.measurement.prompt == sample
    assert visitor.outcome == "miss"
    assert visitor.widget("sample_prompt").value is None
    assert visitor.pick_sample(sample).outcome == "hit"


def test_the_card_shows_times_savings_and_key(visit: Visit) -> None:
    visitor = visit().ask(SAGAN)
    assert "Simulated model" in visitor.text
    assert "Cost:" in visitor.text
    visitor.click("ask_again")
    measured = visitor.measurement
    assert [visitor.figure(label) for label in ("Model", "Store")] == ["–", "–"]
    assert all(visitor.figure(label) != "–" for label in ("Total", "Lookup"))
    assert [shown.value for shown in visitor.at.code] == [measured.key]
    assert "at the price of gpt-4o-mini" in visitor.text
    assert "Money saved" in visitor.text


def test_the_figures_count_every_request(visit: Visit) -> None:
    visitor = visit().ask(SAGAN).click("ask_again").click("ask_again").choose(strategy="none").click("ask_again")
    assert visitor.figure("Requests") == "4"
    assert visitor.figure("Hit ratio") == "66.7 %"
    hit_ratio = next(metric for metric in visitor.at.metric if metric.label == "Hit ratio")
    assert hit_ratio.delta == "2 of 3"
    rows = visitor.at.dataframe[0].value
    assert list(rows["request"]) == [4, 3, 2, 1]
    assert list(rows["outcome"]) == ["Cache not asked", "Hit", "Hit", "Miss"]
    assert list(rows["strategy"]) == ["No cache", "Memory", "Memory", "Memory"]


def test_the_charts_say_in_words_what_they_show(visit: Visit) -> None:
    visitor = visit().ask(SAGAN).click("ask_again")
    shown = [chart.proto for chart in visitor.at.get("vega_lite_chart")]
    assert len(shown) == 2
    assert all(chart.data.data and not chart.datasets and "datasets" not in chart.spec for chart in shown)
    assert "2 requests shown; lower is better. Here a hit takes" in visitor.text
    assert "Now: Memory 50.0 % (1 of 2)" in visitor.text


def test_the_history_can_be_cleared_and_the_caches_keep_their_answers(visit: Visit) -> None:
    visitor = visit().ask(SAGAN).click("clear_history")
    assert "The history is empty" in visitor.text
    assert visitor.figure("Requests") == "0"
    assert visitor.click("ask_again").outcome == "hit"
    assert visitor.figure("Requests") == "1"


@pytest.mark.parametrize("prompt", ["=HYPERLINK(1)", "  @SUM(A1)"])
def test_a_formula_in_a_prompt_is_defused_in_the_download(visit: Visit, prompt: str) -> None:
    visitor = visit().ask(prompt)
    assert "download_history" in visitor.keys
    exported = _csv(laboratory().history, visitor.answered.request.scope).decode("utf-8-sig")
    assert f"'{prompt}" in exported


def test_the_guided_demo_tells_the_story_on_all_three_caches(visit: Visit) -> None:
    visitor = visit().click("guided_demo")
    steps = visitor.at.session_state["asking"].demo.result
    outcomes = {
        strategy: [step.measurement and step.measurement.outcome for step in steps if step.strategy == strategy]
        for strategy in ("memory", "sqlite", "json")
    }
    assert outcomes == {
        "memory": ["miss", "hit", None, "miss"],
        "sqlite": ["miss", "hit", None, "hit"],
        "json": ["miss", "hit", None, "hit"],
    }
    assert "demo_finished" in visitor.keys
    assert "All 12 steps done" in visitor.everything
    assert "(median of 5 hits)" in visitor.text
    assert "(median of 4 misses)" in visitor.text
    visitor.assert_sound()


def test_the_guided_demo_leaves_nothing_behind_and_goes_the_same_way_again(visit: Visit) -> None:
    visitor = visit().ask(SAGAN).click("guided_demo")
    first = [step.measurement and step.measurement.outcome for step in visitor.at.session_state["asking"].demo.result]
    visitor.click("demo_close")
    assert "demo_finished" not in visitor.keys
    assert visitor.figure("Requests") == "1"
    for strategy in ("memory", "sqlite", "json"):
        store = laboratory().strategies.get(strategy, "any").cache
        assert isinstance(store, CacheBackend)
        assert not [name for name in store.namespaces() if name.startswith("demo-")]
    visitor.click("guided_demo")
    again = [step.measurement and step.measurement.outcome for step in visitor.at.session_state["asking"].demo.result]
    assert again == first


def test_the_guided_demo_shows_only_the_strategies_that_there_are(visit: Visit, configure: Configure) -> None:
    configure("strategies:\n  - {name: memory, url: 'memory://'}\n")
    visitor = visit().click("guided_demo")
    assert "demo_finished" in visitor.keys
    assert "All 4 steps done" in visitor.everything
