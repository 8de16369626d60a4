"""An entry as the bytes that Redis keeps under its key, so that a hit is one GET.

Little endian: "LLMC", the version (1 byte), flags (1 byte), three times (8-byte floats: stored, end, model time; zero
where the flags say that there is none), the number of the parameters (8 bytes), the lengths of model, prompt and
beginning (4 bytes each); then model, beginning and prompt, and the sealed answer (`codec.seal`). The beginning is what
a list shows, as a JSON array of prompt and answer: it is there only in values longer than a list reads.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple, Self

import orjson

from cache_backends.codec import CHECKSUM_BYTES, seal, text_of, unseal
from cache_backends.errors import CacheUnavailableError, CorruptEntryError
from cache_backends.readable import (
    SHOWN_ANSWER_LENGTH,
    SHOWN_PROMPT_LENGTH,
    message_prompt,
    readable_prompt,
    shortened,
    single_message,
)
from cache_backends.storage import Found, StoredEntry
from cache_backends.table_rows import interned_id

FORMAT = 1
LISTED_BYTES = 8192
"""How much of a value a list reads."""
_MAGIC = b"LLMC"
_HEAD = struct.Struct("<4sBBdddQIII")
HEAD_BYTES = _HEAD.size
_PINNED, _ENDS, _IS_TIMED, _HAS_MODEL, _IS_MESSAGE = 1, 2, 4, 8, 16


class Head(NamedTuple):
    """The beginning of a value, of fixed length."""

    magic: bytes
    version: int
    flags: int
    created_at: float
    end: float
    timed: float
    llm_string_id: int
    model_bytes: int
    prompt_bytes: int
    shown_bytes: int

    @classmethod
    def of(cls, value: bytes) -> Self:
        """The head of a value. Raises `CorruptEntryError`, and `CacheUnavailableError` for a newer format."""
        try:
            head = cls._make(_HEAD.unpack_from(value))
        except struct.error as error:
            raise CorruptEntryError("the value is too short") from error
        if head.magic != _MAGIC:
            raise CorruptEntryError("the value does not begin as an entry does")
        if head.version != FORMAT:
            raise CacheUnavailableError(
                f"This entry was made by another version (format {head.version}; this one knows {FORMAT}). "
                "Use that version, or another prefix=."
            )
        if not (math.isfinite(head.created_at) and math.isfinite(head.end) and math.isfinite(head.timed)):
            raise CorruptEntryError("a time is not a time")
        return head

    @property
    def pinned(self) -> bool:
        """Whether the entry neither expires nor is evicted."""
        return bool(self.flags & _PINNED)

    @property
    def expires_at(self) -> float | None:
        """The Unix time at which the entry ends unless it is pinned; None: never."""
        return self.end if self.flags & _ENDS else None

    @property
    def model_time_s(self) -> float | None:
        """How long the model took."""
        return self.timed if self.flags & _IS_TIMED else None

    def is_over(self, now: float) -> bool:
        """Whether its time to live is over at the Unix time `now`."""
        return bool(self.flags & _ENDS) and self.end <= now and not self.pinned

    def model(self, value: bytes) -> str | None:
        """The model, where the beginning of the value reaches so far."""
        if not self.flags & _HAS_MODEL:
            return None
        return value[HEAD_BYTES : HEAD_BYTES + self.model_bytes].decode("utf-8", "replace")

    def prompt(self, value: bytes) -> str:
        """The prompt as a person wrote it."""
        text = self._prompt(value)
        return text if self.flags & _IS_MESSAGE else readable_prompt(text)

    def raw_prompt(self, value: bytes) -> str:
        """The prompt as LangChain passed it."""
        text = self._prompt(value)
        return message_prompt(text) if self.flags & _IS_MESSAGE else text

    @property
    def sealed_at(self) -> int:
        """Where the sealed answer begins."""
        return HEAD_BYTES + self.model_bytes + self.prompt_bytes + self.shown_bytes

    def shown(self, value: bytes) -> tuple[str, str] | None:
        """Prompt and answer as a list shows them, where the value is so long that they are kept; else None.

        Raises `CorruptEntryError`.
        """
        if not self.shown_bytes:
            return None
        start = HEAD_BYTES + self.model_bytes
        try:
            match orjson.loads(value[start : start + self.shown_bytes]):
                case [str(prompt), str(answer)]:
                    return prompt, answer
        except orjson.JSONDecodeError as error:
            raise CorruptEntryError(f"its beginning is not JSON: {error}") from error
        raise CorruptEntryError("its beginning is no prompt and answer")

    def _prompt(self, value: bytes) -> str:
        start = HEAD_BYTES + self.model_bytes + self.shown_bytes
        return value[start : start + self.prompt_bytes].decode("utf-8", "replace")


def to_value(entry: StoredEntry) -> bytes:
    """The value of an entry."""
    message = single_message(entry.raw_prompt)
    prompt = (entry.raw_prompt if message is None else message).encode()
    model = b"" if entry.model is None else entry.model.encode()
    shown = b""
    if HEAD_BYTES + len(model) + len(prompt) + CHECKSUM_BYTES + len(entry.payload) > LISTED_BYTES:
        readable = readable_prompt(entry.raw_prompt) if message is None else message
        answer = text_of(entry.payload)
        shown = orjson.dumps([shortened(readable, SHOWN_PROMPT_LENGTH), shortened(answer, SHOWN_ANSWER_LENGTH)])
    flags = (
        entry.pinned * _PINNED
        + (entry.expires_at is not None) * _ENDS
        + (entry.model_time_s is not None) * _IS_TIMED
        + (entry.model is not None) * _HAS_MODEL
        + (message is not None) * _IS_MESSAGE
    )
    head = _HEAD.pack(
        _MAGIC,
        FORMAT,
        flags,
        entry.created_at,
        entry.expires_at or 0.0,
        entry.model_time_s or 0.0,
        interned_id(entry.llm_string),
        len(model),
        len(prompt),
        len(shown),
    )
    return b"".join((head, model, shown, prompt, seal(entry.key, entry.payload)))


def note(entry: StoredEntry, ends_at: float | None) -> bytes:
    """What `redis_scripts` notes of an entry until it is entered into the orders."""
    ends = "" if ends_at is None else repr(ends_at)
    said = f"{entry.created_at!r} {entry.last_used_at!r} {ends} {entry.size_bytes} {entry.hits}"
    return entry.digest + said.encode()


def found(digest: bytes, value: bytes) -> Found:
    """What a lookup needs of a value. Raises `CorruptEntryError`."""
    head = Head.of(value)
    payload = unseal(digest.hex(), value[head.sealed_at :])
    try:
        answers = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise CorruptEntryError(f"not JSON: {error}") from error
    return Found(answers, head.created_at, None if head.pinned else head.expires_at, head.model_time_s)


def stored(digest: bytes, value: bytes, llm_string: str, last_used_at: float, hits: int) -> StoredEntry:
    """The entry in a value, and in what lies beside it. Raises `CorruptEntryError`."""
    head = Head.of(value)
    return StoredEntry(
        digest=digest,
        payload=unseal(digest.hex(), value[head.sealed_at :]),
        created_at=head.created_at,
        expires_at=head.expires_at,
        model_time_s=head.model_time_s,
        model=head.model(value),
        raw_prompt=head.raw_prompt(value),
        llm_string=llm_string,
        last_used_at=last_used_at,
        hits=hits,
        pinned=head.pinned,
    )


FLAGS_AT = 5
"""Where in a value the flags lie."""


def is_pinned(flags: bytes) -> bool:
    """What the byte at `FLAGS_AT` says; of a value that is gone there is none."""
    return bool(flags) and bool(flags[0] & _PINNED)
