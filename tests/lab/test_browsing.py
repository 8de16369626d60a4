"""Browsing: whose entries a visitor sees, and lists, counts and glances as jobs that can be stopped."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cache_backends import CacheBackend, CacheUnavailableError, MemoryCache
from cache_backends.records import EntryOrder
from lab import browsing
from lab.browsing import (
    ListRequest,
    NoSuchPlaceError,
    cache_of,
    is_visible,
    namespaces,
    place_before,
    start_glance,
    start_list,
    start_tally,
)
from lab.entry_filter import EntryFilter
from lab.indexing import Progress, StoppedError
from lab.laboratory import SHARED_SCOPE, Laboratory
from lab.settings import StrategySettings
from lab.strategies import StrategyUnavailableError
from tests.cache_backends.flights import LONG_S
from tests.lab.building import CACHES, LANGCHAINS, OURS, Clock, quick_settings
from tests.lab.entries import DOWN, Slow, done, fill

NAMESPACE = "shared:simulated"


@pytest.fixture
def slow(laboratory: Laboratory, clock: Clock) -> Iterator[Slow]:
    """The store of the strategy "memory", which waits in the steps that it is told."""
    cache = Slow(clock=clock)
    laboratory.strategies._opened["memory", ""] = cache
    yield cache
    cache.goes_on.set()


def own(laboratory: Laboratory, strategy: str, namespace: str = NAMESPACE) -> CacheBackend:
    return cache_of(laboratory, strategy, namespace)


@pytest.mark.parametrize("strategy", OURS)
def test_where_all_is_shared_all_namespaces_are_seen(laboratory: Laboratory, strategy: str) -> None:
    for name in ("shared:simulated", "session-1:simulated", "compare-9:x"):
        fill(own(laboratory, strategy, name), 1)
    assert namespaces(laboratory, strategy, SHARED_SCOPE) == ["compare-9:x", "session-1:simulated", "shared:simulated"]


@pytest.mark.parametrize("strategy", OURS)
def test_who_has_a_scope_of_their_own_sees_no_other(laboratory: Laboratory, strategy: str) -> None:
    for name in ("shared:simulated", "session-1:simulated", "session-1:other", "session-12:simulated", "session-1"):
        fill(own(laboratory, strategy, name), 1)
    assert namespaces(laboratory, strategy, "session-1") == ["session-1:other", "session-1:simulated"]


def test_a_namespace_of_another_scope_is_not_visible() -> None:
    assert is_visible("session-1:simulated", "session-1")
    assert not is_visible("session-12:simulated", "session-1")
    assert not is_visible("session-1", "session-1")
    assert is_visible("anything at all", SHARED_SCOPE)


@pytest.mark.parametrize("strategy", ["none", *LANGCHAINS, "unknown", "", "../../etc"])
def test_what_can_not_list_says_so(laboratory: Laboratory, strategy: str) -> None:
    with pytest.raises(StrategyUnavailableError, match="can't list"):
        cache_of(laboratory, strategy, NAMESPACE)


@pytest.mark.parametrize("namespace", ["", "a\0b", "x" * 5_000, "\ud800"])
def test_a_namespace_that_can_be_none_is_refused_or_empty(laboratory: Laboratory, namespace: str) -> None:
    for strategy in CACHES:
        try:
            assert cache_of(laboratory, strategy, namespace).entries().total == 0
        except StrategyUnavailableError as refused:
            assert str(refused)  # noqa: PT017


def test_a_store_that_fails_says_so_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laboratory = Laboratory(
        quick_settings(
            tmp_path, strategies=[StrategySettings(name="memory", url="memory://?ttl=1h&password=hunter2secret")]
        )
    )

    class Down(MemoryCache):
        def _namespaces(self) -> list[str]:
            raise CacheUnavailableError(DOWN)

    laboratory.strategies._opened["memory", ""] = Down()
    with pytest.raises(StrategyUnavailableError) as raised:
        namespaces(laboratory, "memory", SHARED_SCOPE)
    assert "no server at redis://" in str(raised.value)
    assert "hunter2secret" not in str(raised.value)
    laboratory.history.close()


@pytest.mark.parametrize("strategy", OURS)
def test_a_list_has_what_was_asked_for_page_by_page(laboratory: Laboratory, strategy: str, clock: Clock) -> None:
    cache = own(laboratory, strategy)
    for prompt in ("apple", "pear", "apple"):
        clock.advance(1)
        fill(cache, 3, prompt=f"{prompt} {clock.now:.0f}")
    cache.bring_up_to_date()
    chosen = EntryFilter(search="app")
    shown: list[str] = []
    after = None
    while True:
        request = ListRequest(
            strategy=strategy, namespace=NAMESPACE, entries=chosen, descending=False, limit=4, after=after
        )
        page = done(start_list(laboratory, request)).result
        assert page is not None
        assert page.total == 6
        shown += [entry.prompt.split()[0] for entry in page.entries]
        after = page.next
        if after is None:
            break
    assert shown == ["apple"] * 6


@pytest.mark.parametrize("order", ["created_at", "hits", "size_bytes", "last_used_at"])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("strategy", OURS)
def test_the_page_before_one_is_found_from_its_place_alone(
    laboratory: Laboratory, strategy: str, order: EntryOrder, descending: bool, clock: Clock
) -> None:
    cache = own(laboratory, strategy)
    for number in range(11):
        clock.advance(number % 3)
        fill(cache, 1, prompt=f"apple {number}")
    cache.bring_up_to_date()
    asked = ListRequest(strategy=strategy, namespace=NAMESPACE, order_by=order, descending=descending, limit=3)
    places: list[str | None] = [None]
    while (page := done(start_list(laboratory, replace(asked, after=places[-1]))).result) and page.next:
        places.append(page.next)
    assert len(places) == 4
    assert [place_before(laboratory, replace(asked, after=place)) for place in places] == [None, *places[:-1]]


def test_a_page_before_entries_without_the_value_is_the_first(laboratory: Laboratory) -> None:
    fill(own(laboratory, "memory"), 7)  # which live for ever
    asked = ListRequest(strategy="memory", namespace=NAMESPACE, order_by="expires_at", limit=3)
    page = done(start_list(laboratory, asked)).result
    assert page is not None
    assert place_before(laboratory, replace(asked, after=page.next)) is None
    with pytest.raises(NoSuchPlaceError):
        place_before(laboratory, replace(asked, after="no cursor"))


def test_a_list_waits_for_no_index(laboratory: Laboratory, slow: Slow) -> None:
    slow.slow = {"index"}
    fill(own(laboratory, "memory"))
    page = done(start_list(laboratory, ListRequest(strategy="memory", namespace=NAMESPACE))).result
    assert page is not None
    assert page.total == 6


@pytest.mark.parametrize("after", ["x", "no cursor", "é" * 9, "\0", "x" * 100_000, "W10", "bnVsbA"])
def test_a_place_that_is_none_ends_the_list_with_a_mistake_of_the_visitor(
    laboratory: Laboratory, after: str, caplog: pytest.LogCaptureFixture
) -> None:
    request = ListRequest(strategy="memory", namespace=NAMESPACE, after=after)
    assert isinstance(done(start_list(laboratory, request)).error, NoSuchPlaceError)
    assert not [record for record in caplog.records if record.exc_info or record.levelno > logging.INFO]


def test_a_mistake_of_the_program_in_a_list_is_logged_with_its_traceback(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(MemoryCache, "entries", broken)
    error = done(start_list(laboratory, ListRequest(strategy="memory", namespace=NAMESPACE))).error
    assert isinstance(error, ValueError)
    assert not isinstance(error, NoSuchPlaceError)
    assert "Traceback" in caplog.text


def test_a_list_tells_how_far_it_is_and_can_be_stopped(laboratory: Laboratory, slow: Slow) -> None:
    slow.slow = {"entries"}
    job = start_list(laboratory, ListRequest(strategy="memory", namespace=NAMESPACE))
    assert slow.waits.wait(LONG_S)
    assert job.progress == [Progress(30, 100)]
    job.stop()
    slow.goes_on.set()
    assert isinstance(done(job).error, StoppedError)


def test_counting_can_be_stopped(laboratory: Laboratory, slow: Slow) -> None:
    slow.slow = {"tally"}
    job = start_tally(laboratory, "memory", NAMESPACE, "", ())
    assert slow.waits.wait(LONG_S)
    job.stop()
    slow.goes_on.set()
    assert isinstance(done(job).error, StoppedError)


def test_counts_are_those_of_the_search(laboratory: Laboratory) -> None:
    cache = own(laboratory, "memory")
    fill(cache, 3, prompt="apple")
    fill(cache, 2, prompt="pear", model="demo-2")
    tallies = done(start_tally(laboratory, "memory", NAMESPACE, "pe", ())).result
    assert [(one.model, one.entries) for one in tallies or ()] == [("demo-2", 2)]


def test_a_glance_prices_simulated_answers_as_the_settings_say(laboratory: Laboratory) -> None:
    cache = own(laboratory, "memory")
    for model in ("simulated", "never-heard-of"):
        (key,) = fill(cache, 1, prompt=model, model=model)
        entry = cache.get(key)
        assert entry is not None
        cache.lookup(entry.raw_prompt, entry.llm_string)
    cache.flush()
    seen = done(start_glance(laboratory, "memory", NAMESPACE)).result
    assert seen is not None
    saved = {one.entry.model: one.saved_usd for one in seen.useful}
    assert saved["simulated"] is not None
    assert saved["simulated"] > 0
    assert saved["never-heard-of"] is None


def test_a_glance_at_what_can_not_list_is_an_error(laboratory: Laboratory) -> None:
    assert isinstance(
        done(browsing.start_glance(laboratory, "langchain-memory", NAMESPACE)).error, StrategyUnavailableError
    )
