"""Model answers as Markdown that loads nothing from anywhere and is not taken for Streamlit's own directives."""

from __future__ import annotations

import re
from collections.abc import Iterator

_FENCED = re.compile(
    r"^(?P<fence>`{3,})[^`\n]*(?:\n.*?(?:^ {0,3}(?P=fence)`*[ \t]*$|\Z)|\Z)"
    r"|^(?P<tildes>~{3,})[^\n]*(?:\n.*?(?:^ {0,3}(?P=tildes)~*[ \t]*$|\Z)|\Z)",
    re.MULTILINE | re.DOTALL,
)
"""A fenced code block, to its closing fence or to the end. Only one that is not indented is surely code to Markdown."""
_CODE = re.compile(r"(?<!`)(`+)(?!`)((?:(?!\n[ \t]*\n).)+?)(?<!`)\1(?!`)", re.DOTALL)
"""Code within a paragraph."""
_OTHER_BLOCK = re.compile(r"^ {0,3}(?:<[a-zA-Z/!?]|\$\$|:::)", re.MULTILINE)
"""What may begin a block of HTML, a formula or a directive, in which a fence is no fence."""
_IMAGE = re.compile(r"!(?=\[)")
_DIRECTIVE = re.compile(r":(?=[a-zA-Z][\w-]*[\[{])|^[ \t]*::+", re.MULTILINE)
_ICON = re.compile(r":(?=material/|streamlit:)")
"""Streamlit finds these after Markdown has taken the escapes away."""
_INVISIBLE_BREAK = "\u200b"
_CUT = re.compile(r"(?<=:)(?=material/|streamlit:)|(?<=http)(?=s?://)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
"""Where icons and bare addresses are cut, to be neither icon nor link. Both are found after Markdown has taken escapes
and entities away; they are not where another element stands within them."""
_NOTHING = ":small[]"
"""A directive without a text: it can neither be seen nor copied."""


def safe_markdown(text: str) -> str:
    """The text with images and directives taken apart and dollar signs kept from becoming formulas.

    Code stays as it is, to be copied. Streamlit shows HTML in Markdown as text already.
    """
    pieces = list(_pieces(text.replace("\0", "\u2400").replace("\r\n", "\n").replace("\r", "\n")))
    sure = not any(_OTHER_BLOCK.search(piece) for piece, is_code in pieces if not is_code)
    return "".join(
        piece if is_code and sure else _without_images(piece if is_code else _plain_prose(piece))
        for piece, is_code in pieces
    )


def shown_in_line(text: str) -> str:
    """Text as it is, for a line of Markdown: signs of Markdown are escaped, and no address becomes a link.

    >>> shown_in_line("*www.example.org*")
    '\\\\*www:small[]\\\\.example\\\\.org\\\\*'
    """
    line = " ".join(text.replace("\0", "\u2400").split())
    return _NOTHING.join(re.sub(r"([\\`*_{}\[\]()<>#+\-.!|$~:&])", r"\\\1", part) for part in _CUT.split(line))


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, and of each whether it is a fenced code block."""
    end = 0
    for block in _FENCED.finditer(text):
        yield text[end : block.start()], False
        yield block[0], True
        end = block.end()
    yield text[end:], False


def _without_images(text: str) -> str:
    return _IMAGE.sub(f"!{_INVISIBLE_BREAK}", text)


def _plain_prose(text: str) -> str:
    """Dollar signs and directives escaped outside of code, where an escape would be shown."""
    end, plain = 0, []
    for code in _CODE.finditer(text):
        plain += [_escaped(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*plain, _escaped(text[end:])])


def _escaped(text: str) -> str:
    text = _ICON.sub(f":{_INVISIBLE_BREAK}", text)
    text = _DIRECTIVE.sub(lambda found: found[0].replace(":", r"\:"), text)
    return re.sub(r"(?<!\\)((?:\\\\)*)\$", r"\1\\$", text)
