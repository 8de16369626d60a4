"""The folder of a `JSONFileCache` on disk: its layout, its marker, what lies in it, and what is removed from it.

    folder/llm-cache.json                                   says what this folder is, and its format
    folder/clear.lock                                       held while a namespace is cleared
    folder/browse-index.db                                  made when somebody browses, and made anew if it is removed
    folder/<hash of the namespace>/namespace.json           the namespace's name
    folder/<hash of the namespace>/ab/abcdef….json          an entry, by its key
    folder/<hash of the namespace>/ab/abcdef….json.damaged  one that was set aside
    folder/<hash of the namespace>.1a2b3c4d.cleared         a namespace that is being removed

Paths are text: joining them as `Path` takes as long as reading a file.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import orjson

from cache_backends import json_format
from cache_backends.atomic_file import TEMPORARY_SUFFIX, nanoseconds, sweep, write_atomically
from cache_backends.browse_index import IndexBeside
from cache_backends.errors import CacheConfigError, CacheUnavailableError
from cache_backends.file_lock import file_lock, locked
from cache_backends.limits import Limits
from cache_backends.uses import MOST_NOTED, UnwrittenUses

MARKER = "llm-cache.json"
CLEAR_LOCK = "clear.lock"
NAMESPACE_MARKER = "namespace.json"
BROWSE_INDEX = "browse-index.db"
_NAMESPACE, _PART = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{2}")
_OURS = re.compile(r"[0-9a-f]{64}\.json(\..+)?")
CLEARED_SUFFIX = ".cleared"
_CLEARED = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{8}\.cleared")
_ENTRY = re.compile(r"[0-9a-f]{64}\.json")
_HEAD_BYTES = json_format.BODY_OFFSET + 100


@lru_cache(maxsize=1024)
def namespace_folder(namespace: str) -> str:
    """The name of a namespace's folder."""
    return sha256(namespace.encode()).hexdigest()[:32]


class Used(NamedTuple):
    """An entry's file as eviction sees it, in the order in which files are evicted."""

    mtime_ns: int
    path: str
    size_bytes: int
    inode: int


