"""What a person asks to see, as queries on the index for browsing: pages, totals, tallies.

Two ways lead to a page. One walks along the order asked for until it has found enough; the other gathers all that
match and sorts them. Which is shorter depends on how many match, and that is known before.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apsw

from cache_backends.browse import SIZE_MARKS, Cursor, Query
from cache_backends.browse_index import Memo, tie
from cache_backends.index_schema import HOUR_S, NOT_LISTED, hour_of, scope
from cache_backends.records import Tally

WALKED_FOR_ONE_GATHERED = 1.5
"""Rows that are walked along in the time that it takes to gather and sort one."""
TESTED_FOR_ONE_GATHERED = 4
"""Matches of a search that become a set to test with in the time that it takes to gather and sort one."""

LEAST_IN_WORDS, GREATEST_IN_WORDS = "0", "\U0010ffff"
"""No letter or digit comes before the one or after the other."""
LONGEST_WORD_BYTES = 32_768
"""FTS5 cuts what is longer (its FTS5_MAX_TOKEN_SIZE)."""
GREATEST_DIVIDED = 2.0**52
"""Times as far from 1970 as that lie in hours of which not every second can be told from the next."""

Values = tuple[Any, ...]
Rows = Sequence[tuple[Any, ...]]


class Way(NamedTuple):
    """Where entries are read from, what they must meet, and the values of that."""

    source: str
    condition: str
    values: Values

    def narrowed(self, condition: str, *values: Any) -> Way:
        """With one condition more."""
        return Way(self.source, f"{self.condition} and {condition}", (*self.values, *values))

    def select(self, columns: str, rest: str = "") -> tuple[str, Values]:
        """A statement and its values."""
        return f"select {columns} from {self.source} where {self.condition} {rest}", self.values


class Reader:
    """Reads one namespace of the index, on one connection."""

    def __init__(self, connection: apsw.Connection, namespace_id: int, now: float, memo: Memo) -> None:
        """`now` is the Unix time that decides what has expired."""
        self._connection = connection
        self._memo = memo
        self._now = now
        self._changes = connection.execute("select changes from about").get
        numbers = dict(connection.execute("select namespace, id from names"))
        self._number: int = numbers.get(namespace_id, NOT_LISTED)
        self._is_the_only_one = list(numbers) == [namespace_id]
        self._models: dict[int, str | None] = {0: None}
        for number, name in connection.execute("select id, name from models"):
            self._models[number] = name.decode("utf-8", "replace")

    def total(self, query: Query) -> int:
        """How many entries match."""
        if query.state != "any":
            return self._total(query)  # another one with every second
        return self._memo.get((self._number, self._changes, query.anywhere), lambda: self._total(query))

    def _total(self, query: Query) -> int:
        if not query.has_filters:
            return self._found(query) if query.words else self._entries()
        if not query.words and _is_told_by_classes(query):
            ages = sorted(bound for bound in (query.created_from, query.created_before) if bound is not None)
            return sum(one.entries for one in self.tally(query, ages) if _is_admitted(one, query, ages))
        way = self._gather_words(query) if query.words else self._along(query)
        return self._count(*self._filtered(way, query).select("count(*)"))

    def page(self, query: Query, total: int) -> list[Cursor]:
        """Where the entries of a page and one more stand, of so many that match."""
        way = self._filtered(self._shortest(query, total), query)
        found: list[Cursor] = []
        for part, order in _parts(way, query):
            wanted = query.limit + 1 - len(found)
            if wanted > 0:
                statement, values = part.select(f"{query.order_by}, key", f"order by {order} limit ?")
                rows = self._connection.execute(statement, (*values, wanted))
                found += [Cursor(value is None, float(value or 0), key.hex()) for value, key in rows]
        return found

    def tally(self, query: Query, ages: Sequence[float]) -> list[Tally]:
        """How many of the entries that match the search there are of each kind; `ages` ascending."""
        counted: dict[tuple[str | None, bool, int, int], tuple[int, int]] = {}
        for rows in self._counts_found(query, ages) if query.words else self._counts(ages):
            for model, is_expired, age, size, entries, size_bytes in rows:
                kind = (self._models.get(model), bool(is_expired), age, size)
                before = counted.get(kind, (0, 0))
                counted[kind] = (before[0] + entries, before[1] + int(size_bytes))
        return [Tally(*kind, entries, size_bytes) for kind, (entries, size_bytes) in counted.items()]

    def models(self) -> list[str]:
        """The models whose answers are there."""
        numbers = self._connection.execute("select distinct model from tallies where namespace = ?", (self._number,))
        return [name for (number,) in numbers if (name := self._models.get(number)) is not None]

    def _counts_found(self, query: Query, ages: Sequence[float]) -> Iterator[Rows]:
        columns, values = self._kinds(ages)
        way = self._gather_words(query).narrowed("listed.namespace = ?", self._number)
        statement, conditions = way.select(columns, "group by 1, 2, 3, 4")
        yield self._rows(statement, (*values, *conditions))

    def _counts(self, ages: Sequence[float]) -> Iterator[Rows]:
        """Counts by whole hours, and of what lies in hours that something divides one by one."""
        columns, values = self._kinds(ages)
        if any(abs(time) > GREATEST_DIVIDED for time in (*ages, self._now)):
            one_by_one = f"select {columns} from listed where namespace = ? group by 1, 2, 3, 4"
            yield self._rows(one_by_one, (*values, self._number))
            return
        divided = sorted({int(age // HOUR_S) for age in ages if age % HOUR_S})
        this_hour = int(self._now // HOUR_S)
        outside = f"not in ({', '.join(['?'] * len(divided))})"
        age = _number_of([f"created_hour * {HOUR_S} >= ?"] * len(ages))
        by_hours = (
            f"select model, ends_hour < ?, {age}, size_class, sum(entries), sum(size_bytes) from tallies "
            f"where namespace = ? and ends_hour <> ? and created_hour {outside} group by 1, 2, 3, 4",
            (this_hour, *ages, self._number, this_hour, *divided),
        )
        yield self._memo.get((self._changes, by_hours), lambda: self._rows(*by_hours))
        of_this_hour = (self._number, this_hour * HOUR_S, (this_hour + 1) * HOUR_S)
        yield self._rows(
            f"select {columns} from listed indexed by by_ends_at where namespace = ? and ends_at >= ? and ends_at < ? "
            f"and {hour_of('created_at')} {outside} group by 1, 2, 3, 4",
            (*values, *of_this_hour, *divided),
        )
        for hour in divided:
            yield self._rows(
                f"select {columns} from listed indexed by by_created_at "
                "where namespace = ? and created_at >= ? and created_at < ? group by 1, 2, 3, 4",
                (*values, self._number, hour * HOUR_S, (hour + 1) * HOUR_S),
            )

    def _kinds(self, ages: Sequence[float]) -> tuple[str, Values]:
        age = _number_of(["created_at >= ?"] * len(ages))
        return (
            f"model, coalesce(ends_at <= ?, 0), {age}, size_class, count(*), total(size_bytes)",
            (self._now, *ages),
        )

    def _shortest(self, query: Query, total: int) -> Way:
        """The way to a page that should take the least, where so many match."""
        entries = self._entries()
        walked = entries * min(1.0, (query.limit + 1) / max(1, total)) / WALKED_FOR_ONE_GATHERED
        if query.words:
            found = self._found(query)
            if found <= walked + found / TESTED_FOR_ONE_GATHERED:
                return self._gather_words(query)
            condition = "listed.id in (select rowid from words where words match ?)"
            return self._along(query).narrowed(condition, self._match(query))
        fewest, gathering = min(self._gatherings(query), default=(math.inf, ""))
        return Way(f"listed indexed by {gathering}", "true", ()) if fewest <= walked else self._along(query)

    def _gatherings(self, query: Query) -> Iterator[tuple[int, str]]:
        """How many entries each filter alone lets through, and the index that has just those together."""
        if query.model is not None:
            statement = "select coalesce(sum(entries), 0) from tallies where namespace = ? and model = ?"
            yield self._count(statement, (self._number, self._model_number(query.model))), "by_model"
        ranges = [_between("created_at", query.created_from, query.created_before)]
        ranges.append(_between("size_bytes", query.min_bytes, query.below_bytes))
        if query.state == "expired":
            ranges.append(("ends_at", "ends_at <= ?", (self._now,)))
        for column, condition, values in ranges:
            if values:
                statement = f"select count(*) from listed indexed by by_{column} where namespace = ? and {condition}"
                yield self._count(statement, (self._number, *values)), f"by_{column}"

    def _along(self, query: Query) -> Way:
        return Way(f"listed indexed by by_{query.order_by}", "true", ())  # one of `EntryOrder`, which `Query` checked

    def _gather_words(self, query: Query) -> Way:
        return Way("words cross join listed on listed.id = words.rowid", "words match ?", (self._match(query),))

    def _filtered(self, way: Way, query: Query) -> Way:
        way = way.narrowed("listed.namespace = ?", self._number)
        if query.model is not None:
            way = way.narrowed("model = ?", self._model_number(query.model))
        if query.state == "expired":
            way = way.narrowed("ends_at <= ?", self._now)
        elif query.state == "live":
            way = way.narrowed("(ends_at is null or ends_at > ?)", self._now)
        for _, condition, values in (
            _between("created_at", query.created_from, query.created_before),
            _between("size_bytes", query.min_bytes, query.below_bytes),
        ):
            if values:
                way = way.narrowed(condition, *values)
        return way

    def _found(self, query: Query) -> int:
        match = self._match(query)
        statement = "select count(*) from words where words match ?"
        return self._memo.get((self._changes, match), lambda: self._count(statement, (match,)))

    def _entries(self) -> int:
        return self._count("select coalesce(sum(entries), 0) from tallies where namespace = ?", (self._number,))

    def _match(self, query: Query) -> str:
        """A search in the language of FTS5: this namespace's word, and every word asked for as a beginning."""
        wanted = [f'"{word}" *' if self._goes_on(word) else f'"{word}"' for word in dict.fromkeys(query.words)]
        if self._is_the_only_one:  # all entries have its word, which would take a third of the time to find
            return " AND ".join(wanted)
        return " AND ".join([f'"{scope(self._number)}"', *wanted])

    def _goes_on(self, word: str) -> bool:
        """Whether words begin with this one; to look for it alone is done in a fifth of the time."""
        self._connection.execute("create virtual table if not exists temp.terms using fts5vocab(main, words, instance)")
        statement = "select 1 from terms where term >= ? and term < ? limit 1"
        return bool(self._connection.execute(statement, (word + LEAST_IN_WORDS, word + GREATEST_IN_WORDS)).get)

    def _model_number(self, model: str) -> int:
        return next((number for number, name in self._models.items() if name == model), -1)

    def _rows(self, statement: str, values: Values) -> Rows:
        return self._connection.execute(statement, values).fetchall()

    def _count(self, statement: str, values: Values) -> int:
        return int(self._connection.execute(statement, values).get)


