"""What exceptions mean: made as the openai package and its HTTP library make them, by a client without a wire."""

from __future__ import annotations

import importlib
import json
import socket
import ssl
from collections.abc import Callable
from typing import Any, get_args

import openai
import pytest

from lab.failures import MAX_DETAIL, StoppedError, classify, detail
from lab.measurement import RETRY_HELPS, FailureKind
from lab.models import BadKeyError, NoKeyError

httpx: Any = importlib.import_module(
    next(cls for cls in openai.DefaultHttpxClient.__mro__ if cls.__name__ == "Client").__module__.partition(".")[0]
)
"""The HTTP library that the openai package uses: httpx, or its successor."""


def raised(handler: Callable[[Any], Any]) -> Exception:
    """What the openai client raises where the handler takes the place of the wire."""
    http_client = openai.DefaultHttpxClient(transport=httpx.MockTransport(handler))
    client = openai.OpenAI(api_key="sk-test", max_retries=0, http_client=http_client)

    def ask() -> None:
        list(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}], stream=True))

    with pytest.raises(Exception) as caught:  # noqa: PT011  # which one is what the tests are about
        ask()
    return caught.value


def answering(status: int, error: Any = None, *, text: str | None = None) -> Exception:
    body = text if text is not None else json.dumps({"error": error})
    return raised(lambda _: httpx.Response(status, text=body, headers={"content-type": "application/json"}))


def failing(error: Exception) -> Exception:
    def handler(_: Any) -> Any:
        raise error

    return raised(handler)


def error_object(code: Any = None, kind: str = "invalid_request_error", message: str = "It failed.") -> dict[str, Any]:
    return {"message": message, "type": kind, "param": None, "code": code}


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (400, error_object(), "bad_request"),
        (400, error_object("context_length_exceeded"), "prompt_too_long"),
        (400, error_object("string_above_max_length"), "prompt_too_long"),
        (
            400,
            error_object(None, message="This model's maximum context length is 4097 tokens"),
            "prompt_too_long",
        ),
        (
            400,
            error_object(400, "BadRequestError", "maximum context length is 8 tokens"),
            "prompt_too_long",
        ),
        (400, error_object(400, "exceed_context_size_error", "the request exceeds it"), "prompt_too_long"),
        (400, "a text where an object should be", "bad_request"),
        (401, error_object("invalid_api_key"), "wrong_key"),
        (401, error_object(), "wrong_key"),
        (402, error_object(), "quota_used_up"),
        (403, error_object("unsupported_country_region_territory"), "not_allowed"),
        (404, error_object("model_not_found"), "unknown_model"),
        (404, error_object(), "unknown_model"),
        (405, error_object(), "bad_request"),
        (408, error_object(), "timeout"),
        (409, error_object(), "bad_request"),
        (413, error_object(), "prompt_too_long"),
        (422, error_object(), "bad_request"),
        (422, error_object(message="context window exceeded"), "prompt_too_long"),
        (429, error_object("rate_limit_exceeded", "requests"), "rate_limited"),
        (429, error_object("insufficient_quota", "insufficient_quota"), "quota_used_up"),
        (429, error_object(None, "insufficient_quota"), "quota_used_up"),
        (429, error_object("billing_hard_limit_reached"), "quota_used_up"),
        (429, None, "rate_limited"),
        (500, error_object(None, "server_error"), "server_error"),
        (502, None, "server_error"),
        (503, error_object(), "server_error"),
        (504, None, "server_error"),
        (529, error_object(None, "overloaded_error"), "server_error"),
    ],
)
def test_an_http_status_is_of_its_kind(status: int, error: Any, expected: FailureKind) -> None:
    assert classify(answering(status, error)) == expected


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", "", "{", "null", "[1]", '"text"', "\0\1\2"])
def test_a_status_counts_whatever_comes_with_it(status: int, body: str) -> None:
    error = answering(status, text=body)
    assert classify(error) == classify(answering(status, None))
    assert detail(error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (error_object(None, "server_error"), "server_error"),
        (error_object(None, "overloaded_error"), "server_error"),
        (error_object("rate_limit_exceeded", "requests"), "rate_limited"),
        (error_object(None, "rate_limit_error"), "rate_limited"),
        (error_object("insufficient_quota"), "quota_used_up"),
        (error_object("context_length_exceeded"), "prompt_too_long"),
        (error_object("invalid_api_key"), "wrong_key"),
        (error_object(None, "authentication_error"), "wrong_key"),
        ("a text", "server_error"),
    ],
)
def test_an_error_in_the_middle_of_a_stream_is_of_its_kind(error: Any, expected: FailureKind) -> None:
    events = f"data: {json.dumps({'error': error})}\n\n"
    stream = raised(lambda _: httpx.Response(200, text=events, headers={"content-type": "text/event-stream"}))
    assert getattr(stream, "status_code", None) is None
    assert classify(stream) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectTimeout("timed out"), "timeout"),
        (httpx.ReadTimeout("timed out"), "timeout"),
        (httpx.WriteTimeout("timed out"), "timeout"),
        (httpx.PoolTimeout("timed out"), "timeout"),
        (httpx.ConnectError("[Errno 111] Connection refused"), "unreachable"),
        (httpx.ConnectError("[Errno -2] Name or service not known"), "unreachable"),
        (httpx.ProxyError("403 Forbidden"), "unreachable"),
        (httpx.UnsupportedProtocol("Request URL has an unsupported protocol"), "unreachable"),
        (httpx.TooManyRedirects("Exceeded maximum allowed redirects."), "unreachable"),
        (httpx.ReadError("[Errno 104] Connection reset by peer"), "connection_lost"),
        (httpx.WriteError("[Errno 32] Broken pipe"), "connection_lost"),
        (httpx.CloseError(""), "connection_lost"),
        (httpx.RemoteProtocolError("peer closed connection without sending complete message body"), "connection_lost"),
        (httpx.LocalProtocolError("Illegal header value"), "bad_request"),
        (httpx.DecodingError("incorrect header check"), "bad_answer"),
    ],
)
def test_a_failure_of_the_connection_is_of_its_kind(error: Exception, expected: FailureKind) -> None:
    wrapped = failing(error)
    assert isinstance(wrapped, openai.APIConnectionError)
    assert classify(wrapped) == expected
    assert classify(error) == expected


