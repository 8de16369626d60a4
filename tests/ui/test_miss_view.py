""" "Why would this miss?": what a person changes, what the page says of it, and that stored text is only ever text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from cache_backends import CacheEntry
from cache_backends.readable import message_prompt
from lab.characters import CHARACTER_NAMES
from lab.key_parts import compare_keys
from tests.lab.building import SAGAN
from tests.lab.test_key_parts import chat, entry
from ui.language import LANGUAGES, spoken
from ui.miss_view import LONGEST_EDITED
from ui.miss_words import character_title, verdict

HOSTILE = ":material/home: ![x](http://evil.example/x.png) :red[hi] $x$ **b** <b>x</b>\u202e\0\n# a | b"


def page() -> None:
    """The explanation of the entry that the test put into the session, and a page that has none."""
    import streamlit as st

    from ui.language import begin_run
    from ui.miss_view import show_why_miss

    begin_run()
    if not st.session_state.get("elsewhere"):
        show_why_miss(st.session_state["entry"])


class Explanation:
    """The page with one entry."""

    def __init__(self, stored: CacheEntry, locale: str = "en") -> None:
        self.at = AppTest.from_function(page, default_timeout=20)
        self.at.session_state["lang"] = locale
        self.show(stored)

    def show(self, stored: CacheEntry) -> None:
        self.at.session_state["entry"] = stored
        self.run()

    def run(self) -> None:
        self.at.run()
        assert not self.at.exception, [shown.message for shown in self.at.exception]

    def ask(self, prompt: str) -> str:
        self.at.text_area(key="why_prompt").set_value(prompt)
        self.run()
        return self.verdict

    def change(self, parameter: str, value: str) -> str:
        self.at.selectbox(key="why_parameter").set_value(parameter)
        self.run()
        self.at.text_input(key="why_value").set_value(value)
        self.run()
        return self.verdict

    @property
    def verdict(self) -> str:
        (shown,) = [*self.at.success, *self.at.warning, *self.at.info]
        return re.sub(r"\\([^A-Za-z0-9\s])", r"\1", shown.value).replace(":small[]", "").strip("*")

    @property
    def rows(self) -> dict[str, tuple[str, str]]:
        """Stored and asked, by the name of the part, without its icon and emphasis."""
        table = self.at.table[0].value
        return {
            re.sub(r":gray\[|:material/\w+:|[\]\\*]", "", title).strip(): (stored, asked)
            for title, stored, asked in table.itertuples(index=False)
        }

    @property
    def text(self) -> str:
        return "\n".join(str(shown.value) for kind in ("markdown", "caption") for shown in getattr(self.at, kind))


@pytest.fixture(autouse=True)
def _english_outside_of_the_page() -> Iterator[None]:
    """The page runs in the test's own context, where its language would stay on."""
    with spoken("en"):
        yield


@pytest.fixture
def sagan() -> Explanation:
    """An entry of the simulated model, as it is."""
    return Explanation(entry())


def test_the_start_is_a_hit_and_says_what_to_try(sagan: Explanation) -> None:
    assert sagan.verdict == "This would be a hit: every part of the key is the same."
    assert "Try it" in sagan.text
    assert sagan.at.text_area(key="why_prompt").value == SAGAN
    assert sagan.at.button(key="why_reset").disabled
    assert list(sagan.rows) == ["Prompt", "model_name", "temperature", "_type", "stop", "Key (SHA-256)"]
    assert all(stored == asked for stored, asked in sagan.rows.values())


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        (f"{SAGAN} ", "the prompt has a space (U+0020) more at its end"),
        (f" {SAGAN}", "the prompt has a space (U+0020) more at its beginning"),
        ("Who  was Carl Sagan?", "the prompt has a double space at character 5"),
        ("Whowas Carl Sagan?", "the prompt has a space (U+0020) less at character 4"),
        ("Who was Carl Sagan", "the prompt has “?” (U+003F) less at its end"),
        ("ho was Carl Sagan?", "the prompt has “W” (U+0057) less at its beginning"),
        ("who was Carl Sagan?", "the prompt has “w” (U+0077) instead of “W” (U+0057) at character 1"),
        ("Who was\u00a0Carl Sagan?",
         "the prompt has a no-break space (U+00A0) instead of a space (U+0020) at character 8"),
        ("Who was \u200bCarl Sagan?", "the prompt has a zero-width space (U+200B) more at character 9"),
        ("Who was C\u0430rl Sagan?", "the prompt has “\u0430” (U+0430) instead of “a” (U+0061) at character 10"),
        ("Who was Carl Friedrich Sagan?", "the prompt has “Friedrich ” more at character 14"),
        ("Who was Carl Sagan?" + "x" * 50, "the prompt has 50 characters more at its end"),
        ("Who is Carl Sagan", "the prompt differs in 2 places, the first at character 5"),
    ],
)  # fmt: skip
def test_a_miss_says_what_differs_in_the_prompt(sagan: Explanation, prompt: str, reason: str) -> None:
    assert sagan.ask(prompt) == f"This would miss: {reason}."
    stored, asked = sagan.rows["Prompt"]
    assert stored != asked
    assert "-background[" in stored + asked
    assert sagan.rows["Key (SHA-256)"][0] != sagan.rows["Key (SHA-256)"][1]


