"""The key of a request: one for every request, the same everywhere and for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_backends.keys import cache_key, digest_of
from tests.cache_backends.generations import any_text


def test_the_key_of_a_request_never_changes() -> None:
    """A new value here would make every stored answer unfindable."""
    assert cache_key("", "") == "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc"
    assert cache_key("Who?", "m") == "114cd63dd4dce49e930ff367ebfec58935f9704e4e67fcc5c5f3f745ff54bc09"


@given(text=any_text, split=st.integers(0, 60), other=st.integers(0, 60))
def test_no_two_ways_to_split_a_text_share_a_key(text: str, split: int, other: int) -> None:
    ours, theirs = (text[:split], text[split:]), (text[:other], text[other:])
    assert (cache_key(*ours) == cache_key(*theirs)) == (ours == theirs)


@given(any_text, any_text, any_text, any_text)
def test_different_requests_have_different_keys(prompt: str, llm: str, other_prompt: str, other_llm: str) -> None:
    same = (prompt, llm) == (other_prompt, other_llm)
    assert (cache_key(prompt, llm) == cache_key(other_prompt, other_llm)) == same


@given(any_text, any_text)
def test_every_request_has_a_key(prompt: str, llm_string: str) -> None:
    key = cache_key(prompt, llm_string)
    assert digest_of(key).hex() == key


@given(st.text("0123456789abcdefg", max_size=70) | any_text)
def test_only_sixty_four_hexadecimal_digits_are_a_key(text: str) -> None:
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        assert digest_of(text).hex() == text
    else:
        with pytest.raises(ValueError, match="is not a key"):
            digest_of(text)
