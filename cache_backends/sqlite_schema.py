"""What a SQLite file holds: how a file of ours is known, made, brought to a newer format, and found damaged."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from cache_backends.errors import CacheConfigError


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file holds, and how it is known again."""

    content: str
    """What a person calls it: "cache", "history"."""
    application_id: int
    """Marks a file as ours, see https://sqlite.org/fileformat.html#application_id."""
    version: int
    statements: tuple[str, ...]
    probes: tuple[str, ...] = ()
    """Queries that name every table and column in use: a file of ours that can't answer them is damaged."""
    connection: tuple[str, ...] = ()
    """What each connection makes for itself, in its own temporary database."""
    migrations: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """By version: what makes a file of it one of the next version, all in one transaction."""


@contextmanager
def in_transaction(connection: apsw.Connection) -> Iterator[None]:
    """One write transaction: all of the block, or nothing of it."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with contextlib.suppress(apsw.Error):
            connection.execute("rollback")
        raise


def probe(connection: apsw.Connection, path: Path, schema: Schema) -> None:
    """Find the damage in a file of ours that SQLite takes for something else. Raises `apsw.CorruptError`."""
    if connection.readonly("main") and os.access(path, os.W_OK):
        raise apsw.CorruptError("its header says that it can't be written")
    for probe in schema.probes:
        try:
            connection.execute(probe).fetchall()
        except apsw.SQLError as error:
            raise apsw.CorruptError(str(error)) from error


def is_made(connection: apsw.Connection, path: Path, schema: Schema) -> bool:
    """Whether the file holds this schema; False where it is empty. Refuses what is not ours to write to."""
    connection.execute("begin")  # one view of all three: another process may be making the tables just now
    application_id, version = connection.pragma("application_id"), connection.pragma("user_version")
    try:
        is_empty = not connection.execute("select count(*) from sqlite_schema").get
    except apsw.SQLError as error:
        if application_id == schema.application_id:
            raise apsw.CorruptError(str(error)) from error
        raise
    connection.execute("commit")
    if (application_id, version) == (schema.application_id, schema.version):
        return True
    if application_id == schema.application_id:
        if version in schema.migrations:
            return False
        raise CacheConfigError(
            f"{path} was made by a newer version (format {version}; this one knows up to "
            f"{schema.version}). Update the program, or name another file."
        )
    if not is_empty:
        raise CacheConfigError(f"{path} is the SQLite database of another program. Name another file.")
    return False


def make(connection: apsw.Connection, schema: Schema) -> None:
    """Make the tables, or those of an older format new, in one transaction."""
    connection.pragma("journal_mode", "wal")
    with in_transaction(connection):
        version = connection.pragma("user_version")
        statements = schema.statements
        if connection.pragma("application_id") == schema.application_id:
            olds = range(version, schema.version)
            statements = tuple(statement for old in olds for statement in schema.migrations[old])
        for statement in statements:
            connection.execute(statement)
        connection.pragma("user_version", schema.version)
        connection.pragma("application_id", schema.application_id)
