"""What a cache does with MongoDB's collections for people and for upkeep: one function for what is done in one go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import pymongo

from cache_backends.browse import LOOKED_AT_A_TIME, Progress, Query
from cache_backends.errors import CorruptEntryError
from cache_backends.fresh_objects import generations_from
from cache_backends.records import StoreStats
from cache_backends.servers.counted import Counted
from cache_backends.servers.mongodb_collections import Collections
from cache_backends.servers.mongodb_documents import COUNTED, SHOWN, Document, counted_in, ending, found_in, whole
from cache_backends.servers.mongodb_queries import LEAST_NUMBER, Condition, over, parts_of_page

DAMAGED_KEPT = 100
TRIES = 3
"""How often a change begins anew that others have crossed."""


def move_if_damaged(collections: Collections, where: Condition, digest: bytes, now: float) -> None:
    """Move an entry to the damaged ones, unless somebody has stored a new answer meanwhile."""
    read = collections.counted.find_one(where)
    if read is None:
        return
    try:
        generations_from(found_in(digest, read).answers)
    except CorruptEntryError:
        kept = {"found_at": now, **{name: read.get(name) for name in ("namespace", "key", "value")}}
    else:
        return
    collections.damaged.update_one(where, {"$set": kept}, upsert=True)
    collections.counted.delete_one(where | {"revision": {"$eq": read.get("revision")}})
    for oldest in collections.damaged.find({}, {"found_at": 1}, sort=[("found_at", -1)], skip=DAMAGED_KEPT, limit=1):
        collections.damaged.delete_many({"found_at": {"$lte": oldest["found_at"]}})


def set_expiry(collections: Collections, where: Condition, expires_at: float | None, now: float) -> bool:
    """Let an entry expire, or never; whether it was there."""
    ends = ending(now, expires_at, now, pinned=False)
    for pinned in (False, True, False):  # again: it may have been let go in between
        fields = {"expires_at": expires_at} | ({} if pinned else ends)
        if collections.counted.update_one(where | {"pinned": {"$eq": pinned}}, {"$set": fields}).matched_count:
            return True
    return False


def pin(collections: Collections, where: Condition, now: float) -> bool:
    """Keep an entry; whether it was there."""
    fields = {"pinned": True, **ending(now, None, now, pinned=True)}
    return collections.counted.update_one(where, {"$set": fields}).matched_count > 0


def let_go(collections: Collections, where: Condition, now: float) -> bool:
    """Let an entry expire and be evicted again; whether it was there."""
    for _ in range(TRIES):
        read = collections.counted.find_one(where, {"created_at": 1, "expires_at": 1})
        if read is None:
            return False
        created_at, expires_at = read.get("created_at"), read.get("expires_at")
        ends_at = expires_at if isinstance(expires_at, int | float) else None
        since = created_at if isinstance(created_at, int | float) else now
        fields = {"pinned": False, **ending(since, ends_at, now, pinned=False)}
        as_read = {"expires_at": {"$eq": expires_at}}
        if collections.counted.update_one(where | as_read, {"$set": fields}).matched_count:
            return True
    return False


def with_texts(collections: Collections, found: Sequence[Document]) -> list[tuple[Document, str]]:
    """Documents, each with the parameters that it refers to by number."""
    numbers = [number if isinstance(number := read.get("llm_string"), int) else None for read in found]
    texts = dict(_texts(collections, list(set(numbers) - {None})))
    return [(read, texts.get(number, "")) for read, number in zip(found, numbers, strict=True)]


CREATED = {"_id": 0, "created_at": 1}
TIME_OF_STORING = {"created_at": {"$gte": LEAST_NUMBER, "$lte": -LEAST_NUMBER}}
"""What is no number is no time."""


def page(collections: Collections, query: Query, matches: Condition) -> tuple[list[Document], int]:
    """The documents that follow the cursor, one more than a page where there are so many; and how many match in all."""
    entries, wanted = collections.counted, query.limit + 1
    found: list[Document] = []
    for condition, order in parts_of_page(query, matches):
        rest = wanted - len(found)
        if rest:
            found += entries.find(condition, SHOWN, sort=order, limit=rest, batch_size=rest)
    if query.cursor is None and len(found) < wanted:
        return found, len(found)  # all there are, without looking at every document again
    return found, entries.database.command("count", entries.name, query=matches)["n"]


def counted(collections: Collections, matches: Condition, now: float, progress: Progress) -> Iterator[Counted]:
    """What is counted of each document that matches. Raises what `progress` raises.

    Grouped here and not by the server: some that speak MongoDB's protocol group by no more than one field, and say
    nothing of it.
    """
    for looked_at, read in enumerate(collections.counted.find(matches, COUNTED), 1):
        if looked_at % LOOKED_AT_A_TIME == 0:
            progress(looked_at, None)
        with contextlib.suppress(CorruptEntryError):
            yield counted_in(read, now)


def stats(collections: Collections, here: Condition, now: float) -> StoreStats:
    """How much there is that meets a condition."""
    entries = collections.counted
    expired = entries.database.command("count", entries.name, query=here | over(now))["n"]
    group = {
        "_id": None,
        "entries": {"$sum": 1},
        "size_bytes": {"$sum": "$size_bytes"},
    }
    # Not by `$min` and `$max`: the index has them at its ends, and what speaks MongoDB's protocol may round them.
    oldest, newest = (
        next((found["created_at"] for found in entries.find(here | TIME_OF_STORING, CREATED, sort=age, limit=1)), None)
        for age in ([("created_at", 1)], [("created_at", -1)])
    )
    for of_all in entries.aggregate([{"$match": here}, {"$group": group}]):
        count, size_bytes = int(of_all["entries"]), whole(of_all["size_bytes"])
        return StoreStats(count, size_bytes, min(expired, count), oldest, newest)
    return StoreStats(0, 0, 0, None, None)


def namespaces(collections: Collections) -> list[str]:
    """The namespaces that hold entries."""
    numbers = collections.counted.distinct("namespace")
    return [text for _, text in _texts(collections, numbers)]


def _texts(collections: Collections, numbers: Sequence[object]) -> Iterator[tuple[int | None, str]]:
    """The texts with these numbers."""
    for read in collections.texts.find({"_id": {"$in": numbers}}) if numbers else ():
        text = read.get("content")
        if isinstance(text, str):
            yield read["_id"], text


def measured(collections: Collections) -> tuple[int, int]:
    """Entries and bytes of all namespaces."""
    group = {"_id": None, "entries": {"$sum": 1}, "size_bytes": {"$sum": "$size_bytes"}}
    for of_all in collections.counted.aggregate([{"$group": group}]):
        return int(of_all["entries"]), whole(of_all["size_bytes"])
    return 0, 0


def least_recently_used(collections: Collections, most: int) -> list[Document]:
    """Some entries of all namespaces that are not pinned, those first that were used longest ago."""
    fields = {"last_used_at": 1, "size_bytes": 1}
    order = [("last_used_at", 1), ("_id", 1)]
    return list(collections.counted.find({"pinned": {"$eq": False}}, fields, sort=order, limit=most))


def evict(collections: Collections, victims: Sequence[Document]) -> int:
    """Remove entries that were neither used nor pinned since they were read; how many."""
    unused = [{name: {"$eq": read.get(name)} for name in ("_id", "last_used_at")} for read in victims]
    deletions = [pymongo.DeleteOne(where | {"pinned": {"$eq": False}}) for where in unused]
    return collections.counted.bulk_write(deletions, ordered=False).deleted_count


def remove(collections: Collections, condition: Condition) -> int:
    """Remove what meets a condition; how many entries that were."""
    return collections.counted.delete_many(condition).deleted_count


def note_uses(collections: Collections, uses: Sequence[tuple[str, int, float]]) -> None:
    """Add uses to entries that are still there: `_id`, how many, Unix time of the last."""
    changes = [
        pymongo.UpdateOne({"_id": place}, {"$inc": {"hits": count}, "$max": {"last_used_at": float(used_at)}})
        for place, count, used_at in uses
    ]
    collections.counted.bulk_write(changes, ordered=False)


def step(
    collections: Collections, condition: Condition, fields: dict[str, int], after: str, end: str, most: int
) -> list[Document]:
    """Some documents with an `_id` from `after` up to `end` that meet a condition, in the order of their `_id`.

    By bounds of the index: a condition on a range of `_id` makes the simplest servers read everything.
    """
    found = collections.counted.find(condition, fields, sort=[("_id", 1)], limit=most, batch_size=most)
    return list(found.hint([("_id", 1)]).min([("_id", after)]).max([("_id", end)]))
