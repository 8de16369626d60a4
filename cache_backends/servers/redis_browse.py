"""Finding, ordering and paging the entries of a `RedisCache`.

The order by age or by last use is kept by Redis itself. Every other order, a search and a filter look at every entry:
see `redis_scan`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from cache_backends.browse import Cursor, Place, Query
from cache_backends.codec import CHECKSUM_BYTES, text_of
from cache_backends.errors import CacheUnavailableError, CorruptEntryError
from cache_backends.readable import SHOWN_ANSWER_LENGTH, SHOWN_PROMPT_LENGTH, shortened
from cache_backends.records import EntryPage, EntrySummary, StoreStats, Tally
from cache_backends.servers.counted import Counted, tallied
from cache_backends.servers.redis_keys import Partition, partition_number
from cache_backends.servers.redis_scan import AT_ONCE, Look, looks, matching, with_values
from cache_backends.servers.redis_scripts import BURY
from cache_backends.servers.redis_session import number
from cache_backends.servers.redis_store import RedisStore
from cache_backends.servers.redis_values import LISTED_BYTES, Head, stored
from cache_backends.servers.redis_wire import Command
from cache_backends.storage import StoredEntry

BURIED_BEFORE_A_LIST = 200
"""Entries that Redis has removed and that each partition forgets when somebody browses."""
KEPT_ORDERS = ("created_at", "last_used_at")


def listed(store: RedisStore, places: Sequence[Partition], namespace: str, query: Query, now: float) -> EntryPage:
    """One page of entries. Raises `CacheError`, and what `query.progress` raises."""
    if query.finds_nothing:
        return EntryPage([], None, 0)
    entries = sum(count_after_burying(store, places, now))
    plain = not query.words and not query.has_filters
    while True:
        if plain and query.order_by in KEPT_ORDERS:
            first, total = _kept_order(store, places, query), entries
        else:
            first, total = _looked_for(store, places, query, now)
        digests = [bytes.fromhex(one.key) for one in first[: query.limit]]
        shown = _summaries(store, places, namespace, digests)
        # By what was found, not by what of it can be shown: the list would end where entries are damaged or just gone.
        after = str(first[query.limit - 1]) if len(first) > query.limit else None
        if shown or after is None:
            return EntryPage(shown, after, total)
        query = replace(query, after=after)


def _looked_for(store: RedisStore, places: Sequence[Partition], query: Query, now: float) -> tuple[list[Cursor], int]:
    """Where the entries of a page and one more stand, and how many match, after looking at every entry."""
    after = query.cursor and query.cursor.place(descending=query.descending)
    total = 0

    def following() -> Iterator[tuple[Place, Cursor]]:
        nonlocal total
        for looked_at, (value, digest) in enumerate(_by_order(store, places, query, now), 1):
            total = looked_at
            cursor = Cursor(value is None, value or 0.0, digest.hex())
            place = cursor.place(descending=query.descending)
            if after is None or place > after:
                yield place, cursor

    return [cursor for _, cursor in heapq.nsmallest(query.limit + 1, following())], total


def tally(
    store: RedisStore, places: Sequence[Partition], query: Query, ages: Sequence[float], now: float
) -> list[Tally]:
    """What matches, by model, state, age and size. Raises `CacheError`, and what `query.progress` raises."""
    if query.finds_nothing:
        return []
    count_after_burying(store, places, now)
    return tallied(
        (
            Counted(look.model, look.head.is_over(now), look.head.created_at, look.size_bytes)
            for look in matching(store, places, query, now)
        ),
        ages,
    )


def count_after_burying(store: RedisStore, places: Sequence[Partition], now: float) -> list[int]:
    """How many entries each partition has, without those that Redis has removed. Raises `CacheError`."""
    return store.many([BURY.call(place.about, number(now), b"%d" % BURIED_BEFORE_A_LIST) for place in places])


def all_entries(store: RedisStore, places: Sequence[Partition]) -> Iterator[StoredEntry]:
    """Every readable entry, whole, in any order. Raises `CacheError`."""
    store.settle(places)
    for some, _ in with_values(store, places, 1):
        yield from whole_entries(store, places, [digest for digest, _ in some])


def whole_entries(store: RedisStore, places: Sequence[Partition], digests: Sequence[bytes]) -> Iterator[StoredEntry]:
    """The settled entries with these digests that are there and readable. Raises `CacheError`."""
    at = [places[partition_number(digest)] for digest in digests]
    pairs = list(zip(at, digests, strict=True))
    values = store.many([(b"GET", place.entry(digest)) for place, digest in pairs])
    used = store.many([(b"ZSCORE", place.used, digest) for place, digest in pairs])
    hits = store.many([(b"HGET", place.hits, digest) for place, digest in pairs])
    for (place, digest), value, used_at, count in zip(pairs, values, used, hits, strict=True):
        if value is None:
            continue
        try:
            head = Head.of(value)
            llm_string = store.one(b"HGET", place.strings, b"%d" % head.llm_string_id) or b""
            last_used_at = head.created_at if used_at is None else float(used_at)
            yield stored(digest, value, llm_string.decode("utf-8", "replace"), last_used_at, int(count or 0))
        except CorruptEntryError:
            continue


def models(store: RedisStore, places: Sequence[Partition]) -> list[str]:
    """The models whose answers are there. Raises `CacheError`."""
    store.settle(places)
    named = {look.model for look in looks(store, places, LISTED_BYTES)}
    return [model for model in named if model is not None]


def stats(store: RedisStore, places: Sequence[Partition], now: float) -> StoreStats:
    """How much there is. Raises `CacheError`."""
    entries = sum(count_after_burying(store, places, now))
    totals = store.many([(b"GET", place.total) for place in places])
    expired = store.many([(b"ZCOUNT", place.expires, b"-inf", number(now)) for place in places])
    first = store.many([(b"ZRANGE", place.created, b"0", b"0", b"WITHSCORES") for place in places])
    last = store.many([(b"ZRANGE", place.created, b"-1", b"-1", b"WITHSCORES") for place in places])
    return StoreStats(
        entries=entries,
        size_bytes=sum(int(total or 0) for total in totals),
        expired=sum(expired),
        oldest=min((float(pair[1]) for pair in first if pair), default=None),
        newest=max((float(pair[1]) for pair in last if pair), default=None),
    )


def _kept_order(store: RedisStore, places: Sequence[Partition], query: Query) -> list[Cursor]:
    """Where the entries of a page and one more stand, in an order that Redis keeps."""
    names = [place.created if query.order_by == "created_at" else place.used for place in places]
    cursor = query.cursor
    most = query.limit + 1
    if cursor is None:
        windows = store.many([_window(name, query, None, most) for name in names])
    else:
        own = partition_number(bytes.fromhex(cursor.key))
        # Equal times stand in the order of their digests, and that is the order of the partitions.
        windows = store.many(
            [
                _window(name, query, (cursor.value, index < own if query.descending else index > own), most)
                for index, name in enumerate(names)
            ]
        )
        windows[own] = [*_equal(store, names[own], query, cursor), *windows[own]]
    found: list[tuple[Place, Cursor]] = []
    for window in windows:
        for digest, score in zip(window[::2], window[1::2], strict=True):
            at = Cursor(False, float(score), digest.hex())
            found.append((at.place(descending=query.descending), at))
    return [at for _, at in heapq.nsmallest(most, found)]


def _window(name: bytes, query: Query, after: tuple[float, bool] | None, most: int) -> Command:
    """The command for the first members of a sorted set, or those after a score; `True`: it too."""
    edge = b"+inf" if query.descending else b"-inf"
    if after is not None:
        score, inclusive = after
        edge = number(score) if inclusive else b"(" + number(score)
    how, end = (b"ZREVRANGEBYSCORE", b"-inf") if query.descending else (b"ZRANGEBYSCORE", b"+inf")
    return (how, name, edge, end, b"WITHSCORES", b"LIMIT", b"0", b"%d" % most)


def _equal(store: RedisStore, name: bytes, query: Query, cursor: Cursor) -> list[bytes]:
    """Members with the cursor's own score that come after it, and their score."""
    score, last = number(cursor.value), bytes.fromhex(cursor.key)
    members = store.one(b"ZRANGEBYSCORE", name, score, score)
    following = [member for member in members if (member < last if query.descending else member > last)]
    return [part for member in following for part in (member, score)]


