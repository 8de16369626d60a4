"""Other processes: forked children that report back, and writers that can be killed at any moment."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

CHILD_SECONDS = 60
"""After this a child that hangs is ended by its alarm, so that a deadlock is a failure and not a wait for ever."""


def fork() -> int:
    """`os.fork`, although pytest may have threads: that a cache bears it is what is tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


class Child:
    """A forked process that runs one function and hands back what it returns."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._reader, writer = os.pipe()
        self.pid = fork()
        if self.pid == 0:
            signal.alarm(CHILD_SECONDS)
            try:
                answer = ("returned", function())
            except BaseException:  # noqa: BLE001  # the parent raises it
                answer = ("raised", traceback.format_exc())
            try:
                with open(writer, "wb") as pipe:
                    pickle.dump(answer, pipe)
            finally:
                os._exit(0)
        os.close(writer)

    def result(self) -> Any:
        """What the function returned. Raises AssertionError if it raised, hung or died."""
        with open(self._reader, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        assert answer, f"the child died: signal {os.WTERMSIG(status)}"
        kind, value = pickle.loads(answer)
        assert kind == "returned", value
        return value


def in_child(function: Callable[[], Any]) -> Any:
    """What a function returns when a forked child runs it."""
    return Child(function).result()


@contextmanager
def killed_writer(write: Callable[[int], None]) -> Iterator[Iterator[int]]:
    """A child that calls `write(0)`, `write(1)`, … and acknowledges each; it is killed when the block ends.

    The iterator gives the acknowledged numbers as they come, and after the block those that came before the kill.
    """
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        signal.alarm(CHILD_SECONDS)
        number = 0
        while True:
            write(number)
            os.write(writer, number.to_bytes(4, "big"))
            number += 1
    os.close(writer)
    with open(reader, "rb") as pipe:
        try:
            yield (int.from_bytes(pack, "big") for pack in iter(lambda: pipe.read(4), b""))
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
