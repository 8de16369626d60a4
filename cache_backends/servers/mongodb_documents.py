"""Entries to the documents that MongoDB keeps, and documents to what a lookup needs, a list shows, a person reads.

A document's `_id` is text, so that people can type it and every server of MongoDB's protocol can find it: the
namespace's number in 16 hexadecimal digits, then the key. The key is also a field of its own, which breaks ties in an
order. Texts of which there are few (namespaces, parameters) are numbers that refer to the collection of texts.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import UnionType
from typing import Any

from cache_backends.browse import words
from cache_backends.codec import seal, text_of
from cache_backends.errors import CorruptEntryError, NotCacheableError
from cache_backends.readable import (
    SHOWN_ANSWER_LENGTH,
    SHOWN_PROMPT_LENGTH,
    readable_prompt,
    shortened,
    single_message,
)
from cache_backends.records import EntrySummary
from cache_backends.servers.counted import Counted
from cache_backends.storage import Found, StoredEntry
from cache_backends.table_rows import are_finite, found, interned_id, stored

Document = dict[str, Any]

LARGEST_BYTES = 16 * 1024 * 1024
"""What MongoDB allows one document; see "MongoDB Limits and Thresholds" in its manual."""
FIELDS_BYTES = 16 * 1024
"""Left for everything but value, prompt and words: names of fields, numbers, the beginnings that a list shows."""

LEAST_GRACE_S = 60.0
GRACE = 0.1
"""An entry stays at least so long after its end, and this part of its time to live: a lookup then says `expired`."""
LONGEST_S = 100 * 366 * 86_400.0
"""What ends later than this from now MongoDB is not asked to remove."""
NEVER = sys.float_info.max
"""When entries end that have no time to live, or are pinned: no condition has to tell them apart."""

READ = {"_id": 0, "value": 1, "created_at": 1, "expires_at": 1, "pinned": 1, "model_time_s": 1}
"""What a lookup needs."""
SHOWN = {
    "_id": 0,
    "key": 1,
    "created_at": 1,
    "expires_at": 1,
    "last_used_at": 1,
    "hits": 1,
    "size_bytes": 1,
    "model": 1,
    "pinned": 1,
    "model_time_s": 1,
    "shown_prompt": 1,
    "shown_answer": 1,
}
"""What a list shows."""
_SHOWN_TYPES: dict[str, type | UnionType] = {
    "key": str,
    "created_at": int | float,
    "expires_at": int | float | None,
    "last_used_at": int | float,
    "hits": int,
    "size_bytes": int,
    "model": str | None,
    "pinned": bool,
    "model_time_s": int | float | None,
    "shown_prompt": str,
    "shown_answer": str,
}
COUNTED = {"_id": 0, "model": 1, "ends_at": 1, "created_at": 1, "size_bytes": 1}
"""What entries are counted by."""
WHOLE = {"words": 0, "shown_prompt": 0, "shown_answer": 0}
"""What an entry is made of: all but what can be made of that."""


def place(namespace_id: int, key: str) -> str:
    """The `_id` of an entry's document."""
    return f"{namespace_id:016x}{key}"


def document(entry: StoredEntry, namespace: str, now: float) -> Document:
    """An entry as the fields of its document, `_id` not among them. Raises `NotCacheableError` if it is too large.

    `now` is the Unix time by the clock that `expires_at` goes by.
    """
    message = single_message(entry.raw_prompt)
    prompt = readable_prompt(entry.raw_prompt) if message is None else message
    answer = text_of(entry.payload)
    kept_prompt = entry.raw_prompt if message is None else message
    room = LARGEST_BYTES - FIELDS_BYTES - len(entry.payload) - len(kept_prompt.encode())
    if room < 0:
        raise NotCacheableError(
            "too_large", f"the entry has {entry.size_bytes} bytes, and MongoDB keeps none above {LARGEST_BYTES}"
        )
    return {
        "namespace": interned_id(namespace),
        "key": entry.key,
        "created_at": float(entry.created_at),
        "expires_at": _float(entry.expires_at),
        **ending(entry.created_at, entry.expires_at, now, pinned=entry.pinned),
        "model_time_s": _float(entry.model_time_s),
        "pinned": entry.pinned,
        "last_used_at": float(entry.last_used_at),
        "hits": entry.hits,
        "size_bytes": entry.size_bytes,
        "model": entry.model,
        "llm_string": interned_id(entry.llm_string),
        "prompt_is_message": message is not None,
        "prompt": kept_prompt,
        "shown_prompt": shortened(prompt, SHOWN_PROMPT_LENGTH),
        "shown_answer": shortened(answer, SHOWN_ANSWER_LENGTH),
        "words": searchable(prompt, answer, room),
        "revision": random.getrandbits(63),
        "value": seal(entry.key, entry.payload),
    }


