"""The floors: the least code that does a backend's job, with no promise kept beyond it.

Each hashes the request, makes one raw read, parses the JSON and builds the validated generations; or dumps them and
makes one raw write, with the same durability as the backend it is the floor of.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw
import orjson
from langchain_core.caches import BaseCache
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation


def digest(prompt: str, llm_string: str) -> bytes:
    """The key of a request."""
    prompt_bytes = prompt.encode()
    return sha256(len(prompt_bytes).to_bytes(8, "big") + prompt_bytes + llm_string.encode()).digest()


def dump(generations: Sequence[Generation]) -> bytes:
    """The fields of an OpenAI answer as JSON."""
    return orjson.dumps([_fields(generation) for generation in generations])


def load(payload: bytes) -> list[Generation]:
    """Validated generations from the JSON."""
    return [
        ChatGeneration(message=AIMessage(**fields["message"]), generation_info=fields["info"])
        for fields in orjson.loads(payload)
    ]


def _fields(generation: Generation) -> dict[str, Any]:
    assert isinstance(generation, ChatGeneration)
    message = generation.message
    assert isinstance(message, AIMessage)
    return {
        "message": {
            "content": message.content,
            "additional_kwargs": message.additional_kwargs,
            "response_metadata": message.response_metadata,
            "id": message.id,
            "usage_metadata": message.usage_metadata,
        },
        "info": generation.generation_info,
    }


class Floor(BaseCache):
    """A floor is its raw read and raw write."""

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Hash, read, parse, build."""
        payload = self.read(digest(prompt, llm_string))
        return None if payload is None else load(payload)

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Hash, dump, write."""
        self.write(digest(prompt, llm_string), dump(return_val))

    def clear(self, **kwargs: Any) -> None:
        """No benchmark clears."""

    def read(self, key: bytes) -> bytes | None:
        """The stored bytes, None where there are none."""
        raise NotImplementedError

    def write(self, key: bytes, payload: bytes) -> None:
        """Store the bytes."""
        raise NotImplementedError


class MemoryFloor(Floor):
    """A dict."""

    def __init__(self) -> None:
        self.payloads: dict[bytes, bytes] = {}

    def read(self, key: bytes) -> bytes | None:
        """One look into the dict."""
        return self.payloads.get(key)

    def write(self, key: bytes, payload: bytes) -> None:
        """One entry of the dict."""
        self.payloads[key] = payload


class SQLiteFloor(Floor):
    """One `SELECT` or one upsert by apsw: write-ahead log, `synchronous=NORMAL`."""

    def __init__(self, path: Path) -> None:
        self.connection = apsw.Connection(str(path))
        self.connection.set_busy_timeout(5_000)
        self.connection.pragma("journal_mode", "wal")
        self.connection.execute("pragma synchronous = normal")
        self.connection.execute(
            "create table if not exists entries (id integer primary key, key blob not null unique, value blob not null)"
        )

    def read(self, key: bytes) -> bytes | None:
        """One row."""
        row = self.connection.execute("select value from entries where key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def write(self, key: bytes, payload: bytes) -> None:
        """One upsert."""
        self.connection.execute(
            "insert into entries (key, value) values (?, ?) on conflict (key) do update set value = excluded.value",
            (key, payload),
        )


class JSONFloor(Floor):
    """One file an entry: opened and read; or written beside its place, synced and renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        for part in range(256):
            os.makedirs(f"{self.folder}/{part:02x}", exist_ok=True)

    def read(self, key: bytes) -> bytes | None:
        """One file."""
        name = key.hex()
        try:
            with open(f"{self.folder}/{name[:2]}/{name}.json", "rb", buffering=0) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def write(self, key: bytes, payload: bytes) -> None:
        """Temporary file, fsync, rename."""
        name = key.hex()
        place = f"{self.folder}/{name[:2]}/{name}.json"
        temporary = f"{place}.{secrets.token_hex(4)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, payload)
        os.fsync(descriptor)
        os.close(descriptor)
        os.replace(temporary, place)
