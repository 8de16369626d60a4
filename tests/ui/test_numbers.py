"""Numbers as people read them, in both languages."""

from __future__ import annotations

import math
import re

import pytest
from babel.numbers import parse_decimal
from hypothesis import assume, given
from hypothesis import strategies as st

from ui import numbers
from ui.numbers import DASH

SECONDS = {"µs": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86_400}
DURATIONS = st.floats(min_value=1e-7, max_value=9_999 * 3600)
MONEY = st.floats(min_value=1e-9, max_value=1e9)


def value(shown: str, code: str) -> float:
    """The number in a text, read as the language writes it."""
    return float(parse_decimal(re.sub(r"[^\d.,-]", "", shown), locale=code.replace("-", "_")))


def digits(shown: str) -> int:
    """How many significant digits a number shows."""
    return len(re.sub(r"\D", "", shown).lstrip("0"))


def in_english(text: str, code: str) -> str:
    """A number of that language as English writes it."""
    return text.translate(str.maketrans(".,", ",.")) if code == "pt-BR" else text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 µs"),
        (1.5e-8, "0.0150 µs"),
        (18.24e-6, "18.2 µs"),
        (0.000_26, "0.260 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (9.996, "10.0 s"),
        (1.024, "1.02 s"),
        (119.4, "119 s"),
        (120, "2.00 min"),
        (3599, "60.0 min"),
        (3600, "1.00 h"),
        (7_200_000, "2,000 h"),
        (-0.25, "-250 ms"),
    ],
)
def test_a_duration_has_its_best_unit(code: str, seconds: float, shown: str) -> None:
    assert in_english(numbers.duration(seconds), code) == shown


@given(seconds=DURATIONS)
def test_a_duration_has_few_digits_and_is_what_it_was(code: str, seconds: float) -> None:
    shown = numbers.duration(seconds)
    assert re.fullmatch(r"[\d.,]+ (µs|ms|s|min|h)", shown)
    assert digits(shown) <= (4 if shown.endswith(" h") else 3)
    unit = shown.split()[1]
    assert math.isclose(value(shown, code) * SECONDS[unit], seconds, rel_tol=0.006)


@given(one=DURATIONS, other=DURATIONS)
def test_a_longer_duration_never_looks_shorter(code: str, one: float, other: float) -> None:
    shown = [numbers.duration(seconds) for seconds in sorted((one, other))]
    first, second = (value(each, code) * SECONDS[each.split()[1]] for each in shown)
    assert first <= second * (1 + 1e-9)


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (0, "US$ 0.00"),
        (0.000_123_4, "US$ 0.00012"),
        (0.0504, "US$ 0.050"),
        (1.239, "US$ 1.24"),
        (1e6, "US$ 1,000,000.00"),
    ],
)
def test_money_has_cents_or_two_digits(code: str, usd: float, shown: str) -> None:
    assert in_english(numbers.money(usd), code).replace("US$", "US$") == shown


@given(usd=MONEY)
def test_money_is_never_scientific_and_is_what_it_was(code: str, usd: float) -> None:
    shown = numbers.money(usd)
    assert re.fullmatch(r"US\$ [\d.,]+", shown)
    assert math.isclose(value(shown, code), usd, rel_tol=0.06)
    if usd < 1:
        assert digits(shown) <= 2


@given(number=st.integers(min_value=0, max_value=10**12))
def test_a_count_shows_every_digit(code: str, number: int) -> None:
    assert in_english(numbers.count(number), code) == f"{number:,}"


@given(number=st.floats(min_value=1e-12, max_value=999), significant=st.integers(1, 4))
def test_a_decimal_has_the_digits_it_was_asked_for(code: str, number: float, significant: int) -> None:
    shown = numbers.decimal(number, significant)
    assert re.fullmatch(r"[\d.,]+", shown)
    assert digits(shown) <= max(3, significant)
    assert math.isclose(value(shown, code), number, rel_tol=0.51 * 10 ** (1 - significant), abs_tol=0.5)


@given(number=st.sampled_from([math.inf, -math.inf, math.nan, 0.0, -0.0]))
def test_what_is_no_number_does_not_fail(code: str, number: float) -> None:
    assert numbers.decimal(number) == "0"


