"""The test server, driven by the real clients of langchain_openai and, where bytes matter, by plain HTTP."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import socket
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import FrozenInstanceError
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from langchain_core.exceptions import ModelError
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.prompt_values import StringPromptValue
from langchain_openai import ChatOpenAI, OpenAI

from tests import openai_server
from tests.openai_server import Kind, OpenAIServer

WAYS = ["chat streamed", "chat whole", "completion streamed", "completion whole"]
QUESTION = "Who was Carl Sagan?"
STATUSES = {
    Kind.RATE_LIMITED: (429, "rate_limit_exceeded"),
    Kind.NO_QUOTA: (429, "insufficient_quota"),
    Kind.SERVER_ERROR: (500, None),
    Kind.UNAVAILABLE: (503, None),
    Kind.BAD_GATEWAY: (502, None),
    Kind.WRONG_KEY: (401, "invalid_api_key"),
    Kind.UNKNOWN_MODEL: (404, "model_not_found"),
    Kind.UNKNOWN_URL: (404, None),
    Kind.CONTEXT_TOO_LONG: (400, "context_length_exceeded"),
    Kind.BAD_REQUEST: (400, None),
}


def documented() -> dict[tuple[Kind, str], str]:
    """The table in the server's docstring: the name of the exception, or "-", by kind and way of asking."""
    rows = [line.split() for line in (openai_server.__doc__ or "").splitlines()]
    return {
        (Kind(row[0]), way): name
        for row in rows
        if len(row) == 5 and row[0] in set(Kind)
        for way, name in zip(WAYS, row[1:], strict=True)
    }


def build(server: OpenAIServer, way: str, **options: Any) -> ChatOpenAI | OpenAI:
    """A real client of the server for one of the four ways of asking."""
    given: dict[str, Any] = {
        "api_key": server.api_key,
        "base_url": server.base_url,
        "max_retries": 0,
        "timeout": 30,
        "streaming": way.endswith("streamed"),
        **options,
    }
    if way.startswith("chat"):
        return ChatOpenAI(model="gpt-4o-mini", stream_usage=True, **given)
    return OpenAI(model="gpt-3.5-turbo-instruct", **given)


def ask(model: ChatOpenAI | OpenAI, prompt: str = QUESTION) -> Generation:
    """The first generation of one real invocation."""
    return model.generate_prompt([StringPromptValue(text=prompt)]).generations[0][0]


def finish_reason(generation: Generation) -> Any:
    if isinstance(generation, ChatGeneration):
        return generation.message.response_metadata.get("finish_reason")
    return (generation.generation_info or {}).get("finish_reason")


def post(server: OpenAIServer, path: str = "/v1/completions", **body: Any) -> tuple[int, bytes]:
    """The status and body of one plain request."""
    address = urlsplit(server.base_url)
    payload = json.dumps({"model": "gpt-3.5-turbo-instruct", "prompt": [QUESTION], **body})
    with closing(http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)) as connection:
        connection.request("POST", path, payload, {"Authorization": f"Bearer {server.api_key}"})
        with connection.getresponse() as response:
            return response.status, response.read()


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(seed=1) as started:
        yield started


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[OpenAIServer, dict[str, ChatOpenAI | OpenAI]]]:
    """One server with the four clients, for tests that queue what they need: building a client is slow."""
    with OpenAIServer(seed=1) as started:
        yield started, {way: build(started, way) for way in WAYS}


HELD = (Kind.SLOW, Kind.STALLED)
RAISING = [case for case, name in documented().items() if name != "-"]


def test_the_table_of_exceptions_has_a_row_for_every_kind() -> None:
    assert {kind for kind, _ in documented()} == set(Kind)


