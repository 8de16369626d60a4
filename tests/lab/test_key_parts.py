"""The parts of a key: read from what LangChain passes, compared as the real keys compare, hostile text or not."""

from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAI

from cache_backends import CacheBackend, CacheEntry, MemoryCache, cache_key
from cache_backends.readable import message_prompt, redact
from lab import characters, parameters, text_pieces
from lab import key_parts as key_parts_module
from lab.key_parts import compare_keys, is_redacted, key_parts, stored_prompt
from lab.laboratory import SHARED_SCOPE, Laboratory, Request
from lab.parameters import WHOLE, KeyPart, Parameters
from lab.simulated import SIMULATED_MODEL
from tests.lab.building import SAGAN, quick_settings

LLM_STRING = "[('_type', 'simulated-chat'), ('model_name', 'simulated'), ('stop', None), ('temperature', 0.7)]"


def entry(raw_prompt: str = message_prompt(SAGAN), llm_string: str = LLM_STRING, **others: Any) -> CacheEntry:
    """An entry as a backend gives it, its parameters redacted and its key that of the real ones."""
    values: dict[str, Any] = {
        "key": cache_key(raw_prompt, llm_string),
        "namespace": "default",
        "prompt": raw_prompt,
        "answer": "An astronomer.",
        "model": "simulated",
        "created_at": 1.0,
        "expires_at": None,
        "last_used_at": 1.0,
        "hits": 0,
        "size_bytes": 100,
        "raw_prompt": raw_prompt,
        "llm_string": redact(llm_string),
        "text": "An astronomer.",
        "generations": [],
        "location": "here",
    }
    return CacheEntry(**values | others)


def chat(**options: Any) -> str:
    """The parameters that LangChain makes the key of, of a chat model."""
    values: dict[str, Any] = {"model": "gpt-4o-mini", "api_key": "sk-none"}
    return str(ChatOpenAI(**values | options)._get_llm_string())


def completion(**options: Any) -> str:
    """The same of a completion model, as a cache is given it."""

    class Noting(MemoryCache):
        def lookup(self, prompt: str, llm_string: str) -> Any:
            noted.append(llm_string)
            raise KeyboardInterrupt

    noted: list[str] = []
    values: dict[str, Any] = {"model": "gpt-3.5-turbo-instruct", "api_key": "sk-none", "cache": Noting()}
    with pytest.raises(KeyboardInterrupt):
        OpenAI(**values | options).invoke(SAGAN)
    return noted[0]


def named(llm_string: str) -> dict[str, str]:
    return {part.name: part.value for part in key_parts(llm_string)}


# What LangChain passes


def test_a_chat_models_parameters_are_named() -> None:
    found = named(chat(temperature=0.2, seed=3, stop_sequences=["a, 'b'"]))
    assert found["model_name"] == "gpt-4o-mini"
    assert found["temperature"] == "0.2"
    assert found["seed"] == "3"
    assert found["id"] == '["langchain", "chat_models", "openai", "ChatOpenAI"]'
    assert WHOLE not in found


def test_what_is_asked_for_first_comes_first_and_what_langchain_wraps_it_in_last() -> None:
    names = [part.name for part in key_parts(chat(temperature=0.2, seed=3))]
    assert names[:2] == ["model_name", "temperature"]
    assert names[-4:] == ["id", "lc", "name", "type"]


def test_what_a_call_adds_is_named_too() -> None:
    model = ChatOpenAI(model="gpt-4o-mini", api_key="sk-none", model_kwargs={"user": "ada"})
    tools = [{"type": "function", "function": {"name": "f", "description": 'it\'s (a) [test], "yes"'}}]
    found = named(model._get_llm_string(stop=["\n\n", "'"], tools=tools, seed=3, model_name="other"))
    assert found["tools"] == repr(tools)
    assert found["stop"] == repr(["\n\n", "'"])
    assert (found["model_name"], found["model_name (2)"]) == ("gpt-4o-mini", "other")


