"""Small disks that tests can fill: a tmpfs of its own where one can be mounted, and a limit on the size of files."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

SIZE_KIB = 2048
_CHUNK = b"\0" * 4096


class SmallDisk(Protocol):
    """A place for a store that can be filled up, and given room again, as often as one likes."""

    folder: Path

    def fill(self, room_bytes: int) -> None:
        """Leave about this much room, or none."""

    def free(self) -> None:
        """Give room again."""


class Tmpfs:
    """A file system of two megabytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, room_bytes: int) -> None:
        """Write a file until nothing more goes in, and cut `room_bytes` off it."""
        with contextlib.suppress(OSError), open(self._filler, "ab", buffering=0) as filler:
            while True:
                filler.write(_CHUNK)
        size = self._filler.stat().st_size
        with open(self._filler, "ab", buffering=0) as filler:
            filler.truncate(max(0, size - room_bytes))

    def free(self) -> None:
        """Remove that file."""
        self._filler.unlink(missing_ok=True)


class FileSizeLimit:
    """A folder in which no file can grow: for this process, which must be one of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing beyond the limit is an error like any other
        _, self._hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, room_bytes: int) -> None:
        """Let no file become larger than the largest one is by more than `room_bytes`."""
        largest = max((path.stat().st_size for path in self.folder.rglob("*") if path.is_file()), default=0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + room_bytes, self._hard))

    def free(self) -> None:
        """Take the limit away."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._hard, self._hard))


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A tmpfs on this folder. Raises CalledProcessError or OSError where that is not allowed."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_KIB}k", "small-disk", folder], check=True, capture_output=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True)


def _can_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            with mounted(Path(folder)):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


KINDS = ("tmpfs", "file size limit") if _can_mount() else ("file size limit",)
"""What can be had here. A limit on the size of files can be had everywhere."""
