"""Generations to JSON bytes and back, and the checksum that binds those bytes to their key.

The format is a JSON array with one object a generation:

    [{"text": "…", "info": {…}}]                                      a `Generation`
    [{"message": {"content": "…", "response_metadata": {…}}}]         a `ChatGeneration(AIMessage)`

Fields that hold their default are left out; `text` is left out where it is the message's string content. Nothing in it
names a class or is ever executed. Whatever would not come back equal is refused when it is stored, which is why reading
need not validate again: the checksum says that these are the bytes that were validated, and a short check of the types
guards against entries that somebody wrote by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import orjson
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation
from pydantic import BaseModel

from cache_backends.errors import CorruptEntryError, NotCacheableError

CHECKSUM_BYTES = 16
"""Half of a SHA-256: an accidental change goes unseen once in 2**128."""

_EXACT = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
"""orjson must refuse what it would otherwise turn into something that does not come back equal."""

_CUT_OFF = ("length", "max_tokens", "MAX_TOKENS", "max_output_tokens")
"""Finish reasons of an answer cut off by its length (OpenAI, Ollama; Anthropic, Bedrock; Google; OpenAI Responses)."""
_FINISH_REASONS = ("finish_reason", "stop_reason", "done_reason", "stopReason")

_MESSAGE_FIELDS = (
    "content",
    "additional_kwargs",
    "response_metadata",
    "name",
    "id",
    "tool_calls",
    "invalid_tool_calls",
    "usage_metadata",
)
_DICT_FIELDS = ("additional_kwargs", "response_metadata")
_LIST_FIELDS = ("tool_calls", "invalid_tool_calls")


def encode(generations: Sequence[Generation]) -> bytes:
    """The generations of one request as JSON bytes.

    Raises `NotCacheableError` where decoding them would not give equal generations. One thing changes on purpose:
    the parsed object of structured output (`additional_kwargs["parsed"]`) is kept as a dict, as LangChain itself
    does and accepts.
    """
    try:
        plain = [_without_parsed_models(generation) for generation in generations]
        payload = orjson.dumps([_to_json(generation) for generation in plain], option=_EXACT)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotCacheableError("unfaithful", f"the answer holds what JSON can't keep: {error}") from error
    try:
        same = decode(payload) == plain
    except CorruptEntryError as error:
        raise NotCacheableError("unfaithful", f"the answer would not come back equal: {error}") from error
    if not same:
        raise NotCacheableError("unfaithful", "the answer would not come back equal")
    return payload


def decode(payload: bytes | memoryview) -> list[Generation]:
    """Generations from the bytes that `encode` made. Raises `CorruptEntryError` on anything else."""
    try:
        parsed = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise CorruptEntryError(f"not JSON: {error}") from error
    return build(parsed)


def build(parsed: object) -> list[Generation]:
    """Generations from the parsed JSON array. Raises `CorruptEntryError` where its shape is not the format's."""
    if not isinstance(parsed, list) or not parsed:
        raise CorruptEntryError("not a list of generations")
    return [_from_json(item) for item in parsed]


def seal(key: str, payload: bytes) -> bytes:
    """Checksum and payload as one value that is good under `key` only."""
    return checksum(key, payload) + payload


def unseal(key: str, value: bytes) -> memoryview:
    """The payload of a sealed value. Raises `CorruptEntryError` if it was changed or belongs to another key."""
    payload = memoryview(value)[CHECKSUM_BYTES:]
    if checksum(key, payload) != value[:CHECKSUM_BYTES]:
        raise CorruptEntryError("the checksum does not fit: damaged, or stored under another key")
    return payload


def checksum(key: str, payload: bytes | memoryview) -> bytes:
    """The first half of SHA-256 over key and payload."""
    digest = sha256(key.encode("ascii"))
    digest.update(payload)
    return digest.digest()[:CHECKSUM_BYTES]


def refuse_what_is_not_worth_keeping(generations: Sequence[Generation], *, store_truncated: bool) -> None:
    """Raise `NotCacheableError` for empty answers, and for those cut off by their length."""
    if not generations or any(_is_empty(generation) for generation in generations):
        raise NotCacheableError("empty", "the answer is empty")
    if not store_truncated and any(_is_cut_off(generation) for generation in generations):
        raise NotCacheableError("truncated", "the answer was cut off by its length limit")


