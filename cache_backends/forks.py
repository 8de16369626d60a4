"""What is done around a fork, so that a child takes over no lock and no connection that belongs to its parent."""

from __future__ import annotations

import os
import weakref


class Forkable:
    """Something with locks, connections or unwritten notes that belong to one process."""

    def before_fork(self) -> None:
        """Called in the parent."""

    def after_fork_in_parent(self) -> None:
        """Called in the parent, to undo `before_fork`."""

    def after_fork_in_child(self) -> None:
        """Called in the child, before anything else: replace what is the parent's."""


_alive: weakref.WeakSet[Forkable] = weakref.WeakSet()


def tell_of_forks(forkable: Forkable) -> None:
    """Call its methods around every fork, for as long as somebody holds it."""
    _alive.add(forkable)


def _before() -> None:
    for forkable in list(_alive):
        forkable.before_fork()


def _in_parent() -> None:
    for forkable in list(_alive):
        forkable.after_fork_in_parent()


def _in_child() -> None:
    for forkable in list(_alive):
        forkable.after_fork_in_child()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
