"""`Prepared`: the statements that the server keeps ready for one connection, and their values apart from them.

The driver knows none. It writes values into the text of each statement, which the server has to read anew: a sixth of
the time that a lookup takes. See "Prepared Statements" in the description of MySQL's protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pymysql  # type: ignore[import-untyped]
from pymysql.constants import COMMAND, ER  # type: ignore[import-untyped]
from pymysql.protocol import FieldDescriptorPacket, MysqlPacket, OKPacketWrapper  # type: ignore[import-untyped]

from cache_backends.servers.mysql_driver import Connection
from cache_backends.servers.mysql_values import Kind, kind_of, parameters, row

Result = TypeVar("Result")

MOST_KEPT = 30
"""Statements kept ready for a connection. A cache has half as many, and one for each kind of search besides; a server
has 16,382 for all."""
PART_BYTES = 1 << 20
"""How much of a long value is sent at a time."""
_LOST = (ER.UNKNOWN_STMT_HANDLER, 1615)
"""The server has dropped the statement, a proxy has another server, or tables change all the time: prepare again."""
_ONCE = struct.pack("<BI", 0, 1)
"""No cursor on the server, and one execution."""
_COMMAND_BYTES = 10
"""The command itself, the statement's number, and `_ONCE`."""
_OK = 0
_LONG = 251
"""A number from here on takes more than its first byte."""
_END = 0xFE


class TooLongError(Exception):
    """A statement with its values is longer than the server accepts; how long it, or its longest value, is."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"{size_bytes:,} bytes")


class Prepared:
    """Statements with `%s` in place of values, each prepared when it is first executed. Raises the driver's errors."""

    def __init__(self, connection: Connection, most_bytes: int) -> None:
        """`most_bytes` is what the server accepts in one packet, and as one value."""
        self._connection = connection
        self._most_bytes = most_bytes
        self._longest = most_bytes // 8
        """Of values that are sent with the command. A row has three that may be longer."""
        self._numbers: dict[str, bytes] = {}
        self._kinds: dict[bytes, Kind] = {}

    def select(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The rows that a statement gives. Raises `TooLongError` too."""
        return self._execute(statement, values, self._rows)

    def change(self, statement: str, values: Sequence[Any]) -> int:
        """How many rows a statement changed. Raises `TooLongError` too."""
        return self._execute(statement, values, self._changed)

    def _execute(self, statement: str, values: Sequence[Any], answer: Callable[[], Result]) -> Result:
        sent, apart = parameters(values, self._longest)
        length = max(_COMMAND_BYTES + len(sent) + 1, *map(len, apart.values()), 0)
        if length > self._most_bytes:
            raise TooLongError(length)
        try:
            return self._try(statement, sent, apart, answer)
        except pymysql.Error as error:
            if not error.args or error.args[0] not in _LOST:
                raise
            self._numbers.pop(statement, None)
        return self._try(statement, sent, apart, answer)

    def _try(self, statement: str, sent: bytes, apart: dict[int, bytes], answer: Callable[[], Result]) -> Result:
        connection = self._connection
        number = self._numbers.get(statement) or self._prepare(statement)
        for place, value in apart.items():
            self._send_apart(number + place.to_bytes(2, "little"), value)
        connection._execute_command(COMMAND.COM_STMT_EXECUTE, number + _ONCE + sent)
        return answer()

    def _prepare(self, statement: str) -> bytes:
        if len(self._numbers) >= MOST_KEPT:
            oldest = next(iter(self._numbers))
            self._connection._execute_command(COMMAND.COM_STMT_CLOSE, self._numbers.pop(oldest))
        connection = self._connection
        connection._execute_command(COMMAND.COM_STMT_PREPARE, statement.replace("%s", "?"))
        answer = connection.packet()
        for described in struct.unpack_from("<HH", answer, 5):
            for _ in range(described and described + 1):  # they are described with each answer again
                connection.packet()
        number = self._numbers[statement] = answer[1:5]
        return number

    def _send_apart(self, place: bytes, value: bytes) -> None:
        """The server answers nothing to that, but to the command that follows."""
        part = min(PART_BYTES, self._most_bytes // 2)
        for start in range(0, len(value), part):
            self._connection._execute_command(COMMAND.COM_STMT_SEND_LONG_DATA, place + value[start : start + part])

    def _changed(self) -> int:
        packet = self._connection.packet()
        if packet[0] == _OK and packet[1] < _LONG:
            return packet[1]  # what the driver's own objects give, too
        changed: int = OKPacketWrapper(MysqlPacket(packet, self._connection.encoding)).affected_rows
        return changed

    def _rows(self) -> list[tuple[Any, ...]]:
        packet = self._connection.packet
        kinds = [self._kind(packet()) for _ in range(packet()[0])]
        packet()
        rows = []
        while (given := packet())[0] != _END:
            rows.append(row(given, kinds))
        return rows

    def _kind(self, described: bytes) -> Kind:
        kind = self._kinds.get(described)
        if kind is None:
            kind = self._kinds[described] = kind_of(FieldDescriptorPacket(described, self._connection.encoding))
        return kind
