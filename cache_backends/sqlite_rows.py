"""The tables of `SQLiteCache`: schema, statements, and rows to entries."""

from __future__ import annotations

import math
from functools import lru_cache
from hashlib import sha256
from types import UnionType
from typing import Any

import orjson

from cache_backends.codec import seal, unseal
from cache_backends.errors import CorruptEntryError
from cache_backends.readable import message_prompt, single_message
from cache_backends.sqlite_file import Schema
from cache_backends.storage import Found, StoredEntry

PAGE_BYTES = 16_384
"""Entries of 2 kB leave half of each page empty at SQLite's own 4 kB, and a seventh at this size."""

SCHEMA = Schema(
    content="SQLite cache",
    application_id=0x4C4C4D43,  # "LLMC"
    version=2,
    page_bytes=PAGE_BYTES,
    statements=(
        "create table namespaces (id integer primary key, name text not null)",
        "create table llm_strings (id integer primary key, text text not null)",
        # prompt_is_message: the prompt is LangChain's JSON of one human message, of which only the text is kept
        # size_bytes: of prompt, parameters and answer; null in rows that the first version wrote
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
            pinned integer not null default 0,
            size_bytes integer,
            prompt text not null,
            value blob not null,
            unique (namespace, key)
        )
        """,
        "create table damaged (id integer primary key, namespace integer, key blob, found_at real, value blob)",
    ),
    migrations={
        1: (
            "alter table entries add column pinned integer not null default 0",
            "alter table entries add column size_bytes integer",
        )
    },
)
_SIZE = "coalesce(size_bytes, length(value) + length(cast(prompt as blob)))"
INDEX_BY_USE = f"create index if not exists entries_by_use on entries (last_used_at, {_SIZE})"
"""Made where there are limits: it costs each store a little, and finds what to evict without reading all values."""
MEASURE = f"select count(*), total({_SIZE}) from entries"  # noqa: S608  # put together from constants
LEAST_RECENTLY_USED = (
    f"select id, last_used_at, {_SIZE} from entries where not pinned order by last_used_at, id limit ?"  # noqa: S608
)
EVICT = "delete from entries where id = ? and last_used_at = ? and not pinned"
DROP_EXPIRED = "delete from entries where id = ? and expires_at <= ? and not pinned"

READ = """
select value, created_at, iif(pinned, null, expires_at), model_time_s from entries where namespace = ? and key = ?
"""
KNOW_NAMESPACE = "insert or ignore into namespaces values (?, ?)"
KNOW_LLM_STRING = "insert or ignore into llm_strings values (?, ?)"
WRITE = """
insert into entries (namespace, key, created_at, expires_at, model_time_s, last_used_at, hits, model, llm_string,
                     prompt_is_message, prompt, value, pinned, size_bytes)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
on conflict (namespace, key) do update set
    created_at = ?3, expires_at = ?4, model_time_s = ?5, last_used_at = ?6, hits = ?7, model = ?8, llm_string = ?9,
    prompt_is_message = ?10, prompt = ?11, value = ?12, pinned = ?13, size_bytes = ?14
"""
WHOLE = """
select entries.id, key, created_at, expires_at, model_time_s, last_used_at, hits, cast(model as blob),
       cast(llm_strings.text as blob), prompt_is_message, cast(prompt as blob), value, pinned
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
    int,
)


@lru_cache(maxsize=1024)
def interned_id(text: str) -> int:
    """The row number of an interned text: 63 bits of its SHA-256, so that reading needs no look-up of it."""
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


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


def bindings(entry: StoredEntry, namespace_id: int, llm_string_id: int) -> tuple[Any, ...]:
    """An entry as `WRITE` takes it."""
    text = single_message(entry.raw_prompt)
    return (
        namespace_id,
        entry.digest,
        entry.created_at,
        entry.expires_at,
        entry.model_time_s,
        entry.last_used_at,
        entry.hits,
        entry.model,
        llm_string_id,
        text is not None,
        entry.raw_prompt if text is None else text,
        seal(entry.key, entry.payload),
        entry.pinned,
        entry.size_bytes,
    )


def stored(row: tuple[Any, ...]) -> StoredEntry:
    """The entry in a row of `WHOLE`. Raises `CorruptEntryError`."""
    if not all(isinstance(value, kind) for value, kind in zip(row, WHOLE_TYPES, strict=True)):
        raise CorruptEntryError("a column holds the wrong type")
    (_, digest, created_at, expires_at, model_time_s, last_used_at, hits,
     model, llm_string, is_message, prompt, value, pinned) = row  # fmt: skip
    try:
        model, llm_string, prompt = model and model.decode(), llm_string.decode(), prompt.decode()
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