def test_a_completion_models_parameters_are_named() -> None:
    found = named(completion(temperature=0.2, max_tokens=99))
    assert {"model_name": "gpt-3.5-turbo-instruct", "temperature": "0.2", "max_tokens": "99"}.items() <= found.items()
    assert found["stop"] == "None"


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({"temperature": 0.2}, {"temperature": "0.7"}),
        ({"temperature": 0.2}, {"temperature": "0,7"}),
        ({"temperature": 0.2}, {"temperature": "1"}),
        ({"temperature": 0.2}, {"model_name": "gpt-4o"}),
        ({"temperature": 0.2}, {"model_name": "é\"\\ '"}),
        ({"temperature": 0.2, "seed": 3}, {"seed": "4", "temperature": "0.0", "model_name": "x"}),
    ],
)
@pytest.mark.parametrize("make", [chat, completion])
def test_a_changed_parameter_gives_the_key_that_langchain_would_make(
    make: Any, options: dict[str, Any], changes: dict[str, str]
) -> None:
    real = {
        ("model" if name == "model_name" else name): (
            int(value) if name == "seed" else value if name == "model_name" else float(value.replace(",", "."))
        )
        for name, value in changes.items()
    }
    raw_prompt = message_prompt(SAGAN) if make is chat else SAGAN
    compared = compare_keys(entry(raw_prompt, make(**options)), SAGAN, changes)
    assert compared.asked_key == cache_key(raw_prompt, make(**options | real))
    assert {part.name for part in compared.differing} == set(changes)
    assert not compared.would_hit


@pytest.mark.parametrize(
    ("added", "typed", "real"),
    [
        ("temperature", "1", {"temperature": 1.0}),
        ("temperature", "0.2", {"temperature": 0.2}),
        ("seed", "3", {"seed": 3}),
        ("verbosity", "low", {"verbosity": "low"}),
    ],
)
def test_a_parameter_that_was_not_given_can_be_added(added: str, typed: str, real: dict[str, Any]) -> None:
    stored = entry(llm_string=chat())
    compared = compare_keys(stored, SAGAN, {added: typed})
    assert compared.asked_key == cache_key(stored.raw_prompt, chat(**real))
    (part,) = compared.differing
    assert (part.name, part.stored) == (added, None)


def test_parameters_are_added_in_the_order_of_their_names_wherever_they_belong() -> None:
    assert Parameters("[]").changed({"b": "1", "a": "x"}).llm_string == "[('a', 'x'), ('b', 1)]"
    assert Parameters("[('b', 1)]").changed({"a": "2"}).llm_string == "[('a', 2), ('b', 1)]"
    assert Parameters("[('b', 1)]").changed({"c": "2"}).llm_string == "[('b', 1), ('c', 2)]"


def test_an_entry_that_the_laboratory_stored_is_found_by_what_it_was_asked_with(tmp_path: Path) -> None:
    laboratory = Laboratory(quick_settings(tmp_path))
    cold = laboratory.answer(
        Request(prompt=SAGAN, strategy="sqlite", model_id=SIMULATED_MODEL, temperature=0.7)
    ).measurement
    warmer = laboratory.answer(
        Request(prompt=SAGAN, strategy="sqlite", model_id=SIMULATED_MODEL, temperature=0.9)
    ).measurement
    namespace = laboratory.namespace(SHARED_SCOPE, SIMULATED_MODEL)
    cache = laboratory.strategies.get("sqlite", namespace).cache
    assert isinstance(cache, CacheBackend)
    assert cold.key is not None
    stored = cache.get(cold.key)
    assert stored is not None
    assert stored_prompt(stored) == SAGAN
    assert named(stored.llm_string)["temperature"] == "0.7"
    same = compare_keys(stored, SAGAN, {})
    assert (same.would_hit, same.key_is_known, same.asked_key) == (True, True, cold.key)
    other = compare_keys(stored, SAGAN, {"temperature": "0.9"})
    assert (other.would_hit, other.asked_key) == (False, warmer.key)


# What would hit

