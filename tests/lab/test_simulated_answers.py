"""What the simulated model says: in the prompt's language, about the right person, never twice the same."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.simulated_answers import FILLERS, SIGNATURE, SUBJECTS, Language, guess_language, write_answer

PEOPLE = ("Carl Sagan", "Neil Armstrong", "Neil deGrasse Tyson")
SAMPLES: list[tuple[str, Language, int]] = [
    ("Who was Carl Sagan?", "en", 0),
    ("Who was Neil Armstrong?", "en", 1),
    ("Who is Neil deGrasse Tyson?", "en", 2),
    ("Quem foi Carl Sagan?", "pt", 0),
    ("Quem foi Neil Armstrong?", "pt", 1),
    ("Quem é Neil deGrasse Tyson?", "pt", 2),
    ("carl sagan", "en", 0),
    ("TELL ME ABOUT SAGAN!", "en", 0),
    ("Me fale sobre o ARMSTRONG", "pt", 1),
]


def sentences_about(person: int, language: Language) -> set[str]:
    return {*SUBJECTS[person].opening[language], *SUBJECTS[person].facts[language]}


@pytest.mark.parametrize(("prompt", "language", "person"), SAMPLES)
def test_a_sample_is_answered_in_its_language_with_facts_of_the_right_person(
    prompt: str, language: Language, person: int
) -> None:
    for seed in range(20):
        answer = write_answer(prompt, random.Random(seed))
        body, _, mark = answer.partition("\n\n")
        assert mark.startswith(SIGNATURE[language].partition("{")[0])
        assert PEOPLE[person] in body
        told = [sentence for sentence in sentences_about(person, language) if sentence in body]
        assert len(told) == 4
        assert sum(map(len, told)) + 3 == len(body)


def test_every_person_has_facts_enough_in_both_languages() -> None:
    for person, name in enumerate(PEOPLE):
        for language in ("en", "pt"):
            subject = SUBJECTS[person]
            assert all(name in opening for opening in subject.opening[language])
            assert len(set(subject.facts[language])) >= 4
        assert len(subject.facts["en"]) == len(subject.facts["pt"])


def test_a_question_about_two_of_them_is_about_neither() -> None:
    answer = write_answer("Compare Carl Sagan with Neil Armstrong", random.Random(1))
    assert "“Compare Carl Sagan with Neil Armstrong”" in answer
    assert any(filler in answer for filler in FILLERS["en"])


def test_any_other_question_is_quoted_and_nothing_is_claimed() -> None:
    answer = write_answer("How do LLM caches work?", random.Random(1))
    assert "“How do LLM caches work?”" in answer
    assert "no model was asked" in answer


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Write me a poem", "en"),
        ("Give me a joke", "en"),
        ("Tell me a story", "en"),
        ("Do as I say", "en"),
        ("Is a tomato a fruit?", "en"),
        ("What is a cache?", "en"),
        ("Explain LLM caching as if I were five", "en"),
        ("Compare SQLite and JSON", "en"),
        ("a", "en"),
        ("", "en"),
        ("42", "en"),
        ("O que é cache?", "pt"),
        ("Conte uma piada", "pt"),
        ("Fale sobre a Lua", "pt"),
        ("Me conte a história do Brasil", "pt"),
        ("Resumo do filme Contato", "pt"),
        ("Compare SQLite e JSON", "pt"),
        ("Explique cache como se eu tivesse cinco anos", "pt"),
        ("Bom dia!", "pt"),
        ("Como funciona um cache?", "pt"),
    ],
)
def test_the_language_is_guessed(text: str, language: Language) -> None:
    assert guess_language(text) == language
    assert guess_language(text.upper()) == language


@given(prompt=st.text(st.characters(), max_size=300), seed=st.integers(0, 100))
@settings(max_examples=150, deadline=None)
def test_the_quotation_of_any_prompt_is_short_and_is_no_markup(prompt: str, seed: int) -> None:
    answer = write_answer(prompt, random.Random(seed))
    body = answer.partition("\n\n")[0]
    assert "\n" not in body
    assert "\0" not in body
    assert not set(body) & set("[]<>*_`#|!$\\")
    assert len(answer) < 1500
    assert answer.endswith((").", ")"))


def test_two_answers_with_different_seeds_differ_in_more_than_their_number() -> None:
    answers = {write_answer("Who was Carl Sagan?", random.Random(seed)).partition("\n\n")[0] for seed in range(50)}
    assert len(answers) > 20


def test_a_long_prompt_is_quoted_from_its_beginning() -> None:
    answer = write_answer("Why " + "very " * 100_000 + "long?", random.Random(1))
    assert "“Why very very" in answer
    assert "…”" in answer


def test_letters_of_a_prompt_are_kept_in_its_quotation() -> None:
    assert f"“{string.ascii_letters}”" in write_answer(string.ascii_letters, random.Random(1))
