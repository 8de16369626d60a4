"""Which answers are not worth keeping: empty ones, and those cut off by their length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.outputs import ChatGeneration, Generation

from cache_backends.errors import NotCacheableError

_CUT_OFF = frozenset({"length", "max_tokens", "MAX_TOKENS", "max_output_tokens"})
"""Finish reasons of an answer cut off by its length (OpenAI, Ollama; Anthropic, Bedrock; Google; OpenAI Responses)."""

_FINISH_REASONS = ("finish_reason", "stop_reason", "done_reason", "stopReason")


def refuse_what_is_not_worth_keeping(generations: Sequence[Generation], *, store_truncated: bool) -> None:
    """Raise `NotCacheableError` for empty answers, and for those cut off by their length."""
    if not generations or any(map(_is_empty, generations)):
        raise NotCacheableError("empty", "the answer is empty")
    if not store_truncated and any(map(_is_cut_off, generations)):
        raise NotCacheableError("truncated", "the answer was cut off by its length limit")


def _is_empty(generation: Generation) -> bool:
    text = generation.text
    if text and not text.isspace():
        return False
    if not isinstance(generation, ChatGeneration):
        return True
    message = generation.message
    return not (
        getattr(message, "tool_calls", None)
        or any(message.additional_kwargs.values())
        or (isinstance(message.content, list) and not all(map(_is_blank_text, message.content)))
    )


def _is_blank_text(block: object) -> bool:
    if isinstance(block, dict):
        block = block.get("text") if block.get("type") == "text" else block
    return isinstance(block, str) and not block.strip()


def _is_cut_off(generation: Generation) -> bool:
    info = generation.generation_info
    if info and _says_cut_off(info):
        return True
    return isinstance(generation, ChatGeneration) and _says_cut_off(generation.message.response_metadata)


def _says_cut_off(metadata: Mapping[str, Any]) -> bool:
    for name in _FINISH_REASONS:
        reason = metadata.get(name)
        if type(reason) is str and reason in _CUT_OFF:
            return True
    details = metadata.get("incomplete_details")
    return isinstance(details, dict) and details.get("reason") in tuple(_CUT_OFF)
