"""Short ways to ask and answer: the prompts, parameters and generations that tests store and look up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, Generation

from cache_backends import CacheBackend, CacheEntry, Lookup, cache_key

LLM = "[('_type', 'demo'), ('model_name', 'demo-1'), ('temperature', 0.7)]"
"""Parameters of a model as LangChain passes them."""


def chat(text: str, **fields: Any) -> ChatGeneration:
    """What a chat model answers."""
    return ChatGeneration(message=AIMessage(text, **fields))


def chat_prompt(text: str) -> str:
    """What LangChain passes as the prompt of a chat model asked with one message."""
    return dumps([HumanMessage(text)])


def store(cache: CacheBackend, prompt: str, *texts: str, llm_string: str = LLM) -> None:
    """Store one chat answer of one or more generations."""
    cache.update(prompt, llm_string, [chat(text) for text in texts])


def texts(generations: Sequence[Generation] | None) -> list[str] | None:
    """The texts of what a lookup gave."""
    return None if generations is None else [generation.text for generation in generations]


def found(cache: CacheBackend, prompt: str, llm_string: str = LLM) -> list[str] | None:
    """The texts stored for a prompt, None where there are none."""
    return texts(cache.lookup(prompt, llm_string))


def look(cache: CacheBackend, prompt: str, llm_string: str = LLM) -> Lookup:
    """How one lookup ended."""
    with cache.observe() as lookups:
        cache.lookup(prompt, llm_string)
    assert len(lookups) == 1
    return lookups[0]


def key_of(prompt: str, llm_string: str = LLM) -> str:
    """The key of a prompt."""
    return cache_key(prompt, llm_string)


def whole(cache: CacheBackend, prompt: str, llm_string: str = LLM) -> CacheEntry:
    """The whole entry of a prompt, which must be there."""
    entry = cache.get(key_of(prompt, llm_string))
    assert entry is not None
    return entry


def prompts(cache: CacheBackend) -> set[str]:
    """The prompts of all entries of a namespace."""
    return {entry.prompt for entry in cache.entries(limit=1000).entries}