def can_find(query: Query) -> bool:
    """Whether the index tells all words of a search from others."""
    return all(len(word.encode()) <= LONGEST_WORD_BYTES for word in query.words)


def _parts(way: Way, query: Query) -> Iterator[tuple[Way, str]]:
    """The ways that one after the other give what follows the cursor, and their orders: missing values come last."""
    column, cursor = query.order_by, query.cursor
    beyond, direction = ("<", "desc") if query.descending else (">", "asc")
    may_be_missing = column in ("expires_at", "model_time_s")
    digest = bytes.fromhex(cursor.key) if cursor is not None else b""
    at = (tie(digest), digest)
    if cursor is None or not cursor.is_missing:
        present = way.narrowed(f"{column} is not null") if may_be_missing else way
        if cursor is not None:
            present = present.narrowed(f"({column}, tie, key) {beyond} (?, ?, ?)", cursor.value, *at)
        yield present, f"{column} {direction}, tie {direction}, key {direction}"
    if may_be_missing:
        missing = way.narrowed(f"{column} is null")
        if cursor is not None and cursor.is_missing:
            missing = missing.narrowed(f"(tie, key) {beyond} (?, ?)", *at)
        yield missing, f"tie {direction}, key {direction}"


def _between(column: str, low: float | None, high: float | None) -> tuple[str, str, Values]:
    """A column, the condition that its values lie from `low` to below `high`, and the values of that."""
    conditions = [f"{column} >= ?"] * (low is not None) + [f"{column} < ?"] * (high is not None)
    return column, " and ".join(conditions), tuple(bound for bound in (low, high) if bound is not None)


def _number_of(conditions: Sequence[str]) -> str:
    """An expression for how many of the conditions are met."""
    return " + ".join(f"({condition})" for condition in conditions) or "0"


def _is_told_by_classes(query: Query) -> bool:
    """Whether the classes of sizes tell which entries get through."""
    return all(bound is None or bound in SIZE_MARKS for bound in (query.min_bytes, query.below_bytes))


def _is_admitted(one: Tally, query: Query, ages: Sequence[float]) -> bool:
    """Whether entries of this kind get through the filters, whose times are the `ages` they were counted by."""
    return (
        (query.model is None or one.model == query.model)
        and (query.state == "any" or one.is_expired == (query.state == "expired"))
        and (query.created_from is None or one.age >= bisect_right(ages, query.created_from))
        and (query.created_before is None or one.age <= bisect_left(ages, query.created_before))
        and (query.min_bytes is None or one.size >= bisect_right(SIZE_MARKS, query.min_bytes))
        and (query.below_bytes is None or one.size <= bisect_left(SIZE_MARKS, query.below_bytes))
    )
