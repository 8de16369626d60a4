"""What the tests of browsing are built of: caches with many different entries, stores that fail or wait, jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from cache_backends import CacheBackend, CacheUnavailableError, EntryPage, EntrySummary, MemoryCache
from cache_backends.browse import Progress, no_progress
from lab.jobs import Job
from tests.cache_backends.flights import LONG_S
from tests.lab.building import Clock
from tests.lab.transfers import store

DOWN = "no server at redis://app:hunter2secret@cache:6379/0"

P = TypeVar("P")
T = TypeVar("T")


def done(job: Job[P, T]) -> Job[P, T]:
    """The job, ended."""
    assert job.wait(LONG_S), "the job did not end"
    return job


def parameters(model: str) -> str:
    """LangChain's parameters of a model."""
    return f"[('_type', 'demo'), ('model_name', '{model}')]"


def fill(cache: CacheBackend, entries: int = 6, *, prompt: str = "question", model: str = "demo-1") -> list[str]:
    """Store so many answers; their keys."""
    return [store(cache, f"{prompt} {number}", f"answer {number}", parameters(model)) for number in range(entries)]


def various(cache: CacheBackend, clock: Clock) -> None:
    """Entries of three models, four ages, four sizes, live, expired and pinned. Moves the clock by 40 days."""
    days = (0.0, 20.0, 37.0, 39.5)
    begin = clock.now
    for number in range(48):
        clock.now = begin + days[number % 4] * 86_400 + number
        lasting = cache if number % 3 else cache.view(ttl="1h")
        text = "word " * (1, 400, 4_000, 40_000)[number // 12]
        key = store(lasting, f"question {number}", f"{text}{number}", parameters(f"demo-{number % 5 % 3}"))
        if number % 9 == 0:
            cache.pin(key)
    clock.now = begin + 40 * 86_400


def listed(cache: CacheBackend, **query: Any) -> list[EntrySummary]:
    """All pages of a list."""
    found: list[EntrySummary] = []
    after = None
    while True:
        page = cache.entries(**query, after=after, limit=100)
        found += page.entries
        after = page.next
        if after is None:
            return found


class Troubled(MemoryCache):
    """A store that does to its entries what it is told, and may fail or wait at any step."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.on: dict[str, Callable[[], object]] = {}
        """What is done before a step, shared with its views."""

    def fail(self, *steps: str, message: str = DOWN) -> None:
        """From now on these steps fail."""

        def unavailable() -> None:
            raise CacheUnavailableError(message)

        self.on.update(dict.fromkeys(steps, unavailable))

    def before(self, step: str) -> None:
        self.on.get(step, lambda: None)()

    def bring_up_to_date(self, progress: Progress = no_progress, *, only_new: bool = False) -> None:
        self.before("index")
        super().bring_up_to_date(progress, only_new=only_new)

    def entries(self, **query: Any) -> EntryPage:
        self.before("entries")
        return super().entries(**query)

    def delete(self, *keys: str) -> int:
        self.before("delete")
        return super().delete(*keys)

    def purge_expired(self) -> int:
        self.before("purge")
        return super().purge_expired()

    def clear(self, **kwargs: Any) -> None:
        self.before("clear")
        super().clear(**kwargs)

    def get_many(self, keys: Any) -> Any:
        self.before("get_many")
        return super().get_many(keys)


class Slow(MemoryCache):
    """A store that tells how far a step is, and then waits until it is let go."""

    def __init__(self, *, looked_at: int = 30, of: int | None = 100, **options: Any) -> None:
        super().__init__(**options)
        self.looked_at, self.of = looked_at, of
        self.calls: list[str] = []
        """Shared with its views, as all that follows."""
        self.slow: set[str] = set()
        """The steps that wait."""
        self.waits = threading.Event()
        self.goes_on = threading.Event()

    def bring_up_to_date(self, progress: Progress = no_progress, *, only_new: bool = False) -> None:
        self._step("index", progress)

    def entries(self, *, progress: Progress = no_progress, **query: Any) -> EntryPage:
        self._step("entries", progress)
        return super().entries(progress=progress, **query)

    def tally(self, *, progress: Progress = no_progress, **query: Any) -> Any:
        self._step("tally", progress)
        return super().tally(progress=progress, **query)

    def _step(self, step: str, progress: Progress) -> None:
        self.calls.append(step)
        if step in self.slow:
            progress(self.looked_at, self.of)
            self.waits.set()
            assert self.goes_on.wait(LONG_S)
            progress(self.looked_at, self.of)


def let_go(*caches: Slow) -> Iterator[None]:
    """For fixtures: nobody waits any more at the end."""
    yield
    for cache in caches:
        cache.goes_on.set()
