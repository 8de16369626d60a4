"""Finding, ordering and paging entries by looking at every one of them, for stores that have no index."""

from __future__ import annotations

import base64
import binascii
import heapq
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import get_args

import orjson

from cache_backends.records import EntryOrder, EntryPage, EntryState, EntrySummary

MAX_PAGE = 1000
"""Most entries one page can hold."""

SortKey = tuple[bool, float, str]
"""Missing values last, then the value, then the key to break ties."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a person asked to see; checked when it is made, since it may come from a URL."""

    search: str
    model: str | None
    state: EntryState
    order_by: EntryOrder
    descending: bool
    limit: int
    after: str | None

    def __post_init__(self) -> None:
        if self.state not in get_args(EntryState):
            raise ValueError(f"state={self.state!r} is unknown. Use one of: {', '.join(get_args(EntryState))}.")
        if self.order_by not in get_args(EntryOrder):
            raise ValueError(f"order_by={self.order_by!r} is unknown. Use one of: {', '.join(get_args(EntryOrder))}.")
        limit: object = self.limit
        if not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE:
            raise ValueError(f"limit={self.limit!r} is out of range. Use 1 to {MAX_PAGE}.")


@dataclass(frozen=True, slots=True)
class Row:
    """One entry as a scan yields it: its summary, and the whole text that a search looks at."""

    summary: EntrySummary
    text: str


def page(rows: Iterable[Row], query: Query, now: float) -> EntryPage:
    """One page of the rows that match, in the order asked for. `now` is a Unix time in seconds."""
    matches = _matcher(query, now)
    sort_key = _sorter(query)
    after = _cursor_key(query.after) if query.after else None
    total = 0

    def following() -> Iterable[tuple[SortKey, EntrySummary]]:
        nonlocal total
        for row in rows:
            if matches(row):
                total += 1
                key = sort_key(row.summary)
                if after is None or key > after:
                    yield key, row.summary

    first = heapq.nsmallest(query.limit + 1, following(), key=lambda pair: pair[0])
    shown = first[: query.limit]
    more = len(first) > query.limit
    return EntryPage([summary for _, summary in shown], _cursor(shown[-1][0]) if more else None, total)


def words(text: str) -> list[str]:
    """The words of a text, case and accents ignored: runs of letters and digits."""
    decomposed = unicodedata.normalize("NFKD", text.casefold()).casefold()  # again: "ℂ" has become "C"
    kept = "".join(" " if not c.isalnum() else c for c in decomposed if not unicodedata.combining(c))
    return kept.split()


def _matcher(query: Query, now: float) -> Callable[[Row], bool]:
    wanted = words(query.search)

    def matches(row: Row) -> bool:
        if query.model is not None and row.summary.model != query.model:
            return False
        if query.state != "any" and row.summary.is_expired(now) != (query.state == "expired"):
            return False
        if not wanted:
            return not query.search.strip()  # a search without a single word in it finds nothing
        present = words(row.text)
        return all(any(word.startswith(prefix) for word in present) for prefix in wanted)

    return matches


def _sorter(query: Query) -> Callable[[EntrySummary], SortKey]:
    sign = -1.0 if query.descending else 1.0

    def sort_key(summary: EntrySummary) -> SortKey:
        value = getattr(summary, query.order_by)
        return (value is None, 0.0 if value is None else sign * value, summary.key)

    return sort_key


def _cursor(key: SortKey) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def _cursor_key(cursor: str) -> SortKey:
    try:
        missing, value, key = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not (isinstance(missing, bool) and isinstance(value, int | float) and isinstance(key, str)):
            raise TypeError("not a position")
        return (missing, float(value), key)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValueError(
            f"after={cursor[:40]!r} is not a cursor that entries() gave. Leave it out to begin."
        ) from error
