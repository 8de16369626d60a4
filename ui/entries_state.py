"""What the entries page remembers between two runs of its script, and what of it stands in the link."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast, get_args

import streamlit as st

from cache_backends import CacheBackend, CacheConfigError, CacheEntry, CacheError
from cache_backends.options import parse_namespace
from cache_backends.records import EntryOrder, EntryState
from lab import browsing
from lab.browsing import ListRequest
from lab.facets import AGE_CHOICES, SIZE_CLASSES, Narrowing
from lab.jobs import RefusedError
from lab.moving import ImportJob
from lab.removal import RemovalJob
from lab.strategies import StrategyUnavailableError
from ui import choices
from ui.language import _
from ui.links import follow_link, went_elsewhere
from ui.session import laboratory, scope

STATE_KEY = "browsing"
ENTRY, AFTER = "entry", "after"
"""What the link calls the entry that is open, and the place at which the page begins."""
EVERY_MODEL = ""
ORDERS: tuple[EntryOrder, ...] = get_args(EntryOrder)
STATES: tuple[EntryState, ...] = get_args(EntryState)
SIZES = ("any", *map(str, SIZE_CLASSES))
DIRECTIONS = ("down", "up")
CHOICES = ("entries_model", "entries_state", "entries_age", "entries_size", "entries_order", "entries_direction")
"""What narrows and orders a list, besides the words looked for."""
PAGE_ROWS = 50
LONGEST_TEXT = 500
"""Characters that can be looked for."""
UNDO_S = 10.0


@dataclass(frozen=True)
class Removed:
    """An entry that was just removed, and can be put back for a while."""

    entry: CacheEntry
    strategy: str
    namespace: str
    at: float


StartImport = Callable[[], ImportJob]


@dataclass
class Browsing:
    """One session's place in its lists."""

    before: list[str | None] = field(default_factory=list)
    """Where the pages before this one begin."""
    removed: Removed | None = None
    mistake: str | None = None
    message: str | None = None
    version: int = 0
    """Raised when something was changed: what was listed before is listed anew."""
    settled_version: int = -1
    """For which the index was seen to have all of it."""
    indexed_version: int = -1
    """For which the whole index was last brought up to date."""
    importing: ImportJob | None = None
    importing_into: str = ""
    removing: RemovalJob | None = None
    shown: tuple[str, ...] = ()
    """The keys of the rows of the table."""
    removing_from: str = ""
    noticed: set[str] = field(default_factory=set)
    """Jobs that had ended when something was listed the last time."""
    listed: object = None
    """What was listed the last time, on whatever page."""
    tables: int = 0
    """Raised when a table is left: its selection goes with it."""
    brought_along: tuple[str, str] | None = None
    """A strategy that was just changed to, and the namespace that was chosen in the one before."""


def state() -> Browsing:
    """This session's state."""
    if STATE_KEY not in st.session_state:
        st.session_state[STATE_KEY] = Browsing()
    return cast(Browsing, st.session_state[STATE_KEY])


def strategies() -> list[str]:
    """The strategies of the page: all but "no cache"."""
    return laboratory().strategies.names[1:]


def strategy() -> str:
    """The one that is chosen."""
    return str(st.session_state["entries_strategy"])


def namespace() -> str:
    """The one that is chosen."""
    return str(st.session_state["entries_namespace"])


def namespaces() -> list[str]:
    """What can be chosen: those with entries; the visitor's first own one and the chosen one, though they are empty.

    Raises `StrategyUnavailableError`.
    """
    lab = laboratory()
    own = [lab.namespace(scope(), model_id) for model_id in lab.models.choices]
    there = {*browsing.namespaces(lab, strategy(), scope()), *_chosen_namespace()}
    return [*(name for name in dict.fromkeys(own) if name in there or name == own[0]), *sorted(there - set(own))]


def _chosen_namespace() -> list[str]:
    """The one that stays when it is emptied, lest what removes many points at another: none or one."""
    name, by_link = st.session_state.get("entries_namespace"), False
    if name is None or went_elsewhere("entries_namespace"):
        name, by_link = st.query_params.get("entries_namespace"), True
    if name is None or (strategy(), name) == state().brought_along or not browsing.is_visible(name, scope()):
        return []
    return [name] if not by_link or _may_be_a_namespace(name) else []


def _may_be_a_namespace(name: str) -> bool:
    """Whether a link may name it though nothing is stored there: anybody can write anything into a link."""
    try:
        return parse_namespace(name).isprintable()
    except CacheConfigError:
        return False


def cache() -> CacheBackend:
    """What is browsed. Raises `StrategyUnavailableError`."""
    return browsing.cache_of(laboratory(), strategy(), namespace())


def choose_from_the_link() -> None:
    """Before the widgets are made: what the link says, or nothing chosen."""
    for key in ("entries_search", "entries_model"):
        if key not in st.session_state or went_elsewhere(key):
            st.session_state[key] = st.query_params.get(key, "")[:LONGEST_TEXT]
    for key in CHOICES:
        if key in st.session_state and choices.chosen(key) != st.session_state[key]:
            st.session_state[key] = choices.chosen(key)
    follow_link("entries_state", STATES, "any")
    follow_link("entries_age", AGE_CHOICES, "any")
    follow_link("entries_size", SIZES, "any")
    follow_link("entries_order", ORDERS, "created_at")
    follow_link("entries_direction", DIRECTIONS, "down")


def search() -> str:
    """The words looked for."""
    return str(st.session_state.get("entries_search") or "")


