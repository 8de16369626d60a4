"""Colours: one for each outcome and strategy, seen on its background, the same whatever else is shown."""

from __future__ import annotations

from itertools import combinations
from typing import get_args

import pytest
import streamlit as st

from lab.measurement import RequestOutcome
from lab.settings import Settings
from lab.strategies import NO_CACHE
from ui.colours import ADDED, OUTCOME_COLOURS, SHAPES, STRATEGY_ORDER, outcome_colour, strategy_colour, strategy_shape
from ui.words import STRATEGY_ICONS

NAMES = [NO_CACHE, *(strategy.name for strategy in Settings().strategies)]
SEEN = 3.0
"""The least contrast of graphical objects, by WCAG 2.2, success criterion 1.4.11."""


def channels(colour: str) -> tuple[float, float, float]:
    """Red, green and blue, 0 to 1, of "#RRGGBB"."""
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21, by WCAG 2.2."""

    def luminance(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def background(theme: str) -> str:
    """The colour behind the charts."""
    return str(st.get_option(f"theme.{theme}.backgroundColor"))


@pytest.mark.parametrize("name", get_args(RequestOutcome))
def test_an_outcome_is_seen_on_its_background(theme: str, name: str) -> None:
    assert contrast(outcome_colour(name), background(theme)) >= SEEN


@pytest.mark.parametrize("name", STRATEGY_ORDER)
def test_a_strategy_is_seen_on_its_background(theme: str, name: str) -> None:
    assert contrast(strategy_colour(name, NAMES), background(theme)) >= SEEN


@pytest.mark.parametrize("place", range(len(ADDED)))
def test_a_strategy_of_the_operator_is_seen_on_its_background(theme: str, place: int) -> None:
    names = [*NAMES, *(f"added-{number}" for number in range(len(ADDED)))]
    assert contrast(strategy_colour(f"added-{place}", names), background(theme)) >= SEEN


def test_every_outcome_and_strategy_has_a_colour_of_its_own(theme: str) -> None:
    assert set(OUTCOME_COLOURS) == set(get_args(RequestOutcome))
    names = [*STRATEGY_ORDER, *(f"added-{number}" for number in range(len(ADDED)))]
    assert len({outcome_colour(name) for name in OUTCOME_COLOURS}) == len(OUTCOME_COLOURS)
    assert len({strategy_colour(name, names) for name in names}) == len(names)


def test_hit_and_miss_differ_in_light_and_not_in_red_and_green_alone(theme: str) -> None:
    hit, miss = channels(outcome_colour("hit")), channels(outcome_colour("miss"))
    assert abs(hit[2] - miss[2]) > 0.4


def test_a_strategy_keeps_its_colour_whatever_others_there_are(theme: str) -> None:
    for name in NAMES:
        assert {strategy_colour(name, others) for others in (NAMES, NAMES[::-1], [name], [])} == {
            strategy_colour(name, NAMES)
        }


def test_the_default_strategies_have_shapes_of_their_own() -> None:
    shapes = [strategy_shape(name, NAMES) for name in NAMES]
    assert len(set(shapes)) == len(shapes)
    assert strategy_shape("gone", NAMES) in SHAPES


def test_more_strategies_than_colours_and_shapes_is_no_error(theme: str) -> None:
    names = [f"added-{number}" for number in range(50)]
    for name in names:
        assert strategy_colour(name, names).startswith("#")
        assert strategy_shape(name, names) in SHAPES


def test_light_and_dark_have_a_colour_for_every_strategy_we_know() -> None:
    for theme in ("light", "dark"):
        assert len(st.get_option(f"theme.{theme}.chartCategoricalColors")) == len(STRATEGY_ORDER)
    assert set(STRATEGY_ICONS) <= set(STRATEGY_ORDER)


@pytest.mark.parametrize(("one", "other"), list(combinations(("hit", "miss", "expired"), 2)))
def test_the_commonest_outcomes_are_told_apart(theme: str, one: str, other: str) -> None:
    apart = sum(abs(a - b) for a, b in zip(channels(outcome_colour(one)), channels(outcome_colour(other)), strict=True))
    assert apart > 0.25