class JSONStore:
    """What the views of one folder share: where it is, its limits, and uses not yet written."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self._clearing = f"{self.root}/{CLEAR_LOCK}"
        self.uses: UnwrittenUses[str] = UnwrittenUses()
        self.closed = False
        self.index = IndexBeside(root / BROWSE_INDEX, self.root)
        try:
            if root.exists() and not root.is_dir():
                raise CacheConfigError(f"{root} is a file. Name a folder for the JSON cache.")
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_format()
            self._sweep()
        except OSError as error:
            raise CacheUnavailableError(f"{root} can't be used for the JSON cache: {error.strerror}.") from error

    def namespace_folders(self) -> list[str]:
        """The folders of all namespaces; what else lies in the folder is somebody else's."""
        return [
            entry.path
            for entry in _scan(self.root)
            if _NAMESPACE.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        ]

    def namespaces(self) -> dict[str, str]:
        """The folder of each namespace, by its name."""
        folders = {}
        for folder in self.namespace_folders():
            with contextlib.suppress(OSError, orjson.JSONDecodeError, TypeError, KeyError):
                name = orjson.loads(Path(folder, NAMESPACE_MARKER).read_bytes())["namespace"]
                if isinstance(name, str) and namespace_folder(name) == os.path.basename(folder):
                    folders[name] = folder
        return folders

    def close(self) -> None:
        """Write the uses noted so far, and close the index if there is one."""
        self.write_uses()
        self.closed = True
        self.index.close()

    def clear(self, namespace: str) -> None:
        """Remove a namespace in one step, by giving its folder another name; then its files, at leisure."""
        folder = f"{self.root}/{namespace_folder(namespace)}"
        cleared = f"{folder}.{secrets.token_hex(4)}{CLEARED_SUFFIX}"
        try:
            with file_lock(self._clearing):
                os.rename(folder, cleared)
        except FileNotFoundError:
            return
        except OSError as error:
            raise CacheUnavailableError(f"{folder} can't be cleared: {error.strerror}.") from error
        _remove_cleared(cleared)

    def write(self, file: str, content: bytes, namespace: str, last_used_at: float) -> None:
        """Write an entry's file, making the folders that are missing: others may clear the namespace meanwhile."""
        try:
            write_atomically(file, content, used_at=last_used_at)
        except FileNotFoundError:
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            with file_lock(self._clearing, shared=True):  # nobody clears now, and others may write
                self._make_folders(file, namespace)
                write_atomically(file, content, used_at=last_used_at)

    def _make_folders(self, file: str, namespace: str) -> None:
        """The folders of an entry's file, and the mark of its namespace."""
        part = os.path.dirname(file)
        folder = os.path.dirname(part)
        for level in (self.root, folder, part):
            os.makedirs(level, mode=0o700, exist_ok=True)
        marker = f"{folder}/{NAMESPACE_MARKER}"
        if not os.path.exists(marker):
            write_atomically(marker, orjson.dumps({"namespace": namespace}))

    def write_uses(self) -> None:
        """Write the uses that are noted so far into the files."""
        for file, count, used_at in self.uses.take(MOST_NOTED):
            with contextlib.suppress(OSError):
                _add_hits(file, count, used_at)

    def newest_use(self) -> float | None:
        """The Unix time of the newest use, None where there is none."""
        newest_ns = max((used.mtime_ns for used in _used_files(self.namespace_folders())), default=None)
        return None if newest_ns is None else newest_ns / 1_000_000_000

    def evict(self, limits: Limits) -> int:
        """Remove the least recently used entries that are not pinned, until both limits are kept; how many."""
        with limits.evicting:
            return self._evict(limits.max_entries, limits.max_bytes)

    def _evict(self, max_entries: float, max_bytes: float) -> int:
        used = sorted(_used_files(self.namespace_folders()))
        entries, size_bytes, evicted = len(used), sum(file.size_bytes for file in used), 0
        for file in used:
            if entries <= max_entries and size_bytes <= max_bytes:
                break
            try:
                is_gone = is_evicted = _removed(file)
            except FileNotFoundError:  # somebody else was faster
                is_gone, is_evicted = True, False
            except OSError:  # another user's, or no file at all: the others must do
                is_gone = is_evicted = False
            entries, size_bytes = entries - is_gone, size_bytes - is_gone * file.size_bytes
            evicted += is_evicted
        return evicted

    def _check_format(self) -> None:
        """Refuse a folder that a newer version has marked; mark it, so that an older version refuses it."""
        marker = f"{self.root}/{MARKER}"
        marked: object = None
        with contextlib.suppress(FileNotFoundError, orjson.JSONDecodeError, AttributeError, TypeError):
            marked = orjson.loads(Path(marker).read_bytes()).get("format")
        if isinstance(marked, int) and marked > json_format.FORMAT:
            raise CacheConfigError(
                f"{self.root} was made by a newer version of this cache. Update the program, or name another folder."
            )
        if marked != json_format.FORMAT:
            write_atomically(marker, orjson.dumps({"kind": "LLM answers as JSON files", "format": json_format.FORMAT}))

    def _sweep(self) -> None:
        for entry in _scan(self.root):
            if _CLEARED.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                _remove_cleared(entry.path)
        for folder in (self.root, *self.namespace_folders()):
            sweep(folder)
            for part in _parts(folder):
                sweep(part)


def entry_files(folder: str) -> Iterator[str]:
    """The files of all entries of a namespace."""
    return (entry.path for part in _parts(folder) for entry in _entries(part))


def part_statuses(folder: str) -> Iterator[tuple[int, str, os.stat_result]]:
    """The folders between that of a namespace and its files: the first byte of keys, and what the system says of it."""
    for part in _parts(folder):
        with contextlib.suppress(OSError):
            yield int(os.path.basename(part), 16), part, os.lstat(part)


