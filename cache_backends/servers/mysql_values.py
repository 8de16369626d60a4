"""Values in the form in which prepared statements take and give them; see "Binary Protocol" in MySQL's manual."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pymysql  # type: ignore[import-untyped]
from pymysql.constants import FIELD_TYPE, FLAG  # type: ignore[import-untyped]
from pymysql.protocol import FieldDescriptorPacket  # type: ignore[import-untyped]

Kind = struct.Struct | Callable[[bytes], Any]
"""How a column is read: a number of fixed size by its format, all else from the bytes after its length."""

BYTES, TEXT, WHOLE, FRACTION, NOTHING = (
    struct.pack("<BB", kind, 0)
    for kind in (FIELD_TYPE.BLOB, FIELD_TYPE.VAR_STRING, FIELD_TYPE.LONGLONG, FIELD_TYPE.DOUBLE, FIELD_TYPE.NULL)
)
_pack_whole, _pack_fraction = struct.Struct("<q").pack, struct.Struct("<d").pack
_SIGNED = {FIELD_TYPE.TINY: "<b", FIELD_TYPE.SHORT: "<h", FIELD_TYPE.LONG: "<i", FIELD_TYPE.LONGLONG: "<q"}
_FLOATING = {FIELD_TYPE.FLOAT: "<f", FIELD_TYPE.DOUBLE: "<d"}
_SIZED = (
    *(FIELD_TYPE.TINY_BLOB, FIELD_TYPE.BLOB, FIELD_TYPE.MEDIUM_BLOB, FIELD_TYPE.LONG_BLOB),
    *(FIELD_TYPE.STRING, FIELD_TYPE.VAR_STRING, FIELD_TYPE.VARCHAR, FIELD_TYPE.NULL),
)
_BINARY = 63
"""The number of the character set of what is no text."""


def parameters(values: Sequence[Any], longest: int) -> tuple[bytes, dict[int, bytes]]:
    """Values as the command takes them, and by their places those longer than `longest`, to be sent before it.

    Raises `TypeError`.
    """
    nulls = 0
    types, packed, apart = [], [], {}
    for place, value in enumerate(values):
        kind = type(value)
        if kind is float:
            types.append(FRACTION)
            packed.append(_pack_fraction(value))
        elif kind is int:
            types.append(WHOLE)
            packed.append(_pack_whole(value))
        elif value is None:
            types.append(NOTHING)
            nulls |= 1 << place
        elif kind is bytes or kind is str:
            types.append(BYTES if kind is bytes else TEXT)
            content = value if kind is bytes else value.encode()
            if len(content) > longest:
                apart[place] = content
            else:
                packed += (size(len(content)), content)
        else:
            raise TypeError(f"{kind.__name__} is not among the types of the columns")
    bitmap = nulls.to_bytes((len(types) + 7) // 8, "little")
    return b"".join((bitmap, b"\1", *types, *packed)), apart


def size(length: int) -> bytes:
    """A length as it stands before what it is of."""
    if length < 251:
        return length.to_bytes(1, "little")
    if length < 1 << 16:
        return b"\xfc" + length.to_bytes(2, "little")
    if length < 1 << 24:
        return b"\xfd" + length.to_bytes(3, "little")
    return b"\xfe" + length.to_bytes(8, "little")


def kind_of(column: FieldDescriptorPacket) -> Kind:
    """How a column is read that is described so. Raises the driver's error for what no column of a cache is."""
    code: int = column.type_code
    if code in _SIGNED:
        layout = _SIGNED[code]
        return struct.Struct(layout.upper() if column.flags & FLAG.UNSIGNED else layout)
    if code in _FLOATING:
        return struct.Struct(_FLOATING[code])
    if code == FIELD_TYPE.NEWDECIMAL:
        return lambda content: Decimal(content.decode())
    if code in _SIZED:
        return bytes if column.charsetnr == _BINARY else bytes.decode
    raise pymysql.NotSupportedError(0, f"column {column.name!r} has a type that is not expected here: {code}")


def row(packet: bytes, kinds: Sequence[Kind]) -> tuple[Any, ...]:
    """The values of one row, by the kinds of its columns."""
    place = 1 + (len(kinds) + 9) // 8
    nulls = int.from_bytes(packet[1:place], "little") >> 2
    values: list[Any] = []
    for kind in kinds:
        if nulls & 1:
            values.append(None)
        elif isinstance(kind, struct.Struct):
            values.append(kind.unpack_from(packet, place)[0])
            place += kind.size
        else:
            length = packet[place]
            place += 1
            if length > 250:
                width = (2, 3, 8)[length - 252]
                length = int.from_bytes(packet[place : place + width], "little")
                place += width
            values.append(kind(packet[place : place + length]))
            place += length
        nulls >>= 1
    return tuple(values)
