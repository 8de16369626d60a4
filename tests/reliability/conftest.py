"""Fixtures: those of the backends' own tests."""

import pytest

pytest.register_assert_rewrite("tests.reliability.proof")

from tests.cache_backends.conftest import (  # noqa: E402
    backend,
    clock,
    folder,
    open_again,
    open_json,
    open_sqlite,
    path,
)

__all__ = ["backend", "clock", "folder", "open_again", "open_json", "open_sqlite", "path"]
