"""Entries that somebody planted: any payload under a checksum that fits."""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

from cache_backends import CacheBackend, codec
from tests.cache_backends.answers import store

SUSPICIOUS = ("exec", "compile", "import", "pickle.find_class", "os.system", "os.exec", "os.fork", "subprocess.Popen")
"""Audit events of code being loaded or run (https://docs.python.org/3/library/audit_events.html)."""


def plant(cache: CacheBackend, prompt: str, payload: bytes) -> None:
    """Store an entry with this payload; whatever guards it fits, since the backend itself wrote it."""
    stores = cache.counters.stores
    with mock.patch.object(codec, "encode", return_value=payload):
        store(cache, prompt, "planted")
    assert cache.counters.stores == stores + 1


class Watch:
    """Notes whenever code is loaded or run, from now until the process ends: only for a child process."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._active = True
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._active and event.startswith(SUSPICIOUS):
            self.seen.append(f"{event} {str(arguments)[:200]}")

    def stop(self) -> list[str]:
        """What was seen."""
        self._active = False
        return self.seen
