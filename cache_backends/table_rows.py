"""Rows of an SQL database, whichever it is, to what a lookup needs and to whole entries."""

from __future__ import annotations

import math
from functools import lru_cache
from hashlib import sha256
from types import UnionType
from typing import Any

import orjson

from cache_backends.codec import unseal
from cache_backends.errors import CorruptEntryError
from cache_backends.readable import message_prompt
from cache_backends.storage import Found, StoredEntry

WHOLE_TYPES: tuple[type | UnionType, ...] = (
    int,
    bytes,
    float,
    float | None,
    float | None,
    float,
    int,
    bytes | None,
    bytes,
    int,
    bytes,
    bytes,
    int,
)


@lru_cache(maxsize=1024)
def interned_id(text: str) -> int:
    """The row number of an interned text: 63 bits of its SHA-256, so that reading needs no look-up of it."""
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def are_finite(*times: float | None) -> bool:
    """Whether each is a time or None: no number guards a column against infinity, and what is no number at all."""
    return all(time is None or math.isfinite(time) for time in times)


def found(digest: bytes, row: tuple[Any, ...]) -> Found:
    """What a lookup needs of a row of `READ`. Raises `CorruptEntryError`."""
    value, created_at, expires_at, model_time_s = row
    if not (
        type(value) is bytes
        and type(created_at) is float
        and (expires_at is None or type(expires_at) is float)
        and (model_time_s is None or type(model_time_s) is float)
    ):
        raise CorruptEntryError("a column holds the wrong type")  # nothing guards these columns but their types
    if not math.isfinite(created_at):
        raise CorruptEntryError("the time of storing is not a time")
    try:
        return Found(orjson.loads(unseal(digest.hex(), value)), created_at, expires_at, model_time_s)
    except orjson.JSONDecodeError as error:
        raise CorruptEntryError(f"not JSON: {error}") from error


def stored(row: tuple[Any, ...]) -> StoredEntry:
    """The entry in a row of `WHOLE`. Raises `CorruptEntryError`."""
    if not all(isinstance(value, kind) for value, kind in zip(row, WHOLE_TYPES, strict=True)):
        raise CorruptEntryError("a column holds the wrong type")
    (_, digest, created_at, expires_at, model_time_s, last_used_at, hits,
     model, llm_string, is_message, prompt, value, pinned) = row  # fmt: skip
    if not are_finite(created_at, expires_at, model_time_s, last_used_at):
        raise CorruptEntryError("a time is none")
    try:
        model, llm_string, prompt = None if model is None else model.decode(), llm_string.decode(), prompt.decode()
    except UnicodeDecodeError as error:
        raise CorruptEntryError(f"a column holds text that is not UTF-8: {error}") from error
    return StoredEntry(
        digest=digest,
        payload=unseal(digest.hex(), value),
        created_at=created_at,
        expires_at=expires_at,
        model_time_s=model_time_s,
        model=model,
        raw_prompt=message_prompt(prompt) if is_message else prompt,
        llm_string=llm_string,
        last_used_at=last_used_at,
        hits=hits,
        pinned=bool(pinned),
    )
