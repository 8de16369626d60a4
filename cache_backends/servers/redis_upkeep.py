"""Keeping a `RedisCache` in order, by short scripts: writing uses, evicting, removing what has expired, clearing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cache_backends.errors import CacheUnavailableError, CorruptEntryError
from cache_backends.servers.redis_keys import (
    Partition,
    namespace_number,
    numbered_partitions,
    partition_number,
    partitions,
)
from cache_backends.servers.redis_names import drop_names, named
from cache_backends.servers.redis_scripts import CLEAR, REMOVE, USE
from cache_backends.servers.redis_session import number
from cache_backends.servers.redis_store import RedisStore
from cache_backends.servers.redis_values import FLAGS_AT, HEAD_BYTES, Head, is_pinned
from cache_backends.servers.redis_wire import Command

USES_AT_ONCE = 500
CLEARED_AT_ONCE = 50
"""Entries that one script removes: about half a millisecond of the server."""
LOOKED_AT = 100
"""Entries of each partition that are looked at in one go."""


def write_uses(store: RedisStore, prefix: str) -> None:
    """Write all uses that are noted so far. Raises `CacheError`."""
    while some := store.uses.take(USES_AT_ONCE):
        values: dict[Partition, list[bytes]] = defaultdict(list)
        for (namespace, digest), count, used_at in some:
            place = partitions(prefix, namespace)[partition_number(digest)]
            values[place] += [digest, b"%d" % count, number(used_at)]
        try:
            store.many([USE.call(place.about, *of_place) for place, of_place in values.items()])
        except BaseException:
            store.uses.put_back(some)
            raise


def clear(store: RedisStore, prefix: str, namespace: str) -> None:
    """Remove all entries of a namespace, and its name. Raises `CacheError`."""
    left = list(partitions(prefix, namespace))
    while left:
        counts = store.many(
            [CLEAR.call((*place.about, place.strings, place.damaged), b"%d" % CLEARED_AT_ONCE) for place in left]
        )
        left = [place for place, count in zip(left, counts, strict=True) if count == CLEARED_AT_ONCE]
    drop_names(store, prefix, {namespace_number(namespace): namespace.encode()})


def purge(store: RedisStore, places: Sequence[Partition], now: float) -> int:
    """Remove the entries that have expired at the Unix time `now`; how many. Raises `CacheError`."""
    store.settle(places)
    return sum(_purge(store, place, now) for place in places)


def _purge(store: RedisStore, place: Partition, now: float) -> int:
    purged: int = 0
    kept = 0
    while True:
        window = (b"LIMIT", b"%d" % kept, b"%d" % LOOKED_AT)
        digests = store.one(b"ZRANGEBYSCORE", place.expires, b"-inf", number(now), *window)
        heads = store.many([(b"GETRANGE", place.entry(digest), b"0", b"%d" % (HEAD_BYTES - 1)) for digest in digests])
        over = [(digest, head) for digest, head in zip(digests, heads, strict=True) if not head or _is_over(head, now)]
        removed = store.many([_remove(place, digest, head=head) for digest, head in over])
        purged += sum(removed)
        gone = sum(was_removed or not head for was_removed, (_, head) in zip(removed, over, strict=True))
        kept += len(digests) - gone
        if len(digests) < LOOKED_AT:
            return purged


def _is_over(head: bytes, now: float) -> bool:
    try:
        return Head.of(head).is_over(now)
    except (CorruptEntryError, CacheUnavailableError):
        return False  # a lookup will set it aside, or say so


class _Candidate(NamedTuple):
    used_at: float
    place: int
    digest: bytes
    written: bytes
    """`used_at` as Redis said it."""


def evict(store: RedisStore, prefix: str) -> int:
    """Remove the least recently used entries until both limits are kept; how many. Raises `CacheError`."""
    places, entries = _with_entries(store, prefix)
    limits = store.limits
    size_bytes = sum(int(total or 0) for total in store.many([(b"GET", place.total) for place in places]))
    pinned = [0] * len(places)
    evicted = 0
    while entries > limits.max_entries or size_bytes > limits.max_bytes:
        candidates = _least_recently_used(store, places, pinned)
        if not candidates:
            break  # what is left is pinned
        sizes = store.many([(b"HGET", places[one.place].sizes, one.digest) for one in candidates])
        at = b"%d" % FLAGS_AT
        flags = store.many([(b"GETRANGE", places[one.place].entry(one.digest), at, at) for one in candidates])
        commands: list[Command] = []
        for one, size, flag in zip(candidates, sizes, flags, strict=True):
            if entries <= limits.max_entries and size_bytes <= limits.max_bytes:
                break
            if is_pinned(flag):
                pinned[one.place] += 1
                continue
            commands.append(_remove(places[one.place], one.digest, used_at=one.written))
            entries, size_bytes = entries - 1, size_bytes - int(size or 0)
        evicted += sum(store.many(commands))
    return evicted


def _with_entries(store: RedisStore, prefix: str) -> tuple[list[Partition], int]:
    """The partitions of all namespaces that have entries, and how many these are; the names of others are dropped."""
    names = named(store, prefix)
    of_each = {number: numbered_partitions(prefix, number) for number in names}
    places = [place for own in of_each.values() for place in own]
    store.settle(places)
    counts = dict(zip(places, store.many([(b"ZCARD", place.created) for place in places]), strict=True))
    empty = {number for number, own in of_each.items() if not any(counts[place] for place in own)}
    drop_names(store, prefix, {number: names[number] for number in empty})
    kept = [place for number, own in of_each.items() if number not in empty for place in own]
    return kept, sum(counts.values())


def _least_recently_used(store: RedisStore, places: Sequence[Partition], pinned: Sequence[int]) -> list[_Candidate]:
    """Some entries, the least recently used of all first; of each partition without the pinned ones seen before."""
    windows = store.many(
        [
            (b"ZRANGE", place.used, b"%d" % skipped, b"%d" % (skipped + LOOKED_AT - 1), b"WITHSCORES")
            for place, skipped in zip(places, pinned, strict=True)
        ]
    )
    found = [
        _Candidate(float(score), index, digest, score)
        for index, window in enumerate(windows)
        for digest, score in _pairs(window)
    ]
    # What lies beyond a full window is not known, so that nothing used later than its end may be taken yet.
    known_until = min((float(window[-1]) for window in windows if len(window) == 2 * LOOKED_AT), default=float("inf"))
    return sorted(one for one in found if one.used_at <= known_until)


def _pairs(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _remove(place: Partition, digest: bytes, *, head: bytes = b"", used_at: bytes = b"") -> Command:
    return REMOVE.call((*place.about, place.entry(digest)), digest, head, used_at)
