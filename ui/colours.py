"""One fixed colour a strategy and an outcome, the same on every page, from the theme in `.streamlit/config.toml`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import streamlit as st

STRATEGY_ORDER = (
    "none",
    "memory",
    "sqlite",
    "json",
    "redis",
    "postgresql",
    "mysql",
    "mongodb",
    "langchain-memory",
    "langchain-sqlite",
)
"""Whose colour each of the theme's `chartCategoricalColors` is."""
ADDED = (("#5B6B00", "#C5D34A"), ("#4B5563", "#CBD5E1"), ("#00707A", "#4FD0DB"), ("#7C3AED", "#B79CF7"))
"""Light and dark, in turn, for the strategies that an operator adds."""
OUTCOME_COLOURS = {
    "hit": ("#0B5CAD", "#7DB7FF"),
    "miss": ("#C2570C", "#F2994A"),
    "expired": ("#8A6D00", "#E3C15B"),
    "corrupt": ("#A3195B", "#F08CBB"),
    "error": ("#B00020", "#FF8A80"),
    "bypass": ("#6B7280", "#9CA3AF"),
    "shared": ("#00785A", "#2FBF95"),
}
"""Light and dark. Blue and orange for hit and miss: green and red are the pair that colour-blind eyes confuse."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")


_always_light: ContextVar[bool] = ContextVar("always_light", default=False)


@contextmanager
def in_light() -> Iterator[None]:
    """Light colours meanwhile, whatever the browser shows: for what is taken away."""
    before = _always_light.set(True)
    try:
        yield
    finally:
        _always_light.reset(before)


def is_dark() -> bool:
    """Whether the browser shows the dark theme."""
    return not _always_light.get() and st.context.theme.type == "dark"


def strategy_colour(name: str, names: list[str]) -> str:
    """The colour of a strategy; `names` are all of them, in the order of the settings."""
    if name in STRATEGY_ORDER:
        colours = st.get_option(f"theme.{'dark' if is_dark() else 'light'}.chartCategoricalColors")
        return str(colours[STRATEGY_ORDER.index(name)])
    added = [each for each in names if each not in STRATEGY_ORDER]
    return ADDED[added.index(name) % len(ADDED) if name in added else 0][is_dark()]


def outcome_colour(name: str) -> str:
    """The colour of an outcome."""
    return OUTCOME_COLOURS[name][is_dark()]


def strategy_shape(name: str, names: list[str]) -> str:
    """The shape of a strategy's points."""
    return SHAPES[names.index(name) % len(SHAPES)] if name in names else SHAPES[0]