@pytest.mark.parametrize(("kind", "way"), [case for case in RAISING if case[0] not in HELD])
def test_each_fault_raises_what_the_table_says(kind: Kind, way: str, shared: Any) -> None:
    server, models = shared
    server.next(kind)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the table says which
        ask(models[way])
    error = caught.value
    assert type(error).__name__ == documented()[kind, way]
    assert isinstance(error, ModelError) == type(error).__name__.startswith("OpenAI")
    assert server.requests[-1].kind is kind
    if kind in STATUSES:
        status, code = STATUSES[kind]
        assert isinstance(error, openai.APIStatusError)
        assert error.status_code == status
        assert error.code == (None if kind is Kind.CONTEXT_TOO_LONG and way.startswith("completion") else code)
        assert isinstance(error.body, str if kind is Kind.BAD_GATEWAY else dict)
        assert error.response.headers.get("retry-after") == ("1" if kind is Kind.RATE_LIMITED else None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", HELD)
def test_a_held_request_times_out_at_the_client(kind: Kind, way: str) -> None:
    with OpenAIServer() as server:
        server.next(kind)
        with pytest.raises(openai.APITimeoutError) as caught:
            ask(build(server, way, timeout=0.2))
    assert type(caught.value).__name__ == documented()[kind, way]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", HELD)
def test_a_held_request_is_answered_once_it_is_released(kind: Kind, way: str, shared: Any) -> None:
    server, models = shared
    server.hold()
    server.next(kind)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, models[way])
        assert server.wait_until_held()
        assert not asked.done()
        server.release()
        answer = asked.result(timeout=30)
    assert answer.text.endswith("ação 数 🚀.")
    assert finish_reason(answer) == "stop"


def test_a_stalled_stream_shows_its_first_half_before_it_is_released(server: OpenAIServer) -> None:
    server.next("stalled")
    tokens = build(server, "completion streamed").stream(QUESTION)
    assert next(tokens) == "Answer "
    assert server.wait_until_held()
    server.release()
    assert "".join(str(token) for token in tokens).endswith("🚀.")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("kind", "reason", "begun", "ended"),
    [
        (Kind.OK, "stop", True, True),
        (Kind.LENGTH, "length", True, False),
        (Kind.EMPTY, "stop", False, False),
        (Kind.SILENT_CUT, None, True, False),
    ],
)
def test_an_answer_arrives_with_its_text_and_finish_reason(
    kind: Kind, reason: str | None, begun: bool, ended: bool, way: str, shared: Any
) -> None:
    server, models = shared
    server.next(kind)
    answer = ask(models[way])
    assert answer.text.startswith("Answer ") is begun
    assert answer.text.endswith("ação 数 🚀.") is ended
    assert finish_reason(answer) == reason


@pytest.mark.parametrize("way", ["chat streamed", "chat whole"])
def test_a_chat_answer_carries_usage_model_and_fingerprint(way: str, server: OpenAIServer) -> None:
    message = build(server, way).invoke(QUESTION)
    assert isinstance(message, AIMessage)
    assert message.usage_metadata is not None
    assert message.usage_metadata["input_tokens"] == 5
    assert message.usage_metadata["output_tokens"] == (len(message.text) + 3) // 4
    assert message.response_metadata["model_name"] == "gpt-4o-mini-2024-07-18"
    assert message.response_metadata["system_fingerprint"] == "fp_0123456789"
    assert dict(server.requests[0].body).get("stream_options") == (
        {"include_usage": True} if way == "chat streamed" else None
    )


@pytest.mark.parametrize("way", ["chat streamed", "chat whole"])
def test_a_chat_answer_can_call_a_tool(way: str, server: OpenAIServer) -> None:
    tool = {"type": "function", "function": {"name": "find_star", "parameters": {"type": "object", "properties": {}}}}
    model = build(server, way)
    assert isinstance(model, ChatOpenAI)
    server.next("tool_calls")
    message = model.bind_tools([tool]).invoke(QUESTION)
    assert [call["name"] for call in message.tool_calls] == ["find_star"]
    assert QUESTION in message.tool_calls[0]["args"]["query"]
    assert message.response_metadata["finish_reason"] == "tool_calls"


