"""The file format of `JSONFileCache`: one JSON document an entry that a person can read.

    {
      "format": 2,
      "checksum": "…32 hexadecimal digits…",
      "hits":          12,
      "expires_at":                     null,
      "pinned": false,
      "key": "…",
      "namespace": "…",
      …
      "prompt": "Who was Carl Sagan?",
      "generations": [ … ]
    }

The first six lines have a fixed width and lie in the first 512 bytes, so that they can be changed in place: a file that
took this one's place meanwhile is not touched then. The checksum is over everything after the hits: counting one leaves
it as it is. Format 1 had neither `pinned` nor a fixed place for `expires_at`; it is read, and never written.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import orjson

from cache_backends.codec import checksum
from cache_backends.errors import CacheError, CorruptEntryError, NotCacheableError
from cache_backends.readable import message_prompt, single_message
from cache_backends.storage import Found, StoredEntry

FORMAT = 2
HITS_WIDTH = 11
_TIME_WIDTH = 24  # the longest text of a float
_BEFORE_CHECKSUM = '{\n  "format": %d,\n  "checksum": "'
_BEFORE_HITS = b'",\n  "hits": '
_AFTER_HITS = b",\n"
_CHECKSUM_OFFSET = len(_BEFORE_CHECKSUM % FORMAT)
_CHECKSUM_END = _CHECKSUM_OFFSET + 32
HITS_OFFSET = _CHECKSUM_END + len(_BEFORE_HITS)
"""Where the number of hits begins in a file, in bytes."""
_HITS_END = HITS_OFFSET + HITS_WIDTH
BODY_OFFSET = _HITS_END + len(_AFTER_HITS)
"""Where that begins which the checksum guards."""
_STARTS = {(_BEFORE_CHECKSUM % version).encode(): version for version in (1, FORMAT)}
_ANY_START = re.compile(rb'\{\n  "format": (\d+),\n')
_LIFETIME = re.compile(rb'  "expires_at": [^\n]{24},\n  "pinned": (?:false|true ),\n')


class Document(NamedTuple):
    """One file's content after its checksum was found right."""

    fields: dict[str, Any]
    hits: int


