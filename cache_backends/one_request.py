"""`OneRequest`: a LangChain cache for one request, which shares the answer of an equal request in flight."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Literal, Self

from langchain_core.caches import BaseCache
from langchain_core.outputs import Generation

from cache_backends.base import CacheBackend
from cache_backends.keys import cache_key
from cache_backends.party import party
from cache_backends.records import Lookup, Outcome
from cache_backends.single_flight import Flight, Leading, SingleFlight


class OneRequest(BaseCache):
    """Stands before any LangChain cache for one request: misses that are equal and simultaneous make one model call.

    It is a block, because LangChain tells a cache when an answer was found but not when none could be made: only
    the end of the block says so, and the others need not wait in vain. An error that leaves it is raised to them too.

        flights = SingleFlight()  # one for the process

        def ask(question):
            with OneRequest(cache, flights) as one:
                return model.model_copy(update={"cache": one}).invoke(question)

    Those who wait get the answer whether the cache stores it or not, each as objects of its own. What is asked outside
    the block goes to the cache and nowhere else.

    >>> from cache_backends import MemoryCache
    >>> cache, flights = MemoryCache(), SingleFlight()
    >>> with OneRequest(cache, flights) as one:
    ...     if one.lookup("Who was Carl Sagan?", "model=demo") is None:
    ...         one.update("Who was Carl Sagan?", "model=demo", [Generation(text="An astronomer.")])
    >>> one.outcome, flights.in_flight, cache.counters.stores
    ('miss', 0, 1)
    """

    def __init__(
        self,
        cache: BaseCache,
        flights: SingleFlight,
        *,
        place: Hashable = None,
        timeout_s: float | None = 60.0,
        while_waiting: Callable[[], object] | None = None,
    ) -> None:
        """`place`: what equal requests have in common beside prompt and parameters; None: the store and namespace.

        `timeout_s` and `while_waiting` are those of `SingleFlight.join`.
        """
        self.outcome: Outcome | Literal["shared"] | None = None
        """How the newest lookup ended; `shared`: it found nothing and waited for an equal request. None before it."""
        self.waited_s = 0.0
        """Seconds spent waiting for others."""
        self.shared: Sequence[Generation] = ()
        """The answer that another request made, where there is one."""
        self._cache = cache
        self._flights = flights
        self._place = place_of(cache) if place is None else place
        self._timeout_s = timeout_s
        self._while_waiting = while_waiting
        self._leading: dict[str, Leading] = {}
        self._block: AbstractContextManager[None] | None = None

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """What the cache has, else what an equal request in flight brings; None: the model is to be asked.

        Raises the error of the request that was waited for, and `FlightTimeoutError`.
        """
        settled = self._flights.settled
        with self._observing() as lookups:
            found = self._noted(self._cache.lookup(prompt, llm_string), lookups)
        if found is not None or self._block is None:
            return found
        key, looked, self.outcome = cache_key(prompt, llm_string), self.outcome, "shared"
        joined = self._flights.join((self._place, key), self._timeout_s, self._while_waiting)
        if isinstance(joined, Flight):
            return self._share(joined)
        self.outcome = looked
        if self._leads_on_what_it_has_seen(key, joined, settled):
            return None
        with self._observing() as lookups:
            found = self._noted(self._cache.lookup(prompt, llm_string), lookups)
        return self._found_after_all(key, found)

    async def alookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """`lookup` that does not block the event loop."""
        settled = self._flights.settled
        with self._observing() as lookups:
            found = self._noted(await self._cache.alookup(prompt, llm_string), lookups)
        if found is not None or self._block is None:
            return found
        key, looked, self.outcome = cache_key(prompt, llm_string), self.outcome, "shared"
        joined = await self._flights.ajoin((self._place, key), self._timeout_s, self._while_waiting)
        if isinstance(joined, Flight):
            return self._share(joined)
        self.outcome = looked
        if self._leads_on_what_it_has_seen(key, joined, settled):
            return None
        with self._observing() as lookups:
            found = self._noted(await self._cache.alookup(prompt, llm_string), lookups)
        return self._found_after_all(key, found)

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Hand the answer to the cache, then to all who wait for it."""
        try:
            self._cache.update(prompt, llm_string, return_val)
        finally:
            self._land(cache_key(prompt, llm_string), return_val)

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """`update` that does not block the event loop."""
        try:
            await self._cache.aupdate(prompt, llm_string, return_val)
        finally:
            self._land(cache_key(prompt, llm_string), return_val)

    def clear(self, **kwargs: Any) -> None:
        """Clear the cache."""
        self._cache.clear(**kwargs)

    async def aclear(self, **kwargs: Any) -> None:
        """`clear` that does not block the event loop."""
        await self._cache.aclear(**kwargs)

    def __enter__(self) -> Self:
        self._block = party()
        self._block.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        block, self._block = self._block, None
        unanswered, self._leading = list(self._leading.values()), {}
        for leading in unanswered:
            leading.leave(error if len(unanswered) == 1 else None)  # of several, nobody knows whose error it is
        if block is not None:
            block.__exit__(None, None, None)

    def _leads_on_what_it_has_seen(self, key: str, leading: Leading, settled: int) -> bool:
        """Note the lead; whether the lookup can't have missed what another stored meanwhile."""
        if not leading.alone:
            self._leading[key] = leading
            self.waited_s = leading.waited_s
        return leading.alone or self._flights.settled == settled

    def _found_after_all(self, key: str, found: list[Generation] | None) -> list[Generation] | None:
        if found is not None:
            self._land(key, found)
        return found

    def _share(self, flight: Flight[list[Generation]]) -> list[Generation]:
        self.waited_s = flight.waited_s
        self.shared = answer = copy.deepcopy(flight.value)
        return answer

    def _land(self, key: str, answer: Sequence[Generation]) -> None:
        leading = self._leading.pop(key, None)
        if leading is None:
            return
        try:
            # A copy, because who asked may change its own; not by the codec, which refuses some answers.
            leading.land(copy.deepcopy(list(answer)))
        except Exception:  # noqa: BLE001  # what can't be copied can't be shared: the next one asks for itself
            leading.abandon()

    def _noted(self, found: object, lookups: Sequence[Lookup]) -> list[Generation] | None:
        """What LangChain takes for a hit, a list that is not empty; and the outcome noted."""
        usable = found if isinstance(found, list) and found else None
        self.outcome = lookups[-1].outcome if lookups else "miss" if usable is None else "hit"
        return usable

    def _observing(self) -> AbstractContextManager[Sequence[Lookup]]:
        return self._cache.observe() if isinstance(self._cache, CacheBackend) else nullcontext(())


def place_of(cache: BaseCache) -> Hashable:
    """The store and namespace of a cache: the same for all views of one store with the same namespace.

    It holds for as long as somebody holds the cache, as a request does.
    """
    if isinstance(cache, CacheBackend):
        return id(cache.counters), cache.namespace  # all views of a store share its counters
    return id(cache), ""