def narrowing() -> Narrowing:
    """What the list is narrowed by."""
    chosen = st.session_state
    size = chosen.get("entries_size", "any")
    return Narrowing(
        model=chosen.get("entries_model") or None,
        state=chosen.get("entries_state") or "any",
        age=chosen.get("entries_age") or "any",
        size=None if size == "any" else int(size),
    )


def request() -> ListRequest:
    """The page that is asked for: the first one of another list than the last time."""
    chosen = st.session_state
    place = (strategy(), namespace(), search(), narrowing(), chosen["entries_order"], chosen["entries_direction"])
    if state().listed not in (None, place) and not any(map(went_elsewhere, ("entries_search", *CHOICES))):
        first_page()
    state().listed = place
    pages_before()
    return _request()


def _request() -> ListRequest:
    return ListRequest(
        strategy=strategy(),
        namespace=namespace(),
        entries=narrowing().filter(search(), time.time()),
        order_by=st.session_state["entries_order"],
        descending=st.session_state["entries_direction"] == "down",
        limit=PAGE_ROWS,
        after=st.query_params.get(AFTER) or None,
    )


def first_page() -> None:
    """Begin at the beginning, as another list does."""
    st.query_params.pop(AFTER, None)
    state().before.clear()


def next_page(after: str) -> None:
    """Go on after the last entry of this page."""
    state().before.append(st.query_params.get(AFTER))
    st.query_params[AFTER] = after


def pages_before() -> list[str | None]:
    """Where the pages before this one begin; fewer for who came back, by the browser's own buttons say."""
    before, at = state().before, st.query_params.get(AFTER)
    if at in before:
        del before[before.index(at) :]
    elif at is None:
        before.clear()
    return before


def previous_page() -> None:
    """Go back to where this page was gone to from; for who came by a link, to the page before it."""
    before = pages_before()
    try:
        at = before.pop() if before else browsing.place_before(laboratory(), _request())
    except (CacheError, RefusedError) as error:
        state().mistake = safe(str(error))
        return
    if at is None:
        st.query_params.pop(AFTER, None)
    else:
        st.query_params[AFTER] = at


def order_by(column: EntryOrder) -> None:
    """Order by a column, or the other way round if that is the order already."""
    if st.session_state["entries_order"] == column:
        st.session_state["entries_direction"] = "up" if st.session_state["entries_direction"] == "down" else "down"
    else:
        st.session_state["entries_order"], st.session_state["entries_direction"] = column, "down"
    first_page()
    leave_table()


def clear_narrowing() -> None:
    """Show everything again."""
    st.session_state["entries_search"] = ""
    st.session_state["entries_model"] = EVERY_MODEL
    for key in ("entries_state", "entries_age", "entries_size"):
        st.session_state[key] = "any"
    first_page()


def another_store() -> None:
    """What was chosen of one store says nothing of another."""
    st.session_state["entries_model"] = EVERY_MODEL
    now = state()
    now.importing = None if now.importing is None or now.importing.finished else now.importing
    now.removing = None if now.removing is None or now.removing.finished else now.removing
    forget_words()
    close_entry()
    first_page()


def another_strategy() -> None:
    """A namespace that was chosen in one store stays chosen in another only where it has entries."""
    state().brought_along = (strategy(), str(st.session_state.get("entries_namespace")))
    another_store()


def open_entry(key: str) -> None:
    """Show one entry, and put it into the link."""
    st.query_params[ENTRY] = key
    forget_words()
    leave_table()


def close_entry() -> None:
    """Back to the list."""
    st.query_params.pop(ENTRY, None)


def leave_table() -> None:
    """The next table begins with nothing selected."""
    state().tables += 1


def refresh() -> None:
    """List anew."""
    changed()
    forget_words()


def changed() -> None:
    """Something was changed: list and count anew."""
    state().version += 1


def notice_what_ended() -> None:
    """Before anything is listed: what was imported or removed by now is listed anew."""
    now = state()
    for job in (now.importing, now.removing):
        if job is not None and job.finished and job.id not in now.noticed:
            now.noticed.add(job.id)
            changed()


def has_ended(job: ImportJob | RemovalJob) -> bool:
    """Whether a job had ended before what is above was listed."""
    return job.id in state().noticed


def forget_words() -> None:
    """What was said of the last thing done is said no more."""
    state().mistake = state().message = None


def remove(entry: CacheEntry) -> None:
    """Remove an entry, and remember it for a while: as it is now, should it have been replaced since it was shown."""
    forget_words()
    try:
        there = cache().get(entry.key) or entry
        was_there = cache().delete(entry.key) > 0
    except (CacheError, StrategyUnavailableError) as error:
        state().mistake = safe(str(error))
        return
    if was_there:
        state().removed = Removed(there, strategy(), namespace(), time.monotonic())
    else:
        state().mistake = _("The entry is not there any more.")
    changed()
    close_entry()


def undo() -> None:
    """Put back what was just removed, unless there is a newer answer by now."""
    forget_words()
    removed, state().removed = state().removed, None
    if removed is None:
        return
    try:
        store = browsing.cache_of(laboratory(), removed.strategy, removed.namespace)
        if store.get(removed.entry.key) is not None:
            state().mistake = _("There is a newer answer under this key by now. It stays, and nothing was put back.")
        else:
            store.restore(removed.entry)
    except (CacheError, StrategyUnavailableError) as error:
        state().mistake = laboratory().strategies.safe(removed.strategy, str(error))
        state().removed = removed
    changed()


def safe(text: str, of: str | None = None) -> str:
    """A message of a strategy, the chosen one if none is named, without its password."""
    return laboratory().strategies.safe(strategy() if of is None else of, text)