NAMES = st.sampled_from(["_type", "model_name", "n", "seed", "stop", "temperature", "top_p", "user"])
OF_A_KIND: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(-(10**9), 10**9),
    float: st.floats(allow_nan=False, allow_infinity=False).map(lambda value: round(value, 3)),
    str: st.text(alphabet="abcXYZ019 é.,:()[]{}-", max_size=8),
}
VALUES = st.one_of(*OF_A_KIND.values())
PROMPTS = st.text(alphabet="aAé\u0301 \n'\"\\", max_size=8)


@given(PROMPTS, PROMPTS, st.dictionaries(NAMES, VALUES, min_size=1, max_size=5), st.data(), st.booleans())
def test_it_would_hit_if_and_only_if_prompt_and_parameters_are_equal(
    prompt: str, other_prompt: str, values: dict[str, Any], data: st.DataObject, is_chat: bool
) -> None:
    changed = {name: data.draw(st.one_of(st.just(value), OF_A_KIND[type(value)])) for name, value in values.items()}
    before, after = str(sorted(values.items())), str(sorted(changed.items()))
    stored = entry(message_prompt(prompt) if is_chat else prompt, before)
    asked = message_prompt(other_prompt) if is_chat else other_prompt
    compared = compare_keys(stored, other_prompt, {name: str(value) for name, value in changed.items()})
    assert compared.key_is_known
    assert compared.asked_key == cache_key(asked, after)
    assert compared.would_hit == ((prompt, before) == (other_prompt, after))
    assert compared.would_hit == (not compared.differing)


@pytest.mark.parametrize(
    ("typed", "is_alike"),
    [("0.7", True), ("0.70", True), (" 0.7 ", True), (".7", True), ("7e-1", True), ("0,7", True), ("0.2", False),
     ("1", False), ("none", False), ("", False)],
)  # fmt: skip
def test_a_number_is_the_same_however_it_is_typed(typed: str, is_alike: bool) -> None:
    assert compare_keys(entry(), SAGAN, {"temperature": typed}).would_hit == is_alike


@pytest.mark.parametrize(
    ("name", "typed", "written"),
    [
        ("temperature", "1", "1.0"),
        ("temperature", "None", "None"),
        ("temperature", "warm", "'warm'"),
        ("temperature", "nan", "'nan'"),
        ("temperature", "1e999", "'1e999'"),
        ("temperature", "9" * 5000, repr("9" * 5000)),
        ("model_name", "3", "'3'"),
        ("model_name", "None", "'None'"),
        ("model_name", "it's", '"it\'s"'),
        ("stop", "['a', \"b\"]", "['a', \"b\"]"),
        ("stop", "'a'", "'a'"),
        ("stop", "['a'", repr("['a'")),
        ("stop", "['a'], ('b', 1)", repr("['a'], ('b', 1)")),
        ("stop", "true", "True"),
        ("stop", "7", "7"),
    ],
)
def test_a_value_stays_what_it_is_and_nothing_else_changes(name: str, typed: str, written: str) -> None:
    before = Parameters(LLM_STRING)
    after = before.changed({name: typed})
    old = {"temperature": "0.7", "model_name": "'simulated'", "stop": "None"}[name]
    assert after.llm_string == LLM_STRING.replace(f"('{name}', {old})", f"('{name}', {written})")
    assert len(after.parts) == len(before.parts)


def test_a_prompt_of_several_messages_is_compared_as_langchain_passes_it() -> None:
    noted: list[str] = []

    class Noting(MemoryCache):
        def lookup(self, prompt: str, llm_string: str) -> Any:
            noted.append(prompt)
            raise KeyboardInterrupt

    model = ChatOpenAI(model="gpt-4o-mini", api_key="sk-none", cache=Noting())
    with pytest.raises(KeyboardInterrupt):
        model.invoke([SystemMessage("Be brief."), HumanMessage(SAGAN)])
    stored = entry(noted[0], chat())
    assert stored_prompt(stored) == noted[0]
    assert compare_keys(stored, noted[0], {}).would_hit
    compared = compare_keys(stored, noted[0].replace("brief", "long"), {})
    assert (compared.would_hit, compared.key_is_known) == (False, True)


