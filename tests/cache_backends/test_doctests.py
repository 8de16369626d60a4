"""The examples in the documentation of the library run, and say the truth."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import tempfile
from pathlib import Path

import pytest

import cache_backends
from cache_backends import CacheBackend

MODULES = [module.name for module in pkgutil.walk_packages(cache_backends.__path__, "cache_backends.")]
WITH_EXAMPLES = {
    "memory", "sqlite", "json_files", "keys", "one_request", "options", "readable", "single_flight", "urls",
}  # fmt: skip
BACKENDS = [
    value
    for value in (getattr(cache_backends, name) for name in cache_backends.__all__)
    if inspect.isclass(value) and issubclass(value, CacheBackend) and not inspect.isabstract(value)
    if not value.__module__.startswith("cache_backends.servers.")  # an example would need a server
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # what examples leave goes with the test
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert result.attempted > 0 or name.rpartition(".")[2] not in WITH_EXAMPLES


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.__name__)
def test_every_backend_shows_a_store_and_a_lookup(backend: type[CacheBackend]) -> None:
    examples = "".join(example.source for example in doctest.DocTestParser().get_examples(backend.__doc__ or ""))
    assert f"{backend.__name__}(" in examples
    assert ".update(" in examples
    assert ".lookup(" in examples


def test_the_embedded_backends_are_all_looked_at() -> None:
    assert {backend.__name__ for backend in BACKENDS} >= {"MemoryCache", "SQLiteCache", "JSONFileCache"}
