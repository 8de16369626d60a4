"""One client for each event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from cache_backends.servers.per_loop import PerLoop
from tests.cache_backends.processes import in_child


async def here(clients: PerLoop[object]) -> object:
    """The client of this loop."""
    return clients.here()


async def test_a_loop_has_one_client() -> None:
    clients = PerLoop(object)
    assert clients.here() is clients.here()


def test_loops_have_clients_of_their_own_and_closed_ones_are_forgotten() -> None:
    clients = PerLoop(object)
    made = [asyncio.run(here(clients)) for _ in range(3)]
    assert len({id(client) for client in made}) == 3
    assert [client for _, client in clients.drop_all()] == made[-1:]
    assert clients.drop_all() == []


def test_loops_in_many_threads_begin_and_end_at_once() -> None:
    clients = PerLoop(object)

    def run(_: int) -> int:
        return len({id(asyncio.run(here(clients))) for _ in range(30)})

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(8)))


async def test_a_forked_child_has_a_client_of_its_own() -> None:
    clients = PerLoop(object)
    mine = clients.here()

    def child() -> bool:
        asyncio._set_running_loop(None)
        return asyncio.run(here(clients)) is not mine

    assert in_child(child)
    assert clients.here() is mine
