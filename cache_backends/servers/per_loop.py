"""`PerLoop`: one client of an asynchronous driver for each event loop, since its connections belong to that loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from cache_backends.forks import Forkable, tell_of_forks

Client = TypeVar("Client")


class PerLoop(Forkable, Generic[Client]):
    """Clients by event loop, made when first asked for. Those of closed loops are dropped, as nobody can await them."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._clients: dict[asyncio.AbstractEventLoop, Client] = {}
        self._inherited: list[object] = []
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """Connections are the parent's: kept, not closed."""
        self._inherited.append(self._clients)
        self._clients = {}

    def here(self) -> Client:
        """The client of the running loop."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            for closed in [loop for loop in list(self._clients) if loop.is_closed()]:
                self._clients.pop(closed, None)
            client = self._clients[loop] = self._make()
        return client

    def drop_all(self) -> list[tuple[asyncio.AbstractEventLoop, Client]]:
        """All clients and their loops, which are forgotten here."""
        clients = list(self._clients.items())
        self._clients.clear()
        return clients