@given(whole=st.integers(1, 10**6), part=st.integers(0, 10**6))
def test_a_ratio_is_a_share_of_a_hundred(code: str, whole: int, part: int) -> None:
    assume(part <= whole)
    shown = numbers.ratio(part, whole)
    assert re.fullmatch(r"\d{1,3}([.,]\d)? %", shown)
    assert abs(value(shown, code) - 100 * part / whole) <= 0.0501


def test_a_ratio_of_nothing_is_a_dash(code: str) -> None:
    assert numbers.ratio(0, 0) == DASH
    assert numbers.ratio(0, 3) == "0 %"
    assert numbers.ratio(3, 3) == "100 %"


def test_what_is_not_known_is_a_dash_and_not_nought(code: str) -> None:
    assert numbers.duration(None) == DASH
    assert numbers.money(None) == DASH


def test_the_numbers_behind_a_ratio_are_named(code: str) -> None:
    assert numbers.of(1, 1234) == {"en": "1 of 1,234", "pt-BR": "1 de 1.234"}[code]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3_599, "59 min"), (3_600, "1 h"), (90_000, "1 d"), (1e8, "1,157 d")],
)
def test_a_span_is_rough_and_in_one_unit(code: str, seconds: float, shown: str) -> None:
    assert in_english(numbers.span(seconds), code) == shown


@given(one=st.floats(0, 1e9), other=st.floats(0, 1e9))
def test_a_longer_span_never_looks_shorter(code: str, one: float, other: float) -> None:
    first, second = (
        value(shown, code) * SECONDS[shown.split()[1]]
        for shown in (numbers.span(each) for each in sorted((one, other)))
    )
    assert first <= second


def test_how_long_ago_something_was(code: str) -> None:
    assert numbers.ago(0.2) == {"en": "just now", "pt-BR": "agora mesmo"}[code]
    assert numbers.ago(180) == {"en": "3 min ago", "pt-BR": "há 3 min"}[code]


@pytest.mark.parametrize(
    ("factor", "shown"),
    [(0.5, "0.50×"), (1.04, "1.0×"), (41.2, "41×"), (99.7, "100×"), (123.4, "123×"), (12_345.6, "12,300×")],
)
def test_times_have_two_or_three_digits(code: str, factor: float, shown: str) -> None:
    assert in_english(numbers.times(factor), code) == shown


@given(factor=st.floats(min_value=1e-3, max_value=1e9))
def test_times_claim_no_more_than_three_digits(code: str, factor: float) -> None:
    shown = numbers.times(factor)
    assert re.fullmatch(r"[\d.,]+×", shown)
    assert len(str(int(value(shown, code) * 1000)).rstrip("0")) <= 3
    assert math.isclose(value(shown, code), factor, rel_tol=0.06)


@pytest.mark.parametrize(
    ("number_of_bytes", "shown"),
    [
        (0, "0 B"),
        (712, "712 B"),
        (999, "999 B"),
        (1_000, "1.00 kB"),
        (3_421, "3.42 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (1_048_576, "1.05 MB"),
        (12_345_678_901, "12.3 GB"),
        (10**15, "1,000,000 GB"),
    ],
)
def test_an_amount_of_data_has_its_best_unit(code: str, number_of_bytes: int, shown: str) -> None:
    assert in_english(numbers.size(number_of_bytes), code) == shown


@pytest.mark.parametrize(
    ("timezone", "shown"),
    [
        ("America/Sao_Paulo", "2026-11-24 18:45:08"),
        ("Asia/Kathmandu", "2026-11-25 03:30:08"),
        ("UTC", "2026-11-24 21:45:08"),
        (None, "2026-11-24 21:45:08"),
        ("", "2026-11-24 21:45:08"),
        ("Nowhere/Land", "2026-11-24 21:45:08"),
        ("../etc/passwd", "2026-11-24 21:45:08"),
    ],
)
def test_a_moment_is_told_in_the_time_of_the_browser(timezone: str | None, shown: str) -> None:
    assert numbers.moment(1_795_556_708.9, timezone) == shown
