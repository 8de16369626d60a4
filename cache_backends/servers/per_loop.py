"""`PerLoop`: one client of an asynchronous driver for each event loop, since its connections belong to that loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cache_backends.forks import Forkable, tell_of_forks

Client = TypeVar("Client")


@dataclass(slots=True)
class _OfLoop(Generic[Client]):
    client: Client
    closing: AsyncGenerator[None, None]
    is_watched: bool = False
    """Whether the loop will end `closing` before it ends itself."""


class PerLoop(Forkable, Generic[Client]):
    """Clients by event loop, made when first asked for, and closed by their loop before it ends.

    Later nobody could: connections of a loop that has ended stay open until the garbage collector comes by.
    """

    def __init__(self, make: Callable[[], Client], close: Callable[[Client], Awaitable[None]]) -> None:
        """`make` and `close` are called in the loop of the client."""
        self._make = make
        self._close = close
        self._clients: dict[asyncio.AbstractEventLoop, _OfLoop[Client]] = {}
        self._inherited: list[object] = []
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """Connections are the parent's: kept, not closed."""
        self._inherited.append(self._clients)
        self._clients = {}

    async def here(self) -> Client:
        """The client of the running loop."""
        loop = asyncio.get_running_loop()
        here = self._clients.get(loop)
        if here is None:
            for ended in [loop for loop in list(self._clients) if loop.is_closed()]:
                self._clients.pop(ended, None)
            client = self._make()
            here = self._clients[loop] = _OfLoop(client, _closing(client, self._close))
        if not here.is_watched:
            here.is_watched = True
            await anext(here.closing)
        return here.client

    def close(self) -> None:
        """Close every client as soon as its loop gets to it. Nobody may ask afterwards."""
        for loop, there in list(self._clients.items()):  # kept: a loop that ends now cancels the task, and closes it
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(_close_soon, loop, there.closing)


async def _closing(client: Client, close: Callable[[Client], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """Closes a client when it is closed itself, as every event loop does with generators before it ends."""
    try:
        yield
    finally:
        await close(client)


def _close_soon(loop: asyncio.AbstractEventLoop, closing: AsyncGenerator[None, None]) -> None:
    task = loop.create_task(_end(closing))
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody waits for it


async def _end(closing: AsyncGenerator[None, None]) -> None:
    """A task of `aclose` itself that is cancelled before it begins would end the generator in the middle."""
    await closing.aclose()
