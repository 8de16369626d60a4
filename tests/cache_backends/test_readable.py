"""Prompts and parameters as a person reads them, and secrets taken out of them."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from cache_backends.readable import (
    LONGEST_REMEMBERED,
    REDACTED,
    message_prompt,
    model_name,
    readable_parameters,
    readable_prompt,
    redact,
    shortened,
    single_message,
)
from tests.cache_backends.generations import any_text


def _displayable(text: str) -> str:
    """As JSON reads it: two halves of a character that meet are one, a lone half is replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@given(any_text)
def test_a_single_message_is_written_as_langchain_writes_it(text: str) -> None:
    raw = dumps([HumanMessage(text)])
    assert message_prompt(text) == raw
    as_read = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    can_be_kept = as_read == _displayable(text)
    assert single_message(raw) == (as_read if can_be_kept else None)


@given(any_text)
def test_a_single_message_is_read_as_it_was_written(text: str) -> None:
    shown = readable_prompt(dumps([HumanMessage(text)]))
    shown.encode()  # whatever is shown can be sent to a page
    assert shown == _displayable(text)


@given(any_text)
def test_what_is_not_langchains_json_is_shown_as_it_is(text: str) -> None:
    assume(not any("\ud800" <= character <= "\udfff" for character in text))
    assert readable_prompt(text) == text
    assert single_message(text) is None


@pytest.mark.parametrize(
    "messages",
    [
        [SystemMessage("x")],
        [AIMessage("x")],
        [HumanMessage("x", name="Carl")],
        [HumanMessage("x", additional_kwargs={"a": 1})],
        [HumanMessage([{"type": "text", "text": "x"}])],
        [HumanMessage("x"), HumanMessage("y")],
        [],
    ],
    ids=repr,
)
def test_only_one_plain_human_message_is_a_single_message(messages: list[BaseMessage]) -> None:
    assert single_message(dumps(messages)) is None


@pytest.mark.parametrize(
    "raw",
    [
        dumps([HumanMessage("x")]).replace('"x"', '"\\u0078"'),  # the same text, not the same letters: another key
        dumps([HumanMessage("x")]).replace(": ", ":"),
        dumps([HumanMessage("x")]).replace('"x"', "1"),
        dumps([HumanMessage("x")]).replace('"x"', "[" * 100_000),
    ],
    ids=["escaped", "compact", "number", "deep"],
)
def test_a_prompt_that_would_not_come_back_to_the_letter_is_no_single_message(raw: str) -> None:
    assert single_message(raw) is None
    assert readable_prompt(raw)


def test_several_messages_are_lines_with_their_roles() -> None:
    conversation = [SystemMessage("Be brief."), HumanMessage("Who was\nSagan?"), AIMessage("An astronomer.")]
    assert readable_prompt(dumps(conversation)) == "system: Be brief.\nhuman: Who was\nSagan?\nai: An astronomer."


def test_blocks_are_shown_by_their_text_or_kind() -> None:
    message = HumanMessage([{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {}}, "Hm?"])
    assert readable_prompt(dumps([message])) == "What is this?\n[image_url]\nHm?"


@pytest.mark.parametrize("raw", ['[{"', '[{"lc": 1}]', '[{"kwargs": {"content": "x"}, "id": []}]', '[{"kwargs": 1}]'])
def test_broken_json_of_messages_is_shown_as_it_is(raw: str) -> None:
    assert readable_prompt(raw) == raw


@pytest.mark.parametrize(
    ("llm_string", "name"),
    [
        ('{"id": ["ChatOpenAI"], "kwargs": {"model_name": "gpt-4o-mini"}, "lc": 1}---[("stop", None)]', "gpt-4o-mini"),
        ("[('_type', 'openai'), ('model_name', 'gpt-3.5-turbo-instruct'), ('n', 1)]", "gpt-3.5-turbo-instruct"),
        ("[('model', 'claude')]", "claude"),
        ("{'model_id': 'amazon.titan'}", "amazon.titan"),
        ("[('temperature', 0.7)]", None),
        ("", None),
    ],
)
def test_the_name_of_the_model_is_found_among_the_parameters(llm_string: str, name: str | None) -> None:
    assert model_name(llm_string) == name


