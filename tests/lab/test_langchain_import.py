"""Answers out of the file of LangChain's `SQLiteCache`: equal to what LangChain gives, and nothing of a file is run."""

from __future__ import annotations

import importlib
import json
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from langchain_community.cache import SQLiteCache as LangChainsCache
from langchain_core.load import dumps
from langchain_core.load.load import ALL_SERIALIZABLE_MAPPINGS, Reviver
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk

from cache_backends import CacheBackend, MemoryCache, cache_key, open_cache
from lab import langchain_import
from lab.foreign import qualified, unqualified
from lab.intake import Importing, ImportResult
from lab.jobs import Job, Jobs
from lab.langchain_import import import_langchain
from lab.langchain_json import ALLOWED_PLACES
from tests.cache_backends.generations import json_answers, without_haste
from tests.lab.building import Clock
from tests.lab.transfers import LLM, SECRET, SECRETIVE, FailingCache, everything, store

pytestmark = pytest.mark.filterwarnings("ignore:The default value of `allowed_objects`")

CHAT_LLM = (
    '{"id": ["langchain", "chat_models", "openai", "ChatOpenAI"], "lc": 1, "model_name": "demo-1"}---[(\'stop\', None)]'
)
CREATE = (
    "create table full_llm_cache (prompt VARCHAR NOT NULL, llm VARCHAR NOT NULL, idx INTEGER NOT NULL, "
    "response VARCHAR, PRIMARY KEY (prompt, llm, idx))"
)
ANSWERS: dict[str, list[Generation]] = {
    "plain": [Generation(text="An astronomer.")],
    "plain with info": [Generation(text="x", generation_info={"finish_reason": "stop", "logprobs": None})],
    "several": [Generation(text="one"), ChatGeneration(message=AIMessage("two")), Generation(text="three")],
    "eleven": [Generation(text=f"number {number}") for number in range(11)],  # "10" comes before "2" as text
    "chat": [ChatGeneration(message=AIMessage("An astronomer.", id="run-1", name="sagan"), generation_info={"a": 1})],
    "tool calls": [
        ChatGeneration(
            message=AIMessage(
                "",
                tool_calls=[{"name": "look", "args": {"far": 1.5, "lc": 1}, "id": "1", "type": "tool_call"}],
                invalid_tool_calls=[
                    {"name": None, "args": "{", "id": None, "error": "cut", "type": "invalid_tool_call"}
                ],
                additional_kwargs={
                    "tool_calls": [
                        {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"far": 1.5}'}}
                    ]
                },
            )
        )
    ],
    "tool calls in additional_kwargs alone": [
        ChatGeneration.model_construct(
            text="",
            message=AIMessage.model_construct(
                content="",
                additional_kwargs={
                    "tool_calls": [
                        {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"far": 1.5}'}},
                        {"id": "2", "type": "function", "function": {"name": "look", "arguments": "{"}},
                    ]
                },
            ),
        )
    ],
    "usage": [
        ChatGeneration(
            message=AIMessage(
                "x",
                usage_metadata={
                    "input_tokens": 1,
                    "output_tokens": 2,
                    "total_tokens": 3,
                    "input_token_details": {"cache_read": 1},
                    "output_token_details": {"reasoning": 2},
                },
                response_metadata={"token_usage": {"total_tokens": 3}, "model_name": "demo-1", "logprobs": None},
            )
        )
    ],
    "content blocks": [
        ChatGeneration(
            message=AIMessage(
                [
                    "text",
                    {"type": "text", "text": "more", "annotations": []},
                    {"type": "image_url", "image_url": {"url": "data:,"}},
                    {"type": "reasoning", "summary": [{"text": "why"}]},
                    {"text": "of no type"},
                ]
            )
        )
    ],
    "odd Unicode": [
        Generation(text="naïve\u0301 🪐 \0 \u202e \u2028 \\u0000 \x7f \ufeff"),
        ChatGeneration(message=AIMessage("\0🪐\U0010ffff", additional_kwargs={"é\0": "\u2028"})),
    ],
    "looks like something to be made": [
        ChatGeneration(
            message=AIMessage(
                "x",
                response_metadata={
                    "a": {"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]},
                    "b": [{"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {}}],
                    "c": {"__lc_escaped__": {"lc": 1}},
                    "d": {"lc": 2},
                },
                additional_kwargs={"lc": 1, "type": "not_implemented", "id": ["x"]},
            ),
            generation_info={"lc": 1},
        )
    ],
    "numbers": [Generation(text="x", generation_info={"a": 2**63, "b": -(2**63), "c": 1e-300, "d": 0.1, "e": True})],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "langchain #1 100%.db"


@pytest.fixture
def theirs(path: Path) -> Iterator[LangChainsCache]:
    """LangChain's own cache on the file."""
    made = LangChainsCache(str(path))
    yield made
    made.engine.dispose()


@pytest.fixture
def ours() -> MemoryCache:
    return MemoryCache()


@pytest.fixture
def rows(path: Path) -> Callable[..., Path]:
    """Makes the file with LangChain's table and these rows, whatever is in them."""

    def make(*rows: Sequence[Any], create: str = CREATE) -> Path:
        connection = sqlite3.connect(path)
        connection.executescript(create)
        connection.executemany("insert into full_llm_cache values (?, ?, ?, ?)", rows)
        connection.commit()
        connection.close()
        return path

    return make


def told(result: ImportResult) -> list[tuple[int, str]]:
    return [(mistake.number, mistake.sentence) for mistake in result.mistakes]


def only_mistake(result: ImportResult) -> str:
    """The sentence of the one row that did not go in, beside one that did."""
    assert result.error is None
    assert result.mistakes_in_all == 1
    (mistake,) = result.mistakes
    assert mistake.number == 1
    assert len(mistake.sentence) < 400
    return mistake.sentence


GOOD = dumps(Generation(text="good"))


# What LangChain has stored


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/ours.db", "json:///{}/ours"])
def test_every_answer_is_a_hit_equal_to_what_langchain_gives(
    theirs: LangChainsCache, path: Path, tmp_path: Path, url: str
) -> None:
    for llm_string in (LLM, CHAT_LLM):
        for prompt, generations in ANSWERS.items():
            theirs.update(prompt, llm_string, generations)
    with open_cache(url.format(tmp_path)) as ours:
        result = import_langchain(path, ours)
        assert (result.imported, result.mistakes, result.error) == (2 * len(ANSWERS), (), None)
        for llm_string in (LLM, CHAT_LLM):
            for prompt in ANSWERS:
                found = theirs.lookup(prompt, llm_string)
                assert found is not None
                with ours.observe() as lookups:
                    assert ours.lookup(prompt, llm_string) == found
                assert [lookup.outcome for lookup in lookups] == ["hit"]


@without_haste
@given(json_answers)
def test_any_answer_is_equal_to_what_langchain_gives_or_is_told(
    tmp_path_factory: pytest.TempPathFactory, generations: list[Generation]
) -> None:
    path = tmp_path_factory.mktemp("any") / "langchain.db"
    theirs = LangChainsCache(str(path))
    theirs.update("q", LLM, generations)
    found = theirs.lookup("q", LLM)
    theirs.engine.dispose()
    ours = MemoryCache(store_truncated=True)
    result = import_langchain(path, ours)
    if result.mistakes:
        ((_, sentence),) = told(result)
        assert sentence == "the answer can't be kept: the answer is empty."
    else:
        assert ours.lookup("q", LLM) == found


def test_the_file_is_read_only_and_nothing_is_left_beside_it(
    theirs: LangChainsCache, ours: MemoryCache, path: Path
) -> None:
    theirs.update("q", LLM, ANSWERS["plain"])
    theirs.engine.dispose()
    path.chmod(0o400)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert import_langchain(path, ours).imported == 1
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert list(path.parent.iterdir()) == [path]


def test_a_file_with_a_write_ahead_log_is_read(rows: Callable[..., Path], ours: MemoryCache) -> None:
    path = rows(("q", LLM, 0, GOOD), create=f"pragma journal_mode = wal; {CREATE}")
    assert import_langchain(path, ours).imported == 1
    assert list(path.parent.iterdir()) == [path]


def test_an_answer_is_as_if_stored_now(theirs: LangChainsCache, path: Path, clock: Clock) -> None:
    ours = MemoryCache(ttl=60, clock=clock)
    theirs.update("q", LLM, ANSWERS["usage"])
    import_langchain(path, ours)
    (entry,) = everything(ours).values()
    assert (entry.key, entry.raw_prompt, entry.llm_string, entry.model) == (cache_key("q", LLM), "q", LLM, "demo-1")
    assert (entry.created_at, entry.last_used_at, entry.expires_at) == (clock.now, clock.now, None)
    assert (entry.hits, entry.pinned, entry.model_time_s) == (0, False, None)


def test_secrets_in_parameters_are_taken_out_and_the_key_stays(
    theirs: LangChainsCache, ours: MemoryCache, path: Path
) -> None:
    theirs.update("q", SECRETIVE, ANSWERS["plain"])
    assert import_langchain(path, ours).unverified == 0
    assert ours.lookup("q", SECRETIVE) == ANSWERS["plain"]
    assert SECRET not in repr(everything(ours))


def test_what_is_there_stays_unless_it_is_to_be_replaced(
    theirs: LangChainsCache, ours: MemoryCache, path: Path
) -> None:
    theirs.update("q", LLM, ANSWERS["plain"])
    theirs.update("p", LLM, ANSWERS["plain"])
    key = store(ours, "q", "newer answer")
    result = import_langchain(path, ours)
    assert (result.imported, result.already_there) == (1, 1)
    assert everything(ours)[key].text == "newer answer"
    result = import_langchain(path, ours, overwrite=True)
    assert (result.imported, result.replaced, result.already_there) == (2, 2, 0)
    assert everything(ours)[key].text == "An astronomer."


# Namespaces


def test_the_namespace_that_the_laboratory_put_before_the_parameters_is_taken_away(
    theirs: LangChainsCache, ours: MemoryCache, path: Path
) -> None:
    theirs.update("q", qualified("shared:simulated", CHAT_LLM), ANSWERS["plain"])
    theirs.update("p", qualified("shared:simulated", LLM), ANSWERS["plain"])
    assert import_langchain(path, ours).imported == 2
    assert ours.lookup("q", CHAT_LLM) == ours.lookup("p", LLM) == ANSWERS["plain"]


def test_answers_of_other_namespaces_are_skipped_where_one_is_named(
    theirs: LangChainsCache, ours: MemoryCache, path: Path
) -> None:
    theirs.update("mine", qualified("a", LLM), ANSWERS["several"])
    theirs.update("mine of odd parameters", qualified("a", "model"), ANSWERS["plain"])
    theirs.update("other's", qualified("b", LLM), ANSWERS["several"])
    theirs.update("longer's", qualified("a b", LLM), ANSWERS["several"])
    theirs.update("nobody's", LLM, ANSWERS["several"])
    result = import_langchain(path, ours, namespace="a")
    assert (result.imported, result.skipped, result.mistakes) == (3, 2, ())
    assert {entry.raw_prompt for entry in everything(ours).values()} == {"mine", "mine of odd parameters", "nobody's"}
    assert ours.lookup("mine", LLM) == ANSWERS["several"]
    assert ours.lookup("mine of odd parameters", "model") == ANSWERS["plain"]


def test_nothing_is_told_of_answers_of_other_namespaces(rows: Callable[..., Path], ours: MemoryCache) -> None:
    path = rows(
        ("q", qualified("b", LLM), 0, '"their secret"'), ("r", qualified("b", LLM), 0, None), ("s", LLM, 0, GOOD)
    )
    result = import_langchain(path, ours, namespace="a")
    assert (result.imported, result.skipped, result.mistakes_in_all) == (1, 2, 0)


@pytest.mark.parametrize("llm_string", [LLM, CHAT_LLM, "model", "", "two\nlines", "[1\n[2", "{\n{", "\n"])
def test_parameters_without_a_namespace_stay_as_they_are(llm_string: str) -> None:
    assert unqualified(llm_string) == (None, llm_string)


@pytest.mark.parametrize("namespace", ["shared:simulated", "a", "", "a b: é"])
def test_a_namespace_is_found_again(namespace: str) -> None:
    assert unqualified(qualified(namespace, LLM)) == (namespace, LLM)
    assert unqualified(qualified(namespace, CHAT_LLM)) == (namespace, CHAT_LLM)


# Older formats


def as_json(generation: Generation, *place: str, **kwargs: Any) -> str:
    """What `dumps` gives, with the class named in another way."""
    made = json.loads(dumps(generation))
    made["id"] = place or made["id"]
    made["kwargs"] |= kwargs
    return json.dumps(made)


def test_all_names_that_langchain_knows_are_known_and_no_others() -> None:
    classes = {"Generation", "GenerationChunk", "ChatGeneration", "ChatGenerationChunk", "AIMessage", "AIMessageChunk"}
    known = {
        place
        for old, new in ALL_SERIALIZABLE_MAPPINGS.items()
        if new[0] == "langchain_core" and new[-1] in classes
        for place in (old, new)
    }
    assert known == ALLOWED_PLACES


def test_answers_are_read_by_the_names_that_classes_had(
    rows: Callable[..., Path], ours: MemoryCache, theirs: LangChainsCache
) -> None:
    message = AIMessage("x", id="run-1")
    plain, chat = Generation(text="x"), ChatGeneration(message=message)
    responses = [as_json(plain, "langchain_core", "outputs", "generation", "Generation")]
    for place in sorted(place for place in ALLOWED_PLACES if place[-1] == "AIMessage"):
        made = json.loads(dumps(message)) | {"id": place}
        responses.append(as_json(chat, message=made))
        responses.append(as_json(chat, "langchain_core", "outputs", "chat_generation", "ChatGeneration", message=made))
    result = import_langchain(
        rows(*((f"q{n}", LLM, 0, response) for n, response in enumerate(responses)), create=""), ours
    )
    assert (result.imported, result.mistakes) == (9, ())
    for number in range(9):
        assert ours.lookup(f"q{number}", LLM) == theirs.lookup(f"q{number}", LLM)


def test_a_message_of_an_old_version_is_read(
    rows: Callable[..., Path], ours: MemoryCache, theirs: LangChainsCache
) -> None:
    message = {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", "AIMessage"],
        "kwargs": {"content": "x", "additional_kwargs": {}, "example": False},
    }
    response = as_json(ChatGeneration(message=AIMessage("x")), message=message, generation_info=None)
    assert import_langchain(rows(("q", LLM, 0, response), create=""), ours).mistakes == ()
    assert ours.lookup("q", LLM) == theirs.lookup("q", LLM) is not None


@pytest.mark.parametrize(
    "text", ["An astronomer.", "[Laughs] No.", "{braces} are text", 'He said: "no"', "null and void"]
)
def test_the_text_of_an_answer_that_the_first_versions_stored_is_read(
    rows: Callable[..., Path], ours: MemoryCache, theirs: LangChainsCache, text: str
) -> None:
    assert import_langchain(rows(("q", LLM, 0, text), ("q", LLM, 1, "two"), create=""), ours).mistakes == ()
    assert ours.lookup("q", LLM) == theirs.lookup("q", LLM) == [Generation(text=text), Generation(text="two")]


def test_pieces_of_a_stream_become_what_they_stand_for(theirs: LangChainsCache, ours: MemoryCache, path: Path) -> None:
    chunk = AIMessageChunk(
        "x",
        id="run-1",
        tool_call_chunks=[{"name": "look", "args": '{"far": 1}', "id": "1", "index": 0, "type": "tool_call_chunk"}],
        chunk_position="last",
    )
    theirs.update(
        "q", LLM, [ChatGenerationChunk(message=chunk), GenerationChunk(text="y"), ChatGeneration(message=chunk)]
    )
    assert import_langchain(path, ours).mistakes == ()
    calls = [{"name": "look", "args": {"far": 1}, "id": "1", "type": "tool_call"}]
    whole = ChatGeneration(message=AIMessage("x", id="run-1", tool_calls=calls))  # type: ignore[arg-type]
    assert ours.lookup("q", LLM) == [whole, Generation(text="y"), whole]


# What anybody may have written into a file


def made_of(kind: str, kwargs: Any, place: Sequence[str] = ("langchain", "schema", "output")) -> str:
    return json.dumps({"lc": 1, "type": "constructor", "id": [*place, kind], "kwargs": kwargs})


def chat_of(kwargs: Any, kind: str = "AIMessage") -> str:
    message = json.loads(made_of(kind, kwargs, ("langchain", "schema", "messages")))
    return made_of("ChatGeneration", {"message": message})


TO_BE_MADE = {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "document", "Document"], "kwargs": {}}
DEEP: Any = "x"
for _ in range(250):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (
            made_of("PromptTemplate", {}, ("langchain", "prompts", "prompt")),
            "'langchain.prompts.prompt.PromptTemplate'",
        ),
        (made_of("ChatOpenAI", {"base_url": "http://evil"}, ("langchain", "chat_models", "openai")), "may not be made"),
        (made_of("system", {}, ("os",)), "'os.system' may not be made; allowed are Generation and GenerationChunk and"),
        (made_of("Generation", {"text": "x"}, ("langchain",)), "'langchain.Generation' may not be made"),
        (made_of("AIMessage", {"content": "x"}, ("langchain", "schema", "messages")), "may not be made"),
        (made_of("Generation", []), "the fields of a Generation are a list; an object is allowed."),
        (made_of("Generation", {}), "no Generation can be made of its fields: text: Field required."),
        (made_of("Generation", {"text": 5}), "no Generation can be made of its fields: text:"),
        (
            made_of("Generation", {"text": "x", "evil": 1}),
            "Generation has a field 'evil'; allowed are text, generation_",
        ),
        (
            made_of("Generation", {"text": "x", "type": "x"}),
            "the type of a Generation is 'x'; 'Generation' is allowed.",
        ),
        (made_of("Generation", {"text": TO_BE_MADE}), "an answer holds something to be made ('constructor')"),
        (made_of("Generation", {"text": "x", "generation_info": {"a": [TO_BE_MADE]}}), "something to be made"),
        (made_of("Generation", {"text": "x", "generation_info": {"a": DEEP}}), "lie more than 200 deep"),
        (made_of("ChatGeneration", {"text": "x"}), "in place of a generation or message stands null; allowed are AIM"),
        (made_of("ChatGeneration", {"message": {"content": "x"}}), "in place of a generation or message stands an obj"),
        (chat_of({"content": "x"}, "HumanMessage"), "'langchain.schema.messages.HumanMessage' may not be made"),
        (
            dumps(ChatGeneration(message=HumanMessage("x"))),
            "HumanMessage' may not be made; allowed are AIMessage and AI",
        ),
        (chat_of({}), "no AIMessage can be made of its fields: content.str: Input should be a valid string."),
        (chat_of({"content": 5}), "no AIMessage can be made of its fields: content"),
        (chat_of({"content": "x", "evil": 1}), "AIMessage has a field 'evil'"),
        (chat_of({"content": "x", "type": "human"}), "the type of a AIMessage is 'human'; 'ai' is allowed."),
        (chat_of({"content": "x", "additional_kwargs": TO_BE_MADE}), "an answer holds something to be made"),
        (chat_of({"content": "x", "additional_kwargs": []}), "no AIMessage can be made of its fields: AttributeError"),
        (chat_of({"content": "x", "tool_calls": [1]}), "no AIMessage can be made of its fields: AttributeError"),
        (chat_of({"content": "x", "tool_calls": [{"name": "a"}]}), "no AIMessage can be made of its fields: TypeError"),
        (chat_of({"content": "x", "usage_metadata": {"total_cost": 0}}), "usage_metadata.input_tokens: Field required"),
        (chat_of({"content": [{"a": TO_BE_MADE | {"type": "secret"}}]}), "something to be made ('secret')"),
        (chat_of({"content": [{"a": TO_BE_MADE | {"type": "not_implemented"}}]}), "made ('not_implemented')"),
        ('{"lc": 1, "type": "constructor", "id": 5}', "the name of a class is 5"),
        ('{"lc": 1, "type": "constructor", "id": [5]}', "the name of a class is a list"),
        (
            '{"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]}',
            "in place of a generation or message stands an object",
        ),
        ('{"text": "x", "generation_info": null}', "in place of a generation or message stands an object"),
        ("42", "in place of a generation or message stands 42"),
        ('"text"', "in place of a generation or message stands 'text'"),
        ("null", "in place of a generation or message stands null"),
        ("NaN", "NaN is no number of JSON"),
        (GOOD[:-5], "not JSON at character"),
        (GOOD.replace('"good"', '"a", "text": "b"'), "'text' is more than once in one object"),
        (GOOD.replace('"good"', '"\\ud800"'), "the answer can't be kept: the answer holds what JSON can't keep"),
        (made_of("Generation", {"text": "x", "generation_info": {"a": 2**64}}), "has more than 64 bits"),
        ("[" * 100_000, "too deep"),
        ("", "the answer can't be kept: the answer is empty."),
        (made_of("Generation", {"text": " "}), "the answer can't be kept: the answer is empty."),
        (made_of("Generation", {"text": "x", "generation_info": {"finish_reason": "length"}}), "was cut off"),
        (b"bytes", "response is not text, or has more than 67108864 bytes."),
        (5.5, "response is not text"),
        (None, "response is not text"),
    ],
    ids=range(47),
)
def test_what_is_no_answer_is_told_and_the_rest_goes_in(
    rows: Callable[..., Path], ours: MemoryCache, response: Any, said: str
) -> None:
    create = CREATE.replace("response VARCHAR", "response")
    result = import_langchain(rows(("q", LLM, 0, response), ("r", LLM, 0, GOOD), create=create), ours)
    assert said in only_mistake(result)
    assert result.imported == 1
    assert ours.lookup("q", LLM) is None
    assert ours.lookup("r", LLM) == [Generation(text="good")]


def test_nothing_is_imported_that_a_file_names(rows: Callable[..., Path], ours: MemoryCache, monkeypatch: Any) -> None:
    def forbidden(*args: Any, **options: Any) -> Any:
        raise AssertionError("something was looked up by its name")

    path = rows(
        ("q", LLM, 0, made_of("system", {}, ("os",))), ("r", LLM, 0, GOOD), ("s", LLM, 0, dumps(ANSWERS["usage"][0]))
    )
    monkeypatch.setattr(importlib, "import_module", forbidden)
    monkeypatch.setattr(Reviver, "__call__", forbidden)
    result = import_langchain(path, ours)
    assert (result.imported, result.mistakes_in_all) == (2, 1)


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_an_answer_of_which_one_generation_is_wrong_does_not_go_in_at_all(
    rows: Callable[..., Path], ours: MemoryCache, wrong: int
) -> None:
    result = import_langchain(
        rows(*(("q", LLM, idx, "null" if idx == wrong else GOOD) for idx in range(3)), ("r", LLM, 0, GOOD)), ours
    )
    assert [number for number, _ in told(result)] == [wrong + 1]
    assert result.imported == 1
    assert ours.lookup("q", LLM) is None


@pytest.mark.parametrize("responses", [("text", GOOD), (GOOD, "text"), (GOOD, GOOD, "text")])
def test_an_answer_of_json_and_text_does_not_go_in(
    rows: Callable[..., Path], ours: MemoryCache, responses: Sequence[str]
) -> None:
    path = rows(*(("q", LLM, idx, response) for idx, response in enumerate(responses)))
    ((_, sentence),) = told(import_langchain(path, ours))
    assert sentence == "some generations of this answer are JSON and others are text."


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((b"q", LLM, 0, GOOD), "prompt is not text, or has more than 67108864 bytes."),
        ((5, LLM, 0, GOOD), "prompt is not text"),
        ((None, LLM, 0, GOOD), "prompt is not text"),
        (("q", None, 0, GOOD), "llm is not text"),
        (("q", b"llm", 0, GOOD), "llm is not text"),
        (("q", LLM, "first", GOOD), "idx is not a whole number."),
        (("q", LLM, 1.5, GOOD), "idx is not a whole number."),
        (("q", LLM, None, GOOD), "idx is not a whole number."),
    ],
)
def test_a_row_of_wrong_types_is_told(
    rows: Callable[..., Path], ours: MemoryCache, row: Sequence[Any], said: str
) -> None:
    create = "create table full_llm_cache (prompt, llm, idx, response)"
    result = import_langchain(rows(row, ("r", LLM, 0, GOOD), create=create), ours)
    assert said in only_mistake(result)
    assert result.imported == 1


