"""What a test does about a server that is not installed: it is skipped with a sentence, and under CI it fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.servers.programs import NotInstalledError

S = TypeVar("S")


def available(start: Callable[[], S]) -> S:
    """What `start` returns: `available(shared_postgres)`, `available(RedisServer(persistence="aof").start)`."""
    try:
        return start()
    except NotInstalledError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
