"""LangChain's prompt and parameter strings as a person reads them, with secrets taken out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

SHOWN_PROMPT_LENGTH = 300
SHOWN_ANSWER_LENGTH = 300
"""Characters that a summary shows of a prompt and of an answer."""

LONGEST_REMEMBERED = 100_000
"""Characters of parameters that are remembered: an imported file may hold some of many megabytes."""

REDACTED = "[redacted]"
_SECRET_NAME = (
    r"(?:proxy-)?authorization|(?:set-)?cookie"
    r"|[\w-]*(?:(?:api|access|subscription|private)[-_ ]?keys?|secret|password|passwd|pwd|credentials?|token)"
    r"|(?:x-)?auth(?:-[\w-]+)?|key"
)
_SECRET_FIELD = re.compile(  # backslashes: JSON in JSON; "b": bytes
    rf"""(["'](?:{_SECRET_NAME})\\*["']\s*[:,]\s*b?\\*)(["'])((?:\\.|(?!\2).)*)\2""", re.IGNORECASE | re.DOTALL
)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_TOKEN_LIKE = re.compile(
    r"\b(?:sk-|gsk_|hf_|gh[pousr]_|xai-|AIza|AKIA)[A-Za-z0-9_-]{12,}"
)  # OpenAI, Groq, HF, GitHub …
_UNQUOTED = re.compile(
    r"\b((?:proxy-)?authorization\s*[:=]\s*)(?:(?:Bearer|Basic|Token)\s+)?[^\s'\",;\[({]{6,}", re.IGNORECASE
)
_URL_KEY = re.compile(
    r"([?&][\w-]*(?:key|token|secret|password|passwd|pwd|pass|credentials?|signature|sig|auth|authMechanismProperties)=)"
    r"([^&\s'\"]+)",
    re.IGNORECASE,
)
_URL_USER = re.compile(r"(?<![\w+.-])(\w[\w+.-]*://)[^\s:/@'\"]+@")
_URL_PASSWORD = re.compile(r"(?<![\w+.-])(\w[\w+.-]*://[^\s:/@]*:)[^\s@/]+@")  # "(?<!": else quadratic in long words
_MODEL = re.compile(r"""["'](?:model_name|model|model_id|deployment_name)["']\s*[:,]\s*["']([^"']{1,200})["']""")

_MESSAGE_PREFIX = (
    '[{"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "HumanMessage"], '
    '"kwargs": {"content": '
)
_MESSAGE_SUFFIX = ', "type": "human"}}]'


def readable_prompt(raw_prompt: str) -> str:
    """The prompt as a person wrote it: the text of a single message, or "role: text" lines of several.

    Whatever is not LangChain's JSON of messages (a completion model's prompt) is returned as it is.
    """
    text = single_message(raw_prompt)
    if text is not None:
        return text
    return _displayable(_text_of_messages(raw_prompt))


def single_message(raw_prompt: str) -> str | None:
    """The text of the one human message that `raw_prompt` is made of, None where it is anything else.

    Only where `message_prompt` gives `raw_prompt` back to the letter and UTF-8 can carry the text, so that a store may
    keep the text alone.
    """
    if not (raw_prompt.startswith(_MESSAGE_PREFIX) and raw_prompt.endswith(_MESSAGE_SUFFIX)):
        return None
    literal = raw_prompt[len(_MESSAGE_PREFIX) : -len(_MESSAGE_SUFFIX)]
    if _is_plain(literal):
        return literal[1:-1]
    try:
        text = json.loads(literal)
    except (ValueError, RecursionError):
        return None
    if not isinstance(text, str) or message_prompt(text) != raw_prompt:
        return None
    return text if _displayable(text) == text else None


def _is_plain(literal: str) -> bool:
    """Whether a JSON text is a string that needs no escapes, as most questions are: it is its own content then."""
    return (
        literal[:1] == literal[-1:] == '"'
        and literal.count('"') == 2
        and "\\" not in literal
        and literal.isascii()
        and literal.isprintable()
    )


def message_prompt(text: str) -> str:
    """What LangChain passes as the prompt of a chat model asked with one human message."""
    return _MESSAGE_PREFIX + json.dumps(text) + _MESSAGE_SUFFIX


@dataclass(frozen=True, slots=True)
class Parameters:
    """What is kept of a model's parameters."""

    llm_string: str
    """Secrets redacted."""
    model: str | None


def readable_parameters(llm_string: str) -> Parameters:
    """The parameters without their secrets, and the model's name. The last few are remembered: programs have few."""
    make = _remembered_parameters if len(llm_string) <= LONGEST_REMEMBERED else _parameters
    return make(llm_string)


def _parameters(llm_string: str) -> Parameters:
    return Parameters(redact(llm_string), model_name(llm_string))


_remembered_parameters = lru_cache(maxsize=64)(_parameters)


def model_name(llm_string: str) -> str | None:
    """The model's name in LangChain's parameter string, if it is there."""
    match = _MODEL.search(llm_string)
    return match[1] if match else None


def redact(text: str) -> str:
    """The text with everything that looks like a credential replaced by `[redacted]`.

    >>> redact("{'Authorization': 'Bearer abcdefgh'}")
    "{'Authorization': '[redacted]'}"
    """
    text = _SECRET_FIELD.sub(rf"\1\2{REDACTED}\2", text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    text = _TOKEN_LIKE.sub(REDACTED, text)
    text = _UNQUOTED.sub(rf"\1{REDACTED}", text)
    text = _URL_KEY.sub(rf"\1{REDACTED}", text)
    text = _URL_PASSWORD.sub(rf"\1{REDACTED}@", text)
    return _URL_USER.sub(rf"\1{REDACTED}@", text)


def without_login(url: str) -> str:
    """A URL as a message may show it, though it may be none: nothing of what comes before the last "@", and no option.

    A password that was not encoded may have any character in it, and then splits the URL at the wrong places; options
    may be passwords under names that nobody thought of.

    >>> without_login("redis://ada:pass/word@host/0?pw=word")
    'redis://[redacted]@host/0'
    """
    scheme, separator, rest = url.partition("://")
    if not separator or rest.startswith("/") or "@" not in rest:
        return redact(url.partition("?")[0])
    return redact(f"{scheme}://{REDACTED}@{rest.rpartition('@')[2].partition('?')[0]}")


def secret_options(url: str) -> list[str]:
    """The values of options in a URL that look secret by their names, as they stand there.

    >>> secret_options("mongodb://host/db?w=1&tlsCertificateKeyFilePassword=word")
    ['word']
    """
    return [match[2] for match in _URL_KEY.finditer(url)]


def shortened(text: str, length: int) -> str:
    """The beginning of a text, with an ellipsis where something was left out."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _text_of_messages(raw_prompt: str) -> str:
    if not raw_prompt.startswith('[{"'):
        return raw_prompt
    try:
        messages = json.loads(raw_prompt)
        shown = [_message_text(message) for message in messages]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return raw_prompt
    if len(shown) == 1:
        return shown[0][1]
    return "\n".join(f"{role}: {content}" for role, content in shown)


def _displayable(text: str) -> str:
    """The text with a replacement character for each lone surrogate, which no file, socket or page can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _message_text(message: dict[str, Any]) -> tuple[str, str]:
    fields = message["kwargs"]
    content = fields["content"]
    if isinstance(content, list):
        content = "\n".join(_block_text(block) for block in content)
    return str(fields.get("type", message["id"][-1])), str(content)


def _block_text(block: object) -> str:
    if isinstance(block, dict):
        return str(block.get("text", f"[{block.get('type', 'block')}]"))
    return str(block)