def test_a_connection_that_breaks_in_the_body_is_lost() -> None:
    def body() -> Any:
        yield b'data: {"choices": []}\n\n'
        raise httpx.ReadError("[Errno 104] Connection reset by peer")

    headers = {"content-type": "text/event-stream"}
    assert classify(raised(lambda _: httpx.Response(200, content=body(), headers=headers))) == "connection_lost"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "unreachable"),
        (socket.gaierror(-2, "Name or service not known"), "unreachable"),
        (ConnectionResetError(104, "Connection reset by peer"), "connection_lost"),
        (BrokenPipeError(32, "Broken pipe"), "connection_lost"),
        (TimeoutError("timed out"), "timeout"),
        (json.JSONDecodeError("Expecting value", "", 0), "bad_answer"),
        (ValueError("No generation chunks were returned"), "bad_answer"),
        (AttributeError("'str' object has no attribute 'model_dump'"), "bad_answer"),
        (KeyError("choices"), "bad_answer"),
        (TypeError("'NoneType' object is not iterable"), "bad_answer"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "bad_answer"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "bad_request"),
        (StoppedError("The answer was stopped."), "stopped"),
        (NoKeyError("openai"), "no_key"),
        (BadKeyError("no"), "wrong_key"),
        (RuntimeError("?"), "other"),
        (MemoryError(), "other"),
        (ssl.SSLError(1, "certificate verify failed"), "other"),
    ],
)
def test_exceptions_of_python_itself_have_a_kind(error: Exception, expected: FailureKind) -> None:
    assert classify(error) == expected


def test_the_cause_tells_more_than_what_wraps_it() -> None:
    outer, stopped = RuntimeError("generation failed"), StoppedError("stopped")
    outer.__cause__ = stopped
    assert classify(outer) == "stopped"
    refused = ConnectionRefusedError(111, "refused")
    error = httpx.ConnectError("refused")
    error.__context__ = refused
    assert classify(error) == "unreachable"


def test_what_an_exception_was_raised_from_none_of_does_not_count() -> None:
    error = RuntimeError("?")
    error.__context__, error.__suppress_context__ = TimeoutError(), True
    assert classify(error) == "other"


def test_a_ring_of_causes_ends() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert classify(first) == "other"


def test_every_kind_after_which_trying_again_helps_is_a_kind() -> None:
    assert set(get_args(FailureKind)) >= RETRY_HELPS
    assert not RETRY_HELPS & {"wrong_key", "no_key", "quota_used_up", "unknown_model", "prompt_too_long", "bad_request"}


def test_the_detail_is_what_the_server_said_in_one_line() -> None:
    said = "The model `x` does not exist\n   or you do not have access to it."
    assert detail(answering(404, error_object("model_not_found", message=said))) == " ".join(said.split())


def test_the_detail_of_an_exception_without_words_is_its_name() -> None:
    assert detail(MemoryError()) == "MemoryError"


def test_a_long_detail_is_shortened() -> None:
    shown = detail(answering(500, error_object(message="word " * 1000)))
    assert len(shown) == MAX_DETAIL
    assert shown.endswith("…")


@pytest.mark.parametrize("text", ["a" * 1_000_000, "a-" * 500_000, "'" * 1_000_000, "*" * 1_000_000, " " * 1_000_000])
def test_a_message_of_a_megabyte_is_no_trouble(text: str) -> None:
    assert len(detail(RuntimeError(text), ("a key",))) <= MAX_DETAIL


@pytest.mark.parametrize("before", [0, 100, MAX_DETAIL - 20, MAX_DETAIL - 3, 1990, 5000])
def test_a_key_is_taken_out_wherever_it_stands(before: int) -> None:
    key = "visitors.key/0123456789+abcdef"
    shown = detail(RuntimeError(f"{'x ' * (before // 2)}{key} and {key}{key}"), (key,))
    assert not [piece for piece in (key[:6], key[-6:]) if piece in shown]


def test_a_key_is_taken_out_though_taking_out_others_moves_it_into_view() -> None:
    long_key, short_key = "k" * 400, "visitors-key-0123456789"
    shown = detail(RuntimeError(long_key * 4 + "x" * 392 + short_key), (short_key, long_key))
    assert "visitors" not in shown


@pytest.mark.parametrize(
    "said",
    [
        "Incorrect API key provided: sk-abcde***********wxyz. You can find it",
        "Incorrect API key provided: my.key+********9876.",
        "header 'Authorization': 'Bearer abcd.wxyz-0123456789' refused",
        "the key sk-abcd-wxyz-0123456789 is wrong",
        'body: {"api_key": "abcdwxyz9876"}',
    ],
)
def test_what_looks_like_a_key_is_taken_out_even_when_nobody_knows_it(said: str) -> None:
    shown = detail(RuntimeError(said))
    assert "[redacted]" in shown
    assert not [part for part in ("abcd", "wxyz", "9876") if part in shown]
