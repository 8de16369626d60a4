"""Entries of a cache as a file of lines, one entry each, that `lab.importing` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cache_backends import CacheBackend, EntrySummary
from cache_backends.errors import NotCacheableError
from lab.entry_filter import EntryFilter
from lab.transfer_format import line_of

ENTRIES_A_PAGE = 500
MOST_AT_ONCE = 100
"""Entries that are whole in memory at once."""
MOST_BYTES_AT_ONCE = 8_000_000
"""Or their bytes, unless one alone has more."""
ALL = EntryFilter()


@dataclass(frozen=True, slots=True)
class Exporting:
    """How far an export is."""

    written: int
    left_out: int
    """Entries that were listed and then gone, or that are damaged."""
    of: int
    """How many there are to write, as far as is known."""


def export_lines(
    cache: CacheBackend,
    chosen: EntryFilter = ALL,
    *,
    show: Callable[[Exporting], object] = lambda _: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[bytes]:
    """A line for each entry of this namespace that is chosen, the oldest first; after `stopping`, no more of them.

    A few entries are in memory at a time, however many there are. What is stored, replaced or removed meanwhile may be
    among them or not; whatever is, is whole. Raises `CacheError`, and ValueError for a filter that is not allowed.
    """
    written = left_out = 0
    try:
        for page, of in _pages(cache, chosen, stopping):
            for some in _in_groups(page):
                entries = cache.get_many([summary.key for summary in some])
                left_out += len(some) - len(entries)
                while entries:
                    _end_if(stopping)
                    try:
                        line = line_of(entries.pop(0))
                    except NotCacheableError:
                        left_out += 1
                        continue
                    written += 1
                    yield line
            show(Exporting(written, left_out, of))
    except _StoppedError:
        return


class _StoppedError(Exception):
    """Ends a search in the middle."""


def _end_if(stopping: Callable[[], bool]) -> None:
    if stopping():
        raise _StoppedError


def _pages(
    cache: CacheBackend, chosen: EntryFilter, stopping: Callable[[], bool]
) -> Iterator[tuple[Sequence[EntrySummary], int]]:
    """The chosen entries, page by page, and how many there are in all."""
    after = None
    while True:
        _end_if(stopping)
        page = cache.entries(
            **chosen.query,
            order_by="created_at",
            descending=False,
            limit=ENTRIES_A_PAGE,
            after=after,
            up_to_date=after is None,  # once is enough
            progress=lambda looked_at, of: _end_if(stopping),  # noqa: ARG005  # it is asked whether, not told how far
        )
        yield page.entries, page.total
        if page.next is None:
            return
        after = page.next


def _in_groups(page: Sequence[EntrySummary]) -> Iterator[Sequence[EntrySummary]]:
    """So many entries at a time as may be whole in memory at once."""
    group: list[EntrySummary] = []
    size_bytes = 0
    for summary in page:
        if group and (len(group) >= MOST_AT_ONCE or size_bytes + summary.size_bytes > MOST_BYTES_AT_ONCE):
            yield group
            group, size_bytes = [], 0
        group.append(summary)
        size_bytes += summary.size_bytes
    if group:
        yield group
