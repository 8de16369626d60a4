"""The statements of a cache in an SQL database: the same for every one, but for a few words of its dialect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from cache_backends.browse import SIZE_MARKS, Query

FORMAT = 1
"""The version of the tables."""

MOST_HITS = 2**62
"""More than an entry can have had: who has written more there by hand keeps nobody from counting."""

MOST_DELETED = 200
"""Rows that are deleted by their keys in one go, so that it holds up nobody for long."""

COLUMNS = (
    "namespace",
    "digest",
    "created_at",
    "expires_at",
    "model_time_s",
    "pinned",
    "last_used_at",
    "hits",
    "size_bytes",
    "model",
    "llm_string",
    "prompt_is_message",
    "prompt",
    "shown_prompt",
    "shown_answer",
    "words",
    "value",
)
"""`namespace` and `llm_string` are numbers of texts that lie in `texts`. Texts are bytes, since not every database
keeps NUL, but for `words`: those of prompt and answer, each after a space, which is what a search looks at."""

_SHOWN = (
    "digest, created_at, expires_at, last_used_at, hits, size_bytes, model, pinned, model_time_s, "
    "shown_prompt, shown_answer"
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs from database to database."""

    schema: tuple[str, ...]
    """Statements that make what tables are missing, that of the format last; `{p}` is what their names begin with."""
    replace: tuple[str, str]
    """What stands before and after the rest of an insert into `entries` that replaces the row with the same key."""
    ignore: tuple[str, str]
    """What stands before and after the rest of an insert that leaves alone what is there."""
    columns: tuple[str, ...] = COLUMNS
    """Those of `entries`: `COLUMNS`, and more after them if it needs any."""
    many: str = ""
    """What follows the name of `entries` where very many rows are looked at: by which index."""
    searched: str = ""
    """The same where words are looked for, if it is another index. A search reads that once, and counts what matches
    while it does."""
    passes: tuple[str, ...] = ("",)
    """What follows the condition of a search: one of these in turn, each a way through that index."""
    by_key: str = ""
    """What follows the name of `entries` where rows are changed or removed that are named by their keys."""
    remove: str = "delete from {entries}"
    """How a statement begins that removes rows of `entries`."""
    has_word: str = "words like %s"
    """Whether a row has a word that begins like one looked for, which is every value of it."""
    word: str = "% {}%"
    """The value of `has_word` for such a beginning."""


