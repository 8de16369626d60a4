"""`ServerCache`: what caches on servers share: options, failing fast, asynchronous lookups and stores, upkeep."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from langchain_core.outputs import Generation

from cache_backends.base import CacheBackend, caller
from cache_backends.browse import Cursor, Query, page_of
from cache_backends.errors import CacheError, CacheUnavailableError, CacheUnreachableError, CorruptEntryError
from cache_backends.keys import request_digest
from cache_backends.limits import Limits
from cache_backends.options import OPTIONS, merged_options
from cache_backends.records import EntryPage, EntrySummary
from cache_backends.servers.address import Address, parse_prefix, parse_timeout
from cache_backends.servers.breaker import CircuitBreaker
from cache_backends.servers.upkeep import Upkeep
from cache_backends.storage import Found, StoredEntry
from cache_backends.uses import UnwrittenUses

logger = logging.getLogger("cache_backends")

Result = TypeVar("Result")

TIMEOUT_S = 1.0
"""A call that takes longer has failed, unless `timeout=` says otherwise: the model should not wait for a cache."""
OWN_OPTIONS = ("prefix", "timeout")


class ServerStore:
    """What the views of one cache on a server share: its breaker, its limits, and uses not yet written."""

    def __init__(self, cache: ServerCache) -> None:
        self.breaker = CircuitBreaker()
        self.uses: UnwrittenUses[tuple[str, bytes]] = UnwrittenUses()
        self.limits = Limits(cache.max_entries, cache.max_bytes)
        self.upkeep = Upkeep()
        self.closed = False

    def ask(self, operation: Callable[[], Result]) -> Result:
        """The result of asking the server, if the breaker lets it through. Raises `CacheError`."""
        self._check()
        try:
            result = operation()
        except CacheUnreachableError as error:
            self.breaker.failed(str(error))
            raise
        except CacheError:
            self.breaker.succeeded()  # it answered, if only by refusing
            raise
        self.breaker.succeeded()
        return result

    async def ask_async(self, operation: Callable[[], Awaitable[Result]]) -> Result:
        """`ask`, for what is awaited."""
        self._check()
        try:
            result = await operation()
        except CacheUnreachableError as error:
            self.breaker.failed(str(error))
            raise
        except CacheError:
            self.breaker.succeeded()
            raise
        self.breaker.succeeded()
        return result

    def _check(self) -> None:
        if self.closed:
            raise CacheUnavailableError("This cache was closed. Open a new one.")
        self.breaker.check()


class ServerCache(CacheBackend):
    """A cache that a server keeps. It connects when it is first asked; an unreachable server is a miss, not an error.

    Besides the options of every cache: `prefix` begins the names of what it makes on the server, so that several
    caches can share a database; `timeout` is how many seconds a lookup or store may take, and connecting too.
    """

    driver_options: ClassVar[Sequence[str]] = ()
    """What else its URL may say, handed on to the driver."""

    def __init__(self, url: str, **options: Any) -> None:
        self.address = Address.parsed(url)
        known = (*OPTIONS, *OWN_OPTIONS, *self.driver_options)
        merged = merged_options(url, options, known)
        self.url = urlsplit(url)._replace(query="").geturl()
        self.prefix = parse_prefix(merged.pop("prefix", "llm_cache"))
        self.timeout_s = parse_timeout(merged.pop("timeout", TIMEOUT_S))
        self.driver_settings = {name: str(merged.pop(name)) for name in self.driver_options if name in merged}
        super().__init__(**merged)
        self._store = self._open_store()

    def __getstate__(self) -> dict[str, Any]:
        without = ("_store", "_identity", "_asked_at")
        return {name: value for name, value in self.__dict__.items() if name not in without}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _identity=object(), _asked_at={}, _is_view=False)
        self._store = self._open_store()

    @abstractmethod
    def _open_store(self) -> Any:
        """A `ServerStore` of its own kind, not connected yet."""

    @abstractmethod
    async def _aread(self, digest: bytes) -> Found | None:
        """`_read`, blocking no event loop."""

    @abstractmethod
    async def _awrite(self, entry: StoredEntry) -> None:
        """`_write` without the upkeep, blocking no event loop."""

    @abstractmethod
    def _write_uses(self) -> None:
        """Write all uses that are noted so far. Raises `CacheError`."""

    @abstractmethod
    def _evict(self) -> int:
        """Remove the least recently used entries until both limits are kept; how many."""

    @property
    def breaker(self) -> CircuitBreaker:
        """What leaves the server alone for a while when it fails again and again; all views share it."""
        breaker: CircuitBreaker = self._store.breaker
        return breaker

    @property
    def trouble(self) -> str | None:
        """Why the last call did not reach the server; None if it did, or none was made."""
        return self.breaker.trouble

    def ping(self) -> float:
        """Seconds that asking the server for a key it does not have takes, though it be left alone just now.

        Where it answers, everybody asks it again. Raises `CacheUnavailableError`.
        """
        with self.breaker.probing():
            return super().ping()

    async def alookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """`lookup`, blocking no event loop."""
        started = time.perf_counter()
        digest: bytes | None = None
        found: Found | None = None
        error: Exception | None = None
        try:
            digest = request_digest(prompt, llm_string)
            found = await self._aread(digest)
        except Exception as failure:  # noqa: BLE001  # failing open: whatever it is, the model can be asked
            error = failure
        return self._looked_up(started, digest, found, error)

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """`update`, blocking no event loop."""
        started = time.perf_counter()
        give_up_at = time.monotonic() + self.timeout_s
        digest: bytes | None = None
        error: Exception | None = None
        try:
            digest = request_digest(prompt, llm_string)
            model_time_s = self._model_time(digest, started, caller())
            entry = self._new_entry(digest, prompt, llm_string, return_val, model_time_s)
            await self._awrite(entry)
            if self._upkeep_is_due(entry):
                await asyncio.to_thread(self._keep_up, give_up_at)
        except Exception as failure:  # noqa: BLE001  # failing open: an answer that was paid for is never lost
            error = failure
        self._tried_to_store(started, digest, error)

    async def aclear(self, **kwargs: Any) -> None:
        """`clear`, blocking no event loop."""
        await asyncio.to_thread(self.clear, **kwargs)

    def flush(self) -> None:
        """Write the uses that are only noted in memory so far."""
        self._try_to_write_uses()

    def _record_use(self, digest: bytes, now: float) -> None:
        self._store.uses.note((self.namespace, digest), self._store.limits.use_at(now))

    def _use_at(self, now: float) -> float:
        at: float = self._store.limits.use_at(now)
        return at

    def _page_of(
        self, found: Sequence[Any], summary: Callable[[Any], EntrySummary], query: Query, total: int
    ) -> EntryPage:
        """A page of what follows the cursor, one more than a page where there is so much, but for what is damaged."""
        summaries = []
        for one in found:
            with contextlib.suppress(CorruptEntryError):
                summaries.append(summary(one))
        if len(summaries) <= query.limit < len(found) and summaries:  # the next page begins after the last good one
            return EntryPage(summaries, str(Cursor.of(summaries[-1], query.order_by)), total)
        return page_of(summaries, query, total)

    def _upkeep_is_due(self, entry: StoredEntry) -> bool:
        """Whether it is time to write uses or to look at the limits, now that an entry was stored."""
        store = self._store
        limits_are_due = store.limits.exist and store.limits.are_due(entry.size_bytes)
        return bool(limits_are_due or store.uses.are_many())

    def _keep_up(self, until: float | None = None) -> None:
        """Have uses written and limits kept, and wait for that as long as for a store: until `until`, if that is known.

        It may take longer, since it looks at very many entries, and others may hold some of them. It goes on then.
        """
        self._store.upkeep.do(self._tidy_up, time.monotonic() + self.timeout_s if until is None else until)

    def _tidy_up(self) -> None:
        """Write the uses, and keep the limits. What fails is logged: the entry that was stored stays stored."""
        self._try_to_write_uses()  # what was used least recently is known only then
        if self._store.limits.exist:
            try:
                self.counters.count_evictions(self._evict())
            except Exception as error:  # noqa: BLE001  # others may have put anything there
                logger.warning("the limits of the cache could not be kept: %s", error)

    def _try_to_write_uses(self) -> None:
        try:
            self._write_uses()
        except Exception as error:  # noqa: BLE001
            logger.warning("when entries were used could not be written: %s", error)

    def _write_last_uses(self) -> None:
        """Before closing: write the uses, and wait no longer than for a store, for what is being done too."""
        until = time.monotonic() + self.timeout_s
        self._store.upkeep.wait(until)
        self._store.upkeep.do(self._try_to_write_uses, until)

    def _try_to_set_aside(self, digest: bytes | None, corrupt: Exception) -> None:
        loop = asyncio._get_running_loop()
        if loop is None:
            super()._try_to_set_aside(digest, corrupt)
        else:
            loop.run_in_executor(None, super()._try_to_set_aside, digest, corrupt)
