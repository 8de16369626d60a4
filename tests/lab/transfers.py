"""What the tests of moving entries are built of: caches with entries, and stores that fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration

from cache_backends import CacheBackend, CacheEntry, CacheUnavailableError, MemoryCache, cache_key

LLM = "[('_type', 'demo'), ('model_name', 'demo-1')]"
SECRET = "sk-abcdefghijklmnopqrstuvwx"
SECRETIVE = f"{{'Authorization': 'Bearer {SECRET}', 'model_name': 'demo-1'}}"


def store(cache: CacheBackend, prompt: str, text: str = "answer", llm_string: str = LLM) -> str:
    """Store an answer; the key."""
    cache.update(prompt, llm_string, [ChatGeneration(message=AIMessage(text))])
    return cache_key(prompt, llm_string)


def everything(cache: CacheBackend) -> dict[str, CacheEntry]:
    """All entries by their keys, without what depends on where they are kept."""
    keys = [summary.key for summary in cache.entries(limit=1000).entries]
    return {entry.key: replace(entry, namespace="", location="") for entry in cache.get_many(keys)}


class FailingCache(MemoryCache):
    """A store that takes so many entries and then fails."""

    def __init__(self, takes: int, **options: Any) -> None:
        super().__init__(**options)
        self.takes = takes

    def restore(self, entry: CacheEntry) -> None:
        """Take it, or fail with a message that holds a password."""
        if self.takes == 0:
            raise CacheUnavailableError("no server at redis://app:hunter2secret@cache:6379/0")
        self.takes -= 1
        super().restore(entry)
