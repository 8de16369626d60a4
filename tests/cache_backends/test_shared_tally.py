"""What every backend promises a person who narrows a list, counts what is there, and removes many at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_backends import CacheBackend, EntrySummary, Tally
from cache_backends.browse import SIZE_MARKS
from tests.cache_backends.answers import key_of, prompts, store, whole
from tests.cache_backends.backends import SERVERS, FakeClock
from tests.cache_backends.generations import without_haste

BEGAN = 1_700_000_000.0
STEP_S = 10.0
SIZES = (None, 999, 1_000, 1_001, None, 9_999, 10_000, None, 100_000, 999_999, 1_000_000)
"""Bytes of entries. None: as it comes."""
MODELS = ("gpt-4o", "llama-ção", None)
STATES = ("live", "forever", "expired", "pinned")
ENTRIES = 24
ENDED = BEGAN + 10_000


@pytest.fixture
def varied(cache: CacheBackend, clock: FakeClock) -> CacheBackend:
    """Entries of several models, ages, sizes and states; some expired, of which some are pinned; some without model."""
    for number in range(ENTRIES):
        model, state, size = (kinds[number % len(kinds)] for kinds in (MODELS, STATES, SIZES))
        llm_string = "plain" if model is None else repr([("model_name", model)])
        view = cache.view(ttl={"live": 1_000_000, "forever": None}.get(str(state), 50))
        prompt, text = f"q{number}", "sagan " if number % 2 else "tyson "
        store(view, prompt, text, llm_string=llm_string)
        if size is not None:
            missing = int(size) - whole(cache, prompt, llm_string).size_bytes
            store(view, prompt, text + "x" * missing, llm_string=llm_string)
        if state == "pinned":
            assert cache.pin(key_of(prompt, llm_string))
        if number % 5:
            clock.tick(STEP_S)
    store(cache.view(namespace="other"), "elsewhere", "sagan")
    clock.now = ENDED
    return cache


def everything(cache: CacheBackend) -> list[EntrySummary]:
    """All entries, by the list that narrows nothing."""
    page = cache.entries(limit=1000)
    assert page.next is None
    assert len(page.entries) == page.total == ENTRIES
    return list(page.entries)


def expired(entry: EntrySummary) -> bool:
    """Whether an entry is over at the end of the story, as a person would say it."""
    return not entry.pinned and entry.expires_at is not None and entry.expires_at <= ENDED


def admitted(entries: Iterable[EntrySummary], **query: Any) -> list[str]:
    """The keys of those that a query is for, by its plain meaning."""
    return sorted(
        entry.key
        for entry in entries
        if query.get("search", "") in entry.answer
        and query.get("model") in (None, entry.model)
        and query.get("state", "any") in ("any", "expired" if expired(entry) else "live")
        and (query.get("created_from") is None or entry.created_at >= query["created_from"])
        and (query.get("created_before") is None or entry.created_at < query["created_before"])
        and (query.get("min_bytes") is None or entry.size_bytes >= query["min_bytes"])
        and (query.get("below_bytes") is None or entry.size_bytes < query["below_bytes"])
    )


def visited(cache: CacheBackend, total: int, **query: Any) -> list[EntrySummary]:
    """Every page of a query to the end; each says how many match in all."""
    found: list[EntrySummary] = []
    after = None
    while True:
        page = cache.entries(after=after, **query)
        assert page.total == total
        found.extend(page.entries)
        assert len(found) <= total, "a page that repeats entries would go on for ever"
        if page.next is None:
            return found
        assert len(page.entries) == query["limit"]
        after = page.next


@pytest.mark.parametrize(
    "query",
    [
        {"created_from": BEGAN + 5 * STEP_S},
        {"created_before": BEGAN + 5 * STEP_S},
        {"created_from": BEGAN + 2 * STEP_S, "created_before": BEGAN + 14 * STEP_S},
        {"created_from": BEGAN + 5 * STEP_S, "created_before": BEGAN + 5 * STEP_S},
        {"created_from": BEGAN + 3 * STEP_S, "search": "sagan"},
        {"min_bytes": 1_000},
        {"below_bytes": 10_000, "min_bytes": 1_000},
        {"below_bytes": 10_000, "min_bytes": 1_000, "search": "tyson", "state": "live"},
        {"min_bytes": 1_000, "model": MODELS[1]},
        {"created_before": BEGAN + 15 * STEP_S, "min_bytes": 999, "state": "expired", "model": MODELS[0]},
        {"created_from": BEGAN, "created_before": ENDED, "min_bytes": 0, "below_bytes": 2**40, "state": "live"},
    ],
    ids=str,
)
def test_what_narrows_a_list_does_so_in_every_order_and_on_every_page(
    varied: CacheBackend, query: dict[str, Any]
) -> None:
    wanted = admitted(everything(varied), **query)
    assert len(wanted) < ENTRIES
    for order_by in ("created_at", "size_bytes", "expires_at", "last_used_at"):
        for descending in (True, False):
            found = visited(varied, len(wanted), order_by=order_by, descending=descending, limit=5, **query)
            assert sorted(entry.key for entry in found) == wanted
            values = [getattr(entry, order_by) for entry in found]
            values = [value for value in values if value is not None]
            assert values == sorted(values, reverse=descending)


@pytest.mark.parametrize(
    ("narrower", "order_by"),
    [
        ({"created_from": BEGAN + 4 * STEP_S, "created_before": BEGAN + 9 * STEP_S}, "created_at"),
        ({"min_bytes": 1_000, "below_bytes": 10_000}, "size_bytes"),
    ],
    ids=["age", "size"],
)
@pytest.mark.parametrize("descending", [True, False])
def test_a_place_outside_of_what_is_asked_for_lets_nothing_else_in(
    varied: CacheBackend, narrower: dict[str, Any], order_by: Any, descending: bool
) -> None:
    entries = everything(varied)
    order: dict[str, Any] = {"order_by": order_by, "descending": descending}
    for limit in range(1, ENTRIES, 3):
        after = varied.entries(limit=limit, **order).next
        seen = {entry.key for entry in varied.entries(limit=limit, **order).entries}
        rest = varied.entries(after=after, limit=1000, **order, **narrower)
        assert {entry.key for entry in rest.entries} == set(admitted(entries, **narrower)) - seen


times = st.none() | st.integers(-1, ENTRIES).map(lambda n: BEGAN + n * STEP_S) | st.floats(BEGAN - 1, BEGAN + 300)
sizes = st.none() | st.sampled_from([mark + more for mark in (0, *SIZE_MARKS) for more in (-1, 0, 1)]) | st.just(999.5)
queries = st.fixed_dictionaries(
    {},
    optional={
        "search": st.sampled_from(["", "sagan", "tyson"]),
        "model": st.sampled_from(MODELS),
        "state": st.sampled_from(["any", "live", "expired"]),
        "created_from": times,
        "created_before": times,
        "min_bytes": sizes,
        "below_bytes": sizes,
        "descending": st.booleans(),
        "order_by": st.sampled_from(["created_at", "hits", "size_bytes", "model_time_s"]),
    },
)


@settings(without_haste, max_examples=20)
@given(query=queries, limit=st.integers(1, ENTRIES))
def test_any_query_finds_what_it_is_for(varied: CacheBackend, query: dict[str, Any], limit: int) -> None:
    wanted = admitted(everything(varied), **query)
    assert sorted(entry.key for entry in visited(varied, len(wanted), limit=limit, **query)) == wanted


def test_a_bound_that_nothing_can_be_compared_with_is_refused(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    for name in ("created_from", "created_before", "min_bytes", "below_bytes"):
        for bound in (math.nan, math.inf, -math.inf, 1e300, 2**63, "1000", b"1"):
            query: dict[str, Any] = {name: bound}
            with pytest.raises(ValueError, match=f"^{name}=.* is no number to compare with"):
                cache.entries(**query)


def test_whatever_number_is_allowed_can_be_asked_for(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    for bound in (True, 1, 1.5, 2**62, -(2**62)):
        is_small = bound < 10
        assert cache.entries(created_from=bound).total == cache.entries(min_bytes=int(bound)).total == is_small
        assert cache.entries(created_before=bound).total == cache.entries(below_bytes=int(bound)).total != is_small


# Tallies


def counted(entries: Iterable[EntrySummary], ages: Sequence[float] = ()) -> dict[tuple[Any, ...], tuple[int, int]]:
    """What a tally must say of entries, by its plain meaning."""
    kinds: Counter[tuple[Any, ...]] = Counter()
    bytes_of: Counter[tuple[Any, ...]] = Counter()
    for entry in entries:
        age = sum(entry.created_at >= mark for mark in ages)
        kind = (entry.model, expired(entry), age, sum(entry.size_bytes >= mark for mark in SIZE_MARKS))
        kinds[kind] += 1
        bytes_of[kind] += entry.size_bytes
    return {kind: (number, bytes_of[kind]) for kind, number in kinds.items()}


def said(tallies: Sequence[Tally]) -> dict[tuple[Any, ...], tuple[int, int]]:
    """The same of what a cache says, which says each kind once."""
    said = {(one.model, one.is_expired, one.age, one.size): (one.entries, one.size_bytes) for one in tallies}
    assert len(said) == len(tallies)
    for one in tallies:
        assert (type(one.is_expired), type(one.entries), type(one.size_bytes)) == (bool, int, int)
    return said


@pytest.mark.parametrize("search", ["", "sagan"])
@pytest.mark.parametrize(
    "ages",
    [
        (),
        (BEGAN + 7 * STEP_S,),
        (BEGAN + 7 * STEP_S, BEGAN + 7 * STEP_S),
        (BEGAN - 1, BEGAN, BEGAN + 1, BEGAN + 9 * STEP_S, ENDED),
        (int(BEGAN + 12 * STEP_S), int(BEGAN + 3 * STEP_S)),
    ],
    ids=["none", "one", "twice", "many", "in no order, without a fraction"],
)
def test_a_tally_counts_each_entry_once_where_it_belongs(
    varied: CacheBackend, search: str, ages: tuple[float, ...]
) -> None:
    entries = [entry for entry in everything(varied) if search in entry.answer]
    assert said(varied.tally(search=search, ages=ages)) == counted(entries, sorted(ages))


def test_the_made_up_entries_have_all_that_a_tally_tells_apart(varied: CacheBackend) -> None:
    entries = everything(varied)
    assert any(entry.pinned and entry.expires_at is not None and entry.expires_at <= ENDED for entry in entries)
    assert {entry.size_bytes for entry in entries} >= {999, 1_000, 9_999, 10_000, 100_000, 999_999, 1_000_000}
    assert {(entry.model, expired(entry)) for entry in entries} == {(m, e) for m in MODELS for e in (True, False)}


def test_the_parts_of_a_tally_are_what_a_list_narrowed_to_them_finds(varied: CacheBackend) -> None:
    ages = (BEGAN + 4 * STEP_S, BEGAN + 11 * STEP_S)
    ages_from, sizes_from = (None, *ages), (None, *SIZE_MARKS)
    for one in varied.tally(ages=ages):
        page = varied.entries(
            model=one.model,
            state="expired" if one.is_expired else "live",
            created_from=ages_from[one.age],
            created_before=(*ages, None)[one.age],
            min_bytes=sizes_from[one.size],
            below_bytes=(*SIZE_MARKS, None)[one.size],
            limit=1000,
        )
        # `model=None` narrows nothing: those without one are among the others
        assert sum(entry.model == one.model for entry in page.entries) == one.entries


def test_a_tally_follows_what_changes(varied: CacheBackend) -> None:
    for change in (
        lambda key: varied.pin(key),
        lambda key: varied.pin(key, False),
        lambda key: varied.set_ttl(key, None),
        lambda key: varied.set_ttl(key, 1e6),
        lambda key: varied.delete(key),
    ):
        change(key_of("q2", "plain"))
        assert said(varied.tally()) == counted(varied.entries(limit=1000).entries)


@pytest.mark.parametrize("search", ["?", "nowhere"])
def test_where_nothing_is_found_a_tally_is_empty(varied: CacheBackend, search: str) -> None:
    assert list(varied.tally(search=search, ages=(BEGAN,))) == []


def test_an_empty_cache_has_an_empty_tally(cache: CacheBackend) -> None:
    assert list(cache.tally(ages=(BEGAN,))) == []


# Many at once


def test_of_many_that_are_removed_each_that_was_there_counts_once(cache: CacheBackend) -> None:
    there = [f"q{number}" for number in range(250)]
    for prompt in (*there, "kept"):
        store(cache, prompt, "answer")
    store(cache.view(namespace="other"), "q0", "answer")
    keys = [key_of(prompt) for prompt in there]
    missing = [key_of(f"missing {number}") for number in range(400)]
    assert cache.delete(*missing[:200], *keys, *missing, *reversed(keys), keys[0]) == 250
    assert prompts(cache) == {"kept"}
    assert cache.stats().entries == 1
    assert cache.stats().size_bytes == whole(cache, "kept").size_bytes
    assert prompts(cache.view(namespace="other")) == {"q0"}
    assert cache.delete(*keys) == 0


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_are_removed_as_many_are(cache: CacheBackend, count: int) -> None:
    for number in range(3):
        store(cache, f"q{number}", "answer")
    assert cache.delete(*[key_of(f"q{number}") for number in range(count)]) == count
    assert prompts(cache) == {f"q{number}" for number in range(count, 3)}


def test_one_that_is_named_twice_counts_once(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    assert cache.delete(key_of("q"), key_of("q")) == 1


def test_of_those_who_remove_the_same_at_once_one_is_told_of_each(cache: CacheBackend) -> None:
    keys = [key_of(f"q{number}") for number in range(60)]
    for number in range(60):
        store(cache, f"q{number}", "answer")
    orders = [keys, keys[::-1], keys[30:] + keys[:30], keys[::2] + keys[1::2]]
    with ThreadPoolExecutor(len(orders)) as pool:
        assert sum(pool.map(lambda order: cache.delete(*order), orders)) == 60
    assert prompts(cache) == set()


def test_where_one_is_no_key_none_is_removed(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    with pytest.raises(ValueError, match="key"):
        cache.delete(key_of("q"), "nonsense")
    assert prompts(cache) == {"q"}


@pytest.mark.parametrize("backend", SERVERS, ids=[backend.name for backend in SERVERS], indirect=True)
def test_a_server_is_not_asked_anew_for_each_that_is_removed(
    cache: CacheBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(cache, "q", "answer")
    asked = 0
    ask = cache._store.ask  # type: ignore[attr-defined]

    def counting(operation: Any) -> Any:
        nonlocal asked
        asked += 1
        return ask(operation)

    monkeypatch.setattr(cache._store, "ask", counting)  # type: ignore[attr-defined]
    assert cache.delete(key_of("q"), *[key_of(str(number)) for number in range(500)]) == 1
    assert asked <= 6