def entry_statuses(part: str) -> Iterator[tuple[str, os.stat_result]]:
    """The key of each entry in one of those, and what the system says of its file."""
    for entry in _entries(part):
        with contextlib.suppress(OSError):
            yield entry.name.removesuffix(".json"), entry.stat(follow_symlinks=False)


def _entries(part: str) -> Iterator[os.DirEntry[str]]:
    """What lies where a lookup expects an entry."""
    for entry in _scan(part):
        if _ENTRY.fullmatch(entry.name) and part.endswith(entry.name[:2]):
            yield entry


def take_away(file: str, seen: os.stat_result) -> str | None:
    """Give the file that was `seen` a name that nobody looks for; None where another one has its place by now.

    The name is a temporary one: whoever calls this renames or removes it, and else it is swept.
    """
    aside = f"{file}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    try:
        if not os.path.samestat(os.lstat(file), seen):
            return None
        os.rename(file, aside)
    except FileNotFoundError:
        return None
    if os.path.samestat(os.lstat(aside), seen):
        return aside
    with contextlib.suppress(OSError):  # a new answer: it goes back, unless a still newer one is there
        os.link(aside, file)
    os.unlink(aside)
    return None


def set_aside(taken: str, file: str) -> None:
    """Keep what was taken away from the place of `file` beside it, as the last damaged one."""
    damaged = f"{file}.damaged"
    if os.path.isdir(damaged) or os.path.isdir(taken):
        damaged = f"{file}.{secrets.token_hex(4)}.damaged"
    os.replace(taken, damaged)


def overwrite_start(file: str, descriptor: int, start: bytes) -> bool:
    """Overwrite the first bytes of a file that is locked; False where another one has its name by now."""
    status = os.fstat(descriptor)
    if not os.path.samestat(os.stat(file), status):
        return False
    os.pwrite(descriptor, start, 0)
    os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.fsync(descriptor)
    return True


def _remove_cleared(folder: str) -> None:
    """Remove what is ours in a folder that was cleared, and the folder unless something else lies in it.

    Whatever can't be removed now is tried again when the store is opened.
    """
    with contextlib.suppress(OSError, CacheUnavailableError):
        for part in _parts(folder):
            for entry in _scan(part):
                if _OURS.fullmatch(entry.name) and not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
            with contextlib.suppress(OSError):  # something else lies in it
                os.rmdir(part)
        for entry in _scan(folder):
            if entry.name.startswith(NAMESPACE_MARKER):  # the mark, and what killed writers left of marks
                os.unlink(entry.path)
        os.rmdir(folder)


def _used_files(folders: list[str]) -> Iterator[Used]:
    for folder in folders:
        for part in _parts(folder):
            for entry in _scan(part):
                if _ENTRY.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        yield Used(status.st_mtime_ns, entry.path, status.st_size, status.st_ino)


def _removed(used: Used) -> bool:
    """Remove a file unless its entry is pinned, or was used or replaced since; whether it was removed."""
    with locked(used.path) as descriptor:
        status = os.fstat(descriptor)
        if (status.st_mtime_ns, status.st_ino) != (used.mtime_ns, used.inode):
            return False
        if json_format.is_pinned(os.pread(descriptor, _HEAD_BYTES, 0)):
            return False
        aside = take_away(used.path, status)
        if aside is not None:
            os.unlink(aside)
        return aside is not None


def _add_hits(file: str, uses: int, used_at: float) -> None:
    with locked(file) as descriptor:
        hits = json_format.hits_in(os.pread(descriptor, _HEAD_BYTES, 0))
        if hits is not None:
            used_at_ns = max(nanoseconds(used_at), os.fstat(descriptor).st_mtime_ns)
            os.pwrite(descriptor, json_format.hits_field(hits + uses).encode(), json_format.HITS_OFFSET)
            os.utime(descriptor, ns=(used_at_ns, used_at_ns))


def _parts(folder: str) -> list[str]:
    """The folders between a namespace's folder and its files."""
    return [
        entry.path for entry in _scan(folder) if _PART.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
    ]


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CacheUnavailableError(f"{folder} can't be listed: {error.strerror}.") from error
