"""What every backend promises a person who browses: search, filters, orders, pages, whole entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given

from cache_backends import CacheBackend, EntrySummary, cache_key
from cache_backends.records import EntryOrder, EntryState
from tests.cache_backends.answers import LLM, chat, chat_prompt, found, store
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.conftest import OpenAgain
from tests.cache_backends.generations import any_text, without_haste

SAGAN = "Who was Carl Sagan, the astronomer?"
ARMSTRONG = "Quem foi Neil Armstrong?"
TYSON = "Who is Neil deGrasse Tyson?"


@pytest.fixture
def library(cache: CacheBackend, clock: FakeClock) -> CacheBackend:
    """A cache with three answers of two models."""
    for prompt, answer, model in (
        (SAGAN, "He wrote Cosmos — and said: “We're made of star-stuff.”", "gpt-4o"),
        (ARMSTRONG, "O primeiro homem a pisar na Lua, em 1969: não há São Tomé.", "gpt-4o"),
        (TYSON, "An astrophysicist. Naïve? No. 100% sure_thing.", "gpt-3.5-turbo-instruct"),
    ):
        store(cache, chat_prompt(prompt), answer, llm_string=f"[('model_name', '{model}')]")
        clock.tick()
    return cache


def shown(cache: CacheBackend, **query: Any) -> list[str]:
    """The prompts a list shows, in its order."""
    page = cache.entries(**query)
    assert page.total == len(page.entries) or page.next is not None or query.get("after")
    return [entry.prompt for entry in page.entries]


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("", {SAGAN, ARMSTRONG, TYSON}),
        ("   ", {SAGAN, ARMSTRONG, TYSON}),
        ("sagan", {SAGAN}),
        ("SAGAN", {SAGAN}),
        ("sag", {SAGAN}),
        ("agan", set()),  # words are found by their beginning
        ("neil", {ARMSTRONG, TYSON}),
        ("tyson neil", {TYSON}),
        ("neil sagan", set()),
        ("cosmos", {SAGAN}),  # in the answer
        ("carl cosmos", {SAGAN}),  # one word in the prompt, one in the answer
        ("sao tome", {ARMSTRONG}),
        ("SÃO", {ARMSTRONG}),
        ("naive", {TYSON}),
        ("nai\u0308ve", {TYSON}),
        ("1969", {ARMSTRONG}),
        ("star-stuff", {SAGAN}),
        ("“star", {SAGAN}),
        ("100%", {TYSON}),
        ("sure_thing", {TYSON}),
        ("?", set()),
        ("nowhere", set()),
    ],
)
def test_search_finds_every_word_as_a_prefix(library: CacheBackend, search: str, expected: set[str]) -> None:
    assert set(shown(library, search=search)) == expected
    assert library.entries(search=search).total == len(expected)


@pytest.mark.parametrize(
    "search",
    [
        "sagan OR neil",
        "sagan*",
        '"sagan',
        "sagan NEAR/3 who",
        "prompt:sagan",
        "' or 1=1 --",
        "%",
        "_",
        "*",
        "(",
        "\\",
        "a" * 100_000,
        "\0",
        "\ud800",
        "[a-z]+",
        "{}",
        "{{7*7}}",
        "-sagan +neil",
    ],
    ids=lambda search: repr(search)[:20],
)
def test_search_text_is_never_query_syntax(library: CacheBackend, search: str) -> None:
    words = "".join(c if c.isalnum() else " " for c in search).lower().split()
    texts = {SAGAN: "sagan who", ARMSTRONG: "neil", TYSON: "neil"}
    possible = {prompt for prompt, text in texts.items() if words and all(word in text.split() for word in words)}
    assert set(shown(library, search=search)) == possible


@without_haste
@given(search=any_text)
def test_any_search_text_is_answered(cache: CacheBackend, search: str) -> None:
    store(cache, "q", "answer")
    page = cache.entries(search=search)
    assert page.total == len(page.entries) <= 1


def test_the_models_are_listed_and_filter_entries(library: CacheBackend) -> None:
    store(library, "no model at all", "answer", llm_string="plain")
    assert library.models() == ["gpt-3.5-turbo-instruct", "gpt-4o"]
    assert shown(library, model="gpt-4o") == [ARMSTRONG, SAGAN]
    assert shown(library, model="gpt-4o", search="neil") == [ARMSTRONG]
    assert shown(library, model="gpt") == []
    assert shown(library, model="' or 1=1 --") == []


def test_the_state_filters_entries(cache: CacheBackend, clock: FakeClock) -> None:
    store(cache.view(ttl=10), "short", "answer")
    clock.tick()
    store(cache.view(ttl=100), "long", "answer")
    clock.tick()
    store(cache, "forever", "answer")
    clock.tick(50)
    assert shown(cache) == ["forever", "long", "short"]
    assert shown(cache, state="any") == ["forever", "long", "short"]
    assert shown(cache, state="live") == ["forever", "long"]
    assert shown(cache, state="expired") == ["short"]


def test_a_list_shows_only_its_own_namespace(library: CacheBackend) -> None:
    other = library.view(namespace="other")
    store(other, "elsewhere", "answer", llm_string="[('model_name', 'gpt-5')]")
    assert shown(other) == ["elsewhere"]
    assert "elsewhere" not in shown(library)
    assert other.models() == ["gpt-5"]
    assert "gpt-5" not in library.models()


def test_an_empty_cache_has_an_empty_page(cache: CacheBackend) -> None:
    page = cache.entries()
    assert (list(page.entries), page.next, page.total, page.total_is_estimate) == ([], None, 0, False)
    assert cache.models() == []


def test_a_summary_shows_the_beginning_of_prompt_and_answer(cache: CacheBackend, clock: FakeClock) -> None:
    store(cache.view(ttl=60), chat_prompt("Why? " * 500), "Because. " * 500, "Also.")
    (entry,) = cache.entries().entries
    assert type(entry) is EntrySummary
    assert entry.prompt.startswith("Why? Why?")
    assert entry.answer.startswith("Because. Because.")
    assert [len(text) <= 300 and text.endswith("…") for text in (entry.prompt, entry.answer)] == [True, True]
    assert (entry.model, entry.created_at, entry.expires_at) == ("demo-1", clock.now, clock.now + 60)
    assert (entry.hits, entry.pinned, entry.key) == (0, False, cache_key(chat_prompt("Why? " * 500), LLM))
    assert entry.size_bytes > 500 * len("Because. Why? ")


def test_a_whole_entry_shows_everything_and_counts_no_hit(cache: CacheBackend, clock: FakeClock) -> None:
    prompt, generations = chat_prompt("Who?"), [chat("Carl", id="run-1"), chat("Sagan")]
    cache.update(prompt, LLM, generations)
    key = cache_key(prompt, LLM)
    entry = cache.get(key)
    assert entry is not None
    assert (entry.key, entry.namespace, entry.prompt, entry.raw_prompt) == (key, "default", "Who?", prompt)
    assert (entry.llm_string, entry.model, entry.text) == (LLM, "demo-1", "Carl\n\nSagan")
    assert entry.generations == generations
    assert entry.location
    again = cache.get(key)
    assert again is not None
    assert (again.hits, again.last_used_at) == (0, entry.created_at)
    assert (cache.counters.hits, cache.counters.lookups) == (0, 0)


def test_a_whole_entry_is_shown_even_when_expired(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=10)
    store(cache, "q", "answer")
    clock.tick(11)
    entry = cache.get(cache_key("q", LLM))
    assert entry is not None
    assert entry.is_expired(clock.now)
    assert entry.text == "answer"


def test_there_is_no_entry_where_nothing_was_stored(cache: CacheBackend) -> None:
    store(cache.view(namespace="other"), "q", "answer")
    assert cache.get(cache_key("q", LLM)) is None


# Orders and pages


@pytest.fixture
def many(cache: CacheBackend, clock: FakeClock) -> CacheBackend:
    """Twenty-three entries that differ, and agree, in everything one can order by."""
    for number in range(23):
        view = cache.view(ttl=[None, 500, 1000][number % 3])
        prompt = f"q{number * 7 % 23}"
        if number % 2:
            found(view, prompt)  # a miss: from here the model's time is measured
        store(view, prompt, "x" * (number % 5 * 100 + 1))
        if number % 4:
            clock.tick()
        for _ in range(number % 3):
            found(view, prompt)
    return cache


@pytest.mark.parametrize("order_by", get_args(EntryOrder))
@pytest.mark.parametrize("descending", [True, False])
def test_pages_visit_each_entry_once_and_in_order(many: CacheBackend, order_by: EntryOrder, descending: bool) -> None:
    everything = many.entries(limit=1000).entries
    sign = -1 if descending else 1

    def place(entry: EntrySummary) -> tuple[bool, float]:
        value = getattr(entry, order_by)
        return (value is None, 0 if value is None else sign * value)

    for limit in (1, 4, 22, 23, 24):
        visited = _visit(many, lambda: None, order_by=order_by, descending=descending, limit=limit)
        assert [place(entry) for entry in visited] == sorted(map(place, everything))
        assert sorted(entry.key for entry in visited) == sorted(entry.key for entry in everything)


def test_pages_keep_their_place_while_others_store_and_delete(many: CacheBackend, clock: FakeClock) -> None:
    before = {entry.key for entry in many.entries(limit=1000).entries}
    removed: list[str] = []

    def meanwhile() -> None:
        clock.tick()
        store(many, f"new {clock.now}", "answer")
        page = many.entries(limit=2).entries
        removed.extend(entry.key for entry in page if entry.key in before)
        many.delete(*removed)

    visited = [entry.key for entry in _visit(many, meanwhile, limit=3)]
    assert len(visited) == len(set(visited))
    assert before - set(removed) <= set(visited) <= before


def test_pages_of_a_search_visit_only_what_matches(many: CacheBackend) -> None:
    visited = _visit(many, lambda: None, search="q1", limit=2, state="any")
    assert {entry.prompt for entry in visited} == {"q1", *(f"q1{digit}" for digit in range(10))}


def test_a_page_tells_how_many_entries_match_in_all(many: CacheBackend) -> None:
    page = many.entries(limit=5)
    assert (len(page.entries), page.total) == (5, 23)
    assert many.entries(limit=5, after=page.next).total == 23


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"limit": 0}, "limit=0 is out of range. Use 1 to 1000."),
        ({"limit": -1}, "limit=-1 is out of range"),
        ({"limit": 1001}, "limit=1001 is out of range"),
        ({"limit": "50"}, "limit='50' is out of range"),
        ({"limit": 2.0}, "limit=2.0 is out of range"),
        ({"order_by": "prompt"}, "order_by='prompt' is unknown. Use one of: created_at, "),
        ({"order_by": "key; drop table entries"}, "is unknown. Use one of: created_at, "),
        ({"state": "dead"}, "state='dead' is unknown. Use one of: any, live, expired."),
        ({"after": "nonsense"}, "after='nonsense' is not a cursor"),
        ({"after": "é"}, "after='é' is not a cursor"),
        ({"after": "bnVsbA"}, "is not a cursor"),
        ({"after": "WzEsMiwzXQ"}, "is not a cursor"),
        ({"after": "W2ZhbHNlLG51bGwsImEiXQ"}, "is not a cursor"),
        ({"after": "W2ZhbHNlLCJuYW4iLCJhIl0"}, "is not a cursor"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_query_that_is_not_allowed_is_refused_with_a_sentence(
    cache: CacheBackend, query: dict[str, Any], sentence: str
) -> None:
    store(cache, "q", "answer")
    with pytest.raises(ValueError, match=r"(Use|Leave)") as raised:
        cache.entries(**query)
    assert sentence in str(raised.value)


def test_every_state_and_order_is_known_to_every_backend(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    for state in get_args(EntryState):
        for order_by in get_args(EntryOrder):
            assert cache.entries(state=state, order_by=order_by).total == (state != "expired")


def _visit(cache: CacheBackend, meanwhile: Callable[[], None], **query: Any) -> list[EntrySummary]:
    """Every page of a query, one after the other."""
    visited: list[EntrySummary] = []
    after = None
    while True:
        page = cache.entries(after=after, **query)
        visited.extend(page.entries)
        assert len(visited) <= 100, "a page that repeats entries would go on for ever"
        if page.next is None:
            return visited
        assert len(page.entries) == query["limit"]
        after = page.next
        meanwhile()