def _by_order(
    store: RedisStore, places: Sequence[Partition], query: Query, now: float
) -> Iterator[tuple[float | None, bytes]]:
    """The value to order by, and the digest, of each entry that matches."""
    found: list[Look] = []
    for look in matching(store, places, query, now):
        found.append(look._replace(value=b""))
        if len(found) == AT_ONCE:
            yield from _order_values(store, places, query, found)
            found = []
    yield from _order_values(store, places, query, found)


def _order_values(
    store: RedisStore, places: Sequence[Partition], query: Query, looks: Sequence[Look]
) -> Iterator[tuple[float | None, bytes]]:
    """What entries are ordered by, and their digests."""
    values: Iterable[float | None]
    pairs = [(places[partition_number(look.digest)], look.digest) for look in looks]
    if query.order_by == "hits":
        hits = store.many([(b"HGET", place.hits, digest) for place, digest in pairs])
        values = [float(count or 0) for count in hits]
    elif query.order_by == "last_used_at":
        used = store.many([(b"ZSCORE", place.used, digest) for place, digest in pairs])
        values = [look.head.created_at if at is None else float(at) for look, at in zip(looks, used, strict=True)]
    elif query.order_by == "size_bytes":
        values = [look.size_bytes for look in looks]
    else:
        values = [getattr(look.head, query.order_by) for look in looks]  # one of `EntryOrder`, which `Query` checked
    return zip(values, (look.digest for look in looks), strict=True)


