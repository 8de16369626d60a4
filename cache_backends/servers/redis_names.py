"""The names of namespaces: kept as long as there are entries, so that looking at all of them stays short.

In a cluster, names and entries lie in different slots: no script changes both. A name is removed first, and then it is
looked whether entries have come meanwhile: if so, it is put back. Whoever stores the first entry of a partition names
the namespace before and after. So whichever of both comes last, entries have a name.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping

from cache_backends.errors import CacheUnavailableError
from cache_backends.servers.redis_keys import namespaces_key, numbered_partitions
from cache_backends.servers.redis_scripts import TIDY
from cache_backends.servers.redis_store import RedisStore

DROPPED_AT_ONCE = 16
"""Names that are missing at the same time, for the millisecond that looking for entries takes."""
_NUMBER = re.compile(rb"[0-9a-f]{16}")


def named(store: RedisStore, prefix: str) -> dict[str, bytes]:
    """The names of all namespaces by their number, without what somebody else wrote there. Raises `CacheError`."""
    flat = store.one(b"HGETALL", namespaces_key(prefix))
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {number.decode(): name for number, name in pairs if _NUMBER.fullmatch(number)}


def namespaces(store: RedisStore, prefix: str) -> list[str]:
    """The namespaces that hold entries. Raises `CacheError`."""
    names = named(store, prefix)
    places = [place for number in names for place in numbered_partitions(prefix, number)]
    replies = iter(store.many([(b"EXISTS", place.created, place.noted) for place in places]))
    counts = {number: sum(next(replies) for _ in numbered_partitions(prefix, number)) for number in names}
    with contextlib.suppress(CacheUnavailableError):  # a replica, say: what was found is no less right
        drop_names(store, prefix, {number: name for number, name in names.items() if not counts[number]})
    return [name.decode("utf-8", "replace") for number, name in names.items() if counts[number]]


def drop_names(store: RedisStore, prefix: str, names: Mapping[str, bytes]) -> None:
    """Remove the names of namespaces that were found empty, unless they are so no longer. Raises `CacheError`."""
    left = list(names)
    while left:
        some, left = left[:DROPPED_AT_ONCE], left[DROPPED_AT_ONCE:]
        places = [numbered_partitions(prefix, number) for number in some]
        # The first command goes to its node first.
        _, *counts = store.many(
            [
                (b"HDEL", namespaces_key(prefix), *(number.encode() for number in some)),
                *(TIDY.call((*place.about, place.strings)) for of_one in places for place in of_one),
            ]
        )
        replies = iter(counts)
        again = [number for number, of_one in zip(some, places, strict=True) if sum(next(replies) for _ in of_one)]
        if again:
            pairs = [part for number in again for part in (number.encode(), names[number])]
            store.one(b"HSET", namespaces_key(prefix), *pairs)
