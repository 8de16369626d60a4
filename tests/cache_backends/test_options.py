"""Options: what is allowed is understood, what is not is refused with a sentence that says what to do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_backends import CacheConfigError, parse_ttl
from cache_backends.options import parse_bool, parse_limit, parse_namespace
from tests.cache_backends.generations import any_text


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        (None, None),
        (90, 90),
        (0.5, 0.5),
        ("90", 90),
        ("0.5", 0.5),
        ("45s", 45),
        ("10m", 600),
        ("1h", 3600),
        ("1.5 h", 5400),
        (" 7D ", 604800),
        (timedelta(minutes=2), 120),
        (timedelta(milliseconds=1), 0.001),
    ],
)
def test_a_time_to_live_is_seconds_text_or_a_timedelta(ttl: Any, seconds: float | None) -> None:
    assert parse_ttl(ttl) == seconds


@pytest.mark.parametrize(
    "ttl",
    [
        *[0, -1, "0", "-5", "", "h", "1w", "1h30m", "one hour", "1e9", "inf", "nan", float("nan"), float("inf"), True],
        *[timedelta(0), timedelta(seconds=-1), [1], b"h", object(), 10**400, "9" * 400],
    ],
    ids=lambda ttl: repr(ttl)[:30],
)
def test_any_other_time_to_live_is_refused_with_a_sentence(ttl: Any) -> None:
    with pytest.raises(CacheConfigError, match=r"is not a time to live\. Use seconds above 0, or text such as '45s'"):
        parse_ttl(ttl)


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_any_number_of_seconds_is_a_time_to_live(seconds: float) -> None:
    assert parse_ttl(seconds) == seconds


@given(any_text)
def test_any_text_is_a_time_to_live_or_refused(text: str) -> None:
    try:
        seconds = parse_ttl(text)
    except CacheConfigError:
        return
    assert seconds is not None
    assert seconds > 0


@pytest.mark.parametrize(("given_limit", "limit"), [(None, None), (1, 1), ("10", 10), (" 10 ", 10), (10**9, 10**9)])
def test_a_limit_is_a_whole_number(given_limit: Any, limit: int | None) -> None:
    assert parse_limit("max_entries", given_limit) == limit


@pytest.mark.parametrize("limit", [0, -1, "0", "-1", "", "many", "1.5", 1.5, True, [], "1e3"])
def test_any_other_limit_is_refused_with_a_sentence(limit: Any) -> None:
    with pytest.raises(CacheConfigError, match=r"is not a limit\. Use a whole number of 1 or more"):
        parse_limit("max_entries", limit)


@pytest.mark.parametrize("namespace", ["a", "x" * 200, "ü", "\0", "a/b", "🪐"])
def test_a_namespace_is_any_text_up_to_200_characters(namespace: str) -> None:
    assert parse_namespace(namespace) == namespace


@pytest.mark.parametrize("namespace", ["", "x" * 201, None, 5, b"a"], ids=lambda namespace: repr(namespace)[:20])
def test_any_other_namespace_is_refused_with_a_sentence(namespace: Any) -> None:
    with pytest.raises(CacheConfigError, match=r"is not usable\. Use 1 to 200 characters"):
        parse_namespace(namespace)


def test_a_namespace_that_cannot_be_stored_is_refused_with_a_sentence() -> None:
    with pytest.raises(CacheConfigError, match="has characters that can't be stored"):
        parse_namespace("a\ud800")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(True, True), ("true", True), ("1", True), ("YES", True), (" on ", True), (1, True)],
        *[(False, False), ("0", False), ("no", False), ("False", False), ("off", False), (0, False)],
    ],
)
def test_a_switch_is_a_bool_or_its_text(text: Any, value: bool) -> None:
    assert parse_bool("strict", text) is value


@pytest.mark.parametrize("text", ["", "maybe", "2", None])
def test_any_other_switch_is_refused_with_its_name(text: Any) -> None:
    with pytest.raises(CacheConfigError, match=r"strict=.* is not a switch\. Use true or false"):
        parse_bool("strict", text)


@pytest.mark.parametrize(
    "limit", ["9" * 5_000, "1" + "0" * 400, 10**400, 10**5_000], ids=["text", "float", "int", "unsayable"]
)
def test_a_limit_that_no_store_could_reach_is_refused(limit: Any) -> None:
    with pytest.raises(CacheConfigError, match="is not a limit"):
        parse_limit("max_entries", limit)
