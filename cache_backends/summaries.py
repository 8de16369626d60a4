"""Stored entries as a person sees them: a row of a list, and the whole entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from langchain_core.outputs import Generation

from cache_backends.browse import Row
from cache_backends.readable import SHOWN_ANSWER_LENGTH, SHOWN_PROMPT_LENGTH, readable_prompt, shortened
from cache_backends.records import CacheEntry, EntrySummary
from cache_backends.storage import StoredEntry


def entry_row(entry: StoredEntry, generations: Sequence[Generation], namespace: str) -> Row:
    """What a list shows of an entry, and the text that a search looks at."""
    prompt = readable_prompt(entry.raw_prompt)
    text = joined_text(generations)
    summary = EntrySummary(
        key=entry.key,
        namespace=namespace,
        prompt=shortened(prompt, SHOWN_PROMPT_LENGTH),
        answer=shortened(text, SHOWN_ANSWER_LENGTH),
        model=entry.model,
        created_at=entry.created_at,
        expires_at=entry.expires_at,
        last_used_at=entry.last_used_at,
        hits=entry.hits,
        size_bytes=entry.size_bytes,
        pinned=entry.pinned,
        model_time_s=entry.model_time_s,
    )
    return Row(summary, f"{prompt}\n{text}")


def whole_entry(row: Row, entry: StoredEntry, generations: Sequence[Generation], location: str) -> CacheEntry:
    """All that is known of an entry."""
    return CacheEntry(
        **{field.name: getattr(row.summary, field.name) for field in fields(EntrySummary)},
        raw_prompt=entry.raw_prompt,
        llm_string=entry.llm_string,
        text=joined_text(generations),
        generations=generations,
        location=location,
    )


def joined_text(generations: Sequence[Generation]) -> str:
    """The text of all generations of a request, a blank line between them."""
    return "\n\n".join(generation.text for generation in generations)
