"""The connections of event loops: each loop has its own, and what is interrupted is not used again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from cache_backends.errors import CacheUnreachableError
from cache_backends.servers.async_connections import AsyncConnections
from cache_backends.servers.connections import IDLE_S, MOST_AT_ONCE, DroppedError
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.processes import in_child


@dataclass
class Connection:
    """One that notes what is done with it."""

    number: int
    loop: asyncio.AbstractEventLoop
    closed: bool = False
    dropped: bool = False

    async def ask(self) -> int:
        """Its number, unless it is gone."""
        assert not self.closed, "used after it was closed"
        assert self.loop is asyncio.get_running_loop(), "used in another loop"
        await asyncio.sleep(0)
        if self.dropped:
            raise DroppedError("gone")
        return self.number


@dataclass
class Server:
    """Makes connections."""

    made: list[Connection] = field(default_factory=list)
    enough: int = 0
    has_made_enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self) -> Connection:
        """A new one."""
        await asyncio.sleep(0)
        self.made.append(Connection(len(self.made), asyncio.get_running_loop()))
        if len(self.made) == self.enough:
            self.has_made_enough.set()
        return self.made[-1]

    @staticmethod
    def close(connection: Connection) -> None:
        """What a driver does, and then some."""
        connection.closed = True
        raise OSError("closing fails, which is nobody's business")


@pytest.fixture
def server() -> Server:
    """Where the connections go."""
    return Server()


@pytest.fixture
def clock() -> FakeClock:
    """How old they are."""
    return FakeClock()


@pytest.fixture
def connections(server: Server, clock: FakeClock) -> AsyncConnections[Connection]:
    """None is open yet."""
    return AsyncConnections(server.connect, server.close, 0.01, monotonic=clock)


async def several(connections: AsyncConnections[Connection], many: int) -> list[int]:
    """The numbers of so many that are used at once."""
    return sorted(await asyncio.gather(*(connections.run(Connection.ask) for _ in range(many))))


async def test_tasks_have_one_each_and_use_them_again(
    server: Server, connections: AsyncConnections[Connection]
) -> None:
    assert await several(connections, 3) == [0, 1, 2]
    assert await several(connections, 3) == [0, 1, 2]


async def test_an_operation_is_done_once_more_where_the_connection_was_dropped(
    server: Server, connections: AsyncConnections[Connection]
) -> None:
    await several(connections, 4)
    for connection in server.made:
        connection.dropped = True
    assert await connections.run(Connection.ask) == 4
    assert [connection.closed for connection in server.made] == [True] * 4 + [False]


async def test_those_that_were_idle_too_long_are_closed_and_not_used(
    server: Server, connections: AsyncConnections[Connection], clock: FakeClock
) -> None:
    await several(connections, 3)
    clock.tick(IDLE_S)
    assert await connections.run(Connection.ask) == 3
    assert [connection.closed for connection in server.made] == [True] * 3 + [False]


async def test_a_cancelled_one_is_not_used_again(server: Server, connections: AsyncConnections[Connection]) -> None:
    server.enough = 1
    task = asyncio.create_task(connections.run(lambda _: asyncio.sleep(3600)))
    await server.has_made_enough.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.made[0].closed
    assert await connections.run(Connection.ask) == 1


async def test_who_waits_too_long_while_all_are_in_use_is_told_so_and_all_are_given_back(
    server: Server, connections: AsyncConnections[Connection]
) -> None:
    done = asyncio.Event()

    async def hold(connection: Connection) -> int:
        await done.wait()
        return await connection.ask()

    server.enough = MOST_AT_ONCE
    holding = [asyncio.create_task(connections.run(hold)) for _ in range(MOST_AT_ONCE)]
    await server.has_made_enough.wait()
    with pytest.raises(CacheUnreachableError, match=rf"All {MOST_AT_ONCE} connections have been in use for 0\.01 s"):
        await connections.run(Connection.ask)
    done.set()
    assert sorted(await asyncio.gather(*holding)) == list(range(MOST_AT_ONCE))
    assert await connections.run(Connection.ask) < MOST_AT_ONCE


def test_each_loop_has_its_own_and_closes_them_before_it_ends(
    server: Server, connections: AsyncConnections[Connection]
) -> None:
    for number in range(3):
        assert asyncio.run(connections.run(Connection.ask)) == number
    assert [connection.closed for connection in server.made] == [True, True, True]


def test_those_of_a_loop_that_ended_without_closing_them_are_closed_by_the_next(
    server: Server, connections: AsyncConnections[Connection]
) -> None:
    for number in range(3):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(connections.run(Connection.ask)) == number
        loop.close()
    assert [connection.closed for connection in server.made] == [True, True, False]
    connections.close()
    assert [connection.closed for connection in server.made] == [True, True, True]


def test_many_loops_that_begin_when_others_have_ended_do_not_disturb_each_other(
    connections: AsyncConnections[Connection],
) -> None:
    def run(_: int) -> list[int]:
        return [asyncio.run(connections.run(Connection.ask)) for _ in range(30)]

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for numbers in pool.map(run, range(8)) for number in numbers]
    assert len(numbers) == 8 * 30


def test_closing_closes_the_idle_ones_now_and_the_others_when_they_are_given_back(
    server: Server, connections: AsyncConnections[Connection]
) -> None:
    async def both() -> None:
        await several(connections, 2)

        async def close_meanwhile(connection: Connection) -> int:
            connections.close()
            assert not connection.closed
            return await connection.ask()

        await connections.run(close_meanwhile)

    asyncio.run(both())
    assert [connection.closed for connection in server.made] == [True, True]


def test_a_forked_child_leaves_the_connections_of_its_parent_alone(
    server: Server, connections: AsyncConnections[Connection]
) -> None:
    async def parent() -> Coroutine[Any, Any, Any] | tuple[int, list[bool]]:
        await several(connections, 2)
        return in_child(child)

    def child() -> tuple[int, list[bool]]:
        asyncio._set_running_loop(None)
        number = asyncio.run(connections.run(Connection.ask))
        return number, [connection.closed for connection in server.made]

    assert asyncio.run(parent()) == (2, [False, False, True])
