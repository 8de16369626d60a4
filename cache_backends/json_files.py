"""`JSONFileCache`: one readable JSON file an entry, in folders that processes share.

    folder/llm-cache.json                                   says what this folder is, and its format
    folder/<hash of the namespace>/namespace.json           the namespace's name
    folder/<hash of the namespace>/ab/abcdef….json          an entry, by its key
    folder/<hash of the namespace>/ab/abcdef….json.damaged  one that was set aside

A file is written beside its place, synced and renamed, so that a reader sees the old one or the new one. Its time of
modification is when it was last used.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import threading
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from cache_backends import json_format
from cache_backends.atomic_file import sweep, write_atomically
from cache_backends.base import CacheBackend, Found, StoredEntry
from cache_backends.browse import Row
from cache_backends.codec import decode
from cache_backends.errors import CacheConfigError, CacheError, CacheUnavailableError, CorruptEntryError
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.records import CacheEntry
from cache_backends.summaries import entry_row, whole_entry

FORMAT = 1
MARKER = "llm-cache.json"
NAMESPACE_MARKER = "namespace.json"
_NAMESPACE, _PART = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{2}")
_ENTRY = re.compile(r"[0-9a-f]{64}\.json")
MAX_UNWRITTEN_USES = 100_000
LIMIT_CHECKS = 100
"""`max_entries` is checked every `max_entries / LIMIT_CHECKS` stores: counting costs more than storing."""


class JSONStore(Forkable):
    """What the views of one folder share: where it is, and uses not yet written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = threading.Lock()
        self.unwritten_uses: dict[Path, tuple[int, float]] = {}
        self.stores_since_check: float = math.inf  # a process that stores little must check too
        self.closed = False
        tell_of_forks(self)
        try:
            if root.exists() and not root.is_dir():
                raise CacheConfigError(f"{root} is a file. Name a folder for the JSON cache.")
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_format()
            self._sweep()
        except OSError as error:
            raise CacheUnavailableError(f"{root} can't be used for the JSON cache: {error.strerror}.") from error

    def after_fork_in_child(self) -> None:
        """What was not written yet, the parent writes."""
        self.lock = threading.Lock()
        self.unwritten_uses = {}

    def take_uses(self) -> dict[Path, tuple[int, float]]:
        """The uses to write now; they count as written."""
        with self.lock:
            uses, self.unwritten_uses = self.unwritten_uses, {}
        return uses

    def namespace_folders(self) -> list[Path]:
        """The folders of all namespaces; what else lies in the folder is somebody else's."""
        with os.scandir(self.root) as found:
            folders = [Path(entry.path) for entry in found if entry.is_dir(follow_symlinks=False)]
        return [folder for folder in folders if _NAMESPACE.fullmatch(folder.name)]

    def _check_format(self) -> None:
        marker = self.root / MARKER
        try:
            content = marker.read_bytes()
        except FileNotFoundError:
            write_atomically(marker, orjson.dumps({"kind": "LLM answers as JSON files", "format": FORMAT}))
            return
        with contextlib.suppress(orjson.JSONDecodeError, AttributeError, TypeError):
            if orjson.loads(content).get("format") > FORMAT:
                raise CacheConfigError(
                    f"{self.root} was made by a newer version of this cache. "
                    "Update the program, or name another folder."
                )

    def _sweep(self) -> None:
        for folder in (self.root, *self.namespace_folders()):
            sweep(folder)
            for part in _parts(folder):
                sweep(part)


