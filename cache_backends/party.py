"""Who waits for whom: pieces of work that lead calls and wait for others, so that none ever waits for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Party:
    """A piece of work that leads flights; while any part of it waits, they do. Parties nest as the work does."""

    __slots__ = ("over", "waits_for", "within")

    def __init__(self, within: Party | None) -> None:
        self.within = within
        self.waits_for: list[Party] = []
        self.over = False

    def line(self) -> Iterator[Party]:
        """This party and all that it is part of."""
        each: Party | None = self
        while each is not None:
            yield each
            each = each.within

    def hangs_on(self, others: list[Party]) -> bool:
        """Whether this party is one of the others or waits, over however many, for one of them."""
        return self in others or any(each.hangs_on(others) for each in self.waits_for)


_party: ContextVar[Party | None] = ContextVar("cache_backends_party", default=None)
"""A context variable, since tasks and LangChain's threads work for whoever started them in a copy of its context."""


@contextmanager
def party() -> Iterator[None]:
    """What is led inside the block, by its threads and tasks too, belongs together: none of it waits for another."""
    before = _party.get()
    mine = Party(current_party())
    _party.set(mine)
    try:
        yield
    finally:
        mine.over = True
        _party.set(before)  # no reset by token: a generator may be closed in another context


def current_party() -> Party | None:
    """The innermost party that is not over: a task may outlive the block that it was started in."""
    mine = _party.get()
    return None if mine is None else next((each for each in mine.line() if not each.over), None)
