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
from cache_backends.fresh_objects import MESSAGE_FIELDS, generations_from

CHECKSUM_BYTES = 16
"""Half of a SHA-256: an accidental change goes unseen once in 2**128."""

_EXACT = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
"""orjson must refuse what it would otherwise turn into something that does not come back equal."""

_FIELDS: tuple[tuple[str, type, object], ...] = (
    ("additional_kwargs", dict, {}),
    ("response_metadata", dict, {}),
    ("tool_calls", list, []),
    ("invalid_tool_calls", list, []),
    ("name", str, None),
    ("id", str, None),
    ("usage_metadata", dict, None),
)
"""Fields of a message besides its content: name, type, and the value at which they are left out."""
MESSAGE_PARTS = ("content", *(name for name, _, _ in _FIELDS), "extra")
"""All that a message of the format may consist of."""
_GENERATION_FIELDS = {"text", "generation_info", "type"}


def encode(generations: Sequence[Generation]) -> bytes:
    """The generations of one request as JSON bytes.

    Raises `NotCacheableError` where decoding them would not give equal generations. One thing changes on purpose:
    the parsed object of structured output (`additional_kwargs["parsed"]`) is kept as a dict, as LangChain itself
    does and accepts.
    """
    try:
        plain = [_without_parsed_models(generation) for generation in generations]
        items = [_to_json(generation) for generation in plain]
        payload = orjson.dumps(items, option=_EXACT)
        parsed = orjson.loads(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotCacheableError("unfaithful", f"the answer holds what JSON can't keep: {error}") from error
    # Where the format knows every field, equal JSON makes equal objects; comparing those would take as long again.
    if parsed != items or not (all(map(_is_known_whole, plain)) or generations_from(parsed) == plain):
        raise NotCacheableError("unfaithful", "the answer would not come back equal")
    return payload


def decode(payload: bytes | memoryview) -> list[Generation]:
    """Generations from the bytes that `encode` made. Raises `CorruptEntryError` on anything else."""
    try:
        parsed = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise CorruptEntryError(f"not JSON: {error}") from error
    return generations_from(parsed)


def text_of(payload: bytes) -> str:
    """The text of all generations, a blank line between them, without making objects; of what is damaged, nothing."""
    try:
        return "\n\n".join(_text(item) for item in orjson.loads(payload))
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return ""


def seal(key: str, payload: bytes) -> bytes:
    """Checksum and payload as one value that is good under `key` only."""
    return checksum(key, payload) + payload


def unseal(key: str, value: bytes) -> bytes:
    """The payload of a sealed value. Raises `CorruptEntryError` if it was changed or belongs to another key."""
    payload = value[CHECKSUM_BYTES:]
    digest = sha256(key.encode())  # as in `checksum`, which every hit would have to call
    digest.update(payload)
    if not value.startswith(digest.digest()[:CHECKSUM_BYTES]):
        raise CorruptEntryError("the checksum does not fit: damaged, or stored under another key")
    return payload


def checksum(key: str, payload: bytes | memoryview) -> bytes:
    """The first half of SHA-256 over key and payload."""
    digest = sha256(key.encode())
    digest.update(payload)
    return digest.digest()[:CHECKSUM_BYTES]


def refuse_lone_surrogates(*texts: str) -> None:
    """Raise `NotCacheableError` where UTF-8 can't carry a text that goes with the generations."""
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError as error:
        raise NotCacheableError("unfaithful", f"the prompt can't be kept: {error}") from error


def _text(item: Any) -> str:
    text = item.get("text")
    return text if text is not None else item["message"]["content"]  # type: ignore[no-any-return]


def _to_json(generation: Generation) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    info = generation.generation_info
    if info is not None:
        if type(info) is not dict:
            raise NotCacheableError("unfaithful", "the generation info is not a dict")
        fields["info"] = info
    if type(generation) is Generation:
        fields["text"] = generation.text
        return fields
    if type(generation) is not ChatGeneration or type(generation.message) is not AIMessage:
        raise NotCacheableError("unfaithful", f"{type(generation).__name__} with this message is not kept")
    message = generation.message
    content = message.content
    if type(content) is not str and not (type(content) is list and {*map(type, content)} <= {str, dict}):
        raise NotCacheableError("unfaithful", "the content is neither text nor a list of texts and objects")
    kept: dict[str, Any] = {"content": content}
    for name, kind, left_out in _FIELDS:
        value = getattr(message, name)
        if value != left_out:
            if type(value) is not kind:
                raise NotCacheableError("unfaithful", f"{name} is a {type(value).__name__}, not a {kind.__name__}")
            kept[name] = value
    if message.__pydantic_extra__:
        kept["extra"] = message.__pydantic_extra__
    if generation.text != content:
        fields["text"] = str(generation.text)
    fields["message"] = kept
    return fields


def _is_known_whole(generation: Generation) -> bool:
    """Whether the format names every field that these objects have."""
    fields = generation.__dict__.keys()
    if type(generation) is Generation:
        return fields == _GENERATION_FIELDS
    if type(generation) is not ChatGeneration:
        return False
    return fields - {"message"} == _GENERATION_FIELDS and generation.message.__dict__.keys() == MESSAGE_FIELDS


def _without_parsed_models(generation: Generation) -> Generation:
    if not isinstance(generation, ChatGeneration):
        return generation
    parsed = generation.message.additional_kwargs.get("parsed")
    if not isinstance(parsed, BaseModel):
        return generation
    kwargs = {**generation.message.additional_kwargs, "parsed": parsed.model_dump(mode="json")}
    message = generation.message.model_copy(update={"additional_kwargs": kwargs})
    return generation.model_copy(update={"message": message})
