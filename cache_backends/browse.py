"""Finding, ordering and paging entries by looking at every one of them, for stores that have no index."""

from __future__ import annotations

import base64
import binascii
import heapq
import math
import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self, get_args

import orjson

from cache_backends.keys import digest_of
from cache_backends.records import EntryOrder, EntryPage, EntryState, EntrySummary, Tally

_WORD = re.compile(r"[^\W_]+")
_IN_WORDS = bytes(ord(chr(code).lower()) if code < 128 and chr(code).isalnum() else ord(" ") for code in range(256))

MAX_PAGE = 1000
"""Most entries one page can hold."""

SIZE_MARKS = (1_000, 10_000, 100_000, 1_000_000)
"""Bytes at which one class of sizes ends and the next begins."""

GREATEST_BOUND = 2.0**62
"""What every database can compare with."""

LOOKED_AT_A_TIME = 500
"""Rows a scan looks at before it tells how far it is."""

Progress = Callable[[int, int | None], None]
"""Told how many entries were looked at so far, and of how many if that is known. What it raises ends the search."""

Place = tuple[bool, float, int]
"""Where an entry stands in an order: missing values last, then the value, then the key to break ties."""


def no_progress(looked_at: int, of: int | None) -> None:
    """For who does not want to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a person asked to see; checked when it is made, since it may come from a URL."""

    search: str = ""
    model: str | None = None
    state: EntryState = "any"
    created_from: float | None = None
    created_before: float | None = None
    min_bytes: int | None = None
    below_bytes: int | None = None
    order_by: EntryOrder = "created_at"
    descending: bool = True
    limit: int = 50
    after: str | None = None
    up_to_date: bool = True
    progress: Progress = no_progress

    def __post_init__(self) -> None:
        if self.state not in get_args(EntryState):
            raise ValueError(f"state={self.state!r} is unknown. Use one of: {', '.join(get_args(EntryState))}.")
        if self.order_by not in get_args(EntryOrder):
            raise ValueError(f"order_by={self.order_by!r} is unknown. Use one of: {', '.join(get_args(EntryOrder))}.")
        limit: object = self.limit
        if not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE:
            raise ValueError(f"limit={self.limit!r} is out of range. Use 1 to {MAX_PAGE}.")
        for name in ("created_from", "created_before", "min_bytes", "below_bytes"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and abs(value) <= GREATEST_BOUND):
                raise ValueError(f"{name}={value!r} is no number to compare with. Leave it out for no limit.")

    @property
    def has_filters(self) -> bool:
        """Whether anything but a search narrows what is found."""
        bounds = (self.created_from, self.created_before, self.min_bytes, self.below_bytes)
        return self.model is not None or self.state != "any" or any(bound is not None for bound in bounds)

    @property
    def anywhere(self) -> Query:
        """What the pages of a list have in common: as many match on each."""
        return replace(
            self, order_by="created_at", descending=True, limit=1, after=None, up_to_date=True, progress=no_progress
        )

    def admits(self, summary: EntrySummary, now: float) -> bool:
        """Whether an entry gets through everything but the search."""
        return (
            (self.model is None or summary.model == self.model)
            and (self.state == "any" or summary.is_expired(now) == (self.state == "expired"))
            and (self.created_from is None or summary.created_at >= self.created_from)
            and (self.created_before is None or summary.created_at < self.created_before)
            and (self.min_bytes is None or summary.size_bytes >= self.min_bytes)
            and (self.below_bytes is None or summary.size_bytes < self.below_bytes)
        )

    @property
    def words(self) -> list[str]:
        """What each match has a word with the beginning of."""
        return words(self.search)

    @property
    def finds_nothing(self) -> bool:
        """Whether there is a search without a single word in it."""
        return bool(self.search.strip()) and not self.words

    @property
    def cursor(self) -> Cursor | None:
        """Where the page before ended. Raises ValueError."""
        return Cursor.parsed(self.after) if self.after else None