def test_a_completion_request_carries_several_prompts_and_one_usage(server: OpenAIServer) -> None:
    model = build(server, "completion whole", n=2, best_of=2)
    assert isinstance(model, OpenAI)
    result = model.generate(["one", "two"])
    texts = [[generation.text for generation in generations] for generations in result.generations]
    assert [["“one”" in text for text in texts[0]], ["“two”" in text for text in texts[1]]] == [[True] * 2] * 2
    assert len({*texts[0], *texts[1]}) == 4
    assert result.llm_output is not None
    assert result.llm_output["token_usage"]["prompt_tokens"] == 2
    assert result.llm_output["system_fingerprint"] == "fp_0123456789"
    assert [request.body["prompt"] for request in server.requests] == [["one", "two"]]


def test_a_chat_request_for_two_choices_gets_two_different_ones(server: OpenAIServer) -> None:
    result = build(server, "chat whole", n=2).generate_prompt([StringPromptValue(text=QUESTION)])
    assert len({generation.text for generation in result.generations[0]}) == 2


@pytest.mark.parametrize("way", WAYS)
def test_the_async_clients_are_served_too(way: str, server: OpenAIServer) -> None:
    assert asyncio.run(build(server, way).ainvoke(QUESTION)) is not None
    server.next("dropped")
    with pytest.raises(openai.APIConnectionError):
        asyncio.run(build(server, way).ainvoke(QUESTION))


def test_every_answer_differs_also_when_many_ask_at_once(server: OpenAIServer) -> None:
    def text(_: int) -> str:
        return str(json.loads(post(server)[1])["choices"][0]["text"])

    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(text, range(64)))
    assert len(set(texts)) == 64
    assert len(server.requests) == 64


WEIGHTS = {"ok": 6, "rate_limited": 2, "unavailable": 2, "length": 1}


def drawn(seed: int, weights: dict[str, float]) -> list[Kind]:
    with OpenAIServer(seed=seed, weights=weights) as server:
        for _ in range(40):
            post(server)
        return [request.kind for request in server.requests]


def test_the_same_seed_draws_the_same_kinds_and_another_seed_others() -> None:
    first = drawn(7, dict(WEIGHTS))
    assert first == drawn(7, dict(reversed(WEIGHTS.items())))
    assert first != drawn(8, dict(WEIGHTS))
    assert set(first) == set(WEIGHTS)


def test_queued_kinds_come_first_in_their_order_and_use_up_no_draw() -> None:
    with OpenAIServer(seed=7, weights=WEIGHTS) as server:
        server.next("server_error", "empty")
        for _ in range(42):
            post(server)
        kinds = [request.kind for request in server.requests]
    assert kinds == [Kind.SERVER_ERROR, Kind.EMPTY, *drawn(7, dict(WEIGHTS))]


def test_an_unknown_kind_is_refused_where_it_is_named() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        OpenAIServer(weights={"nonsense": 1})
    with pytest.raises(ValueError, match="nonsense"):
        OpenAIServer().next("ok", "nonsense")


@pytest.mark.parametrize(
    ("key", "shown"), [("sk-other-0123456789WXYZ", "sk-other***********WXYZ"), ("short-secret", "short-secret")]
)
def test_a_wrong_key_is_refused_with_part_of_it_in_the_message_and_leaves_the_queue(
    key: str, shown: str, server: OpenAIServer
) -> None:
    server.next("empty")
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(build(server, "chat whole", api_key=key))
    assert f"Incorrect API key provided: {shown}." in str(caught.value)
    assert server.requests[0].key == key
    assert ask(build(server, "chat whole")).text == ""


