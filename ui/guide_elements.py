"""How the guide shows headings, prose and tables: readable line lengths, cells that wrap."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

PROSE_WIDTH = 820
"""Pixels: longer lines are hard to read."""
TABLE_WIDTHS = {2: 640, 3: 960}
"""Pixels by number of columns; a table with more takes what there is. Streamlit wraps the text of a cell at some 400
pixels, so that a wider table would have empty space where it looks cut off."""


def heading(text: str, anchor: str) -> None:
    """A heading that a link can name: `anchor` is the same in every language."""
    st.subheader(text, anchor=anchor)


def subheading(text: str) -> None:
    """A heading below another."""
    st.markdown(f"#### {text}")


def prose(*paragraphs: str) -> None:
    """Paragraphs of Markdown."""
    for paragraph in paragraphs:
        st.markdown(paragraph, width=PROSE_WIDTH)


def detail(*paragraphs: str) -> None:
    """Paragraphs for those who want to know exactly, in smaller letters. They must hold no square brackets."""
    for paragraph in paragraphs:
        st.markdown(f":small[{paragraph}]", width=PROSE_WIDTH)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, alt: str) -> None:
    """A table of Markdown cells, first column in bold. `alt` names it for those who can't see it."""
    marked = [[f"**{first}**", *others] for first, *others in rows]
    with st.container(width=TABLE_WIDTHS.get(len(header), "stretch")):
        st.table(pd.DataFrame(marked, columns=list(header)), border="horizontal", hide_index=True, alt=alt)