def _to_json(generation: Generation) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if generation.generation_info is not None:
        fields["info"] = generation.generation_info
    if type(generation) is Generation:
        return {"text": generation.text, **fields}
    if type(generation) is not ChatGeneration or type(generation.message) is not AIMessage:
        raise NotCacheableError("unfaithful", f"{type(generation).__name__} with this message is not kept")
    message = generation.message
    kept = {name: value for name in _MESSAGE_FIELDS if (value := getattr(message, name)) not in (None, {}, [])}
    kept["content"] = message.content
    if message.__pydantic_extra__:
        kept["extra"] = message.__pydantic_extra__
    if generation.text != message.content:
        fields["text"] = str(generation.text)
    return {**fields, "message": kept}


def _from_json(item: object) -> Generation:
    if not isinstance(item, dict):
        raise CorruptEntryError("a generation is not an object")
    info = item.get("info")
    if not (info is None or isinstance(info, dict)):
        raise CorruptEntryError("generation info is not an object")
    fields = item.get("message")
    if fields is None:
        text = item.get("text")
        if not isinstance(text, str):
            raise CorruptEntryError("the text of a generation is missing")
        return Generation.model_construct(text=text, generation_info=info, type="Generation")
    message = _message_from_json(fields)
    text = item.get("text", message.content)
    if not isinstance(text, str):
        raise CorruptEntryError("the text of a generation is missing")
    return ChatGeneration.model_construct(text=text, generation_info=info, message=message, type="ChatGeneration")


def _message_from_json(fields: object) -> AIMessage:
    if not isinstance(fields, dict):
        raise CorruptEntryError("a message is not an object")
    content = fields.get("content")
    if not isinstance(content, str | list):
        raise CorruptEntryError("the content of a message is missing")
    if isinstance(content, list) and not all(isinstance(block, str | dict) for block in content):
        raise CorruptEntryError("a block of a message's content is neither text nor an object")
    values: dict[str, Any] = {"content": content, "type": "ai"}
    for name in ("name", "id"):
        values[name] = value = fields.get(name)
        if not (value is None or isinstance(value, str)):
            raise CorruptEntryError(f"{name} is not text")
    for name in _DICT_FIELDS:
        values[name] = value = fields.get(name, {})
        if not isinstance(value, dict):
            raise CorruptEntryError(f"{name} is not an object")
    for name in _LIST_FIELDS:
        values[name] = value = fields.get(name, [])
        if not isinstance(value, list):
            raise CorruptEntryError(f"{name} is not a list")
    values["usage_metadata"] = usage = fields.get("usage_metadata")
    if not (usage is None or isinstance(usage, dict)):
        raise CorruptEntryError("usage_metadata is not an object")
    extra = fields.get("extra", {})
    if not isinstance(extra, dict) or extra.keys() & {*values, "_fields_set", "cls"}:  # parameters of model_construct
        raise CorruptEntryError("extra fields are not an object of their own")
    return AIMessage.model_construct(None, **values, **extra)


def _without_parsed_models(generation: Generation) -> Generation:
    if not isinstance(generation, ChatGeneration):
        return generation
    parsed = generation.message.additional_kwargs.get("parsed")
    if not isinstance(parsed, BaseModel):
        return generation
    kwargs = {**generation.message.additional_kwargs, "parsed": parsed.model_dump(mode="json")}
    message = generation.message.model_copy(update={"additional_kwargs": kwargs})
    return generation.model_copy(update={"message": message})


def _is_empty(generation: Generation) -> bool:
    if generation.text.strip():
        return False
    if not isinstance(generation, ChatGeneration):
        return True
    message = generation.message
    return not (
        getattr(message, "tool_calls", None)
        or any(message.additional_kwargs.values())
        or (isinstance(message.content, list) and not all(map(_is_blank_text, message.content)))
    )


def _is_blank_text(block: object) -> bool:
    if isinstance(block, dict):
        block = block.get("text") if block.get("type") == "text" else block
    return isinstance(block, str) and not block.strip()


def _is_cut_off(generation: Generation) -> bool:
    sources: list[dict[str, Any]] = [generation.generation_info or {}]
    if isinstance(generation, ChatGeneration):
        sources.append(generation.message.response_metadata)
    reasons = [source.get(name) for source in sources for name in _FINISH_REASONS]
    details = [source.get("incomplete_details") for source in sources]
    reasons += [detail.get("reason") for detail in details if isinstance(detail, dict)]
    return any(reason in _CUT_OFF for reason in reasons)
