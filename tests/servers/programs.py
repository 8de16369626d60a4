"""The programs of the servers: where they are, what to install where they are not, and whom they may run as."""

from __future__ import annotations

import glob
import os
import pwd
import re
import shutil
from dataclasses import dataclass


class NotInstalledError(Exception):
    """A server's program is not on this machine; the text says what to install."""


@dataclass(frozen=True)
class Program:
    """A program of a Debian package: its name, and where it may be beside the PATH (a pattern)."""

    name: str
    package: str
    place: str | None = None

    @property
    def path(self) -> str:
        """Where it is: the newest version in its place, else what the PATH has. Raises NotInstalledError."""
        found = max(glob.glob(self.place), key=versions, default=None) if self.place else None
        found = found or shutil.which(self.name)
        if found is None:
            raise NotInstalledError(
                f"Tests on a real server need {self.name}: install it (Debian: apt-get install {self.package})."
            )
        return found


def versions(path: str) -> list[int]:
    """The numbers in a path, in order: what makes `/15/` newer than `/9/`."""
    return [int(number) for number in re.findall(r"\d+", path)]


def unprivileged(*names: str) -> str | None:
    """The user to run a server as that refuses to run as root: the first of these that exists. None: as oneself."""
    if os.geteuid() != 0:
        return None
    users = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in (*names, "nobody") if name in users)
