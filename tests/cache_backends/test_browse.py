"""Finding, ordering and paging by looking at every entry, against plain sorting and filtering."""

from __future__ import annotations

import contextlib
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_backends import EntrySummary
from cache_backends.browse import Query, Row, page, words
from cache_backends.records import EntryOrder, EntryState
from tests.cache_backends.generations import any_text

NOW = 100.0
numbers = st.integers(0, 5).map(float)
EVERYTHING: dict[str, Any] = {
    "search": "",
    "model": None,
    "state": "any",
    "order_by": "created_at",
    "descending": True,
    "limit": 50,
    "after": None,
}


@st.composite
def libraries(draw: st.DrawFn) -> list[Row]:
    """Rows with many equal values, so that ties are the rule."""
    keys = [f"{number:064x}" for number in draw(st.lists(st.integers(0, 2**256 - 1), unique=True, max_size=12))]
    return [
        Row(
            EntrySummary(
                key=key,
                namespace="default",
                prompt="",
                answer="",
                model=draw(st.sampled_from([None, "m", "n"])),
                created_at=draw(numbers),
                expires_at=draw(st.none() | st.sampled_from([99.0, 100.0, 101.0])),
                last_used_at=draw(numbers),
                hits=draw(st.integers(0, 3)),
                size_bytes=draw(st.integers(0, 3)),
                model_time_s=draw(st.none() | numbers),
            ),
            draw(st.sampled_from(["Carl Sagan", "carl", "Neil Ärmström", "neil sagan", ""])),
        )
        for key in keys
    ]


queries = st.fixed_dictionaries(
    {
        "search": st.sampled_from(["", " ", "sag", "carl sag", "arm", "ÄRM", "?", "nowhere"]),
        "model": st.sampled_from([None, "m", "x"]),
        "state": st.sampled_from(get_args(EntryState)),
        "order_by": st.sampled_from(get_args(EntryOrder)),
        "descending": st.booleans(),
        "limit": st.integers(1, 5),
    }
)


@settings(deadline=None)
@given(rows=libraries(), query=queries, chance=st.randoms(use_true_random=False))
def test_pages_are_the_slices_of_the_sorted_matches(rows: list[Row], query: dict[str, Any], chance: Any) -> None:
    sign = -1 if query["descending"] else 1

    def place(row: Row) -> tuple[bool, float, int]:
        value = getattr(row.summary, query["order_by"])
        return (value is None, 0.0 if value is None else sign * value, sign * int(row.summary.key, 16))

    matching = [row.summary for row in sorted(rows, key=place) if _matches(row, query)]
    shown: list[EntrySummary] = []
    after = None
    while True:
        chance.shuffle(rows)  # a store yields its rows in any order
        found = page(rows, Query(**query, after=after), NOW)
        assert found.total == len(matching)
        shown.extend(found.entries)
        assert len(shown) <= len(matching), "a page that repeats entries would go on for ever"
        assert len(found.entries) == query["limit"] or found.next is None
        if found.next is None:
            break
        after = found.next
    assert shown == matching


def _matches(row: Row, query: dict[str, Any]) -> bool:
    expires_at = row.summary.expires_at
    is_expired = expires_at is not None and expires_at <= NOW
    text = row.text.lower().replace("ä", "a").replace("ö", "o").split()
    wanted = query["search"].lower().replace("ä", "a").replace("?", "§").split()
    return (
        query["model"] in (None, row.summary.model)
        and query["state"] in ("any", "expired" if is_expired else "live")
        and all(any(word.startswith(prefix) for word in text) for prefix in wanted)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Who was Carl Sagan?", ["who", "was", "carl", "sagan"]),
        ("São-Tomé, naïve", ["sao", "tome", "naive"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("ﬁne ① ℃ ＦＵＬＬ", ["fine", "1", "c", "full"]),
        ("ℂ 𝐁𝐎𝐋𝐃", ["c", "bold"]),
        ("e\u0301te\u0301 été", ["ete", "ete"]),
        ("100% sure_thing", ["100", "sure", "thing"]),
        ("Ωmega ΣΑΣ σας", ["ωmega", "σασ", "σασ"]),
        ("卡尔·萨根", ["卡尔", "萨根"]),
        ("", []),
        ("?!… \0\n", []),
    ],
)
def test_words_are_runs_of_letters_and_digits_without_case_and_accents(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(any_text)
def test_a_word_stays_the_word_it_is(text: str) -> None:
    assert words(" ".join(words(text))) == words(text)


@given(any_text)
def test_any_text_is_found_by_its_own_words(text: str) -> None:
    summary = EntrySummary(
        key="a" * 64,
        namespace="n",
        prompt="",
        answer="",
        model=None,
        created_at=0,
        expires_at=None,
        last_used_at=0,
        hits=0,
        size_bytes=0,
    )
    found = page([Row(summary, f"before {text} after")], Query(**{**EVERYTHING, "search": text}), NOW)
    assert found.total == (bool(words(text)) or not text.strip())


@given(any_text.filter(bool))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    query = Query(**{**EVERYTHING, "after": text})
    with contextlib.suppress(ValueError):
        assert page([], query, NOW).total == 0
