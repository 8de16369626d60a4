"""Writers that can be killed at any moment: threads of a forked process that acknowledge each store by a pipe."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.cache_backends.processes import CHILD_SECONDS, fork

_FAILED = 255
"""What a writer acknowledges that met an error."""

Write = Callable[[], None]


@dataclass
class Killed:
    """What a writing process acknowledged before it was killed."""

    stores: Counter[int] = field(default_factory=Counter)
    """By thread, how many of its stores returned."""

    def acknowledge(self, thread: int) -> None:
        """Count one store."""
        assert thread != _FAILED, "a writer met an error: its standard error says which"
        self.stores[thread] += 1


def kill_after(
    acknowledgements: int, begin: Callable[[], Iterable[Iterator[Write]]], *, then_wait_s: float = 0.0
) -> Killed:
    """Run writers in a new process, one thread for each of what `begin` makes there, and kill it with `SIGKILL`.

    It is killed as soon as that many stores were acknowledged, each thread being somewhere in its next one; with none,
    it is killed while `begin` runs. `then_wait_s` moves the kill on, to other places in the work.
    """
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        _write_for_ever(begin, writer)
    os.close(writer)
    killed = Killed()
    with open(reader, "rb", buffering=0) as pipe:
        try:
            assert pipe.read(1) == b"\0", "the writer did not begin"
            while killed.stores.total() < acknowledgements:
                received = pipe.read(1)
                assert received, "the writer ended by itself"
                killed.acknowledge(received[0])
            time.sleep(then_wait_s)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for thread in pipe.read():
            killed.acknowledge(thread)
    return killed


def _write_for_ever(begin: Callable[[], Iterable[Iterator[Write]]], pipe: int) -> None:
    signal.alarm(CHILD_SECONDS)

    def work(thread: int, writes: Iterator[Write]) -> None:
        try:
            for write in writes:
                write()
                os.write(pipe, bytes([thread]))
        except BaseException:  # noqa: BLE001  # the parent must not wait for ever
            traceback.print_exc()
            os.write(pipe, bytes([_FAILED]))

    try:
        os.write(pipe, b"\0")
        threads = [threading.Thread(target=work, args=numbered) for numbered in enumerate(begin())]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(1)
