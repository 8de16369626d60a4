"""Wrong bytes under a key of a server: a miss, set aside and counted, never an answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from cache_backends import CacheUnavailableError
from tests.cache_backends.answers import LLM, chat, chat_prompt, found, key_of, look, store
from tests.reliability.servers.conftest import Open
from tests.reliability.servers.kinds import Kind, on_every_server

pytestmark = on_every_server

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "nothing is left": lambda value: b"",
    "cut off": lambda value: value[:-1],
    "cut off early": lambda value: value[: len(value) // 2],
    "one bit": lambda value: value[:-5] + bytes([value[-5] ^ 1]) + value[-4:],
    "more behind it": lambda value: value + b" ",
    "zeros": lambda value: bytes(len(value)),
    "text of somebody else": lambda value: b"hello",
    "JSON without a checksum": lambda value: b'[{"message": {"content": "forged"}}]',
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_value_is_a_miss_and_is_set_aside(
    open_it: Open, server: Any, kind: Kind, prefix: str, damage: Callable[[bytes], bytes]
) -> None:
    cache = open_it(strict=True)
    for prompt in ("q", "other"):
        store(cache, prompt, f"answer to {prompt}")
    kind.plant(server, prefix, key_of("q"), damage(kind.value(server, prefix, key_of("q"))))
    cache.entries()
    cache.entries(search="answer")
    assert cache.get(key_of("q")) is None
    assert look(cache, "q").outcome == "corrupt"
    assert look(cache, "q").outcome == "miss"
    assert (cache.counters.corrupt, cache.counters.errors) == (1, 0)
    assert kind.damaged(server, prefix) == 1
    assert found(cache, "other") == ["answer to other"]
    assert [entry.prompt for entry in cache.entries().entries] == ["other"]
    store(cache, "q", "new answer")
    assert found(cache, "q") == ["new answer"]


def test_tasks_set_it_aside_too(open_it: Open, server: Any, kind: Kind, prefix: str) -> None:
    cache = open_it(strict=True)
    store(cache, "q", "answer")
    kind.plant(server, prefix, key_of("q"), b"hello")
    with cache.observe() as lookups:
        assert asyncio.run(cache.alookup("q", LLM)) is None
        assert asyncio.run(cache.alookup("q", LLM)) is None
    assert [lookup.outcome for lookup in lookups] == ["corrupt", "miss"]
    assert (kind.damaged(server, prefix), cache.counters.corrupt) == (1, 1)


def test_a_value_copied_to_another_key_is_no_answer_there(open_it: Open, server: Any, kind: Kind, prefix: str) -> None:
    cache = open_it(strict=True)
    store(cache, "What is 1 + 1?", "2")
    store(cache, "What is 2 + 2?", "4")
    kind.plant(server, prefix, key_of("What is 2 + 2?"), kind.value(server, prefix, key_of("What is 1 + 1?")))
    assert look(cache, "What is 2 + 2?").outcome == "corrupt"
    assert found(cache, "What is 2 + 2?") is None
    assert found(cache, "What is 1 + 1?") == ["2"]


def test_bytes_that_are_changed_give_the_right_answer_or_none(
    open_it: Open, server: Any, kind: Kind, prefix: str
) -> None:
    cache = open_it()
    store(cache.view(ttl=3600), chat_prompt("q"), "the answer", "and another")
    key = key_of(chat_prompt("q"))
    whole = kind.value(server, prefix, key)
    chance = random.Random(4)
    for at in range(0, len(whole), 5):
        changed = bytearray(whole)
        changed[at] ^= 1 << chance.randrange(8)
        kind.plant(server, prefix, key, bytes(changed))
        assert found(cache, chat_prompt("q")) in (None, ["the answer", "and another"]), at
        store(cache.view(ttl=3600), chat_prompt("q"), "the answer", "and another")
    assert found(cache, chat_prompt("q")) == ["the answer", "and another"]
    assert cache.counters.corrupt > 0


def test_damaged_values_keep_nobody_from_listing_and_tidying_up(
    open_it: Open, server: Any, kind: Kind, prefix: str
) -> None:
    cache = open_it(max_entries=1000)
    for number in range(20):
        store(cache.view(ttl=3600), f"q{number}", "answer " * 2000)
    for number, damage in enumerate(DAMAGES.values()):
        value = kind.value(server, prefix, key_of(f"q{number}"))
        kind.plant(server, prefix, key_of(f"q{number}"), damage(value))
    value = bytearray(kind.value(server, prefix, key_of("q10")))
    value[40:200] = bytes(160)  # of a long one, where its beginning lies
    kind.plant(server, prefix, key_of("q10"), bytes(value))
    for order in ("created_at", "last_used_at", "hits", "size_bytes", "expires_at"):
        cache.entries(order_by=order)  # type: ignore[arg-type]
    assert cache.entries(search="answer", limit=50).total >= 11
    assert cache.stats().entries >= 11
    assert "demo-1" in cache.models()
    assert len(list(cache._rows())) >= 11
    cache.clock = lambda: 9e9
    assert cache.purge_expired() >= 11
    cache.clear()
    assert cache.stats().entries == 0


@pytest.mark.parametrize("way", ["thread", "task"])
def test_what_a_newer_version_has_made_is_refused_with_a_sentence(
    open_it: Open, server: Any, kind: Kind, prefix: str, way: str
) -> None:
    with open_it() as cache:
        store(cache, "q", "answer")
    kind.set_format(server, prefix, 2)
    newer = open_it()
    with newer.observe() as lookups:
        if way == "thread":
            assert newer.lookup("q", LLM) is None
            store(newer, "q", "other")
        else:
            assert asyncio.run(newer.alookup("q", LLM)) is None
            asyncio.run(newer.aupdate("q", LLM, [chat("other")]))
    said = str(lookups[0].error)
    assert "made by another version (format 2; this one knows 1). Use that version, or another prefix=" in said
    assert str(lookups.stores[0].detail) == said
    assert (newer.trouble, newer.breaker.is_open) == (None, False)  # the server answers
    with pytest.raises(CacheUnavailableError, match="another version"):
        newer.ping()
    with pytest.raises(CacheUnavailableError, match="another version"):
        newer.entries()
    with pytest.raises(CacheUnavailableError, match="another version"):
        newer.clear()
    kind.set_format(server, prefix, 1)
    assert found(newer, "q") == ["answer"]
