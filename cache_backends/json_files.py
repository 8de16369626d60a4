"""`JSONFileCache`: one readable JSON file an entry, in folders that processes share.

A file is written beside its place, synced and renamed, so that a reader sees the old one or the new one. Its time of
modification is when it was last used.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from cache_backends import json_format
from cache_backends.atomic_file import write_atomically
from cache_backends.base import CacheBackend
from cache_backends.browse import Progress, Row
from cache_backends.browse_index import BrowseIndex
from cache_backends.codec import decode
from cache_backends.errors import CacheError, CacheUnavailableError, CorruptEntryError
from cache_backends.file_lock import NOTHING_BUT_FILES, held_still, locked
from cache_backends.fresh_objects import generations_from
from cache_backends.indexed import IndexedBrowsing
from cache_backends.json_index import update_index
from cache_backends.json_store import (
    JSONStore,
    entry_files,
    namespace_folder,
    overwrite_start,
    set_aside,
    take_away,
)
from cache_backends.limits import Limits
from cache_backends.records import CacheEntry, EntrySummary, StoreAbout
from cache_backends.storage import Found, StoredEntry
from cache_backends.summaries import entry_row, whole_entry

ONE_READ = 1 << 16
"""Bytes that one call reads: all of nearly every file."""
READING = os.O_RDONLY | os.O_CLOEXEC | NOTHING_BUT_FILES


class _Whole(NamedTuple):
    """One entry's file, read: its bytes, what they mean, and which file it was."""

    content: bytes
    document: json_format.Document
    status: os.stat_result

    @classmethod
    def of(cls, key: str, namespace: str, descriptor: int) -> Self:
        """The entry in a file that is open. Raises `CacheError`."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        content = io.FileIO(descriptor, closefd=False).read()
        return cls(content, json_format.from_bytes(key, content, namespace), os.fstat(descriptor))

    @property
    def entry(self) -> StoredEntry:
        """The entry. Raises `CorruptEntryError`."""
        return json_format.stored_entry(self.document, self.status.st_mtime)


class JSONFileCache(IndexedBrowsing, CacheBackend):
    """A cache of one readable JSON file an entry, synced when stored, shared by threads and processes.

    >>> import tempfile
    >>> from langchain_core.outputs import Generation
    >>> with JSONFileCache(tempfile.mkdtemp(), ttl="1h") as cache:
    ...     cache.update("Who was Carl Sagan?", "model=demo", [Generation(text="An astronomer.")])
    ...     cache.lookup("Who was Carl Sagan?", "model=demo")[0].text
    'An astronomer.'
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        super().__init__(**options)
        self.path = Path(path).absolute()
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        without = ("_store", "_limits", "_identity", "_asked_at")
        return {name: value for name, value in self.__dict__.items() if name not in without}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _identity=object(), _asked_at={}, _is_view=False)
        self._open()

    def _open(self) -> None:
        self._store = JSONStore(self.path)
        self._limits = Limits(self.max_entries, self.max_bytes, self._store.newest_use)

    def _read(self, digest: bytes) -> Found | None:
        key = digest.hex()
        file = self._file(key)
        content = _content(file)
        if content is None:
            return None
        try:
            return json_format.found(key, content, self.namespace)
        except CorruptEntryError:
            again = _content(file, still=True)  # somebody may have been changing its first lines in this moment
            if again is None or again == content:
                raise
            return json_format.found(key, again, self.namespace)

    def _write(self, entry: StoredEntry) -> None:
        file = self._file(entry.key)
        content = json_format.to_bytes(entry, self.namespace)
        self._refuse_too_large(len(content))
        self._store.uses.forget(file)
        with _reporting(file):
            self._store.write(file, content, self.namespace, entry.last_used_at)
        if self._store.uses.are_many():
            self._store.write_uses()
        if self._limits.exist and self._limits.are_due(len(content)):
            self._store.write_uses()  # what was used least recently is known only then
            self.counters.count_evictions(self._store.evict(self._limits))

    def _use_at(self, now: float) -> float:
        return self._limits.use_at(now)

    def _record_use(self, digest: bytes, now: float) -> None:
        self._store.uses.note(self._file(digest.hex()), self._limits.use_at(now))

    def _set_aside(self, digest: bytes) -> None:
        key = digest.hex()
        file = self._file(key)
        try:
            seen = os.lstat(file)
            content = _content(file, still=True)
            if content is not None:
                generations_from(json_format.found(key, content, self.namespace).answers)
        except FileNotFoundError:
            return
        except CorruptEntryError:
            aside = take_away(file, seen)
            if aside is not None:
                set_aside(aside, file)

    def _delete(self, digest: bytes) -> bool:
        file = self._file(digest.hex())
        with _reporting(file):
            try:
                os.unlink(file)
            except FileNotFoundError:
                return False
        return True

    def _set_expiry(self, digest: bytes, expires_at: float | None) -> bool:
        return self._change(digest, lambda entry: entry._replace(expires_at=expires_at))

    def _set_pinned(self, digest: bytes, *, pinned: bool) -> bool:
        return self._change(digest, lambda entry: entry._replace(pinned=pinned))

    def _purge(self, now: float) -> int:
        purged = 0
        for file in entry_files(self._folder()):
            with contextlib.suppress(CacheError, OSError):  # who can't be read or removed must not keep the others
                whole = self._whole(_key(file))
                if whole is not None and whole.entry.is_over(now):
                    purged += self._is_purged(file, now)
        return purged

    def _clear(self) -> None:
        self._open_store().clear(self.namespace)

    def _entry(self, digest: bytes) -> CacheEntry | None:
        key = digest.hex()
        file = self._file(key)
        self._store.write_uses()
        try:
            whole = self._whole(key)
            if whole is None:
                return None
            entry = whole.entry
            generations = decode(entry.payload)
        except CacheError:
            return None
        return whole_entry(entry_row(entry, generations, self.namespace), entry, generations, file)

    def _rows(self) -> Iterator[Row]:
        folder = self._folder()
        self._store.write_uses()
        for file in entry_files(folder):
            with contextlib.suppress(CacheError):  # damaged: a lookup will set it aside, a list only passes it over
                whole = self._whole(_key(file))
                if whole is not None:
                    entry = whole.entry
                    yield entry_row(entry, decode(entry.payload), self.namespace)

    def _namespaces(self) -> Sequence[str]:
        folders = self._open_store().namespaces()
        return [name for name, folder in folders.items() if next(entry_files(folder), None) is not None]

    def _browse_index(self) -> BrowseIndex:
        return self._open_store().index.get()

    def _update_index(self, index: BrowseIndex, progress: Progress, *, only_new: bool) -> None:
        self._store.write_uses()
        folders = {**self._store.namespaces(), self.namespace: self._folder()}  # whose name its folder may not tell
        update_index(index, folders, self._stored, progress, only_new=only_new)

    def _stored(self, namespace: str, key: str) -> StoredEntry | None:
        whole = self.view(namespace=namespace)._whole(key)
        return None if whole is None else whole.entry

    def _summaries(self, digests: Sequence[bytes]) -> Sequence[EntrySummary]:
        shown = []
        for digest in digests:
            with contextlib.suppress(CacheError):
                whole = self._whole(digest.hex())
                if whole is not None:
                    entry = whole.entry
                    shown.append(entry_row(entry, decode(entry.payload), self.namespace).summary)
        return shown

    def _about(self) -> StoreAbout:
        return StoreAbout("JSON files", str(json_format.FORMAT), "every_write", "each file is synced")

    def _close(self) -> None:
        if not self._store.closed:
            self._store.close()

    def flush(self) -> None:
        """Write the uses that are only noted in memory so far."""
        self._store.write_uses()

    def _open_store(self) -> JSONStore:
        if self._store.closed:
            raise CacheUnavailableError(f"The cache in {self.path} was closed. Open a new one.")
        return self._store

    def _folder(self) -> str:
        return f"{self._open_store().root}/{namespace_folder(self.namespace)}"

    def _file(self, key: str) -> str:
        return f"{self._folder()}/{key[:2]}/{key}.json"

    def _whole(self, key: str) -> _Whole | None:
        file = self._file(key)
        with _reading(file):
            try:
                descriptor = os.open(file, READING)
                try:
                    return _Whole.of(key, self.namespace, descriptor)
                except CorruptEntryError:
                    with held_still(descriptor):
                        return _Whole.of(key, self.namespace, descriptor)
                finally:
                    os.close(descriptor)
            except FileNotFoundError:
                return None

    def _is_purged(self, file: str, now: float) -> bool:
        """Remove a file if its entry has expired at the Unix time `now`, whoever changed it just before."""
        with locked(file) as descriptor:
            whole = _Whole.of(_key(file), self.namespace, descriptor)
            aside = take_away(file, whole.status) if whole.entry.is_over(now) else None
            if aside is not None:
                os.unlink(aside)
            return aside is not None

    def _change(self, digest: bytes, change: Callable[[StoredEntry], StoredEntry]) -> bool:
        """Change in place what may be changed there: a new answer that is stored meanwhile is another file."""
        key = digest.hex()
        file = self._file(key)
        with _reporting(file):
            try:
                with locked(file) as descriptor:
                    whole = _Whole.of(key, self.namespace, descriptor)
                    entry = change(whole.entry)
                    head = json_format.with_lifetime(
                        key, whole.content, whole.document, expires_at=entry.expires_at, pinned=entry.pinned
                    )
                    if head is not None:
                        return overwrite_start(file, descriptor, head)
                    content = json_format.to_bytes(entry, self.namespace)
                    write_atomically(file, content, used_at=entry.last_used_at, replacing=whole.status)
                    return True
            except (FileNotFoundError, IsADirectoryError, CorruptEntryError):
                return False


