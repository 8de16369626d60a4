"""What a failed model call means: its kind, and what the server said, with credentials taken out."""

from __future__ import annotations

import re

from cache_backends.readable import REDACTED, redact
from lab.measurement import FailureKind
from lab.models import BadKeyError, NoKeyError

MAX_DETAIL = 300
MAX_EXAMINED = 2_000
"""Characters of a message that are looked at: a server may send back the prompt, or a picture."""

KINDS_BY_NAME: tuple[tuple[FailureKind, frozenset[str]], ...] = (
    ("timeout", frozenset({"APITimeoutError", "TimeoutException", "TimeoutError"})),
    (
        "unreachable",
        frozenset(
            {
                "ConnectError",
                "ProxyError",
                "UnsupportedProtocol",
                "TooManyRedirects",
                "gaierror",
                "ConnectionRefusedError",
            }
        ),
    ),
    (
        "connection_lost",
        frozenset(
            {"RemoteProtocolError", "ReadError", "WriteError", "CloseError", "IncompleteRead", "ConnectionError"}
        ),
    ),
    ("bad_answer", frozenset({"APIResponseValidationError", "JSONDecodeError", "DecodingError", "UnicodeDecodeError"})),
    ("bad_request", frozenset({"LocalProtocolError", "UnicodeEncodeError"})),
)
"""Exceptions of httpx, its successor, the openai package and Python, by the names of their classes."""

_QUOTA = frozenset({"insufficient_quota", "quota_exceeded", "billing_hard_limit_reached", "billing_not_active"})
_KEY = frozenset({"invalid_api_key", "authentication_error"})
_TOO_LONG = re.compile(r"context[ _-]?(?:length|size|window)|prompt is too long|string_above_max_length", re.IGNORECASE)
"""What OpenAI, vLLM, llama.cpp and others say: some send no code with it."""
_BY_STATUS: dict[int, FailureKind] = {
    401: "wrong_key",
    402: "quota_used_up",
    403: "not_allowed",
    404: "unknown_model",
    408: "timeout",
    413: "prompt_too_long",
}
_MASKED_KEY = re.compile(r"""[^\s"']*\*{3,}[^\s"']*|\bsk-[\w-]+""")
"""A key as OpenAI shows it, with stars in its middle."""


class StoppedError(Exception):
    """A person stopped the answer."""


def classify(error: BaseException) -> FailureKind:
    """The kind of failure behind an exception of a model call, found along its chain of causes."""
    for cause in _causes(error):
        kind = _kind(cause)
        if kind is not None:
            return kind
    if isinstance(error, (ValueError, TypeError, LookupError, AttributeError)):
        return "bad_answer"  # the client stumbled over what it got
    return "other"


def detail(error: BaseException, secrets: tuple[str, ...] = ()) -> str:
    """One line on what was said, with credentials taken out, shortened to 300 characters."""
    text = _message(error)
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    text = " ".join(text[:MAX_EXAMINED].split())
    text = _MASKED_KEY.sub(REDACTED, redact(text))
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"


def _kind(error: BaseException) -> FailureKind | None:
    if isinstance(error, StoppedError):
        return "stopped"
    if isinstance(error, NoKeyError):
        return "no_key"
    if isinstance(error, BadKeyError):
        return "wrong_key"
    names = {cls.__name__ for cls in type(error).__mro__}
    for kind, known in KINDS_BY_NAME:
        if names & known:
            return kind
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _kind_of_status(status, error)
    if "APIConnectionError" in names:
        return "unreachable"
    if "APIError" in names:  # told in the middle of a stream, under a status that promised an answer
        return _kind_of_words(error) or "server_error"
    return None


def _kind_of_status(status: int, error: BaseException) -> FailureKind:
    if status < 400:
        return "bad_answer"
    if status >= 500:
        return "server_error"
    in_words = _kind_of_words(error)
    if status == 429:
        return "quota_used_up" if in_words == "quota_used_up" else "rate_limited"
    if in_words == "prompt_too_long":
        return in_words
    return _BY_STATUS.get(status, "bad_request")


def _kind_of_words(error: BaseException) -> FailureKind | None:
    """What code, type and message of the server's error object say."""
    words = {str(getattr(error, name, None) or "") for name in ("code", "type")}
    if words & _QUOTA:
        return "quota_used_up"
    if words & _KEY:
        return "wrong_key"
    if any("rate_limit" in word for word in words):
        return "rate_limited"
    if any(_TOO_LONG.search(text[:MAX_EXAMINED]) for text in (*words, _message(error))):
        return "prompt_too_long"
    return None


def _causes(error: BaseException) -> list[BaseException]:
    """The exception and what caused it, innermost first: a driver's word is clearer than its wrapper's."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and not any(current is seen for seen in chain):
        chain.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain[::-1]


def _message(error: BaseException) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    return str(error) or type(error).__name__