def searchable(prompt: str, answer: str, room: int) -> str:
    """The different words of prompt and answer, each after a space; of so many that they fill `room` bytes, the first.

    " prefix" is in it where a word begins with that.
    """
    text = " ".join(["", *dict.fromkeys(words(f"{prompt}\n{answer}"))])
    return text if len(text) * 4 <= room else text.encode()[:room].decode(errors="ignore")


def ending(created_at: float, expires_at: float | None, now: float, *, pinned: bool) -> Document:
    """The fields that follow from the time to live: when an entry ends, and when MongoDB may remove it by itself.

    `remove_at` is a time of day, which `now` need not be.
    """
    if expires_at is None or pinned:
        return {"ends_at": NEVER, "remove_at": None}
    after_s = max(0.0, expires_at - now) + max(LEAST_GRACE_S, GRACE * (expires_at - created_at))
    remove_at = datetime.now(UTC) + timedelta(seconds=after_s) if after_s < LONGEST_S else None
    return {"ends_at": float(expires_at), "remove_at": remove_at}


def found_in(digest: bytes, read: Mapping[str, Any]) -> Found:
    """What a lookup needs of a document of `READ`. Raises `CorruptEntryError`."""
    expires_at = None if read.get("pinned") else read.get("expires_at")
    return found(digest, (read.get("value"), read.get("created_at"), expires_at, read.get("model_time_s")))


def entry_in(read: Mapping[str, Any], llm_string: str) -> StoredEntry:
    """The entry in a document of `WHOLE`. Raises `CorruptEntryError`."""
    try:
        digest = bytes.fromhex(read["key"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptEntryError(f"the key is not a key: {error}") from error
    return stored(
        (
            0,
            digest,
            read.get("created_at"),
            read.get("expires_at"),
            read.get("model_time_s"),
            read.get("last_used_at"),
            read.get("hits"),
            _to_bytes(read.get("model")),
            llm_string.encode(),
            read.get("prompt_is_message"),
            _to_bytes(read.get("prompt")),
            read.get("value"),
            read.get("pinned"),
        )
    )


def summary_in(read: Mapping[str, Any], namespace: str) -> EntrySummary:
    """What a list shows of a document of `SHOWN`. Raises `CorruptEntryError` where a field is missing or wrong."""
    for name, kind in _SHOWN_TYPES.items():
        if not isinstance(read.get(name, ...), kind):
            raise CorruptEntryError(f"{name} is missing or holds the wrong type")
    if not are_finite(read["created_at"], read["expires_at"], read["last_used_at"], read["model_time_s"]):
        raise CorruptEntryError("a time is none")
    return EntrySummary(
        key=read["key"],
        namespace=namespace,
        prompt=read["shown_prompt"],
        answer=read["shown_answer"],
        model=read["model"],
        created_at=read["created_at"],
        expires_at=read["expires_at"],
        last_used_at=read["last_used_at"],
        hits=int(read["hits"]),
        size_bytes=int(read["size_bytes"]),
        pinned=read["pinned"],
        model_time_s=read["model_time_s"],
    )


def counted_in(read: Mapping[str, Any], now: float) -> Counted:
    """What a document of `COUNTED` is counted by. Raises `CorruptEntryError` where a field is missing or wrong."""
    for name in ("model", "created_at", "size_bytes"):
        if not isinstance(read.get(name, ...), _SHOWN_TYPES[name]):
            raise CorruptEntryError(f"{name} is missing or holds the wrong type")
    if not are_finite(read["created_at"]):
        raise CorruptEntryError("a time is none")
    ends_at = read.get("ends_at")
    is_expired = isinstance(ends_at, int | float) and ends_at <= now
    return Counted(read["model"], is_expired, read["created_at"], int(read["size_bytes"]))


def whole(number: object) -> int:
    """A number that somebody else may have put there, 0 where it is none."""
    return int(number) if isinstance(number, int | float) and math.isfinite(number) else 0


def _float(number: float | None) -> float | None:
    return None if number is None else float(number)


def _to_bytes(text: object) -> object:
    return text.encode() if isinstance(text, str) else text
