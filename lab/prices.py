"""What tokens cost, in US dollars: the operator's prices, else the price list of `genai-prices`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from genai_prices import Usage, calc_price
from genai_prices.types import PriceCalculation

from lab.settings import PriceSettings

CHARACTERS_PER_TOKEN = 4
"""Rule of thumb for English text, where a server does not say how many tokens it used."""


class Prices:
    """Costs of a request by model name."""

    def __init__(self, overrides: Mapping[str, PriceSettings] | None = None) -> None:
        self._overrides = dict(overrides or {})

    def cost_usd(
        self, model: str, input_tokens: int, output_tokens: int, server_url: str | None = None
    ) -> float | None:
        """The price of that many tokens; None where no price is known for the model.

        A server whose address the price list does not know (a gateway, one's own machine) is priced as OpenAI where it
        has a model of that name, and not at all otherwise: a model that runs at home costs nobody's list price.
        """
        override = self._overrides.get(model)
        if override is not None:
            return (
                input_tokens * override.input_usd_per_million + output_tokens * override.output_usd_per_million
            ) / 1_000_000
        prices = _listed_usd_per_token(model, server_url)
        return None if prices is None else input_tokens * prices[0] + output_tokens * prices[1]


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has."""
    return max(1, round(len(text) / CHARACTERS_PER_TOKEN)) if text else 0


@lru_cache(maxsize=1000)
def _listed_usd_per_token(model: str, server_url: str | None) -> tuple[float, float] | None:
    if server_url is None:
        return _per_token(lambda usage: calc_price(usage, model))
    return _per_token(lambda usage: calc_price(usage, model, provider_api_url=server_url)) or _per_token(
        lambda usage: calc_price(usage, model, provider_id="openai")
    )


def _per_token(price_of: Callable[[Usage], PriceCalculation]) -> tuple[float, float] | None:
    try:
        input_price = price_of(Usage(input_tokens=1000, output_tokens=0)).total_price
        output_price = price_of(Usage(input_tokens=0, output_tokens=1000)).total_price
    except (LookupError, ValueError):
        return None
    return float(input_price) / 1000, float(output_price) / 1000
