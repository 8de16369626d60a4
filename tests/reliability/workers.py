"""Processes that keep a cache open and take the steps that the test tells them to, one by one."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Self, TypeVar

from tests.cache_backends.processes import CHILD_SECONDS, fork

Opened = TypeVar("Opened")


class Worker:
    """A forked process that opens a cache and takes its steps when it is told to, in the order given."""

    def __init__(self, open_it: Callable[[], AbstractContextManager[Opened]], *steps: Callable[[Opened], Any]) -> None:
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        self._pid = fork()
        if self._pid == 0:
            os.close(self._orders)
            _serve(open_it, steps, orders, answers)
        os.close(orders)
        os.close(answers)
        self._pipe = os.fdopen(self._answers, "rb")

    def begin(self) -> None:
        """Let it take its next step, and do not wait."""
        os.write(self._orders, b"\0")

    def result(self) -> Any:
        """What that step returned. Raises AssertionError if it raised, hung or died."""
        try:
            kind, value = pickle.load(self._pipe)
        except EOFError:
            _, status = os.waitpid(self._pid, 0)
            raise AssertionError(f"the worker died: {os.waitstatus_to_exitcode(status)}") from None
        assert kind == "returned", value
        return value

    def run(self) -> Any:
        """Take the next step, and wait for what it returns."""
        self.begin()
        return self.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._orders)  # that ends it: it closes its cache
        self._pipe.read()
        self._pipe.close()
        try:
            os.waitpid(self._pid, 0)
        except ChildProcessError:
            return  # it died, and `result` said so


def _serve(
    open_it: Callable[[], AbstractContextManager[Any]],
    steps: tuple[Callable[[Any], Any], ...],
    orders: int,
    answers: int,
) -> None:
    signal.alarm(CHILD_SECONDS)
    with open(answers, "wb", buffering=0) as pipe:
        try:
            with open_it() as cache:
                for step in steps:
                    if not os.read(orders, 1):
                        break
                    pipe.write(pickle.dumps(("returned", step(cache))))
                os.read(orders, 1)
        except BaseException:  # noqa: BLE001  # the test raises it
            pipe.write(pickle.dumps(("raised", traceback.format_exc())))
        finally:
            os._exit(0)
