"""Numbers as people read them, in the session's language: durations, money, ratios, ages, counts."""

from __future__ import annotations

import contextlib
import math
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.numbers import get_decimal_symbol, get_group_symbol

from ui.language import _, babel_locale

DASH = "–"
"""Shown where there is no number, which is not the same as nought."""
SIGNIFICANT = 3


def count(number: int) -> str:
    """A whole number with the language's separators."""
    return _localized(f"{number:,}")


def decimal(value: float, significant: int = SIGNIFICANT) -> str:
    """A number with so many significant digits, never in scientific notation."""
    if value == 0 or not math.isfinite(value):
        return "0"
    exponent = int(f"{value:.{significant - 1}e}".partition("e")[2])  # of the rounded value: 0.9996 is 1.00
    places = max(0, significant - 1 - exponent)
    return _localized(f"{value:,.{places}f}")


def duration(seconds: float | None) -> str:
    """A time with its best unit: 18.2 µs, 0.26 ms, 1.02 s, 3.4 min, 2.1 h."""
    if seconds is None:
        return DASH
    size = abs(seconds)
    if size >= 3600:
        return f"{decimal(seconds / 3600)} h"
    if size >= 120:
        return f"{decimal(seconds / 60)} min"
    if size >= 0.9995:
        return f"{decimal(seconds)} s"
    if size >= 0.0000995:
        return f"{decimal(seconds * 1e3)} ms"
    return f"{decimal(seconds * 1e6)} µs"


def money(usd: float | None) -> str:
    """US dollars: cents from one dollar up, below that as many places as it takes to see two digits."""
    if usd is None:
        return DASH
    if usd == 0 or abs(usd) >= 1:
        return f"US$ {_localized(f'{usd:,.2f}')}"
    return f"US$ {decimal(usd, 2)}"


def size(number_of_bytes: int) -> str:
    """An amount of data with its best unit: 712 B, 3.42 kB, 1.05 MB."""
    for unit, unit_bytes in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number_of_bytes >= unit_bytes * 0.9995:
            return f"{decimal(number_of_bytes / unit_bytes)} {unit}"
    return f"{count(number_of_bytes)} B"


def moment(unix_s: float, timezone: str | None) -> str:
    """A time of day with its date in a time zone of the browser, UTC where that is not known: 2026-11-24 21:45:08."""
    zone: tzinfo = UTC
    if timezone:
        with contextlib.suppress(ZoneInfoNotFoundError, ValueError):
            zone = ZoneInfo(timezone)
    try:
        return f"{datetime.fromtimestamp(unix_s, zone):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return DASH  # no time of any calendar


def ratio(part: int, whole: int) -> str:
    """Per cent, or a dash where there is nothing to take it of."""
    if not whole:
        return DASH
    return _localized(f"{100 * part / whole:,.{1 if 0 < part < whole else 0}f} %")


def of(part: int, whole: int) -> str:
    """The two numbers behind a ratio."""
    return _("{part} of {whole}").format(part=count(part), whole=count(whole))


def span(seconds: float) -> str:
    """A rough length of time in one unit: 12 s, 3 min, 2 h, 5 d."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{count(int(seconds // size))} {unit}"
    return f"{count(int(seconds))} s"


def ago(seconds: float) -> str:
    """How long ago something was."""
    if not math.isfinite(seconds):
        return DASH
    if seconds < 1:
        return _("just now")
    return _("{span} ago").format(span=span(seconds))


def times(factor: float) -> str:
    """How many times as much: two digits below a hundred, else three, since more would be chance."""
    if factor < 100:
        return f"{decimal(factor, 2)}×"
    return f"{count(int(round(factor, 2 - math.floor(math.log10(factor)))))}×"


def _localized(english: str) -> str:
    """A number in Python's format with the separators of the session's language: babel's formatting takes 40 µs."""
    return english.translate(_separators(babel_locale()))


@lru_cache
def _separators(locale: str) -> dict[int, str]:
    return {ord(","): get_group_symbol(locale), ord("."): get_decimal_symbol(locale)}
