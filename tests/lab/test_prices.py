"""What tokens cost: the operator's price, else the list's, else nothing is said."""

from __future__ import annotations

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.prices import Prices, estimated_tokens
from lab.settings import OPENAI_URL, PriceSettings

LOCAL_URL = "http://localhost:11434/v1"


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4.1-mini", "gpt-3.5-turbo-instruct"])
@pytest.mark.parametrize("server_url", [None, OPENAI_URL, LOCAL_URL])
def test_the_models_of_the_default_settings_cost_what_the_list_says(model: str, server_url: str | None) -> None:
    listed = calc_price(Usage(input_tokens=1234, output_tokens=567), model, provider_id="openai").total_price
    assert Prices().cost_usd(model, 1234, 567, server_url) == pytest.approx(float(listed))


def test_the_operators_price_wins_over_the_list() -> None:
    prices = Prices({"gpt-4o-mini": PriceSettings(input_usd_per_million=3, output_usd_per_million=5)})
    for server_url in (None, OPENAI_URL, LOCAL_URL):
        assert prices.cost_usd("gpt-4o-mini", 1_000_000, 2_000_000, server_url) == 13
    assert prices.cost_usd("gpt-4.1-mini", 1_000_000, 0) != 3


def test_a_price_of_nothing_is_a_price() -> None:
    prices = Prices({"llama3.2": PriceSettings(input_usd_per_million=0, output_usd_per_million=0)})
    assert prices.cost_usd("llama3.2", 1000, 1000, LOCAL_URL) == 0


def test_a_model_that_nobody_sells_has_no_price() -> None:
    assert Prices().cost_usd("a-model-that-nobody-sells", 10, 10) is None


def test_a_model_that_runs_at_home_does_not_cost_what_others_sell_it_for() -> None:
    prices = Prices()
    assert prices.cost_usd("deepseek-chat", 1000, 1000)
    assert prices.cost_usd("deepseek-chat", 1000, 1000, "https://api.deepseek.com/v1")
    assert prices.cost_usd("deepseek-chat", 1000, 1000, LOCAL_URL) is None


def test_no_tokens_cost_nothing() -> None:
    assert Prices().cost_usd("gpt-4o-mini", 0, 0) == 0


@given(model=st.text(max_size=30), server_url=st.none() | st.text(max_size=30))
@settings(max_examples=80, deadline=None)
def test_whatever_the_model_is_called_nothing_is_raised(model: str, server_url: str | None) -> None:
    cost = Prices().cost_usd(model, 10, 10, server_url)
    assert cost is None or cost >= 0


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcdefgh", 2), ("x" * 4000, 1000), ("ação", 1)]
)
def test_tokens_are_estimated_at_four_characters_each_and_one_at_least(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens
