"""Entries to the rows that `sql_statements` writes, and rows to what a list shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cache_backends.browse import spaced_words
from cache_backends.codec import seal, text_of
from cache_backends.errors import CorruptEntryError
from cache_backends.readable import (
    SHOWN_ANSWER_LENGTH,
    SHOWN_PROMPT_LENGTH,
    readable_prompt,
    shortened,
    single_message,
)
from cache_backends.records import EntrySummary
from cache_backends.storage import StoredEntry
from cache_backends.table_rows import are_finite, interned_id

Row = tuple[Any, ...]


def entry_columns(entry: StoredEntry, namespace: str) -> Row:
    """An entry as values for `COLUMNS`."""
    message = single_message(entry.raw_prompt)
    prompt = readable_prompt(entry.raw_prompt) if message is None else message
    answer = text_of(entry.payload)
    return (
        interned_id(namespace),
        entry.digest,
        entry.created_at,
        entry.expires_at,
        entry.model_time_s,
        int(entry.pinned),
        entry.last_used_at,
        entry.hits,
        entry.size_bytes,
        _to_bytes(entry.model),
        interned_id(entry.llm_string),
        int(message is not None),
        (entry.raw_prompt if message is None else message).encode(),
        _to_bytes(shortened(prompt, SHOWN_PROMPT_LENGTH)),
        _to_bytes(shortened(answer, SHOWN_ANSWER_LENGTH)),
        searchable(prompt, answer),
        seal(entry.key, entry.payload),
    )


def searchable(*texts: str) -> str:
    """The words of some texts, each after a space: " prefix" is in it where a word begins with that.

    Those that come again stand in it again: to look for them would take a store some 15 µs, this takes one.
    """
    return " " + spaced_words("\n".join(texts))


def summary(row: Sequence[Any], namespace: str) -> EntrySummary:
    """What a list shows of an entry. Raises `CorruptEntryError` where a column holds what it can't."""
    (digest, created_at, expires_at, last_used_at, hits, size_bytes, model, pinned, model_time_s,
     prompt, answer) = row  # fmt: skip
    if not are_finite(created_at, expires_at, last_used_at, model_time_s):
        raise CorruptEntryError("a time is none")
    try:
        return EntrySummary(
            key=digest.hex(),
            namespace=namespace,
            prompt=decoded(prompt),
            answer=decoded(answer),
            model=None if model is None else decoded(model),
            created_at=created_at,
            expires_at=expires_at,
            last_used_at=last_used_at,
            hits=hits,
            size_bytes=size_bytes,
            pinned=bool(pinned),
            model_time_s=model_time_s,
        )
    except AttributeError as error:
        raise CorruptEntryError(f"a column holds the wrong type: {error}") from error


def _to_bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "replace")


def decoded(column: bytes) -> str:
    """The text in a column of bytes."""
    return column.decode("utf-8", "replace")
