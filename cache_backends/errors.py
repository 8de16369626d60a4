"""What can go wrong with a cache, as exceptions whose text a person can act on."""

from __future__ import annotations

from cache_backends.records import Refusal


class CacheError(Exception):
    """Any failure of a cache; raised to the caller only where `strict=True` or where a person asked."""


class CacheConfigError(CacheError, ValueError):
    """A URL, path or option that can't be used as given: says what was wrong and what is allowed."""


class CacheUnavailableError(CacheError):
    """The store can't be reached or used now (locked, full, closed, no permission); trying again may help."""


class CacheUnreachableError(CacheUnavailableError):
    """The server that holds the store does not answer, or lets nobody in; it is left alone for a while."""


class CorruptEntryError(CacheError):
    """One stored entry can't be decoded, fails its checksum or belongs to another key."""


class NotCacheableError(CacheError):
    """An answer that would not come back equal, or is not worth keeping; `reason` says which."""

    def __init__(self, reason: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class FlightTimeoutError(CacheError, TimeoutError):
    """An equal call was in flight and took longer than one wanted to wait for it; it goes on."""
