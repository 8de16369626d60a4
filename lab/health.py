"""The health of each strategy's store: whether it answers, how fast, what it is, what it holds, whether it keeps."""

from __future__ import annotations

import contextlib
import logging
import secrets
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from langchain_core.caches import BaseCache
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from cache_backends import CacheBackend, CacheError, StoreAbout, StoreStats
from lab.jobs import Job
from lab.reach import in_thread
from lab.strategies import NO_CACHE, Strategies, StrategyUnavailableError

logger = logging.getLogger("lab.health")

PINGS = 5
"""Round trips that are timed, after one that connects."""
PATIENCE_S = 5.0
"""How long one strategy, once opened, may take before the next one is looked at."""
OPENING_S = 60.0
"""How long opening may take: it asks no server, but may import a package of many megabytes on a busy machine."""
LOOK_S = 0.05
"""How often the one who waits looks whether somebody stopped it."""
TRIAL_TTL_S = 60.0
"""After this the trial's answer is gone, even where it could not be removed."""

HealthState = Literal["answers", "unreachable", "unusable", "silent", "foreign"]
"""Whether a store answers; `unusable`: it can't be opened; `silent`: the time for it was over before all was known;
`foreign`: one of LangChain's own caches, which can't be asked."""
Trial = Literal["kept", "not_stored", "not_found", "changed", "not_removed"]
"""How storing an answer, reading it back, comparing and removing it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What one check found out about one strategy. None: not known."""

    strategy: str
    checked_at: float
    """Unix time."""
    state: HealthState
    reason: str | None = None
    """Why it does not answer; of one that does, what could not be found out."""
    round_trips_s: tuple[float, ...] = ()
    """Of single pings, once connected."""
    about: StoreAbout | None = None
    trial: Trial | None = None
    trial_detail: str | None = None
    """What the cache said where the trial failed."""
    stats: StoreStats | None = None
    """Of the namespaces that were asked for, together."""

    @property
    def round_trip_s(self) -> float | None:
        """The median round trip."""
        return statistics.median(self.round_trips_s) if self.round_trips_s else None


HealthJob = Job[Health, list[Health]]
"""A check in work: its progress is what was found out, strategy by strategy."""


def checked(strategies: Strategies) -> list[str]:
    """The strategies that a check looks at, in its order."""
    return [name for name in strategies.names if name != NO_CACHE]


def check_all(
    strategies: Strategies,
    namespaces: Sequence[str],
    job: HealthJob,
    *,
    clock: Callable[[], float] = time.time,
    patience_s: float = PATIENCE_S,
) -> list[Health]:
    """Look at one strategy after the other, each for so many seconds at most, until somebody stops the job."""
    for name in checked(strategies):
        check = _Check(strategies, name, namespaces, clock)
        if not check.done_within(patience_s, lambda: job.stopping):
            break
        job.show(check.found)
    return job.progress