def _summaries(
    store: RedisStore, places: Sequence[Partition], namespace: str, digests: Iterable[bytes]
) -> list[EntrySummary]:
    """What a list shows of these entries; those that are gone meanwhile, or damaged, are left out."""
    pairs = [(places[partition_number(digest)], digest) for digest in digests]
    end = b"%d" % (LISTED_BYTES - 1)
    values = store.many([(b"GETRANGE", place.entry(digest), b"0", end) for place, digest in pairs])
    sizes = store.many([(b"HGET", place.sizes, digest) for place, digest in pairs])
    used = store.many([(b"ZSCORE", place.used, digest) for place, digest in pairs])
    hits = store.many([(b"HGET", place.hits, digest) for place, digest in pairs])
    found = []
    for (_, digest), value, size, used_at, count in zip(pairs, values, sizes, used, hits, strict=True):
        try:
            head = Head.of(value)
            prompt, answer = head.shown(value) or _shown(head, value)
        except (CorruptEntryError, CacheUnavailableError):
            continue
        found.append(
            EntrySummary(
                key=digest.hex(),
                namespace=namespace,
                prompt=prompt,
                answer=answer,
                model=head.model(value),
                created_at=head.created_at,
                expires_at=head.expires_at,
                last_used_at=head.created_at if used_at is None else float(used_at),
                hits=int(count or 0),
                size_bytes=int(size or 0),
                pinned=head.pinned,
                model_time_s=head.model_time_s,
            )
        )
    return found


def _shown(head: Head, value: bytes) -> tuple[str, str]:
    answer = text_of(value[head.sealed_at + CHECKSUM_BYTES :])
    return shortened(head.prompt(value), SHOWN_PROMPT_LENGTH), shortened(answer, SHOWN_ANSWER_LENGTH)
