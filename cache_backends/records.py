"""The records that a cache hands out: one lookup, one store, entries, pages of entries, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from langchain_core.outputs import Generation

Outcome = Literal["hit", "miss", "expired", "corrupt", "error"]
"""How one lookup ended. Only `hit` returns an answer."""

Refusal = Literal["empty", "truncated", "unfaithful", "too_large", "error"]
"""Why an answer was not stored: nothing in it, cut off by length, would not come back equal, larger than all of the
cache may be, the store failed."""

Durability = Literal["process", "disk", "every_write", "every_second", "snapshots", "nothing", "unknown"]
"""What of a store is there again after a crash of what keeps it: nothing outside this process; all but perhaps the
last moments before a power cut; every store; all but the last second; what the last snapshot held; nothing; unknown."""

EntryState = Literal["any", "live", "expired"]
EntryOrder = Literal["created_at", "last_used_at", "hits", "size_bytes", "expires_at", "model_time_s"]


@dataclass(frozen=True, slots=True)
class Lookup:
    """One lookup, as `CacheBackend.observe` notes it. Times in seconds."""

    outcome: Outcome
    key: str | None
    """Hexadecimal SHA-256 of the request; None only where the key itself could not be computed."""
    elapsed_s: float
    age_s: float | None = None
    """How long ago the entry was stored, for `hit` and `expired`."""
    expired_for_s: float | None = None
    """How long ago the entry ended, for `expired`."""
    model_time_s: float | None = None
    """How long the model took when the entry was made: what a hit saves."""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """One attempt to store an answer, as `CacheBackend.observe` notes it."""

    key: str | None
    stored: bool
    elapsed_s: float
    refusal: Refusal | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySummary:
    """One stored answer as a list shows it. Times are Unix times in seconds by the backend's clock."""

    key: str
    namespace: str
    prompt: str
    """As a person wrote it, shortened."""
    answer: str
    """Its beginning."""
    model: str | None
    created_at: float
    expires_at: float | None
    last_used_at: float
    hits: int
    size_bytes: int
    """Bytes of prompt, parameters and answer as stored."""
    pinned: bool = False
    model_time_s: float | None = None

    def is_expired(self, now: float) -> bool:
        """Whether the entry's time to live is over at the Unix time `now`."""
        return self.expires_at is not None and self.expires_at <= now and not self.pinned


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry(EntrySummary):
    """One stored answer, whole, for a person to read."""

    raw_prompt: str
    """The prompt as LangChain passed it."""
    llm_string: str
    """The model's parameters as LangChain passed them, secrets redacted."""
    text: str
    generations: Sequence[Generation]
    location: str
    """Where it lies: a file path, a table row, a server key."""


@dataclass(frozen=True, slots=True)
class EntryPage:
    """One page of entries. `next` is the cursor of the page after it, None on the last one."""

    entries: Sequence[EntrySummary]
    next: str | None
    total: int
    total_is_estimate: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of the entries that match are alike in these four."""

    model: str | None
    is_expired: bool
    age: int
    """How many of the times asked for they were created at or after: 0 for the oldest."""
    size: int
    """How many of `browse.SIZE_MARKS` they have at least: 0 for the smallest."""
    entries: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Size of one namespace of a store. `oldest` and `newest` are Unix times of storing, None when empty."""

    entries: int
    size_bytes: int
    expired: int
    oldest: float | None
    newest: float | None


@dataclass(frozen=True, slots=True)
class StoreAbout:
    """What keeps a store, as it says itself: "PostgreSQL", "15.18", and what of it survives a crash."""

    product: str
    version: str
    durability: Durability
    detail: str = ""
    """What its durability is read from, such as Redis's settings "appendfsync everysec"."""