@pytest.mark.parametrize("column", ["prompt", "llm", "response"])
def test_text_that_is_not_utf8_is_told(rows: Callable[..., Path], ours: MemoryCache, column: str) -> None:
    path = rows(("q", LLM, 0, GOOD), ("r", LLM, 0, GOOD))
    with sqlite3.connect(path) as connection:
        connection.execute(f"update full_llm_cache set {column} = cast(x'ff41' as text) where prompt = 'q'")
    connection.close()
    result = import_langchain(path, ours)
    assert only_mistake(result) == "prompt, llm or response holds bytes that are not UTF-8."
    assert result.imported == 1


@pytest.mark.parametrize("column", [0, 1, 3])
def test_a_value_that_is_too_long_is_told_and_the_rest_goes_in(
    rows: Callable[..., Path], ours: MemoryCache, monkeypatch: pytest.MonkeyPatch, column: int
) -> None:
    monkeypatch.setattr(langchain_import, "MAX_VALUE_BYTES", 100_000)
    row: list[Any] = ["q", LLM, 0, "x"]
    row[column] = "x" * 5_000_000  # more than SQLite itself is allowed to take
    result = import_langchain(rows(row, ("r", LLM, 0, "x" * 100_000), ("s", LLM, 0, GOOD)), ours)
    assert "is not text, or has more than 100000 bytes." in only_mistake(result)
    assert result.imported == 2


