"""A server for tests that speaks OpenAI's HTTP protocol on the loopback address, well or badly, as told or as drawn.

It imports nothing of the project and nothing of OpenAI's packages: what passes is real HTTP.

    with OpenAIServer(seed=7, weights={"ok": 6, "rate_limited": 1, "dropped": 1}) as server:
        server.next("unavailable")  # the next request; all others are drawn by the seed
        model = ChatOpenAI(base_url=server.base_url, api_key=server.api_key, max_retries=0)

What the real clients raise, found by running langchain-openai 1.7.3 and 1.7.4 with openai 3.54 and 3.57; "-" is an
answer. Names that begin with OpenAI are langchain_openai's: subclasses of the openai class in the same row and of
langchain_core's ModelError. Slow and stalled raise when the client's own timeout ends. `ainvoke` raises the same, but
TypeError for error_in_body of a whole completion. The tests read this table.

    kind              chat streamed              chat whole                 completion streamed  completion whole
    ok                -                          -                          -                    -
    length            -                          -                          -                    -
    empty             -                          -                          -                    -
    tool_calls        -                          -                          -                    -
    silent_cut        -                          -                          -                    -
    dropped           OpenAIConnectionError      OpenAIConnectionError      APIConnectionError   APIConnectionError
    slow              OpenAITimeoutError         OpenAITimeoutError         APITimeoutError      APITimeoutError
    stalled           OpenAITimeoutError         OpenAITimeoutError         APITimeoutError      APITimeoutError
    not_json          JSONDecodeError            JSONDecodeError            JSONDecodeError      JSONDecodeError
    html              ValueError                 ValueError                 ValueError           AttributeError
    error_in_body     APIError                   ValueError                 APIError             ValueError
    rate_limited      OpenAIRateLimitError       OpenAIRateLimitError       RateLimitError       RateLimitError
    no_quota          OpenAIRateLimitError       OpenAIRateLimitError       RateLimitError       RateLimitError
    server_error      OpenAIAPIError             OpenAIAPIError             InternalServerError  InternalServerError
    unavailable       OpenAIAPIError             OpenAIAPIError             InternalServerError  InternalServerError
    bad_gateway       OpenAIAPIError             OpenAIAPIError             InternalServerError  InternalServerError
    wrong_key         OpenAIAuthenticationError  OpenAIAuthenticationError  AuthenticationError  AuthenticationError
    unknown_model     OpenAIModelNotFoundError   OpenAIModelNotFoundError   NotFoundError        NotFoundError
    unknown_url       OpenAIModelNotFoundError   OpenAIModelNotFoundError   NotFoundError        NotFoundError
    context_too_long  OpenAIInvalidRequestError  OpenAIInvalidRequestError  BadRequestError      BadRequestError
    bad_request       OpenAIInvalidRequestError  OpenAIInvalidRequestError  BadRequestError      BadRequestError
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import socketserver
import sys
import threading
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from types import MappingProxyType, TracebackType
from typing import Any, Self

__all__ = ["Kind", "OpenAIServer", "ReceivedRequest"]


class Kind(StrEnum):
    """How a request is served. "Half" means that only the first half of the answer arrives."""

    OK = "ok"
    """An answer with finish_reason "stop", in words that no other request gets."""
    LENGTH = "length"
    """Half, with finish_reason "length": cut off by the token limit."""
    EMPTY = "empty"
    """No text, with finish_reason "stop"."""
    TOOL_CALLS = "tool_calls"
    """A call of the first tool that the request offers. Completions have no tools: they get OK."""
    SILENT_CUT = "silent_cut"
    """Half, without finish_reason; a stream also lacks usage and `[DONE]`. Yet it ends as HTTP should."""
    DROPPED = "dropped"
    """The connection closes within the body: no final chunk, or fewer bytes than Content-Length."""
    SLOW = "slow"
    """Nothing, not even headers, until `release()`; then OK."""
    STALLED = "stalled"
    """Headers and half at once, the rest after `release()`."""
    NOT_JSON = "not_json"
    """Status 200, but the JSON of the body (of an event, when streamed) breaks off."""
    HTML = "html"
    """Status 200 with a web page, as a login page in between or a wrong base_url gives."""
    ERROR_IN_BODY = "error_in_body"
    """Status 200 with an error object: the whole body, or an event after half."""
    RATE_LIMITED = "rate_limited"
    """429 `rate_limit_exceeded` with Retry-After: trying again helps."""
    NO_QUOTA = "no_quota"
    """429 `insufficient_quota` without Retry-After: trying again does not help."""
    SERVER_ERROR = "server_error"
    """500 with a JSON error."""
    UNAVAILABLE = "unavailable"
    """503 with a JSON error."""
    BAD_GATEWAY = "bad_gateway"
    """502 with a web page, as a proxy before a dead server gives."""
    WRONG_KEY = "wrong_key"
    """401 `invalid_api_key`; the message shows part of the key, or all of a short one. So is what lacks `api_key`."""
    UNKNOWN_MODEL = "unknown_model"
    """404 `model_not_found`. So is every model outside `models`."""
    UNKNOWN_URL = "unknown_url"
    """404 without a code. So is every other path, and with it a base_url that lacks `/v1`."""
    CONTEXT_TOO_LONG = "context_too_long"
    """400 `context_length_exceeded` (completions: without a code). So is every prompt over `context_window`."""
    BAD_REQUEST = "bad_request"
    """400 without a code. So is every body that is not JSON or lacks the model, the messages or the prompt."""


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request as it arrived, and how it was served. Noted before the answer leaves."""

    path: str
    headers: Mapping[str, str]
    """Those of `_KEPT_HEADERS`, in lower case."""
    body: Mapping[str, Any]
    """The parsed JSON; empty when it was none."""
    kind: Kind

    @property
    def key(self) -> str:
        """The key that the client sent, without `Bearer`; empty when it sent none."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")


class OpenAIServer:
    """Serves `/v1/chat/completions` and `/v1/completions`, whole and streamed, in a thread for each request.

    `weights` says how often each kind is drawn (default: always "ok"); the same seed draws the same sequence. `models`
    are the known ones (None: all), `context_window` counts tokens of four characters (None: no limit). A held request
    goes on by itself after `patience_s`, so that a test that forgets `release()` ends.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        weights: Mapping[str, float] | None = None,
        api_key: str = "sk-test-0123456789abcdef",
        models: Collection[str] | None = None,
        context_window: int | None = None,
        retry_after_s: int = 1,
        patience_s: float = 30.0,
    ) -> None:
        self.seed = seed
        self.api_key = api_key
        self._models = models
        self._context_window = context_window
        self._retry_after_s = retry_after_s
        self._patience_s = patience_s
        # Sorted, so that the order in which a test writes its weights does not change what is drawn.
        self._weights = dict(sorted((Kind(kind), weight) for kind, weight in (weights or {Kind.OK: 1}).items()))
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._queue: deque[Kind] = deque()
        self._requests: list[ReceivedRequest] = []
        self._answers = 0
        self._gate = threading.Condition()
        self._open = False
        self._releases = 0
        self._held = 0
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        failures = self.stop()
        if failures and exc is None:
            raise ExceptionGroup("the test server itself failed", failures)

    def start(self) -> None:
        """Listens on a free port of 127.0.0.1. A server is started once."""
        if self._listener is not None:
            raise RuntimeError("this server has been started before; make a new one")
        self._listener = _Listener(self)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), name="openai-server")
        self._thread.start()

    def stop(self) -> list[Exception]:
        """Ends all connections and threads; returns what failed in the server itself. May be called again."""
        if self._listener is None or self._thread is None:
            return []
        self.release()
        if self._thread.is_alive():
            self._listener.shutdown()
            self._thread.join()
            self._listener.cut_connections()
            self._listener.server_close()
        return list(self._listener.failures)

    @property
    def base_url(self) -> str:
        """What clients take as base_url: `http://127.0.0.1:<port>/v1`."""
        if self._listener is None:
            raise RuntimeError("the server has no address before it is started")
        return f"http://127.0.0.1:{self._listener.server_address[1]}/v1"

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """All requests until now, in the order of their arrival."""
        with self._lock:
            return tuple(self._requests)

    def next(self, *kinds: str) -> None:
        """Queues the kinds of the next requests.

        They use up no draw. A request that is refused anyway (a wrong key, say) uses none of them.
        """
        with self._lock:
            self._queue.extend([Kind(kind) for kind in kinds])

    def release(self) -> None:
        """Lets every slow and stalled request go on, those to come too, until `hold()`."""
        with self._gate:
            self._open = True
            self._releases += 1
            self._gate.notify_all()

    def hold(self) -> None:
        """Makes the slow and stalled requests to come wait again, as at the start."""
        with self._gate:
            self._open = False

    def wait_until_held(self, count: int = 1, timeout_s: float = 30.0) -> bool:
        """Waits until `count` requests are held at once; False when that did not happen in time."""
        with self._gate:
            return self._gate.wait_for(lambda: self._held >= count, timeout_s)

    def hold_back(self) -> None:
        """For the handler of a slow or stalled request: returns when it may go on."""
        with self._gate:
            seen = self._releases
            self._held += 1
            self._gate.notify_all()
            self._gate.wait_for(lambda: self._open or self._releases != seen, self._patience_s)
            self._held -= 1

    def receive(self, path: str, headers: Mapping[str, str], raw: bytes) -> _Exchange:
        """For the handler: decides how a request is served, notes it, and numbers its answers."""
        try:
            parsed = json.loads(raw)
        except ValueError:
            parsed = None
        body: dict[str, Any] = parsed if isinstance(parsed, dict) else {}
        prompts = _prompts(body)
        choices = len(prompts) * int(body.get("n") or 1)
        with self._lock:
            kind = self._refusal(path, headers, body, prompts) or self._draw()
            if kind is Kind.TOOL_CALLS and path == _COMPLETION:
                kind = Kind.OK
            kept = MappingProxyType({name: headers[name] for name in _KEPT_HEADERS if name in headers})
            request = ReceivedRequest(path, kept, MappingProxyType(body), kind)
            self._requests.append(request)
            names = [f"Answer {self._answers + 1 + index} of server {self.seed}" for index in range(choices)]
            self._answers += choices
            return _Exchange(request, len(self._requests), prompts, names, self._retry_after_s, self._context_window)

    def _refusal(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any], prompts: list[str]
    ) -> Kind | None:
        """What a server without faults refuses too, in the order in which the real one looks."""
        if path not in (_CHAT, _COMPLETION):
            return Kind.UNKNOWN_URL
        if headers.get("authorization") != f"Bearer {self.api_key}":
            return Kind.WRONG_KEY
        if not body.get("model") or not body.get("messages" if path == _CHAT else "prompt"):
            return Kind.BAD_REQUEST
        if self._models is not None and body["model"] not in self._models:
            return Kind.UNKNOWN_MODEL
        if self._context_window is not None and sum(map(_tokens, prompts)) > self._context_window:
            return Kind.CONTEXT_TOO_LONG
        return None

    def _draw(self) -> Kind:
        if self._queue:
            return self._queue.popleft()
        return self._random.choices(list(self._weights), list(self._weights.values()))[0]


