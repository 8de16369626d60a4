"""JSON from outside, parsed without what two parsers would understand differently."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from cache_backends.readable import redact, shortened

MOST_SIGNS = 3_000_000
"""Signs of JSON's structure in one text: 64 MB of "[]," would take 3 GB once they are parsed."""
_SIGNS = '[{",'
_GREATEST_WHOLE = 2**64
"""Whole numbers from there on, or below its negative half, are no whole numbers to the codec."""


class JSONRefusedError(ValueError):
    """Text that is not taken; the message says what is wrong with it and what is allowed."""


class NotJSONError(JSONRefusedError):
    """Text that is no JSON at all."""


def parsed(text: str) -> Any:
    """What the text means. Raises `JSONRefusedError`, also for a name that is twice in an object, for numbers that
    are none or have more than 64 bits, and for lists and objects that are too many or too deep within each other.
    """
    if len(text) > MOST_SIGNS and sum(map(text.count, _SIGNS)) > MOST_SIGNS:
        raise JSONRefusedError(f"it has more than {MOST_SIGNS} brackets, braces, commas and quotes.")
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
    except json.JSONDecodeError as error:
        raise NotJSONError(f"not JSON at character {error.pos + 1}: {error.msg}.") from error
    except RecursionError as error:
        raise JSONRefusedError("lists and objects lie too deep within each other.") from error


def shown(value: object) -> str:
    """A value as a sentence can show it: short, and without credentials."""
    if isinstance(value, str):
        return redact(repr(shortened(value, 40)))
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return json.dumps(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise JSONRefusedError(f"{shown(name)} is more than once in one object; once is allowed.")
    return made


def _refuse_constant(name: str) -> None:
    raise JSONRefusedError(f"{name} is no number of JSON; numbers or null are allowed.")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise JSONRefusedError(f"the number {shortened(digits, 40)} is too great; up to 1.7e308 is allowed.")
    return number


def _whole(digits: str) -> int:
    if len(digits) > 20 or not -(_GREATEST_WHOLE // 2) <= (number := int(digits)) < _GREATEST_WHOLE:
        raise JSONRefusedError(f"the whole number {shortened(digits, 40)} has more than 64 bits; up to 64 are allowed.")
    return number
