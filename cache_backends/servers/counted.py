"""What a scan has found, counted as `tally` gives it, where the server can't do that."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cache_backends.browse import size_class
from cache_backends.records import Tally


class Counted(NamedTuple):
    """What of an entry is counted by. `created_at` is a Unix time in seconds."""

    model: str | None
    is_expired: bool
    created_at: float
    size_bytes: int


def tallied(found: Iterable[Counted], ages: Sequence[float]) -> list[Tally]:
    """Entries by model, state, age and size. `ages` are Unix times in seconds, ascending."""
    counts: Counter[tuple[str | None, bool, int, int]] = Counter()
    sizes: Counter[tuple[str | None, bool, int, int]] = Counter()
    for one in found:
        kind = (one.model, one.is_expired, bisect_right(ages, one.created_at), size_class(one.size_bytes))
        counts[kind] += 1
        sizes[kind] += one.size_bytes
    return [Tally(*kind, entries, sizes[kind]) for kind, entries in counts.items()]