class Cursor(NamedTuple):
    """The last entry of a page: whether it has no value in the order's column, that value, its key."""

    is_missing: bool
    value: float
    key: str

    @classmethod
    def of(cls, summary: EntrySummary, order_by: EntryOrder) -> Self:
        """The cursor after an entry."""
        value = getattr(summary, order_by)
        return cls(value is None, 0.0 if value is None else value, summary.key)

    @classmethod
    def parsed(cls, text: str) -> Self:
        """The cursor that `str` made the text of. Raises ValueError."""
        try:
            missing, value, key = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if not (
                isinstance(missing, bool)
                and isinstance(value, int | float)
                and isinstance(key, str)
                and math.isfinite(value)
            ):
                raise TypeError("not a position")
            digest_of(key)
            return cls(missing, float(value), key)
        except (binascii.Error, ValueError, TypeError) as error:
            raise ValueError(
                f"after={text[:40]!r} is not a cursor that entries() gave. Leave it out to begin."
            ) from error

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(orjson.dumps(tuple(self))).decode().rstrip("=")

    def place(self, *, descending: bool) -> Place:
        """What sorts as the entry does; equal values in the order of their keys, or its reverse."""
        sign = -1 if descending else 1
        return (self.is_missing, sign * self.value, sign * int(self.key, 16))


@dataclass(frozen=True, slots=True)
class Row:
    """One entry as a scan yields it: its summary, and the whole text that a search looks at."""

    summary: EntrySummary
    text: str


def page(rows: Iterable[Row], query: Query, now: float) -> EntryPage:
    """One page of the rows that match, in the order asked for. `now` is a Unix time in seconds."""
    matches = _matcher(query, now)
    cursor = query.cursor
    after = cursor and cursor.place(descending=query.descending)
    total = 0

    def following() -> Iterable[tuple[Place, EntrySummary]]:
        nonlocal total
        for looked_at, row in enumerate(rows, 1):
            if looked_at % LOOKED_AT_A_TIME == 0:
                query.progress(looked_at, None)
            if matches(row):
                total += 1
                place = Cursor.of(row.summary, query.order_by).place(descending=query.descending)
                if after is None or place > after:
                    yield place, row.summary

    first = heapq.nsmallest(query.limit + 1, following(), key=lambda pair: pair[0])
    return page_of([summary for _, summary in first], query, total)


def page_of(found: Sequence[EntrySummary], query: Query, total: int) -> EntryPage:
    """A page of the entries that follow the cursor, in order; of one more than a page, where there are so many."""
    shown = found[: query.limit]
    more = len(found) > query.limit
    return EntryPage(shown, str(Cursor.of(shown[-1], query.order_by)) if more else None, total)


def words(text: str) -> list[str]:
    """The words of a text, case and accents ignored: runs of letters and digits."""
    return spaced_words(text).split()


def spaced_words(text: str) -> str:
    """The same as one text, with spaces between them, and maybe around."""
    if text.isascii():
        return text.encode().translate(_IN_WORDS).decode()  # as what follows would, much later
    decomposed = unicodedata.normalize("NFKD", text.casefold()).casefold()  # again: "ℂ" has become "C"
    return " ".join(_WORD.findall("".join(c for c in decomposed if not unicodedata.combining(c))))


def _matcher(query: Query, now: float) -> Callable[[Row], bool]:
    wanted = query.words

    def matches(row: Row) -> bool:
        if not query.admits(row.summary, now):
            return False
        return not query.finds_nothing if not wanted else has_all(row.text, wanted)

    return matches


def tally(rows: Iterable[Row], query: Query, ages: Sequence[float], now: float) -> list[Tally]:
    """The rows that match, counted by model, state, age and size. `now` and `ages` are Unix times in seconds."""
    matches = _matcher(query, now)
    counts: Counter[tuple[str | None, bool, int, int]] = Counter()
    sizes: Counter[tuple[str | None, bool, int, int]] = Counter()
    for looked_at, row in enumerate(rows, 1):
        if looked_at % LOOKED_AT_A_TIME == 0:
            query.progress(looked_at, None)
        if matches(row):
            one = row.summary
            kind = (one.model, one.is_expired(now), bisect_right(ages, one.created_at), size_class(one.size_bytes))
            counts[kind] += 1
            sizes[kind] += one.size_bytes
    return [Tally(*kind, entries, sizes[kind]) for kind, entries in counts.items()]


def size_class(size_bytes: int) -> int:
    """How many of `SIZE_MARKS` a size reaches."""
    return bisect_right(SIZE_MARKS, size_bytes)


def has_all(text: str, wanted: Sequence[str]) -> bool:
    """Whether each of the wanted is the beginning of a word of the text."""
    if text.isascii():
        lowered = text.lower()
        if not all(prefix in lowered for prefix in wanted):
            return False  # which is nearly always so, and known without taking the text to words
    present = words(text)
    return all(any(word.startswith(prefix) for word in present) for prefix in wanted)