def _content(file: str, *, still: bool = False) -> bytes | None:
    """All bytes of a file, None where there is none; `still`: while nobody changes it in place.

    By the system's own calls: a file object takes as long again.
    """
    try:
        descriptor = os.open(file, READING)
        try:
            if still:
                with held_still(descriptor):
                    return io.FileIO(descriptor, closefd=False).read()
            content = os.read(descriptor, ONE_READ)
            while len(content) >= ONE_READ and (more := os.read(descriptor, len(content))):
                content += more
        finally:
            os.close(descriptor)
        return content
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(file, error) from error


@contextlib.contextmanager
def _reading(file: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: str, error: OSError) -> CacheError:
    if isinstance(error, IsADirectoryError | NotADirectoryError) or error.errno in (errno.ELOOP, errno.ENXIO):
        return CorruptEntryError(f"{file} is not a file")
    return CacheUnavailableError(f"{file} can't be read: {error.strerror}.")


@contextlib.contextmanager
def _reporting(file: str) -> Iterator[None]:
    """Turn the system's errors into one that says which file it was."""
    try:
        yield
    except OSError as error:
        raise CacheUnavailableError(f"{file} can't be written: {error.strerror}.") from error


def _key(file: str) -> str:
    return os.path.basename(file).removesuffix(".json")
