"""`ObservedCache`: what it notes, and that the cache behind it can't tell it from LangChain."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.outputs import Generation

from cache_backends import MemoryCache, cache_key
from lab.observed_cache import ObservedCache

ANSWER = [Generation(text="An astronomer.")]


class Noting(BaseCache):
    """Notes what it is asked and told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def lookup(self, prompt: str, llm_string: str) -> None:
        self.calls.append(("lookup", prompt, llm_string))

    def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
        self.calls.append(("update", prompt, llm_string, return_val))

    def clear(self, **kwargs: Any) -> None:
        self.calls.append(("clear", kwargs))


def test_the_exact_strings_of_langchain_are_noted() -> None:
    observed = ObservedCache(MemoryCache())
    observed.lookup("prompt", "model")
    assert (observed.prompt, observed.llm_string) == ("prompt", "model")
    assert observed.record is not None
    assert observed.record.key == cache_key("prompt", "model")


def test_our_backends_get_the_strings_as_they_are_and_note_the_lookup_themselves() -> None:
    cache = MemoryCache(namespace="a")
    cache.update("prompt", "model", ANSWER)
    observed = ObservedCache(cache, namespace="a")
    assert observed.lookup("prompt", "model") == ANSWER
    assert observed.record is not None
    assert (observed.record.outcome, cache.counters.hits) == ("hit", 1)
    assert observed.record.age_s is not None


def test_the_namespace_goes_into_the_key_of_a_cache_that_knows_none() -> None:
    noting = Noting()
    observed = ObservedCache(noting, namespace="shared:a")
    observed.lookup("prompt", "model")
    observed.update("prompt", "model", ANSWER)
    assert noting.calls == [("lookup", "prompt", "shared:a\nmodel"), ("update", "prompt", "shared:a\nmodel", ANSWER)]
    plain = Noting()
    ObservedCache(plain).lookup("prompt", "model")
    assert plain.calls == [("lookup", "prompt", "model")]


def test_times_are_noted_in_the_order_in_which_things_happen() -> None:
    observed = ObservedCache(InMemoryCache())
    observed.lookup("prompt", "model")
    observed.update("prompt", "model", ANSWER)
    assert observed.lookup_ended is not None
    assert observed.store_began is not None
    assert observed.lookup_ended <= observed.store_began
    assert observed.store_s is not None
    assert observed.store_s > 0
    assert observed.stored


def test_without_a_cache_nothing_is_found_and_nothing_stored() -> None:
    observed = ObservedCache(None)
    assert observed.lookup("prompt", "model") is None
    observed.update("prompt", "model", ANSWER)
    observed.clear()
    assert (observed.record, observed.stored, observed.store_s) == (None, False, None)
    assert observed.lookup_ended is not None
    assert observed.store_began is not None
    assert observed.generations == ANSWER


@pytest.mark.parametrize("inner", [MemoryCache(), InMemoryCache()])
def test_an_answer_that_is_refused_does_not_reach_the_cache(inner: BaseCache) -> None:
    observed = ObservedCache(inner, refuse=lambda _: "no_finish")
    observed.lookup("prompt", "model")
    observed.update("prompt", "model", ANSWER)
    assert (observed.stored, observed.not_stored) == (False, "no_finish")
    assert inner.lookup("prompt", "model") is None


def test_why_our_backend_did_not_store_is_noted_with_its_words() -> None:
    observed = ObservedCache(MemoryCache())
    observed.lookup("prompt", "model")
    observed.update("prompt", "model", [Generation(text="  ")])
    assert (observed.stored, observed.not_stored, observed.detail) == (False, "empty", "the answer is empty")


def test_clearing_is_passed_on() -> None:
    noting = Noting()
    ObservedCache(noting).clear(kind="all")
    assert noting.calls == [("clear", {"kind": "all"})]


def test_a_list_with_something_else_than_generations_is_corrupt_and_not_handed_on() -> None:
    inner = InMemoryCache()
    inner.update("prompt", "model", ["text"])  # type: ignore[list-item]
    observed = ObservedCache(inner)
    assert observed.lookup("prompt", "model") is None
    assert observed.record is not None
    assert observed.record.outcome == "corrupt"
