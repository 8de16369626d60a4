"""What makes two keys differ, in a sentence."""

from __future__ import annotations

from cache_backends import CacheEntry
from cache_backends.readable import shortened
from lab.characters import CharacterName, character_name, code_point
from lab.key_parts import ComparedPart, KeyComparison, is_redacted
from lab.parameters import MODEL_NAMES, WHOLE
from lab.text_pieces import Piece
from ui.language import _, ngettext
from ui.marked_text import plainly
from ui.numbers import count

VALUE_LENGTH = 40
"""Characters that a sentence shows of a value."""
MOST_REASONS = 3


def verdict(entry: CacheEntry, compared: KeyComparison, now: float) -> str:
    """Whether the other request would be a hit, and if not why. `now`: a Unix time by the store's clock."""
    if not compared.would_hit:
        reasons = [
            _prompt_reason(part.pieces) if part is compared.prompt else _parameter_reason(part)
            for part in compared.differing
        ]
        more = len(reasons) - MOST_REASONS
        if more > 0:
            reasons[MOST_REASONS:] = [
                ngettext("{n} more parameter differs", "{n} more parameters differ", more).format(n=count(more))
            ]
        return _("This would miss: {reasons}.").format(reasons="; ".join(reasons))
    if entry.is_expired(now):
        return _("The key is the same, but the time to live of this entry is over: it would count as expired.")
    if compared.key_is_known:
        return _("This would be a hit: every part of the key is the same.")
    if is_redacted(entry):
        return _(
            "This would be a hit, if the secret is the same too. Something in the parameters looked like a secret and "
            "was not stored, so the key can't be worked out again: what is left of its parts is compared."
        )
    return _(
        "All parts are the same. But they don't give the key that this entry has, so it can't be said whether this "
        "would be a hit."
    )


def part_title(name: str) -> str:
    """What a part of a key is called: as LangChain names it, but for a string that can't be taken apart."""
    return _("All parameters") if name == WHOLE else shortened(plainly(name), VALUE_LENGTH)


def in_words(character: str) -> str:
    """A character in a sentence: what it is called or what it looks like, with its code point."""
    name = character_name(character)
    return f"{f'“{character}”' if name is None else character_title(name)} ({code_point(character)})"


def character_title(name: CharacterName) -> str:
    """What a character is called that can't be seen, with its article."""
    return {
        "space": _("a space"),
        "tab": _("a tab"),
        "line feed": _("a line feed"),
        "carriage return": _("a carriage return"),
        "no-break space": _("a no-break space"),
        "narrow no-break space": _("a narrow no-break space"),
        "ideographic space": _("an ideographic space"),
        "zero-width space": _("a zero-width space"),
        "zero-width non-joiner": _("a zero-width non-joiner"),
        "zero-width joiner": _("a zero-width joiner"),
        "word joiner": _("a word joiner"),
        "byte order mark": _("a byte order mark"),
        "soft hyphen": _("a soft hyphen"),
        "null": _("a null character"),
        "other space": _("another kind of space"),
        "combining mark": _("an accent that stands alone"),
        "invisible character": _("an invisible character"),
    }[name]


def _prompt_reason(pieces: tuple[Piece, ...]) -> str:
    found = [piece for piece in pieces if piece.differs]
    first = found[0]
    if len(found) == 1:
        return _difference(first, is_last=first is pieces[-1])
    places = {"places": count(len(found)), "position": _position(first)}
    kinds = {piece.kind for piece in found}
    if kinds == {"line_ending"}:
        return _("lines of the prompt end differently in {places} places, the first at character {position}").format(
            **places
        )
    if kinds == {"unicode_form"}:
        return _(
            "{places} pieces of the prompt look the same but are other code points, the first at character {position}"
        ).format(**places)
    return _("the prompt differs in {places} places, the first at character {position}").format(**places)


def _difference(piece: Piece, *, is_last: bool) -> str:
    """One difference, the only one."""
    position = _position(piece)
    if piece.kind == "line_ending":
        return _("a line of the prompt ends differently (CR, LF or both) at character {position}").format(
            position=position
        )
    if piece.kind == "unicode_form":
        return _(
            "the prompt looks the same, but from character {position} on it is other code points: {asked} instead of "
            "{stored}"
        ).format(position=position, asked=_code_points(piece.asked), stored=_code_points(piece.stored))
    if piece.kind == "double_space" and len(piece.asked or piece.stored) == 1:
        if piece.asked:
            return _("the prompt has a double space at character {position}").format(position=position)
        return _("the prompt has a single space instead of a double one at character {position}").format(
            position=position
        )
    if piece.stored and piece.asked:
        return _("the prompt has {asked} instead of {stored} at character {position}").format(
            asked=_some(piece.asked), stored=_some(piece.stored), position=position
        )
    at_beginning = piece.stored_at == piece.asked_at == 0
    if piece.asked:
        what = _some(piece.asked)
        if is_last:
            return _("the prompt has {what} more at its end").format(what=what)
        if at_beginning:
            return _("the prompt has {what} more at its beginning").format(what=what)
        return _("the prompt has {what} more at character {position}").format(what=what, position=position)
    what = _some(piece.stored)
    if is_last:
        return _("the prompt has {what} less at its end").format(what=what)
    if at_beginning:
        return _("the prompt has {what} less at its beginning").format(what=what)
    return _("the prompt has {what} less at character {position}").format(what=what, position=position)


def _some(text: str) -> str:
    """A piece of text in a sentence: one character by name, a word or two as they are, else how much it is."""
    if len(text) == 1:
        return in_words(text)
    if len(text) <= VALUE_LENGTH and text.strip():
        return f"“{plainly(text)}”"
    return ngettext("{n} character", "{n} characters", len(text)).format(n=count(len(text)))


def _code_points(text: str) -> str:
    return shortened(" ".join(map(code_point, text[:VALUE_LENGTH])), VALUE_LENGTH)


def _position(piece: Piece) -> str:
    """The first character of what is asked that differs, counted from one."""
    return count(piece.asked_at + 1)


def _parameter_reason(part: ComparedPart) -> str:
    if part.name == WHOLE:
        return _("the parameters are others")
    values = {"asked": _value(part.asked), "stored": _value(part.stored)}
    name = part_title(part.name)
    if part.stored is None:
        return _("the parameter {name} ({asked}) is not in the stored key").format(name=name, **values)
    if part.asked is None:
        return _("the parameter {name} ({stored}) is in the stored key only").format(name=name, **values)
    if part.name in MODEL_NAMES:
        return _("the model is {asked} instead of {stored}").format(**values)
    if part.name == "temperature":
        return _("the temperature is {asked} instead of {stored}").format(**values)
    return _("the parameter {name} is {asked} instead of {stored}").format(name=name, **values)


def _value(value: str | None) -> str:
    return shortened(plainly(value), VALUE_LENGTH) if value else _("empty")
