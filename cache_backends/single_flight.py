"""One call for all who ask for the same at once: one leads and makes it, the others wait and get what it brings.

Knows keys and calls only, nothing of language models; `cache_backends.one_request` is its use with LangChain.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from cache_backends.errors import FlightTimeoutError
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.party import Party, current_party, party

T = TypeVar("T")

LOOK_EVERY_S = 0.1
"""How often `while_waiting` is called: soon enough for a person who wants to stop."""


@dataclass(frozen=True, slots=True)
class Flight(Generic[T]):
    """What a call brought to one of those who asked for it."""

    value: T
    shared: bool
    """Whether it was another's call that was waited for."""
    waited_s: float
    """Seconds spent waiting for others."""


class SingleFlight(Forkable):
    """Makes one call a key at a time, for threads and for tasks of any event loop alike.

    An error of the leader is raised to all who waited (the same exception object, as futures do) and is kept nowhere:
    the next request begins anew. A leader that is cancelled, interrupted or ended by one of `gave_up_by` (exceptions
    that mean that it stopped for reasons of its own) fails nobody: one of those who wait leads in its place.
    Nobody waits for itself: a call that would wait, directly or over others, for one that it is part of is made at
    once. A forked child never waits for a flight of its parent.

    >>> flights = SingleFlight()
    >>> flights.run("question", lambda: "answer")
    Flight(value='answer', shared=False, waited_s=0.0)
    """

    def __init__(self, *, gave_up_by: tuple[type[Exception], ...] = ()) -> None:
        self._gave_up_by = gave_up_by
        self._calls: dict[Hashable, _Call] = {}
        self._settled = 0
        self._lock = threading.Lock()
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """The leaders are the parent's, and a thread of the parent may have held the lock."""
        self._calls = {}
        self._lock = threading.Lock()

    def run(self, key: Hashable, call: Callable[[], T], timeout_s: float | None = None) -> Flight[T]:
        """Make the call, or wait for the one that is being made for this key.

        Raises what the call raises, whoever made it, and `FlightTimeoutError` after waiting for `timeout_s` seconds;
        the leader goes on.
        """
        with party():
            joined = self.join(key, timeout_s)
            if isinstance(joined, Flight):
                return joined
            with joined:
                value = call()
                joined.land(value)
            return Flight(value, shared=False, waited_s=joined.waited_s)

    async def arun(self, key: Hashable, call: Callable[[], Awaitable[T]], timeout_s: float | None = None) -> Flight[T]:
        """`run` for a coroutine function. Waiting does not block the event loop; who is cancelled harms nobody."""
        with party():
            joined = await self.ajoin(key, timeout_s)
            if isinstance(joined, Flight):
                return joined
            with joined:
                value = await call()
                joined.land(value)
            return Flight(value, shared=False, waited_s=joined.waited_s)

    def join(
        self, key: Hashable, timeout_s: float | None = None, while_waiting: Callable[[], object] | None = None
    ) -> Flight[Any] | Leading:
        """Wait for the call in flight; where there is none, become the leader, who must make and settle it.

        For calls that can't be handed to `run`; to be used inside `party()`. `while_waiting` is called every
        `LOOK_EVERY_S`, and what it raises ends the waiting. Raises as `run` does.
        """
        patience = _Patience(timeout_s, while_waiting)
        mine = current_party() or Party(None)
        while True:
            call, leading = self._board(key, mine, patience)
            if leading is not None:
                return leading
            try:
                while not call.landing.done():
                    concurrent.futures.wait([call.landing], patience.next_s())
            finally:
                self._alight(call, mine)
            landing = call.landing.result()
            if not landing.abandoned:
                return landing.flight(patience.waited_s)

    async def ajoin(
        self, key: Hashable, timeout_s: float | None = None, while_waiting: Callable[[], object] | None = None
    ) -> Flight[Any] | Leading:
        """`join` that does not block the event loop."""
        patience = _Patience(timeout_s, while_waiting)
        mine = current_party() or Party(None)
        while True:
            call, leading = self._board(key, mine, patience)
            if leading is not None:
                return leading
            landing_here = asyncio.wrap_future(call.landing)
            try:
                while not call.landing.done():
                    await asyncio.wait([landing_here], timeout=patience.next_s())
            finally:
                landing_here.cancel()  # this loop's view of it alone
                self._alight(call, mine)
            landing = call.landing.result()
            if not landing.abandoned:
                return landing.flight(patience.waited_s)

    @property
    def in_flight(self) -> int:
        """How many calls are being made."""
        return len(self._calls)

    @property
    def waiting(self) -> int:
        """How many wait for a call of another."""
        with self._lock:
            return sum(call.waiting for call in self._calls.values())

    @property
    def settled(self) -> int:
        """How many calls have ended so far.

        Who looks into a store before it leads has seen all that others stored if this has not changed since.
        """
        return self._settled

    def _board(self, key: Hashable, mine: Party, patience: _Patience) -> tuple[_Call, Leading | None]:
        with self._lock:
            call = self._calls.get(key)
            if call is None:
                call = self._calls[key] = _Call(mine)
                return call, Leading(self, key, call, patience.waited_s, alone=False)
            line = list(mine.line())
            if call.leader.hangs_on(line):
                call = _Call(mine)
                return call, Leading(self, key, call, patience.waited_s, alone=True)
            call.waiting += 1
            for each in line:
                each.waits_for.append(call.leader)
            return call, None

    def _alight(self, call: _Call, mine: Party) -> None:
        with self._lock:
            call.waiting -= 1
            for each in mine.line():
                each.waits_for.remove(call.leader)

    def _settle(self, key: Hashable, call: _Call, landing: _Landing) -> None:
        with self._lock:
            if self._calls.get(key) is not call:
                return  # settled already, made alone, or of the process that this one was forked from
            del self._calls[key]
            self._settled += 1
        call.landing.set_result(landing)