@pytest.mark.parametrize(
    ("stored", "asked", "reason"),
    [
        ("caf\u00e9", "cafe\u0301", "the prompt looks the same, but from character 4 on it is other code points: "
                                    "U+0065 U+0301 instead of U+00E9"),
        ("\u00e9 or \u00e9", "e\u0301 or e\u0301",
         "2 pieces of the prompt look the same but are other code points, the first at character 1"),
        ("a\r\nb", "a\nb", "a line of the prompt ends differently (CR, LF or both) at character 2"),
        ("a\nb\nc", "a\r\nb\r\nc", "lines of the prompt end differently in 2 places, the first at character 2"),
        ("a  b", "a b", "the prompt has a single space instead of a double one at character 3"),
    ],
)  # fmt: skip
def test_what_looks_the_same_is_told_apart(stored: str, asked: str, reason: str) -> None:
    kept = entry(message_prompt(stored))
    assert verdict(kept, compare_keys(kept, asked, {}), 0) == f"This would miss: {reason}."


@pytest.mark.parametrize(
    ("parameter", "value", "reason"),
    [
        ("temperature", "0.2", "the temperature is 0.2 instead of 0.7"),
        ("model_name", "gpt-4o", "the model is gpt-4o instead of simulated"),
        ("stop", "['x']", "the parameter stop is ['x'] instead of None"),
    ],
)
def test_a_miss_says_which_parameter_differs(sagan: Explanation, parameter: str, value: str, reason: str) -> None:
    assert sagan.change(parameter, value) == f"This would miss: {reason}."
    assert [name for name, (stored, asked) in sagan.rows.items() if stored != asked] == [parameter, "Key (SHA-256)"]


def test_prompt_and_parameter_may_both_differ(sagan: Explanation) -> None:
    sagan.ask(f"{SAGAN} ")
    assert sagan.change("temperature", "0.2") == (
        "This would miss: the prompt has a space (U+0020) more at its end; the temperature is 0.2 instead of 0.7."
    )


def test_only_so_many_reasons_are_said() -> None:
    kept = entry()
    changes = dict.fromkeys(("model_name", "_type", "stop"), "other")
    sentence = verdict(kept, compare_keys(kept, "x", changes), 0)
    assert sentence.endswith("; 1 more parameter differs.")


def test_a_parameter_begins_with_its_stored_value_which_changes_nothing(sagan: Explanation) -> None:
    sagan.at.selectbox(key="why_parameter").set_value("temperature")
    sagan.run()
    assert sagan.at.text_input(key="why_value").value == "0.7"
    assert "hit" in sagan.verdict
    for same in ("0.70", "0,7", " "):
        assert "hit" in sagan.change("temperature", same)


def test_a_temperature_can_be_given_where_the_stored_request_left_it_to_the_model() -> None:
    shown = Explanation(entry(llm_string=chat()))
    assert shown.change("temperature", "0.2") == (
        "This would miss: the parameter temperature (0.2) is not in the stored key."
    )
    assert shown.rows["temperature"][0] == "–"


def test_as_stored_takes_every_change_back(sagan: Explanation) -> None:
    sagan.ask("x")
    sagan.change("temperature", "0.2")
    sagan.at.button(key="why_reset").click()
    sagan.run()
    assert "hit" in sagan.verdict
    assert sagan.at.text_area(key="why_prompt").value == SAGAN
    assert sagan.at.selectbox(key="why_parameter").value is None


def test_another_entry_begins_as_it_is_stored(sagan: Explanation) -> None:
    sagan.ask("x")
    sagan.change("temperature", "0.2")
    sagan.show(entry(message_prompt("Who was Neil Armstrong?")))
    assert "hit" in sagan.verdict
    assert sagan.at.text_area(key="why_prompt").value == "Who was Neil Armstrong?"
    assert sagan.at.text_input(key="why_value").value == ""


