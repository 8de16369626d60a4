"""What every backend promises inside LangChain: each of its paths is cached, and seen by who observes."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate

from cache_backends import CacheBackend, Lookup, cache_key
from tests.cache_backends.answers import LLM, chat, found, store
from tests.cache_backends.small_models import SmallChatModel, SmallCompletionModel

ASKED = ("Sagan?", "Armstrong?")

Sync = Callable[[SmallChatModel], list[str]]
Async = Callable[[SmallChatModel], Awaitable[list[str]]]


def _invoke(model: SmallChatModel) -> list[str]:
    return [str(model.invoke(question).content) for question in ASKED]


def _batch(model: SmallChatModel) -> list[str]:
    return [str(message.content) for message in model.batch(list(ASKED))]


def _generate(model: SmallChatModel) -> list[str]:
    result = model.generate_prompt([ChatPromptTemplate(["{q}"]).invoke({"q": question}) for question in ASKED])
    return [generations[0].text for generations in result.generations]


def _chain(model: SmallChatModel) -> list[str]:
    chain = ChatPromptTemplate(["{question}"]) | model
    return [str(message.content) for message in chain.batch([{"question": question} for question in ASKED])]


def _threads(model: SmallChatModel) -> list[str]:
    contexts = [contextvars.copy_context() for _ in ASKED]
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(context.run, model.invoke, q) for context, q in zip(contexts, ASKED, strict=True)]
        return [str(future.result().content) for future in running]


async def _ainvoke(model: SmallChatModel) -> list[str]:
    return [str((await model.ainvoke(question)).content) for question in ASKED]


async def _abatch(model: SmallChatModel) -> list[str]:
    return [str(message.content) for message in await model.abatch(list(ASKED))]


async def _gather(model: SmallChatModel) -> list[str]:
    return [str(message.content) for message in await asyncio.gather(*map(model.ainvoke, ASKED))]


async def _achain(model: SmallChatModel) -> list[str]:
    chain = ChatPromptTemplate(["{question}"]) | model
    return [str((await chain.ainvoke({"question": question})).content) for question in ASKED]


def _outcomes(lookups: list[Lookup]) -> list[str]:
    return [lookup.outcome for lookup in lookups]


@pytest.mark.parametrize("ask", [_invoke, _batch, _generate, _chain, _threads])
def test_every_path_is_cached_and_observed(cache: CacheBackend, ask: Sync) -> None:
    model = SmallChatModel(cache=cache)
    with cache.observe() as first:
        answers = ask(model)
    with cache.observe() as second:
        assert ask(model) == answers
    assert sorted(model.calls) == sorted(ASKED)
    assert _outcomes(first) == ["miss", "miss"]
    assert _outcomes(second) == ["hit", "hit"]
    assert [made.stored for made in first.stores] == [True, True]
    assert second.stores == []
    assert {lookup.key for lookup in second} == {entry.key for entry in cache.entries().entries}


@pytest.mark.parametrize("ask", [_ainvoke, _abatch, _gather, _achain])
async def test_every_asynchronous_path_is_cached_and_observed(cache: CacheBackend, ask: Async) -> None:
    model = SmallChatModel(cache=cache)
    with cache.observe() as first:
        answers = await ask(model)
    with cache.observe() as second:
        assert await ask(model) == answers
    assert sorted(model.calls) == sorted(ASKED)
    assert (_outcomes(first), _outcomes(second)) == (["miss", "miss"], ["hit", "hit"])
    assert [made.stored for made in first.stores] == [True, True]


def test_what_was_asked_one_way_is_found_the_other(cache: CacheBackend) -> None:
    model = SmallChatModel(cache=cache)
    answer = model.invoke("Sagan?").content
    assert asyncio.run(model.ainvoke("Sagan?")).content == answer
    assert model.batch(["Sagan?", "Sagan?"])[1].content == answer


def test_a_completion_model_is_cached_and_observed(cache: CacheBackend) -> None:
    model = SmallCompletionModel(cache=cache)
    with cache.observe() as lookups:
        assert model.batch(["a", "b"]) == model.batch(["a", "b"])
        assert model.invoke("a").startswith("a: answer")
    assert sorted(_outcomes(lookups)) == ["hit", "hit", "hit", "miss", "miss"]
    assert sorted(model.calls) == ["a", "b"]


def test_a_model_of_langchain_itself_is_cached(cache: CacheBackend) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("one"), AIMessage("two")]), cache=cache)
    assert [model.invoke("q").content, model.invoke("q").content, model.invoke("r").content] == ["one", "one", "two"]


def test_a_hit_reaches_the_caller_as_langchain_made_it(cache: CacheBackend) -> None:
    model = SmallChatModel(cache=cache)
    first, second, third = (model.invoke("Sagan?") for _ in range(3))
    assert second == third
    assert second.content == first.content
    assert second is not third


def test_nothing_is_stored_when_the_model_fails(cache: CacheBackend) -> None:
    with cache.observe() as lookups, pytest.raises(RuntimeError, match="the model is down"):
        SmallChatModel(cache=cache, fails=True).invoke("q")
    assert (_outcomes(lookups), lookups.stores) == (["miss"], [])
    assert cache.stats().entries == 0


def test_a_lookup_tells_key_age_and_times(cache: CacheBackend) -> None:
    with cache.observe() as lookups:
        found(cache, "q")
        store(cache, "q", "answer")
        found(cache, "q")
    miss, hit = lookups
    assert miss.key == hit.key == cache_key("q", LLM)
    assert (miss.age_s, miss.model_time_s, miss.error) == (None, None, None)
    assert hit.age_s == 0
    assert hit.model_time_s is not None
    assert min(miss.elapsed_s, hit.elapsed_s, lookups.stores[0].elapsed_s, hit.model_time_s) >= 0
    (made,) = lookups.stores
    assert (made.key, made.stored, made.refusal, made.detail) == (hit.key, True, None, None)


def test_who_observes_another_namespace_or_store_sees_nothing(
    cache: CacheBackend, open_again: Callable[..., CacheBackend]
) -> None:
    view, another = cache.view(namespace="other"), open_again()
    with view.observe() as theirs, another.observe() as elsewhere, cache.observe() as ours:
        store(cache, "q", "answer")
        found(cache, "q")
    assert (len(ours), len(ours.stores)) == (1, 1)
    assert (theirs, theirs.stores, elsewhere, elsewhere.stores) == ([], [], [], [])


def test_views_of_one_namespace_are_observed_alike(cache: CacheBackend) -> None:
    with cache.observe() as lookups:
        found(cache.view(ttl=5), "q")
        found(cache.view(namespace="default"), "q")
    assert len(lookups) == 2


def test_observing_can_be_nested_and_ends_with_its_block(cache: CacheBackend) -> None:
    with cache.observe() as outer:
        found(cache, "a")
        with cache.observe() as inner:
            found(cache, "b")
        found(cache, "c")
    found(cache, "d")
    keys = [cache_key(prompt, LLM) for prompt in "abc"]
    assert [lookup.key for lookup in outer] == keys
    assert [lookup.key for lookup in inner] == keys[1:2]


def test_observing_ends_with_its_block_when_that_raises(cache: CacheBackend) -> None:
    def look_and_fail() -> None:
        found(cache, "a")
        raise RuntimeError("in the block")

    with cache.observe() as lookups:
        pass
    with pytest.raises(RuntimeError, match="in the block"), cache.observe() as failed:
        look_and_fail()
    found(cache, "b")
    assert (len(lookups), len(failed)) == (0, 1)


async def test_tasks_that_observe_see_only_their_own_lookups(cache: CacheBackend) -> None:
    everyone_is_watching = asyncio.Barrier(5)

    async def watch(name: str) -> list[str | None]:
        with cache.observe() as lookups:
            await everyone_is_watching.wait()
            for number in range(3):
                await cache.alookup(f"{name} {number}", LLM)
                await asyncio.sleep(0)
        return [lookup.key for lookup in lookups]

    names = "abcde"
    seen = await asyncio.gather(*map(watch, names))
    assert seen == [[cache_key(f"{name} {number}", LLM) for number in range(3)] for name in names]


def test_a_thread_with_a_context_of_its_own_is_not_seen(cache: CacheBackend) -> None:
    with cache.observe() as lookups:
        thread = threading.Thread(target=found, args=(cache, "q"))
        thread.start()
        thread.join()
    assert lookups == []


# The asynchronous half of LangChain's contract


async def test_the_asynchronous_methods_do_what_the_synchronous_ones_do(cache: CacheBackend) -> None:
    other = cache.view(namespace="other")
    assert await cache.alookup("q", LLM) is None
    await cache.aupdate("q", LLM, [chat("one"), chat("two")])
    await other.aupdate("q", LLM, [chat("elsewhere")])
    assert await cache.alookup("q", LLM) == cache.lookup("q", LLM) == [chat("one"), chat("two")]
    await cache.aupdate("q", LLM, [chat("")])
    assert await cache.alookup("q", LLM) == [chat("one"), chat("two")]
    await cache.aclear()
    assert await cache.alookup("q", LLM) is None
    assert cache.lookup("q", LLM) is None
    assert await other.alookup("q", LLM) == [chat("elsewhere")]
    assert (cache.counters.hits, cache.counters.misses, cache.counters.stores) == (4, 3, 2)


def test_one_cache_serves_several_event_loops(cache: CacheBackend) -> None:
    async def ask() -> Any:
        await cache.aupdate("q", LLM, [chat("answer")])
        return await cache.alookup("q", LLM)

    assert asyncio.run(ask()) == asyncio.run(ask()) == [chat("answer")]


async def test_a_hundred_tasks_share_a_cache(cache: CacheBackend) -> None:
    async def ask(number: int) -> str:
        prompt = f"q{number % 10}"
        await cache.aupdate(prompt, LLM, [chat(prompt)])
        answer = await cache.alookup(prompt, LLM)
        assert answer is not None
        return answer[0].text

    answers = await asyncio.gather(*map(ask, range(100)))
    assert answers == [f"q{number % 10}" for number in range(100)]
    assert (cache.stats().entries, cache.counters.errors) == (10, 0)