@pytest.mark.parametrize(
    ("options", "path", "body", "kind"),
    [
        ({"models": {"gpt-4o"}}, "/v1/completions", {}, Kind.UNKNOWN_MODEL),
        ({"context_window": 4}, "/v1/completions", {}, Kind.CONTEXT_TOO_LONG),
        ({}, "/completions", {}, Kind.UNKNOWN_URL),
        ({}, "/v1/completions", {"prompt": []}, Kind.BAD_REQUEST),
        ({}, "/v1/chat/completions", {"messages": []}, Kind.BAD_REQUEST),
        ({"api_key": "sk-1"}, "/v1/completions", {"model": None}, Kind.BAD_REQUEST),
    ],
)
def test_what_the_real_server_refuses_is_refused_whatever_was_drawn(
    options: dict[str, Any], path: str, body: dict[str, Any], kind: Kind
) -> None:
    with OpenAIServer(**options) as server:
        status, answer = post(server, path, **body)
        assert status == STATUSES[kind][0]
        assert json.loads(answer)["error"]["message"]
        assert [request.kind for request in server.requests] == [kind]


def test_a_dropped_body_is_shorter_than_promised_and_a_dropped_stream_has_no_final_chunk(server: OpenAIServer) -> None:
    server.next("dropped", "dropped")
    with pytest.raises(http.client.IncompleteRead) as whole:
        post(server)
    assert whole.value.expected
    with pytest.raises(http.client.IncompleteRead) as streamed:
        post(server, stream=True)
    assert streamed.value.partial.startswith(b"data: ")


def test_a_silently_cut_stream_ends_as_http_should_but_without_done(server: OpenAIServer) -> None:
    server.next("silent_cut", "ok")
    cut, whole = (post(server, stream=True, stream_options={"include_usage": True})[1] for _ in range(2))
    assert (b"[DONE]" in cut, b'"stop"' in cut, b'"usage":{' in cut) == (False, False, False)
    assert (b"[DONE]" in whole, b'"stop"' in whole, b'"usage":{' in whole) == (True, True, True)


def test_usage_is_streamed_only_to_a_client_that_asks_for_it(server: OpenAIServer) -> None:
    assert b'"usage"' not in post(server, stream=True)[1]


def test_a_lone_surrogate_in_a_prompt_comes_back_as_it_was(server: OpenAIServer) -> None:
    answer = json.loads(post(server, prompt=["\ud800"])[1])
    assert "\ud800" in answer["choices"][0]["text"]


def test_a_noted_request_cannot_be_changed(server: OpenAIServer) -> None:
    post(server, user="somebody")
    (request,) = server.requests
    assert (request.path, request.key, request.body["user"]) == ("/v1/completions", server.api_key, "somebody")
    with pytest.raises(FrozenInstanceError):
        request.kind = Kind.EMPTY  # type: ignore[misc]
    with pytest.raises(TypeError):
        request.body["user"] = "nobody"  # type: ignore[index]


def test_stopping_ends_held_and_idle_connections_and_leaves_no_thread_and_no_socket() -> None:
    gc.collect()
    before = set(threading.enumerate())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        server = OpenAIServer(patience_s=60)
        server.start()
        port = urlsplit(server.base_url).port
        assert port is not None
        server.next("slow")
        with closing(socket.create_connection(("127.0.0.1", port))) as idle, ThreadPoolExecutor(2) as pool:
            held = pool.submit(post, server)
            assert server.wait_until_held()
            assert pool.submit(server.stop).result(timeout=30) == []
            held.exception(timeout=30)  # answered or cut off: it has ended either way
            assert idle.recv(1) == b""
        assert server.stop() == []
        assert set(threading.enumerate()) == before
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        del server, held, pool
        gc.collect()
    assert [str(warning.message) for warning in seen if issubclass(warning.category, ResourceWarning)] == []


def test_a_defect_of_the_server_itself_fails_the_test_that_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(OpenAIServer, "receive", broken)
    with pytest.raises(ExceptionGroup) as caught, OpenAIServer() as server, pytest.raises(http.client.HTTPException):
        post(server)
    assert caught.group_contains(RuntimeError, match="a defect")