class _Check:
    """The check of one strategy, in a thread of its own, since what it asks may never answer."""

    def __init__(
        self, strategies: Strategies, name: str, namespaces: Sequence[str], clock: Callable[[], float]
    ) -> None:
        self.found = Health(strategy=name, checked_at=clock(), state="silent")
        self._strategies = strategies
        self._name = name
        self._namespaces = namespaces
        self._is_open = threading.Event()
        self._done = threading.Event()
        self._to_close: CacheBackend | None = None

    def done_within(self, patience_s: float, stopping: Callable[[], bool]) -> bool:
        """Wait for what can be found out in that time; False where somebody stopped it."""
        if stopping():
            return False
        in_thread(self._run)
        return self._wait(self._is_open, OPENING_S, stopping) and self._wait(self._done, patience_s, stopping)

    def _wait(self, event: threading.Event, patience_s: float, stopping: Callable[[], bool]) -> bool:
        """Until it has happened or the time is over; False where somebody stopped it."""
        deadline = time.monotonic() + patience_s
        while not event.wait(min(LOOK_S, patience_s)) and time.monotonic() < deadline:
            if stopping():
                return False
        return True

    def _run(self) -> None:
        try:
            self._look()
        except Exception as error:
            logger.exception("the check of %s failed", self._name)
            self._note(state="unreachable", reason=self._said(error))
        finally:
            self._is_open.set()
            self._done.set()
            if self._to_close is not None:
                with contextlib.suppress(Exception):  # all is known by now
                    self._to_close.close()

    def _look(self) -> None:
        try:
            cache = self._opened()
        except StrategyUnavailableError as error:
            self._note(state="unusable", reason=str(error))
            return
        self._is_open.set()
        if isinstance(cache, CacheBackend):
            self._ask(cache)
        else:
            self._note(state="foreign")

    def _opened(self) -> BaseCache | None:
        """A server is asked by a handle of its own, which has to connect, and whose trial evicts nobody's answers."""
        if not self._strategies.is_server(self._name):
            return self._strategies.get(self._name, "health").cache
        cache = self._strategies.apart(self._name)
        self._to_close = cache if isinstance(cache, CacheBackend) else None
        return cache

    def _ask(self, cache: CacheBackend) -> None:
        try:
            cache.ping()
            self._note(round_trips_s=tuple(cache.ping() for _ in range(PINGS)))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is why the store does not answer
            self._note(state="unreachable", reason=self._said(error))
            return
        for find_out in (self._find_about, self._find_trial, self._find_stats):
            try:
                find_out(cache)
            except Exception as error:  # noqa: BLE001  # what else there is to find out is worth showing
                self._note(reason=self.found.reason or self._said(error))
        self._note(state="answers")
        self._tell_requests()

    def _tell_requests(self) -> None:
        """They may be leaving a server alone that was just found to answer: have their own handle ask it."""
        with contextlib.suppress(StrategyUnavailableError, CacheError):
            cache = self._strategies.get(self._name, "health").cache
            if isinstance(cache, CacheBackend) and cache.trouble is not None:
                cache.ping()

    def _find_about(self, cache: CacheBackend) -> None:
        self._note(about=cache.about())

    def _find_trial(self, cache: CacheBackend) -> None:
        trial, detail = try_out(cache)
        self._note(trial=trial, trial_detail=None if detail is None else self._strategies.safe(self._name, detail))

    def _find_stats(self, cache: CacheBackend) -> None:
        self._note(stats=_together([cache.view(namespace=each).stats() for each in self._namespaces]))

    def _note(self, **found: object) -> None:
        self.found = replace(self.found, **found)  # type: ignore[arg-type]

    def _said(self, error: Exception) -> str:
        return self._strategies.safe(self._name, str(error)) or type(error).__name__


def try_out(cache: CacheBackend) -> tuple[Trial, str | None]:
    """Store an answer in a namespace of its own, read it back, compare, remove; how that ended, and what was said."""
    answer: list[Generation] = [ChatGeneration(message=AIMessage("Kept, read and compared: ação, 数, 🗝"))]
    request = ("Does this cache keep what it is given?", "model=health")
    trial = cache.view(namespace=f"health-{secrets.token_hex(8)}", ttl=TRIAL_TTL_S)
    with trial.observe() as lookups:
        with contextlib.suppress(Exception):  # a strict cache raises what it has noted
            trial.update(*request, answer)
        if not lookups.stores or not lookups.stores[-1].stored:
            return "not_stored", lookups.stores[-1].detail if lookups.stores else None
        found = None
        with contextlib.suppress(Exception):
            found = trial.lookup(*request)
    try:
        trial.clear()
        removed = trial.lookup(*request) is None
    except Exception as error:  # noqa: BLE001  # it is told
        return "not_removed", str(error)
    if found is None:
        return "not_found", lookups[-1].error if lookups else None
    if found != answer:
        return "changed", None
    return ("kept" if removed else "not_removed"), None


def _together(stats: Sequence[StoreStats]) -> StoreStats:
    """The sizes of several namespaces as one."""
    return StoreStats(
        entries=sum(each.entries for each in stats),
        size_bytes=sum(each.size_bytes for each in stats),
        expired=sum(each.expired for each in stats),
        oldest=min((each.oldest for each in stats if each.oldest is not None), default=None),
        newest=max((each.newest for each in stats if each.newest is not None), default=None),
    )