def to_bytes(entry: StoredEntry, namespace: str) -> bytes:
    """The file of an entry. Raises `NotCacheableError` where the generations are nested too deep for one."""
    text = single_message(entry.raw_prompt)
    fields = {
        "key": entry.key,
        "namespace": namespace,
        "created_at": entry.created_at,
        "model_time_s": entry.model_time_s,
        "model": entry.model,
        "prompt": entry.raw_prompt if text is None else text,
        "prompt_is_message": text is not None,
        "llm_string": entry.llm_string,
        "generations": orjson.loads(entry.payload),
    }
    try:
        document = orjson.dumps(fields, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    except TypeError as error:
        raise NotCacheableError("unfaithful", f"the answer holds what JSON can't keep: {error}") from error
    body = _lifetime(entry.expires_at, entry.pinned) + document.removeprefix(b"{\n")
    return _head(entry.key, entry.hits, body) + body


def with_lifetime(
    key: str, content: bytes, document: Document, *, expires_at: float | None, pinned: bool
) -> bytes | None:
    """The first bytes of a file as they are when its entry expires or is pinned otherwise; None in format 1."""
    old = _LIFETIME.match(content, BODY_OFFSET)
    if old is None:
        return None
    lifetime = _lifetime(expires_at, pinned)
    return _head(key, document.hits, lifetime + content[old.end() :]) + lifetime


def hits_field(hits: int) -> str:
    """A number of hits at its fixed width."""
    return f"{min(hits, 10**HITS_WIDTH - 1):{HITS_WIDTH}d}"


def hits_in(head: bytes) -> int | None:
    """The number of hits in the first bytes of a file; None where they are not those of an entry."""
    hits = head[HITS_OFFSET : HITS_OFFSET + HITS_WIDTH].strip()
    return int(hits) if head[:_CHECKSUM_OFFSET] in _STARTS and hits.isdigit() else None


def is_pinned(head: bytes) -> bool:
    """Whether the first `BODY_OFFSET + 100` bytes of a file say that its entry is pinned."""
    lifetime = _LIFETIME.match(head, BODY_OFFSET)
    return lifetime is not None and b"true" in lifetime[0]


def from_bytes(key: str, content: bytes, namespace: str) -> Document:
    """The document in a file's bytes.

    Raises `CorruptEntryError` where it is damaged or belongs to another key or namespace, and `CacheError` where a
    newer version made it.
    """
    fields = _checked(key, content, namespace)
    if fields.get("key") != key:
        raise CorruptEntryError("the file of another key")
    try:
        return Document(fields, int(content[HITS_OFFSET:_HITS_END]))
    except ValueError as error:
        raise CorruptEntryError(f"the number of hits is none: {error}") from error


def found(key: str, content: bytes, namespace: str) -> Found:
    """What a lookup needs of a file's bytes.

    Raises as `from_bytes` does, and `CorruptEntryError` where a field has the wrong type.
    """
    fields = _checked(key, content, namespace)
    return Found(
        fields.get("generations"),
        _number(fields, "created_at"),
        None if fields.get("pinned") is True else _number_or_none(fields, "expires_at"),
        _number_or_none(fields, "model_time_s"),
    )


def stored_entry(document: Document, last_used_at: float) -> StoredEntry:
    """The whole entry of a document. Raises `CorruptEntryError` where a field has the wrong type."""
    fields = document.fields
    prompt, key = _text(fields, "prompt"), _text(fields, "key")
    model = fields.get("model")
    try:
        payload = orjson.dumps(fields.get("generations"))
    except TypeError as error:  # orjson reads what is nested four times as deep as it writes
        raise CorruptEntryError(f"the generations were not written by this cache: {error}") from error
    return StoredEntry(
        digest=bytes.fromhex(key),
        payload=payload,
        created_at=_number(fields, "created_at"),
        expires_at=_number_or_none(fields, "expires_at"),
        model_time_s=_number_or_none(fields, "model_time_s"),
        model=model if isinstance(model, str) else None,
        raw_prompt=message_prompt(prompt) if fields.get("prompt_is_message") is True else prompt,
        llm_string=_text(fields, "llm_string"),
        last_used_at=last_used_at,
        hits=document.hits,
        pinned=fields.get("pinned") is True,
    )


def _checked(key: str, content: bytes, namespace: str) -> dict[str, Any]:
    """The fields of a file whose checksum is right, and which nobody put here from another namespace."""
    if content[:_CHECKSUM_OFFSET] not in _STARTS:
        start = _ANY_START.match(content)
        if start is not None and int(start[1]) > FORMAT:
            raise CacheError(
                f"This entry was made by a newer version (format {int(start[1])}; this one knows up to {FORMAT}). "
                "Update the program."
            )
        raise CorruptEntryError("not an entry of this cache")
    if content[_CHECKSUM_END:HITS_OFFSET] != _BEFORE_HITS or content[_HITS_END:BODY_OFFSET] != _AFTER_HITS:
        raise CorruptEntryError("not an entry of this cache")
    right = checksum(key, memoryview(content)[BODY_OFFSET:]).hex()
    if content[_CHECKSUM_OFFSET:_CHECKSUM_END] != right.encode():
        raise CorruptEntryError("the checksum does not fit: damaged, or stored under another key")
    try:
        fields = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise CorruptEntryError(f"not JSON: {error}") from error
    if type(fields) is not dict:
        raise CorruptEntryError("not an object")
    if fields.get("namespace") != namespace:
        raise CorruptEntryError("the file of another namespace")
    return fields


def _head(key: str, hits: int, body: bytes) -> bytes:
    start = _BEFORE_CHECKSUM % FORMAT + checksum(key, body).hex()
    return start.encode() + _BEFORE_HITS + hits_field(hits).encode() + _AFTER_HITS


def _lifetime(expires_at: float | None, pinned: bool) -> bytes:
    time = "null" if expires_at is None else orjson.dumps(expires_at).decode()
    return f'  "expires_at": {time:>{_TIME_WIDTH}},\n  "pinned": {"true " if pinned else "false"},\n'.encode()


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise CorruptEntryError(f"{name} is not text")
    return value


def _number(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    if type(value) not in (float, int):
        raise CorruptEntryError(f"{name} is not a number")
    return float(value)  # type: ignore[arg-type]


def _number_or_none(fields: dict[str, Any], name: str) -> float | None:
    return None if fields.get(name) is None else _number(fields, name)
