"""Generations that come from outside: what must hold of them before a cache may give them as an answer.

The codec reads back what was validated when it was stored, and so checks little. What somebody uploads was validated by
nobody: a tool call without a name would break the agent that is given it, a text that is not its message's would show a
person another answer than the model's caller gets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.outputs import ChatGeneration, Generation

from cache_backends.codec import MESSAGE_PARTS
from cache_backends.errors import CorruptEntryError
from cache_backends.fresh_objects import generations_from

_GENERATION_PARTS = ("info", "text", "message")
MOST_TOKENS = 2**53
"""Greater numbers can't be added up exactly by whoever counts tokens."""


class AnswerRefusedError(ValueError):
    """Generations that may not be an answer; the text says what is wrong and what is allowed."""


def checked_generations(parsed: object) -> list[Generation]:
    """New generations from the parsed JSON of the codec's format. Raises `AnswerRefusedError`."""
    try:
        generations = generations_from(parsed)
    except CorruptEntryError as error:
        raise AnswerRefusedError(f"generations can't be read: {error}.") from error
    assert isinstance(parsed, list)
    for item, generation in zip(parsed, generations, strict=True):
        _refuse_others(item, _GENERATION_PARTS, "a generation")
        if isinstance(generation, ChatGeneration):
            _refuse_others(item["message"], MESSAGE_PARTS, "a message")
            _check_chat(generation)
    return generations


def _refuse_others(item: Mapping[str, object], allowed: Iterable[str], what: str) -> None:
    others = sorted(item.keys() - {*allowed})
    if others:
        raise AnswerRefusedError(f"{what} has a field {others[0]!r:.60}; allowed are {', '.join(allowed)}.")


def _check_chat(generation: ChatGeneration) -> None:
    message: Any = generation.message
    for call in message.tool_calls:
        if not (_has(call, "name", str) and _has(call, "args", dict) and _has_text_or_nothing(call, "id")):
            raise AnswerRefusedError("a tool call must have a name (text), args (an object), and an id (text or null).")
        _check_type(call, "tool_call")
    for call in message.invalid_tool_calls:
        if not all(_has_text_or_nothing(call, name) for name in ("name", "args", "id", "error")):
            raise AnswerRefusedError("name, args, id and error of an invalid tool call must be text or null.")
        _check_type(call, "invalid_tool_call")
    for value in (message.usage_metadata or {}).values():
        if not all(map(_is_count, value.values() if isinstance(value, dict) else (value,))):
            raise AnswerRefusedError(f"usage_metadata may have nothing but numbers from 0 to {MOST_TOKENS} in it.")
    if generation.text != ChatGeneration(message=message).text:
        raise AnswerRefusedError("the text of a generation is another than that of its message.")


def _has(call: object, name: str, kind: type) -> bool:
    return isinstance(call, dict) and isinstance(call.get(name), kind)


def _has_text_or_nothing(call: object, name: str) -> bool:
    return isinstance(call, dict) and isinstance(call.get(name), str | None)


def _check_type(call: dict[str, Any], allowed: str) -> None:
    if call.get("type", allowed) != allowed:
        raise AnswerRefusedError(f"the type of a tool call is {call['type']!r:.60}; {allowed!r} is allowed.")


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
