"""The record of a request."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any, get_args

import pytest

from lab.measurement import LOOKUPS, RequestOutcome
from tests.lab.building import measurement


@pytest.mark.parametrize(
    ("changes", "kept", "shown"),
    [
        ({"outcome": "miss", "stored": True}, True, "miss"),
        ({"outcome": "miss", "stored": False}, False, "miss"),
        ({"outcome": "hit", "stored": False}, True, "hit"),
        ({"outcome": "expired", "stored": True}, True, "expired"),
        ({"outcome": "bypass", "stored": False}, False, "bypass"),
        ({"outcome": "shared", "stored": False}, False, "shared"),
        ({"outcome": "miss", "stored": False, "failure": "timeout"}, False, "error"),
    ],
)
def test_whether_it_is_kept_and_what_is_shown(changes: Any, kept: bool, shown: str) -> None:
    measured = measurement(**changes)
    assert (measured.kept, measured.shown_outcome) == (kept, shown)


def test_a_measurement_is_never_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        measurement().stored = False  # type: ignore[misc]


def test_lookups_are_outcomes() -> None:
    assert set(LOOKUPS) == set(get_args(RequestOutcome)) - {"bypass"}
