"""`IndexedBrowsing`: how a store that can't find and order entries by itself lists them by an index beside it."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from cache_backends.browsable import Browsable
from cache_backends.browse import Progress, Query
from cache_backends.browse_index import BrowseIndex
from cache_backends.errors import CacheError
from cache_backends.index_queries import Reader, can_find
from cache_backends.records import EntryPage, EntrySummary, Tally
from cache_backends.table_rows import interned_id

logger = logging.getLogger("cache_backends")
Result = TypeVar("Result")


class IndexedBrowsing(Browsable):
    """Finds entries by the index. What it shows of them is read from the store itself, so that it is true.

    Where the index can't be used (a full disk, a folder that can't be written), every entry is looked at instead.
    """

    namespace: str

    def _page(self, query: Query, now: float) -> EntryPage:
        if query.finds_nothing:
            return EntryPage([], None, 0)
        by_looking = super()._page
        return self._with_index(
            query, lambda index: self._indexed_page(index, query, now), lambda: by_looking(query, now)
        )

    def _tally(self, query: Query, ages: Sequence[float], now: float) -> Sequence[Tally]:
        if query.finds_nothing:
            return []
        by_looking = super()._tally
        return self._with_index(
            query,
            lambda index: self._read_index(index, now, lambda reader: reader.tally(query, ages)),
            lambda: by_looking(query, ages, now),
        )

    def _models(self) -> Iterable[str]:
        by_looking = super()._models
        return self._with_index(
            Query(), lambda index: self._read_index(index, 0.0, lambda reader: reader.models()), by_looking
        )

    def _index(self, progress: Progress, *, only_new: bool) -> None:
        index = self._browse_index()
        with index.to_bring_up_to_date():
            self._update_index(index, progress, only_new=only_new)

    def _indexed_page(self, index: BrowseIndex, query: Query, now: float) -> EntryPage:
        while True:
            with index.file.reading() as connection:
                reader = Reader(connection, interned_id(self.namespace), now, index.memo)
                total = reader.total(query)
                found = reader.page(query, total)
            shown = self._summaries([bytes.fromhex(one.key) for one in found[: query.limit]])
            after = str(found[query.limit - 1]) if len(found) > query.limit else None
            if shown or after is None:
                return EntryPage(shown, after, total)
            query = replace(query, after=after)  # all of them have been removed since

    def _read_index(self, index: BrowseIndex, now: float, read: Callable[[Reader], Result]) -> Result:
        with index.file.reading() as connection:
            return read(Reader(connection, interned_id(self.namespace), now, index.memo))

    def _with_index(
        self, query: Query, operation: Callable[[BrowseIndex], Result], otherwise: Callable[[], Result]
    ) -> Result:
        if not can_find(query):
            return otherwise()
        try:
            index = self._browse_index()
            if query.up_to_date:
                self._index(query.progress, only_new=False)
            return operation(index)
        except CacheError as error:
            logger.warning("the index for browsing can't be used, every entry is looked at instead: %s", error)
            return otherwise()

    @abstractmethod
    def _browse_index(self) -> BrowseIndex:
        """The index of the store, made when first asked for. Raises `CacheError`."""

    @abstractmethod
    def _update_index(self, index: BrowseIndex, progress: Progress, *, only_new: bool) -> None:
        """Bring the index up to date, for the only thread that does so. Raises `CacheError`.

        With `only_new` it may leave out what takes as long as there are entries.
        """

    @abstractmethod
    def _summaries(self, digests: Sequence[bytes]) -> Sequence[EntrySummary]:
        """What a list shows of these entries, in this order; without those that are gone or damaged."""
