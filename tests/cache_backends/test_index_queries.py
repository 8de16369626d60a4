"""Queries on the index: searches whose text is never query syntax, hours, ties, and both ways to a page."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cache_backends import cache_key, index_queries
from cache_backends.browse import words
from tests.cache_backends.answers import LLM, key_of, prompts, store, whole
from tests.cache_backends.backends import FakeClock, on_files
from tests.cache_backends.conftest import OpenAgain
from tests.cache_backends.generations import any_text, unicode_text, without_haste
from tests.cache_backends.index_outside import (
    FileCache,
    nothing_said,
    same_as_by_looking,
    same_as_made_anew,
    same_page,
    same_tally,
)

pytestmark = on_files
HOUR_S = 3_600
LONG = "a" * 40_000


@pytest.fixture
def files(open_again: OpenAgain) -> FileCache:
    """A cache in files."""
    return open_again()  # type: ignore[return-value]


def hits(cache: FileCache, search: str) -> set[str]:
    """The prompts that a search finds: as many as it says, and those that looking at every entry finds."""
    same_page(cache, list(cache._rows()), search=search, limit=3)
    same_tally(cache, list(cache._rows()), search=search)
    return {entry.prompt for entry in cache.entries(search=search, limit=1_000).entries}


# Searches


@pytest.mark.parametrize(
    "search",
    [
        "sagan NEAR(tyson)",
        "NEAR(",
        "NEAR(sagan tyson, 2)",
        "sag*",
        '"',
        '"sagan',
        'sagan" OR "tyson',
        "^sagan",
        "-sagan",
        "text:sagan",
        "text : sagan",
        "{text} : sagan",
        "sagan AND NOT tyson",
        "sagan + tyson",
        "(sagan",
        "§1",
        "§1 sagan",
        "§2 nobody",
        "§",
        "1",
        "sagan\0tyson",
        "\0",
        "*",
        "sagan\ud800",
        "'; drop table words; --",
    ],
    ids=repr,
)
def test_a_search_is_words_and_never_syntax(files: FileCache, search: str, caplog: pytest.LogCaptureFixture) -> None:
    store(files, "sagan", "near tyson 1")
    store(files, "tyson", "text not or and §1")
    store(files, "nobody", "drop table words")
    store(files.view(namespace="other"), "sagan of others", "near text 1 §1")
    with nothing_said(caplog):
        found = hits(files, search)
    texts = {"sagan": "sagan near tyson 1", "tyson": "tyson text not or and 1", "nobody": "nobody drop table words"}
    wanted = words(search)
    assert found == {
        prompt
        for prompt, text in texts.items()
        if wanted and all(any(word.startswith(one) for word in text.split()) for one in wanted)
    }


def test_words_in_which_every_script_is_written_are_found(files: FileCache, caplog: pytest.LogCaptureFixture) -> None:
    texts = ["São Tomé", "ﬁne ℂ", "Straße", "日本語 の 文", "İstanbul", "ǅ ŉ", "١٢٣ ²", "नमस्ते", "𝔘𝔫𝔦", "a_b", "é", "𐐷"]
    for text in texts:
        store(files, text, "answer")
    with nothing_said(caplog):
        for text in texts:
            assert text in hits(files, text)
            assert text in hits(files, text.upper())
            assert text in hits(files, text[:1])


def test_any_text_is_found_by_any_search(files: FileCache, caplog: pytest.LogCaptureFixture) -> None:
    @settings(without_haste, max_examples=60)
    @given(text=unicode_text, search=unicode_text | any_text, of_text=st.booleans())
    @example(text="\0", search="\0", of_text=False)
    def check(text: str, search: str, of_text: bool) -> None:
        store(files, f"{text} ?", "answer")
        hits(files, " ".join(word[:2] for word in words(text)) if of_text else search)

    with nothing_said(caplog):
        check()
    same_as_made_anew(files)


def test_a_search_for_thousands_of_words_is_answered(files: FileCache, caplog: pytest.LogCaptureFixture) -> None:
    numbers = [f"w{number}" for number in range(2_000)]
    store(files, "all", " ".join(numbers))
    store(files, "all but one", " ".join(numbers[:-1]))
    with nothing_said(caplog):
        assert hits(files, " ".join(numbers)) == {"all"}
        assert hits(files, " ".join(numbers[:-1])) == {"all", "all but one"}
        assert hits(files, "w1 " * 2_000) == {"all", "all but one"}


def test_very_long_words_are_told_apart_at_their_ends(files: FileCache, caplog: pytest.LogCaptureFixture) -> None:
    for prompt in (LONG, f"{LONG}b", f"{LONG}c"):
        store(files, prompt, "answer")

    def found(search: str) -> list[str]:
        return sorted(files.get(entry.key).raw_prompt[40_000:] for entry in files.entries(search=search).entries)  # type: ignore[union-attr]

    with nothing_said(caplog):
        assert found(LONG) == ["", "b", "c"]
        assert found(f"{LONG}b") == ["b"]
        assert found(f"{LONG}b answer") == ["b"]
        assert found(f"{LONG}d") == []
        assert found("a" * 32_768) == ["", "b", "c"]
        assert found("é" * 20_000) == []
        same_tally(files, list(files._rows()), search=f"{LONG}c")
    same_as_made_anew(files)


def test_a_search_sees_no_other_namespace(files: FileCache, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"n{number}" for number in range(4)]
    for name in names:
        store(files.view(namespace=name), f"in {name}", "the same answer")
    with nothing_said(caplog):
        for name in names:
            view = files.view(namespace=name)
            assert hits(view, "same answer") == {f"in {name}"}
            assert hits(view, "§1 same") == set()
            assert hits(view, "§2") == set()


def test_a_namespace_without_entries_is_searched_in_silence(files: FileCache, caplog: pytest.LogCaptureFixture) -> None:
    with nothing_said(caplog):
        assert hits(files, "sagan") == set()
        store(files, "sagan", "answer")
        assert hits(files.view(namespace="empty"), "sagan") == set()
        assert files.view(namespace="empty").entries().total == 0
        assert files.view(namespace="empty").models() == []
        files.clear()
        assert hits(files, "sagan") == set()


# Hours


@pytest.mark.parametrize("hour", [0, 1, 472_222, -1])
def test_the_last_moment_of_an_hour_belongs_to_it(files: FileCache, clock: FakeClock, hour: int) -> None:
    mark = float(hour * HOUR_S)
    moments = [math.nextafter(mark, -math.inf), mark, math.nextafter(mark, math.inf)]
    store(files, "q", "answer")
    entry = whole(files, "q")
    for number, moment in enumerate(moments):
        files.restore(replace(entry, key=f"{number:064x}", created_at=moment, expires_at=moments[-1 - number]))
    files.delete(entry.key)
    rows = list(files._rows())
    for ages in ([mark], [moments[0]], [moments[2]], moments, [mark, mark + 1], [mark - 1], []):
        for now in (*moments, mark + 5, mark + HOUR_S):
            clock.now = now
            same_tally(files, rows, ages)
            for state in ("live", "expired"):
                same_page(files, rows, state=state, created_from=ages[0] if ages else None)
                same_page(files, rows, state=state, created_before=ages[-1] if ages else None)


@pytest.mark.parametrize("age", [1e18, -1e20, 1.7e308, math.inf, -math.inf, 2.0**52 + 2, -5e-324])
def test_any_age_divides(files: FileCache, age: float) -> None:
    store(files, "q", "answer")
    entry = whole(files, "q")
    for number, created_at in enumerate([0.0, -0.0, -5e-324, 1e17, -1e17, 1e300, -1e300, 2.0**62]):
        files.restore(replace(entry, key=f"{number:064x}", created_at=created_at, expires_at=created_at))
    rows = list(files._rows())
    same_tally(files, rows, [age])
    same_tally(files, rows, [-1.0, age, 3_600.0])
    same_as_by_looking(files)


def test_only_the_counts_that_are_true_now_are_remembered(files: FileCache, clock: FakeClock) -> None:
    view = files.view(ttl=10)
    for _ in range(100):  # more than are remembered
        store(view, f"q {clock.now}", "answer")
        same_tally(view, list(view._rows()), [clock.now - 5, clock.now // HOUR_S * HOUR_S])
        same_tally(view, list(view._rows()))
        assert view.entries(search="q").total == view.entries().total
        clock.tick(61)
        if view.entries().total > 5:
            view.purge_expired()
    store(view.view(namespace="other"), "q", "answer")
    assert view.view(namespace="other").entries(search="q").total == 1


# Pages


@pytest.mark.parametrize("order_by", ["created_at", "expires_at", "hits"])
def test_keys_that_begin_alike_are_each_visited_once(files: FileCache, order_by: str) -> None:
    store(files, "q", "answer")
    entry = whole(files, "q")
    for number in range(9):
        files.restore(replace(entry, key=f"{number:064x}", expires_at=[None, 5.0][number % 2]))
    for descending in (True, False):
        for limit in (1, 2, 5):
            same_page(files, list(files._rows()), order_by=order_by, descending=descending, limit=limit)


@pytest.fixture
def varied(files: FileCache, clock: FakeClock) -> FileCache:
    """Sixty entries that differ, and agree, in everything."""
    for number in range(60):
        model = ("gpt-4o", "small", None)[number % 3]
        llm_string = "plain" if model is None else repr([("model_name", model)])
        prompt = f"q{number} {'rare' if number % 20 == 0 else 'often'}"
        view = files.view(ttl=[None, 20, 5_000][number % 3])
        if number % 4 == 0:
            view.lookup(prompt, llm_string)
        store(view, prompt, "x" * (number % 5 * 600 + 1), "y", llm_string=llm_string)
        for _ in range(number % 4):
            view.lookup(prompt, llm_string)
        if number % 3:
            clock.tick()
        if number % 7 == 0:
            files.pin(cache_key(prompt, llm_string))
    files.flush()
    return files


@pytest.mark.parametrize("walked", [0.001, 1_000.0])
@pytest.mark.parametrize("tested", [0.5, 1_000])
def test_both_ways_lead_to_the_same_page(
    varied: FileCache, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, walked: float, tested: float
) -> None:
    varied.bring_up_to_date()
    monkeypatch.setattr(index_queries, "WALKED_FOR_ONE_GATHERED", walked)
    monkeypatch.setattr(index_queries, "TESTED_FOR_ONE_GATHERED", tested)
    rows = list(varied._rows())
    began = 1_700_000_000.0
    filters: list[dict[str, Any]] = [
        {},
        {"model": "gpt-4o"},
        {"model": "nobody"},
        {"state": "expired"},
        {"state": "live", "model": "small"},
        {"created_from": began + 5, "created_before": began + 6},
        {"created_from": began + 3.5},
        {"min_bytes": 1_000},
        {"min_bytes": 700, "below_bytes": 1_500},
        {"below_bytes": 10_000, "state": "expired", "model": "small", "created_before": began + 30},
        {"created_from": began + 6, "created_before": began + 5},
    ]
    looked_at = {"up_to_date": False}
    for number, some in enumerate(filters):
        for search in ("", "often", "rare", "q1", "q1 often"):
            for order_by in ("created_at", "expires_at", "hits"):
                descending = bool(number % 2)
                same_page(
                    varied,
                    rows,
                    search=search,
                    order_by=order_by,
                    descending=descending,
                    limit=number % 7 + 1,
                    **some,
                    **looked_at,
                )


def test_a_page_of_entries_that_were_all_removed_since_is_passed_over(varied: FileCache) -> None:
    varied.bring_up_to_date()
    order = [entry.key for entry in varied.entries(limit=100).entries]
    varied.delete(*order[:10])
    page = varied.entries(limit=4, up_to_date=False)
    assert [entry.key for entry in page.entries] == order[10:12]  # the third page of what was listed
    after = varied.entries(limit=4, up_to_date=False, after=page.next)
    assert [entry.key for entry in after.entries] == order[12:16]
    varied.delete(*order)
    assert varied.entries(limit=4, up_to_date=False).entries == []


def test_what_is_shown_is_read_from_the_store(varied: FileCache) -> None:
    varied.bring_up_to_date()
    key = varied.entries(search="rare").entries[0].key
    before = varied.get(key)
    assert before is not None
    varied.pin(key, not before.pinned)
    (shown,) = [entry for entry in varied.entries(search="rare", up_to_date=False).entries if entry.key == key]
    assert shown.pinned != before.pinned


def test_prompts_and_answers_are_told_from_each_other_by_nothing(files: FileCache) -> None:
    store(files, "carl", "sagan")
    assert hits(files, "sagan carl") == {"carl"}
    assert hits(files, "carlsagan") == set()
    assert prompts(files) == {"carl"}
    assert key_of("carl", LLM) == files.entries().entries[0].key
