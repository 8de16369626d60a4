"""`AsyncConnections`: the open connections of each event loop to one server, taken by one task at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cache_backends.errors import CacheUnreachableError
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.servers.connections import MOST_AT_ONCE, DroppedError

Connection = TypeVar("Connection")
Result = TypeVar("Result")


@dataclass(slots=True)
class _OfLoop(Generic[Connection]):
    idle: list[Connection] = field(default_factory=list)
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_AT_ONCE))


class AsyncConnections(Forkable, Generic[Connection]):
    """Up to `MOST_AT_ONCE` connections for each event loop: a connection belongs to the loop that opened it."""

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], close: Callable[[Connection], None], wait_s: float
    ) -> None:
        """`connect` and `close` are the driver's; `wait_s` is how long a task waits while all are in use."""
        self._connect = connect
        self._close_one = close
        self._wait_s = wait_s
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
            if here.idle:
                with contextlib.suppress(DroppedError):
                    return await self._run_on(here, here.idle.pop(), operation)
                while here.idle:
                    self._close(here.idle.pop())  # the others are as old
            return await self._run_on(here, await self._connect(), operation)
        finally:
            here.free.release()

    def close(self) -> None:
        """Close what no task uses now; the others as soon as they are given back."""
        self.closed = True
        for here in list(self._loops.values()):
            while here.idle:
                self._close(here.idle.pop())

    def _here(self) -> _OfLoop[Connection]:
        loop = asyncio.get_running_loop()
        here = self._loops.get(loop)
        if here is None:
            for other in [loop for loop in list(self._loops) if loop.is_closed()]:
                for connection in self._loops.pop(other).idle:
                    self._close(connection)
            here = self._loops[loop] = _OfLoop()
        return here

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
            here.idle.append(connection)
        return result

    def _close(self, connection: Connection) -> None:
        with contextlib.suppress(Exception):
            self._close_one(connection)
