"""Generations as bytes: what is stored comes back equal, and nothing else is taken for an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration, Generation, GenerationChunk
from pydantic import BaseModel

from cache_backends import codec
from cache_backends.errors import CorruptEntryError, NotCacheableError
from cache_backends.fresh_objects import generations_from
from tests.cache_backends.answers import chat
from tests.cache_backends.generations import json_answers, without_haste

KEY, OTHER_KEY = "0" * 64, "1" * 64


@without_haste
@given(generations=json_answers)
def test_decoding_undoes_encoding(generations: list[Generation]) -> None:
    assume(generations)
    payload = codec.encode(generations)
    assert codec.decode(payload) == generations
    assert codec.encode(codec.decode(payload)) == payload


def test_the_format_is_json_that_names_no_class() -> None:
    payload = codec.encode([Generation(text="plain", generation_info={"a": 1}), chat("Carl", id="run-1")])
    assert json.loads(payload) == [
        {"text": "plain", "info": {"a": 1}},
        {"message": {"content": "Carl", "id": "run-1"}},
    ]


def test_what_an_earlier_version_stored_is_still_read() -> None:
    """Stored bytes outlive the program: this is format 1 in full."""
    payload = (
        b'[{"info":{"finish_reason":"stop"},"text":"Pale dot","message":{"content":[{"type":"text","text":"Pale dot"}],'
        b'"additional_kwargs":{"refusal":null},"response_metadata":{"model_name":"m"},"name":"Carl","id":"run-1",'
        b'"tool_calls":[{"name":"f","args":{"x":1},"id":"1","type":"tool_call"}],"invalid_tool_calls":[{"name":"g",'
        b'"args":"{","id":"2","error":"bad","type":"invalid_tool_call"}],"usage_metadata":{"input_tokens":1,'
        b'"output_tokens":2,"total_tokens":3},"extra":{"citation":"Cosmos"}}}]'
    )
    message = AIMessage(
        [{"type": "text", "text": "Pale dot"}],
        additional_kwargs={"refusal": None},
        response_metadata={"model_name": "m"},
        name="Carl",
        id="run-1",
        tool_calls=[{"name": "f", "args": {"x": 1}, "id": "1", "type": "tool_call"}],
        invalid_tool_calls=[{"name": "g", "args": "{", "id": "2", "error": "bad", "type": "invalid_tool_call"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        citation="Cosmos",
    )
    assert codec.decode(payload) == [ChatGeneration(message=message, generation_info={"finish_reason": "stop"})]


class Unserializable(BaseModel):
    """A parsed answer that pydantic itself can't turn into JSON."""

    value: Any


class LoudMessage(AIMessage):
    """A message of somebody's own."""


@pytest.mark.parametrize(
    "generation",
    [
        Generation(text="x", generation_info={"a": float("nan")}),
        Generation(text="x", generation_info={"a": float("inf")}),
        Generation(text="x", generation_info={"a": 2**64}),
        Generation(text="x", generation_info={"a": (1, 2)}),
        Generation(text="x", generation_info={"a": b"bytes"}),
        Generation(text="x", generation_info={"a": object()}),
        Generation(text="x", generation_info={"a": {1: "a"}}),
        Generation(text="\ud800"),
        GenerationChunk(text="x"),
        ChatGeneration(message=HumanMessage("x")),
        ChatGeneration(message=AIMessageChunk("x")),
        ChatGeneration(message=LoudMessage("x")),
        chat("x", additional_kwargs={"parsed": Unserializable(value=object())}),
        chat("x", additional_kwargs={"other": Unserializable(value=1)}),
    ],
    ids=lambda generation: repr(generation)[:50].encode("ascii", "replace").decode(),
)
def test_what_would_not_come_back_equal_is_refused(generation: Generation) -> None:
    with pytest.raises(NotCacheableError) as refused:
        codec.encode([generation])
    assert refused.value.reason == "unfaithful"


def test_what_is_nested_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    for value in (endless, deep):
        with pytest.raises(NotCacheableError):
            codec.encode([Generation(text="x", generation_info={"a": value})])


