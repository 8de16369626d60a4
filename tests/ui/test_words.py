"""Every outcome, failure and reason that the laboratory knows has words, in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from cache_backends import Durability, Refusal
from lab.demo import DemoAct
from lab.explain import Explanation, Reason
from lab.health import Trial
from lab.laboratory import Laboratory, PromptError
from lab.measurement import RETRY_HELPS, FailureKind, RequestOutcome, WhyNotStored
from tests.lab.building import measurement, quick_settings
from ui import words
from ui.demo_view import _act
from ui.health_view import _trial_in_words

OF_NO_INTEREST = {"no_answer", "bypass", "hit", "shared", "no_cache"}
"""Reasons for storing nothing that the outcome says already."""


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    """One with the strategies and models that there are without settings."""
    made = Laboratory(quick_settings(tmp_path))
    yield made
    made.history.close()


def is_sentence(text: str) -> bool:
    """Whether it begins with a capital letter, ends with a full stop, and has nothing left to fill in."""
    return bool(re.fullmatch(r"[A-ZÀ-Ú].*\.", text)) and not re.search(r"[{}]|None", text)


@pytest.mark.parametrize("outcome", get_args(RequestOutcome))
def test_an_outcome_has_a_short_name_and_an_icon(code: str, outcome: str) -> None:
    name = words.outcome(outcome)
    assert re.fullmatch(r"[A-ZÀ-Ú]\w*( \w+){0,2}", name)
    assert len(name) <= 16
    assert re.fullmatch(r":material/[a-z_]+:", words.OUTCOME_ICONS[outcome])


def test_no_two_outcomes_have_the_same_name_or_icon(code: str) -> None:
    outcomes = get_args(RequestOutcome)
    assert len({words.outcome(outcome) for outcome in outcomes}) == len(outcomes)
    assert len({words.OUTCOME_ICONS[outcome] for outcome in outcomes}) == len(outcomes)


@pytest.mark.parametrize("kind", get_args(FailureKind))
def test_a_failure_has_a_sentence_that_says_whether_trying_again_helps(code: str, kind: FailureKind) -> None:
    sentence = words.failure(kind)
    again = {"en": "Trying again may help.", "pt-BR": "Tentar de novo pode ajudar."}[code]
    assert is_sentence(sentence)
    assert sentence.endswith(again) == (kind in RETRY_HELPS)
    assert sentence != again


def test_no_two_failures_have_the_same_sentence(code: str) -> None:
    kinds = get_args(FailureKind)
    assert len({words.failure(kind) for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("ago_s", [None, 0.0, 200.0])
@pytest.mark.parametrize("reason", get_args(Reason))
def test_a_reason_has_one_sentence(code: str, reason: Reason, ago_s: float | None) -> None:
    sentence = words.why(measurement(), Explanation(reason, ago_s))
    assert is_sentence(sentence)
    assert sentence.count(". ") == 0


@pytest.mark.parametrize("reason", get_args(WhyNotStored))
def test_an_answer_that_was_not_stored_is_told_of_where_it_matters(code: str, reason: WhyNotStored) -> None:
    sentence = words.not_stored(reason)
    if reason in OF_NO_INTEREST:
        assert sentence is None
    else:
        assert sentence is not None
        assert is_sentence(sentence)
        why = words.why(measurement(stored=False, not_stored=reason), Explanation("first_time"))
        assert why.endswith(f" {sentence}")


def test_every_refusal_of_a_cache_has_words(code: str) -> None:
    assert set(get_args(Refusal)) <= set(get_args(WhyNotStored)) - OF_NO_INTEREST


def test_a_failed_request_is_not_blamed_on_what_was_not_stored(code: str) -> None:
    failed = measurement(failure="timeout", stored=False, not_stored="error")
    assert words.why(failed, Explanation("model_failed")) == words.why(measurement(), Explanation("model_failed"))


@pytest.mark.parametrize("kind", get_args(Durability))
def test_what_a_crash_may_lose_is_a_sentence_of_its_own(code: str, kind: Durability) -> None:
    assert is_sentence(words.durability(kind))
    assert len({words.durability(each) for each in get_args(Durability)}) == len(get_args(Durability))


def test_a_server_that_keeps_nothing_is_said_to_lose_everything(code: str) -> None:
    everything = {"en": "A crash or restart of the server loses everything.", "pt-BR": "Uma queda ou um reinício"}[code]
    assert words.durability("nothing").startswith(everything)


@pytest.mark.parametrize("stored", [True, False])
def test_a_cache_that_could_not_be_asked_is_told_with_what_became_of_the_answer(code: str, stored: bool) -> None:
    measured = measurement(outcome="error", stored=stored, not_stored=None if stored else "error")
    sentence = words.why(measured, Explanation("cache_failed"))
    assert is_sentence(sentence)
    kept = {"en": "its answer was not kept", "pt-BR": "a resposta não foi guardada"}[code]
    assert (kept in sentence) is not stored


@pytest.mark.parametrize("trial", get_args(Trial))
def test_the_end_of_a_trial_has_words(code: str, trial: Trial) -> None:
    assert re.fullmatch(r"[A-ZÀ-Ú][^.{}]+", _trial_in_words(trial))
    assert len({_trial_in_words(each) for each in get_args(Trial)}) == len(get_args(Trial))


@pytest.mark.parametrize(
    ("name", "url", "title"),
    [
        ("redis", "redis://h", "Redis"),
        ("redis", "rediss://h", "Redis"),
        ("redis", "redis+cluster://h", "Redis Cluster"),
        ("postgresql", "postgresql://h/d", "PostgreSQL"),
        ("mysql", "mysql://h/d", "MySQL"),
        ("mysql", "MariaDB://h/d", "MariaDB"),
        ("mongodb", "mongodb+srv://h/d", "MongoDB"),
        ("far", "redis://h", "far"),
    ],
)
def test_a_server_is_called_by_its_product(code: str, tmp_path: Path, name: str, url: str, title: str) -> None:
    laboratory = Laboratory(quick_settings(tmp_path, strategies=[{"name": name, "url": url}]))
    assert words.strategy(laboratory, name) == title
    assert words.strategy_icon(laboratory, name) == ":material/dns:"


@pytest.mark.parametrize("act", get_args(DemoAct))
def test_an_act_of_the_demo_has_a_name(code: str, act: DemoAct) -> None:
    assert re.fullmatch(r"[A-ZÀ-Ú1-9].*[\w]", _act(act))


def test_every_strategy_has_a_title_and_the_operators_wins(code: str, laboratory: Laboratory, tmp_path: Path) -> None:
    titles = [words.strategy(laboratory, name) for name in laboratory.strategies.names]
    assert len(set(titles)) == len(titles)
    assert not set(titles) & set(laboratory.strategies.names)
    own = quick_settings(tmp_path / "own", strategies=[{"name": "memory", "title": "Ours", "url": "memory://"}])
    assert words.strategy(Laboratory(own), "memory") == "Ours"


def test_a_strategy_that_is_gone_keeps_its_name(code: str, laboratory: Laboratory) -> None:
    assert words.strategy(laboratory, "added-once") == "added-once"
    assert words.model(laboratory, "gone/model") == "gone/model"


def test_every_model_has_a_name_with_its_endpoint(code: str, laboratory: Laboratory) -> None:
    names = [words.model(laboratory, model_id) for model_id in laboratory.models.choices]
    assert len(set(names)) == len(names)
    assert "gpt-4o-mini · OpenAI" in names


@pytest.mark.parametrize("kind", ["empty", "too_long"])
def test_a_prompt_that_is_not_asked_gets_a_sentence(code: str, kind: str) -> None:
    error = PromptError(kind, 1_234_567, 100_000)
    sentence = words.prompt_error(error.kind, error.length, error.limit)
    assert is_sentence(sentence)
    if kind == "too_long":
        assert {"en": "1,234,567", "pt-BR": "1.234.567"}[code] in sentence
