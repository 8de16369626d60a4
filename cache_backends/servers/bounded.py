"""`bounded`: a call that no timeout of its own covers, such as looking up a host's name, ended after a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")


def bounded(make: Callable[[], Made], timeout_s: float, discard: Callable[[Made], None]) -> Made:
    """What `make` returns or raises, or `TimeoutError` after `timeout_s` seconds.

    It runs in a thread that is left behind if it is late; what it then makes is given to `discard`.
    """
    lock = threading.Lock()
    finished = threading.Event()
    made: list[Made] = []
    failed: list[BaseException] = []
    is_late = False

    def run() -> None:
        try:
            one = make()
        except BaseException as error:  # noqa: BLE001  # raised again by who waits
            failed.append(error)
        else:
            with lock:
                if not is_late:
                    made.append(one)
            if not made:
                discard(one)
        finished.set()

    threading.Thread(target=run, name="connecting", daemon=True).start()
    finished.wait(timeout_s)
    with lock:
        is_late = True
    if failed:
        raise failed[0]
    if not made:
        raise TimeoutError(f"no answer within {timeout_s:g} s")
    return made[0]
