"""The index for browsing against looking at every entry: whatever was done to a store, both say the same."""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from cache_backends import CacheEntry, JSONFileCache, SQLiteCache, open_cache
from cache_backends.records import EntryOrder
from tests.cache_backends.answers import key_of, store
from tests.cache_backends.backends import FILES, Backend, FakeClock
from tests.cache_backends.index_outside import (
    same_as_by_looking,
    same_as_made_anew,
    same_page,
    same_tally,
)

NAMESPACES = ("ours", "theirs")
PROMPTS = ("Sagan é?", "Armstrong 1", "§1 Tyson", "ﬁne \0 ℂ", "🪐")
MODELS = ("gpt-4o", "llama-ção", None)
HOUR_S = 3_600

which = st.integers(0, 1)
namespaces = st.sampled_from(NAMESPACES)
prompts = st.sampled_from(PROMPTS)
answers = st.sampled_from(["sagan", "SAGÃN und", "tyson 1", "§1", "x" * 990, "y" * 9_990])
times_to_live = st.sampled_from([None, 2, 5_000])
whole_hours = st.integers(-(10**6), 10**6).map(lambda hour: float(hour * HOUR_S))
times = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(1_699_990_000, 1_700_010_000),
    whole_hours,
    whole_hours.map(lambda time: math.nextafter(time, -math.inf)),
    whole_hours.map(lambda time: math.nextafter(time, math.inf)),
)
searches = st.sampled_from(
    ["", "sag", "sagan", "§1", "1", "tys", "f", "FINE c", "x", "und sagan", "?", "🪐", "arm ans"]
)
bounds = st.one_of(st.none(), st.integers(0, 12_000), st.sampled_from([1_000, 10_000, 100_000]))


def llm(prompt: str) -> str:
    """The parameters that a prompt is asked with: of three models."""
    model = MODELS[PROMPTS.index(prompt) % len(MODELS)]
    return "plain" if model is None else repr([("model_name", model)])