def test_encoding_changes_nothing_of_the_answer() -> None:
    parsed = Unserializable(value=1)
    generation = chat("x", additional_kwargs={"parsed": parsed})
    codec.encode([generation])
    assert generation.message.additional_kwargs == {"parsed": parsed}


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"{}",
        b"[]",
        b'"text"',
        b"[1]",
        b"[null]",
        b"[[]]",
        b"[{}]",
        b'[{"text": 1}]',
        b'[{"text": null}]',
        b'[{"text": "x", "info": []}]',
        b'[{"message": "x"}]',
        b'[{"message": {}}]',
        b'[{"message": {"content": 1}}]',
        b'[{"message": {"content": {"type": "text"}}}]',
        b'[{"message": {"content": []}}]',
        b'[{"message": {"content": "x", "id": 1}}]',
        b'[{"message": {"content": "x", "name": {}}}]',
        b'[{"message": {"content": "x", "tool_calls": {}}}]',
        b'[{"message": {"content": "x", "invalid_tool_calls": null}}]',
        b'[{"message": {"content": "x", "additional_kwargs": []}}]',
        b'[{"message": {"content": "x", "response_metadata": "x"}}]',
        b'[{"message": {"content": "x", "usage_metadata": 1}}]',
        b'[{"message": {"content": "x", "extra": []}}]',
        b'[{"message": {"content": "x", "extra": {"content": "y"}}}]',
        b'[{"message": {"content": "x", "extra": {"type": "human"}}}]',
        b'[{"text": 1, "message": {"content": "x"}}]',
        b'[{"text": "good"}, {"text": 1}]',
        b'[{"lc": 1, "type": "constructor", "id": ["langchain", "schema", "output", "Generation"], "kwargs": {}}]',
        b'{"lc": 1, "type": "constructor", "id": ["langchain_core", "prompts", "PromptTemplate"], "kwargs": {}}',
    ],
    ids=repr,
)
def test_anything_but_the_format_is_corrupt(stored: bytes) -> None:
    with pytest.raises(CorruptEntryError):
        codec.decode(stored)


any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["x", "text", "constructor"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["text", "info", "message", "content", "extra", "id", "name", "lc", "type", "tool_calls"]),
            inner,
        )
    ),
    max_leaves=12,
)


@without_haste
@given(parsed=any_json | st.lists(st.fixed_dictionaries({"message": st.dictionaries(st.just("content"), any_json)})))
def test_whatever_lies_in_a_store_becomes_generations_of_known_types_or_is_corrupt(parsed: Any) -> None:
    try:
        generations = generations_from(parsed)
    except CorruptEntryError:
        return
    assert generations
    for generation in generations:
        assert type(generation) in (Generation, ChatGeneration)
        assert type(generation.text) is str
        if isinstance(generation, ChatGeneration):
            assert type(generation.message) is AIMessage
            assert generation.message.type == "ai"


def test_a_seal_is_good_for_its_key_and_its_bytes_only() -> None:
    payload = codec.encode([chat("answer")])
    sealed = codec.seal(KEY, payload)
    assert bytes(codec.unseal(KEY, sealed)) == payload
    with pytest.raises(CorruptEntryError):
        codec.unseal(OTHER_KEY, sealed)
    for position in range(len(sealed)):
        for flip in (1, 0x80):
            changed = bytearray(sealed)
            changed[position] ^= flip
            with pytest.raises(CorruptEntryError):
                codec.unseal(KEY, bytes(changed))
        with pytest.raises(CorruptEntryError):
            codec.unseal(KEY, sealed[:position])
    with pytest.raises(CorruptEntryError):
        codec.unseal(KEY, sealed + b" ")


@pytest.mark.parametrize("content", [[1, 2], [None], [["nested"]], [["text"], {"type": "text", "text": "x"}]])
def test_a_planted_block_that_is_neither_text_nor_an_object_is_corrupt(content: list[Any]) -> None:
    with pytest.raises(CorruptEntryError, match="block"):
        codec.decode(json.dumps([{"text": "x", "message": {"content": content}}]).encode())
