"""Two texts with what differs marked, and with signs for characters that can't be seen: Markdown of escaped text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from lab.characters import character_name, code_point
from lab.text_pieces import Piece
from ui.language import _
from ui.safe_text import shown_in_line

Side = Literal["stored", "asked"]
BACKGROUNDS: dict[Side, str] = {"stored": "blue", "asked": "orange"}
SIGNS = {" ": "␣", "\t": "⇥", "\n": "↵", "\r": "[CR]", "\u00a0": "[NBSP]"}
"""For characters that can't be seen, where Streamlit's font has one (␍ and ⍽ are empty boxes in it); of all others the
code point is shown."""
NOTHING = "∅"
"""Where one text has something and the other has not."""
BASE = "◌"
"""What an accent is shown on that stands alone."""
JOINING = "\u200c\u200d"
"""They can't be seen, but letters and emoji are joined by them: where nothing differs they stay as they are."""
CONTEXT = 60
"""Characters that are shown before and after a difference."""
LONGEST_DIFFERENCE = 240
LONGEST_SAME = 400
"""Characters that are shown of texts that don't differ."""
MOST_MARKED = 12
"""Differences that are shown of one text."""
ELLIPSIS = "…"


def marked(pieces: Sequence[Piece], side: Side) -> str:
    """One of the two texts as a line of Markdown: what differs on a coloured ground, long stretches left out."""
    if not any(piece.differs for piece in pieces):
        text = "".join(piece.stored for piece in pieces)
        return escaped(_edges(plainly(_cut(text, LONGEST_SAME, 0)), at_start=True, at_end=True))
    shown, differences = [], 0
    for number, piece in enumerate(pieces):
        if piece.differs and differences == MOST_MARKED:
            shown.append(ELLIPSIS)
            break
        differences += piece.differs
        if piece.differs:
            shown.append(_on_ground(piece.stored if side == "stored" else piece.asked, BACKGROUNDS[side]))
        else:
            at = {"at_start": number == 0, "at_end": number == len(pieces) - 1}
            shown.append(escaped(_edges(plainly(_near(piece.stored, **at)), **at)))
    return "".join(shown)


def legend(texts: str) -> str | None:
    """What the signs mean that occur in texts that `marked` gave; None where there are none."""
    meanings = (
        (SIGNS[" "], _("space")),
        (SIGNS["\t"], _("tab")),
        (SIGNS["\n"], _("line feed")),
        (SIGNS["\r"], _("carriage return")),
        (SIGNS["\u00a0"], _("no-break space")),
        (NOTHING, _("nothing here")),
        (ELLIPSIS, _("more, which is left out")),
    )
    found = [f"{sign} {meaning}" for sign, meaning in meanings if shown_in_line(sign) in texts]
    return " · ".join(found) or None


def plainly(text: str) -> str:
    """Text in which nothing differs: single spaces stay, all else that can't be seen gets its sign."""
    text = re.sub(r" {2,}", lambda found: SIGNS[" "] * len(found[0]), text)
    return "".join(character if character in JOINING else _sign(character, accents=False) for character in text)


def signs(text: str) -> str:
    """Text that differs: whatever can't be seen gets its sign, accents that stand alone too."""
    return "".join(SIGNS[" "] if character == " " else _sign(character, accents=True) for character in text)


def escaped(text: str) -> str:
    """Text in Markdown, the spaces around it too."""
    before = " " if text.startswith(" ") else ""
    after = " " if text.endswith(" ") and len(text) > 1 else ""
    return f"{before}{shown_in_line(text)}{after}"


def _on_ground(text: str, colour: str) -> str:
    return f":{colour}-background[**{shown_in_line(signs(_cut(text, LONGEST_DIFFERENCE, CONTEXT))) or NOTHING}**]"


def _sign(character: str, *, accents: bool) -> str:
    if character == " ":
        return character
    if character in SIGNS:
        return SIGNS[character]
    name = character_name(character)
    if name is None:
        return character
    if name == "combining mark":
        return BASE + character if accents else character
    return f"[{code_point(character)}]"


def _edges(text: str, *, at_start: bool, at_end: bool) -> str:
    """With a sign for a space at the start or the end of the whole text, where a page shows none."""
    if at_start and text.startswith(" "):
        text = SIGNS[" "] + text[1:]
    return text[:-1] + SIGNS[" "] if at_end and text.endswith(" ") else text


def _near(text: str, *, at_start: bool, at_end: bool) -> str:
    """Of a text in which nothing differs, what is next to a difference."""
    if len(text) <= 2 * CONTEXT + 10:
        return text
    before = "" if at_start else text[:CONTEXT]
    after = "" if at_end else text[-CONTEXT:]
    return f"{before}{ELLIPSIS}{after}"


def _cut(text: str, first: int, last: int) -> str:
    """Of a long text its beginning and its end."""
    return text if len(text) <= first + last + 1 else text[:first] + ELLIPSIS + text[len(text) - last :]
