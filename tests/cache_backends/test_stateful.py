"""Every backend against a plain dict: after any sequence of operations both say the same."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from cache_backends import CacheBackend, CacheEntry, open_cache
from tests.cache_backends.answers import found, key_of, look, store
from tests.cache_backends.backends import BACKENDS, PATIENT_S, Backend, FakeClock

namespaces = st.sampled_from(["ours", "theirs"])
prompts = st.sampled_from(["Sagan?", "Armstrong?", "Tyson?", "\0", "🪐"])
answers = st.lists(st.text("ab 🪐\0", min_size=1, max_size=5).filter(str.strip), min_size=1, max_size=4)
times_to_live = st.sampled_from([None, 2, 5])


@dataclass
class Expected:
    """What the model knows of one entry."""

    texts: list[str]
    created_at: float
    expires_at: float | None
    last_used_at: float
    hits: int = 0
    pinned: bool = False

    def is_expired(self, now: float) -> bool:
        """Whether no lookup gets it."""
        return self.expires_at is not None and self.expires_at <= now and not self.pinned


class CacheAgainstDict(RuleBasedStateMachine):
    """The same operations on a backend and on a dict."""

    backend: Backend

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.expected: dict[tuple[str, str], Expected] = {}
        self.kept: dict[str, tuple[CacheEntry, Expected]] = {}
        self.cache: CacheBackend

    @initialize()
    def open(self) -> None:
        """Open the store, which may hold entries already."""
        patience = {"timeout": PATIENT_S} if self.backend.is_server else {}
        self.cache = open_cache(self.backend.url(self.folder), clock=self.clock, strict=True, **patience)

    @rule(namespace=namespaces, prompt=prompts, texts=answers, ttl=times_to_live)
    def store(self, namespace: str, prompt: str, texts: list[str], ttl: float | None) -> None:
        """Store an answer, or replace one."""
        store(self.cache.view(namespace=namespace, ttl=ttl), prompt, *texts)
        now = self.clock.now
        self.expected[namespace, prompt] = Expected(texts, now, None if ttl is None else now + ttl, now)

    @rule(namespace=namespaces, prompt=prompts)
    def replace_with_fewer(self, namespace: str, prompt: str) -> None:
        """Store one generation less than there is."""
        there = self.expected.get((namespace, prompt))
        if there is not None and len(there.texts) > 1:
            self.store(namespace, prompt, there.texts[1:], None)

    @rule(namespace=namespaces, prompt=prompts)
    def look_up(self, namespace: str, prompt: str) -> None:
        """Look a prompt up, which is a use if it is a hit."""
        view, there = self.cache.view(namespace=namespace), self.expected.get((namespace, prompt))
        now = self.clock.now
        if there is None:
            assert look(view, prompt).outcome == "miss"
            assert found(view, prompt) is None
        elif there.is_expired(now):
            assert look(view, prompt).outcome == "expired"
            assert found(view, prompt) is None
        else:
            assert found(view, prompt) == there.texts
            there.hits += 1
            there.last_used_at = now

    @rule(namespace=namespaces, prompt=prompts)
    def delete(self, namespace: str, prompt: str) -> None:
        """Remove one entry."""
        was_there = self.expected.pop((namespace, prompt), None) is not None
        assert self.cache.view(namespace=namespace).delete(key_of(prompt)) == was_there

    @rule(namespace=namespaces, prompt=prompts, ttl=times_to_live)
    def set_ttl(self, namespace: str, prompt: str, ttl: float | None) -> None:
        """Give an entry a new time to live, or none."""
        there = self.expected.get((namespace, prompt))
        assert self.cache.view(namespace=namespace).set_ttl(key_of(prompt), ttl) == (there is not None)
        if there is not None:
            there.expires_at = None if ttl is None else self.clock.now + ttl

    @rule(namespace=namespaces, prompt=prompts, pinned=st.booleans())
    def pin(self, namespace: str, prompt: str, pinned: bool) -> None:
        """Pin or unpin an entry."""
        there = self.expected.get((namespace, prompt))
        assert self.cache.view(namespace=namespace).pin(key_of(prompt), pinned) == (there is not None)
        if there is not None:
            there.pinned = pinned

    @rule(namespace=namespaces, prompt=prompts)
    def keep_a_copy(self, namespace: str, prompt: str) -> None:
        """Look at a whole entry, and keep it."""
        there = self.expected.get((namespace, prompt))
        entry = self.cache.view(namespace=namespace).get(key_of(prompt))
        assert (entry is None) == (there is None)
        if entry is not None and there is not None:
            assert [generation.text for generation in entry.generations] == there.texts
            self.kept[prompt] = entry, replace(there)

    @rule(namespace=namespaces, prompt=prompts)
    def restore(self, namespace: str, prompt: str) -> None:
        """Put a copy back as it was, into either namespace."""
        if prompt in self.kept:
            entry, there = self.kept[prompt]
            view = self.cache.view(namespace=namespace)
            view.restore(entry)
            self.expected[namespace, prompt] = replace(there)
            again = view.get(entry.key)
            assert again is not None
            assert again == replace(entry, namespace=namespace, location=again.location)

    @rule(seconds=st.sampled_from([1, 3]))
    def let_time_pass(self, seconds: float) -> None:
        """Some entries expire."""
        self.clock.tick(seconds)

    @rule(namespace=namespaces)
    def clear(self, namespace: str) -> None:
        """Empty one namespace."""
        self.cache.view(namespace=namespace).clear()
        self.expected = {place: there for place, there in self.expected.items() if place[0] != namespace}

    @rule(namespace=namespaces)
    def purge(self, namespace: str) -> None:
        """Remove what has expired in one namespace."""
        gone = [
            place
            for place, there in self.expected.items()
            if place[0] == namespace and there.is_expired(self.clock.now)
        ]
        for place in gone:
            del self.expected[place]
        assert self.cache.view(namespace=namespace).purge_expired() == len(gone)

    @rule()
    def reopen(self) -> None:
        """Close the store and open it again, as a new process would."""
        self.cache.close()
        if not self.cache.survives_restart:
            self.expected.clear()
        self.open()

    @invariant()
    def says_the_same(self) -> None:
        """Lists, sizes and names agree with the dict."""
        if not hasattr(self, "cache"):
            return
        assert self.cache.namespaces() == sorted({namespace for namespace, _ in self.expected})
        for namespace in ("ours", "theirs"):
            view = self.cache.view(namespace=namespace)
            there = {prompt: entry for (name, prompt), entry in self.expected.items() if name == namespace}
            shown = view.entries().entries
            assert {
                e.prompt: (e.answer, e.created_at, e.expires_at, e.last_used_at, e.hits, e.pinned) for e in shown
            } == {
                prompt: ("\n\n".join(e.texts), e.created_at, e.expires_at, e.last_used_at, e.hits, e.pinned)
                for prompt, e in there.items()
            }
            assert [entry.created_at for entry in shown] == sorted((e.created_at for e in there.values()), reverse=True)
            expired = {prompt for prompt, entry in there.items() if entry.is_expired(self.clock.now)}
            assert {entry.prompt for entry in view.entries(state="expired").entries} == expired
            stats = view.stats()
            times = [entry.created_at for entry in there.values()]
            assert (stats.entries, stats.expired) == (len(there), len(expired))
            assert (stats.oldest, stats.newest) == (min(times, default=None), max(times, default=None))
            assert stats.size_bytes == sum(entry.size_bytes for entry in shown)
        assert self.cache.counters.corrupt == self.cache.counters.errors == 0

    def teardown(self) -> None:
        """Close the store and remove it."""
        if hasattr(self, "cache"):
            self.cache.close()
        shutil.rmtree(self.folder)


@pytest.mark.parametrize("backend", BACKENDS, ids=[backend.name for backend in BACKENDS])
def test_a_backend_does_what_a_dict_would_do(backend: Backend) -> None:
    machine = type("Machine", (CacheAgainstDict,), {"backend": backend})
    run_state_machine_as_test(machine, settings=settings(deadline=None, max_examples=40, stateful_step_count=25))
