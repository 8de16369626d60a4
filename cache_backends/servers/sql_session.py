"""`Session`: what a connection to a database must be able to do, whichever database it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from cache_backends.errors import CacheUnavailableError

Rows = list[tuple[Any, ...]]
Values = Sequence[Any]

GRACE_S = 2
"""The server gives a statement up so much later than whoever waits for it."""


class MissingTableError(CacheUnavailableError):
    """A table is not there, or not any more."""


class Session(Protocol):
    """One connection. Each statement is a transaction of its own, but for those of `change_many`."""

    def select(self, statement: str, values: Values = ()) -> Rows:
        """The rows that a statement gives. Raises `CacheError`."""

    def change(self, statement: str, values: Values = ()) -> int:
        """How many rows a statement found to change. Raises `CacheError`."""

    def change_many(self, statement: str, rows: Sequence[Values]) -> int:
        """How many rows a statement changed in all, once for each of `rows`, all or none. Raises `CacheError`."""

    def make_tables(self, statements: Sequence[str]) -> None:
        """Run statements that make tables, whoever else does the same now. Raises `CacheError`."""

    def close(self) -> None:
        """Give the connection back to the server."""
