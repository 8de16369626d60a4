"""The values of prepared statements: what a server reads of them is what they are, and so is what it answers."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import pymysql
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysql.constants import FIELD_TYPE

from cache_backends.servers.mysql_values import kind_of, parameters, row, size

BINARY, UTF8 = 63, 45
whole = st.integers(-(2**63), 2**63 - 1)
fraction = st.floats(allow_nan=False)
text = st.text(st.characters(codec="utf-8"), max_size=300)
values = st.lists(st.none() | whole | fraction | text | st.binary(max_size=300), min_size=1, max_size=20)


class Column:
    """What a server says of a column."""

    name = "a"

    def __init__(self, type_code: int, charsetnr: int = BINARY, flags: int = 0) -> None:
        self.type_code = type_code
        self.charsetnr = charsetnr
        self.flags = flags


def column_of(value: object) -> Any:
    """The column in which a value may stand."""
    match value:
        case int():
            return Column(FIELD_TYPE.LONGLONG)
        case float():
            return Column(FIELD_TYPE.DOUBLE)
        case str():
            return Column(FIELD_TYPE.VAR_STRING, UTF8)
        case _:
            return Column(FIELD_TYPE.BLOB)


@given(values)
def test_a_row_has_the_values_that_were_sent(sent: list[Any]) -> None:
    packed, apart = parameters(sent, 1_000)
    assert not apart
    nulls, types = (len(sent) + 7) // 8, 2 * len(sent)
    bitmap = int.from_bytes(packed[:nulls], "little") << 2  # the first two bits of a row's are not used
    answer = b"\0" + bitmap.to_bytes((len(sent) + 9) // 8, "little") + packed[nulls + 1 + types :]
    assert row(answer, [kind_of(column_of(value)) for value in sent]) == tuple(sent)


@given(st.lists(st.binary(max_size=30) | text.map(lambda said: said[:30]), min_size=1, max_size=9), st.integers(0, 30))
def test_what_is_too_long_goes_apart_under_its_place(sent: list[Any], longest: int) -> None:
    _, apart = parameters(sent, longest)
    contents = [value if isinstance(value, bytes) else value.encode() for value in sent]
    assert apart == {place: content for place, content in enumerate(contents) if len(content) > longest}


@pytest.mark.parametrize("length", [0, 250, 251, 2**16 - 1, 2**16, 2**24 - 1, 2**24])
def test_a_length_is_read_as_it_was_written(length: int) -> None:
    content = b"x" * length
    assert row(b"\0\0" + size(length) + content, [kind_of(column_of(content))]) == (content,)


def test_a_value_of_another_type_is_no_value() -> None:
    with pytest.raises(TypeError, match="list is not among the types"):
        parameters([["a"]], 10)


def test_a_number_too_large_for_a_column_is_no_value() -> None:
    with pytest.raises(struct.error):
        parameters([2**63], 10)


def test_a_sum_is_a_decimal_number() -> None:
    column: Any = Column(FIELD_TYPE.NEWDECIMAL)
    assert row(b"\0\0\x0412.5", [kind_of(column)]) == (Decimal("12.5"),)


def test_a_column_that_no_cache_has_is_refused() -> None:
    column: Any = Column(FIELD_TYPE.GEOMETRY)
    with pytest.raises(pymysql.NotSupportedError, match="not expected"):
        kind_of(column)
