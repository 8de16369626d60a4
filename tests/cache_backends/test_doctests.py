"""The examples in the documentation of the library run, and say the truth."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import cache_backends

MODULES = [f"cache_backends.{module.name}" for module in pkgutil.iter_modules(cache_backends.__path__)]
WITH_EXAMPLES = {"memory", "sqlite", "json_files", "keys", "options", "readable", "urls"}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert result.attempted > 0 or name.rpartition(".")[2] not in WITH_EXAMPLES
