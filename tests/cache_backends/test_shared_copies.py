"""What every backend promises about copies, forks, threads and processes."""

from __future__ import annotations

import copy
import os
import pickle
import random
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cache_backends import CacheBackend
from tests.cache_backends.answers import LLM, chat, found, look, store, texts
from tests.cache_backends.backends import Backend, FakeClock, on_persistent_backends, own_prefix
from tests.cache_backends.conftest import OpenAgain
from tests.cache_backends.processes import CHILD_SECONDS, Child, in_child, killed_writer
from tests.cache_backends.small_models import SmallChatModel

THREADS = 8


def together(*functions: Callable[[], Any]) -> list[Any]:
    """What functions return that run in a thread each and begin at once."""
    ready = threading.Barrier(len(functions))

    def run(function: Callable[[], Any]) -> Any:
        ready.wait()
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


# Copies


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_a_copy_shares_the_store(cache: CacheBackend, make: Callable[[CacheBackend], CacheBackend]) -> None:
    store(cache, "q", "answer")
    copied = make(cache)
    assert found(copied, "q") == ["answer"]
    store(copied, "r", "other")
    assert found(cache, "r") == ["other"]
    copied.close()
    assert found(cache, "q") == ["answer"]


def test_a_model_is_copied_with_its_cache(cache: CacheBackend) -> None:
    model = SmallChatModel(cache=cache)
    answer = model.invoke("q").content
    assert copy.deepcopy(model).invoke("q").content == answer
    assert model.model_copy(deep=True).invoke("q").content == answer


def test_a_pickled_cache_opens_the_same_store_or_has_a_whole_copy(open_again: OpenAgain, clock: FakeClock) -> None:
    cache = open_again(namespace="ours", ttl=60, max_entries=100, strict=True, store_truncated=True)
    store(cache, "q", "answer")
    found(cache, "q")
    with pickle.loads(pickle.dumps(cache)) as again:
        assert found(again, "q") == ["answer"]
        assert (again.namespace, again.ttl_s, again.max_entries) == ("ours", 60, 100)
        assert (again.strict, again.store_truncated) == (True, True)
        assert (again.counters.hits, again.counters.stores) == (1, 0)
        store(again, "r", "other")
        assert found(again, "r") == ["other"]
        if cache.survives_restart:
            assert found(cache, "r") == ["other"]
        again.clock.tick(60)
        assert found(again, "q") is None
    assert found(cache, "q") == ["answer"]


def test_a_pickled_view_can_be_closed_for_it_is_a_cache_of_its_own(cache: CacheBackend) -> None:
    again = pickle.loads(pickle.dumps(cache.view(namespace="other")))
    store(again, "q", "answer")
    again.close()
    assert look(again, "q").outcome == "error"
    assert look(cache, "q").outcome == "miss"


def test_a_pickled_cache_is_observed_by_itself(cache: CacheBackend) -> None:
    again = pickle.loads(pickle.dumps(cache))
    with cache.observe() as ours, again.observe() as theirs:
        found(again, "q")
    assert (len(ours), len(theirs)) == (0, 1)
    again.close()


# Forks


