"""The entries page's controls: which store, what is looked for, what the list is narrowed by, in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import streamlit as st

from cache_backends import Tally
from cache_backends.browse import SIZE_MARKS
from lab import facets
from lab.facets import AGE_CHOICES, Narrowing
from lab.strategies import StrategyUnavailableError
from ui import choices, entries_state, words
from ui.entries_state import DIRECTIONS, EVERY_MODEL, ORDERS, SIZES, STATES
from ui.entries_transfer import show_foreign
from ui.language import _
from ui.links import follow_link, keep_in_link, went_elsewhere
from ui.numbers import count, size
from ui.safe_text import shown_in_line
from ui.session import laboratory

Tallies = Sequence[Tally] | None
"""What is counted so far; None while it is not."""


def choose_store() -> Sequence[str] | None:
    """The strategy; the namespaces of one that can be browsed, else None, and the page says why."""
    lab = laboratory()
    names = entries_state.strategies()
    if not names:
        st.info(_("There is no strategy with a cache to browse. The operator can add one."), icon=":material/info:")
        return None
    ours = [name for name in names if lab.strategies.is_ours(name)]
    default = (ours or names)[0]
    played_with = st.session_state.get("strategy")  # on the playground; where one went back to, it counts no more
    begins_with = played_with if played_with in ours and not went_elsewhere("entries_strategy") else default
    follow_link("entries_strategy", names, begins_with)
    st.segmented_control(
        _("Cache strategy"),
        names,
        format_func=lambda name: f"{words.strategy_icon(lab, name)} {words.strategy(lab, name)}",
        key="entries_strategy",
        required=True,
        persist_state="session",
        on_change=entries_state.another_strategy,
    )
    keep_in_link("entries_strategy", default)  # whatever was played with: a link says the same to everybody
    if not lab.strategies.is_ours(entries_state.strategy()):
        show_foreign(entries_state.strategy())
        return None
    try:
        namespaces = entries_state.namespaces()
    except StrategyUnavailableError as error:
        st.error(
            _("{strategy} can't be browsed now: {reason}").format(
                strategy=shown_in_line(words.strategy(lab, entries_state.strategy())), reason=shown_in_line(str(error))
            ),
            icon=":material/cloud_off:",
        )
        st.button(_("Try again"), key="entries_retry", icon=":material/refresh:", on_click=entries_state.refresh)
        return None
    follow_link("entries_namespace", namespaces, namespaces[0])
    entries_state.state().brought_along = None
    return namespaces


def search_row(namespaces: Sequence[str]) -> None:
    """The words looked for, and where."""
    left, right = st.columns([3, 1.2], gap="medium", vertical_alignment="bottom")
    left.text_input(
        _("Search in prompts and answers"),
        key="entries_search",
        type="search",
        live="300ms",
        placeholder=_("Words, or how they begin"),
        persist_state="session",
        max_chars=entries_state.LONGEST_TEXT,
    )
    keep_in_link("entries_search", "")
    right.selectbox(
        _("Namespace"),
        namespaces,
        key="entries_namespace",
        persist_state="session",
        on_change=entries_state.another_store,
        help=_("Entries of different namespaces never meet. The lab has one for each server that gives answers."),
    )
    keep_in_link("entries_namespace", namespaces[0])


def narrowing_row(tallies: Tallies) -> None:
    """What the list can be narrowed by, with how many entries each choice would leave, and its order."""
    chosen = entries_state.narrowing()
    models = sorted({*facets.models(tallies or ()), *([chosen.model] if chosen.model else [])})

    def counted(label: str, narrowing: Narrowing) -> str:
        if tallies is None or narrowing == chosen:
            return label  # what the chosen one leaves, the list says
        return f"{label} · {count(facets.count(tallies, narrowing))}"

    row = st.container(horizontal=True, gap="small", vertical_alignment="bottom")  # goes on below where it is narrow
    _select(
        row, 206, _("Model"), "entries_model", [EVERY_MODEL, *models],
        lambda name: counted(name or _("Every model"), replace(chosen, model=name or None)),
    )  # fmt: skip
    _select(
        row, 196, _("State"), "entries_state", STATES,
        lambda name: counted(_state_title(name), replace(chosen, state=name)),
    )  # fmt: skip
    _select(
        row, 206, _("Age"), "entries_age", AGE_CHOICES,
        lambda name: counted(_age_title(name), replace(chosen, age=name)),
    )  # fmt: skip
    _select(
        row, 206, _("Size"), "entries_size", SIZES,
        lambda name: counted(size_title(name), replace(chosen, size=None if name == "any" else int(name))),
    )  # fmt: skip
    _select(row, 206, _("Order"), "entries_order", ORDERS, order_title)
    _select(row, 196, _("Direction"), "entries_direction", DIRECTIONS, _direction_title)
    for key, default in (
        ("entries_model", EVERY_MODEL), ("entries_state", "any"), ("entries_age", "any"), ("entries_size", "any"),
        ("entries_order", "created_at"), ("entries_direction", "down"),
    ):  # fmt: skip
        keep_in_link(key, default)


def _select(
    row: st.delta_generator.DeltaGenerator,
    width: int,
    label: str,
    key: str,
    options: Sequence[str],
    title: Callable[[str], str],
) -> None:
    choices.select(row, label, options, key=key, title=title, persist_state="session", width=width)


def order_title(order: str) -> str:
    """What an order is called."""
    return {
        "created_at": _("Stored"),
        "last_used_at": _("Last used"),
        "hits": _("Hits"),
        "size_bytes": _("Size"),
        "expires_at": _("Time left"),
        "model_time_s": _("Model time"),
    }[order]


def size_title(choice: str) -> str:
    """A class of sizes: from which to below which."""
    if choice == "any":
        return _("Any size")
    number = int(choice)
    if number == 0:
        return _("Below {size}").format(size=size(SIZE_MARKS[0]))
    if number == len(SIZE_MARKS):
        return _("{size} or more").format(size=size(SIZE_MARKS[-1]))
    return _("{low} to {high}").format(low=size(SIZE_MARKS[number - 1]), high=size(SIZE_MARKS[number]))


def _state_title(state: str) -> str:
    return {"any": _("Any state"), "live": _("Live"), "expired": _("Expired")}[state]


def _age_title(age: str) -> str:
    return {
        "any": _("Any age"),
        "1d": _("The last 24 hours"),
        "7d": _("The last 7 days"),
        "30d": _("The last 30 days"),
        "older": _("Older than 30 days"),
    }[age]


def _direction_title(direction: str) -> str:
    order = st.session_state.get("entries_order", "created_at")
    down, up = {
        "created_at": (_("Newest first"), _("Oldest first")),
        "last_used_at": (_("Newest first"), _("Oldest first")),
        "hits": (_("Most first"), _("Fewest first")),
        "size_bytes": (_("Largest first"), _("Smallest first")),
    }.get(order, (_("Longest first"), _("Shortest first")))
    return down if direction == "down" else up
