"""One entry as one line of JSON, and back: faithful for what a cache wrote, strict with what anybody wrote."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from cache_backends import CacheBackend, CacheEntry, MemoryCache, SQLiteCache, cache_key, open_cache
from cache_backends.errors import NotCacheableError
from lab.transfer_format import LineRefusedError, entry_of, line_of
from tests.cache_backends.generations import json_answers, unicode_text, without_haste

LLM = "[('_type', 'demo'), ('model_name', 'demo-1'), ('temperature', 0.7)]"
SECRET = "sk-abcdefghijklmnopqrstuvwx"


def entry(prompt: str = "Who was Carl Sagan?", llm_string: str = LLM, **changes: Any) -> CacheEntry:
    """An entry with something in every field."""
    cache = MemoryCache(ttl=1000, clock=lambda: 1_750_000_000.123456)
    message = AIMessage(
        ["naïve 🪐", {"type": "text", "text": "\0"}],
        tool_calls=[{"name": "look", "args": {"far": 1.5}, "id": "1", "type": "tool_call"}],
        invalid_tool_calls=[{"name": None, "args": "{", "id": "2", "error": "e", "type": "invalid_tool_call"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "output_token_details": {"audio": 1}},
    )
    cache.lookup(prompt, llm_string)
    cache.update(prompt, llm_string, [ChatGeneration(message=message), Generation(text="plain\u2028")])
    cache.lookup(prompt, llm_string)
    cache.pin(cache_key(prompt, llm_string))
    made = cache.get(cache_key(prompt, llm_string))
    assert made is not None
    return replace(made, **changes)


def there(kept: CacheEntry | None) -> CacheEntry:
    """An entry without what depends on where it is kept."""
    assert kept is not None
    return replace(kept, namespace="", location="")


def line(**changes: Any) -> bytes:
    """A line with some fields changed; `...` leaves a field out."""
    fields = json.loads(line_of(entry())) | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode() + b"\n"


def mistake(line: bytes) -> str:
    """The sentence by which a line is refused."""
    with pytest.raises(LineRefusedError) as raised:
        entry_of(line)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400
    return str(raised.value)


# What a cache wrote


def test_an_entry_is_one_line_of_readable_json() -> None:
    made = line_of(entry())
    assert made.endswith(b"\n")
    assert made.count(b"\n") == 1
    assert list(json.loads(made)) == [
        "format", "key", "raw_prompt", "llm_string", "model", "created_at", "expires_at", "last_used_at", "hits",
        "pinned", "model_time_s", "generations",
    ]  # fmt: skip
    assert json.loads(made)["raw_prompt"] == "Who was Carl Sagan?"


def test_a_line_gives_the_entry_again() -> None:
    read = entry_of(line_of(entry()))
    assert read.entry == there(entry(model_time_s=read.entry.model_time_s))
    assert read.is_verified


@without_haste
@given(
    answers=json_answers,
    prompt=unicode_text,
    llm_string=unicode_text,
    pinned=st.booleans(),
    hits=st.integers(0, 10**11 - 1),
    times=st.tuples(*[st.floats(0, 2.0**33)] * 2, *[st.none() | st.floats(0, 2.0**33)] * 2),
    model=st.none() | unicode_text.filter(lambda text: 0 < len(text) <= 200),
)
def test_an_entry_goes_through_a_line_into_another_cache_as_it_was(
    answers: list[Generation],
    prompt: str,
    llm_string: str,
    pinned: bool,
    hits: int,
    times: tuple[float, float, float | None, float | None],
    model: str | None,
) -> None:
    source, target = MemoryCache(), MemoryCache()
    created_at, last_used_at, expires_at, model_time_s = times
    try:
        source.restore(
            entry(
                key=cache_key(prompt, llm_string),
                raw_prompt=prompt,
                llm_string=llm_string,
                generations=answers,
                created_at=created_at,
                last_used_at=last_used_at,
                expires_at=expires_at,
                model_time_s=model_time_s,
                hits=hits,
                pinned=pinned,
                model=model,
            )
        )
    except NotCacheableError:
        return
    kept = there(source.get(cache_key(prompt, llm_string)))
    read = entry_of(line_of(kept)).entry
    assert read == kept
    target.restore(read)
    assert there(target.get(kept.key)) == kept
    if not kept.is_expired(target.clock()):
        assert target.lookup(prompt, llm_string) == answers


def test_a_lookup_finds_the_answer_in_the_other_cache(tmp_path: Any) -> None:
    kept = entry()
    for other in (MemoryCache(), SQLiteCache(tmp_path / "c.db"), open_cache(f"json:///{tmp_path}/files")):
        with other:
            other.restore(entry_of(line_of(kept)).entry)
            assert other.lookup("Who was Carl Sagan?", LLM) == kept.generations


# The key


def test_a_key_of_another_request_is_refused() -> None:
    key = cache_key("How much is two plus two?", LLM)
    said = mistake(line(key=key))
    assert "which is not that of its prompt and parameters" in said
    assert f"only {cache_key('Who was Carl Sagan?', LLM)!r} is allowed" in said


@pytest.mark.parametrize("changes", [{"raw_prompt": "Another?"}, {"llm_string": "another"}])
def test_a_prompt_or_parameters_of_another_request_are_refused(changes: dict[str, str]) -> None:
    assert "not that of its prompt and parameters" in mistake(line(**changes))


def test_where_a_secret_was_taken_out_the_key_is_kept_and_said_to_be_unverified() -> None:
    llm_string = f"{{'Authorization': 'Bearer {SECRET}', 'model_name': 'demo-1'}}"
    kept = entry(llm_string=llm_string)
    assert SECRET not in kept.llm_string
    read = entry_of(line_of(kept))
    assert not read.is_verified
    assert read.entry.key == kept.key == cache_key("Who was Carl Sagan?", llm_string)
    other = MemoryCache()
    other.restore(read.entry)
    assert other.lookup("Who was Carl Sagan?", llm_string) == kept.generations


def test_a_request_that_said_redacted_itself_is_verified() -> None:
    assert entry_of(line_of(entry(llm_string="{'password': '[redacted]'}"))).is_verified


def test_a_secret_that_somebody_wrote_into_a_file_is_taken_out() -> None:
    llm_string = f"{{'Authorization': 'Bearer {SECRET}'}}"
    read = entry_of(line(llm_string=llm_string, key=cache_key("Who was Carl Sagan?", llm_string)))
    assert read.is_verified
    assert SECRET not in repr(read)
    assert read.entry.key == cache_key("Who was Carl Sagan?", llm_string)


# What anybody may have written


def test_space_and_any_end_of_line_are_allowed() -> None:
    made = line_of(entry())
    for variant in (made[:-1], made[:-1] + b"\r\n", b"  " + made):
        assert entry_of(variant) == entry_of(made)


def test_whole_numbers_are_times_too() -> None:
    read = entry_of(line(created_at=1_750_000_000, expires_at=1_750_000_001, last_used_at=0, model_time_s=1)).entry
    assert [type(time) for time in (read.created_at, read.expires_at, read.last_used_at, read.model_time_s)] == [
        float
    ] * 4


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"", "not JSON at character 1"),
        (b"\n", "not JSON at character 2"),
        (b"hello", "not JSON at character 1: Expecting value."),
        (b"{} {}", "not JSON at character 4: Extra data"),
        (b'{"format": 1', "not JSON at character 13"),
        (b"[1]", "the line holds a list; a JSON object is allowed."),
        (b"null", "the line holds null; a JSON object is allowed."),
        (b'"text"', "the line holds \"'text'\""[:14]),
        (b"{}", "format is missing; it must be 1."),
        (b"\xff\xfe{\x00}\x00", "byte 1 of the line is not UTF-8; save the file in UTF-8."),
        (b'{"key": "\xe9"}', "byte 10 of the line is not UTF-8"),
        (b'{"format": NaN}', "NaN is no number of JSON"),
        (b'{"format": -Infinity}', "-Infinity is no number of JSON"),
        (b'{"format": 1e400}', "the number 1e400 is too great"),
        (b'{"format": 18446744073709551616}', "the whole number 18446744073709551616 has more than 64 bits"),
        (b'{"format": -9223372036854775809}', "has more than 64 bits"),
        (b'{"format": 1' + b"0" * 10_000 + b"}", "has more than 64 bits"),
        (b'{"format": 1, "format": 1}', "'format' is more than once in one object; once is allowed."),
        (b"[" * 1_000_000, "too deep"),
        (b'{"format":' * 1_000_000, "too deep"),
    ],
    ids=range(20),
)
def test_what_is_no_object_of_json_is_refused(bad: bytes, said: str) -> None:
    assert said in mistake(bad)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "format is 2; allowed is 1."),
        ({"format": True}, "format is true; allowed is 1."),
        ({"format": 1.0}, "format is 1.0; allowed is 1."),
        ({"format": "1"}, "format is '1'; allowed is 1."),
        ({"key": None}, "key is null; allowed is text of 64 hexadecimal digits."),
        ({"key": "AB" * 32}, "allowed is text of 64 hexadecimal digits."),
        ({"key": "ab" * 32 + "\n"}, "allowed is text of 64 hexadecimal digits."),
        ({"key": 5}, "key is 5; allowed is text of 64 hexadecimal digits."),
        ({"raw_prompt": None}, "raw_prompt is null; allowed is text."),
        ({"raw_prompt": "\ud800"}, "raw_prompt has half of a surrogate pair at character 1"),
        ({"llm_string": ["x"]}, "llm_string is a list; allowed is text."),
        ({"llm_string": "a\udfff"}, "llm_string has half of a surrogate pair at character 2"),
        ({"model": ""}, "model is ''; allowed is null, or text of 1 to 200 characters."),
        ({"model": "m" * 201}, "allowed is null, or text of 1 to 200 characters."),
        ({"model": "\ud800"}, "model has half of a surrogate pair"),
        ({"created_at": None}, "created_at is null; allowed is a Unix time in seconds from 0 to 8589934592."),
        ({"created_at": "soon"}, "created_at is 'soon'; allowed is a Unix time"),
        ({"created_at": True}, "created_at is true; allowed is a Unix time"),
        ({"created_at": -1}, "created_at is -1; allowed is"),
        ({"created_at": 1e300}, "created_at is 1e+300; allowed is"),
        ({"expires_at": {}}, "expires_at is an object; allowed is null, or a Unix time"),
        ({"expires_at": 1e19}, "expires_at is 1e+19; allowed is"),
        ({"last_used_at": 2**40}, "last_used_at is 1099511627776; allowed is"),
        ({"hits": -1}, "hits is -1; allowed is a whole number from 0 to 99999999999."),
        ({"hits": 1.5}, "hits is 1.5; allowed is a whole number"),
        ({"hits": 10**11}, "hits is 100000000000; allowed is"),
        ({"hits": True}, "hits is true; allowed is"),
        ({"pinned": 1}, "pinned is 1; allowed is true or false."),
        ({"model_time_s": -0.5}, "model_time_s is -0.5; allowed is null, or seconds"),
        ({"generations": []}, "generations is a list; allowed is a list of at least one generation."),
        ({"generations": {}}, "generations is an object; allowed is"),
        ({"hits": ...}, "hits is missing; it must be a whole number"),
        ({"generations": ...}, "generations is missing"),
        ({"evil": 1}, "'evil' is no field of an entry; allowed are format, key, raw_prompt"),
        ({f"Bearer {SECRET}": 1}, "'Bearer [redacted]"),
        ({"created_at": f"Bearer {SECRET}"}, "created_at is 'Bearer [redacted]"),
        ({"created_at": "x" * 10_000_000}, "created_at is 'xxx"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_field_that_may_not_be_so_is_named_with_what_is_allowed(changes: dict[str, Any], said: str) -> None:
    assert said in mistake(line(**changes))


def chat_with(**fields: Any) -> list[Any]:
    return [{"message": {"content": "answer", **fields}}]


CALL = {"name": "look", "args": {}, "id": "1", "type": "tool_call"}


@pytest.mark.parametrize(
    ("generations", "said"),
    [
        ([1], "a generation is not an object"),
        ([{}], "the text of a generation is missing"),
        ([{"text": 5}], "the text of a generation is missing"),
        ([{"text": "\ud800"}], "generations hold what can't be kept"),
        ([{"text": "a", "info": []}], "generation info is not an object"),
        ([{"text": "a", "evil": 1}], "a generation has a field 'evil'; allowed are info, text, message."),
        ([{"text": "a", "__class__": "os.system"}], "a generation has a field '__class__'"),
        ([{"message": []}], "a message is not an object"),
        ([{"message": {}}], "the content of a message is missing"),
        (chat_with(content=[1]), "a block of a message's content is neither text nor an object"),
        (chat_with(evil=1), "a message has a field 'evil'; allowed are content, additional_kwargs,"),
        (chat_with(type="human"), "a message has a field 'type'"),
        (chat_with(extra={"content": "other"}), "extra fields are not an object of their own"),
        (chat_with(name=5), "the name or id of a message is not text"),
        (chat_with(tool_calls={}), "tool_calls or invalid_tool_calls is not a list"),
        (chat_with(tool_calls=[1]), "a tool call must have a name (text), args (an object), and an id"),
        (chat_with(tool_calls=[{}]), "a tool call must have a name"),
        (chat_with(tool_calls=[CALL | {"args": "{}"}]), "a tool call must have a name"),
        (chat_with(tool_calls=[CALL | {"id": 1}]), "a tool call must have a name"),
        (chat_with(tool_calls=[CALL | {"type": "x"}]), "the type of a tool call is 'x'; 'tool_call' is allowed."),
        (chat_with(invalid_tool_calls=[CALL]), "of an invalid tool call must be text or null"),
        (chat_with(usage_metadata=[1]), "usage_metadata is not an object"),
        (chat_with(usage_metadata={"input_tokens": "1"}), "usage_metadata may have nothing but numbers"),
        (chat_with(usage_metadata={"input_tokens": -1}), "usage_metadata may have nothing but numbers"),
        (chat_with(usage_metadata={"input_tokens": 2**60}), "usage_metadata may have nothing but numbers"),
        (chat_with(usage_metadata={"input_token_details": {"x": True}}), "usage_metadata may have nothing but numbers"),
        (
            [{"message": {"content": "yes"}, "text": "no"}],
            "the text of a generation is another than that of its message",
        ),
        ([{"message": {"content": ["yes"]}, "text": "no"}], "another than that of its message"),
        ([{"message": {"content": ["yes"]}}], "the text of a generation is missing"),
    ],
    ids=range(29),
)
def test_generations_that_a_model_can_not_have_given_are_refused(generations: list[Any], said: str) -> None:
    assert said in mistake(line(generations=generations))


def test_deep_nesting_in_an_answer_is_refused_or_can_be_kept() -> None:
    def nested(depth: int) -> list[Any]:
        deep: Any = "x"
        for _ in range(depth):
            deep = [deep]
        return [{"text": "a", "info": {"deep": deep}}]

    assert "can't be kept" in mistake(line(generations=nested(300)))
    MemoryCache().restore(entry_of(line(generations=nested(100))).entry)


def test_a_line_that_would_take_gigabytes_is_refused() -> None:
    for unit in ("[],", "{},", '"ab",', "1.5,"):
        made = line(generations=["HERE"]).decode().replace('"HERE"', unit * 4_000_000 + "0")
        tracemalloc.start()
        try:
            assert mistake(made.encode()) == "it has more than 3000000 brackets, braces, commas and quotes."
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 3 * len(made)


def test_a_long_answer_is_read() -> None:
    text = 'He said: "[...], {...}", and more of it. ' * 250_000
    read = entry_of(line(generations=[{"text": text}])).entry
    assert read.text == text


def test_usage_that_a_hit_of_langchain_has_changed_is_allowed() -> None:
    read = entry_of(line(generations=chat_with(usage_metadata={"total_cost": 0}))).entry
    (generation,) = read.generations
    assert isinstance(generation, ChatGeneration)
    assert isinstance(generation.message, AIMessage)
    assert generation.message.usage_metadata == {"total_cost": 0}


@without_haste
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
    st.sampled_from([*json.loads(line_of(entry())), "other"]),
)
def test_any_value_in_any_field_is_an_entry_that_can_be_kept_or_a_sentence(value: Any, name: str) -> None:
    _kept_or_refused(lambda: entry_of(line(**{name: value})).entry)


@without_haste
@given(st.integers(0, 10_000), st.binary(max_size=4), st.integers(0, 4))
def test_any_damage_to_a_line_is_an_entry_that_can_be_kept_or_a_sentence(place: int, with_: bytes, over: int) -> None:
    made = line_of(entry())
    place %= len(made)
    _kept_or_refused(lambda: entry_of(made[:place] + with_ + made[place + over :]).entry)


def _kept_or_refused(read: Callable[[], CacheEntry]) -> None:
    cache: CacheBackend = MemoryCache()
    try:
        made = read()
        cache.restore(made)
    except (LineRefusedError, NotCacheableError):
        return
    assert there(cache.get(made.key)) == made
