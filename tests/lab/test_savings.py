"""What hits are worth in a month."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from lab import savings as savings_module
from lab.savings import DAYS, Savings, savings


def of(**changes: Any) -> Savings:
    values: dict[str, Any] = {
        "requests_a_day": 200,
        "hit_ratio": 0.25,
        "price_usd": 0.002,
        "model_s": 1.5,
        "hit_s": 0.5,
    }
    return savings(**values | changes)


def test_the_example_of_the_docstring_is_right() -> None:
    assert doctest.testmod(savings_module) == (0, 1)


def test_every_hit_of_a_month_saves_a_call_its_price_and_the_time_between_model_and_hit() -> None:
    assert DAYS == 30
    assert of() == Savings(requests=6000, calls=1500.0, usd=3.0, seconds=1500.0)


@pytest.mark.parametrize("nothing", [{"requests_a_day": 0}, {"hit_ratio": 0.0}])
def test_without_hits_nothing_is_saved(nothing: dict[str, float]) -> None:
    saved = of(**nothing)
    assert (saved.calls, saved.usd, saved.seconds) == (0, 0, 0)


def test_a_model_that_costs_nothing_still_saves_time() -> None:
    saved = of(price_usd=0.0)
    assert (saved.usd, saved.seconds) == (0, 1500.0)


def test_a_cache_that_is_slower_than_the_model_saves_no_time_and_costs_none() -> None:
    saved = of(model_s=0.1, hit_s=0.2)
    assert (saved.usd, saved.seconds) == (3.0, 0.0)


@pytest.mark.parametrize("name", ["requests_a_day", "hit_ratio"])
def test_twice_the_hits_save_twice_as_much(name: str) -> None:
    once, twice = of(), of(**{name: 2 * {"requests_a_day": 200, "hit_ratio": 0.25}[name]})
    assert (twice.calls, twice.usd, twice.seconds) == (2 * once.calls, 2 * once.usd, 2 * once.seconds)
