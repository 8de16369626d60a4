"""`AsyncConnections`: the open connections of each event loop to one server, taken by one task at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from cache_backends.errors import CacheUnreachableError
from cache_backends.servers.connections import IDLE_S, MOST_AT_ONCE, DroppedError
from cache_backends.servers.per_loop import PerLoop

Connection = TypeVar("Connection")
Result = TypeVar("Result")


@dataclass(slots=True)
class _OfLoop(Generic[Connection]):
    close_one: Callable[[Connection], None]
    idle: list[tuple[Connection, float]] = field(default_factory=list)
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_AT_ONCE))

    def close(self, connection: Connection) -> None:
        with contextlib.suppress(Exception):
            self.close_one(connection)

    def close_idle(self) -> None:
        while self.idle:
            with contextlib.suppress(IndexError):
                self.close(self.idle.pop()[0])

    async def end(self) -> None:
        self.close_idle()


class AsyncConnections(Generic[Connection]):
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
        self._wait_s = wait_s
        self._monotonic = monotonic
        self._loops: PerLoop[_OfLoop[Connection]] = PerLoop(partial(_OfLoop, close), _OfLoop.end, _OfLoop.close_idle)
        self.closed = False

    async def run(self, operation: Callable[[Connection], Awaitable[Result]]) -> Result:
        """What `operation` gives on a connection of its own; see `Connections.run`."""
        here = await self._loops.here()
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
                here.close_idle()  # the others are as old
            return await self._run_on(here, await self._connect(), operation)
        finally:
            here.free.release()

    def close(self) -> None:
        """Close what no task uses now; the others as soon as they are given back."""
        self.closed = True
        for here in self._loops.clients():
            here.close_idle()

    def _take_idle(self, here: _OfLoop[Connection]) -> Connection | None:
        with contextlib.suppress(IndexError):
            connection, since = here.idle.pop()
            if self._monotonic() - since < IDLE_S:
                return connection
            here.close(connection)
            here.close_idle()  # all the others have been idle for longer
        return None

    async def _run_on(
        self, here: _OfLoop[Connection], connection: Connection, operation: Callable[[Connection], Awaitable[Result]]
    ) -> Result:
        try:
            result = await operation(connection)
        except BaseException:
            here.close(connection)  # whatever state it is in
            raise
        if self.closed:
            here.close(connection)
        else:
            here.idle.append((connection, self._monotonic()))
        return result
