"""The race of a comparison: a column for each strategy, which fills as its results come in."""

from __future__ import annotations

import streamlit as st

from lab.measurement import Measurement
from lab.strategies import NO_CACHE
from ui import words
from ui.language import _
from ui.numbers import duration
from ui.safe_text import safe_markdown, shown_in_line
from ui.session import laboratory

FEW, MANY = 3, 4
"""Columns in a row: of up to six strategies, and of more."""
ANSWER_HEIGHT = 130
"""Pixels: the same in every column, while it is empty too."""
NO_BREAK_SPACE = "\u00a0"

Results = dict[str, dict[str, Measurement]]
"""By strategy and act (cold, warm)."""


def show_race(names: tuple[str, ...], results: Results, problems: dict[str, str], *, is_running: bool) -> None:
    """All strategies side by side."""
    in_a_row = max(1, len(names)) if len(names) <= MANY else FEW if len(names) <= 2 * FEW else MANY
    for first in range(0, len(names), in_a_row):
        columns = st.columns(in_a_row, gap="small")
        for column, name in zip(columns, names[first : first + in_a_row], strict=False):
            with column, st.container(border=True, key=f"race_{name}", height="stretch"):
                _show_strategy(name, results.get(name, {}), problems.get(name), is_running=is_running)


def _show_strategy(name: str, acts: dict[str, Measurement], problem: str | None, *, is_running: bool) -> None:
    lab = laboratory()
    st.markdown(f"**{words.strategy_icon(lab, name)} {shown_in_line(words.strategy(lab, name))}**")
    cold, warm = acts.get("cold"), acts.get("warm")
    st.markdown(
        "  \n".join(
            [
                _act_line(_("First, cold"), cold, is_running=is_running),
                _act_line(_("Again, warm"), warm, is_running=is_running)
                if name != NO_CACHE
                else f":gray[{_('Again: the model, every time')}]",
                _parts(cold),
            ]
        )
    )
    with st.container(height=ANSWER_HEIGHT, border=False):
        if cold is not None and cold.answer:
            st.markdown(safe_markdown(cold.answer))
        elif problem is not None:
            st.caption(f":red[:material/error: {shown_in_line(problem)}]")
        elif is_running and cold is None:
            with st.skeleton(height=70):
                pass


def _act_line(title: str, measured: Measurement | None, *, is_running: bool) -> str:
    if measured is None:
        waiting = _("waiting") if is_running else _("not asked")
        return f":gray[:material/radio_button_unchecked: {title}: {waiting}]"
    outcome = measured.shown_outcome
    time = duration(measured.total_s or None).replace(" ", NO_BREAK_SPACE)
    return f"{words.OUTCOME_ICONS[outcome]} {title}: **{words.outcome(outcome)}**, {time}"


def _parts(cold: Measurement | None) -> str:
    if cold is None:
        return "&nbsp;"
    parts = [
        f"{title} {duration(seconds)}".replace(" ", NO_BREAK_SPACE)
        for title, seconds in ((_("Lookup"), cold.lookup_s), (_("Model"), cold.model_s), (_("Store"), cold.store_s))
        if seconds is not None
    ]
    return f":small[:gray[{' · '.join(parts)}]]" if parts else "&nbsp;"
