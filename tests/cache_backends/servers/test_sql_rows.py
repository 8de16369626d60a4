"""Rows of the tables: what of an entry can be searched, and what a list shows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_backends.browse import words
from cache_backends.codec import encode
from cache_backends.errors import CorruptEntryError
from cache_backends.readable import message_prompt
from cache_backends.servers.sql_rows import entry_columns, searchable, summary
from cache_backends.servers.sql_statements import COLUMNS
from cache_backends.storage import StoredEntry
from cache_backends.table_rows import found, interned_id
from tests.cache_backends.answers import LLM, chat


def entry(prompt: str = "Why is the sky blue?", answer: str = "Because of Rayleigh.") -> StoredEntry:
    """An ordinary one."""
    return StoredEntry(
        digest=bytes(range(32)),
        payload=encode([chat(answer)]),
        created_at=1_700_000_000.25,
        expires_at=1_700_003_600.5,
        model_time_s=1.5,
        model="demo-1",
        raw_prompt=message_prompt(prompt),
        llm_string=LLM,
        last_used_at=1_700_000_000.25,
        hits=3,
        pinned=True,
    )


def test_the_words_of_prompt_and_answer_are_searchable() -> None:
    assert searchable("Why, sky? Why!", "The SKY is blue.").split() == ["why", "sky", "why", "the", "sky", "is", "blue"]
    assert searchable("", "").split() == []
    assert searchable("Ça été") == " ca ete"


@given(st.lists(st.text(), max_size=4))
def test_every_word_is_found_by_each_beginning_of_it_after_a_space(texts: list[str]) -> None:
    all_words = searchable(*texts)
    for text in texts:
        for word in words(text):
            assert f" {word}" in all_words
            assert f" {word[:1]}" in all_words


@given(st.text())
def test_what_is_searchable_has_nothing_that_a_pattern_or_a_database_takes_for_its_own(text: str) -> None:
    assert not set(searchable(text)) & set("%\\'\"\0\n\t")


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60))
def test_a_row_has_every_column_in_types_that_every_database_keeps(prompt: str) -> None:
    row = dict(zip(COLUMNS, entry_columns(entry(prompt), "default"), strict=True))
    assert row["namespace"] == interned_id("default")
    assert 0 <= row["llm_string"] < 2**63
    assert row["prompt"].decode() == prompt
    assert row["prompt_is_message"] == 1
    for name, value in row.items():
        assert type(value) in (int, float, bytes, str), name
    (answer,) = found(row["digest"], (row["value"], row["created_at"], None, None)).answers  # type: ignore[misc, attr-defined]
    assert answer["message"]["content"] == "Because of Rayleigh."


def test_a_list_shows_what_was_stored() -> None:
    row = dict(zip(COLUMNS, entry_columns(entry(), "default"), strict=True))
    names = ("digest", "created_at", "expires_at", "last_used_at", "hits", "size_bytes", "model", "pinned")
    shown = summary([row[name] for name in (*names, "model_time_s", "shown_prompt", "shown_answer")], "default")
    assert (shown.key, shown.namespace) == (entry().key, "default")
    assert (shown.prompt, shown.answer) == ("Why is the sky blue?", "Because of Rayleigh.")
    assert (shown.model, shown.hits, shown.pinned, shown.model_time_s) == ("demo-1", 3, True, 1.5)


def test_a_column_of_the_wrong_type_is_damage() -> None:
    with pytest.raises(CorruptEntryError, match="wrong type"):
        summary([None] * 11, "default")


@pytest.mark.parametrize("time", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [1, 2, 3, 8])
def test_a_time_that_is_none_is_damage(place: int, time: float) -> None:
    row: list[Any] = [b"digest", 1.0, None, 1.0, 0, 0, None, 0, None, b"prompt", b"answer"]
    assert summary(row, "default").prompt == "prompt"
    row[place] = time
    with pytest.raises(CorruptEntryError, match="a time is none"):
        summary(row, "default")