# Answers: pure functions from a request to JSON.

_CHAT = "/v1/chat/completions"
_COMPLETION = "/v1/completions"
_KEPT_HEADERS = ("authorization", "content-type", "accept", "user-agent", "openai-organization", "openai-project")
_EPOCH = 1_750_000_000
"""Unix time of the first answer. Each is a second later: answers depend on the seed and the requests only."""
_SNAPSHOTS = {
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-3.5-turbo-instruct": "gpt-3.5-turbo-instruct:20230824-v2",
}
"""OpenAI answers under another name than it was asked for; all other names come back as they are."""


@dataclass(frozen=True, slots=True)
class _Choice:
    index: int
    text: str
    """The arguments when it is a tool call."""
    finish_reason: str | None
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class _Exchange:
    request: ReceivedRequest
    number: int
    prompts: list[str]
    names: list[str]
    """One for each choice, all different: they make its words unique."""
    retry_after_s: int
    context_window: int | None

    @property
    def kind(self) -> Kind:
        return self.request.kind

    @property
    def chat(self) -> bool:
        return self.request.path == _CHAT

    @property
    def streamed(self) -> bool:
        return bool(self.request.body.get("stream"))

    @property
    def choices(self) -> list[_Choice]:
        each = len(self.names) // len(self.prompts)
        return [self._choice(index, name, self.prompts[index // each]) for index, name in enumerate(self.names)]

    def _choice(self, index: int, name: str, prompt: str) -> _Choice:
        # Characters of two, three and four bytes: a client that decodes badly shows it.
        text = f"{name} to “{prompt[:60]}”: written for this request alone, ação 数 🚀."
        match self.kind:
            case Kind.EMPTY:
                return _Choice(index, "", "stop")
            case Kind.LENGTH:
                return _Choice(index, text[: len(text) // 2], "length")
            case Kind.SILENT_CUT:
                return _Choice(index, text[: len(text) // 2], None)
            case Kind.TOOL_CALLS:
                tools = self.request.body.get("tools") or [{"function": {"name": "look_up"}}]
                return _Choice(index, json.dumps({"query": text}), "tool_calls", tools[0]["function"]["name"])
            case _:
                return _Choice(index, text, "stop")

    @property
    def usage(self) -> dict[str, Any]:
        asked, made = sum(map(_tokens, self.prompts)), sum(_tokens(choice.text) for choice in self.choices)
        usage: dict[str, Any] = {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made}
        if self.chat:
            usage["prompt_tokens_details"] = {"cached_tokens": 0, "audio_tokens": 0}
            usage["completion_tokens_details"] = {"reasoning_tokens": 0, "audio_tokens": 0}
        return usage

    def envelope(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """What a whole answer and every event of a stream have around their choices."""
        model = self.request.body["model"]
        chunk = ".chunk" if self.streamed else ""
        return {
            "id": f"{'chatcmpl' if self.chat else 'cmpl'}-test{self.number:06d}",
            "object": f"chat.completion{chunk}" if self.chat else "text_completion",
            "created": _EPOCH + self.number,
            "model": _SNAPSHOTS.get(model, model),
            "system_fingerprint": "fp_0123456789",
            "choices": choices,
        }

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        choices: list[dict[str, Any]] = []
        for choice in self.choices:
            said: dict[str, Any] = {"text": choice.text}
            if self.chat:
                said = {"message": {"role": "assistant", "content": choice.text, "refusal": None}}
            if choice.tool:
                said["message"] |= {"content": None, "tool_calls": [self._call(choice, choice.text)]}
            choices.append({"index": choice.index, "logprobs": None, "finish_reason": choice.finish_reason} | said)
        return self.envelope(choices) | {"usage": self.usage}

    def events(self) -> Iterator[dict[str, Any]]:
        """The events of a stream, word by word, without the closing `[DONE]`."""
        with_usage = bool((self.request.body.get("stream_options") or {}).get("include_usage"))

        def event(choice: _Choice, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
            said = {"delta": delta} if self.chat else {"text": delta.get("content", "")}
            choices = [{"index": choice.index, "logprobs": None, "finish_reason": finish_reason} | said]
            return self.envelope(choices) | ({"usage": None} if with_usage else {})

        for choice in self.choices:
            if self.chat:
                yield event(choice, {"role": "assistant", "content": None if choice.tool else "", "refusal": None})
            if choice.tool:
                yield event(choice, {"tool_calls": [{"index": 0} | self._call(choice, "")]})
            for piece in re.findall(r"\S+\s*|\s+", choice.text):
                call = [{"index": 0, "function": {"arguments": piece}}]
                yield event(choice, {"tool_calls": call} if choice.tool else {"content": piece})
            if choice.finish_reason:
                yield event(choice, {}, choice.finish_reason)
        if with_usage and self.kind is not Kind.SILENT_CUT:
            yield self.envelope([]) | {"usage": self.usage}

    def _call(self, choice: _Choice, arguments: str) -> dict[str, Any]:
        function = {"name": choice.tool, "arguments": arguments}
        return {"id": f"call_{self.number}_{choice.index}", "type": "function", "function": function}


def _prompts(body: Mapping[str, Any]) -> list[str]:
    """The last message of a chat, or every prompt of a completion; never an empty list."""
    if messages := body.get("messages"):
        content = messages[-1].get("content") or ""
        return [content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)]
    prompt = body.get("prompt") or ""
    return [str(one) for one in prompt] if isinstance(prompt, list) else [prompt]


def _tokens(text: str) -> int:
    """Four characters a token, rounded up: near enough for English."""
    return (len(text) + 3) // 4


# Failures, in the words of the real server, since clients look for some of them.


@dataclass(frozen=True, slots=True)
class _Failure:
    status: int
    message: str
    code: str | None = None
    type: str = "invalid_request_error"
    param: str | None = None


_FAILURES = {
    Kind.RATE_LIMITED: _Failure(
        429,
        "Rate limit reached for {model} in organization org-test on requests per min (RPM): Limit 3, Used 3, Requested "
        "1. Please try again in {retry_after_s}s. Visit https://platform.openai.com/account/rate-limits to learn more.",
        "rate_limit_exceeded",
        "requests",
    ),
    Kind.NO_QUOTA: _Failure(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        "error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    Kind.SERVER_ERROR: _Failure(
        500, "The server had an error while processing your request. Sorry about that!", type="server_error"
    ),
    Kind.ERROR_IN_BODY: _Failure(
        200, "The server had an error while processing your request. Sorry about that!", type="server_error"
    ),
    Kind.UNAVAILABLE: _Failure(
        503,
        "That model is currently overloaded with other requests. You can retry your request.",
        type="server_error",
    ),
    Kind.WRONG_KEY: _Failure(
        401,
        "Incorrect API key provided: {key}. You can find your API key at https://platform.openai.com/account/api-keys.",
        "invalid_api_key",
    ),
    Kind.UNKNOWN_MODEL: _Failure(
        404, "The model `{model}` does not exist or you do not have access to it.", "model_not_found"
    ),
    Kind.UNKNOWN_URL: _Failure(404, "Invalid URL (POST {path})"),
    Kind.CONTEXT_TOO_LONG: _Failure(
        400,
        "This model's maximum context length is {window} tokens. However, your messages resulted in {asked} tokens. "
        "Please reduce the length of the messages.",
        "context_length_exceeded",
        param="messages",
    ),
    Kind.BAD_REQUEST: _Failure(
        400, "We could not parse the JSON body of your request, or it lacks the model, messages or prompt."
    ),
}
_NO_KEY = _Failure(
    401,
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY).",
)
_PROMPT_TOO_LONG = _Failure(
    400,
    "This model's maximum context length is {window} tokens, however you requested {asked} tokens ({asked} in your "
    "prompt; 0 for the completion). Please reduce your prompt; or completion length.",
)


def _error(exchange: _Exchange) -> tuple[int, dict[str, Any]] | None:
    """The status and JSON of a failure that has its own; None for every other kind."""
    failure = _FAILURES.get(exchange.kind)
    if failure is None:
        return None
    if exchange.kind is Kind.WRONG_KEY and not exchange.request.key:
        failure = _NO_KEY
    if exchange.kind is Kind.CONTEXT_TOO_LONG and not exchange.chat:
        failure = _PROMPT_TOO_LONG
    window = exchange.context_window or 16385
    message = failure.message.format(
        key=_masked(exchange.request.key),
        path=exchange.request.path,
        model=exchange.request.body.get("model"),
        retry_after_s=exchange.retry_after_s,
        window=window,
        asked=max(sum(map(_tokens, exchange.prompts)), window + 1),
    )
    error = {"message": message, "type": failure.type, "param": failure.param, "code": failure.code}
    return failure.status, {"error": error}


def _masked(key: str) -> str:
    """A key as OpenAI shows it: 8 characters, stars, 4 characters; a short key whole."""
    return key if len(key) <= 12 else key[:8] + "*" * (len(key) - 12) + key[-4:]


# HTTP.


@dataclass(frozen=True, slots=True)
class _Reply:
    """What goes over the wire. Between blocks (events, or the halves of a body) it can be cut or held."""

    status: int
    content_type: str
    blocks: list[bytes]
    chunked: bool = False


def _encoded(value: Any) -> bytes:
    # Unescaped, like the real server's; a lone surrogate becomes a backslash escape, which JSON happens to share.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def _halves(body: bytes) -> list[bytes]:
    return [body[: len(body) // 2], body[len(body) // 2 :]]


def _reply(exchange: _Exchange) -> _Reply:
    kind, error = exchange.kind, _error(exchange)
    if kind in (Kind.HTML, Kind.BAD_GATEWAY):
        status, title = (200, b"Sign in to the network") if kind is Kind.HTML else (502, b"502 Bad Gateway")
        page = b"<!DOCTYPE html>\n<html><head><title>%s</title></head><body>%s</body></html>\n" % (title, title)
        return _Reply(status, "text/html", [page])
    if error and not (kind is Kind.ERROR_IN_BODY and exchange.streamed):
        return _Reply(error[0], "application/json", [_encoded(error[1])])
    if not exchange.streamed:
        halves = _halves(_encoded(exchange.whole()))
        return _Reply(200, "application/json", halves[:1] if kind is Kind.NOT_JSON else halves)
    data = [_encoded(event) for event in exchange.events()]
    half = len(data) // 2
    if error:
        data[half:] = [_encoded(error[1])]
    elif kind is Kind.NOT_JSON:
        data[half:] = _halves(data[half])[:1]
    if kind is not Kind.SILENT_CUT:
        data.append(b"[DONE]")
    return _Reply(200, "text/event-stream; charset=utf-8", [b"data: %s\n\n" % one for one in data], chunked=True)


class _Handler(BaseHTTPRequestHandler):
    """Serves one request and closes the connection: a client would keep an open one beyond the server's end."""

    protocol_version = "HTTP/1.1"
    # Many small writes: under Nagle's algorithm each would wait for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    server: _Listener

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        raw = self.rfile.read(int(headers.get("content-length", 0)))
        owner = self.server.owner
        exchange = owner.receive(self.path, headers, raw)
        reply = _reply(exchange)
        if exchange.kind is Kind.SLOW:
            owner.hold_back()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("x-request-id", f"req_{exchange.number}")
        self.send_header("Connection", "close")
        if exchange.kind is Kind.RATE_LIMITED:
            self.send_header("Retry-After", str(exchange.retry_after_s))
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(sum(map(len, reply.blocks))))
        self.end_headers()
        for number, block in enumerate(reply.blocks):
            if number == len(reply.blocks) // 2 and exchange.kind is Kind.DROPPED:
                return
            if number == len(reply.blocks) // 2 and exchange.kind is Kind.STALLED:
                owner.hold_back()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if reply.chunked else block)
        if reply.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what matters is in `OpenAIServer.requests`."""


class _Listener(socketserver.ThreadingTCPServer):
    """Knows its open connections, so that it can end them, and keeps what fails in a handler."""

    request_queue_size = 128
    daemon_threads = False

    def __init__(self, owner: OpenAIServer) -> None:
        self.owner = owner
        self.failures: list[Exception] = []
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self._connections.add(connection)
        return connection, address

    def close_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().close_request(request)

    def cut_connections(self) -> None:
        """Wakes every handler that waits for its client."""
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that went away (its timeout, its process) is no failure of the server.
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self.failures.append(error)