class JSONFileCache(CacheBackend):
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
        self._store = JSONStore(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value for name, value in self.__dict__.items() if name not in ("_store", "_identity", "_asked_at")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _identity=object(), _asked_at={}, _is_view=False, _store=JSONStore(state["path"]))

    def _read(self, key: str) -> Found | None:
        document = self._document(self._file(key), key)
        return None if document is None else json_format.found(document)

    def _write(self, entry: StoredEntry) -> None:
        file = self._file(entry.key)
        content = json_format.to_bytes(entry, self.namespace)
        with _reporting(file):
            try:
                write_atomically(file, content, used_at=entry.created_at)
            except FileNotFoundError:
                self._make_folders(file.parent)
                write_atomically(file, content, used_at=entry.created_at)
        self._keep_within_limit()

    def _record_use(self, key: str, now: float) -> None:
        store, file = self._store, self._file(key)
        with store.lock:
            uses, _ = store.unwritten_uses.get(file, (0, now))
            if uses or len(store.unwritten_uses) < MAX_UNWRITTEN_USES:
                store.unwritten_uses[file] = (uses + 1, now)

    def _set_aside(self, key: str) -> None:
        file = self._file(key)
        aside = file.with_name(f"{file.name}.damaged")
        if aside.is_dir() or file.is_dir():
            aside = file.with_name(f"{file.name}.{secrets.token_hex(4)}.damaged")
        with contextlib.suppress(FileNotFoundError):
            os.replace(file, aside)

    def _delete(self, key: str) -> bool:
        file = self._file(key)
        with _reporting(file):
            try:
                os.unlink(file)
            except FileNotFoundError:
                return False
        return True

    def _clear(self) -> None:
        for file in _entry_files(self._folder()):
            with _reporting(file), contextlib.suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(file)

    def _entry(self, key: str) -> CacheEntry | None:
        self._flush_uses()
        file = self._file(key)
        try:
            document = self._document(file, key)
            if document is None:
                return None
            entry = json_format.stored_entry(document)
            generations = decode(entry.payload)
            used_at = os.stat(file).st_mtime
        except (CacheError, FileNotFoundError):
            return None
        row = entry_row(entry, generations, namespace=self.namespace, last_used_at=used_at, hits=document.hits)
        return whole_entry(row, entry, generations, str(file))

    def _rows(self) -> Iterator[Row]:
        self._flush_uses()
        for file in _entry_files(self._folder()):
            entry = self._entry_for_list(file)
            if entry is not None:
                yield entry

    def _namespaces(self) -> Sequence[str]:
        names = []
        for folder in self._open_store().namespace_folders():
            with contextlib.suppress(OSError, orjson.JSONDecodeError, TypeError, KeyError):
                name = orjson.loads((folder / NAMESPACE_MARKER).read_bytes())["namespace"]
                if isinstance(name, str) and next(_entry_files(folder), None) is not None:
                    names.append(name)
        return names

    def _close(self) -> None:
        if not self._store.closed:
            self._flush_uses()
            self._store.closed = True

    # Files

    def _open_store(self) -> JSONStore:
        if self._store.closed:
            raise CacheUnavailableError(f"The cache in {self.path} was closed. Open a new one.")
        return self._store

    def _folder(self) -> Path:
        return self._open_store().root / sha256(self.namespace.encode()).hexdigest()[:32]

    def _file(self, key: str) -> Path:
        return self._folder() / key[:2] / f"{key}.json"

    def _document(self, file: Path, key: str) -> json_format.Document | None:
        try:
            with open(file, "rb") as opened:
                content = opened.read()
        except FileNotFoundError:
            return None
        except (IsADirectoryError, NotADirectoryError) as error:
            raise CorruptEntryError(f"{file} is not a file") from error
        except OSError as error:
            raise CacheUnavailableError(f"{file} can't be read: {error.strerror}.") from error
        return json_format.from_bytes(key, content)

    def _entry_for_list(self, file: Path) -> Row | None:
        key = file.name.removesuffix(".json")
        try:
            document = self._document(file, key)
            if document is None:
                return None
            entry = json_format.stored_entry(document)
            used_at = os.stat(file).st_mtime
            return entry_row(
                entry, decode(entry.payload), namespace=self.namespace, last_used_at=used_at, hits=document.hits
            )
        except (CacheError, FileNotFoundError):
            return None  # damaged or just removed: a lookup will set it aside, a list only passes it over

    def _make_folders(self, folder: Path) -> None:
        for level in (self._store.root, folder.parent, folder):
            level.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker = folder.parent / NAMESPACE_MARKER
        if not marker.exists():
            write_atomically(marker, orjson.dumps({"namespace": self.namespace}))

    def flush(self) -> None:
        """Write the uses that are only noted in memory so far."""
        self._flush_uses()

    def _flush_uses(self) -> None:
        for file, (uses, used_at) in self._store.take_uses().items():
            with contextlib.suppress(OSError):
                _add_hits(file, uses, used_at)

    def _keep_within_limit(self) -> None:
        if self.max_entries is None:
            return
        store = self._store
        store.stores_since_check += 1
        if store.stores_since_check < self.max_entries / LIMIT_CHECKS:
            return
        store.stores_since_check = 0
        self._flush_uses()
        used = []
        for folder in store.namespace_folders():
            for file in _entry_files(folder):
                with contextlib.suppress(FileNotFoundError):
                    used.append((os.stat(file).st_mtime_ns, file))
        used.sort()
        for _, file in used[: max(0, len(used) - self.max_entries)]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file)
                self.counters.count_evictions(1)


@contextlib.contextmanager
def _reporting(file: Path) -> Iterator[None]:
    """Turn the system's errors into one that says which file it was."""
    try:
        yield
    except OSError as error:
        raise CacheUnavailableError(f"{file} can't be written: {error.strerror}.") from error


def _add_hits(file: Path, uses: int, used_at: float) -> None:
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        head = os.pread(descriptor, json_format.HITS_OFFSET + json_format.HITS_WIDTH, 0)
        if head[:17] == b'{\n  "format": 1,\n' and (hits := head[json_format.HITS_OFFSET :].strip()).isdigit():
            os.pwrite(descriptor, json_format.hits_field(int(hits) + uses).encode(), json_format.HITS_OFFSET)
            used_at_ns = int(used_at * 1_000_000_000)
            os.utime(descriptor, ns=(used_at_ns, used_at_ns))
    finally:
        os.close(descriptor)


def _parts(folder: Path) -> list[Path]:
    """The folders between a namespace's folder and its files."""
    return [part for part in _scan(folder) if _PART.fullmatch(part.name) and part.is_dir()]


def _entry_files(folder: Path) -> Iterator[Path]:
    return (file for part in _parts(folder) for file in _scan(part) if _ENTRY.fullmatch(file.name))


def _scan(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as found:
            return [Path(entry.path) for entry in found]
    except (FileNotFoundError, NotADirectoryError):
        return []
