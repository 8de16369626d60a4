"""What every backend promises about `restore`: an entry comes back as it was, whichever store it came from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, Generation

from cache_backends import CacheBackend, CacheEntry, open_cache
from cache_backends.errors import NotCacheableError
from tests.cache_backends.answers import LLM, chat, chat_prompt, found, key_of, look, prompts, store, whole
from tests.cache_backends.backends import BACKENDS, PERSISTENT, FakeClock, on_persistent_backends
from tests.cache_backends.conftest import OpenAgain
from tests.cache_backends.generations import json_answers, unicode_text, without_haste

times = st.floats(1e9, 4e9)
"""Unix times: from the year 2001 to the year 2096."""


def there(entry: CacheEntry, cache: CacheBackend) -> CacheEntry:
    """The entry as it is where this cache keeps it."""
    kept = cache.get(entry.key)
    assert kept is not None
    return replace(entry, namespace=cache.namespace, location=kept.location)


def lived(cache: CacheBackend, clock: FakeClock, prompt: str) -> CacheEntry:
    """An entry with something in every field."""
    found(cache, prompt)
    answers = [
        ChatGeneration(
            message=AIMessage(
                ["naïve 🪐", {"type": "text", "text": "\0"}],
                id="run-1",
                name="sagan",
                response_metadata={"finish_reason": "stop", "model_name": "demo-1"},
                tool_calls=[{"name": "look", "args": {"far": 1.5}, "id": "1", "type": "tool_call"}],
                usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            ),
            generation_info={"logprobs": None},
        ),
        Generation(text="plain"),
    ]
    cache.view(ttl=1000).update(prompt, LLM, answers)
    for _ in range(3):
        clock.tick(0.987654321)
        assert look(cache, prompt).outcome == "hit"
    cache.pin(key_of(prompt))
    return whole(cache, prompt)


def test_a_deleted_entry_comes_back_as_it_was(cache: CacheBackend, clock: FakeClock) -> None:
    entry = lived(cache, clock, "q")
    assert (entry.hits, entry.pinned, entry.last_used_at) == (3, True, clock.now)
    assert entry.model_time_s is not None
    answers = cache.lookup("q", LLM)
    entry = whole(cache, "q")
    clock.tick(500)
    cache.delete(entry.key)
    assert look(cache, "q").outcome == "miss"
    cache.restore(entry)
    assert whole(cache, "q") == entry
    assert cache.entries().entries == [_summary(cache)]
    assert cache.lookup("q", LLM) == answers == entry.generations
    assert whole(cache, "q") == replace(entry, hits=5, last_used_at=clock.now)


def _summary(cache: CacheBackend) -> Any:
    (summary,) = cache.entries().entries
    return summary


def test_an_entry_that_expired_comes_back_expired(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(ttl=60)
    store(cache, "q", "answer")
    entry = whole(cache, "q")
    clock.tick(70)
    assert cache.purge_expired() == 1
    cache.restore(entry)
    assert whole(cache, "q") == entry
    assert look(cache, "q").expired_for_s == 10


def test_restoring_replaces_what_is_there(cache: CacheBackend, clock: FakeClock) -> None:
    old = lived(cache, clock, "q")
    clock.tick()
    store(cache, "q", "newer and longer " * 20)
    found(cache, "q")
    cache.restore(old)
    assert whole(cache, "q") == old
    assert cache.stats().entries == 1
    assert cache.stats().size_bytes == old.size_bytes


def test_an_entry_is_restored_into_the_namespace_of_the_view(cache: CacheBackend, clock: FakeClock) -> None:
    entry = lived(cache, clock, "q")
    other = cache.view(namespace="other", ttl=5)
    other.restore(entry)
    assert whole(other, "q") == there(entry, other)
    assert whole(other, "q").namespace == "other"
    assert whole(cache, "q") == entry
    assert cache.namespaces() == ["default", "other"]


def test_restoring_is_not_counted_as_a_store(cache: CacheBackend, clock: FakeClock) -> None:
    entry = lived(cache, clock, "q")
    with cache.observe() as observed:
        cache.restore(entry)
    assert cache.counters.stores == 1
    assert list(observed) == list(observed.stores) == []


def test_uses_that_were_noted_before_do_not_come_on_top(cache: CacheBackend, clock: FakeClock) -> None:
    entry = lived(cache, clock, "q")
    found(cache, "q")  # only noted yet
    cache.delete(entry.key)
    cache.restore(entry)
    assert whole(cache, "q").hits == entry.hits


@on_persistent_backends
def test_a_restored_entry_is_there_after_a_restart(open_again: OpenAgain, clock: FakeClock) -> None:
    with open_again() as cache:
        entry = lived(cache, clock, "q")
        cache.delete(entry.key)
        cache.restore(entry)
    assert whole(open_again(), "q") == entry


def test_a_restored_entry_is_found_by_what_it_says(cache: CacheBackend, clock: FakeClock) -> None:
    prompt = chat_prompt("Who was Carl Sagan?")
    store(cache, prompt, "An astronomer.", llm_string="[('model_name', 'demo-2')]")
    entry = whole(cache, prompt, "[('model_name', 'demo-2')]")
    assert entry.raw_prompt == prompt
    cache.clear()
    assert cache.models() == []
    cache.restore(entry)
    assert cache.models() == ["demo-2"]
    assert [shown.key for shown in cache.entries(search="sagan astro").entries] == [entry.key]


@pytest.mark.parametrize("key", ["", "zz", "../../etc/passwd", "A" * 64, f"{'0' * 64}\n"])
def test_an_entry_under_what_cannot_be_a_key_is_refused(cache: CacheBackend, clock: FakeClock, key: str) -> None:
    entry = lived(cache, clock, "q")
    with pytest.raises(ValueError, match="is not a key: 64 hexadecimal digits are"):
        cache.restore(replace(entry, key=key))
    assert whole(cache, "q") == entry


@pytest.mark.parametrize(
    ("generations", "reason"),
    [
        ([], "empty"),
        ([chat("")], "empty"),
        ([chat("one"), Generation(text=" \n")], "empty"),
        ([chat("\ud800")], "unfaithful"),
        ([Generation(text="answer", generation_info={"when": (1, 2)})], "unfaithful"),
        ([Generation(text="answer", generation_info={"score": math.nan})], "unfaithful"),
        ([ChatGeneration(message=HumanMessage("answer"))], "unfaithful"),
    ],
)
def test_answers_that_cannot_be_kept_are_refused(
    cache: CacheBackend, generations: list[Generation], reason: str
) -> None:
    store(cache, "q", "answer")
    entry = whole(cache, "q")
    with pytest.raises(NotCacheableError) as refused:
        cache.restore(replace(entry, generations=generations))
    assert refused.value.reason == reason
    assert whole(cache, "q") == entry


@pytest.mark.parametrize(
    "fields",
    [
        {"raw_prompt": "\ud800"},
        {"llm_string": "\udfff"},
        {"model": "\ud800"},
        {"created_at": math.nan},
        {"created_at": math.inf},
        {"expires_at": math.nan},
        {"expires_at": math.inf},
        {"expires_at": -math.inf},
        {"last_used_at": math.nan},
        {"last_used_at": -math.inf},
        {"model_time_s": math.nan},
        {"hits": -1},
        {"hits": 2**63},
    ],
    ids=str,
)
def test_fields_that_cannot_be_kept_are_refused(cache: CacheBackend, fields: dict[str, Any]) -> None:
    store(cache, "q", "answer")
    entry = whole(cache, "q")
    with pytest.raises(NotCacheableError) as refused:
        cache.restore(replace(entry, **fields))
    assert refused.value.reason == "unfaithful"
    assert whole(cache, "q") == entry


def test_an_answer_that_was_cut_off_comes_back_too(open_again: OpenAgain) -> None:
    keeping = open_again(store_truncated=True)
    keeping.update("q", LLM, [chat("begin", response_metadata={"finish_reason": "length"})])
    entry = whole(keeping, "q")
    keeping.clear()
    cache = open_again()
    cache.restore(entry)
    assert whole(cache, "q") == there(entry, cache)


def test_a_secret_does_not_come_in_with_an_entry(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    entry = whole(cache, "q")
    cache.restore(replace(entry, llm_string="{'api_key': 'sk-0123456789abcdef0123'}"))
    assert whole(cache, "q").llm_string == "{'api_key': '[redacted]'}"


@given(
    generations=json_answers,
    prompt=unicode_text | unicode_text.map(chat_prompt),
    created_at=times,
    expires_at=st.none() | times,
    last_used_at=times,
    model_time_s=st.none() | st.floats(0, 1000),
    hits=st.integers(0, 10**11 - 1),
    pinned=st.booleans(),
)
@without_haste
def test_any_entry_is_restored_whole_or_refused(
    cache: CacheBackend, generations: list[Generation], **fields: Any
) -> None:
    prompt = fields.pop("prompt")
    cache.clear()
    store(cache, prompt, "answer")
    before = whole(cache, prompt)
    entry = replace(before, generations=generations, **fields)
    try:
        cache.restore(entry)
    except NotCacheableError:
        assert whole(cache, prompt) == before
        return
    kept = whole(cache, prompt)
    text = "\n\n".join(generation.text for generation in generations)
    assert kept == replace(entry, text=text, answer=kept.answer, size_bytes=kept.size_bytes)
    cache.delete(kept.key)
    cache.restore(kept)
    assert whole(cache, prompt) == kept


# From one kind of store to another


@pytest.fixture
def open_kind(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[[str], CacheBackend]]:
    """Opens a new, empty cache of the kind that is named."""
    opened: list[CacheBackend] = []
    numbers = count()

    def open_it(kind: str) -> CacheBackend:
        (backend,) = (backend for backend in BACKENDS if backend.name == kind)
        url = backend.url(tmp_path / str(next(numbers)))
        opened.append(open_cache(url, clock=clock, namespace=f"in {kind}"))
        return opened[-1]

    yield open_it
    for cache in opened:
        cache.close()


KINDS = [backend.name for backend in BACKENDS]
ROUND = [(*KINDS[first:], *KINDS[:first]) for first in range(len(KINDS))]
"""From each kind through all others, so that each is followed by two others: one there, one back."""


@pytest.mark.parametrize("way", [*ROUND, *(way[::-1] for way in ROUND)], ids="-".join)
def test_an_entry_wanders_through_every_kind_of_store(
    open_kind: Callable[[str], CacheBackend], clock: FakeClock, way: tuple[str, ...]
) -> None:
    first, *others = (open_kind(kind) for kind in way)
    home = first
    entries = [lived(home, clock, "q"), lived(home, clock, chat_prompt("Who was Carl Sagan?"))]
    wandering = entries
    for cache in others:
        for entry in wandering:
            cache.restore(entry)
        wandering = [whole(cache, entry.raw_prompt) for entry in wandering]
        assert wandering == [there(entry, cache) for entry in entries]
        assert len({entry.location for entry in [*wandering, *entries]}) in (3, 4)  # memory has one for all
    home.clear()
    for entry in wandering:
        home.restore(entry)
    assert [whole(home, entry.raw_prompt) for entry in entries] == [
        replace(entry, location=whole(home, entry.raw_prompt).location) for entry in entries
    ]


def test_a_whole_store_moves_into_another(open_kind: Callable[[str], CacheBackend], clock: FakeClock) -> None:
    for source_kind in [backend.name for backend in PERSISTENT]:
        source, target = open_kind(source_kind), open_kind("sqlite")
        for number in range(50):
            store(source.view(ttl=number or None), f"q{number}", f"answer {number}")
            clock.tick(0.3)
        for shown in source.entries(limit=1000).entries:
            entry = source.get(shown.key)
            assert entry is not None
            target.restore(entry)
        assert prompts(target) == prompts(source)
        assert replace(target.stats()) == source.stats()
