"""What is compared: our embedded caches, the floor of each, and what others offer."""

from __future__ import annotations

import os
import sqlite3
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
from diskcache import Cache as DiskCache
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.load import dumps
from langchain_core.outputs import Generation

from benchmarks import payload
from benchmarks.floors import Floor, JSONFloor, MemoryFloor, SQLiteFloor, digest
from cache_backends import JSONFileCache, MemoryCache, SQLiteCache

OUR_MEMORY, OUR_SQLITE, OUR_JSON = "MemoryCache", "SQLiteCache", "JSONFileCache"
MEMORY_FLOOR, SQLITE_FLOOR, JSON_FLOOR = "floor: dict", "floor: apsw", "floor: file"
THEIR_MEMORY, THEIR_SQLITE = "LangChain InMemoryCache", "LangChain SQLiteCache"
DISKCACHE = "diskcache (pickle)"


@dataclass(frozen=True, slots=True)
class Contender:
    """One cache, and where it lies on the disk: a file, a folder, or nowhere."""

    cache: BaseCache
    place: Path | None = None

    def bytes_on_disk(self) -> int | None:
        """Bytes of its files as `ls` counts them; None in memory."""
        if self.place is None:
            return None
        if self.place.is_dir():
            return sum(file.stat().st_size for file in self.place.rglob("*") if file.is_file())
        return self.place.stat().st_size


class PickledCache(BaseCache):
    """diskcache behind LangChain's contract, as its users write it."""

    def __init__(self, folder: Path) -> None:
        self.store = DiskCache(str(folder))

    def lookup(self, prompt: str, llm_string: str) -> Any:
        """One get."""
        return self.store.get(digest(prompt, llm_string))

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """One set."""
        self.store.set(digest(prompt, llm_string), return_val)

    def clear(self, **kwargs: Any) -> None:
        """No benchmark clears."""


def contenders(folder: Path, *names: str) -> dict[str, Contender]:
    """These contenders, or all, each on an empty store of its own in the folder."""
    make: dict[str, Callable[[], Contender]] = {
        OUR_MEMORY: lambda: Contender(MemoryCache()),
        MEMORY_FLOOR: lambda: Contender(MemoryFloor()),
        THEIR_MEMORY: lambda: Contender(InMemoryCache()),
        OUR_SQLITE: lambda: Contender(SQLiteCache(folder / "cache.db"), folder / "cache.db"),
        SQLITE_FLOOR: lambda: Contender(SQLiteFloor(folder / "floor.db"), folder / "floor.db"),
        THEIR_SQLITE: lambda: Contender(_their_sqlite(folder / "langchain.db"), folder / "langchain.db"),
        OUR_JSON: lambda: Contender(JSONFileCache(folder / "answers"), folder / "answers"),
        JSON_FLOOR: lambda: Contender(JSONFloor(folder / "floor"), folder / "floor"),
        DISKCACHE: lambda: Contender(PickledCache(folder / "diskcache"), folder / "diskcache"),
    }
    return {name: make[name]() for name in names or make}


def fill(contender: Contender, entries: int) -> None:
    """Store answers 0, 1, 2 …, and let SQLite put all of them into the file itself."""
    if type(contender.cache).__module__.startswith("langchain_community"):
        _fill_langchain(contender, entries)
    else:
        for number in range(entries):
            contender.cache.update(payload.prompt(number), payload.LLM_STRING, payload.answer(number))
    if contender.place is not None and contender.place.suffix == ".db":
        connection = apsw.Connection(os.fspath(contender.place))
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        connection.close()


def _their_sqlite(path: Path) -> BaseCache:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # langchain_community says that it is no longer maintained
        from langchain_community.cache import SQLiteCache as LangChainSQLiteCache

    cache: BaseCache = LangChainSQLiteCache(str(path))
    return cache


def _fill_langchain(contender: Contender, entries: int) -> None:
    """In one transaction: its own way takes minutes for 100,000 entries."""
    assert contender.place is not None
    with sqlite3.connect(contender.place) as connection:
        connection.executemany(
            "insert into full_llm_cache (prompt, llm, idx, response) values (?, ?, 0, ?)",
            (
                (payload.prompt(number), payload.LLM_STRING, dumps(payload.answer(number)[0]))
                for number in range(entries)
            ),
        )
    connection.close()


__all__ = ["Contender", "Floor", "contenders", "fill"]
