"""A disk that fails at the 1st, 2nd, … n-th call, until a run passes whole: the state before or after, never mixed."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cache_backends import CacheBackend, CacheUnavailableError, cache_key, open_cache
from tests.cache_backends.answers import LLM, found, store
from tests.cache_backends.backends import Backend, on_files
from tests.cache_backends.json_outside import OpenJSON
from tests.cache_backends.processes import in_child
from tests.reliability.faults import Faults, FaultyFileSystem, in_python
from tests.reliability.proof import Contents, prove_sound

BEFORE: Contents = {
    "default": {
        "old": ["old answer " * 40],
        "long": ["a long one " * 3000, "and another"],
        **{f"kept {number}": [f"answer {number} " * 30] for number in range(8)},
    },
    "other": {"old": ["of another namespace"], "kept": ["too"]},
}

MOST_CALLS = 500
"""More than any operation here makes: a run that never passes whole is a failure and not a test without end."""


Answers = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Operation:
    """Something done to an open store, and what it leaves in the namespace."""

    name: str
    run: Callable[[CacheBackend], object]
    after: Callable[[Answers], Answers]
    may_raise: bool = False
    """Whether a person asked for it, who is told; a model's caller never is."""
    closes: bool = False


def _without_long(held: Answers) -> Answers:
    return {prompt: answers for prompt, answers in held.items() if prompt != "long"}


def _overwrite_long(cache: CacheBackend) -> None:
    store(cache, "old", "x" * 50_000, "y")


def _overwrite_and_close(cache: CacheBackend) -> None:
    _overwrite_long(cache)
    cache.close()


def _look_all_up(cache: CacheBackend) -> None:
    for prompt, answers in BEFORE["default"].items():
        assert found(cache, prompt) in (None, answers)
    assert found(cache, "unknown") is None


def _look_up_and_flush(cache: CacheBackend) -> None:
    _look_all_up(cache)
    cache.flush()


OPERATIONS = (
    Operation("new key", lambda cache: store(cache, "new", "new " * 500), lambda was: {**was, "new": ["new " * 500]}),
    Operation("overwrite", lambda cache: store(cache, "old", "x"), lambda was: {**was, "old": ["x"]}),
    Operation("long overwrite", _overwrite_long, lambda was: {**was, "old": ["x" * 50_000, "y"]}),
    Operation("close", _overwrite_and_close, lambda was: {**was, "old": ["x" * 50_000, "y"]}, closes=True),
    Operation("delete", lambda cache: cache.delete(cache_key("long", LLM)), _without_long, may_raise=True),
    Operation("clear", lambda cache: cache.clear(), lambda _: {}, may_raise=True),
    Operation("lookup", _look_all_up, lambda was: was),
    Operation("flush", _look_up_and_flush, lambda was: was, may_raise=True),
)

on_operations = pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.name for operation in OPERATIONS])
on_faults = pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
on_errors = pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])


def _after(operation: Operation) -> Contents:
    after = {**BEFORE, "default": operation.after(BEFORE["default"])}
    return {namespace: answers for namespace, answers in after.items() if answers}


def _store_before(url: str) -> None:
    with open_cache(url, strict=True) as cache:
        for namespace, answers in BEFORE.items():
            view = cache.view(namespace=namespace)
            for prompt, texts in answers.items():
                store(view, prompt, *texts)