class Statements:
    """All statements of one cache. `%s` stands for a value; nothing else is put into them but the checked prefix."""

    def __init__(self, dialect: Dialect, prefix: str) -> None:
        entries, texts, damaged = (f"{prefix}_{name}" for name in ("entries", "texts", "damaged"))
        many = f"{entries} {dialect.many}"
        one = "where namespace = %s and digest = %s"
        update = f"update {entries} {dialect.by_key}"
        remove = f"{dialect.remove.format(entries=entries)} {dialect.by_key}"
        self.schema = tuple(statement.format(p=prefix) for statement in dialect.schema)
        self.format_table = f"{prefix}_format"
        self.format = f"select version from {self.format_table}"
        self.read = (
            "select value, created_at, case when pinned = 1 then null else expires_at end, model_time_s "
            f"from {entries} {one}"
        )
        before, after = dialect.replace
        columns = dialect.columns
        self.write = f"{before} into {entries} ({', '.join(columns)}) values ({_places(columns)}) {after}"
        before, after = dialect.ignore
        self.know_text = f"{before} into {texts} (id, content) values (%s, %s) {after}"
        whole = (
            "select 0, digest, created_at, expires_at, model_time_s, last_used_at, hits, model, "
            f"coalesce(content, ''), prompt_is_message, prompt, value, pinned from {entries} "
            f"left join {texts} on {texts}.id = {entries}.llm_string"
        )
        self.whole = f"{whole} {one}"
        self.rows = f"{whole} where namespace = %s and digest > %s order by digest limit %s"
        self.delete = f"{remove} {one}"
        self.delete_some = f"{remove} where namespace = %s and digest in ({_places(range(MOST_DELETED))})"
        self.set_expiry = f"{update} set expires_at = %s {one}"
        self.set_pinned = f"{update} set pinned = %s {one}"
        self.note_uses = (
            f"{update} set hits = least(hits, {MOST_HITS}) + %s, last_used_at = greatest(last_used_at, %s) {one}"
        )
        self._count = f"select count(*) from {many}"
        self._count_found = f"select count(*) from {entries} {dialect.searched}"
        self.measure = f"select count(*), coalesce(sum(size_bytes), 0) from {many}"
        self.least_recently_used = (
            f"select namespace, digest, last_used_at, size_bytes from {many} where pinned = 0 "
            "order by last_used_at, digest limit %s"
        )
        self.evict = f"{remove} {one} and last_used_at = %s and pinned = 0"
        self.end_of_step = (
            f"select digest from (select digest from {entries} where namespace = %s and digest > %s "
            "order by digest limit %s) as step order by digest desc limit 1"
        )
        step = "where namespace = %s and digest > %s and digest <= %s"
        self.clear_step = f"{remove} {step}"
        self.purge_step = f"{remove} {step} and pinned = 0 and expires_at <= %s"
        self.keep_damaged = (
            f"{before} into {damaged} (namespace, digest, found_at, value) "
            f"select namespace, digest, %s, value from {entries} {one} and value = %s {after}"
        )
        self.delete_damaged = f"{remove} {one} and value = %s"
        self.oldest_damaged = f"select found_at from {damaged} order by found_at desc limit 1 offset %s"
        self.drop_damaged = f"delete from {damaged} where found_at <= %s"
        self.models = f"select distinct model from {many} where namespace = %s and model is not null"
        self.namespaces = (
            f"select content from {texts} where exists (select 1 from {entries} where namespace = {texts}.id)"
        )
        self.stats = (
            "select count(*), coalesce(sum(size_bytes), 0), "
            "coalesce(sum(case when pinned = 0 and expires_at <= %s then 1 else 0 end), 0), "
            f"min(created_at), max(created_at) from {many} where namespace = %s"
        )
        shown = f"join {entries} using (namespace, digest) {{order}}"
        self._page = (
            f"select {_SHOWN}, null from (select namespace, digest from {many} where {{matching}}{{after}} "
            f"{{order}} limit %s) as found {shown}"
        )
        self._search = (
            f"select {_SHOWN}, total from (select namespace, digest, total from (select namespace, digest, {{column}}, "
            "count(*) over () as total from (select namespace, digest, {column} "
            f"from {entries} {dialect.searched} where {{matching}} {{way}}) as passed) as matching "
            f"where true{{after}} {{order}} limit %s) as found {shown}"
        )
        self._tally = (
            "select model, case when pinned = 0 and expires_at <= %s then 1 else 0 end as expired, {age} as age, "
            f"{_class('size_bytes', map(str, SIZE_MARKS))} as size, count(*), sum(size_bytes) from {entries} {{which}} "
            "where {matching} group by model, expired, age, size"
        )
        self._many, self._searched = dialect.many, dialect.searched
        self._passes = cycle(dialect.passes)
        self._has_word = dialect.has_word.format(p=prefix)
        self._word = dialect.word

    def matches(self, query: Query, namespace_id: int, now: float) -> tuple[str, list[Any]]:
        """The condition that entries must meet to match, and its values."""
        conditions = ["namespace = %s"]
        values: list[Any] = [namespace_id]
        if query.model is not None:
            conditions.append("model = %s")
            values.append(query.model.encode("utf-8", "surrogatepass"))
        if query.state != "any":
            expired = "pinned = 0 and expires_at is not null and expires_at <= %s"
            conditions.append(f"({expired})" if query.state == "expired" else f"not ({expired})")
            values.append(now)
        for column, comparison, bound in (
            ("created_at", ">=", query.created_from),
            ("created_at", "<", query.created_before),
            ("size_bytes", ">=", query.min_bytes),
            ("size_bytes", "<", query.below_bytes),
        ):
            if bound is not None:
                conditions.append(f"{column} {comparison} %s")
                values.append(float(bound))
        for word in query.words:
            conditions.append(self._has_word)
            values += [self._word.format(word)] * self._has_word.count("%s")
        return " and ".join(conditions), values

    def page(self, query: Query, matching: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
        """The statement that selects one entry more than a page after the cursor, and its values.

        The last column is the number of all that match, cursor or not, or null where it is to be counted apart.
        """
        column, values = query.order_by, list(values)  # one of `EntryOrder`, which `Query` checked
        beyond, direction = ("<", "desc") if query.descending else (">", "asc")
        may_be_missing = column in ("expires_at", "model_time_s")
        cursor, after = query.cursor, ""
        if cursor is not None:
            digest = bytes.fromhex(cursor.key)
            if cursor.is_missing:
                after = f" and {column} is null and digest {beyond} %s"
                values.append(digest)
            else:
                missing = f" or {column} is null" if may_be_missing else ""
                after = (
                    f" and {column} {beyond}= %s and ({column} {beyond} %s or digest {beyond} %s)"
                    if not missing
                    else f" and ({column} {beyond} %s or ({column} = %s and digest {beyond} %s){missing})"
                )
                values += [cursor.value, cursor.value, digest]
        missing_last = f"case when {column} is null then 1 else 0 end, " if may_be_missing else ""
        order = f"order by {missing_last}{column} {direction}, digest {direction}"
        if query.words:
            way = next(self._passes)
            statement = self._search.format(column=column, matching=matching, way=way, after=after, order=order)
        else:
            statement = self._page.format(matching=matching, after=after, order=order)
        return statement, [*values, query.limit + 1]

    def total(self, query: Query, matching: str) -> str:
        """The statement that counts what matches."""
        return f"{self._count_found if query.words else self._count} where {matching}"

    def tally(
        self, query: Query, ages: Sequence[float], matching: str, values: Sequence[Any], now: float
    ) -> tuple[str, list[Any]]:
        """The statement that counts what matches by model, state, age and size, and its values."""
        statement = self._tally.format(
            age=_class("created_at", ["%s"] * len(ages)),
            which=self._searched if query.words else self._many,
            matching=matching,
        )
        return statement, [now, *map(float, ages), *values]


def _class(column: str, marks: Iterable[str]) -> str:
    """How many of the marks, which ascend, a column has at least."""
    cases = [f"when {column} < {mark} then {number}" for number, mark in enumerate(marks)]
    return f"case {' '.join(cases)} else {len(cases)} end" if cases else "0"


def _places(columns: Sequence[object]) -> str:
    return ", ".join(["%s"] * len(columns))
