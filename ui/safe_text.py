"""Model answers as Markdown that loads nothing from anywhere and is not taken for Streamlit's own directives."""

from __future__ import annotations

import re

_IMAGE = re.compile(r"!(?=\[)")
_DIRECTIVE = re.compile(r":(?=[\w-]+(?:\[|/))")
_INVISIBLE_BREAK = "\u200b"


def safe_markdown(text: str) -> str:
    """The text with images and directives taken apart and dollar signs kept from becoming formulas.

    Streamlit shows HTML in Markdown as text already.
    """
    text = _IMAGE.sub(f"!{_INVISIBLE_BREAK}", text.replace("\0", "\u2400"))
    return _DIRECTIVE.sub(f":{_INVISIBLE_BREAK}", text).replace("$", r"\$")


def shown_in_line(text: str) -> str:
    """Text as it is, for a line of Markdown: every character that Markdown could read as a sign is escaped."""
    line = " ".join(text.replace("\0", "\u2400").split())
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|$~:&])", r"\\\1", line)
