"""`EntryFilter`: which entries of a cache are meant, by those who list, export or remove them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from cache_backends.records import EntryState


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """What entries must have, as `CacheBackend.entries` understands it; without anything, all are meant."""

    search: str = ""
    model: str | None = None
    state: EntryState = "any"
    created_from: float | None = None
    """Unix time in seconds; that one is meant too."""
    created_before: float | None = None
    min_bytes: int | None = None
    below_bytes: int | None = None

    @property
    def query(self) -> dict[str, Any]:
        """For `entries(**query)`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
