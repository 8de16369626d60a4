"""`PerLoop`: one client of an asynchronous driver for each event loop, since its connections belong to that loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Generic, TypeVar

from cache_backends.forks import Forkable, tell_of_forks

Client = TypeVar("Client")
Close = Callable[[Client], Coroutine[Any, Any, None]]


class PerLoop(Forkable, Generic[Client]):
    """Clients by event loop, made when first asked for, and closed by a loop that ends as `asyncio.run` ends it.

    Later nobody could: connections of a loop that has ended stay open until the garbage collector comes by.
    """

    def __init__(
        self,
        make: Callable[[], Client],
        close: Close[Client],
        drop: Callable[[Client], None] = lambda _: None,
    ) -> None:
        """`make` and `close` are called in the loop of the client, `close` also again, where it was cancelled or not.

        `drop` is called where a loop has ended without closing its client.
        """
        self._make = make
        self._close = close
        self._drop = drop
        self._is_closed = False
        self._clients: dict[asyncio.AbstractEventLoop, tuple[Client, AsyncGenerator[None, None]]] = {}
        self._inherited: list[object] = []
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """Connections are the parent's: kept, not closed."""
        self._inherited.append(self._clients)
        self._clients = {}

    async def here(self) -> Client:
        """The client of the running loop. Lets no other task go on meanwhile."""
        loop = asyncio.get_running_loop()
        known = self._clients.get(loop)
        if known is None:
            for ended in [loop for loop in list(self._clients) if loop.is_closed()]:
                self._abandon(ended)
            client = self._make()
            closing = _closing(client, self._close)
            self._clients[loop] = client, closing
            await anext(closing)
            if self._is_closed:  # since whoever asks looked
                _close_soon(loop, self._close, client)
            return client
        return known[0]

    def clients(self) -> list[Client]:
        """Those of all loops."""
        return [client for client, _ in list(self._clients.values())]

    def close(self) -> None:
        """Close every client as soon as its loop gets to it. Nobody may ask afterwards."""
        self._is_closed = True
        for loop, (client, _) in list(self._clients.items()):  # kept: a loop that ends now cancels the task
            try:
                loop.call_soon_threadsafe(_close_soon, loop, self._close, client)
            except RuntimeError:  # it has ended
                self._abandon(loop)

    def _abandon(self, loop: asyncio.AbstractEventLoop) -> None:
        known = self._clients.pop(loop, None)  # None: another thread was faster
        if known is not None:
            self._drop(known[0])


async def _closing(client: Client, close: Close[Client]) -> AsyncGenerator[None, None]:
    """Closes a client when it is closed itself, as an event loop does with all generators before it ends."""
    process = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == process:  # a child may end the loop in the middle of which it was forked
            await close(client)


def _close_soon(loop: asyncio.AbstractEventLoop, close: Close[Client], client: Client) -> None:
    task = loop.create_task(close(client))
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody waits for it
