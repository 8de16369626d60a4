"""What the entries page begins before it shows anything: bringing the index up to date, a list, counts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cache_backends import Tally
from lab import browsing, facets
from lab.browsing import ListJob, ListRequest, TallyJob
from lab.indexing import IndexJob
from lab.jobs import TooManyJobsError
from ui import entries_state
from ui.session import laboratory
from ui.waiting import begin, is_begun, wait_for

INDEX_PATIENCE_S = 0.15
COUNTS_PATIENCE_S = 0.05
"""So long the page waits for counts once there is a list: what each choice would leave stands in no choice that is
closed."""
COUNTED_BEFORE_SHOWN = 20_000
"""So many entries that a search has found are counted by kind within that time."""
COUNTS_KEPT_S = 10.0
"""So long what took a while to count is shown as it was, while one goes from page to page."""


@dataclass(frozen=True)
class Begun:
    """A page of a list on its way; without a job where too many are running."""

    asked: ListRequest
    listing: ListJob | None
    index: IndexJob | None
    """Where it was not up to date when this began: entries may be missing, or be counted that are gone."""
    lacked_entries: bool
    of: tuple[object, ...]
    """What it is a list of, and in which state that was: as long as this is the same, so is what is found there."""


def begin_index() -> IndexJob | None:
    """Have the index brought up to date, and wait a little: most often nothing, or a few entries, are new."""
    strategy, state = entries_state.strategy(), entries_state.state()
    at_once, state.indexed_version = state.version != state.indexed_version, state.version
    try:
        job = laboratory().indexing.begin(
            strategy, lambda: browsing.cache_of(laboratory(), strategy, "default"), at_once=at_once
        )
    except TooManyJobsError:
        return None
    until = time.monotonic() + INDEX_PATIENCE_S
    while not job.finished and not _has_all_that_is_new(job) and time.monotonic() < until:
        job.wait(0.005)
    return job


def begin_list(index: IndexJob | None) -> Begun:
    """Begin to list a page."""
    state = entries_state.state()
    unfinished = index if index is not None and not index.finished else None
    lacks = unfinished is not None and is_behind(unfinished)
    if unfinished is None:
        state.settled_version = state.version
    elif not lacks and state.settled_version == state.version:
        unfinished = None  # somebody else changes something all the time: a list that follows each change would jump
    asked = entries_state.request()
    of = (asked.strategy, asked.namespace, state.version, unfinished is None, lacks)
    listing: ListJob | None = None
    with contextlib.suppress(TooManyJobsError):
        listing = begin("list", (*of, _without_now(asked)), lambda: browsing.start_list(laboratory(), asked))
    return Begun(asked, listing, unfinished, lacks, of)


def begin_counts(begun: Begun, *, is_shown: bool = False) -> TallyJob | None:
    """Begin to count what the list can be narrowed by, once there is a list: at the same time each would slow the other
    down. Where that takes long, not before the list `is_shown`."""
    if begun.listing is None or not wait_for("list") or begun.listing.result is None:
        return None
    asked, hour = begun.asked, facets.begin_of_hour(time.time())
    search = asked.entries.search
    key = (*begun.of, search, hour)
    takes_long = bool(search) and begun.listing.result.total > COUNTED_BEFORE_SHOWN
    if takes_long and not is_shown and not is_begun("tally", key):
        return None
    with contextlib.suppress(TooManyJobsError):
        return begin(
            "tally",
            key,
            lambda: browsing.start_tally(laboratory(), asked.strategy, asked.namespace, search, facets.age_marks(hour)),
            keep_s=COUNTS_KEPT_S,
        )
    return None


def counts(counting: TallyJob | None) -> Sequence[Tally] | None:
    """How many of the entries found there are of each kind; None while that is being counted."""
    if counting is None or not wait_for("tally", COUNTS_PATIENCE_S):
        return None
    return counting.result


def is_behind(index: IndexJob) -> bool:
    """Whether what is shown may lack entries that are there."""
    return not index.finished and not _has_all_that_is_new(index)


def _has_all_that_is_new(index: IndexJob) -> bool:
    steps = index.progress
    return bool(steps) and steps[-1].looked_at == steps[-1].of


def _without_now(asked: ListRequest) -> tuple[object, ...]:
    """What makes a list another one: not the second at which it is asked for."""
    return (entries_state.search(), entries_state.narrowing(), asked.order_by, asked.descending, asked.after)
