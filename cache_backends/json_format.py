"""The file format of `JSONFileCache`: one JSON document an entry that a person can read.

    {
      "format": 1,
      "checksum": "…32 hexadecimal digits…",
      "hits":          12,
      "key": "…",
      "namespace": "…",
      …
      "prompt": "Who was Carl Sagan?",
      "raw_prompt": null,
      "generations": [ … ]
    }

The first four lines have a fixed width. The checksum is over everything after them, so that counting a hit may
overwrite the number in place without touching what the checksum guards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from cache_backends.base import Found, StoredEntry
from cache_backends.codec import checksum
from cache_backends.errors import CacheError, CorruptEntryError
from cache_backends.readable import message_prompt, single_message

FORMAT = 1
HITS_WIDTH = 11
_HEAD = re.compile(rb'\{\n  "format": (\d+),\n  "checksum": "([0-9a-f]{32})",\n  "hits": ([ \d]{11}),\n')
_HEAD_START = re.compile(rb'\{\n  "format": (\d+),\n')
HITS_OFFSET = len('{\n  "format": 1,\n  "checksum": "",\n  "hits": ') + 32
"""Where the number of hits begins in a file, in bytes."""


@dataclass(frozen=True, slots=True)
class Document:
    """One file's content after its checksum was found right."""

    fields: dict[str, Any]
    hits: int


def to_bytes(entry: StoredEntry, namespace: str) -> bytes:
    """The file of an entry that has not been used yet."""
    text = single_message(entry.raw_prompt)
    fields = {
        "key": entry.key,
        "namespace": namespace,
        "created_at": entry.created_at,
        "expires_at": entry.expires_at,
        "model_time_s": entry.model_time_s,
        "model": entry.model,
        "prompt": entry.raw_prompt if text is None else text,
        "prompt_is_message": text is not None,
        "llm_string": entry.llm_string,
        "generations": orjson.Fragment(_indented(entry.payload)),
    }
    body = orjson.dumps(fields, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)[2:]
    head = (
        f'{{\n  "format": {FORMAT},\n  "checksum": "{checksum(entry.key, body).hex()}",\n  "hits": {hits_field(0)},\n'
    )
    return head.encode() + body


def hits_field(hits: int) -> str:
    """A number of hits at its fixed width."""
    return f"{min(hits, 10**HITS_WIDTH - 1):{HITS_WIDTH}d}"


def from_bytes(key: str, content: bytes) -> Document:
    """The document in a file's bytes.

    Raises `CorruptEntryError` where it is damaged or belongs to another key, and `CacheError` where a newer version
    made it.
    """
    head = _HEAD.match(content)
    if head is None or int(head[1]) != FORMAT:
        start = _HEAD_START.match(content)
        if start is not None and int(start[1]) > FORMAT:
            raise CacheError(
                f"This entry was made by a newer version (format {int(start[1])}; this one knows up to {FORMAT}). "
                "Update the program."
            )
        raise CorruptEntryError("not an entry of this cache")
    if checksum(key, memoryview(content)[head.end() :]).hex().encode() != head[2]:
        raise CorruptEntryError("the checksum does not fit: damaged, or stored under another key")
    try:
        fields, hits = orjson.loads(content), int(head[3])
    except ValueError as error:
        raise CorruptEntryError(f"not JSON: {error}") from error
    return Document(fields, hits)


def found(document: Document) -> Found:
    """What a lookup needs of a document. Raises `CorruptEntryError` where a field has the wrong type."""
    fields = document.fields
    return Found(
        fields.get("generations"),
        _number(fields, "created_at"),
        _number_or_none(fields, "expires_at"),
        _number_or_none(fields, "model_time_s"),
    )


def stored_entry(document: Document) -> StoredEntry:
    """The whole entry of a document. Raises `CorruptEntryError` where a field has the wrong type."""
    fields = document.fields
    prompt = _text(fields, "prompt")
    model = fields.get("model")
    return StoredEntry(
        key=_text(fields, "key"),
        payload=orjson.dumps(fields.get("generations")),
        created_at=_number(fields, "created_at"),
        expires_at=_number_or_none(fields, "expires_at"),
        model_time_s=_number_or_none(fields, "model_time_s"),
        model=model if isinstance(model, str) else None,
        raw_prompt=message_prompt(prompt) if fields.get("prompt_is_message") is True else prompt,
        llm_string=_text(fields, "llm_string"),
    )


def _indented(payload: bytes) -> bytes:
    """The generations with line breaks at the depth they have in the file."""
    return orjson.dumps(orjson.loads(payload), option=orjson.OPT_INDENT_2).replace(b"\n", b"\n  ")


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise CorruptEntryError(f"{name} is not text")
    return value


def _number(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise CorruptEntryError(f"{name} is not a number")
    return float(value)


def _number_or_none(fields: dict[str, Any], name: str) -> float | None:
    return None if fields.get(name) is None else _number(fields, name)
