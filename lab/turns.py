"""`Turns`: one at a time, in the order of coming: two measurements at once would measure each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_S = 0.1
"""How often one who waits looks whether it was stopped."""


class Turns:
    """Whoever waits knows how many are before it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: list[object] = []

    @property
    def taken(self) -> int:
        """How many have or wait for their turn."""
        return len(self._queue)

    @contextmanager
    def turn(self, before: Callable[[int], None], stopping: Callable[[], bool]) -> Iterator[bool]:
        """Wait for one's turn; False where it was stopped before. `before` hears how many are before this one."""
        mine = object()
        with self._changed:
            self._queue.append(mine)
        told: int | None = None
        try:
            with self._changed:
                while (place := self._queue.index(mine)) and not stopping():
                    if place != told:
                        before(told := place)
                    self._changed.wait(LOOK_S)
            yield place == 0 and not stopping()
        finally:
            with self._changed:
                self._queue.remove(mine)
                self._changed.notify_all()
