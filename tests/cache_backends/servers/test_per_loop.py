"""One client for each event loop, closed by the loop before it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from cache_backends.servers.per_loop import PerLoop
from tests.cache_backends.processes import CHILD_SECONDS, fork, in_child

CLOSING_TURNS = 3


class Client:
    """Notes in which loop it was closed."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed_in: list[asyncio.AbstractEventLoop] = []

    async def close(self) -> None:
        """Takes some turns of the loop, as closing a connection does."""
        for _ in range(CLOSING_TURNS):
            await asyncio.sleep(0)
        self.closed_in.append(asyncio.get_running_loop())

    @property
    def was_closed_by_its_loop(self) -> bool:
        """Nobody else may."""
        return {*self.closed_in} == {self.loop}


@pytest.fixture
def clients() -> PerLoop[Client]:
    """Of no loop yet."""
    return PerLoop(Client, Client.close)


async def test_a_loop_has_one_client(clients: PerLoop[Client]) -> None:
    first, *others = await asyncio.gather(*(clients.here() for _ in range(5)))
    assert all(other is first for other in others)
    assert await clients.here() is first
    assert not first.closed_in


def test_loops_have_clients_of_their_own_which_they_close_before_they_end(clients: PerLoop[Client]) -> None:
    made = [asyncio.run(clients.here()) for _ in range(3)]
    assert len({id(client) for client in made}) == 3
    assert all(client.was_closed_by_its_loop for client in made)


@pytest.mark.parametrize("give_up", [lambda held: held[0].close(), list.clear], ids=["closed", "dropped"])
def test_the_loop_of_another_thread_closes_its_client_when_all_are_closed_or_dropped(
    give_up: Callable[[list[PerLoop[Client]]], None],
) -> None:
    held = [PerLoop(Client, Client.close)]
    with asyncio.Runner() as runner:
        client = runner.run(held[0].here())
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        give_up(held)
        gc.collect()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for _ in range(CLOSING_TURNS):
            runner.run(asyncio.sleep(0))
        assert client.was_closed_by_its_loop


@pytest.mark.parametrize("turns", range(CLOSING_TURNS + 2))
def test_a_loop_that_ends_while_its_client_is_being_closed_closes_it(clients: PerLoop[Client], turns: int) -> None:
    async def ask_and_close() -> Client:
        client = await clients.here()
        clients.close()
        for _ in range(turns):
            await asyncio.sleep(0)
        return client

    assert asyncio.run(ask_and_close()).was_closed_by_its_loop


def test_a_loop_that_ended_without_closing_anything_is_forgotten(clients: PerLoop[Client]) -> None:
    loop = asyncio.new_event_loop()
    client = loop.run_until_complete(clients.here())
    loop.close()
    assert clients.clients() == [client]
    other = asyncio.run(clients.here())
    assert clients.clients() == [other]
    clients.close()
    assert clients.clients() == []
    assert not client.closed_in


def test_a_client_that_is_made_while_all_are_closed_is_closed_too(clients: PerLoop[Client]) -> None:
    async def ask_late() -> Client:
        client = await clients.here()
        for _ in range(CLOSING_TURNS + 1):
            await asyncio.sleep(0)
        assert client.closed_in
        return client

    clients.close()
    assert asyncio.run(ask_late()).was_closed_by_its_loop


def test_loops_in_many_threads_begin_and_end_at_once(clients: PerLoop[Client]) -> None:
    def run(_: int) -> bool:
        made = [asyncio.run(clients.here()) for _ in range(30)]
        return len({id(client) for client in made}) == 30 and all(one.was_closed_by_its_loop for one in made)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(8)))


async def test_a_forked_child_has_a_client_of_its_own_and_leaves_the_parents_open(clients: PerLoop[Client]) -> None:
    mine = await clients.here()

    def child() -> bool:
        asyncio._set_running_loop(None)
        theirs = asyncio.run(clients.here())
        return theirs is not mine and theirs.was_closed_by_its_loop and not mine.closed_in

    assert in_child(child)
    assert await clients.here() is mine


def test_a_child_that_ends_the_loop_it_was_forked_in_leaves_the_client_open(clients: PerLoop[Client]) -> None:
    reader, writer = os.pipe()
    mine: list[Client] = []

    async def fork_amid() -> int:
        mine.append(await clients.here())
        child = fork()
        if child == 0:
            signal.alarm(CHILD_SECONDS)
            raise SystemExit
        return child

    try:
        child = asyncio.run(fork_amid())
    except SystemExit:
        os.write(writer, b"closed" if mine[0].closed_in else b"left open")
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert pipe.read() == b"left open"
    os.waitpid(child, 0)
    assert mine[0].was_closed_by_its_loop
