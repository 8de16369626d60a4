"""Text that others wrote: it loads nothing, is no formula and no directive, and stays readable."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.safe_text import safe_markdown, shown_in_line

BREAK = "\u200b"
NOTHING = ":small[]"
"""What an icon or an address is cut with."""
ADDRESS = re.compile(r"https?://|www\.|[^\s@]@", re.IGNORECASE)
"""With what Markdown finds a bare address."""
PARTS = ("http", "HTTPS", "s", ":", "//", "/", "www", "WwW", ".", "@", "a", "example.org", "mailto:", " ", "(", "*")
ADDRESSES = st.lists(st.sampled_from(PARTS), max_size=14).map("".join)
SIGNS = st.text(alphabet="![]()$:`~<>-*_#{}/ \n\\abcred", max_size=60)
"""Texts that consist of what Markdown reads as signs."""
NO_CODE = SIGNS.map(lambda text: re.sub(r"[`~\\]", "", text))

IMAGE = "![x](https://evil.example/x.png)"


def test_an_image_becomes_a_link() -> None:
    assert safe_markdown(IMAGE) == f"!{BREAK}[x](https://evil.example/x.png)"


@given(NO_CODE)
def test_no_image_survives(text: str) -> None:
    assert "![" not in safe_markdown(text)


@pytest.mark.parametrize(
    "text",
    [
        f"{IMAGE}",
        f"[{IMAGE}](https://evil.example)",
        "![x][ref]\n\n[ref]: https://evil.example/x.png",
        "![ref]\n\n[ref]: https://evil.example/x.png",
        f"\\\\{IMAGE}",
        f"<!--\n```\n-->\n{IMAGE}",
        f"<div>\n```\n\n{IMAGE}",
        f"   <?x\n~~~\n?>\n{IMAGE}",
        f"`a\n$$\nb`\n```\n$$\n{IMAGE}",
        f"`a\n:::x\nb`\n```\n:::\n{IMAGE}",
        f"- a\n  ```\n{IMAGE}",
        f"> ```\n{IMAGE}",
        f"``` a`b\n{IMAGE}\n```",
        f"~~~\ncode\n~~~\n{IMAGE}",
        f"````\n```\n````\n{IMAGE}",
        f"```\ncode\n   ```\t\n{IMAGE}",
        f"```\rcode\r```\r{IMAGE}",
        f"a\u2028```\n{IMAGE}",
        f"`{IMAGE}`",
        f"``\n{IMAGE}",
        f"    ```\n{IMAGE}",
    ],
)
def test_no_image_hides_behind_what_looks_like_code(text: str) -> None:
    assert "![" not in safe_markdown(text)


@given(NO_CODE)
def test_no_dollar_sign_begins_a_formula(text: str) -> None:
    for before in re.findall(r"(\\*)\$", safe_markdown(text)):
        assert len(before) % 2 == 1


@pytest.mark.parametrize("text", [r"\$5", r"\\\$5", r"a \$5 and \$6"])
def test_a_dollar_sign_that_is_escaped_already_stays_so(text: str) -> None:
    assert safe_markdown(text) == text


def test_prices_are_no_formula() -> None:
    assert safe_markdown("from $5 to $6") == r"from \$5 to \$6"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (":red[x]", r"\:red[x]"),
        ("a:red-background[x]", r"a\:red-background[x]"),
        (":small{a=b}", r"\:small{a=b}"),
        (":::warning\nx\n:::", "\\:\\:\\:warning\nx\n\\:\\:\\:"),
        (":material/home:", f":{BREAK}material/home:"),
        (":streamlit:", f":{BREAK}streamlit:"),
    ],
)
def test_directives_are_taken_apart(text: str, safe: str) -> None:
    assert safe_markdown(text) == safe


@pytest.mark.parametrize(
    "text",
    [
        "At 10:30:20, std::vector and http://localhost:8080/v1 stay.",
        "**Bold**, _italic_, [a link](https://example.org), 1. a list\n\n- and another",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "Wow! [not an image](https://example.org)",
    ],
)
def test_ordinary_markdown_is_left_alone(text: str) -> None:
    assert safe_markdown(text) == text


@pytest.mark.parametrize(
    "code",
    [
        "```bash\necho $HOME :red[x] ![a](b)\n```",
        "~~~rust\n#![allow(x)] vec![$x]\n~~~",
        "```\nstill being written: $x ![",
        "Use `$HOME` and ``a:b[`$`]``.",
        "1. Run\n   ```sh\n   echo $HOME $PATH\n   ```",
    ],
)
def test_code_stays_as_it_is(code: str) -> None:
    assert safe_markdown(code) == code


def test_prose_around_code_is_made_safe() -> None:
    block = "```\n$a ![b](c)\n```"
    assert safe_markdown(f"$5 {IMAGE}\n{block}\n$6 {IMAGE}") == (
        f"\\$5 !{BREAK}{IMAGE[1:]}\n{block}\n\\$6 !{BREAK}{IMAGE[1:]}"
    )


def test_a_lone_backtick_does_not_turn_paragraphs_into_code() -> None:
    assert safe_markdown("don`t pay $5\n\nit`s $6") == "don`t pay \\$5\n\nit`s \\$6"


@given(st.text(alphabet=st.characters(exclude_characters="\\\0\r\u200b"), max_size=80) | NO_CODE)
def test_nothing_is_lost(text: str) -> None:
    assert re.sub(r"\\([$:])", r"\1", safe_markdown(text).replace(BREAK, "")) == text


def test_nul_is_shown_as_a_sign() -> None:
    assert safe_markdown("a\0b") == "a␀b"
    assert shown_in_line("a\0b") == "a␀b"


@given(st.text(max_size=80) | SIGNS | ADDRESSES)
def test_a_line_shows_exactly_its_text(text: str) -> None:
    line = shown_in_line(text).replace(NOTHING, "")  # an escaped sign is none of it
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_{}\[\]()<>#|$~:&!]", line)
    assert "\n" not in line
    assert re.sub(r"\\([\\`*_{}\[\]()<>#+\-.!|$~:&])", r"\1", line) == " ".join(text.replace("\0", "␀").split())


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("http://a.example/c", r"http:small[]\://a\.example/c"),
        ("(HTTPS://a.example)", r"\(HTTP:small[]S\://a\.example\)"),
        ("see Www.a.example", r"see Www:small[]\.a\.example"),
        ("someone@a.example", r"someone:small[]@a\.example"),
        ("mailto:b@a.example", r"mailto\:b:small[]@a\.example"),
        ("xmpp:b@a.example/r", r"xmpp\:b:small[]@a\.example/r"),
    ],
)
def test_an_address_in_a_line_is_cut_so_that_it_is_no_link(text: str, cut: str) -> None:
    assert shown_in_line(text) == cut


@given(ADDRESSES)
def test_no_piece_of_a_line_has_an_address_left(text: str) -> None:
    pieces = shown_in_line(text).split(NOTHING)
    assert not [piece for piece in pieces if ADDRESS.search(re.sub(r"\\([^\w\s])", r"\1", piece))]


def test_an_icon_in_a_line_is_shown_as_its_name() -> None:
    assert shown_in_line(":material/home: :streamlit:") == f"\\:{NOTHING}material/home\\: \\:{NOTHING}streamlit\\:"
