"""Very many entries with texts as people and models write them, and the fast way to store them on each server."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson

from benchmarks import payload
from cache_backends import CacheBackend
from cache_backends.codec import encode
from cache_backends.keys import request_digest
from cache_backends.readable import message_prompt, readable_parameters
from cache_backends.servers.redis_scripts import in_empty_partition
from cache_backends.sqlite_rows import KNOW_LLM_STRING, KNOW_NAMESPACE, WRITE, new_entry
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


@dataclass(frozen=True)
class Kind:
    """How long texts are at most, and how many models answered."""

    question_length: int = payload.QUESTION_LENGTH
    answer_length: int = payload.ANSWER_LENGTH
    models: int = 1
    created_from: float = NOW
    created_every_s: float = 1.0
    rare_every: int = RARE_EVERY
    lifetimes_s: tuple[float | None, ...] = ()
    """Times to live, of which each entry has one by chance; without any, half of the entries end far in the future."""
    numbered: bool = False
    """Whether each question has its number in it: short ones would else be equal now and then."""


def many_entries(count: int, kind: Kind = Kind()) -> Iterator[list[StoredEntry]]:
    """Entries 0, 1, 2 … in portions, the newest last; most of different lengths, some used, some that never end."""
    for first in range(0, count, PORTION):
        yield [_entry(number, kind) for number in range(first, min(first + PORTION, count))]


def load_sqlite(cache: Any, entries: Sequence[StoredEntry]) -> None:
    """Into a SQLite file, by the statement of a store, in one transaction."""
    new = [new_entry(entry, cache.namespace) for entry in entries]
    with cache._store.file.transaction() as connection:
        connection.executemany(KNOW_NAMESPACE, {one.namespace for one in new})
        connection.executemany(KNOW_LLM_STRING, {one.llm_string for one in new})
        connection.executemany(WRITE, [one.row for one in new])


def load_one_by_one(cache: Any, entries: Sequence[StoredEntry]) -> None:
    """By what stores an entry."""
    for entry in entries:
        cache._write(entry)


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


def _entry(number: int, kind: Kind) -> StoredEntry:
    chosen = random.Random(number)
    question = _text(chosen, kind.question_length - chosen.randrange(kind.question_length // 3))
    answer = _text(chosen, kind.answer_length - chosen.randrange(kind.answer_length // 2))
    if kind.numbered:
        question += f" {number}"
    if number % FREQUENT_EVERY == 0:
        question += f" {FREQUENT}?"
    if number % kind.rare_every == 0:
        answer += f" {RARE}."
    prompt = message_prompt(question)
    before, after = _around_content()
    llm_string = _llm_string(number % kind.models)
    parameters = readable_parameters(llm_string)
    created_at = kind.created_from + number * kind.created_every_s
    return StoredEntry(
        digest=request_digest(prompt, llm_string),
        payload=before + orjson.dumps(answer) + after,
        created_at=created_at,
        expires_at=_expires_at(number, created_at, chosen, kind),
        model_time_s=0.2 + chosen.random() * 3,
        model=parameters.model,
        raw_prompt=prompt,
        llm_string=parameters.llm_string,
        last_used_at=created_at,
        hits=chosen.randrange(50) if number % 3 else 0,
    )


def _expires_at(number: int, created_at: float, chosen: random.Random, kind: Kind) -> float | None:
    if kind.lifetimes_s:
        lifetime_s = chosen.choice(kind.lifetimes_s)
        return None if lifetime_s is None else created_at + lifetime_s
    return kind.created_from + 1e6 + chosen.randrange(1_000_000) if number % 2 else None


@cache
def _llm_string(model: int) -> str:
    return payload.LLM_STRING if model == 0 else payload.LLM_STRING.replace("gpt-4o-mini", f"gpt-4o-mini-{model}")


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
