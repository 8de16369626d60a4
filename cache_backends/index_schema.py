"""The tables of the index for browsing.

`listed` has a narrow row for each entry and an index for each order; `words` is SQLite's full-text index (FTS5) over
the words of prompt and answer, without the texts themselves; `tallies` counts entries by what they can be told apart
by, so that nobody has to count a million of them.
"""

from __future__ import annotations

from cache_backends.sqlite_schema import Schema

HOUR_S = 3_600
STILL_NS = 100_000_000
"""So long ago a file must have been changed to be known by the time of it: clocks of file systems tick every 4 ms."""
NEVER = 2**62
"""The hour at which what does not expire does so."""
NEVER_SHOWN = 0
"""The number of a namespace that nobody asks for."""
NOT_LISTED = 2**62
"""The number of a namespace that has no entries here."""

ORDERS = ("created_at", "last_used_at", "hits", "size_bytes", "expires_at", "model_time_s")


def hour_of(column: str) -> str:
    """The hour in which a time lies. Of a moment just before 1970, dividing leaves nothing, not even the sign."""
    hour = f"floor({column} / {HOUR_S})"
    return f"cast({hour} - ({column} < {hour} * {HOUR_S}) as integer)"


_CREATED_HOUR = hour_of("{row}.created_at")
_ENDS_HOUR = f"coalesce({hour_of('{row}.ends_at')}, {NEVER})"
_CELL = ("{row}.namespace", "{row}.model", "{row}.size_class", _CREATED_HOUR, _ENDS_HOUR)
_CELL_COLUMNS = ("namespace", "model", "size_class", "created_hour", "ends_hour")


def scope(number: int) -> str:
    """The word that every entry of a namespace has, and that no text has: "§" stands in no word."""
    return f"§{number}"


def _cell(row: str) -> str:
    return ", ".join(part.format(row=row) for part in _CELL)


INDEX_SCHEMA = Schema(
    content="index for browsing",
    application_id=0x4C4C4D42,  # "LLMB"
    version=1,
    statements=(
        "create table about (watermark integer not null, changes integer not null)",
        # Counted from anywhere: what is known of one index is never taken for another one that has its place by now.
        "insert into about values (0, abs(random() / 4096))",
        "create table names (id integer primary key, namespace integer not null unique)",
        "create table models (id integer primary key, name blob not null unique)",
        """
        create table listed (
            id integer primary key,
            namespace integer not null,
            key blob not null,
            tie integer not null,
            model integer not null,
            created_at real not null,
            expires_at real,
            ends_at real,
            last_used_at real not null,
            hits integer not null,
            size_bytes integer not null,
            size_class integer not null,
            model_time_s real,
            mark text,
            unique (namespace, key)
        )
        """,
        *(f"create index by_{order} on listed (namespace, {order}, tie)" for order in ORDERS),
        "create index by_model on listed (namespace, model)",
        "create index by_ends_at on listed (namespace, ends_at) where ends_at is not null",
        # Words come as `browse.words` makes them, between spaces: this tokenizer changes nothing of them.
        "create virtual table words using fts5(text, content='', contentless_delete=1, detail=none, tokenize='ascii')",
        f"""
        create table tallies (
            {", ".join(f"{column} integer not null" for column in _CELL_COLUMNS)},
            entries integer not null,
            size_bytes integer not null,
            primary key ({", ".join(_CELL_COLUMNS)})
        ) without rowid
        """,
        f"""
        create trigger tally_in after insert on listed begin
            insert into tallies values ({_cell("new")}, 1, new.size_bytes)
            on conflict do update set entries = entries + 1, size_bytes = size_bytes + excluded.size_bytes;
        end
        """,
        f"""
        create trigger tally_out after delete on listed begin
            update tallies set entries = entries - 1, size_bytes = size_bytes - old.size_bytes
            where ({", ".join(_CELL_COLUMNS)}) = ({_cell("old")});
            delete from tallies where ({", ".join(_CELL_COLUMNS)}) = ({_cell("old")}) and entries = 0;
            delete from words where rowid = old.id;
        end
        """,
    ),
    probes=(
        "select watermark, changes, names.namespace, name from about, names, models limit 0",
        "select * from listed, tallies limit 0",
        "select rowid from words limit 0",
    ),
)
