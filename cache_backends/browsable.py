"""What a person can do with the entries of a cache: find, read, count, remove, change, put back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cache_backends.browse import Progress, Query, no_progress
from cache_backends.keys import digest_of
from cache_backends.options import TimeToLive, parse_ttl
from cache_backends.records import CacheEntry, EntryOrder, EntryPage, EntryState, StoreStats, Tally
from cache_backends.restoring import restored
from cache_backends.storage import Storage


class Browsable(Storage):
    """The part of `CacheBackend` that no model waits for. Times are Unix times in seconds by `clock`."""

    clock: Callable[[], float]

    def get(self, key: str) -> CacheEntry | None:
        """One entry, whole, for a person: counts no hit, and shows an expired entry as expired.

        Raises ValueError for what can't be a key.
        """
        return self._entry(digest_of(key))

    def get_many(self, keys: Sequence[str]) -> list[CacheEntry]:
        """Several entries, whole, in the order of their keys; those that are missing or damaged are left out.

        All of them are in memory at once: `EntrySummary.size_bytes` says what that takes. The rest as in `get`.
        """
        return self._entries([digest_of(key) for key in keys])

    def entries(
        self,
        *,
        search: str = "",
        model: str | None = None,
        state: EntryState = "any",
        created_from: float | None = None,
        created_before: float | None = None,
        min_bytes: int | None = None,
        below_bytes: int | None = None,
        order_by: EntryOrder = "created_at",
        descending: bool = True,
        limit: int = 50,
        after: str | None = None,
        up_to_date: bool = True,
        progress: Progress = no_progress,
    ) -> EntryPage:
        """One page of the entries of this namespace.

        `search` finds entries whose prompt or answer has every word of it, as a prefix, case and accents ignored.
        `created_from` and `min_bytes` belong to what is found, `created_before` and `below_bytes` do not.
        `after` is the `next` of the page before. `progress` is told now and then how many entries were looked at, where
        that takes long; what it raises ends the search. A store with an index for browsing is indexed first; without
        `up_to_date` the page is made at once of what is indexed. Raises ValueError for a value that is not allowed.
        """
        query = Query(
            search=search,
            model=model,
            state=state,
            created_from=created_from,
            created_before=created_before,
            min_bytes=min_bytes,
            below_bytes=below_bytes,
            order_by=order_by,
            descending=descending,
            limit=limit,
            after=after,
            up_to_date=up_to_date,
            progress=progress,
        )
        return self._page(query, self.clock())

    def tally(
        self,
        *,
        search: str = "",
        ages: Sequence[float] = (),
        up_to_date: bool = True,
        progress: Progress = no_progress,
    ) -> Sequence[Tally]:
        """How many of the entries that match `search` there are of each model, state, age and size.

        `ages` are Unix times, ascending, that divide entries by when they were created; sizes are divided by
        `browse.SIZE_MARKS`. The rest as in `entries`.
        """
        query = Query(search=search, up_to_date=up_to_date, progress=progress)
        return self._tally(query, sorted(ages), self.clock())

    def bring_up_to_date(self, progress: Progress = no_progress, *, only_new: bool = False) -> None:
        """Index for browsing what was stored or removed since the last time; nothing where there is no index.

        With `only_new`, what was removed or used meanwhile may be left for another time, where it takes long to find
        that out. `progress` is told how many entries were looked at, and of how many; what it raises ends it, and what
        was indexed so far stays. Raises `CacheError`.
        """
        self._index(progress, only_new=only_new)

    def models(self) -> list[str]:
        """The models whose answers this namespace holds, in alphabetical order."""
        return sorted(self._models())

    def namespaces(self) -> list[str]:
        """The namespaces of the store that hold entries, in alphabetical order."""
        return sorted(self._namespaces())

    def delete(self, *keys: str) -> int:
        """Remove these entries; the number of those that were there. Raises ValueError for what can't be a key."""
        return self._delete_many([digest_of(key) for key in keys])

    def set_ttl(self, key: str, ttl: TimeToLive) -> bool:
        """Let an entry, expired or not, live for `ttl` from now on (None: for ever); whether it was there.

        Raises ValueError for what can't be a key or a time to live.
        """
        digest, ttl_s = digest_of(key), parse_ttl(ttl)
        return self._set_expiry(digest, None if ttl_s is None else self.clock() + ttl_s)

    def pin(self, key: str, pinned: bool = True) -> bool:
        """Keep an entry from expiring and from being evicted, or let it go again; whether it was there.

        A new answer under the same key is not pinned. Raises ValueError for what can't be a key.
        """
        return self._set_pinned(digest_of(key), pinned=pinned)

    def restore(self, entry: CacheEntry) -> None:
        """Put an entry into this namespace as it was, with its times and uses: undoing a deletion, importing.

        Raises `NotCacheableError` where it can't be kept as it is, and ValueError for what can't be a key.
        """
        digest = digest_of(entry.key)
        self._put_back(restored(digest, entry))

    def purge_expired(self) -> int:
        """Remove the entries of this namespace whose time to live is over; how many there were.

        In small steps, so that whoever stores meanwhile waits for none of it.
        """
        return self._purge(self.clock())

    def stats(self) -> StoreStats:
        """How much this namespace holds; damaged entries that nobody has asked for yet may be among it."""
        return self._stats(self.clock())
