"""Where two texts differ, character by character, in a time that is bounded however long they are."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

Kind = Literal["same", "text", "case", "line_ending", "unicode_form", "double_space", "leading_space", "trailing_space"]
"""How two pieces differ: in a way that is hard to see, or in their text. `unicode_form`: one text in two forms of
Unicode, such as "é" as one character and as "e" with an accent after it."""

FINE = 8_000
"""Pairs of equal characters in two texts up to which all of both is matched, in 25 ms at most: two questions of 300
letters have 6,000. `SequenceMatcher` is cubic where letters repeat, and took 740 ms for 400 of them."""
FINE_WITHIN = 1_000
"""The same for one difference of many in long texts."""
MOST_COUNTED = 1_000_000
"""Lengths, multiplied, from which on pairs are not even counted."""
MOST_DIFFERENCES = 50
"""In long texts; what comes after so many is one more."""
WINDOW, ANCHOR = 400, 12
"""After a difference in long texts, the next so many characters are searched for so many that are the same in both."""
COINCIDENCE = 2
"""Characters that are the same by chance where there is as much on both sides that differs."""
MOST_NORMALISED = 200_000
"""Characters of a difference up to which its two sides are compared in other forms too."""

Span = tuple[int, int, int, int]
"""A difference: from, to in the one text, from, to in the other."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of two texts: the same in both, or what stands in each of them in the same place."""

    stored: str
    asked: str
    stored_at: int
    """Characters before it."""
    asked_at: int
    kind: Kind

    @property
    def differs(self) -> bool:
        """Whether it is not the same in both texts."""
        return self.kind != "same"


def pieces(stored: str, asked: str) -> tuple[Piece, ...]:
    """The two texts in pieces that are the same and pieces that differ. All of them, joined, are the texts again.

    >>> [(piece.stored, piece.asked) for piece in pieces("Who was it?", "Who is it?")]
    [('Who ', 'Who '), ('wa', 'i'), ('s it?', 's it?')]
    """
    found: list[Piece] = []
    stored_at = asked_at = 0
    for span in [*_spans(stored, asked), (len(stored), len(stored), len(asked), len(asked))]:
        if span[0] > stored_at:
            same = stored[stored_at : span[0]]
            found.append(Piece(same, same, stored_at, asked_at, "same"))
        if span[1] > span[0] or span[3] > span[2]:
            found.append(
                Piece(stored[span[0] : span[1]], asked[span[2] : span[3]], span[0], span[2], _kind(stored, asked, span))
            )
        stored_at, asked_at = span[1], span[3]
    return tuple(found)


def _spans(stored: str, asked: str) -> list[Span]:
    """The differences, in order: none is empty, and between two of them something is the same."""
    shorter = min(len(stored), len(asked))
    before = _agreeing(_ahead(stored, 0, asked, 0), shorter)
    ends = len(stored), len(asked)
    after = _agreeing(
        lambda start, end: stored[ends[0] - end : ends[0] - start] == asked[ends[1] - end : ends[1] - start],
        shorter - before,
    )
    a, b = stored[before : ends[0] - after], asked[before : ends[1] - after]
    found = _coarse(a, b) if _pairs(a, b) > FINE else _fine(a, b, FINE)
    return [(start + before, end + before, begin + before, stop + before) for start, end, begin, stop in found]


def _agreeing(agrees: Callable[[int, int], bool], most: int) -> int:
    """How far, of `most`, all agrees: in steps that double until one doesn't, then by halves. Linear."""
    known, step = 0, 64
    while known < most and agrees(known, min(most, known + step)):
        known, step = min(most, known + step), step * 2
    limit = min(most, known + step)
    while limit - known > 1:  # what lies from `known` to `limit` does not agree as a whole
        middle = (known + limit) // 2
        if agrees(known, middle):
            known = middle
        else:
            limit = middle
    return known


def _ahead(a: str, i: int, b: str, j: int) -> Callable[[int, int], bool]:
    """For `_agreeing`: the two texts from these places on."""
    return lambda start, end: a[i + start : i + end] == b[j + start : j + end]


