"""Numbers as people read them, in the session's language: durations, money, ratios, ages, counts."""

from __future__ import annotations

import math

from babel.numbers import format_decimal, format_percent

from ui.language import _, babel_locale

DASH = "–"
"""Shown where there is no number, which is not the same as nought."""
SIGNIFICANT = 3


def count(number: int) -> str:
    """A whole number with the language's separators."""
    return str(format_decimal(number, locale=babel_locale()))


def decimal(value: float, significant: int = SIGNIFICANT) -> str:
    """A number with so many significant digits, never in scientific notation."""
    if value == 0 or not math.isfinite(value):
        return str(format_decimal(0, locale=babel_locale()))
    places = max(0, significant - 1 - math.floor(math.log10(abs(value))))
    return str(format_decimal(round(value, places), format=f"#,##0.{'0' * places}", locale=babel_locale()))


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
        return f"US$ {format_decimal(usd, format='#,##0.00', locale=babel_locale())}"
    return f"US$ {decimal(usd, 2)}"


def ratio(part: int, whole: int) -> str:
    """Per cent, or a dash where there is nothing to take it of."""
    if not whole:
        return DASH
    return str(
        format_percent(part / whole, format="#,##0.0 %" if 0 < part < whole else "#,##0 %", locale=babel_locale())
    )


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
    if seconds < 1:
        return _("just now")
    return _("{span} ago").format(span=span(seconds))


def times(factor: float) -> str:
    """How many times as much, with two digits."""
    return f"{decimal(factor, 2) if factor < 100 else count(round(factor))}×"
