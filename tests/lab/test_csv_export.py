"""Exports: what a spreadsheet opens, and does not run."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.csv_export import FORMULA_STARTS, csv_of
from lab.history import COLUMNS, History
from tests.lab.building import measurement


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("start", FORMULA_STARTS)
@pytest.mark.parametrize("before", ["", " ", "   "])
def test_what_could_be_a_formula_is_text(start: str, before: str) -> None:
    cell = f"{before}{start}cmd|' /c calc'!A1"
    assert rows(csv_of([pd.DataFrame({"prompt": [cell]})]))[1] == [f"'{cell}"]


@pytest.mark.parametrize("line_end", ["\r", "\n", "\r\n"])
def test_a_line_within_a_cell_begins_no_row(line_end: str) -> None:
    cell = f"a question{line_end}=HYPERLINK(1)"
    assert rows(csv_of([pd.DataFrame({"prompt": [cell, "x"]})])) == [["prompt"], [cell], ["x"]]


@pytest.mark.parametrize("cell", ["Who was Carl Sagan?", "a=b", "it's", "", "1-2", 'say "hi"', "two\nlines", "a,b;c"])
def test_any_other_text_is_left_as_it_is(cell: str) -> None:
    assert rows(csv_of([pd.DataFrame({"prompt": [cell, "x"]})]))[1:] == [[cell], ["x"]]


def test_numbers_are_numbers_even_below_nothing() -> None:
    assert rows(csv_of([pd.DataFrame({"saved_s": [-0.5, 2.0]})])) == [["saved_s"], ["-0.5"], ["2.0"]]


def test_frames_follow_each_other_under_one_header() -> None:
    frames = [pd.DataFrame({"a": [number], "b": ["x"]}) for number in range(3)]
    assert rows(csv_of(frames)) == [["a", "b"], ["0", "x"], ["1", "x"], ["2", "x"]]
    assert csv_of([]) == ""


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1) | st.from_regex(
    r"[\r\n =+@\-\t,\"'a]{1,8}", fullmatch=True
)


@given(cells=st.lists(CELLS, min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_whatever_the_cells_no_row_is_lost_and_none_begins_a_formula(cells: list[str]) -> None:
    read = rows(csv_of([pd.DataFrame({"first": range(len(cells)), "prompt": cells})]))
    assert len(read) == len(cells) + 1
    for cell, (_, shown) in zip(cells, read[1:], strict=True):
        assert shown in (cell, f"'{cell}")
        assert not shown.lstrip(" ").startswith(FORMULA_STARTS)


def test_a_history_is_exported_whole(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    history.record_many(measurement(prompt=f"=HYPERLINK({number})") for number in range(1500))
    exported = rows(csv_of(history.export("shared")))
    assert exported[0] == list(COLUMNS)
    assert [row[COLUMNS.index("prompt")] for row in exported[1:]] == [f"'=HYPERLINK({n})" for n in range(1500)]
    history.close()