@dataclass(frozen=True, slots=True)
class Trial:
    """One store on a failing disk."""

    url: str
    folder: Path
    faults: Faults
    lasting: bool
    number: int

    def run(self, operation: Operation, nth: int) -> bool:
        """Fail the n-th call of an operation, prove what is left of it; whether there was an n-th call."""
        descriptors = _descriptors()
        cache = open_cache(self.url)
        done = True
        with self.faults.failing(nth, lasting=self.lasting, number=self.number):
            try:
                operation.run(cache)
            except CacheUnavailableError:
                assert operation.may_raise, "LangChain must never see an error"
                done = False
            if self.lasting:
                cache.close()
        struck = self.faults.struck
        done = done and cache.counters.errors == 0
        if not self.lasting:
            self._work_on(cache, operation)
            cache.close()
        held = prove_sound(self.url, self.folder)
        assert held == _after(operation) or (not done and held == BEFORE)
        assert _descriptors() == descriptors, "files were left open"
        return struck

    def _work_on(self, cache: CacheBackend, operation: Operation) -> None:
        """After one failure the same cache works, and holds no lock that keeps others from working."""
        with open_cache(self.url) as other:
            for each in (other, *([] if operation.closes else [cache])):
                store(each, "again", "works")
                assert found(each, "again") == ["works"]
                assert each.delete(cache_key("again", LLM)) == 1


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _until_a_run_passes_whole(folder: Path, backend: Backend, run: Callable[[str, Path, Faults, int], bool]) -> int:
    """Run on copies of the store in `folder / "template"` with the 1st, 2nd, … n-th call failing; how many runs."""

    def child() -> int:
        gc.freeze()  # the parent's garbage: its descriptors would be closed in the middle of what is counted here
        logging.disable()
        sys.unraisablehook = lambda _: None  # where apsw reports errors that SQLite does not want to hear of
        faults = Faults()
        file_system = FaultyFileSystem(faults)
        with in_python(faults):
            for nth in range(1, MOST_CALLS):
                copy = folder / str(nth)
                shutil.copytree(folder / "template", copy)
                try:
                    if not run(backend.url(copy), copy, faults, nth):
                        return nth
                except BaseException as error:
                    raise AssertionError(f"when call {nth} of {faults.calls} failed") from error
                shutil.rmtree(copy)
        file_system.unregister()
        raise AssertionError("no run passed whole")

    runs: int = in_child(child)
    return runs


@on_files
@on_operations
@on_faults
@on_errors
def test_a_failing_disk_leaves_the_state_before_or_after(
    backend: Backend, tmp_path: Path, operation: Operation, lasting: bool, number: int
) -> None:
    _store_before(backend.url(tmp_path / "template"))

    def run(url: str, folder: Path, faults: Faults, nth: int) -> bool:
        return Trial(url, folder, faults, lasting, number).run(operation, nth)

    assert _until_a_run_passes_whole(tmp_path, backend, run) > 1, "the operation made no call to the system"


@on_files
@on_faults
@on_errors
@pytest.mark.parametrize("was", ["closed", "killed", "missing"])
def test_opening_on_a_failing_disk_is_refused_or_works_and_loses_nothing(
    backend: Backend, tmp_path: Path, was: str, lasting: bool, number: int
) -> None:
    expected = _template(backend, tmp_path, was)

    def run(url: str, folder: Path, faults: Faults, nth: int) -> bool:
        descriptors = _descriptors()
        cache: CacheBackend | None = None
        with faults.failing(nth, lasting=lasting, number=number):
            with contextlib.suppress(CacheUnavailableError):
                cache = open_cache(url)
            if cache is not None:
                cache.close()
        struck = faults.struck
        assert _descriptors() == descriptors, "files were left open"
        with open_cache(url) as again:
            store(again, "after", "works")
            assert found(again, "after") == ["works"]
            again.delete(cache_key("after", LLM))
        assert prove_sound(url, folder) == expected
        return struck

    assert _until_a_run_passes_whole(tmp_path, backend, run) > 1


def _template(backend: Backend, folder: Path, was: str) -> Contents:
    """Make the store that is to be opened; what it holds."""
    if was == "missing":
        (folder / "template").mkdir()
        return {}
    url = backend.url(folder / "made")
    _store_before(url)
    with open_cache(url, strict=True) as cache:
        store(cache, "last", "word")
        shutil.copytree(folder / "made", folder / "template")  # with what SQLite keeps beside an open file
    if was == "closed":
        shutil.rmtree(folder / "template")
        shutil.copytree(folder / "made", folder / "template")
    return {**BEFORE, "default": {**BEFORE["default"], "last": ["word"]}}


def test_an_answer_is_synced_before_it_takes_its_place(open_json: OpenJSON) -> None:
    with open_json(strict=True) as cache:
        store(cache, "q", "answer")
        calls = _calls_of(lambda: store(cache, "q", "new answer"))
    assert calls.count("fsync") == calls.count("replace") == 1
    assert calls.index("write") < calls.index("fsync") < calls.index("replace")


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_them_all(
    open_json: OpenJSON, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with monkeypatch.context() as slow:
        slow.setattr("os.write", lambda descriptor, data: write(descriptor, bytes(data[:100])))
        with open_json(strict=True) as cache:
            store(cache, "q", "answer " * 100)
    with open_json(strict=True) as cache:
        assert found(cache, "q") == ["answer " * 100]


def _calls_of(function: Callable[[], object]) -> list[str]:
    faults = Faults()
    with in_python(faults), faults.failing(MOST_CALLS, lasting=False, number=errno.EIO):
        function()
    return faults.calls
