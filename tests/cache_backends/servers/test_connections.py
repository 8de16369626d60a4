"""The connections of a process: taken by one at a time, given back, retried once, not used when too old."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from cache_backends.errors import CacheUnavailableError, CacheUnreachableError
from cache_backends.servers.connections import IDLE_S, MOST_AT_ONCE, Connections, DroppedError
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.processes import in_child

GUARD_S = 30


@dataclass
class Connection:
    """One that notes what is done with it."""

    number: int
    closed: bool = False
    dropped: bool = False

    def ask(self) -> int:
        """Its number, unless it is gone."""
        assert not self.closed, "used after it was closed"
        if self.dropped:
            raise DroppedError("gone")
        return self.number


@dataclass
class Server:
    """Makes connections."""

    made: list[Connection] = field(default_factory=list)
    refuses: Exception | None = None

    def connect(self) -> Connection:
        """A new one."""
        if self.refuses is not None:
            raise self.refuses
        self.made.append(Connection(len(self.made)))
        return self.made[-1]

    @staticmethod
    def close(connection: Connection) -> None:
        """What a driver does, and then some."""
        connection.closed = True
        raise OSError("closing fails, which is nobody's business")

    def drop_all(self) -> None:
        """End all that are open."""
        for connection in self.made:
            connection.dropped = True


@pytest.fixture
def server() -> Server:
    """Where the connections go."""
    return Server()


@pytest.fixture
def clock() -> FakeClock:
    """How old they are."""
    return FakeClock()


@pytest.fixture
def connections(server: Server, clock: FakeClock) -> Connections[Connection]:
    """None is open yet."""
    return Connections(server.connect, server.close, 0.01, monotonic=clock)


def several_idle(connections: Connections[Connection], many: int) -> None:
    """Open so many at once, and give them back."""

    def open_more(left: int) -> int:
        return connections.run(lambda _: open_more(left - 1) if left > 1 else 0)

    open_more(many)


def test_nothing_is_connected_before_it_is_needed(server: Server, connections: Connections[Connection]) -> None:
    assert server.made == []
    assert [connections.run(Connection.ask) for _ in range(5)] == [0] * 5
    assert len(server.made) == 1


def test_each_caller_has_one_of_its_own(server: Server, connections: Connections[Connection]) -> None:
    assert connections.run(lambda outer: (outer.ask(), connections.run(Connection.ask))) == (0, 1)


def test_an_operation_is_done_once_more_where_the_connection_was_dropped(
    server: Server, connections: Connections[Connection]
) -> None:
    several_idle(connections, 4)
    server.drop_all()
    assert connections.run(Connection.ask) == 4
    assert [connection.closed for connection in server.made] == [True] * 4 + [False]  # the others were as old


def test_one_that_is_dropped_again_is_an_error(server: Server, connections: Connections[Connection]) -> None:
    connections.run(Connection.ask)
    asked = []

    def operation(connection: Connection) -> None:
        asked.append(connection.number)
        raise DroppedError("gone")

    with pytest.raises(DroppedError):
        connections.run(operation)
    assert asked == [0, 1]


def test_a_new_one_that_is_dropped_is_not_tried_again(server: Server, connections: Connections[Connection]) -> None:
    def operation(connection: Connection) -> None:
        raise DroppedError("gone")

    with pytest.raises(DroppedError):
        connections.run(operation)
    assert len(server.made) == 1


def test_a_failure_closes_the_connection_and_is_not_tried_again(
    server: Server, connections: Connections[Connection]
) -> None:
    connections.run(Connection.ask)

    def fail(connection: Connection) -> None:
        raise CacheUnavailableError("refused")

    with pytest.raises(CacheUnavailableError, match="refused"):
        connections.run(fail)
    assert server.made[0].closed
    assert connections.run(Connection.ask) == 1


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_one_is_not_used_again(
    server: Server, connections: Connections[Connection], interruption: type[BaseException]
) -> None:
    """Its reply is still to come: the next caller would get it."""

    def interrupt(connection: Connection) -> None:
        raise interruption

    with pytest.raises(interruption):
        connections.run(interrupt)
    assert server.made[0].closed
    assert connections.run(Connection.ask) == 1


def test_those_that_were_idle_too_long_are_closed_and_not_used(
    server: Server, connections: Connections[Connection], clock: FakeClock
) -> None:
    several_idle(connections, 3)
    clock.tick(IDLE_S - 1)
    assert connections.run(Connection.ask) < 3  # used just now, unlike the others
    clock.tick(2)
    assert connections.run(Connection.ask) < 3
    clock.tick(IDLE_S)
    assert connections.run(Connection.ask) == 3
    assert [connection.closed for connection in server.made] == [True] * 3 + [False]


def test_no_more_than_the_most_are_open_at_once(server: Server) -> None:
    connections = Connections(server.connect, server.close, GUARD_S)
    open_now: list[int] = []
    most: list[int] = []
    lock = threading.Lock()
    full = threading.Event()

    def operation(connection: Connection) -> int:
        with lock:
            open_now.append(connection.number)
            most.append(len(open_now))
            if len(open_now) == MOST_AT_ONCE:
                full.set()
        assert full.wait(GUARD_S)
        with lock:
            open_now.remove(connection.number)
        return connection.ask()

    with ThreadPoolExecutor(3 * MOST_AT_ONCE) as pool:
        list(pool.map(lambda _: connections.run(operation), range(3 * MOST_AT_ONCE)))
    assert max(most) == MOST_AT_ONCE


def test_who_waits_too_long_while_all_are_in_use_is_told_so(connections: Connections[Connection]) -> None:
    def use_all(left: int) -> Any:
        if left:
            return connections.run(lambda _: use_all(left - 1))
        with pytest.raises(
            CacheUnreachableError, match=rf"All {MOST_AT_ONCE} connections have been in use for 0\.01 s"
        ):
            connections.run(Connection.ask)
        return "told"

    assert use_all(MOST_AT_ONCE) == "told"
    assert connections.run(Connection.ask) < MOST_AT_ONCE  # all were given back


@pytest.mark.parametrize(
    "fail", [lambda server: setattr(server, "refuses", CacheUnreachableError("away"))], ids=["connecting fails"]
)
def test_failures_give_their_place_back(
    server: Server, connections: Connections[Connection], fail: Callable[[Server], None]
) -> None:
    fail(server)
    for _ in range(2 * MOST_AT_ONCE):
        with pytest.raises(CacheUnreachableError, match="away"):
            connections.run(Connection.ask)
    server.refuses = None
    assert connections.run(Connection.ask) == 0


def test_closing_closes_the_idle_ones_now_and_the_others_when_they_are_given_back(
    server: Server, connections: Connections[Connection]
) -> None:
    several_idle(connections, 2)

    def close_meanwhile(connection: Connection) -> int:
        connections.close()
        assert not connection.closed
        return connection.ask()

    assert connections.run(close_meanwhile) < 2
    assert [connection.closed for connection in server.made] == [True, True]


def test_a_forked_child_leaves_the_connections_of_its_parent_alone(
    server: Server, connections: Connections[Connection]
) -> None:
    several_idle(connections, 2)

    def in_fork() -> tuple[int, list[bool]]:
        return connections.run(Connection.ask), [connection.closed for connection in server.made]

    def fork_while_all_are_in_use(left: int) -> Any:
        return connections.run(lambda _: fork_while_all_are_in_use(left - 1)) if left else in_child(in_fork)

    number, closed = in_child(in_fork)
    assert (number, closed) == (2, [False, False, False])
    number, closed = fork_while_all_are_in_use(MOST_AT_ONCE)  # by threads of the parent, which are not in the child
    assert number == MOST_AT_ONCE
    assert not any(closed)
    assert connections.run(Connection.ask) < 2 + MOST_AT_ONCE
