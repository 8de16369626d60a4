"""What a failed model call means: its kind, and what the server said, with credentials taken out."""

from __future__ import annotations

import json

from cache_backends.readable import redact
from lab.measurement import FailureKind
from lab.models import NoKeyError

MAX_DETAIL = 300


class StoppedError(Exception):
    """A person stopped the answer."""


def classify(error: BaseException) -> FailureKind:
    """The kind of failure behind an exception of a model call, found along its chain of causes."""
    for cause in _causes(error):
        kind = _kind(cause)
        if kind is not None:
            return kind
    return "other"


def detail(error: BaseException, secrets: tuple[str, ...] = ()) -> str:
    """One line on what was said, with credentials taken out, shortened to 300 characters."""
    text = " ".join(_message(error).split())
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[redacted]")
    text = redact(text)
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"


def _kind(error: BaseException) -> FailureKind | None:
    if isinstance(error, StoppedError):
        return "stopped"
    if isinstance(error, NoKeyError):
        return "no_key"
    if isinstance(error, json.JSONDecodeError):
        return "bad_answer"
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _kind_of_status(status, str(getattr(error, "code", None) or ""))
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"APITimeoutError", "TimeoutException"}:
        return "timeout"
    if names & {"ConnectError", "gaierror", "ConnectionRefusedError", "UnsupportedProtocol"}:
        return "unreachable"
    if names & {"RemoteProtocolError", "ReadError", "ConnectionResetError", "IncompleteRead", "WriteError"}:
        return "connection_lost"
    if "APIResponseValidationError" in names:
        return "bad_answer"
    return None


def _kind_of_status(status: int, code: str) -> FailureKind:
    if status == 429:
        return "quota_used_up" if code == "insufficient_quota" else "rate_limited"
    if status >= 500:
        return "server_error"
    if code == "context_length_exceeded":
        return "prompt_too_long"
    by_status: dict[int, FailureKind] = {
        401: "wrong_key",
        403: "not_allowed",
        404: "unknown_model",
        408: "timeout",
        413: "prompt_too_long",
    }
    return by_status.get(status, "bad_request")


def _causes(error: BaseException) -> list[BaseException]:
    """The exception and what caused it, innermost first: a driver's word is clearer than its wrapper's."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain[::-1]


def _message(error: BaseException) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    return str(error) or type(error).__name__
