"""LangChain's JSON of answers to generations, by a list of all that may be in it.

`langchain_core.load.dumps` names classes, and `load` imports and calls what is named. Here nothing is looked up by a
name out of the text: there are six names, and for each the fields that it may have. What LangChain itself still reads
of older versions is read too: classes by the names they had before, and the text of an answer instead of JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation
from pydantic import BaseModel, ValidationError

from cache_backends.readable import redact, shortened
from lab.checked_answers import AnswerRefusedError
from lab.strict_json import JSONRefusedError, NotJSONError, parsed, shown

Model = TypeVar("Model", bound=BaseModel)

MOST_DEEP = 200
"""Lists and objects within each other, as LangChain has it."""
_ESCAPED = "__lc_escaped__"
"""Only name of an object around one that has a field "lc" and yet means nothing but itself."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """One class that may be named."""

    name: str
    places: frozenset[tuple[str, ...]]
    """How it is named, now and before."""
    type: str
    fields: tuple[str, ...]
    """Fields that are taken."""
    dropped: tuple[str, ...] = ()
    """Fields that are allowed and say nothing more: pieces of a stream that are put together elsewhere."""


_MESSAGE = (
    "content",
    "additional_kwargs",
    "response_metadata",
    "name",
    "id",
    "tool_calls",
    "invalid_tool_calls",
    "usage_metadata",
    "example",  # up to langchain-core 0.3
)
_PLAIN = (
    _Kind(
        "Generation",
        frozenset(
            {("langchain", "schema", "output", "Generation"), ("langchain_core", "outputs", "generation", "Generation")}
        ),
        "Generation",
        ("text", "generation_info"),
    ),
    _Kind(
        "GenerationChunk",
        frozenset(
            {
                ("langchain", "schema", "output", "GenerationChunk"),
                ("langchain_core", "outputs", "generation", "GenerationChunk"),
            }
        ),
        "Generation",
        ("text", "generation_info"),
    ),
)
_CHAT = (
    _Kind(
        "ChatGeneration",
        frozenset(
            {
                ("langchain", "schema", "output", "ChatGeneration"),
                ("langchain_core", "outputs", "chat_generation", "ChatGeneration"),
            }
        ),
        "ChatGeneration",
        ("message", "generation_info"),
        ("text",),  # that of the message
    ),
    _Kind(
        "ChatGenerationChunk",
        frozenset(
            {
                ("langchain", "schema", "output", "ChatGenerationChunk"),
                ("langchain_core", "outputs", "chat_generation", "ChatGenerationChunk"),
            }
        ),
        "ChatGenerationChunk",
        ("message", "generation_info"),
        ("text",),
    ),
)
_MESSAGES = (
    _Kind(
        "AIMessage",
        frozenset(
            {
                ("langchain", "schema", "messages", "AIMessage"),
                ("langchain", "schema", "AIMessage"),
                ("langchain_core", "messages", "AIMessage"),
                ("langchain_core", "messages", "ai", "AIMessage"),
            }
        ),
        "ai",
        _MESSAGE,
    ),
    _Kind(
        "AIMessageChunk",
        frozenset(
            {
                ("langchain", "schema", "messages", "AIMessageChunk"),
                ("langchain_core", "messages", "AIMessageChunk"),
                ("langchain_core", "messages", "ai", "AIMessageChunk"),
            }
        ),
        "AIMessageChunk",
        _MESSAGE,
        ("tool_call_chunks", "chunk_position"),
    ),
)
ALLOWED_PLACES = frozenset().union(*(kind.places for kind in (*_PLAIN, *_CHAT, *_MESSAGES)))
"""Every name that is taken."""


class ResponseRefusedError(AnswerRefusedError):
    """One of the responses is no generation; `place` says which, from 0."""

    def __init__(self, place: int, sentence: str) -> None:
        super().__init__(sentence)
        self.place = place


def generations_of(responses: Sequence[str]) -> list[Generation]:
    """The generations of one request, in order. Raises `ResponseRefusedError`.

    A piece of a stream that was stored becomes the whole that it stands for, as LangChain does it elsewhere: an
    `AIMessageChunk` an `AIMessage`.
    """
    generations: list[Generation] = []
    as_text = 0
    for place, response in enumerate(responses):
        try:
            generation = _generation(response)
        except (AnswerRefusedError, JSONRefusedError) as error:
            raise ResponseRefusedError(place, str(error)) from error
        if generation is None:
            as_text += 1
            generation = Generation(text=response)
        if 0 < as_text <= place:  # LangChain gives all of them as they stand, JSON among them
            raise ResponseRefusedError(place, "some generations of this answer are JSON and others are text.")
        generations.append(generation)
    return generations


def _generation(response: str) -> Generation | None:
    """What a response means; None where it is text, as it was in the first versions."""
    try:
        value = parsed(response)
    except NotJSONError:
        if response.lstrip().startswith('{"lc"'):
            raise  # damaged, not text
        return None
    kind, fields = _constructor(value, (*_PLAIN, *_CHAT))
    if kind in _CHAT:
        _, message = _constructor(fields.get("message"), _MESSAGES)
        fields["message"] = _made(AIMessage, _as_data(message))
        info = fields.get("generation_info")
        return _made(ChatGeneration, fields | {"generation_info": _data(info, 0)})
    return _made(Generation, _as_data(fields))


def _constructor(value: Any, allowed: Sequence[_Kind]) -> tuple[_Kind, dict[str, Any]]:
    """Which of the allowed kinds is named, and the fields that are taken of it."""
    names = " and ".join(kind.name for kind in allowed)
    if not _is_manifest(value, "constructor"):
        raise AnswerRefusedError(f"in place of a generation or message stands {shown(value)}; allowed are {names}.")
    place = value["id"]
    if not (isinstance(place, list) and all(isinstance(part, str) for part in place)):
        raise AnswerRefusedError(f"the name of a class is {shown(place)}; allowed are {names}.")
    kind = next((kind for kind in allowed if tuple(place) in kind.places), None)
    if kind is None:
        raise AnswerRefusedError(f"{shown('.'.join(place))} may not be made; allowed are {names}.")
    fields = value.get("kwargs", {})
    if not isinstance(fields, dict):
        raise AnswerRefusedError(f"the fields of a {kind.name} are {shown(fields)}; an object is allowed.")
    others = [name for name in fields if name not in ("type", *kind.fields, *kind.dropped)]
    if others:
        raise AnswerRefusedError(f"{kind.name} has a field {shown(others[0])}; allowed are {', '.join(kind.fields)}.")
    if fields.get("type", kind.type) != kind.type:
        raise AnswerRefusedError(f"the type of a {kind.name} is {shown(fields['type'])}; {kind.type!r} is allowed.")
    return kind, {name: fields[name] for name in kind.fields if name in fields}


def _is_manifest(value: Any, *types: str) -> bool:
    """Whether LangChain would make something else of an object."""
    return (
        isinstance(value, dict) and value.get("lc") == 1 and value.get("type") in types and value.get("id") is not None
    )


def _as_data(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _data(value, 0) for name, value in fields.items()}


def _data(value: Any, depth: int) -> Any:
    """A value in which nothing is to be made, without the marks around objects that only look as if."""
    if depth > MOST_DEEP:
        raise AnswerRefusedError(f"lists and objects lie more than {MOST_DEEP} deep within each other.")
    if isinstance(value, list):
        return [_data(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and _ESCAPED in value:
        return value[_ESCAPED]
    if _is_manifest(value, "constructor", "not_implemented", "secret"):
        raise AnswerRefusedError(f"an answer holds something to be made ({shown(value['type'])}); data are allowed.")
    return {name: _data(item, depth + 1) for name, item in value.items()}


def _made(kind: type[Model], fields: dict[str, Any]) -> Model:
    """A Generation, ChatGeneration or AIMessage with these fields, as its class validates them."""
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        said = f"{where}: {first['msg']}"
    except Exception as error:  # noqa: BLE001  # what LangChain's own validators stumble over is of any kind
        said = f"{type(error).__name__}: {error}"
    raise AnswerRefusedError(f"no {kind.__name__} can be made of its fields: {shortened(redact(said), 200)}.")
