"""Measurements as CSV that a spreadsheet can open without running anything."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A text cell that begins so may be run by a spreadsheet (https://owasp.org/www-community/attacks/CSV_Injection)."""


def csv_of(frames: Iterable[pd.DataFrame]) -> str:
    """The frames one below the other, with one header; text that could be a formula gets an apostrophe before it."""
    target = io.StringIO()
    header = True
    for frame in frames:
        # "\r\n" as RFC 4180 has it: with "\n" a lone "\r" in a cell is not quoted and begins a row of its own.
        frame.map(_defused).to_csv(target, index=False, header=header, lineterminator="\r\n")
        header = False
    return target.getvalue()


def _defused(cell: object) -> object:
    if isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA_STARTS):
        return f"'{cell}"
    return cell
