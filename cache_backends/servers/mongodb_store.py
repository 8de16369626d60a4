"""`MongoStore`: what the views of one cache in MongoDB share: clients, collections, and which texts it has already."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import pymongo
from pymongo.errors import AutoReconnect, DuplicateKeyError

from cache_backends.errors import CacheError, CacheUnavailableError, CacheUnreachableError
from cache_backends.forks import Forkable, tell_of_forks
from cache_backends.servers.known_texts import KnownTexts
from cache_backends.servers.mongodb_clients import Clients
from cache_backends.servers.mongodb_collections import AsyncCollections, Collections
from cache_backends.servers.mongodb_errors import translated
from cache_backends.servers.mongodb_queries import BY_AGE
from cache_backends.servers.server_cache import ServerStore
from cache_backends.servers.sql_store import PATIENCE_S
from cache_backends.servers.upkeep import Upkeep

if TYPE_CHECKING:
    from cache_backends.servers.mongodb import MongoDBCache

logger = logging.getLogger("cache_backends")

Result = TypeVar("Result")

FORMAT = 1
"""The version of the collections."""
FORMAT_ID = "format"


class MongoStore(ServerStore, Forkable):
    """Clients of one database. A model waits for `run`, only people for `run_patiently`."""

    def __init__(self, cache: MongoDBCache) -> None:
        super().__init__(cache)
        self._address = cache.address
        self._prefix = cache.prefix
        self._timeout_s = cache.timeout_s
        self._patience_s = max(PATIENCE_S, cache.timeout_s)
        self.clients = Clients(cache.address, cache.prefix, cache.driver_settings, cache.timeout_s)
        self._making = threading.Lock()
        self._indexing = Upkeep()
        self._has_collections = False
        self.removal_is_asked_for = False
        self.known = KnownTexts()
        tell_of_forks(self)

    def after_fork_in_child(self) -> None:
        """A thread of the parent may be making indexes."""
        self._making = threading.Lock()

    def run(self, operation: Callable[[Collections], Result]) -> Result:
        """The result of an operation that a model waits for; done twice if a connection was dropped.

        Raises `CacheError`.
        """
        return self.ask(lambda: self._run(operation, self._timeout_s))

    def run_patiently(self, operation: Callable[[Collections], Result]) -> Result:
        """The result of an operation that may take long. Raises `CacheError`, soon where the server does not answer."""
        self.ask(lambda: self._look_for_collections(again=True))
        return self.ask(lambda: self._run(operation, self._patience_s))

    async def run_async(self, operation: Callable[[AsyncCollections], Awaitable[Result]]) -> Result:
        """`run`, for an event loop."""
        return await self.ask_async(lambda: self._run_async(operation))

    def ask_for_removal(self, until: float | None = None) -> None:
        """Have the index made that MongoDB removes by, once in a process and only if needed: it costs stores a little.

        Nobody waits for it longer than for a store. What fails is logged: what is over is no answer, removed or not.
        """
        if not self.removal_is_asked_for:
            self.removal_is_asked_for = True
            self._indexing.do(self._make_index, time.monotonic() + self._timeout_s if until is None else until)

    def _make_index(self) -> None:
        try:
            self.run_patiently(
                lambda collections: collections.counted.create_index([("remove_at", 1)], expireAfterSeconds=0)
            )
        except CacheUnreachableError as error:
            self.removal_is_asked_for = False
            logger.warning("the index that MongoDB removes expired entries by was not made: %s", error)
        except CacheError as error:
            logger.warning("MongoDB will not remove expired entries by itself, since it has no index for it: %s", error)

    def close(self) -> None:
        """Close every connection."""
        self.closed = True
        self.clients.close()

    def _run(self, operation: Callable[[Collections], Result], timeout_s: float) -> Result:
        try:
            if not self._has_collections:
                self._look_for_collections()
            with translated(self._address, timeout_s), pymongo.timeout(timeout_s):
                collections = self.clients.collections()
                try:
                    return operation(collections)
                except (AutoReconnect, DuplicateKeyError) as error:
                    # What the driver does not try again by itself: writes to a server without replicas, and two
                    # that insert one document at once.
                    if error.timeout:
                        raise
                    return operation(collections)
        except CacheUnreachableError:
            self._forget()
            raise

    async def _run_async(self, operation: Callable[[AsyncCollections], Awaitable[Result]]) -> Result:
        try:
            if not self._has_collections:
                await asyncio.to_thread(self._look_for_collections)
            with translated(self._address, self._timeout_s), pymongo.timeout(self._timeout_s):
                collections = await self.clients.collections_of_loop()
                try:
                    return await operation(collections)
                except (AutoReconnect, DuplicateKeyError) as error:
                    if error.timeout:
                        raise
                    return await operation(collections)
        except CacheUnreachableError:
            self._forget()
            raise

    def _forget(self) -> None:
        """What answers next may be another server, with less in it."""
        self._has_collections = False
        self.known.clear()

    def _look_for_collections(self, *, again: bool = False) -> None:
        """See that the collections are there, and make them if they are missing."""
        with self._making_collections():
            if self._has_collections and not again:
                return
            collections = self.clients.collections()
            found = collections.format.find_one({"_id": FORMAT_ID})
            if found is None:
                self._make(collections)
                found = {"version": FORMAT}
            if found.get("version") != FORMAT:
                raise CacheUnavailableError(
                    f"{self._prefix}_format was made by another version (format {found.get('version')!r:.20}; this one "
                    f"knows {FORMAT}). Use that version, or another prefix=."
                )
            self._has_collections = True

    @contextlib.contextmanager
    def _making_collections(self) -> Iterator[None]:
        """One thread at a time. Who has waited as long as a call may take gives up, like the one waited for."""
        if not self._making.acquire(timeout=self._timeout_s):
            raise CacheUnreachableError(f"{self._address.name} did not answer within {self._timeout_s:g} s.")
        try:
            with translated(self._address, self._timeout_s), pymongo.timeout(self._timeout_s):
                yield
        finally:
            self._making.release()

    def _make(self, collections: Collections) -> None:
        """Make the collections with their index, whoever else does the same now."""
        self.known.clear()
        self.removal_is_asked_for = False
        try:
            with translated(self._address, self._timeout_s):
                collections.counted.create_index(BY_AGE)
                collections.format.update_one({"_id": FORMAT_ID}, {"$setOnInsert": {"version": FORMAT}}, upsert=True)
        except CacheUnreachableError:
            raise
        except CacheUnavailableError as error:
            raise CacheUnavailableError(
                f"The collections of the cache are missing and could not be made: {error} "
                "The user of the URL needs the role readWrite on the database."
            ) from error