def test_an_answer_of_too_many_generations_is_told(
    rows: Callable[..., Path], ours: MemoryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(langchain_import, "MOST_GENERATIONS", 3)
    path = rows(*(("q", LLM, idx, GOOD) for idx in range(9)), *(("r", LLM, idx, GOOD) for idx in range(3)))
    result = import_langchain(path, ours)
    ((number, sentence),) = told(result)
    assert number == 4
    assert sentence.startswith("the answer has more than 3 generations or")
    assert result.imported == 1


def test_an_answer_of_too_many_bytes_is_told(
    rows: Callable[..., Path], ours: MemoryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(langchain_import, "MAX_VALUE_BYTES", 1000)
    result = import_langchain(rows(*(("q", LLM, idx, "x" * 600) for idx in range(2)), ("r", LLM, 0, GOOD)), ours)
    assert [number for number, _ in told(result)] == [2]
    assert result.imported == 1


def test_rows_of_one_answer_need_not_lie_together(rows: Callable[..., Path], ours: MemoryCache) -> None:
    mixed = [("q", 2), ("Q", 0), ("r", 1), ("q", 0), ("r", 0), ("Q", 1), ("q", 1)]
    for create in (CREATE, "create table full_llm_cache (prompt text collate nocase, llm, idx, response)"):
        made = rows(*((prompt, LLM, idx, f"{prompt}{idx}") for prompt, idx in mixed), create=create)
        ours.clear()
        assert import_langchain(made, ours).imported == 3
        for prompt, count in (("q", 3), ("Q", 2), ("r", 2)):
            assert ours.lookup(prompt, LLM) == [Generation(text=f"{prompt}{idx}") for idx in range(count)]
        made.unlink()


WRONG_TABLES = {
    "nothing": "",
    "other table": "create table other (prompt, llm, idx, response)",
    "view": "create table t (prompt, llm, idx, response); create view full_llm_cache as select * from t",
    "endless view": (
        "create view full_llm_cache as with recursive c(n) as (select 1 union all select n + 1 from c) "
        "select n as prompt, n as llm, n as idx, n as response from c"
    ),
    "virtual": "create virtual table full_llm_cache using fts5(prompt, llm, idx, response)",
    "generated": "create table full_llm_cache (prompt, llm, idx, response as (zeroblob(1000000000)))",
    "stored": "create table full_llm_cache (prompt, llm, idx, response as (hex(prompt)) stored)",
    "without rowid": f"{CREATE} without rowid",
    "fewer columns": "create table full_llm_cache (prompt, llm, response)",
    "more columns": "create table full_llm_cache (prompt, llm, idx, response, rowid)",
    "other order": "create table full_llm_cache (llm, prompt, idx, response)",
    "md5 cache": "create table full_md5_llm_cache (id, prompt_md5, prompt, llm, idx, response)",
}


@pytest.mark.parametrize("create", WRONG_TABLES.values(), ids=WRONG_TABLES)
def test_a_database_without_langchains_table_is_refused(path: Path, ours: MemoryCache, create: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(f"{create}; create table if not exists something (x)")
    connection.close()
    result = import_langchain(path, ours)
    assert result.error in (
        "The database has no table full_llm_cache, and so is not one of LangChain's cache.",
        "full_llm_cache is not the table full_llm_cache(prompt, llm, idx, response) of LangChain's cache.",
    )
    assert result.imported == 0


def test_triggers_and_other_tables_do_no_harm(rows: Callable[..., Path], ours: MemoryCache) -> None:
    path = rows(("q", LLM, 0, GOOD))
    connection = sqlite3.connect(path)
    connection.executescript(
        "create trigger t after insert on full_llm_cache begin delete from full_llm_cache; end; "
        "create view v as select load_extension('evil'); create index i on full_llm_cache (length(response));"
        "create table other (full_llm_cache); analyze"
    )
    connection.close()
    assert import_langchain(path, ours).imported == 1


@pytest.mark.parametrize(
    "content",
    [
        b"hello " * 1000,
        b"SQLite format 3\0" + b"\xff" * 4000,
        b"PK\x03\x04" + b"\0" * 4000,
    ],
)
def test_a_file_that_is_no_database_is_refused(path: Path, ours: MemoryCache, content: bytes) -> None:
    path.write_bytes(content)
    assert import_langchain(path, ours).error == (
        "The file is not a SQLite database, and so not one of LangChain's cache."
    )


def test_an_empty_file_or_none_or_a_folder_is_refused(path: Path, ours: MemoryCache) -> None:
    assert import_langchain(path, ours).error == "There is no such file."
    assert import_langchain(path.parent, ours).error == "There is no such file."
    assert list(path.parent.iterdir()) == []
    path.touch()
    assert import_langchain(path, ours).error == (
        "The database has no table full_llm_cache, and so is not one of LangChain's cache."
    )


def test_a_database_in_utf16_is_refused(rows: Callable[..., Path], ours: MemoryCache) -> None:
    result = import_langchain(rows(("q", LLM, 0, GOOD), create=f"pragma encoding = 'UTF-16'; {CREATE}"), ours)
    assert result.error == "The texts of the database are not in UTF-8, as those of LangChain's cache are."


def test_a_schema_that_sqlite_can_not_read_is_refused_with_a_sentence(
    rows: Callable[..., Path], ours: MemoryCache
) -> None:
    path = rows(("q", LLM, 0, GOOD))
    connection = sqlite3.connect(path)
    connection.executescript(
        "pragma writable_schema = on; insert into sqlite_schema values ('table', 'x', 'x', 99, 'no')"
    )
    connection.close()
    error = import_langchain(path, ours).error
    assert error is not None
    assert error.startswith("The file can't be read: ")


@pytest.mark.parametrize("seed", range(150))
def test_a_damaged_file_ends_with_a_result(tmp_path: Path, ours: MemoryCache, seed: int) -> None:
    path = tmp_path / "langchain.db"
    connection = sqlite3.connect(path)
    connection.execute(CREATE)
    for number in range(40):
        connection.execute(
            "insert into full_llm_cache values (?, ?, 0, ?)", (f"q{number}", LLM, GOOD.replace("good", "x" * 300))
        )
    connection.commit()
    connection.close()
    chance = random.Random(seed)
    content = bytearray(path.read_bytes())
    if seed % 3 == 0:
        del content[chance.randrange(100, len(content)) :]
    for _ in range(chance.choice([1, 3, 50, 1000])):
        content[chance.randrange(16 if seed % 2 else 100, len(content))] = chance.randrange(256)
    path.write_bytes(content)
    result = import_langchain(path, ours)
    assert result.imported == len(everything(ours))
    assert path.read_bytes() == content


# Jobs


def test_a_store_that_fails_ends_it_and_what_went_in_is_counted(rows: Callable[..., Path]) -> None:
    result = import_langchain(rows(*((f"q{number}", LLM, 0, GOOD) for number in range(5))), FailingCache(2))
    assert result.imported == 2
    assert result.error is not None
    assert "hunter2secret" not in result.error


def test_progress_is_shown_and_a_job_can_be_stopped(
    rows: Callable[..., Path], ours: MemoryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(langchain_import, "ROWS_A_STEP", 10)
    path = rows(*((f"q{number:02}", LLM, 0, GOOD) for number in range(25)))
    shown: list[Importing] = []
    import_langchain(path, ours, show=shown.append)
    assert shown == [Importing(10, 9), Importing(20, 19), Importing(25, 25)]

    def work(job: Job[Importing, ImportResult]) -> ImportResult:
        def show(step: Importing) -> None:
            job.show(step)
            job.stop()

        return import_langchain(path, MemoryCache(), show=show, stopping=lambda: job.stopping)

    job = Jobs().start(work)
    assert job.wait(30)
    assert job.result is not None
    assert (job.result.imported, job.result.stopped, job.result.error) == (9, True, None)


def test_a_long_search_of_sqlite_is_stopped_in_its_middle(
    rows: Callable[..., Path], ours: MemoryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(langchain_import, "STEPS_BETWEEN_LOOKS", 50)
    create = "create table full_llm_cache (prompt, llm, idx, response)"  # without an order: all is sorted first
    path = rows(*((f"q{number}", LLM, 0, GOOD) for number in range(1000)), create=create)
    asked: list[None] = []

    def stopping() -> bool:
        asked.append(None)
        return len(asked) > 20

    result = import_langchain(path, ours, stopping=stopping)
    assert (result.imported, result.stopped, result.error) == (0, True, None)


def test_rows_are_read_in_the_order_of_the_index_and_never_all_at_once(rows: Callable[..., Path]) -> None:
    connection = apsw.Connection(str(rows()))
    plan = connection.execute(f"explain query plan {langchain_import._ROWS}", (1,)).fetchall()
    connection.close()
    assert [step[-1] for step in plan] == ["SCAN main.full_llm_cache USING INDEX sqlite_autoindex_full_llm_cache_1"]


def test_every_backend_takes_them(rows: Callable[..., Path], tmp_path: Path) -> None:
    path = rows(*((f"q{number}", LLM, 0, GOOD) for number in range(30)))
    caches: list[CacheBackend] = [
        MemoryCache(),
        open_cache(f"sqlite:///{tmp_path}/c.db"),
        open_cache(f"json:///{tmp_path}/c"),
    ]
    for cache in caches:
        with cache:
            assert import_langchain(path, cache).imported == 30
            assert cache.stats().entries == 30
