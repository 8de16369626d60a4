"""`ObservedCache`: the one way to measure a cache, by standing between LangChain and it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.outputs import Generation

from cache_backends import CacheBackend, Lookup, Observed, Outcome, cache_key
from lab.failures import detail
from lab.foreign import qualified
from lab.measurement import WhyNotStored

Refuse = Callable[[Sequence[Generation]], WhyNotStored | None]
"""Says why an answer must not be stored, or None."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What LangChain asked a cache for, and the answer that came, from wherever."""

    prompt: str
    llm_string: str
    generations: Sequence[Generation]


class ObservedCache(BaseCache):
    """Wraps any LangChain cache (None: no cache at all) for one request and notes what happens.

    Times come from `time.perf_counter` around the wrapped call. No failure of the wrapped cache reaches the model call.
    `namespace` goes into the key of caches that know no namespaces.
    """

    def __init__(self, inner: BaseCache | None, *, namespace: str = "", refuse: Refuse = lambda _: None) -> None:
        self.inner = inner
        self.prompt: str | None = None
        self.llm_string: str | None = None
        self.record: Lookup | None = None
        self.generations: Sequence[Generation] = ()
        self.stored = False
        self.not_stored: WhyNotStored | None = None
        self.detail: str | None = None
        self.store_s: float | None = None
        self.lookup_ended: float | None = None
        self.store_began: float | None = None
        self._namespace = namespace
        self._refuse = refuse

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Ask the wrapped cache, and note outcome and time."""
        self.prompt, self.llm_string = prompt, llm_string
        if self.inner is None:
            self.lookup_ended = time.perf_counter()
            return None
        found: Sequence[Generation] | None = None
        error: str | None = None
        with self._observing() as observed:
            began = time.perf_counter()
            try:
                found = self.inner.lookup(prompt, self._qualified(llm_string))
            except Exception as failure:  # noqa: BLE001  # a broken cache must not break the model call
                error = detail(failure)
            ended = self.lookup_ended = time.perf_counter()
        generations = _usable(found)
        if observed:
            seen = observed[-1]
            self.record = Lookup(
                seen.outcome, seen.key, ended - began, seen.age_s, seen.expired_for_s, seen.model_time_s, seen.error
            )
        else:
            outcome: Outcome = "error" if error else "hit" if generations else "corrupt" if found else "miss"
            self.record = Lookup(outcome, cache_key(prompt, llm_string), ended - began, error=error)
        self.detail = self.record.error
        self.generations = generations or ()
        return generations

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Hand the answer to the wrapped cache unless it is to be refused, and note whether it was stored."""
        began = self.store_began = time.perf_counter()
        self.generations = return_val
        if self.inner is None:
            return
        self.not_stored = self._refuse(return_val)
        if self.not_stored is not None:
            return
        with self._observing() as observed:
            try:
                self.inner.update(prompt, self._qualified(llm_string), return_val)
                self.stored = True
            except Exception as failure:  # noqa: BLE001  # the answer was paid for and must reach the caller
                self.not_stored, self.detail = "error", detail(failure)
        self.store_s = time.perf_counter() - began
        if observed is not None and observed.stores:
            store = observed.stores[-1]
            self.stored, self.not_stored = store.stored, store.refusal
            self.detail = store.detail or self.detail

    def clear(self, **kwargs: Any) -> None:
        """Clear the wrapped cache."""
        if self.inner is not None:
            self.inner.clear(**kwargs)

    def _observing(self) -> Any:
        return self.inner.observe() if isinstance(self.inner, CacheBackend) else nullcontext(Observed(None, ""))

    def _qualified(self, llm_string: str) -> str:
        if isinstance(self.inner, CacheBackend) or not self._namespace:
            return llm_string
        return qualified(self._namespace, llm_string)


def _usable(found: object) -> list[Generation] | None:
    """What LangChain takes for a hit: a list, and nothing in it but generations."""
    if not isinstance(found, list) or not found:
        return None
    return list(found) if all(isinstance(each, Generation) for each in found) else None
