"""What a character is called, above all one that can't be seen."""

from __future__ import annotations

import unicodedata
from typing import Literal, get_args

CharacterName = Literal[
    "space",
    "tab",
    "line feed",
    "carriage return",
    "no-break space",
    "narrow no-break space",
    "ideographic space",
    "zero-width space",
    "zero-width non-joiner",
    "zero-width joiner",
    "word joiner",
    "byte order mark",
    "soft hyphen",
    "null",
    "other space",
    "combining mark",
    "invisible character",
]
CHARACTER_NAMES: tuple[CharacterName, ...] = get_args(CharacterName)
_NAMES: dict[str, CharacterName] = {
    " ": "space",
    "\t": "tab",
    "\n": "line feed",
    "\r": "carriage return",
    "\u00a0": "no-break space",
    "\u202f": "narrow no-break space",
    "\u3000": "ideographic space",
    "\u200b": "zero-width space",
    "\u200c": "zero-width non-joiner",
    "\u200d": "zero-width joiner",
    "\u2060": "word joiner",
    "\ufeff": "byte order mark",
    "\u00ad": "soft hyphen",
    "\0": "null",
}
_KINDS: dict[str, CharacterName] = {"Zs": "other space", "Mn": "combining mark", "Me": "combining mark"}


def character_name(character: str) -> CharacterName | None:
    """What a character is called that can't be seen, or not by itself; None for one that can.

    >>> character_name("\\u00a0"), character_name("e")
    ('no-break space', None)
    """
    known = _NAMES.get(character)
    if known is not None:
        return known
    category = unicodedata.category(character)
    if category in _KINDS:
        return _KINDS[category]
    return "invisible character" if category[0] in "CZ" or character in "\u115f\u1160\u2800\u3164\uffa0" else None


def code_point(character: str) -> str:
    """A character's number as Unicode writes it.

    >>> code_point("é")
    'U+00E9'
    """
    return f"U+{ord(character):04X}"


def describe(character: str) -> str:
    """A character's plain name, or where it can be seen the character itself, with its code point.

    >>> describe("\\t"), describe("é")
    ('tab (U+0009)', '“é” (U+00E9)')
    """
    return f"{character_name(character) or f'“{character}”'} ({code_point(character)})"
