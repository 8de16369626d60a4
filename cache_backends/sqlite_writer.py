"""Writing one entry, with the texts that it refers to by number."""

from __future__ import annotations

import apsw

from cache_backends.sqlite_file import Connection, SQLiteFile
from cache_backends.sqlite_rows import KNOW_LLM_STRING, KNOW_NAMESPACE, WRITE, NewEntry
from cache_backends.sqlite_schema import in_transaction

MOST_KNOWN = 1_000
"""Texts a connection remembers to be in the file; programs have few, and some have one for each request."""


def write(file: SQLiteFile, entry: NewEntry) -> None:
    """Write an entry, and return when it is in the file. Raises `CacheError`."""
    connection = file.begin_writing()
    try:
        if entry.namespace in connection.known and entry.llm_string in connection.known:
            connection.writer.execute(WRITE, entry.row)  # one statement is a transaction by itself
        else:
            _write_with_texts(connection, entry)
    except apsw.Error as error:
        raise file.failure(error, connection) from error
    finally:
        file.end_writing(connection)


def _write_with_texts(connection: Connection, entry: NewEntry) -> None:
    with in_transaction(connection):
        connection.execute(KNOW_NAMESPACE, entry.namespace)
        connection.execute(KNOW_LLM_STRING, entry.llm_string)
        connection.writer.execute(WRITE, entry.row)
    if len(connection.known) >= MOST_KNOWN:
        connection.known.clear()
    connection.known |= {entry.namespace, entry.llm_string}
