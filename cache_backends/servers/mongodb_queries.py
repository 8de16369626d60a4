"""What a person asks to see, as MongoDB's queries.

Only conditions on single fields, where there is a choice: an index, and the simplest server, can use those.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from cache_backends.browse import Query

Condition = dict[str, Any]
Order = list[tuple[str, int]]

BY_AGE: Order = [("namespace", 1), ("created_at", 1), ("key", 1)]
"""The index that the usual order of a list goes by, with which a namespace is told from others."""

LEAST_NUMBER = -sys.float_info.max
"""No number is less: a value that is not less is a number."""
LONGEST_PATTERN = 2_000
"""Letters of the words in one pattern, and of one word that are looked for: MongoDB takes 32,764 bytes of a pattern."""


def of_namespace(namespace_id: int) -> Condition:
    """What entries of a namespace meet."""
    return {"namespace": {"$eq": namespace_id}}


def over(now: float) -> Condition:
    """What entries meet whose time to live is over at the Unix time `now`."""
    return {"ends_at": {"$lte": now}}


def matching(query: Query, namespace_id: int, now: float) -> Condition:
    """What entries must meet to match."""
    conditions = of_namespace(namespace_id)
    if query.model is not None:
        conditions["model"] = {"$eq": query.model}
    if query.state == "expired":
        conditions |= over(now)
    elif query.state == "live":
        conditions["ends_at"] = {"$gt": now}
    for field, comparison, bound in (
        ("created_at", "$gte", query.created_from),
        ("created_at", "$lt", query.created_before),
        ("size_bytes", "$gte", query.min_bytes),
        ("size_bytes", "$lt", query.below_bytes),
    ):
        if bound is not None:
            conditions[field] = conditions.get(field, {}) | {comparison: float(bound)}
    if query.words:
        pattern, *more = _patterns(query.words)
        conditions["words"] = {"$regex": pattern}
        if more:
            conditions["$and"] = [{"words": {"$regex": pattern}} for pattern in more]
    return conditions


def parts_of_page(query: Query, matches: Condition) -> Iterator[tuple[Condition, Order]]:
    """Queries that one after the other give the entries that follow the cursor, in order.

    First those with the cursor's value and a key beyond its own, then those with values beyond, then those without: in
    MongoDB's own order a missing value is the least.
    """
    column = query.order_by  # one of `EntryOrder`, which `Query` checked
    beyond, direction = ("$lt", -1) if query.descending else ("$gt", 1)
    by_key, by_column = [("key", direction)], [(column, direction), ("key", direction)]
    may_be_missing = column in ("expires_at", "model_time_s")
    cursor = query.cursor
    if cursor is None:
        if query.descending or not may_be_missing:
            yield matches, by_column
            return
        yield matches | {column: {"$gte": LEAST_NUMBER}}, by_column
    elif not cursor.is_missing:
        yield matches | _also(matches, column, "$eq", cursor.value) | {"key": {beyond: cursor.key}}, by_key
        yield matches | _also(matches, column, beyond, cursor.value), by_column
    if may_be_missing:
        key = {"key": {beyond: cursor.key}} if cursor is not None and cursor.is_missing else {}
        yield matches | {column: {"$eq": None}} | key, by_key


def _also(matches: Condition, field: str, comparison: str, value: float) -> Condition:
    """What `matches` says of a field, narrowed by one more comparison."""
    bounds: Condition = matches.get(field, {})
    if comparison == "$lt":
        value = min(value, bounds.get("$lt", value))
    return {field: bounds | {comparison: value}}


def _patterns(wanted: Sequence[str]) -> Iterator[str]:
    """What finds texts of `searchable` in which each of the wanted, which are letters and digits, begins a word."""
    portion: list[str] = []
    for word in dict.fromkeys(word[:LONGEST_PATTERN] for word in wanted):
        if portion and sum(map(len, portion)) + len(word) > LONGEST_PATTERN:
            yield _pattern(portion)
            portion = []
        portion.append(word)
    yield _pattern(portion)


def _pattern(wanted: Sequence[str]) -> str:
    return f" {wanted[0]}" if len(wanted) == 1 else "^" + "".join(f"(?=.* {word})" for word in wanted)
