"""What all backends share: LangChain's contract, keys, codec, time to live, failing open, counting, observing.

A backend adds the storage alone: the handful of methods of `cache_backends.storage`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Self

from langchain_core.caches import BaseCache
from langchain_core.outputs import Generation

from cache_backends import codec
from cache_backends.browsable import Browsable
from cache_backends.counters import Counters
from cache_backends.errors import CacheUnavailableError, CorruptEntryError, NotCacheableError
from cache_backends.fresh_objects import generations_from
from cache_backends.keys import request_digest
from cache_backends.observe import Observed, note_lookup, note_store, observers, observing
from cache_backends.options import TimeToLive, parse_bool, parse_limit, parse_namespace, parse_ttl
from cache_backends.readable import readable_parameters, redact
from cache_backends.records import Lookup, Outcome, Refusal, Store, StoreAbout
from cache_backends.storage import Found, StoredEntry
from cache_backends.worth_keeping import refuse_what_is_not_worth_keeping

logger = logging.getLogger("cache_backends")

REMEMBERED_MISSES = 10_000
"""Misses whose time is remembered, to know how long the model took when its answer is stored."""


class Unchanged:
    """The type of `UNCHANGED`."""


UNCHANGED = Unchanged()
"""Says "as this view has it" where None already means something."""


class CacheBackend(BaseCache, Browsable):
    """A LangChain cache that also has a time to live, limits, entries to browse, counters and outcomes.

    Drop-in for `ChatOpenAI(cache=...)` and `set_llm_cache(...)`. Unless `strict`, no failure of the store reaches
    the model call: a lookup that fails is a miss, a store that fails is logged and counted.
    """

    survives_restart: ClassVar[bool] = True
    """Whether entries are there again in a new process."""
    writes_inline: ClassVar[bool] = False
    """Whether `aupdate` may write on the event loop, because a hop to a thread costs more than the write."""

    def __init__(
        self,
        *,
        namespace: str = "default",
        ttl: TimeToLive = None,
        max_entries: int | str | None = None,
        max_bytes: int | str | None = None,
        strict: bool | str = False,
        store_truncated: bool | str = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.namespace = parse_namespace(namespace)
        self.ttl_s = parse_ttl(ttl)
        self.max_entries = parse_limit("max_entries", max_entries)
        self.max_bytes = parse_limit("max_bytes", max_bytes)
        self.strict = parse_bool("strict", strict)
        self.store_truncated = parse_bool("store_truncated", store_truncated)
        self.clock = clock
        self.counters = Counters()
        self._identity = object()
        self._asked_at: dict[tuple[int, str, bytes], float] = {}
        self._is_view = False

    # LangChain's contract

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """The stored generations as fresh objects, or None where there are none that may be used."""
        started = time.perf_counter()
        digest: bytes | None = None
        found: Found | None = None
        error: Exception | None = None
        try:
            digest = request_digest(prompt, llm_string)
            found = self._read(digest)
        except Exception as failure:  # noqa: BLE001  # failing open: whatever it is, the model can be asked
            error = failure
        return self._looked_up(started, digest, found, error)

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Store all generations of one request, replacing what was there; not what is empty, cut off or unfaithful."""
        self._update(prompt, llm_string, return_val, caller())

    def _update(self, prompt: str, llm_string: str, return_val: Sequence[Generation], caller: int) -> None:
        started = time.perf_counter()
        digest: bytes | None = None
        error: Exception | None = None
        try:
            digest = request_digest(prompt, llm_string)
            self._write(
                self._new_entry(digest, prompt, llm_string, return_val, self._model_time(digest, started, caller))
            )
        except Exception as failure:  # noqa: BLE001  # failing open: an answer that was paid for is never lost
            error = failure
        self._tried_to_store(started, digest, error)

    def clear(self, **kwargs: Any) -> None:  # noqa: ARG002  # LangChain's signature
        """Remove every entry of this namespace, and nothing else in the store."""
        self._clear()

    async def alookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """`lookup`, on the event loop: reading takes less than a hop to a thread."""
        return self.lookup(prompt, llm_string)

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """`update`, off the event loop where it may wait for a disk or a lock."""
        if self.writes_inline:
            self.update(prompt, llm_string, return_val)
        else:
            await asyncio.to_thread(self._update, prompt, llm_string, return_val, caller())

    async def aclear(self, **kwargs: Any) -> None:
        """`clear`, off the event loop where it may wait for a disk or a lock."""
        if self.writes_inline:
            self.clear(**kwargs)
        else:
            await asyncio.to_thread(self.clear, **kwargs)

    # What LangChain's contract lacks

    def observe(self) -> AbstractContextManager[Observed]:
        """Collect every lookup (and, in `.stores`, every store) made in this namespace inside the block.

        Whichever thread or task makes it, as long as it runs in a copy of this context, as LangChain's do.
        """
        return observing(self._identity, self.namespace)

    def view(self, *, namespace: str | Unchanged = UNCHANGED, ttl: TimeToLive | Unchanged = UNCHANGED) -> Self:
        """A cheap handle on the same store with a namespace and default time to live of its own."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._is_view = True
        if not isinstance(namespace, Unchanged):
            other.namespace = parse_namespace(namespace)
        if not isinstance(ttl, Unchanged):
            other.ttl_s = parse_ttl(ttl)
        return other

    def ping(self) -> float:
        """Seconds that asking the store for a key it does not have takes. Raises `CacheUnavailableError`."""
        started = time.perf_counter()
        try:
            self._read(request_digest("ping", ""))
        except CacheUnavailableError:
            raise
        except Exception as error:
            raise CacheUnavailableError(f"The cache does not answer: {redact(str(error))}") from error
        return time.perf_counter() - started

    def about(self) -> StoreAbout:
        """What keeps the store, and what of it survives a crash. Raises `CacheUnavailableError`."""
        return self._about()

    @property
    def trouble(self) -> str | None:
        """Why the store is not being reached, as the last call found it; None while all is well. Asks nobody."""
        return None

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know about this store, such as a damaged file that was set aside."""
        return ()

    def flush(self) -> None:
        """Write what is only noted in memory so far: how often and when entries were used."""

    def close(self) -> None:
        """Give back files and connections. Idempotent; on a view it does nothing, since the store is not its own."""
        if not self._is_view:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.view()

    def __copy__(self) -> Self:
        return self.view()

    # Steps of lookup and update

    def _looked_up(
        self, started: float, digest: bytes | None, found: Found | None, error: Exception | None
    ) -> list[Generation] | None:
        """Judge what was read, or the failure to read it; note the outcome, and return what may be used.

        Raises `error` where it is a failure of the store and the cache is strict.
        """
        outcome: Outcome = "miss"
        generations: list[Generation] | None = None
        now = 0.0
        if found is not None and digest is not None:
            try:
                now = self.clock()
                if found.expires_at is not None and found.expires_at <= now:
                    outcome = "expired"
                else:
                    generations = generations_from(found.answers)
                    outcome = "hit"
                    self._record_use(digest, now)
            except Exception as failure:  # noqa: BLE001  # as in `lookup`
                error, generations = failure, None
        if error is not None:
            outcome = "corrupt" if isinstance(error, CorruptEntryError) else "error"
            if outcome == "corrupt":
                self._try_to_set_aside(digest, error)
            else:
                logger.warning("lookup failed, the model is asked instead: %s", redact(str(error)))
        ended = time.perf_counter()
        self.counters.count_lookup(outcome, ended - started)
        if generations is None and digest is not None:
            self._remember_miss(digest, ended)
        if observers.get():
            note_lookup(self._identity, self.namespace, _lookup(outcome, digest, ended - started, found, now, error))
        if self.strict and outcome == "error" and error is not None:
            raise error
        return generations

    def _model_time(self, digest: bytes, started: float, caller: int) -> float | None:
        """Seconds from the end of this caller's lookup of the same request to `started`; None where there was none."""
        asked_at = self._asked_at.pop((caller, self.namespace, digest), None)
        return None if asked_at is None else started - asked_at

    def _new_entry(
        self, digest: bytes, prompt: str, llm_string: str, return_val: Sequence[Generation], model_time_s: float | None
    ) -> StoredEntry:
        generations = list(return_val)
        refuse_what_is_not_worth_keeping(generations, store_truncated=self.store_truncated)
        payload = codec.encode(generations)
        codec.refuse_lone_surrogates(prompt, llm_string)
        created_at = self.clock()
        parameters = readable_parameters(llm_string)
        return StoredEntry(
            digest=digest,
            payload=payload,
            created_at=created_at,
            expires_at=None if self.ttl_s is None else created_at + self.ttl_s,
            model_time_s=model_time_s,
            model=parameters.model,
            raw_prompt=prompt,
            llm_string=parameters.llm_string,
            last_used_at=self._use_at(created_at),
        )

    def _tried_to_store(self, started: float, digest: bytes | None, error: Exception | None) -> None:
        """Note how storing ended. Raises `error` if it is a failure of the store and the cache is strict."""
        elapsed_s = time.perf_counter() - started
        refusal: Refusal | None = None
        if error is None:
            self.counters.count_store(elapsed_s)
        elif isinstance(error, NotCacheableError):
            refusal = error.reason
            self.counters.count_uncacheable()
            logger.info("not stored: %s", error)
        else:
            refusal = "error"
            self.counters.count_error()
            logger.warning("the answer could not be stored: %s", redact(str(error)))
        if observers.get():
            key = None if digest is None else digest.hex()
            detail = redact(str(error)) if error is not None else None
            note_store(self._identity, self.namespace, Store(key, error is None, elapsed_s, refusal, detail))
        if self.strict and refusal == "error" and error is not None:
            raise error

    def _refuse_too_large(self, size_bytes: int) -> None:
        """For `_write`: what could not stay is not stored, and evicts nobody. Raises `NotCacheableError`."""
        if self.max_bytes is not None and size_bytes > self.max_bytes:
            raise NotCacheableError(
                "too_large", f"the entry has {size_bytes} bytes, and all of the cache may have {self.max_bytes}"
            )

    def _remember_miss(self, digest: bytes, ended: float) -> None:
        asked_at = self._asked_at
        if len(asked_at) >= REMEMBERED_MISSES:
            with contextlib.suppress(StopIteration, KeyError, RuntimeError):
                del asked_at[next(iter(asked_at))]
        asked_at[caller(), self.namespace, digest] = ended

    def _try_to_set_aside(self, digest: bytes | None, corrupt: Exception) -> None:
        if digest is None:
            return
        logger.warning("entry %s is damaged and is set aside: %s", digest.hex(), corrupt)
        try:
            self._set_aside(digest)
        except Exception as error:  # noqa: BLE001  # the lookup is a miss either way
            logger.warning("the damaged entry %s could not be set aside: %s", digest.hex(), redact(str(error)))


def caller() -> int:
    """The task or thread that asks a model: it looks up, then stores, and others may do the same at the same time."""
    loop = asyncio._get_running_loop()  # as `current_task` does, which raises where there is none: a miss in two
    task = None if loop is None else asyncio.current_task(loop)
    return threading.get_ident() if task is None else id(task)


def _lookup(
    outcome: Outcome, digest: bytes | None, elapsed_s: float, found: Found | None, now: float, error: Exception | None
) -> Lookup:
    expired_at = found.expires_at if found is not None and outcome == "expired" else None
    return Lookup(
        outcome=outcome,
        key=None if digest is None else digest.hex(),
        elapsed_s=elapsed_s,
        age_s=None if found is None else max(0.0, now - found.created_at),
        expired_for_s=None if expired_at is None else max(0.0, now - expired_at),
        model_time_s=None if found is None else found.model_time_s,
        error=None if error is None else redact(str(error)),
    )