# Secrets


def test_where_a_secret_was_taken_out_the_parts_are_compared_instead_of_the_keys() -> None:
    stored = entry(llm_string=chat(default_headers={"Authorization": "Bearer abcdefghijk"}, temperature=0.2))
    assert is_redacted(stored)
    assert "abcdefghijk" not in repr(key_parts(stored.llm_string))
    same = compare_keys(stored, SAGAN, {})
    assert (same.would_hit, same.key_is_known, same.asked_key) == (True, False, None)
    other = compare_keys(stored, SAGAN, {"temperature": "0.3"})
    assert (other.would_hit, other.key_is_known) == (False, False)


def test_a_key_that_the_texts_do_not_give_is_not_taken_for_theirs() -> None:
    stored = replace(entry(), key="0" * 64)
    assert not is_redacted(stored)
    assert not compare_keys(stored, SAGAN, {}).key_is_known


# Hostile text

HOSTILE = [
    "",
    "[",
    "]",
    "[]]",
    "[)",
    "{}---[]",
    "{}---",
    '{"kwargs": 1}---[]',
    '{"kwargs": {}}---[',
    '{"kwargs": {}}---[]x',
    '{"kwargs": {"a"}}---[]',
    '{"kwargs": {"a": }}---[]',
    "[('a', 1), 2]",
    "[('a',)]",
    "[('a', 1, 2)]",
    "[(a, 1)]",
    "[('a', 1)]; __import__('os').abort()",
    "[('a' 'b', 1)]",
    "[('a', 'unclosed)]",
    "[('" + "a" * 1000 + "', 1)]",
    "(" * 200_000,
    "[" * 100_000 + "]" * 100_000,
    '{"kwargs": ' * 20_000,
    "'\\'" * 50_000,
    "[" + ", ".join(f"('a{n}', {n})" for n in range(5000)) + "]",
    "[('a', 1)]" * 100_000,
    "\0\ud800\u202e",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_parameter_string_is_one_part(text: str) -> None:
    assert key_parts(text) == (KeyPart(WHOLE, text),)
    stored = entry("q", text)
    assert compare_keys(stored, "q", {}).would_hit
    assert compare_keys(stored, "q", {"temperature": "1"}).would_hit  # nowhere to put it
    assert not compare_keys(stored, "q", {WHOLE: text + "x"}).would_hit


@given(
    st.text(alphabet="[](){}'\"\\,: -ab1\n", max_size=60) | st.text(max_size=30),
    st.text(max_size=10),
    st.text(alphabet="[](){}'\"\\,: -ab1.e", max_size=20),
)
def test_no_text_raises(llm_string: str, prompt: str, typed: str) -> None:
    for text in (llm_string, f"[('a', {llm_string})]", f'{{"kwargs": {{"a": {llm_string}}}}}---[(\'b\', 1)]'):
        stored = entry(prompt, text)
        for part in key_parts(stored.llm_string):
            compared = compare_keys(stored, typed, {part.name: typed})
            assert compared.would_hit == (not compared.differing)


def test_only_so_many_characters_and_parameters_are_taken_apart() -> None:
    most = [(f"name{n}", n) for n in range(parameters.MOST_PARAMETERS)]
    assert len(key_parts(str(most))) == parameters.MOST_PARAMETERS
    assert len(key_parts(str([*most, ("z", 1)]))) == 1
    assert len(key_parts(str([("a", "x" * (parameters.LONGEST - 10)), ("b", 1)]))) == 1


def test_a_model_of_ones_own_is_named_too() -> None:
    noted: list[str] = []

    class Noting(MemoryCache):
        def lookup(self, prompt: str, llm_string: str) -> Any:
            noted.append(llm_string)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FakeListLLM(responses=["it's", 'a "test"'], cache=Noting()).invoke("q")
    assert named(noted[0])["responses"] == repr(["it's", 'a "test"'])


@pytest.mark.parametrize(
    "module", [characters, text_pieces, parameters, key_parts_module], ids=lambda each: each.__name__
)
def test_the_examples_in_the_text_are_true(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted
