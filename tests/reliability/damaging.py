"""Ways to damage bytes, and the places in a store where an entry's bytes lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

WIDTHS = (2, 16, 64)
"""Widths of the ranges that are overwritten, removed or doubled, in bytes."""


def damages(whole: bytes) -> Iterator[bytes]:
    """Every byte flipped, every range of some widths overwritten, removed, doubled or reversed, and cuts anywhere."""
    for place in range(len(whole)):
        for flip in (0x01, 0x80):
            yield whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]
    for width in WIDTHS:
        for start in range(0, len(whole), width):
            before, inside, after = whole[:start], whole[start : start + width], whole[start + width :]
            yield from (before + byte * len(inside) + after for byte in (b"\0", b"\xff", b"9"))
            yield from (before + after, before + inside * 2 + after, before + inside[::-1] + after)
    for length in range(0, len(whole), 5):
        yield from (whole[:length], whole[length:] if length else b"")
    yield from (whole + b"\0", whole + b"\n", whole * 2)


@dataclass(frozen=True, slots=True)
class Cell:
    """A column of a table that has one row."""

    table: str
    column: str
    value: Any

    @property
    def content(self) -> bytes:
        """Its value as bytes."""
        return self.value.encode() if isinstance(self.value, str) else bytes(self.value)


class OneRowEach:
    """An SQLite file whose tables hold one row at most, edited by another connection, whatever the schema is."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path))
        self._connection.execute("pragma synchronous = off")
        tables = self._connection.execute(
            "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'"
        )
        self._rows = {name: list(self._connection.execute(f'select * from "{name}"')) for (name,) in list(tables)}
        assert all(len(rows) <= 1 for rows in self._rows.values())

    def cells(self) -> list[Cell]:
        """Every text and blob that is stored, the longest first."""
        found = [
            Cell(table, column, value)
            for table, rows in self._rows.items()
            for row in rows
            for column, value in zip(self._columns(table), row, strict=True)
            if isinstance(value, str | bytes)
        ]
        return sorted(found, key=lambda cell: -len(cell.content))

    def set(self, cell: Cell, content: bytes) -> None:
        """Change one value; a text stays a text."""
        value = "cast(? as text)" if isinstance(cell.value, str) else "?"
        self._connection.execute(f'update "{cell.table}" set "{cell.column}" = {value}', (content,))

    def restore(self) -> None:
        """Put all rows back as they were."""
        with self._connection:
            for table, rows in self._rows.items():
                self._connection.execute(f'delete from "{table}"')
                for row in rows:
                    marks = ", ".join("?" * len(row))
                    self._connection.execute(f'insert into "{table}" values ({marks})', row)

    def close(self) -> None:
        """Close the other connection."""
        self._connection.close()

    def _columns(self, table: str) -> list[str]:
        return [row[1] for row in self._connection.execute(f'pragma table_info("{table}")')]
