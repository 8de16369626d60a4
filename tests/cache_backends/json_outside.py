"""What tests see of the files of a `JSONFileCache` from outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cache_backends import CacheEntry, JSONFileCache, cache_key
from tests.cache_backends.answers import LLM

OpenJSON = Callable[..., JSONFileCache]


def file_of(cache: JSONFileCache, prompt: str) -> Path:
    """Where the entry of a prompt lies."""
    return Path(cache._file(cache_key(prompt, LLM)))


def entry_of(cache: JSONFileCache, prompt: str) -> CacheEntry | None:
    """The whole entry of a prompt."""
    return cache.get(cache_key(prompt, LLM))


def files(folder: Path) -> set[str]:
    """The names of all files, however deep."""
    return {path.name for path in folder.rglob("*") if path.is_file()}
