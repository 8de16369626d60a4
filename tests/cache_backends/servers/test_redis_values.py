"""The bytes that Redis keeps of an entry: what went in comes out, and what was changed is noticed or harmless."""

from __future__ import annotations

import contextlib
import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_backends.codec import encode
from cache_backends.errors import CacheError, CacheUnavailableError, CorruptEntryError
from cache_backends.readable import message_prompt
from cache_backends.servers.redis_values import (
    FLAGS_AT,
    HEAD_BYTES,
    LISTED_BYTES,
    Head,
    found,
    is_pinned,
    stored,
    to_value,
)
from cache_backends.storage import StoredEntry
from tests.cache_backends.answers import LLM, chat

text = st.text(st.characters(codec="utf-8"), max_size=40)
times = st.floats(min_value=-1e10, max_value=1e10)
entries = st.builds(
    StoredEntry,
    digest=st.binary(min_size=32, max_size=32),
    payload=st.lists(text.filter(bool), min_size=1, max_size=3).map(lambda texts: encode([chat(one) for one in texts])),
    created_at=times,
    expires_at=st.none() | times,
    model_time_s=st.none() | st.floats(min_value=0, max_value=1e6),
    model=st.none() | text,
    raw_prompt=text | text.map(message_prompt),
    llm_string=text,
    last_used_at=times,
    hits=st.integers(min_value=0, max_value=2**40),
    pinned=st.booleans(),
)


def entry(prompt: str = "q", answer: str = "the answer") -> StoredEntry:
    """An ordinary one."""
    return StoredEntry(
        digest=bytes(range(32)),
        payload=encode([chat(answer)]),
        created_at=1_700_000_000.25,
        expires_at=1_700_003_600.5,
        model_time_s=1.5,
        model="demo-1",
        raw_prompt=message_prompt(prompt),
        llm_string=LLM,
        last_used_at=1_700_000_000.25,
    )


def come_back(one: StoredEntry) -> StoredEntry:
    """It, stored and read."""
    return stored(one.digest, to_value(one), one.llm_string, one.last_used_at, one.hits)


@given(entries)
def test_an_entry_comes_back_equal(one: StoredEntry) -> None:
    assert come_back(one) == one
    read = found(one.digest, to_value(one))
    assert read.answers == orjson.loads(one.payload)
    assert (read.created_at, read.model_time_s) == (one.created_at, one.model_time_s)
    assert read.expires_at == (None if one.pinned else one.expires_at)
    assert is_pinned(to_value(one)[FLAGS_AT : FLAGS_AT + 1]) == one.pinned


@pytest.mark.parametrize("length", [10, LISTED_BYTES - 200, LISTED_BYTES, 10 * LISTED_BYTES])
def test_a_list_reads_only_the_beginning_of_long_values(length: int) -> None:
    for prompt, answer in (("q" * length, "the answer"), ("q", "a" * length)):
        one = entry(prompt, answer)
        assert come_back(one) == one
        beginning = to_value(one)[:LISTED_BYTES]
        head = Head.of(beginning)
        assert head.model(beginning) == "demo-1"
        shown = head.shown(beginning)
        if len(to_value(one)) <= LISTED_BYTES:
            assert shown is None  # all of it is there
            assert head.prompt(beginning) == prompt
        else:
            assert shown is not None
            assert [prompt.startswith(shown[0].rstrip("…")), answer.startswith(shown[1].rstrip("…"))] == [True, True]


def test_the_longest_that_a_list_shows_lies_within_what_it_reads() -> None:
    one = entry("\x00" * 20_000, "\x00" * 20_000)  # six characters each as JSON
    one = one._replace(model="m" * 200)
    beginning = to_value(one)[:LISTED_BYTES]
    assert Head.of(beginning).shown(beginning) is not None


@pytest.mark.parametrize("answer", ["the answer", "long " * 2000])
def test_a_bit_that_is_changed_is_noticed_or_harmless(answer: str) -> None:
    one = entry(answer=answer)
    value = to_value(one)
    right = orjson.loads(one.payload)
    noticed = 0
    for at in [*range(min(len(value), 900)), *range(900, len(value), 97)]:
        for bit in range(8):
            changed = value[:at] + bytes([value[at] ^ (1 << bit)]) + value[at + 1 :]
            try:
                read = found(one.digest, changed)
            except CacheError:
                noticed += 1
            else:
                assert read.answers == right
                assert math.isfinite(read.created_at)
            with contextlib.suppress(CacheError):
                stored(one.digest, changed, LLM, 0.0, 0)
            with contextlib.suppress(CacheError):
                beginning = changed[:LISTED_BYTES]
                head = Head.of(beginning)
                head.shown(beginning)
                head.prompt(beginning)
                head.raw_prompt(beginning)
                head.model(beginning)
    assert noticed > 5 * min(len(value), 900)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: to_value(entry())[:HEAD_BYTES] + rest))
def test_any_bytes_are_no_answer(value: bytes) -> None:
    with pytest.raises(CacheError):
        found(entry().digest, value)


def test_a_value_is_good_under_its_own_key_only() -> None:
    with pytest.raises(CorruptEntryError):
        found(bytes(32), to_value(entry()))


def test_a_newer_format_is_refused_with_a_sentence() -> None:
    value = bytearray(to_value(entry()))
    value[4] = 2
    with pytest.raises(CacheUnavailableError, match=r"made by another version \(format 2; this one knows 1\)"):
        found(entry().digest, bytes(value))


def test_of_a_value_that_is_gone_there_is_no_pin() -> None:
    assert is_pinned(b"") is False