class Leading:
    """The right and the duty to make the call of a key. It ends with the first of `land`, `fail` and `abandon`.

    As a context manager it sees to it: an error that leaves the block fails all who wait.
    """

    def __init__(self, flights: SingleFlight, key: Hashable, call: _Call, waited_s: float, *, alone: bool) -> None:
        self.waited_s = waited_s
        """Seconds spent waiting for leaders that gave up."""
        self.alone = alone
        """Whether another leads this key and could not be waited for: nobody waits for this call."""
        self._flights = flights
        self._key = key
        self._call = call

    def land(self, value: object) -> None:
        """Hand the value to all who wait."""
        self._flights._settle(self._key, self._call, _Landing(value))

    def fail(self, error: Exception) -> None:
        """Raise the error to all who wait."""
        self._flights._settle(self._key, self._call, _Landing(error=error))

    def abandon(self) -> None:
        """Let the next one lead."""
        self._flights._settle(self._key, self._call, _Landing(abandoned=True))

    def leave(self, error: BaseException | None) -> None:
        """End without a value: fail, or abandon where there is no error or one that is the leader's own affair."""
        if isinstance(error, Exception) and not isinstance(error, self._flights._gave_up_by):
            self.fail(error)
        else:
            self.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave(error)


@dataclass(frozen=True, slots=True)
class _Landing:
    """How a call ended. Never an exception of the future, which would be logged where nobody waits for it."""

    value: Any = None
    error: Exception | None = None
    abandoned: bool = False

    def flight(self, waited_s: float) -> Flight[Any]:
        if self.error is not None:
            raise self.error
        return Flight(self.value, shared=True, waited_s=waited_s)


class _Call:
    """One call that is being made."""

    def __init__(self, leader: Party) -> None:
        self.leader = leader
        self.waiting = 0
        self.landing: concurrent.futures.Future[_Landing] = concurrent.futures.Future()
        self.landing.set_running_or_notify_cancel()  # so that no task that is cancelled cancels it for all


class _Patience:
    """How long one request waits, over all the leaders that it waits for."""

    def __init__(self, timeout_s: float | None, while_waiting: Callable[[], object] | None) -> None:
        self._timeout_s = timeout_s
        self._while_waiting = while_waiting
        self._began: float | None = None

    @property
    def waited_s(self) -> float:
        return 0.0 if self._began is None else time.monotonic() - self._began

    def next_s(self) -> float | None:
        """Seconds until the next look. Raises what ends the waiting."""
        if self._began is None:
            self._began = time.monotonic()
        if self._while_waiting is not None:
            self._while_waiting()
        longest_s = None if self._while_waiting is None else LOOK_EVERY_S
        if self._timeout_s is None:
            return longest_s
        left_s = self._timeout_s - self.waited_s
        if left_s <= 0:
            raise FlightTimeoutError(
                f"An equal call was in flight and did not end within {self._timeout_s:g} s. It goes on; "
                "ask again later, or wait longer with a larger timeout_s."
            )
        return left_s if longest_s is None else min(left_s, longest_s)
