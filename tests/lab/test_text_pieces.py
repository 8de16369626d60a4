"""Where two texts differ: the pieces are the texts again, what is hard to see has a name, long texts are no trap."""

from __future__ import annotations

import random
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import text_pieces
from lab.text_pieces import pieces

TEXTS = st.text(alphabet="aAbé\u0301 \n\r\t\u00a0", max_size=40)


def differences(stored: str, asked: str) -> list[tuple[str, str, int, str]]:
    """What differs: in the one, in the other, after how many characters, and how."""
    return [
        (piece.stored, piece.asked, piece.stored_at, piece.kind) for piece in pieces(stored, asked) if piece.differs
    ]


def in_many_places(text: str, places: int, seed: int = 1) -> str:
    """The text with other letters in random places."""
    rng, letters = random.Random(seed), list(text)
    for place in rng.sample(range(len(letters)), places):
        letters[place] = rng.choice(["", "é", "xyz"])
    return "".join(letters)


LONG = " ".join(f"word{random.Random(n).randrange(1000)}" for n in range(14_000))[:100_000]


def assert_whole(stored: str, asked: str) -> None:
    found = pieces(stored, asked)
    assert "".join(piece.stored for piece in found) == stored
    assert "".join(piece.asked for piece in found) == asked
    for piece in found:
        assert piece.differs == (piece.stored != piece.asked)
        assert stored[piece.stored_at :].startswith(piece.stored)
        assert asked[piece.asked_at :].startswith(piece.asked)
    assert not any(one.differs and other.differs for one, other in pairwise(found))


@given(TEXTS, TEXTS)
def test_the_pieces_are_the_texts_again(stored: str, asked: str) -> None:
    assert_whole(stored, asked)


@given(TEXTS, TEXTS)
def test_the_pieces_of_long_texts_are_the_texts_again(stored: str, asked: str) -> None:
    with patch.object(text_pieces, "FINE", 0), patch.object(text_pieces, "ANCHOR", 2):
        assert_whole(stored, asked)


@pytest.mark.parametrize("places", [1, 2, 40, 1000, 50_000])
def test_the_pieces_of_very_long_texts_are_the_texts_again(places: int) -> None:
    assert_whole(LONG, in_many_places(LONG, places))


def test_equal_texts_are_one_piece() -> None:
    assert [piece.kind for piece in pieces("a b", "a b")] == ["same"]
    assert pieces("", "") == ()


@pytest.mark.parametrize(
    ("stored", "asked", "found"),
    [
        ("Who was it?", "Who was he?", [("it", "he", 8, "text")]),
        ("Who", "who", [("W", "w", 0, "case")]),
        ("Who?", "Who? ", [("", " ", 4, "trailing_space")]),
        ("Who?\n", "Who?", [("\n", "", 4, "trailing_space")]),
        ("Who?", " Who?", [("", " ", 0, "leading_space")]),
        ("Who was", "Who  was", [("", " ", 4, "double_space")]),
        ("Who  was", "Who was", [(" ", "", 4, "double_space")]),
        ("Who was", "Whowas", [(" ", "", 3, "text")]),
        ("Who was", "Who\u00a0was", [(" ", "\u00a0", 3, "text")]),
        ("Who was", "Who\twas", [(" ", "\t", 3, "text")]),
        ("Who was", "Who\u200b was", [("", "\u200b", 3, "text")]),
        ("a\r\nb", "a\nb", [("\r", "", 1, "line_ending")]),
        ("a\nb\nc", "a\r\nb\r\nc", [("", "\r", 1, "line_ending"), ("", "\r", 3, "line_ending")]),
        ("a\nb", "a\rb", [("\n", "\r", 1, "line_ending")]),
        ("caf\u00e9", "cafe\u0301", [("\u00e9", "e\u0301", 3, "unicode_form")]),
        ("cafe\u0301!", "caf\u00e9!", [("e\u0301", "\u00e9", 3, "unicode_form")]),
        ("", "a", [("", "a", 0, "text")]),
        ("", " ", [("", " ", 0, "trailing_space")]),
        ("cat", "the cat and dog", [("", "the ", 0, "text"), ("", " and dog", 3, "text")]),
    ],
)
def test_a_difference_has_its_place_and_its_kind(stored: str, asked: str, found: list[object]) -> None:
    assert differences(stored, asked) == found


def test_letters_that_two_different_words_share_are_no_agreement() -> None:
    assert len(differences("What is love?", "Who was Carl Sagan?")) <= 2


def test_a_few_differences_in_a_long_text_are_found_each() -> None:
    stored = LONG[:50_000] + "Sagan" + LONG[50_000:]
    asked = "x" + stored.replace("Sagan", "Sagans") + "!"
    assert differences(stored, asked) == [
        ("", "x", 0, "text"),
        ("", "s", 50_005, "text"),
        ("", "!", 100_005, "text"),
    ]


def test_line_ends_of_a_long_text_are_told_as_line_ends() -> None:
    lines = LONG.replace(" ", "\n")
    assert {kind for _, _, _, kind in differences(lines, lines.replace("\n", "\r\n"))} == {"line_ending"}


class Comparisons:
    """Counts the work of `SequenceMatcher`, in pairs of equal characters."""

    def __init__(self) -> None:
        self.pairs = 0.0
        self.largest = 0.0

    def __call__(self, junk: None, a: str, b: str, *, autojunk: bool) -> object:
        pairs = sum(a.count(character) * b.count(character) for character in set(a))
        self.pairs += pairs
        self.largest = max(self.largest, pairs)
        return self.real(junk, a, b, autojunk=autojunk)

    real = text_pieces.SequenceMatcher


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        (LONG, in_many_places(LONG, 3)),
        (LONG, in_many_places(LONG, 5000)),
        (LONG, LONG[::-1]),
        ("a" * 100_000, "ab" * 50_000),
        ("ab" * 50_000, "ba" * 50_000),
        ("a" * 400, "ab" * 200),
        ("".join(f"{'a' * 90}{n}" for n in range(1000)), "".join(f"{'ab' * 40}{n}" for n in range(1000))),
        (LONG * 100, f"x{LONG * 50}y{LONG * 50}"),
    ],
    ids=range(8),
)
def test_the_work_is_bounded_however_long_the_texts_are(stored: str, asked: str) -> None:
    counted = Comparisons()
    with patch.object(text_pieces, "SequenceMatcher", counted):
        found = pieces(stored, asked)
    assert counted.largest <= 10_000
    assert counted.pairs <= 60_000
    assert len(found) <= 20 * text_pieces.MOST_DIFFERENCES
