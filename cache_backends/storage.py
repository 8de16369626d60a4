"""What a backend adds to `CacheBackend`: where entries lie, and the records that go there and come back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from cache_backends.browse import Progress, Query, Row, page, tally
from cache_backends.records import CacheEntry, EntryPage, StoreAbout, StoreStats, Tally


class Found(NamedTuple):
    """What a backend reads for a lookup: the parsed JSON of the generations, and its times (Unix, seconds).

    `expires_at` is None for what never expires, pinned entries among it.
    """

    answers: object
    created_at: float
    expires_at: float | None
    model_time_s: float | None


class StoredEntry(NamedTuple):
    """An entry as a backend writes it and reads it back whole. `payload` is the JSON of the generations, not sealed."""

    digest: bytes
    payload: bytes
    created_at: float
    expires_at: float | None
    model_time_s: float | None
    model: str | None
    raw_prompt: str
    llm_string: str
    last_used_at: float
    hits: int = 0
    pinned: bool = False

    @property
    def key(self) -> str:
        """The digest in hexadecimal, as people see it."""
        return self.digest.hex()

    @property
    def size_bytes(self) -> int:
        """Bytes of prompt, parameters and answer; what the store itself adds is not among them."""
        return len(self.payload) + len(self.raw_prompt.encode()) + len(self.llm_string.encode())

    def is_over(self, now: float) -> bool:
        """Whether its time to live is over at the Unix time `now`."""
        return self.expires_at is not None and self.expires_at <= now and not self.pinned


class Storage(ABC):
    """The methods a backend consists of. A digest is the 32 bytes of a key; the namespace is that of the view."""

    @abstractmethod
    def _read(self, digest: bytes) -> Found | None:
        """What is stored under a key, expired or not. Raises `CorruptEntryError`."""

    @abstractmethod
    def _write(self, entry: StoredEntry) -> None:
        """Store an entry as it is, replacing the one with its key, and keep the store within its limits.

        What is larger than the whole store may be, by the bytes that its limit counts, is refused at once:
        `CacheBackend._refuse_too_large`.
        """

    def _put_back(self, entry: StoredEntry) -> None:
        """`_write` an entry that was last used some time ago."""
        self._write(entry)

    def _use_at(self, now: float) -> float:
        """When a use of the Unix time `now` is said to have been, where the order of uses is kept by their times."""
        return now

    @abstractmethod
    def _record_use(self, digest: bytes, now: float) -> None:
        """Note a hit without writing synchronously."""

    @abstractmethod
    def _set_aside(self, digest: bytes) -> None:
        """Move an entry to where no lookup finds it, if it is still damaged."""

    @abstractmethod
    def _delete(self, digest: bytes) -> bool:
        """Remove one entry; whether it was there."""

    def _delete_many(self, digests: Sequence[bytes]) -> int:
        """Remove entries; how many of them were there."""
        return sum(map(self._delete, digests))

    @abstractmethod
    def _set_expiry(self, digest: bytes, expires_at: float | None) -> bool:
        """Let one entry expire at a Unix time, or never; whether it was there."""

    @abstractmethod
    def _set_pinned(self, digest: bytes, *, pinned: bool) -> bool:
        """Pin or unpin one entry; whether it was there."""

    @abstractmethod
    def _purge(self, now: float) -> int:
        """Remove what has expired at the Unix time `now`, in small steps; how many entries that were."""

    @abstractmethod
    def _clear(self) -> None:
        """Remove all entries of the namespace."""

    @abstractmethod
    def _entry(self, digest: bytes) -> CacheEntry | None:
        """One entry, whole; None where it is missing or damaged."""

    def _entries(self, digests: Sequence[bytes]) -> list[CacheEntry]:
        """Several entries, whole, in this order, without what is missing or damaged. One by one, unless the store can
        do better.
        """
        return [entry for digest in digests if (entry := self._entry(digest)) is not None]

    @abstractmethod
    def _rows(self) -> Iterator[Row]:
        """Every readable entry of the namespace, in any order, while others go on storing."""

    def _page(self, query: Query, now: float) -> EntryPage:
        """One page of entries. By looking at every one of them, unless the store can do better."""
        return page(self._rows(), query, now)

    def _tally(self, query: Query, ages: Sequence[float], now: float) -> Sequence[Tally]:
        """What matches, by model, state, age and size. By looking at every entry, unless the store can do better."""
        return tally(self._rows(), query, ages, now)

    def _index(self, progress: Progress, *, only_new: bool) -> None:  # noqa: B027  # most stores have none
        """Bring the index for browsing up to date. Raises `CacheError`, and what `progress` raises."""

    def _models(self) -> Iterable[str]:
        """The models whose answers the namespace holds, in any order."""
        return {row.summary.model for row in self._rows() if row.summary.model is not None}

    def _stats(self, now: float) -> StoreStats:
        """How much the namespace holds at the Unix time `now`."""
        summaries = [row.summary for row in self._rows()]
        created = [summary.created_at for summary in summaries]
        return StoreStats(
            entries=len(summaries),
            size_bytes=sum(summary.size_bytes for summary in summaries),
            expired=sum(summary.is_expired(now) for summary in summaries),
            oldest=min(created, default=None),
            newest=max(created, default=None),
        )

    @abstractmethod
    def _namespaces(self) -> Sequence[str]:
        """The namespaces that hold entries."""

    @abstractmethod
    def _about(self) -> StoreAbout:
        """What keeps the store."""

    @abstractmethod
    def _close(self) -> None:
        """Give back what the store holds open. Idempotent."""