class IndexAgainstLooking(RuleBasedStateMachine):
    """Two caches on one path, that two programs might have open; each browses now and then."""

    backend: Backend

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.kept: list[CacheEntry] = []
        self.caches: list[SQLiteCache | JSONFileCache] = []

    @initialize()
    def open(self) -> None:
        """Open the store twice."""
        self.caches = [
            open_cache(self.backend.url(self.folder), clock=self.clock, strict=True)  # type: ignore[misc]
            for _ in range(2)
        ]

    def view(self, which: int, namespace: str) -> Any:
        """One of the two, in one of the namespaces."""
        return self.caches[which].view(namespace=namespace)

    @rule(which=which, namespace=namespaces, prompt=prompts, answer=answers, ttl=times_to_live)
    def store(self, which: int, namespace: str, prompt: str, answer: str, ttl: float | None) -> None:
        """Store an answer, or replace one."""
        store(self.view(which, namespace).view(ttl=ttl), prompt, answer, llm_string=llm(prompt))

    @rule(which=which, namespace=namespaces, prompt=prompts)
    def hit(self, which: int, namespace: str, prompt: str) -> None:
        """Look up, and write that down."""
        self.view(which, namespace).lookup(prompt, llm(prompt))
        self.caches[which].flush()

    @rule(which=which, namespace=namespaces, prompts=st.sets(prompts, min_size=1))
    def delete(self, which: int, namespace: str, prompts: set[str]) -> None:
        """Remove one or many."""
        self.view(which, namespace).delete(*(key_of(prompt, llm(prompt)) for prompt in prompts))

    @rule(which=which, namespace=namespaces, prompt=prompts, ttl=times_to_live)
    def set_ttl(self, which: int, namespace: str, prompt: str, ttl: float | None) -> None:
        """Give an entry another time to live."""
        self.view(which, namespace).set_ttl(key_of(prompt, llm(prompt)), ttl)

    @rule(which=which, namespace=namespaces, prompt=prompts, pinned=st.booleans())
    def pin(self, which: int, namespace: str, prompt: str, pinned: bool) -> None:
        """Pin an entry or let it go."""
        self.view(which, namespace).pin(key_of(prompt, llm(prompt)), pinned)

    @rule(which=which, namespace=namespaces)
    def purge(self, which: int, namespace: str) -> None:
        """Remove what has expired."""
        self.view(which, namespace).purge_expired()

    @rule(which=which, namespace=namespaces)
    def clear(self, which: int, namespace: str) -> None:
        """Empty a namespace."""
        self.view(which, namespace).clear()

    @rule(which=which, namespace=namespaces, prompt=prompts)
    def keep(self, which: int, namespace: str, prompt: str) -> None:
        """Look at an entry, and keep it."""
        entry = self.view(which, namespace).get(key_of(prompt, llm(prompt)))
        if entry is not None:
            self.kept.append(entry)

    @precondition(lambda self: self.kept)
    @rule(
        data=st.data(),
        which=which,
        namespace=namespaces,
        created_at=times,
        expires_at=st.none() | times,
        last_used_at=st.floats(0, 2**33) | st.integers(0, 2**33).map(float),
        hits=st.integers(0, 10**11 - 1),
        pinned=st.booleans(),
        model=st.none() | st.sampled_from(["", "x", "gpt-4o", "\0"]),
        model_time_s=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    )
    def restore(self, data: st.DataObject, which: int, namespace: str, **fields: Any) -> None:
        """Put a kept entry into either namespace, with whatever times."""
        self.view(which, namespace).restore(replace(data.draw(st.sampled_from(self.kept)), **fields))

    @rule(seconds=st.sampled_from([1, 3, 3_601]))
    def let_time_pass(self, seconds: float) -> None:
        """Some entries expire."""
        self.clock.tick(seconds)

    @rule(time=times.filter(lambda time: abs(time) < 2**33))
    def set_the_clock(self, time: float) -> None:
        """Clocks are set, back too."""
        self.clock.now = time

    @rule(which=which)
    def reopen(self, which: int) -> None:
        """Close one cache, and open another."""
        self.caches[which].close()
        self.caches[which] = open_cache(self.backend.url(self.folder), clock=self.clock, strict=True)  # type: ignore[assignment]

    @rule(
        which=which,
        namespace=namespaces,
        search=searches,
        model=st.none() | st.sampled_from(["gpt-4o", "llama-ção", "nobody", ""]),
        state=st.sampled_from(["any", "live", "expired"]),
        created=st.tuples(st.none() | times, st.none() | times),
        sizes=st.tuples(bounds, bounds),
        order_by=st.sampled_from(get_args(EntryOrder)),
        descending=st.booleans(),
        limit=st.integers(1, 7),
    )
    def browse(
        self, which: int, namespace: str, created: tuple[Any, Any], sizes: tuple[Any, Any], **query: Any
    ) -> None:
        """Ask for anything, page by page."""
        first, last = (None if time is None else max(-(2.0**62), min(time, 2.0**62)) for time in created)
        view = self.view(which, namespace)
        same_page(
            view,
            list(view._rows()),
            created_from=first,
            created_before=last,
            min_bytes=sizes[0],
            below_bytes=sizes[1],
            **query,
        )

    @rule(which=which, namespace=namespaces, ages=st.lists(times, max_size=4), search=searches, data=st.data())
    def count(self, which: int, namespace: str, ages: list[float], search: str, data: st.DataObject) -> None:
        """Count by ages: any, and those of entries."""
        view = self.view(which, namespace)
        rows = list(view._rows())
        created = [row.summary.created_at for row in rows]
        of_entries = st.sampled_from(created).flatmap(
            lambda time: st.sampled_from([time, time // HOUR_S * HOUR_S, math.nextafter(time, math.inf)])
        )
        if created:
            ages = [*ages, *data.draw(st.lists(of_entries, max_size=3))]
        same_tally(view, rows, ages, search)

    @rule(which=which)
    def bring_up_to_date(self, which: int) -> None:
        """Somebody indexes what is new."""
        same_as_made_anew(self.caches[which])

    def teardown(self) -> None:
        """At the end everything agrees."""
        try:
            for cache in self.caches:
                for namespace in NAMESPACES:
                    same_as_by_looking(cache.view(namespace=namespace))
                same_as_made_anew(cache)
        finally:
            for cache in self.caches:
                cache.close()
            shutil.rmtree(self.folder)


@pytest.mark.parametrize("backend", FILES, ids=[backend.name for backend in FILES])
def test_the_index_says_what_looking_at_every_entry_says(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine = type("Machine", (IndexAgainstLooking,), {"backend": backend})
    run_state_machine_as_test(
        machine,
        settings=settings(
            deadline=None, max_examples=20, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
    assert "can't be used" not in caplog.text
