"""Very many entries with texts as people and models write them, and the fast way to store them on each server."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import orjson

from benchmarks import payload
from cache_backends import CacheBackend
from cache_backends.codec import encode
from cache_backends.keys import request_digest
from cache_backends.readable import message_prompt, readable_parameters
from cache_backends.servers.redis_scripts import in_empty_partition
from cache_backends.storage import StoredEntry

Load = Callable[[Any, Sequence[StoredEntry]], None]
"""Stores entries by the cache's own statements, many at a time."""

FREQUENT, RARE = "telescope", "quasar"
"""A word of every 10th entry, and one of every 10,000th."""
FREQUENT_EVERY, RARE_EVERY = 10, 10_000
PORTION = 1_000
SENTENCES, WORDS_A_SENTENCE, VOCABULARY = 3_000, 12, 20_000
DESCRIPTION = (
    f"questions of {payload.QUESTION_LENGTH} characters and answers of {payload.ANSWER_LENGTH:,} in {VOCABULARY:,} "
    "words as frequent as in a language (Zipf), with OpenAI's metadata"
)
NOW = 1_900_000_000.0
"""The oldest entry is of then; later than today, so that none has expired while it is measured."""


def many_entries(count: int) -> Iterator[list[StoredEntry]]:
    """Entries 0, 1, 2 … in portions, the newest last; most of different lengths, some used, some that never end."""
    for first in range(0, count, PORTION):
        yield [_entry(number) for number in range(first, min(first + PORTION, count))]


def load_rows(cache: Any, entries: Sequence[StoredEntry]) -> None:
    """Into a database, by the statement of a store, in one transaction."""
    store = cache._store
    store.run(lambda session: [session.change(store.statements.know_text, text) for text in _texts(cache, entries)])
    store.change_many(store.statements.write, [cache._row_to_write(entry) for entry in entries])


def load_redis(cache: Any, entries: Sequence[StoredEntry]) -> None:
    """Into Redis, by the script of a store, many in one round trip."""
    cache._store._name(cache.namespace)
    cache._store.many([in_empty_partition(cache._store_command(entry)) for entry in entries])


def load_documents(cache: Any, entries: Sequence[StoredEntry]) -> None:
    """Into MongoDB, by the update of a store, many in one command."""
    import pymongo

    updates = [
        pymongo.UpdateOne(where, {"$set": fields}, upsert=True)
        for where, fields in (cache._document_to_write(entry) for entry in entries)
    ]
    cache._store.run_patiently(lambda collections: collections.entries.bulk_write(updates, ordered=False))


def _texts(cache: CacheBackend, entries: Sequence[StoredEntry]) -> list[tuple[int, bytes]]:
    from cache_backends.table_rows import interned_id

    texts = {cache.namespace, *(entry.llm_string for entry in entries)}
    return [(interned_id(text), text.encode()) for text in texts]


def _entry(number: int) -> StoredEntry:
    chosen = random.Random(number)
    question = _text(chosen, payload.QUESTION_LENGTH - chosen.randrange(100))
    answer = _text(chosen, payload.ANSWER_LENGTH - chosen.randrange(500))
    if number % FREQUENT_EVERY == 0:
        question += f" {FREQUENT}?"
    if number % RARE_EVERY == 0:
        answer += f" {RARE}."
    prompt = message_prompt(question)
    before, after = _around_content()
    parameters = readable_parameters(payload.LLM_STRING)
    return StoredEntry(
        digest=request_digest(prompt, payload.LLM_STRING),
        payload=before + orjson.dumps(answer) + after,
        created_at=NOW + number,
        expires_at=NOW + 1e6 + chosen.randrange(1_000_000) if number % 2 else None,
        model_time_s=1.0,
        model=parameters.model,
        raw_prompt=prompt,
        llm_string=parameters.llm_string,
        last_used_at=NOW + number,
        hits=chosen.randrange(50) if number % 3 else 0,
    )


@cache
def _around_content() -> tuple[bytes, bytes]:
    """What stands in a stored answer before and after its text."""
    answer = payload.answer(0)
    before, after = encode(answer).split(orjson.dumps(answer[0].text))
    return before, after


def _text(chosen: random.Random, length: int) -> str:
    sentences = _sentences()
    text = ""
    while len(text) < length:
        text += sentences[int(chosen.random() * SENTENCES)]
    return text[:length]


@cache
def _sentences() -> list[str]:
    chosen = random.Random(1)
    syllables = [a + b for a in "bcdfglmnprstv" for b in "aeiou"]
    words = ["".join(chosen.choices(syllables, k=chosen.choice((1, 2, 2, 3, 3, 4)))) for _ in range(VOCABULARY)]
    weights = [1 / rank for rank in range(1, VOCABULARY + 1)]
    return [" ".join(chosen.choices(words, weights, k=WORDS_A_SENTENCE)).capitalize() + ". " for _ in range(SENTENCES)]
