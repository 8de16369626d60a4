"""Entries that somebody planted: any payload under a checksum that fits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import apsw

from cache_backends import CacheBackend, JSONFileCache, cache_key
from cache_backends.base import StoredEntry
from cache_backends.codec import seal
from cache_backends.json_format import to_bytes
from tests.cache_backends.answers import LLM
from tests.cache_backends.json_outside import file_of

SUSPICIOUS = ("exec", "compile", "import", "pickle.find_class", "os.system", "os.exec", "os.fork", "subprocess.Popen")
"""Audit events of code being loaded or run (https://docs.python.org/3/library/audit_events.html)."""


def plant(cache: CacheBackend, prompt: str, payload: bytes) -> None:
    """Replace what is stored for a prompt by an entry whose checksum is right."""
    key = cache_key(prompt, LLM)
    if isinstance(cache, JSONFileCache):
        entry = StoredEntry(
            key=key,
            payload=payload,
            created_at=cache.clock(),
            expires_at=None,
            model_time_s=None,
            model=None,
            raw_prompt=prompt,
            llm_string=LLM,
        )
        file_of(cache, prompt).write_bytes(to_bytes(entry, cache.namespace))
        return
    path: Path = cache.path  # type: ignore[attr-defined]
    connection = apsw.Connection(str(path))
    connection.execute("update entries set value = ? where key = ?", (seal(key, payload), bytes.fromhex(key)))
    assert connection.changes() == 1
    connection.close()


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
