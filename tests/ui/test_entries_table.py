"""The rows of the list of entries: what stands in the cells is text in one line, and how long an entry lives on."""

from __future__ import annotations

from typing import Any

import pytest

from cache_backends import EntrySummary
from ui.entries_state import ORDERS
from ui.entries_table import _ORDER_OF, life_left, one_line, table, time_left
from ui.numbers import duration

NOW = 1_750_000_000.0
HOSTILE = "<script>alert(1)</script>\0 ![x](http://evil/x.png) \u202emoc :material/bolt: $x$ a\nb\tc"


def summary(**changes: Any) -> EntrySummary:
    """An entry that was stored 100 s ago, with changes."""
    values: dict[str, Any] = {
        "key": "ab" * 32,
        "namespace": "shared:simulated",
        "prompt": "Who was Carl Sagan?",
        "answer": "An astronomer.",
        "model": "demo-1",
        "created_at": NOW - 100,
        "expires_at": None,
        "last_used_at": NOW - 10,
        "hits": 1_234,
        "size_bytes": 3_420,
    }
    return EntrySummary(**values | changes)


def shown(entry: EntrySummary, timezone: str | None = None) -> dict[str, Any]:
    """The cells of a row, before they are formatted."""
    row: dict[str, Any] = table([entry], NOW, timezone).data.iloc[0].to_dict()  # type: ignore[attr-defined]
    return row


@pytest.mark.usefixtures("code")
def test_a_row_says_all_of_an_entry_that_a_list_shows() -> None:
    row = shown(summary(expires_at=NOW + 300))
    assert (row["prompt"], row["answer"], row["model"]) == ("Who was Carl Sagan?", "An astronomer.", "demo-1")
    assert (row["hits"], row["size"]) == (1_234, 3_420)
    assert row["life"] == pytest.approx(75.0)
    assert row["time_left"] == "5 min"


def test_times_are_those_of_the_browser() -> None:
    assert shown(summary())["created_at"] == "2025-06-15 15:05"
    assert shown(summary(), "America/Sao_Paulo")["created_at"] == "2025-06-15 12:05"
    assert shown(summary(), "No/Such_Place")["created_at"] == "2025-06-15 15:05"


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("at", [-1e308, 1e308, -1e12, 0.0, 1e18, NOW + 1e6])
def test_times_of_no_calendar_are_dashes_or_what_they_are(at: float) -> None:
    row = shown(summary(created_at=at, last_used_at=at, expires_at=at))
    assert 0 <= row["life"] <= 100
    assert isinstance(row["time_left"], str)


def test_stored_text_is_one_line_with_a_sign_for_nul() -> None:
    row = shown(summary(prompt=HOSTILE, answer=HOSTILE, model=HOSTILE))
    assert row["prompt"] == row["answer"] == one_line(HOSTILE)
    assert "\0" not in one_line(HOSTILE)
    assert "\n" not in one_line(HOSTILE)
    assert one_line(HOSTILE).startswith("<script>alert(1)</script>\u2400 ![x]"), "the text as it is, in a cell"


def test_an_answer_without_a_model_has_a_dash() -> None:
    assert shown(summary(model=None))["model"] == "–"


def test_what_the_list_is_ordered_by_can_be_seen() -> None:
    by_model_time = table([summary(model_time_s=1.25)], NOW, None, "model_time_s").data  # type: ignore[attr-defined]
    assert by_model_time["model_time"].tolist() == [duration(1.25)]
    assert "model_time" not in shown(summary(model_time_s=1.25))
    for order in ORDERS:
        columns = set(table([summary()], NOW, None, order).data.columns)  # type: ignore[attr-defined]
        assert {name for name, ordered in _ORDER_OF.items() if ordered == order} & columns


def test_no_rows_are_a_table_too() -> None:
    assert len(table([], NOW, None).data) == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, None),
        ({"expires_at": NOW + 100}, 50.0),
        ({"expires_at": NOW}, 0.0),
        ({"expires_at": NOW - 50}, 0.0),
        ({"expires_at": NOW - 100}, 0.0),
        ({"expires_at": NOW + 100, "pinned": True}, None),
        ({"expires_at": NOW + 100, "created_at": NOW + 50}, 100.0),
    ],
)
def test_a_bar_shows_the_part_of_its_life_that_is_left(changes: dict[str, Any], left: float | None) -> None:
    assert life_left(summary(**changes), NOW) == left


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, "For ever"),
        ({"expires_at": NOW + 59}, "59 s"),
        ({"expires_at": NOW + 7_200}, "2 h"),
        ({"expires_at": NOW}, "Expired"),
        ({"expires_at": NOW - 5, "pinned": True}, "Pinned"),
        ({"pinned": True}, "Pinned"),
    ],
)
def test_what_is_left_is_said_in_words(changes: dict[str, Any], left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.language.language", lambda: "en")
    assert time_left(summary(**changes), NOW) == left


def test_a_row_is_that_of_its_entry() -> None:
    entries = [summary(prompt=str(number)) for number in range(3)]
    assert list(table(entries, NOW, None).data["prompt"]) == ["0", "1", "2"]  # type: ignore[attr-defined]