names = st.sampled_from(
    [
        "Authorization",
        "authorization",
        "Proxy-Authorization",
        "api-key",
        "X-Api-Key",
        "api_key",
        "openai_api_key",
        "azure_ad_token",
        "Ocp-Apim-Subscription-Key",
        "Cookie",
        "Set-Cookie",
        "client_secret",
        "password",
        "aws_secret_access_key",
        "X-Auth-Token",
        "access_token",
    ]
)
secrets = st.text("abcXYZ019-_./+= ~", min_size=16, max_size=40).map(lambda text: f"s3cr3t{text}t0k3n")
prefixes = st.sampled_from(["", "Bearer ", "Basic ", "Token "])
shapes = st.sampled_from(
    [
        "{{'{name}': '{value}'}}",
        '{{"{name}": "{value}"}}',
        '{{"{name}":"{value}","other":1}}',
        "[('{name}', '{value}')]",
        "[('headers', {{'{name}': '{value}', 'n': 1}})]",
        "{{'{name}': b'{value}'}}",
        '{{"nested": "{{\\"{name}\\": \\"{value}\\"}}"}}',
        "{{'a': \"it's\", '{name}': '{value}'}}",
    ]
)


@given(name=names, secret=secrets, prefix=prefixes, shape=shapes, before=any_text, after=any_text)
def test_no_planted_secret_is_left(name: str, secret: str, prefix: str, shape: str, before: str, after: str) -> None:
    planted = shape.format(name=name, value=prefix + secret)
    cleaned = redact(f"{before.replace(chr(34), '').replace(chr(39), '')} {planted} {after}")
    assert secret not in cleaned
    assert REDACTED in cleaned
    assert redact(cleaned) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "401: Authorization: Bearer abc123.def-456",
        "Incorrect API key provided: sk-abcdefghijklmnop1234",
        "can't connect to postgresql://user:pa55word@host:5432/db",
        "redis://:pa55word@host",
        "https://user:pa%40ss@host/v1",
    ],
)
def test_secrets_in_plain_text_are_taken_out(text: str) -> None:
    cleaned = redact(text)
    assert REDACTED in cleaned
    assert not any(secret in cleaned for secret in ("abc123", "sk-abc", "pa55word", "pa%40ss"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[('_type', 'openai'), ('max_tokens', 256), ('temperature', 0.7), ('stop', None)]",
        "https://api.openai.com/v1",
        "see https://host:8080/path",
        "the token count is 5; a key is 64 digits",
        "{'max_tokens': '5', 'tokens': 'x'}",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("word", ["a", "a-", "'api_key", '"a"', "Bearer ", "https://", "\\", "sk-"])
def test_long_texts_are_cleaned_in_time_that_grows_with_their_length_only(word: str) -> None:
    """Quadratic time would make this test run for hours."""
    redact(word * 300_000)


@given(any_text, st.integers(1, 80))
def test_a_shortened_text_is_a_beginning(text: str, length: int) -> None:
    short = shortened(text, length)
    assert len(short) <= length
    assert short == text or (len(text) > length and short.endswith("…") and text.startswith(short[:-1]))


@pytest.mark.parametrize(
    "text",
    [
        "base_url=https://host/v1?api_key=SECRETVALUE1&x=1",
        *(f"redis://host?x=1&{name}=SECRETVALUE1" for name in ("pwd", "passwd", "pass", "credentials")),
        "mongodb://host/cache?authMechanismProperties=AWS_SESSION_TOKEN:SECRETVALUE1",
        "base_url='http://SECRETVALUE1@host/v1'",
        "{'X-Auth': 'SECRETVALUE1'}",
        "Authorization: Token SECRETVALUE1",
        "authorization=SECRETVALUE1",
        '{"passwd": "SECRETVALUE1"}',
        "the key gsk_SECRETVALUE1SECRETVALUE1",
    ],
)
def test_credentials_are_redacted_in_the_forms_that_servers_use(text: str) -> None:
    assert "SECRETVALUE1" not in redact(text)
    assert REDACTED in redact(text)


def test_long_parameters_are_not_kept_in_memory() -> None:
    llm_string = "[('model_name', 'demo-1'), ('password', 'abcdefgh')]"
    assert readable_parameters(llm_string) is readable_parameters(llm_string)
    long = llm_string + " " * LONGEST_REMEMBERED
    assert readable_parameters(long) is not readable_parameters(long)
    assert (readable_parameters(long).model, "abcdefgh" in readable_parameters(long).llm_string) == ("demo-1", False)