def _fine(a: str, b: str, most: int) -> list[Span]:
    """The differences of two short texts; of longer ones, that all of it differs."""
    if not a and not b:
        return []
    if not a or not b or _pairs(a, b) > most:
        return [(0, len(a), 0, len(b))]
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    found: list[Span] = []
    for tag, start, end, begin, stop in matcher.get_opcodes():
        if tag == "equal":
            continue
        span = (start, end, begin, stop)
        # A few letters that two different words happen to share say nothing.
        while found and span[0] - found[-1][1] <= min(COINCIDENCE, _size(found[-1]), _size(span)):
            span = (found[-1][0], span[1], found[-1][2], span[3])
            found.pop()
        found.append(span)
    return found


def _pairs(a: str, b: str) -> float:
    """How many characters of the one equal how many of the other: what matching them costs."""
    if len(a) * len(b) > MOST_COUNTED:
        return math.inf
    in_a, in_b = Counter(a), Counter(b)
    return sum(number * in_b[character] for character, number in in_a.items())


def _size(span: Span) -> int:
    return max(span[1] - span[0], span[3] - span[2])


def _coarse(a: str, b: str) -> list[Span]:
    """The differences of two long texts: after each, they are taken up again where both go on in the same way."""
    found: list[Span] = []
    i = j = 0
    while True:
        ahead = _agreeing(_ahead(a, i, b, j), min(len(a) - i, len(b) - j))
        i, j = i + ahead, j + ahead
        if i == len(a) and j == len(b):
            return found
        skipped = _next_anchor(a[i : i + WINDOW + ANCHOR], b[j : j + WINDOW + ANCHOR])
        if skipped is None or len(found) >= MOST_DIFFERENCES:
            return [*found, (i, len(a), j, len(b))]
        in_a, in_b = skipped
        within = _fine(a[i : i + in_a], b[j : j + in_b], FINE_WITHIN)
        found += [(i + start, i + end, j + begin, j + stop) for start, end, begin, stop in within]
        i, j = i + in_a, j + in_b


def _next_anchor(a: str, b: str) -> tuple[int, int] | None:
    """How much to skip in each, together as little as can be, so that both go on with the same characters."""
    places: dict[str, int] = {}
    for place in range(len(b) - ANCHOR + 1):
        places.setdefault(b[place : place + ANCHOR], place)
    best: tuple[int, int] | None = None
    for place in range(len(a) - ANCHOR + 1):
        if best is not None and place >= sum(best):
            break
        other = places.get(a[place : place + ANCHOR])
        if other is not None and (best is None or place + other < sum(best)):
            best = (place, other)
    return best


def _kind(stored: str, asked: str, span: Span) -> Kind:
    one, other = stored[span[0] : span[1]], asked[span[2] : span[3]]
    at_end = span[1] == len(stored) and span[3] == len(asked)
    before = "" if span[0] == 0 else stored[span[0] - 1]
    after = "" if at_end or span[1] == len(stored) else stored[span[1]]
    if _same_lines(one, other, "\r" if before == "\r" else "", "\n" if after == "\n" else ""):
        return "line_ending"
    if len(one) + len(other) > MOST_NORMALISED:
        return "text"
    if unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other):
        return "unicode_form"
    if not one or not other:
        added = one or other
        if added.isspace() and at_end:
            return "trailing_space"
        if added.isspace() and span[0] == span[2] == 0:
            return "leading_space"
        if not added.strip(" ") and " " in (before, after):
            return "double_space"
    return "case" if one.casefold() == other.casefold() else "text"


def _same_lines(one: str, other: str, before: str, after: str) -> bool:
    """Whether the two are alike but for how their lines end, between the halves of line ends beside them."""

    def plain(text: str) -> str:
        return f"{before}{text}{after}".replace("\r\n", "\n").replace("\r", "\n")

    return plain(one) == plain(other)
