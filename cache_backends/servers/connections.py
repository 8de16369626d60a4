"""`Connections`: the open connections of one process to one server, taken by one caller at a time."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from cache_backends.errors import CacheUnreachableError
from cache_backends.forks import Forkable, tell_of_forks

Connection = TypeVar("Connection")
Result = TypeVar("Result")

MOST_AT_ONCE = 8
"""Connections of a process: servers admit a hundred or so from all of theirs."""
IDLE_S = 60.0
"""What was idle for longer is not used again: a firewall between may have forgotten it, and says nothing."""


class DroppedError(CacheUnreachableError):
    """The connection is gone; the server may well answer a new one."""


class Connections(Forkable, Generic[Connection]):
    """A bounded number of connections, the one used last first."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        close: Callable[[Connection], None],
        wait_s: float,
        *,
        most: int = MOST_AT_ONCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`connect` and `close` are the driver's; `wait_s` is how long a caller waits while all `most` are in use."""
        self._connect = connect
        self._close_one = close
        self._wait_s = wait_s
        self._most = most
        self._monotonic = monotonic
        self._idle: deque[tuple[Connection, float]] = deque()
        self._free = _permits(most)
        self._inherited: list[object] = []
        self.closed = False
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """Idle connections are the parent's. They are kept, not closed: closing would end them for the parent too."""
        self._inherited.append(self._idle)
        self._idle = deque()
        self._free = _permits(self._most)

    def run(self, operation: Callable[[Connection], Result]) -> Result:
        """The result of `operation` on a connection of its own.

        Where a connection turns out to be dropped, once more on a new one: every operation must bear that. Raises what
        `operation` and `connect` raise, and `CacheUnreachableError`.
        """
        free = self._free
        try:
            free.get(timeout=self._wait_s)
        except Empty as error:
            raise CacheUnreachableError(
                f"All {self._most} connections have been in use for {self._wait_s:g} s."
            ) from error
        try:
            connection = self._take_idle()
            if connection is not None:
                try:
                    return self._run_on(connection, operation)
                except DroppedError:
                    self.close_idle()  # the others are as old
            return self._run_on(self._connect(), operation)
        finally:
            free.put(None)

    def close_idle(self) -> None:
        """Close what nobody uses now."""
        while self._idle:
            with contextlib.suppress(IndexError):
                self._close(self._idle.pop()[0])

    def close(self) -> None:
        """Close all connections, those in use as soon as they are given back."""
        self.closed = True
        self.close_idle()

    def _take_idle(self) -> Connection | None:
        try:
            connection, since = self._idle.pop()
        except IndexError:
            return None
        if self._monotonic() - since < IDLE_S:
            return connection
        self._close(connection)
        self.close_idle()  # all the others have been idle for longer
        return None

    def _run_on(self, connection: Connection, operation: Callable[[Connection], Result]) -> Result:
        try:
            result = operation(connection)
        except BaseException:
            self._close(connection)  # whatever state it is in; failures are rare enough for a new one each
            raise
        if self.closed:
            self._close(connection)
        else:
            self._idle.append((connection, self._monotonic()))
        return result

    def _close(self, connection: Connection) -> None:
        with contextlib.suppress(Exception):
            self._close_one(connection)


def _permits(most: int) -> SimpleQueue[None]:
    """One for each connection that may be in use. A semaphore of Python takes a tenth of a lookup's time."""
    permits: SimpleQueue[None] = SimpleQueue()
    for _ in range(most):
        permits.put(None)
    return permits
