"""Browsing what the strategies hold: whose entries a visitor may see, and lists and counts that may take long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cache_backends import CacheBackend, CacheError, EntryPage, Tally
from cache_backends.browse import Cursor, no_progress
from cache_backends.browse import Progress as Told
from cache_backends.records import EntryOrder
from lab.entry_filter import EntryFilter
from lab.glance import Glance, look
from lab.indexing import Progress, telling
from lab.jobs import Job, RefusedError
from lab.laboratory import SHARED_SCOPE, Laboratory
from lab.simulated import SIMULATED_MODEL
from lab.strategies import StrategyUnavailableError

ALL = EntryFilter()


class NoSuchPlaceError(RefusedError, ValueError):
    """A list was to go on after a place that is none, which links may name as they like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRequest:
    """One page that a person asks for."""

    strategy: str
    namespace: str
    entries: EntryFilter = ALL
    order_by: EntryOrder = "created_at"
    descending: bool = True
    limit: int = 50
    after: str | None = None


ListJob = Job[Progress, EntryPage]
TallyJob = Job[Progress, Sequence[Tally]]
GlanceJob = Job[Progress, Glance]


def namespaces(lab: Laboratory, strategy: str, scope: str) -> list[str]:
    """The namespaces with entries that this visitor may see: all where everything is shared, else the own ones.

    Raises `StrategyUnavailableError`.
    """
    cache = cache_of(lab, strategy, "default")
    try:
        names = cache.namespaces()
    except CacheError as error:
        raise StrategyUnavailableError(lab.strategies.safe(strategy, str(error))) from error
    return [name for name in names if is_visible(name, scope)]


def is_visible(namespace: str, scope: str) -> bool:
    """Whether a visitor of this scope may see a namespace."""
    return scope == SHARED_SCOPE or namespace.startswith(f"{scope}:")


def cache_of(lab: Laboratory, strategy: str, namespace: str) -> CacheBackend:
    """One of our caches, on one namespace. Raises `StrategyUnavailableError`, for those that can't list too."""
    cache = lab.strategies.get(strategy, namespace).cache if strategy in lab.strategies.names else None
    if not isinstance(cache, CacheBackend):
        raise StrategyUnavailableError("It can't list what it holds.")
    return cache


def start_list(lab: Laboratory, request: ListRequest) -> ListJob:
    """Begin to list one page; it ends in `NoSuchPlaceError` where `after` is none. Raises `jobs.TooManyJobsError`."""

    def work(job: ListJob) -> EntryPage:
        _check_place(request.after)
        return _page(cache_of(lab, request.strategy, request.namespace), request, telling(job))

    return lab.jobs.start(work)


def place_before(lab: Laboratory, request: ListRequest) -> str | None:
    """Where the page before the one asked for begins, found by going back over it; None for the beginning.

    That is given too where the way leads over entries that lack the value they are ordered by, which come last either
    way. Raises `CacheError`, `NoSuchPlaceError` and `StrategyUnavailableError`.
    """
    _check_place(request.after)
    if not request.after or Cursor.parsed(request.after).is_missing:
        return None
    back = replace(request, descending=not request.descending)
    before = _page(cache_of(lab, request.strategy, request.namespace), back).next
    return None if before is None or Cursor.parsed(before).is_missing else before


def _page(cache: CacheBackend, request: ListRequest, progress: Told = no_progress) -> EntryPage:
    return cache.entries(
        **request.entries.query,
        order_by=request.order_by,
        descending=request.descending,
        limit=request.limit,
        after=request.after,
        up_to_date=False,
        progress=progress,
    )


def _check_place(after: str | None) -> None:
    try:
        if after:
            Cursor.parsed(after)
    except ValueError as error:
        raise NoSuchPlaceError(str(error)) from error


def start_tally(lab: Laboratory, strategy: str, namespace: str, search: str, ages: Sequence[float]) -> TallyJob:
    """Begin to count what matches a search by model, state, age and size. Raises `jobs.TooManyJobsError`."""
    return lab.jobs.start(
        lambda job: cache_of(lab, strategy, namespace).tally(
            search=search, ages=ages, up_to_date=False, progress=telling(job)
        )
    )


def start_glance(lab: Laboratory, strategy: str, namespace: str) -> GlanceJob:
    """Begin to look at a store as a whole. Raises `jobs.TooManyJobsError`."""

    def price(model: str, tokens_in: int, tokens_out: int) -> float | None:
        priced_as = lab.settings.simulated.priced_as if model == SIMULATED_MODEL else model
        return lab.prices.cost_usd(priced_as, tokens_in, tokens_out)

    return lab.jobs.start(lambda job: look(cache_of(lab, strategy, namespace), price, telling(job)))
