"""`BrowseIndex`: what listing, searching and ordering a store need beyond the store, in a SQLite file beside it.

It holds no text to read, only what finds and orders entries, and can be made anew from the store at any time. Whoever
browses brings it up to date first (`sqlite_index`, `json_index`); whoever looks up or stores knows nothing of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import apsw

from cache_backends.browse import size_class, spaced_words
from cache_backends.errors import CacheUnavailableError
from cache_backends.file_lock import file_lock
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.index_schema import INDEX_SCHEMA, NEVER_SHOWN, scope
from cache_backends.sqlite_file import SQLiteFile
from cache_backends.storage import StoredEntry

MOST_CHANGES = 2**24
"""Transactions in which one index is changed while it is brought up to date."""
MOST_REMEMBERED = 64
"""Counts of an index that are remembered."""

Result = TypeVar("Result")

_PUT = "insert into listed values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_WORDS = "insert into words (rowid, text) values (?, ?)"
_DROP_OLD = "delete from listed where id = ? or (namespace = ? and key = ?)"


class Indexed(NamedTuple):
    """An entry as it is put into the index."""

    id: int | None
    """What it is known by; None for the next free number. Greater than all before it, else putting it takes longer."""
    namespace_id: int
    entry: StoredEntry
    text: str
    """Prompt and answer as a person reads them."""
    mark: str | None = None
    """By what the store tells whether it was changed since."""


class Changes:
    """One transaction that changes the index."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection

    def put(self, rows: Sequence[Indexed]) -> None:
        """Add entries, replacing those with their ids or keys."""
        numbers = {namespace_id: self._number(namespace_id) for namespace_id in {row.namespace_id for row in rows}}
        models = {model: self._model(model) for model in {row.entry.model for row in rows}}
        ids = self._ids(rows)
        self.connection.executemany(
            _DROP_OLD,
            [(row_id, numbers[row.namespace_id], row.entry.digest) for row_id, row in zip(ids, rows, strict=True)],
        )
        self.connection.executemany(
            _PUT,
            [
                (
                    row_id,
                    numbers[row.namespace_id],
                    row.entry.digest,
                    tie(row.entry.digest),
                    models[row.entry.model],
                    row.entry.created_at,
                    row.entry.expires_at,
                    None if row.entry.pinned else row.entry.expires_at,
                    row.entry.last_used_at,
                    row.entry.hits,
                    row.entry.size_bytes,
                    size_class(row.entry.size_bytes),
                    row.entry.model_time_s,
                    row.mark,
                )
                for row_id, row in zip(ids, rows, strict=True)
            ],
        )
        self.connection.executemany(
            _PUT_WORDS,
            [
                (row_id, f"{scope(numbers[row.namespace_id])} {spaced_words(row.text)}")
                for row_id, row in zip(ids, rows, strict=True)
            ],
        )

    def put_unreadable(self, rows: Iterable[tuple[int, int, float]]) -> None:
        """Note ids that can't be shown, with hits and last use, so that they are not looked at again and again."""
        for row_id, hits, used_at in rows:
            key = row_id.to_bytes(32, "big", signed=True)
            self.connection.execute(_DROP_OLD, (row_id, NEVER_SHOWN, key))
            self.connection.execute(
                _PUT,
                (row_id, NEVER_SHOWN, key, 0, 0, 0.0, None, None, used_at, hits, 0, 0, None, None),
            )

    def drop(self, ids: Iterable[int]) -> None:
        """Remove entries by their ids."""
        self.connection.executemany("delete from listed where id = ?", [(row_id,) for row_id in ids])

    def drop_keys(self, keys: Iterable[tuple[int, bytes]]) -> None:
        """Remove entries by their ids, which others may have by now, and keys."""
        self.connection.executemany("delete from listed where id = ? and key = ?", list(keys))

    def use(self, uses: Iterable[tuple[int, float, int]]) -> None:
        """Note for ids when they were last used, and how often they were."""
        self.connection.executemany(
            "update listed set hits = ?, last_used_at = ? where id = ?",
            [(hits, used_at, row_id) for row_id, used_at, hits in uses],
        )

    @property
    def watermark(self) -> int:
        """The greatest id that was looked at."""
        return int(self.connection.execute("select watermark from about").get)

    @watermark.setter
    def watermark(self, row_id: int) -> None:
        self.connection.execute("update about set watermark = ?", (row_id,))

    def _ids(self, rows: Sequence[Indexed]) -> list[int]:
        following = (self.connection.execute("select max(id) from listed").get or 0) + 1
        ids = []
        for row in rows:
            ids.append(following if row.id is None else row.id)
            following = max(following, ids[-1] + 1)
        return ids

    def _number(self, namespace_id: int) -> int:
        self.connection.execute("insert or ignore into names (namespace) values (?)", (namespace_id,))
        return int(self.connection.execute("select id from names where namespace = ?", (namespace_id,)).get)

    def _model(self, model: str | None) -> int:
        if model is None:
            return 0
        self.connection.execute("insert or ignore into models (name) values (?)", (model.encode(),))
        return int(self.connection.execute("select id from models where name = ?", (model.encode(),)).get)