def test_who_comes_back_to_the_page_finds_the_entry_as_it_is_stored(sagan: Explanation) -> None:
    sagan.ask("x")
    for elsewhere in (True, False):
        sagan.at.session_state["elsewhere"] = elsewhere
        sagan.run()
    assert "hit" in sagan.verdict
    assert sagan.at.text_area(key="why_prompt").value == SAGAN


def test_an_entry_whose_time_is_over_is_no_hit() -> None:
    shown = Explanation(entry(expires_at=1.0))
    assert shown.verdict == (
        "The key is the same, but the time to live of this entry is over: it would count as expired."
    )
    assert not shown.at.success
    assert "hit" in Explanation(entry(expires_at=1.0, pinned=True)).verdict


def test_where_a_secret_was_taken_out_it_says_that_the_key_is_not_known() -> None:
    shown = Explanation(entry(llm_string=chat(default_headers={"Authorization": "Bearer abcdefghijk"})))
    assert shown.verdict.startswith("This would be a hit, if the secret is the same too.")
    assert not shown.at.success
    assert shown.rows["Key (SHA-256)"][1] == "not known"
    assert "This would miss: " in shown.ask("x")


def test_texts_that_do_not_give_the_stored_key_are_not_called_a_hit() -> None:
    shown = Explanation(replace(entry(), key="0" * 64))
    assert "can't be said" in shown.verdict
    assert not shown.at.success


def test_it_says_what_is_not_in_the_key(sagan: Explanation) -> None:
    for words in ("**Namespace**", "This one lies in default", "**Time to live**", "**API key**"):
        assert words in sagan.text


# Line ends


def test_line_ends_that_no_field_can_hold_are_kept_unless_one_says_otherwise() -> None:
    shown = Explanation(entry(message_prompt("a\r\nb")))
    assert shown.at.text_area(key="why_prompt").value == "a\nb"
    assert "hit" in shown.verdict
    assert shown.ask("a\nbc") == "This would miss: the prompt has “c” (U+0063) more at its end."
    assert "hit" in shown.ask("a\nb")
    shown.at.toggle(key="why_line_ends").set_value(False)
    shown.run()
    assert shown.verdict == "This would miss: a line of the prompt ends differently (CR, LF or both) at character 2."


def test_only_prompts_with_carriage_returns_have_that_switch(sagan: Explanation) -> None:
    assert not sagan.at.toggle


# Long and hostile texts


def test_a_prompt_that_is_too_long_for_the_field_is_compared_with_another_one() -> None:
    long = "word " * (LONGEST_EDITED // 5 + 1)
    shown = Explanation(entry(message_prompt(long)))
    assert shown.at.text_area(key="why_prompt").value == ""
    assert "hit" in shown.verdict
    assert len("".join(map(str, shown.rows["Prompt"]))) < 2_000
    assert shown.ask(f"{long}x") == "This would miss: the prompt has “x” (U+0078) more at its end."


@pytest.mark.parametrize(
    "stored",
    [
        entry(HOSTILE, f"[({HOSTILE!r}, {HOSTILE!r}), ('**n**', ':red[v]')]"),
        entry(message_prompt(HOSTILE), HOSTILE),
        entry("", ""),
        entry("q", "[]"),
        entry("[", "[" * 300_000),
        entry("q", str([(f"**{n}**", n) for n in range(200)])),
        entry(namespace=HOSTILE.replace("\0", "")),
    ],
    ids=range(7),
)
def test_stored_text_is_only_ever_text(stored: CacheEntry) -> None:
    shown = Explanation(stored)
    shown.ask(f"{HOSTILE} and :blue[more] ![y](http://evil.example/y.png)")
    everything = [shown.text, *(cell for row in shown.rows.values() for cell in row)]
    everything += [box.value for box in (*shown.at.success, *shown.at.warning, *shown.at.info)]
    for text in everything:
        assert "![" not in text
        assert ":red[" not in text
        assert ":blue[" not in text
        assert ":material/home" not in text
        assert not re.search(r"(?<!\\)\$", text)
        assert "\u202e" not in text
    options = shown.at.selectbox(key="why_parameter").options
    if options:
        shown.change(options[0], HOSTILE)


# Two languages


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_character_has_a_name_in_each_language(code: str) -> None:
    with spoken(code):
        names = [character_title(name) for name in CHARACTER_NAMES]
    assert len(set(names)) == len(CHARACTER_NAMES)


def test_it_speaks_portuguese() -> None:
    shown = Explanation(entry(), locale="pt-BR")
    assert shown.verdict == "Isto seria um acerto: todas as partes da chave são iguais."
    assert shown.ask(f"{SAGAN} ") == "Isto seria uma ausência: o prompt tem um espaço (U+0020) a mais no fim."
