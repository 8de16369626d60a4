"""A place of its own for what comes and goes on a page, so that all below it stays what it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import streamlit as st

P = ParamSpec("P")
T = TypeVar("T")


def keep_place() -> None:
    """Keep the place of a fragment that is not there just now, and would have a container of its own."""
    st.container()


def in_its_place(show: Callable[P, T]) -> Callable[P, T]:
    """`show`, within a container that is there even when it shows nothing: one that is empty takes no room.

    Elements arrive in the browser at their number among their siblings, and what has no key is known by it. Where one
    is missing, all after it are put where others were, and made anew: a table vanishes for a moment, a click is lost.
    Not for what may hold nothing but a silent fragment or another place: their container would be in this one, which is
    not empty then. For those, see `keep_place`.
    """

    @wraps(show)
    def placed(*args: P.args, **kwargs: P.kwargs) -> T:
        with st.container():
            return show(*args, **kwargs)

    return placed
