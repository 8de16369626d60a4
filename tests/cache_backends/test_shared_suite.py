"""What every backend promises about answers: right ones only, whole, fresh, faithful, and worth keeping."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given
from langchain_core.load import dumps
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation
from pydantic import BaseModel

from cache_backends import CacheBackend, cache_key
from tests.cache_backends.answers import LLM, chat, chat_prompt, found, look, store
from tests.cache_backends.backends import on_persistent_backends
from tests.cache_backends.conftest import OpenAgain
from tests.cache_backends.generations import any_text, json_answers, wild_answers, without_haste

FULL = ChatGeneration(
    message=AIMessage(
        [{"type": "text", "text": "Pale blue dot"}, {"type": "image_url", "image_url": {"url": "data:,x"}}, "…"],
        additional_kwargs={"refusal": None, "nested": {"a": [1, 2.5, True, None, "ü"]}},
        response_metadata={"model_name": "gpt-4o", "finish_reason": "stop", "logprobs": None},
        name="Carl",
        id="run-1",
        tool_calls=[{"name": "look_up", "args": {"star": "Sol"}, "id": "call-1", "type": "tool_call"}],
        invalid_tool_calls=[
            {"name": None, "args": "{", "id": "call-2", "error": "not JSON", "type": "invalid_tool_call"}
        ],
        usage_metadata={
            "input_tokens": 3,
            "output_tokens": 5,
            "total_tokens": 8,
            "input_token_details": {"cache_read": 1},
        },
        citation="Cosmos, 1980",
    ),
    generation_info={"finish_reason": "stop", "logprobs": {"content": [{"token": "Pale", "logprob": -0.5}]}},
)


class Star(BaseModel):
    """What structured output may be parsed into."""

    name: str
    planets: list[str]


def test_an_empty_cache_has_no_answer(cache: CacheBackend) -> None:
    assert cache.lookup("Who was Carl Sagan?", LLM) is None


def test_a_stored_answer_is_found_as_a_real_list(cache: CacheBackend) -> None:
    cache.update("Who was Carl Sagan?", LLM, (chat("An astronomer."),))
    answer = cache.lookup("Who was Carl Sagan?", LLM)
    assert type(answer) is list
    assert answer == [chat("An astronomer.")]


def test_another_prompt_or_other_parameters_have_another_answer(cache: CacheBackend) -> None:
    store(cache, "ab", "first", llm_string="c")
    assert found(cache, "a", "bc") is None
    assert found(cache, "ab", "d") is None
    assert found(cache, "AB", "c") is None
    store(cache, "a", "second", llm_string="bc")
    assert (found(cache, "ab", "c"), found(cache, "a", "bc")) == (["first"], ["second"])


def test_all_generations_of_a_request_come_back_in_order(cache: CacheBackend) -> None:
    store(cache, "q", "one", "two", "three")
    assert found(cache, "q") == ["one", "two", "three"]


def test_fewer_generations_replace_all_of_the_earlier_ones(cache: CacheBackend) -> None:
    store(cache, "q", "one", "two", "three")
    store(cache, "q", "new")
    assert found(cache, "q") == ["new"]
    assert cache.stats().entries == 1


def test_what_a_caller_does_to_a_hit_never_reaches_the_store(cache: CacheBackend) -> None:
    cache.update("q", LLM, [FULL])
    answer = cache.lookup("q", LLM)
    assert answer is not None
    _ruin(answer)
    assert cache.lookup("q", LLM) == [FULL]


def test_what_a_caller_does_to_what_it_stored_never_reaches_the_store(cache: CacheBackend) -> None:
    generations: list[Generation] = [FULL.model_copy(deep=True)]
    cache.update("q", LLM, generations)
    _ruin(generations)
    assert cache.lookup("q", LLM) == [FULL]


def test_what_a_person_does_to_a_shown_entry_never_reaches_the_store(cache: CacheBackend) -> None:
    cache.update("q", LLM, [FULL])
    entry = cache.get(cache_key("q", LLM))
    assert entry is not None
    _ruin(list(entry.generations))
    assert cache.lookup("q", LLM) == [FULL]


@pytest.mark.parametrize(
    "generation",
    [
        FULL,
        Generation(text="plain"),
        Generation(text="with info", generation_info={"finish_reason": "stop", "logprobs": None}),
        Generation(text="with empty info", generation_info={}),
        chat("NUL \0, emoji 🪐, combining e\u0301, right to left \u202eabc, \u2028 \ufeff \U0010ffff"),
        chat("", tool_calls=[{"name": "f", "args": {}, "id": "1", "type": "tool_call"}]),
        chat("", additional_kwargs={"refusal": "I'd rather not."}),
        chat("x", response_metadata={"lc": 1, "type": "constructor", "id": ["langchain", "schema"], "kwargs": {}}),
        chat("x", name=""),
        ChatGeneration(message=AIMessage([{"type": "reasoning", "summary": []}, {"type": "text", "text": "x"}])),
    ],
    ids=lambda generation: repr(generation)[:40],
)
def test_every_field_comes_back_equal(cache: CacheBackend, generation: Generation) -> None:
    cache.update("q", LLM, [generation])
    answer = cache.lookup("q", LLM)
    assert answer == [generation]
    assert [type(found) for found in answer] == [type(generation)]
    assert dumps(answer) == dumps([generation])
    assert _shown(answer) == _shown([generation])


@without_haste
@given(generations=json_answers)
def test_whatever_json_can_carry_comes_back_equal(cache: CacheBackend, generations: list[Generation]) -> None:
    cache.clear()
    with cache.observe() as lookups:
        cache.update("q", LLM, generations)
        answer = cache.lookup("q", LLM)
    (made,) = lookups.stores
    event(made.refusal or "stored")
    if made.refusal is None:
        assert answer == generations
        assert _shown(answer) == _shown(generations)
    else:
        assert made.refusal in ("empty", "truncated")
        assert answer is None


@without_haste
@given(generations=wild_answers)
def test_anything_else_comes_back_equal_or_is_refused(cache: CacheBackend, generations: list[Generation]) -> None:
    cache.clear()
    with cache.observe() as lookups:
        cache.update("q", LLM, generations)
        answer = cache.lookup("q", LLM)
    (made,) = lookups.stores
    event(made.refusal or "stored")
    if made.refusal is None:
        assert answer == generations
        assert _shown(answer) == _shown(generations)
    else:
        assert made.refusal in ("empty", "truncated", "unfaithful"), "nothing a model answers is a failure of the store"
        assert answer is None
        assert cache.stats().entries == 0


@without_haste
@given(prompt=any_text, llm_string=any_text)
def test_any_request_has_its_answer_or_is_refused(cache: CacheBackend, prompt: str, llm_string: str) -> None:
    cache.clear()
    errors = cache.counters.errors
    store(cache, prompt, "answer", llm_string=llm_string)
    can_be_kept = not any("\ud800" <= character <= "\udfff" for character in prompt + llm_string)
    event(f"can be kept: {can_be_kept}")
    assert found(cache, prompt, llm_string) == (["answer"] if can_be_kept else None)
    assert [entry.raw_prompt for entry in _whole_entries(cache)] == ([prompt] if can_be_kept else [])
    assert cache.counters.errors == errors


@pytest.mark.parametrize("text", ["\ud800", "x\udfff y"])
def test_a_lone_surrogate_in_an_answer_is_not_stored_and_never_raises(open_again: OpenAgain, text: str) -> None:
    cache = open_again(strict=True)
    with cache.observe() as lookups:
        cache.update("q", LLM, [Generation(text=text)])
    assert [(made.stored, made.refusal) for made in lookups.stores] == [(False, "unfaithful")]
    assert cache.lookup("q", LLM) is None


def test_a_lone_surrogate_in_a_chat_message_is_kept_as_langchain_escapes_it(open_again: OpenAgain) -> None:
    cache = open_again(strict=True)
    prompt = chat_prompt("half a planet: \ud83e")
    store(cache, prompt, "answer")
    assert found(cache, prompt) == ["answer"]
    (shown,) = cache.entries().entries
    assert shown.prompt == "half a planet: \ufffd"
    entry = cache.get(shown.key)
    assert entry is not None
    assert entry.raw_prompt == prompt


def test_an_answer_of_ten_megabytes_comes_back_whole(cache: CacheBackend) -> None:
    text = "Carl Sagan wrote Cosmos. 🪐\n" * (10 * 2**20 // 30)
    store(cache, "q", text)
    assert found(cache, "q") == [text]
    assert cache.stats().size_bytes > 10_000_000


def test_a_prompt_of_a_megabyte_is_a_prompt_like_any_other(cache: CacheBackend) -> None:
    prompt = chat_prompt("Why? " * 200_000)
    store(cache, prompt, "Because.")
    assert found(cache, prompt) == ["Because."]
    assert len(cache.entries().entries[0].prompt) <= 300


def test_the_parsed_object_of_structured_output_is_kept_as_a_dict(cache: CacheBackend) -> None:
    parsed = Star(name="Sol", planets=["Earth"])
    cache.update("q", LLM, [chat("{}", additional_kwargs={"parsed": parsed})])
    answer = cache.lookup("q", LLM)
    assert answer is not None
    assert isinstance(answer[0], ChatGeneration)
    assert answer[0].message.additional_kwargs == {"parsed": {"name": "Sol", "planets": ["Earth"]}}


@pytest.mark.parametrize(
    "generations",
    [
        [],
        [Generation(text="")],
        [Generation(text=" \n")],
        [chat("")],
        [chat("good"), chat("  ")],
        [ChatGeneration(message=AIMessage([]))],
        [ChatGeneration(message=AIMessage([{"type": "text", "text": "", "annotations": []}, " "]))],
        [chat("", additional_kwargs={"refusal": None})],
    ],
    ids=repr,
)
def test_an_empty_answer_is_not_stored(open_again: OpenAgain, generations: list[Generation]) -> None:
    cache = open_again(strict=True)
    with cache.observe() as lookups:
        cache.update("q", LLM, generations)
    assert [(made.stored, made.refusal) for made in lookups.stores] == [(False, "empty")]
    assert cache.lookup("q", LLM) is None
    assert (cache.counters.uncacheable, cache.counters.stores, cache.counters.errors) == (1, 0, 0)


def test_an_answer_that_is_not_worth_keeping_leaves_the_earlier_one(cache: CacheBackend) -> None:
    store(cache, "q", "good")
    store(cache, "q", "")
    assert found(cache, "q") == ["good"]


CUT_OFF = [
    Generation(text="Carl Sag", generation_info={"finish_reason": "length"}),
    chat("Carl Sag", response_metadata={"finish_reason": "length"}),
    chat("Carl Sag", response_metadata={"stop_reason": "max_tokens"}),
    chat("Carl Sag", response_metadata={"finish_reason": "MAX_TOKENS"}),
    chat("Carl Sag", response_metadata={"done_reason": "length"}),
    chat("Carl Sag", response_metadata={"incomplete_details": {"reason": "max_output_tokens"}}),
]


@pytest.mark.parametrize("generation", CUT_OFF, ids=repr)
def test_a_truncated_answer_is_not_stored(cache: CacheBackend, generation: Generation) -> None:
    with cache.observe() as lookups:
        cache.update("q", LLM, [chat("whole"), generation])
    assert [(made.stored, made.refusal) for made in lookups.stores] == [(False, "truncated")]
    assert cache.lookup("q", LLM) is None


@pytest.mark.parametrize("generation", CUT_OFF, ids=repr)
def test_store_truncated_keeps_truncated_answers(open_again: OpenAgain, generation: Generation) -> None:
    cache = open_again(store_truncated=True)
    cache.update("q", LLM, [generation])
    assert cache.lookup("q", LLM) == [generation]


@pytest.mark.parametrize("reason", [None, "stop", "tool_calls", {"reason": "length"}, ["length"]], ids=repr)
def test_any_other_finish_reason_is_no_reason_against_storing(cache: CacheBackend, reason: Any) -> None:
    store_me = chat("whole", response_metadata={"finish_reason": reason})
    cache.update("q", LLM, [store_me])
    assert cache.lookup("q", LLM) == [store_me]


@on_persistent_backends
def test_answers_outlive_the_cache_that_stored_them(cache: CacheBackend, open_again: OpenAgain) -> None:
    cache.update("q", LLM, [FULL])
    cache.close()
    assert open_again().lookup("q", LLM) == [FULL]


@on_persistent_backends
def test_two_caches_on_one_store_see_each_others_answers(cache: CacheBackend, open_again: OpenAgain) -> None:
    other = open_again()
    store(cache, "q", "first")
    assert found(other, "q") == ["first"]
    store(other, "q", "second")
    assert found(cache, "q") == ["second"]


def test_a_memory_cache_knows_that_it_will_not_survive(cache: CacheBackend, open_again: OpenAgain) -> None:
    store(cache, "q", "answer")
    again = open_again()
    assert (found(again, "q") is not None) == again.survives_restart


def test_the_outcomes_of_a_first_and_a_second_request(cache: CacheBackend) -> None:
    assert look(cache, "q").outcome == "miss"
    store(cache, "q", "answer")
    assert look(cache, "q").outcome == "hit"


def _ruin(generations: list[Generation]) -> None:
    """Everything a caller might do to generations, LangChain included."""
    generation = generations[0]
    assert isinstance(generation, ChatGeneration)
    assert isinstance(generation.message, AIMessage)
    generation.text = "ruined"
    generation.generation_info = {}
    message = generation.message
    assert isinstance(message.content, list)
    message.content.append("ruined")
    message.additional_kwargs["nested"]["a"].append("ruined")
    message.response_metadata.clear()
    message.tool_calls[0]["args"]["star"] = "ruined"
    message.name = "ruined"
    assert message.usage_metadata is not None
    message.usage_metadata["input_tokens"] = -1
    generation.message = AIMessage("ruined")
    generations.append(Generation(text="ruined"))


def _shown(generations: list[Generation]) -> list[str]:
    """Every value with its type: `==` alone takes 1, 1.0 and True for the same."""
    return [repr(_ordered(generation.model_dump(serialize_as_any=True))) for generation in generations]


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return [(name, _ordered(inner)) for name, inner in sorted(value.items())]
    if isinstance(value, list):
        return [_ordered(inner) for inner in value]
    return str(value) if isinstance(value, str) else value  # LangChain's own text is a subclass of str


def _whole_entries(cache: CacheBackend) -> list[Any]:
    return [cache.get(summary.key) for summary in cache.entries().entries]
