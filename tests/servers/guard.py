"""A process of its own that ends the servers of a test run which died without ending them itself.

It reads lines from its input, `+ PID FOLDER` for a server that started and `- PID FOLDER` for one that ended, and acts
when the input ends. That works whatever user a server runs as, and whichever thread started it, where a signal at the
death of the parent (Linux alone has it) comes when that thread ends.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil


class Guard:
    """The guard of this process, started with the first server."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the tests, not what has to tidy up after them
        )

    def watch(self, pid: int, folder: Path) -> None:
        """End this server and remove its folder, should this process die."""
        self._say(f"+ {pid} {folder}")

    def forget(self, pid: int, folder: Path) -> None:
        """The server has ended."""
        self._say(f"- {pid} {folder}")

    def close(self) -> None:
        """End the guard, and with it whatever it still watches."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it, each stopped (SIGSTOP) before its children are listed, so that none is missed."""
    found: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        waiting = [psutil.Process(pid)]
        while waiting:
            process = waiting.pop()
            with suppress(psutil.NoSuchProcess):
                process.suspend()
                while process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
                    time.sleep(0.001)  # until the signal has arrived
                found.append(process)
                waiting += process.children()
    return found


def main() -> None:
    """Watch until the input ends, then end what is left."""
    left: dict[int, str] = {}
    for line in sys.stdin:
        sign, pid, folder = line.rstrip("\n").split(" ", 2)
        if sign == "+":
            left[int(pid)] = folder
        else:
            left.pop(int(pid), None)
    for pid, folder in left.items():
        for process in family(pid):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
