"""Parsed JSON of the codec's format to new generations, checking every type but validating nothing again.

What is stored was validated when it was stored, and its checksum says that it has not changed since. Building the
objects the way pydantic's own copies are made takes a quarter of the time of validating them.
"""

from __future__ import annotations

from typing import Any, TypeVar

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation
from pydantic import BaseModel

from cache_backends.errors import CorruptEntryError

Model = TypeVar("Model", bound=BaseModel)

MESSAGE_FIELDS = frozenset(
    {
        "content",
        "additional_kwargs",
        "response_metadata",
        "type",
        "name",
        "id",
        "tool_calls",
        "invalid_tool_calls",
        "usage_metadata",
    }
)
"""All fields of an `AIMessage` that the format knows; what else a caller put into it are its extra fields."""

_FIELDS_OF_MESSAGE = set(MESSAGE_FIELDS)
_FIELDS_OF_GENERATION = {"text", "generation_info", "type"}
_FIELDS_OF_CHAT = {*_FIELDS_OF_GENERATION, "message"}
_bare, _set = object.__new__, object.__setattr__


def generations_from(parsed: object) -> list[Generation]:
    """New generations from the parsed JSON array. Raises `CorruptEntryError` where its shape is not the format's."""
    if type(parsed) is not list or not parsed:
        raise CorruptEntryError("not a list of generations")
    return [_generation(item) for item in parsed]


def _generation(item: object) -> Generation:
    if type(item) is not dict:
        raise CorruptEntryError("a generation is not an object")
    info = item.get("info")
    if not (info is None or type(info) is dict):
        raise CorruptEntryError("generation info is not an object")
    fields = item.get("message")
    if fields is None:
        text = item.get("text")
        if type(text) is not str:
            raise CorruptEntryError("the text of a generation is missing")
        return _new(
            Generation, {"text": text, "generation_info": info, "type": "Generation"}, _FIELDS_OF_GENERATION, None
        )
    message = _message(fields)
    text = item.get("text", fields["content"])
    if type(text) is not str:
        raise CorruptEntryError("the text of a generation is missing")
    values = {"text": text, "generation_info": info, "type": "ChatGeneration", "message": message}
    return _new(ChatGeneration, values, _FIELDS_OF_CHAT, None)


def _message(fields: object) -> AIMessage:
    if type(fields) is not dict:
        raise CorruptEntryError("a message is not an object")
    get = fields.get
    content = get("content")
    if type(content) is not str:
        if type(content) is not list:
            raise CorruptEntryError("the content of a message is missing")
        if not {*map(type, content)} <= {str, dict}:
            raise CorruptEntryError("a block of a message's content is neither text nor an object")
    name, id_ = get("name"), get("id")
    if not ((name is None or type(name) is str) and (id_ is None or type(id_) is str)):
        raise CorruptEntryError("the name or id of a message is not text")
    additional_kwargs, response_metadata = get("additional_kwargs", {}), get("response_metadata", {})
    if not (type(additional_kwargs) is dict and type(response_metadata) is dict):
        raise CorruptEntryError("additional_kwargs or response_metadata is not an object")
    tool_calls, invalid_tool_calls = get("tool_calls", []), get("invalid_tool_calls", [])
    if not (type(tool_calls) is list and type(invalid_tool_calls) is list):
        raise CorruptEntryError("tool_calls or invalid_tool_calls is not a list")
    usage = get("usage_metadata")
    if not (usage is None or type(usage) is dict):
        raise CorruptEntryError("usage_metadata is not an object")
    extra = get("extra", {})
    if type(extra) is not dict or (extra and not extra.keys().isdisjoint(MESSAGE_FIELDS)):
        raise CorruptEntryError("extra fields are not an object of their own")
    values = {
        "content": content,
        "additional_kwargs": additional_kwargs,
        "response_metadata": response_metadata,
        "type": "ai",
        "name": name,
        "id": id_,
        "tool_calls": tool_calls,
        "invalid_tool_calls": invalid_tool_calls,
        "usage_metadata": usage,
    }
    return _new(AIMessage, values, _FIELDS_OF_MESSAGE, extra)


def _new(kind: type[Model], values: dict[str, Any], fields: set[str], extra: dict[str, Any] | None) -> Model:
    """An object of a pydantic model with these values in its fields.

    These four attributes are a pydantic model's whole state, see "Attributes" of `pydantic.BaseModel`.
    """
    made = _bare(kind)
    _set(made, "__dict__", values)
    _set(made, "__pydantic_fields_set__", fields.copy())
    _set(made, "__pydantic_extra__", extra)
    _set(made, "__pydantic_private__", None)
    return made
