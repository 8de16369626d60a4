"""Marked texts: every character can be seen, stored text is only text, long texts are cut to what matters."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.characters import character_name
from lab.text_pieces import pieces
from ui.marked_text import CONTEXT, LONGEST_DIFFERENCE, LONGEST_SAME, MOST_MARKED, legend, marked


def both(stored: str, asked: str) -> tuple[str, str]:
    found = pieces(stored, asked)
    return marked(found, "stored"), marked(found, "asked")


@pytest.mark.parametrize(
    ("stored", "asked", "shown"),
    [
        ("a b", "a b", ("a b", "a b")),
        ("Who?", "Who? ", (r"Who?:blue-background[**∅**]", r"Who?:orange-background[**␣**]")),
        ("0.7", "0.2", (r"0\.:blue-background[**7**]", r"0\.:orange-background[**2**]")),
        ("a b", "a\tb", ("a:blue-background[**␣**]b", "a:orange-background[**⇥**]b")),
        ("a b", "a\u00a0b", ("a:blue-background[**␣**]b", r"a:orange-background[**\[NBSP\]**]b")),
        (
            "a\r\nb",
            "a\nb",
            (r"a:blue-background[**\[CR\]**]↵b", "a:blue-background[**∅**]↵b".replace("blue", "orange")),
        ),
        ("ab", "a\u200bb", ("a:blue-background[**∅**]b", r"a:orange-background[**\[U\+200B\]**]b")),
        ("é", "e\u0301", (":blue-background[**é**]", ":orange-background[**e◌\u0301**]")),
        ("one two", "one six", ("one :blue-background[**two**]", "one :orange-background[**six**]")),
        ("", "x", (":blue-background[**∅**]", ":orange-background[**x**]")),
        (" a ", " a ", ("␣a␣",) * 2),
        ("a  b\n\t", "a  b\n\t", ("a␣␣b↵⇥",) * 2),
        ("\u202eabc", "\u202eabc", (r"\[U\+202E\]abc",) * 2),
        ("👩\u200d👧", "👩\u200d👧", ("👩\u200d👧",) * 2),
        ("", "", ("", "")),
    ],
)
def test_what_differs_is_marked_and_what_cant_be_seen_has_a_sign(
    stored: str, asked: str, shown: tuple[str, str]
) -> None:
    assert both(stored, asked) == shown


@given(st.text(alphabet="![]()$:`~<>-*_#{}|/ \n\\abcred", max_size=40), st.text(alphabet="[]:*a \n", max_size=40))
def test_nothing_in_a_text_is_taken_for_a_sign_of_markdown(stored: str, asked: str) -> None:
    for line in both(stored, asked):
        ours = line.replace(":blue-background[**", "").replace(":orange-background[**", "").replace("**]", "")
        assert not re.search(r"(?<!\\)(?:\\\\)*[`*_{}\[\]()<>#$~:|!]", ours)
        assert "\n" not in line


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_character_stays_unseen(stored: str, asked: str) -> None:
    seen = {*" \u200c\u200d"}
    for line in both(stored, asked):
        assert {character for character in line if character_name(character) not in (None, "combining mark")} <= seen


def test_an_icons_name_is_shown_as_a_name() -> None:
    assert ":material" not in both(":material/home: a", ":material/home: b")[0].replace("\\", "")


def test_of_long_texts_only_what_is_next_to_a_difference_is_shown() -> None:
    long = "word " * 20_000
    stored, asked = both(f"{long}Who?{long}", f"{long}Whom?{long}")
    assert stored.startswith("…")
    assert stored.endswith("…")
    assert len(stored) < 3 * CONTEXT
    assert "Who:blue-background[**∅**]?" in stored
    assert "Who:orange-background[**m**]?" in asked


def test_long_differences_and_long_texts_without_any_are_cut() -> None:
    stored, asked = both("a" * 10_000, "b" * 10_000)
    assert stored.count("a") - 1 < LONGEST_DIFFERENCE + 2 * CONTEXT
    assert "…" in asked
    assert both("c" * 10_000, "c" * 10_000)[0] == "c" * LONGEST_SAME + "…"


def test_only_so_many_differences_are_shown() -> None:
    text = " ".join(f"word number {n}" for n in range(100))
    stored, _ = both(text, text.replace("word", "Word"))
    assert stored.count("-background") == MOST_MARKED
    assert stored.endswith("…")


def test_the_legend_says_what_the_signs_mean_that_occur() -> None:
    assert legend("Who?") is None
    assert legend("".join(both("Who?", "Who? "))) == "␣ space · ∅ nothing here"
    assert (
        legend("".join(both("a\u00a0b\r\n", "a\u00a0b\r\n")))
        == "↵ line feed · [CR] carriage return · [NBSP] no-break space"
    )
