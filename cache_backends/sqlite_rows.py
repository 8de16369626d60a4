"""The tables of `SQLiteCache`: schema, statements, and rows to entries."""

from __future__ import annotations

from hashlib import sha256
from types import UnionType
from typing import Any

import orjson

from cache_backends.base import StoredEntry
from cache_backends.codec import unseal
from cache_backends.errors import CorruptEntryError
from cache_backends.readable import message_prompt
from cache_backends.sqlite_file import Schema

SCHEMA = Schema(
    content="SQLite cache",
    application_id=0x4C4C4D43,  # "LLMC"
    version=1,
    statements=(
        "create table namespaces (id integer primary key, name text not null)",
        "create table llm_strings (id integer primary key, text text not null)",
        # prompt_is_message: the prompt is LangChain's JSON of one human message, of which only the text is kept
        """
        create table entries (
            id integer primary key,
            namespace integer not null,
            key blob not null,
            created_at real not null,
            expires_at real,
            model_time_s real,
            last_used_at real not null,
            hits integer not null default 0,
            model text,
            llm_string integer not null,
            prompt_is_message integer not null,
            prompt text not null,
            value blob not null,
            unique (namespace, key)
        )
        """,
        "create table damaged (id integer primary key, namespace integer, key blob, found_at real, value blob)",
    ),
)
READ = "select value, created_at, expires_at, model_time_s from entries where namespace = ? and key = ?"
WRITE = """
insert into entries (namespace, key, created_at, expires_at, model_time_s, last_used_at, hits, model, llm_string,
                     prompt_is_message, prompt, value)
values (?1, ?2, ?3, ?4, ?5, ?3, 0, ?6, ?7, ?8, ?9, ?10)
on conflict (namespace, key) do update set
    created_at = ?3, expires_at = ?4, model_time_s = ?5, last_used_at = ?3, hits = 0, model = ?6, llm_string = ?7,
    prompt_is_message = ?8, prompt = ?9, value = ?10
"""
WHOLE = """
select entries.id, key, created_at, expires_at, model_time_s, last_used_at, hits, cast(model as blob),
       cast(llm_strings.text as blob), prompt_is_message, cast(prompt as blob), value
from entries join llm_strings on llm_strings.id = entries.llm_string
"""
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
)


def interned_id(text: str) -> int:
    """The row number of an interned text: 63 bits of its SHA-256, so that reading needs no look-up of it."""
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def parsed(key: str, value: bytes) -> object:
    """The generations in a row's value, as parsed JSON. Raises `CorruptEntryError`."""
    try:
        return orjson.loads(unseal(key, value))
    except orjson.JSONDecodeError as error:
        raise CorruptEntryError(f"not JSON: {error}") from error


def stored(row: tuple[Any, ...]) -> tuple[StoredEntry, float, int]:
    """The entry in a row of `WHOLE`, when it was last used (Unix time), and its hits. Raises `CorruptEntryError`."""
    if not all(isinstance(value, kind) for value, kind in zip(row, WHOLE_TYPES, strict=True)):
        raise CorruptEntryError("a column holds the wrong type")
    _, key, created_at, expires_at, model_time_s, last_used_at, hits, model, llm_string, is_message, prompt, value = row
    try:
        model, llm_string, prompt = model and model.decode(), llm_string.decode(), prompt.decode()
    except UnicodeDecodeError as error:
        raise CorruptEntryError(f"a column holds text that is not UTF-8: {error}") from error
    entry = StoredEntry(
        key=key.hex(),
        payload=bytes(unseal(key.hex(), value)),
        created_at=created_at,
        expires_at=expires_at,
        model_time_s=model_time_s,
        model=model,
        raw_prompt=message_prompt(prompt) if is_message else prompt,
        llm_string=llm_string,
    )
    return entry, last_used_at, hits
