"""The tables of `SQLiteCache`: schema and statements, and entries to rows."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from cache_backends.codec import seal
from cache_backends.readable import single_message
from cache_backends.sqlite_schema import Schema
from cache_backends.storage import StoredEntry
from cache_backends.table_rows import interned_id

_ENTRIES = """
create table entries (
    id integer primary key,
    namespace integer not null,
    key blob not null,
    created_at real not null,
    expires_at real,
    model_time_s real,
    pinned integer not null default 0,
    value blob not null,
    unique (namespace, key)
)
"""
"""What a hit reads. Two entries of usual size share a page of 4 kB, which with their prompts they would not."""

_DETAILS = """
create table details (
    id integer primary key,
    last_used_at real not null,
    hits integer not null default 0,
    size_bytes integer not null,
    model text,
    llm_string integer not null,
    prompt_is_message integer not null,
    prompt text not null
)
"""
"""The rest of each entry, in narrow rows: for people, and for who was used least recently.

`prompt_is_message`: the prompt is LangChain's JSON of one human message, of which only the text is kept.
"""

_REMOVE_DETAILS = """
create trigger remove_details after delete on entries begin delete from details where id = old.id; end
"""

INDEX_BY_USE = "create index if not exists details_by_use on details (last_used_at, size_bytes)"
"""Made where there are limits: it costs each store a little."""
MEASURE = "select count(*), total(size_bytes) from details"
NEWEST_USE = "select max(last_used_at) from details"
LEAST_RECENTLY_USED = """
select details.id, last_used_at, size_bytes from details join entries using (id) where not pinned
order by last_used_at, details.id limit ?
"""
EVICT = """
delete from entries
where id = ? and not pinned and exists (select 1 from details where details.id = entries.id and last_used_at = ?)
"""
DROP_EXPIRED = "delete from entries where id = ? and namespace = ? and expires_at <= ? and not pinned"
NOTE_USES = """
update details set hits = hits + ?, last_used_at = max(last_used_at, ?)
where id = (select id from entries where namespace = ? and key = ?)
"""

MOVE_ENTRY = """
update entries set id = max(?, (select max(id) + 1 from entries)), expires_at = ?, pinned = ? where id = ?
"""
MOVE_DETAILS = "update details set id = (select max(id) from entries) where id = ?"
LIFETIME = "select id, expires_at, pinned from entries where namespace = ? and key = ?"

READ = """
select value, created_at, iif(pinned, null, expires_at), model_time_s from entries where namespace = ? and key = ?
"""
KNOW_NAMESPACE = "insert or ignore into namespaces values (?, ?)"
KNOW_LLM_STRING = "insert or ignore into llm_strings values (?, ?)"
WRITING = (
    """
    create temp view new_entries as
    select id, namespace, key, created_at, expires_at, model_time_s, pinned, value,
           last_used_at, hits, size_bytes, model, llm_string, prompt_is_message, prompt
    from entries join details using (id)
    """,
    """
    create temp trigger store instead of insert on new_entries begin
        delete from entries where namespace = new.namespace and key = new.key;
        insert into entries (id, namespace, key, created_at, expires_at, model_time_s, pinned, value)
        values (
            max(new.id, coalesce((select max(id) + 1 from entries), 0)),
            new.namespace, new.key, new.created_at, new.expires_at, new.model_time_s, new.pinned, new.value
        );
        insert into details (
            id, last_used_at, hits, size_bytes, model, llm_string, prompt_is_message, prompt
        ) values (
            last_insert_rowid(), new.last_used_at, new.hits, new.size_bytes,
            new.model, new.llm_string, new.prompt_is_message, new.prompt
        );
    end
    """,
)
"""Made by each connection for itself: with them a store is one statement, and so a transaction without saying so.

Beginning, writing both tables and committing are four calls, each of which lets another thread have Python's lock.
"""
WRITE = "insert into new_entries values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def _no_text(column: str) -> str:
    """A column that holds no text unless it is damaged: what is not UTF-8 would stop the whole query."""
    return f"iif(typeof({column}) = 'text', 'damaged', {column})"


_WHOLE = f"""
entries.id, {_no_text("key")}, {_no_text("created_at")}, {_no_text("expires_at")}, {_no_text("model_time_s")},
       {_no_text("last_used_at")}, {_no_text("hits")}, cast(model as blob), cast(llm_strings.text as blob),
       {_no_text("prompt_is_message")}, cast(prompt as blob), {_no_text("value")}, {_no_text("pinned")}
from entries join details using (id) join llm_strings on llm_strings.id = details.llm_string
"""
WHOLE = f"select {_WHOLE}"
STATS = """
select count(*), total(size_bytes), total(typeof(expires_at) = 'real' and expires_at <= ? and not pinned),
       min(iif(typeof(created_at) = 'real', created_at, null)), max(iif(typeof(created_at) = 'real', created_at, null))
from entries left join details using (id) where namespace = ?
"""
WHOLE_OF_ALL = f"select {_no_text('entries.namespace')}, {_WHOLE}"
"""The same, with whose it is before it."""
SCHEMA = Schema(
    content="SQLite cache",
    application_id=0x4C4C4D43,  # "LLMC"
    version=2,
    statements=(
        "create table namespaces (id integer primary key, name text not null)",
        "create table llm_strings (id integer primary key, text text not null)",
        _ENTRIES,
        _DETAILS,
        _REMOVE_DETAILS,
        "create table damaged (id integer primary key, namespace integer, key blob, found_at real, value blob)",
    ),
    probes=(
        f"{WHOLE} limit 0",
        "select namespace, size_bytes, name from entries, details, namespaces limit 0",
        "select id, namespace, key, found_at, value from damaged limit 0",
    ),
    connection=WRITING,
    migrations={
        1: (
            "alter table entries rename to old_entries",  # one table for everything, and nothing pinned
            _ENTRIES,
            _DETAILS,
            _REMOVE_DETAILS,
            "insert into entries select id, namespace, key, created_at, expires_at, model_time_s, 0, value "
            "from old_entries order by id",
            "insert into details select id, last_used_at, hits, length(value) + length(cast(prompt as blob)), model, "
            "llm_string, prompt_is_message, prompt from old_entries order by id",
            "drop table old_entries",
        )
    },
)


class NewEntry(NamedTuple):
    """What `WRITE` takes, and the texts that it refers to by number."""

    row: tuple[Any, ...]
    namespace: tuple[int, str]
    llm_string: tuple[int, str]


def next_id() -> int:
    """The least id of what is written now: microseconds since 1970, so that an id is never given twice.

    Whatever is written anew gets a greater id than all others. Who keeps account of a store, as an index for browsing
    does, finds what is new by that, at no cost to who writes.
    """
    return time.time_ns() // 1_000


def new_entry(entry: StoredEntry, namespace: str) -> NewEntry:
    """An entry as it is written."""
    text = single_message(entry.raw_prompt)
    namespace_id, llm_string_id = interned_id(namespace), interned_id(entry.llm_string)
    row = (
        next_id(),
        namespace_id,
        entry.digest,
        entry.created_at,
        entry.expires_at,
        entry.model_time_s,
        entry.pinned,
        seal(entry.key, entry.payload),
        entry.last_used_at,
        entry.hits,
        entry.size_bytes,
        entry.model,
        llm_string_id,
        text is not None,
        entry.raw_prompt if text is None else text,
    )
    return NewEntry(row, (namespace_id, namespace), (llm_string_id, entry.llm_string))
