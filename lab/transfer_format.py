"""One entry as one line of JSON, and back: the file by which entries move from one cache to another.

A line is a JSON object with exactly these fields, in UTF-8:

    {"format": 1, "key": "…", "raw_prompt": "…", "llm_string": "…", "model": "…", "created_at": 1750000000.0,
     "expires_at": null, "last_used_at": 1750000000.0, "hits": 0, "pinned": false, "model_time_s": 1.5,
     "generations": [{"message": {"content": "…"}}]}

Times are Unix times in seconds; `generations` are in the format of `cache_backends.codec`. The key is that of the
original request. Where a secret was taken out of the parameters, it can't be computed from them again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from cache_backends import CacheEntry, cache_key
from cache_backends.codec import encode
from cache_backends.keys import digest_of
from cache_backends.readable import REDACTED, readable_parameters
from cache_backends.restoring import LATEST_USE, MOST_HITS
from cache_backends.storage import StoredEntry
from cache_backends.summaries import entry_row, whole_entry
from lab.checked_answers import AnswerRefusedError, checked_generations
from lab.strict_json import JSONRefusedError, parsed, shown

FORMAT = 1
MAX_MODEL_LENGTH = 200
"""Characters of a model's name; no cache finds a longer one."""
LATEST_END = 2.0**62
"""Of a time to live: what every database can compare with."""


class LineRefusedError(ValueError):
    """A line that is no entry; the text says what is wrong, with the value, and what is allowed."""


@dataclass(frozen=True, slots=True)
class ReadEntry:
    """The entry of a line."""

    entry: CacheEntry
    is_verified: bool
    """Whether the key is that of the prompt and the parameters; False where a secret was taken out of them."""


def line_of(entry: CacheEntry) -> bytes:
    """The line, with its newline. Raises `NotCacheableError` where the generations would not come back equal."""
    return orjson.dumps(
        {
            "format": FORMAT,
            "key": entry.key,
            "raw_prompt": entry.raw_prompt,
            "llm_string": entry.llm_string,
            "model": entry.model,
            "created_at": entry.created_at,
            "expires_at": entry.expires_at,
            "last_used_at": entry.last_used_at,
            "hits": entry.hits,
            "pinned": entry.pinned,
            "model_time_s": entry.model_time_s,
            "generations": orjson.Fragment(encode(entry.generations)),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def entry_of(line: bytes) -> ReadEntry:
    """The entry of a line that anybody may have written. Raises `LineRefusedError`."""
    fields = _fields(_object(line))
    prompt, llm_string = fields["raw_prompt"], fields["llm_string"]
    _refuse_lone_surrogates(fields)
    try:
        payload = orjson.dumps(fields["generations"])
        generations = checked_generations(fields["generations"])
    except AnswerRefusedError as error:
        raise LineRefusedError(str(error)) from error
    except TypeError as error:  # half of a surrogate pair, or lists too deep within each other
        raise LineRefusedError(f"generations hold what can't be kept: {error}.") from error
    is_verified = fields["key"] == cache_key(prompt, llm_string)
    if not is_verified and REDACTED not in llm_string:
        raise LineRefusedError(
            f"key is {shown(fields['key'])}, which is not that of its prompt and parameters; "
            f"only {cache_key(prompt, llm_string)!r} is allowed."
        )
    stored = StoredEntry(
        digest=digest_of(fields["key"]),
        payload=payload,
        created_at=float(fields["created_at"]),
        expires_at=_seconds(fields["expires_at"]),
        model_time_s=_seconds(fields["model_time_s"]),
        model=fields["model"],
        raw_prompt=prompt,
        llm_string=readable_parameters(llm_string).llm_string,
        last_used_at=float(fields["last_used_at"]),
        hits=fields["hits"],
        pinned=fields["pinned"],
    )
    row = entry_row(stored, generations, namespace="")
    return ReadEntry(whole_entry(row, stored, generations, location=""), is_verified)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_key(value: str) -> bool:
    try:
        digest_of(value)
    except ValueError:
        return False
    return True


def _is_seconds(value: object, greatest: float = LATEST_USE) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= greatest


_ALLOWED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "format": (lambda value: type(value) is int and value == FORMAT, f"{FORMAT}"),
    "key": (lambda value: _is_text(value) and _is_key(value), "text of 64 hexadecimal digits"),
    "raw_prompt": (_is_text, "text"),
    "llm_string": (_is_text, "text"),
    "model": (
        lambda value: value is None or (_is_text(value) and 0 < len(value) <= MAX_MODEL_LENGTH),
        f"null, or text of 1 to {MAX_MODEL_LENGTH} characters",
    ),
    "created_at": (_is_seconds, f"a Unix time in seconds from 0 to {LATEST_USE:.0f}"),
    "expires_at": (
        lambda value: value is None or _is_seconds(value, LATEST_END),
        f"null, or a Unix time in seconds from 0 to {LATEST_END:.0f}",
    ),
    "last_used_at": (_is_seconds, f"a Unix time in seconds from 0 to {LATEST_USE:.0f}"),
    "hits": (lambda value: type(value) is int and 0 <= value <= MOST_HITS, f"a whole number from 0 to {MOST_HITS}"),
    "pinned": (lambda value: type(value) is bool, "true or false"),
    "model_time_s": (
        lambda value: value is None or _is_seconds(value),
        f"null, or seconds from 0 to {LATEST_USE:.0f}",
    ),
    "generations": (lambda value: type(value) is list and len(value) > 0, "a list of at least one generation"),
}
"""By field, what it may hold: as a test, and in words."""


def _object(line: bytes) -> dict[str, Any]:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise LineRefusedError(f"byte {error.start + 1} of the line is not UTF-8; save the file in UTF-8.") from error
    try:
        made = parsed(text)
    except JSONRefusedError as error:
        raise LineRefusedError(str(error)) from error
    if not isinstance(made, dict):
        raise LineRefusedError(f"the line holds {shown(made)}; a JSON object is allowed.")
    return made


def _fields(made: dict[str, Any]) -> dict[str, Any]:
    for name, (is_allowed, in_words) in _ALLOWED.items():
        if name not in made:
            raise LineRefusedError(f"{name} is missing; it must be {in_words}.")
        if not is_allowed(made[name]):
            raise LineRefusedError(f"{name} is {shown(made[name])}; allowed is {in_words}.")
    others = [name for name in made if name not in _ALLOWED]
    if others:
        raise LineRefusedError(f"{shown(others[0])} is no field of an entry; allowed are {', '.join(_ALLOWED)}.")
    return made


def _refuse_lone_surrogates(fields: dict[str, Any]) -> None:
    for name in ("raw_prompt", "llm_string", "model"):
        try:
            (fields[name] or "").encode()
        except UnicodeEncodeError as error:
            raise LineRefusedError(
                f"{name} has half of a surrogate pair at character {error.start + 1}; UTF-8 can't carry it."
            ) from error


def _seconds(value: float | None) -> float | None:
    return None if value is None else float(value)
