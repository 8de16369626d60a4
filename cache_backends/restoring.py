"""What an entry must be to be put back: it may come from another store, or from a file that somebody uploaded."""

from __future__ import annotations

import math

from cache_backends import codec
from cache_backends.errors import NotCacheableError
from cache_backends.readable import redact
from cache_backends.records import CacheEntry
from cache_backends.storage import StoredEntry
from cache_backends.worth_keeping import refuse_what_is_not_worth_keeping

LATEST_USE = float(2**33)
"""Unix time (the year 2242) that a file's time of modification can still be."""
MOST_HITS = 10**11 - 1
"""The greatest number that the field of a JSON file has room for."""


def restored(digest: bytes, entry: CacheEntry) -> StoredEntry:
    """The entry as a backend writes it. Raises `NotCacheableError` where it would not come back as it is."""
    refuse_what_is_not_worth_keeping(entry.generations, store_truncated=True)
    codec.refuse_lone_surrogates(entry.raw_prompt, entry.llm_string, entry.model or "")
    times = (entry.created_at, entry.expires_at, entry.last_used_at, entry.model_time_s)
    if not all(time is None or math.isfinite(time) for time in times) or not 0 <= entry.last_used_at <= LATEST_USE:
        raise NotCacheableError("unfaithful", f"the times of the entry are not all times: {times}")
    if not 0 <= entry.hits <= MOST_HITS:
        raise NotCacheableError("unfaithful", f"the entry can't have been used {entry.hits} times")
    return StoredEntry(
        digest=digest,
        payload=codec.encode(entry.generations),
        created_at=entry.created_at,
        expires_at=entry.expires_at,
        model_time_s=entry.model_time_s,
        model=entry.model,
        raw_prompt=entry.raw_prompt,
        llm_string=redact(entry.llm_string),
        last_used_at=entry.last_used_at,
        hits=entry.hits,
        pinned=entry.pinned,
    )
