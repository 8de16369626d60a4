"""Caches that a settings file may name by their dotted path, good and bad, and things that are no caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.outputs import Generation

NOT_A_CLASS = "text"


class Plain(BaseCache):
    """Keeps everything in memory, and remembers what it was made with."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.inner = InMemoryCache()

    def lookup(self, prompt: str, llm_string: str) -> Any:
        """What is there."""
        return self.inner.lookup(prompt, llm_string)

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Keep it."""
        self.inner.update(prompt, llm_string, return_val)

    def clear(self, **kwargs: Any) -> None:
        """Forget everything."""
        self.inner.clear()


class NeverCleared(Plain):
    """Can't be cleared."""

    def clear(self, **kwargs: Any) -> None:
        """Refuse."""
        raise NotImplementedError("this cache can't be cleared")


class OpensLater(Plain):
    """Can't be opened before somebody sets `ready`."""

    ready = False

    def __init__(self, **options: Any) -> None:
        if not self.ready:
            raise ConnectionError("no server at redis://app:hunter2secret@cache:6379/0")
        super().__init__(**options)


class NoCache:
    """Is no `BaseCache`."""
