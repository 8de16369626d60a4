"""`OneRequest`: real LangChain models behind every backend and LangChain's own cache, asked the same at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.messages import AIMessage
from langchain_core.outputs import Generation
from langchain_core.runnables import RunnableLambda

from cache_backends import CacheBackend, FlightTimeoutError, MemoryCache, OneRequest, SingleFlight, SQLiteCache
from tests.cache_backends.answers import LLM, chat, texts
from tests.cache_backends.flights import LONG_S, GatedModel, auntil, gated_model, hang_guard, until
from tests.cache_backends.processes import in_child
from tests.cache_backends.small_models import SmallCompletionModel

MANY = 16
__all__ = ["hang_guard"]
QUESTION = "Who was Carl Sagan?"


@pytest.fixture
def flights() -> SingleFlight:
    return SingleFlight()


def ask(
    model: Any, cache: BaseCache, flights: SingleFlight, question: str = QUESTION, stop: Any = None, **options: Any
) -> Any:
    """The answer, and the request as it ended."""
    with OneRequest(cache, flights, **options) as one:
        return model.model_copy(update={"cache": one}).invoke(question, stop=stop), one


async def aask(model: Any, cache: BaseCache, flights: SingleFlight, question: str = QUESTION) -> Any:
    with OneRequest(cache, flights) as one:
        return await model.model_copy(update={"cache": one}).ainvoke(question), one


def in_threads(model: GatedModel, cache: BaseCache, flights: SingleFlight, n: int = MANY) -> list[Future[Any]]:
    """`n` threads ask the same question; one leads and all others wait."""
    pool = ThreadPoolExecutor(n)
    asked = [pool.submit(ask, model, cache, flights) for _ in range(n)]
    pool.shutdown(wait=False)
    until(lambda: flights.waiting == n - 1)
    return asked


@pytest.fixture(params=["ours", "langchain's"])
def any_cache(request: pytest.FixtureRequest, cache: CacheBackend) -> BaseCache:
    return cache if request.param == "ours" else InMemoryCache()


def test_many_threads_make_one_model_call_and_say_how(any_cache: BaseCache, flights: SingleFlight) -> None:
    model = gated_model()
    asked = in_threads(model, any_cache, flights)
    model.call.gate.set()
    answers, requests = zip(*(each.result(LONG_S) for each in asked), strict=True)
    assert model.call.count == 1
    assert {answer.content for answer in answers} == {"answer 1"}
    assert sorted(one.outcome for one in requests) == ["miss"] + ["shared"] * (MANY - 1)
    assert all((one.waited_s > 0) == (one.outcome == "shared") == bool(one.shared) for one in requests)
    assert flights.in_flight == 0
    again, one = ask(model, any_cache, flights)
    assert (again.content, one.outcome, model.call.count) == ("answer 1", "hit", 1)


async def test_many_tasks_make_one_model_call(any_cache: BaseCache, flights: SingleFlight) -> None:
    model = gated_model()  # its call is made in a thread: the event loop goes on
    tasks = [asyncio.create_task(aask(model, any_cache, flights)) for _ in range(MANY)]
    await auntil(lambda: flights.waiting == MANY - 1)
    model.call.gate.set()
    answers, requests = zip(*await asyncio.gather(*tasks), strict=True)
    assert model.call.count == 1
    assert {answer.content for answer in answers} == {"answer 1"}
    assert sorted(one.outcome for one in requests) == ["miss"] + ["shared"] * (MANY - 1)
    assert flights.in_flight == 0


def test_threads_and_tasks_share_one_model_call(cache: CacheBackend, flights: SingleFlight) -> None:
    model = gated_model()

    async def tasks() -> Sequence[Any]:
        return await asyncio.gather(*(aask(model, cache, flights) for _ in range(4)))

    with ThreadPoolExecutor(6) as pool:
        loops = [pool.submit(lambda: asyncio.run(tasks())) for _ in range(2)]
        threads = [pool.submit(ask, model, cache, flights) for _ in range(4)]
        until(lambda: flights.waiting == 11)
        model.call.gate.set()
        ends = [each.result(LONG_S) for each in threads] + [end for loop in loops for end in loop.result(LONG_S)]
    assert model.call.count == 1
    assert {answer.content for answer, _ in ends} == {"answer 1"}


def test_without_any_order_there_is_still_one_call(any_cache: BaseCache, flights: SingleFlight) -> None:
    """Some look before the leader stores and come to board after it has landed: they must look again."""
    for number in range(20):
        model = gated_model()
        model.call.gate.set()
        all_at_once = threading.Barrier(MANY)

        def rush(model: GatedModel = model, barrier: threading.Barrier = all_at_once, n: int = number) -> Any:
            barrier.wait(LONG_S)
            return ask(model, any_cache, flights, f"question {n}")

        with ThreadPoolExecutor(MANY) as pool:
            ends = [each.result(LONG_S) for each in [pool.submit(rush) for _ in range(MANY)]]
        assert model.call.count == 1
        assert {answer.content for answer, _ in ends} == {"answer 1"}


@pytest.mark.parametrize("way", ["lookup", "alookup"])
def test_who_missed_just_before_another_stored_looks_again_before_it_leads(way: str, flights: SingleFlight) -> None:
    class Interrupted(InMemoryCache):
        """Another request comes and goes between a lookup and what follows it."""

        def lookup(self, prompt: str, llm_string: str) -> Any:
            found = super().lookup(prompt, llm_string)
            if found is None:
                flights.run("the other", lambda: self.update(prompt, llm_string, [chat("of the other")]))
            return found

        async def alookup(self, prompt: str, llm_string: str) -> Any:
            return self.lookup(prompt, llm_string)

    cache = Interrupted()
    with OneRequest(cache, flights) as one:
        found = one.lookup("q", LLM) if way == "lookup" else asyncio.run(one.alookup("q", LLM))
    assert texts(found) == ["of the other"]
    assert one.outcome == "hit"
    assert flights.in_flight == 0


def test_everybody_gets_objects_of_its_own(any_cache: BaseCache, flights: SingleFlight) -> None:
    model = gated_model(lambda: AIMessage("answer", response_metadata={"list": [1]}))
    asked = in_threads(model, any_cache, flights, n=4)
    model.call.gate.set()
    answers = [each.result(LONG_S)[0] for each in asked]
    for number, answer in enumerate(answers):
        assert answer.response_metadata["list"] == [1]
        answer.response_metadata["list"].append(number)


ODD_ANSWERS = {
    "empty": AIMessage(" "),
    "truncated": AIMessage("An astronom", response_metadata={"finish_reason": "length"}),
    "unfaithful": AIMessage("half \ud83d", additional_kwargs={"set": {1, 2}}),
}


@pytest.mark.parametrize("why", ODD_ANSWERS)
def test_an_answer_that_is_not_stored_is_shared_all_the_same(
    why: str, cache: CacheBackend, flights: SingleFlight
) -> None:
    model = gated_model(lambda: ODD_ANSWERS[why].model_copy(deep=True))
    asked = in_threads(model, cache, flights, n=4)
    model.call.gate.set()
    answers = [each.result(LONG_S)[0] for each in asked]
    assert [answer.content for answer in answers] == [ODD_ANSWERS[why].content] * 4
    assert model.call.count == 1
    assert (cache.counters.stores, cache.counters.uncacheable) == (0, 1)
    _, one = ask(model, cache, flights)
    assert (one.outcome, model.call.count) == ("miss", 2)


def test_an_answer_that_cannot_be_copied_is_kept_by_the_one_and_asked_for_by_the_next(flights: SingleFlight) -> None:
    model = gated_model(lambda: AIMessage("answer", additional_kwargs={"lock": threading.Lock()}))
    asked = in_threads(model, MemoryCache(), flights, n=3)
    model.call.gate.set()
    assert [each.result(LONG_S)[1].outcome for each in asked] == ["miss"] * 3
    assert model.call.count == 3


def test_an_error_reaches_all_and_the_next_request_begins_anew(any_cache: BaseCache, flights: SingleFlight) -> None:
    def fail() -> AIMessage:
        raise RuntimeError("the model is down")

    model = gated_model(fail)
    asked = in_threads(model, any_cache, flights)
    model.call.gate.set()
    assert [str(each.exception(LONG_S)) for each in asked] == ["the model is down"] * MANY
    assert (model.call.count, flights.in_flight) == (1, 0)
    model.call.function = lambda: AIMessage("up again")
    answer, one = ask(model, any_cache, flights)
    assert (answer.content, one.outcome) == ("up again", "miss")


def test_a_cache_that_fails_to_store_does_not_keep_the_answer_from_the_others(flights: SingleFlight) -> None:
    class Full(InMemoryCache):
        def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
            raise OSError("no room")

    model = gated_model()
    asked = in_threads(model, Full(), flights, n=4)
    model.call.gate.set()
    ends = [each.exception(LONG_S) or each.result()[0].content for each in asked]
    assert sorted(map(str, ends)) == ["answer 1"] * 3 + ["no room"]


@pytest.mark.parametrize("reason", [KeyboardInterrupt, SystemExit])
def test_where_the_leader_is_interrupted_another_leads(reason: Any, flights: SingleFlight) -> None:
    model = gated_model()

    def answer() -> AIMessage:
        if model.call.count == 1:
            raise reason
        return AIMessage("answer")

    model.call.function = answer
    asked = in_threads(model, MemoryCache(), flights, n=4)
    model.call.gate.set()
    ends = [each.exception(LONG_S) or each.result()[0].content for each in asked]
    assert [type(end) for end in ends if end != "answer"] == [reason]
    assert ends.count("answer") == 3


async def test_where_the_leading_task_is_cancelled_another_leads(flights: SingleFlight) -> None:
    model, cache = gated_model(), MemoryCache()
    tasks = [asyncio.create_task(aask(model, cache, flights)) for _ in range(4)]
    await auntil(lambda: flights.waiting == 3)
    tasks[0].cancel()
    await auntil(lambda: flights.waiting == 2)
    model.call.gate.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert len({answer.content for answer, _ in ends[1:]}) == 1  # type: ignore[misc]
    assert flights.in_flight == 0


def test_who_waits_too_long_is_told_so(flights: SingleFlight) -> None:
    model, cache = gated_model(), MemoryCache()
    asked = in_threads(model, cache, flights, n=1)
    until(lambda: model.call.count == 1)
    with pytest.raises(FlightTimeoutError):
        ask(model, cache, flights, timeout_s=0.01)
    model.call.gate.set()
    assert asked[0].result(LONG_S)[0].content == "answer 1"


def test_a_block_that_ends_without_an_answer_or_an_error_lets_the_next_one_lead(flights: SingleFlight) -> None:
    cache = MemoryCache()

    def other() -> Any:
        with OneRequest(cache, flights) as one:
            return one.lookup("q", LLM), one.outcome

    with ThreadPoolExecutor(1) as pool:
        with OneRequest(cache, flights) as one:
            assert one.lookup("q", LLM) is None
            waiting = pool.submit(other)
            until(lambda: flights.waiting == 1)
        assert waiting.result(LONG_S) == (None, "miss")
    assert flights.in_flight == 0


def test_other_namespaces_stores_parameters_and_questions_do_not_wait(tmp_path: Any, flights: SingleFlight) -> None:
    model, cache = gated_model(), SQLiteCache(tmp_path / "cache.db")
    asked = in_threads(model, cache, flights, n=1)
    until(lambda: model.call.count == 1)
    quick = gated_model(lambda: AIMessage("quick"))
    quick.call.gate.set()
    others = {
        "namespace": lambda: ask(quick, cache.view(namespace="other"), flights),
        "store": lambda: ask(quick, MemoryCache(), flights),
        "LangChain's": lambda: ask(quick, InMemoryCache(), flights),
        "question": lambda: ask(quick, cache, flights, "another"),
        "place": lambda: ask(quick, cache, flights, place="elsewhere"),
        "parameters": lambda: ask(quick, cache, flights, stop=["x"]),
        "no block": lambda: (
            quick.model_copy(update={"cache": OneRequest(cache, flights)}).invoke(QUESTION),
            OneRequest(cache, flights),
        ),
        "no cache": lambda: (quick.model_copy(update={"cache": False}).invoke(QUESTION), None),
    }
    for ask_it in others.values():
        assert ask_it()[0].content == "quick"
    model.call.gate.set()
    assert asked[0].result(LONG_S)[0].content == "answer 1"
    cache.close()


def test_views_of_one_store_with_one_namespace_share_whatever_their_time_to_live(flights: SingleFlight) -> None:
    cache, model = MemoryCache(), gated_model()
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask, model, cache.view(ttl=ttl), flights) for ttl in (None, 60)]
        until(lambda: flights.waiting == 1)
        model.call.gate.set()
        assert sorted(each.result(LONG_S)[1].outcome for each in asked) == ["miss", "shared"]


def test_a_batch_with_a_block_each_makes_one_call_for_equal_questions(flights: SingleFlight) -> None:
    cache, model = MemoryCache(), gated_model()
    asking = RunnableLambda(lambda question: ask(model, cache, flights, question)[0])
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(asking.batch, [QUESTION] * MANY, {"max_concurrency": MANY})
        until(lambda: flights.waiting == MANY - 1)
        model.call.gate.set()
        assert {answer.content for answer in answers.result(LONG_S)} == {"answer 1"}
    assert model.call.count == 1


async def test_an_async_batch_with_a_block_each_makes_one_call_for_equal_questions(flights: SingleFlight) -> None:
    cache, model = MemoryCache(), gated_model()

    async def asking(question: str) -> Any:
        return (await aask(model, cache, flights, question))[0]

    batch = asyncio.create_task(RunnableLambda(asking).abatch([QUESTION] * MANY))
    await auntil(lambda: flights.waiting == MANY - 1)
    model.call.gate.set()
    assert {answer.content for answer in await batch} == {"answer 1"}
    assert model.call.count == 1


@pytest.mark.parametrize("fails", [False, True])
def test_a_whole_batch_in_one_block_waits_for_nothing_of_itself(fails: bool, flights: SingleFlight) -> None:
    def answer() -> AIMessage:
        if fails:
            raise RuntimeError("the model is down")
        return AIMessage("answer")

    model = gated_model(answer)
    model.call.gate.set()
    with OneRequest(MemoryCache(), flights) as one:
        bound = model.model_copy(update={"cache": one})
        ends = bound.batch([QUESTION, QUESTION, "another"], return_exceptions=True)
        ends += asyncio.run(bound.abatch([QUESTION, "a third"], return_exceptions=True))
    assert {str(end) if fails else end.content for end in ends} == {"the model is down" if fails else "answer"}
    assert flights.in_flight == 0


def test_a_completion_model_asked_for_several_prompts_at_once(flights: SingleFlight) -> None:
    cache, model = MemoryCache(), SmallCompletionModel()
    with OneRequest(cache, flights) as one:
        answers = model.model_copy(update={"cache": one}).batch(["a", "a", "b"])
    assert len(answers) == 3
    assert flights.in_flight == 0
    assert cache.stats().entries == 2
    assert ask(model, cache, flights, "a")[1].outcome == "hit"


def test_two_batches_that_cross_do_not_wait_for_each_other(flights: SingleFlight) -> None:
    cache, both = MemoryCache(), threading.Barrier(2)

    def story(first: str, second: str) -> bool:
        with OneRequest(cache, flights) as one:
            one.lookup(first, LLM)
            both.wait(LONG_S)
            found = one.lookup(second, LLM)
            one.update(first, LLM, [chat(first)])
            if found is None:
                one.update(second, LLM, [chat(second)])
        return found is None

    with ThreadPoolExecutor(2) as pool:
        assert True in list(pool.map(story, ["a", "b"], ["b", "a"]))
    assert cache.stats().entries == 2
    assert flights.in_flight == 0


def test_a_request_inside_the_model_call_of_its_equal_does_not_wait(flights: SingleFlight) -> None:
    cache, inner = MemoryCache(), gated_model(lambda: AIMessage("inner"))
    inner.call.gate.set()
    outer = gated_model(lambda: ask(inner, cache, flights)[0])
    outer.call.gate.set()
    assert ask(outer, cache, flights)[0].content == "inner"
    assert inner.call.count == outer.call.count == 1


def test_a_forked_child_makes_its_own_call(cache: CacheBackend, flights: SingleFlight) -> None:
    model = gated_model()
    asked = in_threads(model, cache, flights, n=1)
    until(lambda: model.call.count == 1)
    quick = gated_model(lambda: AIMessage("of the child"))
    quick.call.gate.set()
    assert in_child(lambda: ask(quick, cache, flights)[0].content) == "of the child"
    model.call.gate.set()
    asked[0].result(LONG_S)


def test_clearing_is_passed_on(flights: SingleFlight) -> None:
    cache = MemoryCache()
    cache.update("q", LLM, [chat("a")])
    OneRequest(cache, flights).clear()
    assert cache.stats().entries == 0
    cache.update("q", LLM, [chat("a")])
    asyncio.run(OneRequest(cache, flights).aclear())
    assert cache.stats().entries == 0