class Memo:
    """The last few things that took a while to count, for as long as nothing changes."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def get(self, key: Hashable, count: Callable[[], Result]) -> Result:
        """What is known under a key that tells all that it depends on, else what `count` finds."""
        if key not in self._known:
            found = count()
            if len(self._known) >= MOST_REMEMBERED:
                self._known.pop(next(iter(self._known), None), None)
            self._known[key] = found
            return found
        known: Result = self._known[key]
        return known


class BrowseIndex(Forkable):
    """The index of one store, shared by threads and processes."""

    def __init__(self, path: Path) -> None:
        self.file = SQLiteFile(path, INDEX_SCHEMA)
        self.updating = threading.Lock()
        """Held by the thread that brings the index up to date."""
        self.seen: object = None
        """How the store and the index looked when this process last brought it up to date."""
        self.memo = Memo()
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """A thread of the parent may be bringing it up to date."""
        self.updating = threading.Lock()

    @contextmanager
    def to_bring_up_to_date(self) -> Iterator[None]:
        """For the only thread of all processes that brings the index up to date; waits for others.

        SQLite's own lock would not do: who waits for it gives up after a while. Raises `CacheError`.
        """
        with self.updating, ExitStack() as held:
            try:
                held.enter_context(file_lock(self.file.path.with_name(f"{self.file.path.name}.updating")))
            except OSError as error:
                raise CacheUnavailableError(
                    f"{self.file.path} can't be brought up to date: {error.strerror}."
                ) from error
            self.file.follow_path()  # where nothing is new nobody writes, who would notice that it was removed
            yield

    @contextmanager
    def changing(self) -> Iterator[Changes]:
        """One transaction that changes the index. Raises `CacheError`."""
        with self.file.transaction() as connection:
            before = connection.total_changes()
            yield Changes(connection)
            if connection.total_changes() != before:
                connection.execute("update about set changes = changes + 1")

    @property
    def changes(self) -> int:
        """A number that is another one once somebody has changed the index, or begun it anew. Raises `CacheError`."""
        return int(self.file.row("select changes from about", ()))

    def is_still_that_of(self, changes: int) -> bool:
        """Whether it is the index that had this number before: one begun anew counts from anywhere.

        Raises `CacheError`.
        """
        return 0 <= self.changes - changes < MOST_CHANGES

    def close(self) -> None:
        """Give back its connections."""
        self.file.close()


class IndexBeside(Forkable):
    """The index of a store, opened when somebody browses."""

    def __init__(self, path: Path, store: str) -> None:
        """`store` is what a person calls it."""
        self._path = path
        self._store = store
        self._opening = threading.Lock()
        self._index: BrowseIndex | None = None
        self._closed = False
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """A thread of the parent may be opening it."""
        self._opening = threading.Lock()

    def get(self) -> BrowseIndex:
        """The index. Raises `CacheError`."""
        with self._opening:
            if self._closed:
                raise CacheUnavailableError(f"The cache in {self._store} was closed. Open a new one.")
            if self._index is None:
                self._index = BrowseIndex(self._path)
            return self._index

    def close(self) -> None:
        """Close the index if it is open; whoever asks afterwards is refused."""
        with self._opening:
            self._closed = True
            if self._index is not None:
                self._index.close()


def tie(digest: bytes) -> int:
    """What orders entries with equal values nearly always: as their keys do, in a quarter of the room."""
    return int.from_bytes(digest[:8], "big") >> 1