def test_a_cache_survives_a_fork(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    found(cache, "q")

    def child() -> list[Any]:
        first = found(cache, "q")
        store(cache, "child", "from the child")
        return [first, found(cache, "child"), cache.stats().entries, cache.counters.errors]

    assert in_child(child) == [["answer"], ["from the child"], 2, 0]
    store(cache, "parent", "from the parent")
    assert (found(cache, "q"), found(cache, "parent")) == (["answer"], ["from the parent"])
    assert (found(cache, "child") is not None) == cache.survives_restart
    assert cache.counters.errors == 0


def test_a_child_does_not_inherit_the_locks_of_its_parents_threads(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    store_itself = _store_of(cache)
    parts = [cache.counters, store_itself, *(getattr(store_itself, part, None) for part in ("uses", "limits", "file"))]
    locks = [
        value
        for part in parts
        for value in getattr(part, "__dict__", {}).values()
        if hasattr(value, "acquire") and hasattr(value, "release")
    ]
    assert len(locks) >= 2
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        for lock in locks:
            lock.acquire()
        locked.set()
        done.wait()
        for lock in locks:
            lock.release()

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(CHILD_SECONDS)
    try:
        child = Child(lambda: [found(cache, "q"), store(cache, "r", "other"), found(cache, "r"), cache.stats().entries])
    finally:
        done.set()
        holder.join()
    assert child.result() == [["answer"], None, ["other"], 2]


def test_uses_of_before_a_fork_are_counted_once(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    found(cache, "q")
    in_child(lambda: [found(cache, "q"), cache.close()])
    assert cache.entries().entries[0].hits == (2 if cache.survives_restart else 1)


def test_children_of_children_work_too(cache: CacheBackend) -> None:
    store(cache, "q", "answer")
    assert in_child(lambda: in_child(lambda: found(cache, "q"))) == ["answer"]


# Threads and processes


def test_threads_that_write_one_key_leave_one_whole_answer(cache: CacheBackend) -> None:
    answers = [[f"{number} {part}" * 500 for part in range(number % 4 + 1)] for number in range(THREADS)]

    def write(number: int) -> None:
        for _ in range(12):
            store(cache, "q", *answers[number])
            assert found(cache, "q") in answers

    together(*[lambda number=number: write(number) for number in range(THREADS)])
    assert found(cache, "q") in answers
    assert cache.stats().entries == 1
    assert (cache.counters.errors, cache.counters.corrupt, cache.counters.misses) == (0, 0, 0)
    assert (cache.counters.stores, cache.counters.hits) == (THREADS * 12, THREADS * 12 + 1)


def test_threads_that_use_every_method_at_once_never_err(cache: CacheBackend, clock: FakeClock) -> None:
    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(60):
            view = cache.view(namespace=chance.choice(["default", "other"]), ttl=chance.choice([None, 5]))
            _do_something(view, f"q{chance.randrange(8)}", clock, chance)

    together(*[lambda seed=seed: work(seed) for seed in range(THREADS)])
    assert (cache.counters.errors, cache.counters.corrupt) == (0, 0)


def test_threads_keep_the_limit(open_again: OpenAgain) -> None:
    cache = open_again(max_entries=20)
    together(*[lambda n=n: [store(cache, f"{n} {i}", "answer") for i in range(15)] for n in range(THREADS)])
    assert cache.stats().entries == 20
    assert cache.counters.evictions == THREADS * 15 - 20
    assert cache.counters.errors == 0


@on_persistent_backends
def test_processes_with_threads_share_a_store_and_nobody_errs(cache: CacheBackend, open_again: OpenAgain) -> None:
    store(cache, "same", "0 0")
    reader = open_again()

    def work(process: int) -> tuple[int, int]:
        ours = open_again()

        def write(thread: int) -> None:
            for number in range(6):
                store(ours, f"own {process} {thread} {number}", f"{process} {thread}")
                store(ours, "same", *[f"{process} {thread}"] * (thread + 1))
                assert found(ours, f"own {process} {thread} {number}") == [f"{process} {thread}"]
                assert _is_whole(found(ours, "same"))

        together(*[lambda thread=thread: write(thread) for thread in range(THREADS)])
        return ours.counters.errors, ours.counters.corrupt

    children = [Child(lambda process=process: work(process)) for process in range(2)]
    rows = iter(reader._rows())  # a person who reads a page, and does not hurry
    next(rows)
    assert [child.result() for child in children] == [(0, 0), (0, 0)]
    assert len(list(rows)) <= 2 * THREADS * 6 + 1
    assert _is_whole(found(cache, "same"))
    expected = {
        f"own {process} {t} {n}": [f"{process} {t}"] for process in range(2) for t in range(8) for n in range(6)
    }
    assert {prompt: found(cache, prompt) for prompt in expected} == expected
    assert cache.stats().entries == len(expected) + 1
    assert (cache.counters.errors, cache.counters.corrupt) == (0, 0)


@on_persistent_backends
def test_processes_that_open_a_new_store_at_once_all_get_it(
    open_again: OpenAgain, backend: Backend, tmp_path: Path
) -> None:
    own: dict[str, Any] = {}

    def open_and_store(number: int) -> list[list[str] | None]:
        cache = open_again(strict=True, **own)
        store(cache, f"q{number}", "answer")
        return [found(cache, f"q{number}")]

    for again in range(5):
        own = {"prefix": f"{own_prefix(tmp_path)}_{again}"} if backend.is_server else {}
        children = [Child(lambda number=number: open_and_store(number)) for number in range(8)]
        assert [child.result() for child in children] == [[["answer"]]] * 8
        with open_again(**own) as cache:
            assert cache.stats().entries == 8
            assert cache.notices == ()
        shutil.rmtree(tmp_path / "store", ignore_errors=True)


@on_persistent_backends
@pytest.mark.parametrize("seed", range(4))
def test_what_was_stored_before_a_kill_is_there_after_it(open_again: OpenAgain, seed: int) -> None:
    acknowledged_at_least = random.Random(seed).randrange(1, 120)
    opened: dict[str, CacheBackend] = {}

    def write(number: int) -> None:
        cache = opened.setdefault("cache", open_again(strict=True)) if not opened else opened["cache"]
        cache.update(f"q{number}", LLM, [chat(f"answer {number} " * 50)])
        cache.update("same", LLM, [chat(f"answer {number} " * 50)] * (number % 3 + 1))

    with killed_writer(write) as acknowledged:
        last = next(number for number in acknowledged if number >= acknowledged_at_least)
    cache = open_again(strict=True)
    assert cache.notices == ()
    for number in range(last + 1):
        assert texts(cache.lookup(f"q{number}", LLM)) == [f"answer {number} " * 50]
    same = found(cache, "same")
    assert same is not None
    number = int(same[0].split()[1])
    assert number >= last
    assert same == [f"answer {number} " * 50] * (number % 3 + 1)
    store(cache, "after", "answer")
    assert found(cache, "after") == ["answer"]
    assert cache.counters.corrupt == 0


def test_a_child_that_hangs_or_dies_is_a_failure() -> None:
    with pytest.raises(AssertionError, match="ValueError: in the child"):
        in_child(lambda: (_ for _ in ()).throw(ValueError("in the child")))
    with pytest.raises(AssertionError, match="signal 9"):
        in_child(lambda: os.kill(os.getpid(), 9))


def _store_of(cache: CacheBackend) -> Any:
    return cache._store  # type: ignore[attr-defined]


def _do_something(view: CacheBackend, prompt: str, clock: FakeClock, chance: random.Random) -> None:
    """One operation, drawn by lot."""
    operations: list[Callable[[], Any]] = [
        *[lambda: store(view, prompt, prompt)] * 3,
        *[lambda: _check(found(view, prompt), prompt)] * 3,
        lambda: view.entries(search="q", order_by="hits"),
        view.stats,
        lambda: view.delete(*[entry.key for entry in view.entries(limit=1).entries]),
        view.namespaces,
        view.purge_expired,
        clock.tick,
        view.clear,
    ]
    chance.choice(operations)()


def _check(answer: list[str] | None, expected: str) -> None:
    assert answer in (None, [expected])


def _is_whole(answer: list[str] | None) -> bool:
    """Whether an answer is one that a writer stored: as many times its name as the number of its thread says."""
    return answer is not None and answer == [answer[0]] * (int(answer[0].split()[1]) + 1)
