"""Characters have names, above all those that can't be seen."""

from __future__ import annotations

import sys

import pytest

from lab.characters import CHARACTER_NAMES, character_name, describe


@pytest.mark.parametrize(
    ("character", "described"),
    [
        (" ", "space (U+0020)"),
        ("\t", "tab (U+0009)"),
        ("\n", "line feed (U+000A)"),
        ("\r", "carriage return (U+000D)"),
        ("\u00a0", "no-break space (U+00A0)"),
        ("\u200b", "zero-width space (U+200B)"),
        ("\ufeff", "byte order mark (U+FEFF)"),
        ("\u2003", "other space (U+2003)"),
        ("\u0301", "combining mark (U+0301)"),
        ("\u202e", "invisible character (U+202E)"),
        ("\u3164", "invisible character (U+3164)"),
        ("\ud800", "invisible character (U+D800)"),
        ("e", "“e” (U+0065)"),
        ("\u0435", "“\u0435” (U+0435)"),
        ("😀", "“😀” (U+1F600)"),
    ],
)
def test_a_character_is_described(character: str, described: str) -> None:
    assert describe(character) == described


def test_every_character_has_a_description() -> None:
    names = {character_name(chr(point)) for point in range(sys.maxunicode + 1)}
    assert names == {None, *CHARACTER_NAMES}
