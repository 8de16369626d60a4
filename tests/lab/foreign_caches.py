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


class FailsLater(Plain):
    """Finds what it is asked the first time, and fails from then on."""

    lookups = 0

    def lookup(self, prompt: str, llm_string: str) -> Any:
        """Once."""
        self.lookups += 1
        if self.lookups > 1:
            raise ConnectionError("lost redis://app:hunter2secret@cache:6379/0")
        return super().lookup(prompt, llm_string)


class ForgetsLater(FailsLater):
    """Finds what it is asked the first time, and nothing from then on."""

    def lookup(self, prompt: str, llm_string: str) -> Any:
        """Once."""
        self.lookups += 1
        return self.inner.lookup(prompt, llm_string) if self.lookups == 1 else None


class FindsNothing(Plain):
    """Keeps nothing."""

    def lookup(self, prompt: str, llm_string: str) -> None:
        """Nothing."""
