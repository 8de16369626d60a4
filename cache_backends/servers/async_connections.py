"""`AsyncConnections`: the open connections of each event loop to one server, taken by one task at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cache_backends.errors import CacheUnreachableError
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.servers.connections import IDLE_S, MOST_AT_ONCE, DroppedError

Connection = TypeVar("Connection")
Result = TypeVar("Result")


@dataclass(slots=True)
class _OfLoop(Generic[Connection]):
    idle: list[tuple[Connection, float]] = field(default_factory=list)
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_AT_ONCE))


class AsyncConnections(Forkable, Generic[Connection]):
    """Up to `MOST_AT_ONCE` connections for each event loop: a connection belongs to the loop that opened it."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        close: Callable[[Connection], None],
        wait_s: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`connect` and `close` are the driver's; `wait_s` is how long a task waits while all are in use."""
        self._connect = connect
        self._close_one = close
        self._wait_s = wait_s
        self._monotonic = monotonic
        self._loops: dict[asyncio.AbstractEventLoop, _OfLoop[Connection]] = {}
        self._inherited: list[object] = []
        self.closed = False
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """Connections are the parent's; see `Connections`."""
        self._inherited.append(self._loops)
        self._loops = {}

    async def run(self, operation: Callable[[Connection], Awaitable[Result]]) -> Result:
        """What `operation` gives on a connection of its own; see `Connections.run`."""
        here = self._here()
        try:
            async with asyncio.timeout(self._wait_s):
                await here.free.acquire()
        except TimeoutError as error:
            raise CacheUnreachableError(
                f"All {MOST_AT_ONCE} connections have been in use for {self._wait_s:g} s."
            ) from error
        try:
            connection = self._take_idle(here)
            if connection is not None:
                with contextlib.suppress(DroppedError):
                    return await self._run_on(here, connection, operation)
                self._close_idle(here)  # the others are as old
            return await self._run_on(here, await self._connect(), operation)
        finally:
            here.free.release()

    def close(self) -> None:
        """Close what no task uses now; the others as soon as they are given back."""
        self.closed = True
        for here in list(self._loops.values()):
            self._close_idle(here)

    def _here(self) -> _OfLoop[Connection]:
        loop = asyncio.get_running_loop()
        here = self._loops.get(loop)
        if here is None:
            for other in [loop for loop in list(self._loops) if loop.is_closed()]:
                closed = self._loops.pop(other, None)  # None: another loop's thread was faster
                for connection, _ in closed.idle if closed else ():
                    self._close(connection)
            here = self._loops[loop] = _OfLoop()
        return here

    def _take_idle(self, here: _OfLoop[Connection]) -> Connection | None:
        with contextlib.suppress(IndexError):
            connection, since = here.idle.pop()
            if self._monotonic() - since < IDLE_S:
                return connection
            self._close(connection)
            self._close_idle(here)  # all the others have been idle for longer
        return None

    def _close_idle(self, here: _OfLoop[Connection]) -> None:
        while here.idle:
            with contextlib.suppress(IndexError):
                self._close(here.idle.pop()[0])

    async def _run_on(
        self, here: _OfLoop[Connection], connection: Connection, operation: Callable[[Connection], Awaitable[Result]]
    ) -> Result:
        try:
            result = await operation(connection)
        except BaseException:
            self._close(connection)  # whatever state it is in
            raise
        if self.closed:
            self._close(connection)
        else:
            here.idle.append((connection, self._monotonic()))
        return result

    def _close(self, connection: Connection) -> None:
        with contextlib.suppress(Exception):
            self._close_one(connection)
