"""Who is watching: hands each lookup and store to the `observe()` blocks around it.

A module-level context variable holding mutable lists is seen by every path of LangChain: `invoke`, `ainvoke`,
`batch` with its threads, chains. A variable set inside `lookup` is not, and one kept on an instance can't be copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from cache_backends.records import Lookup, Store


class Observed(list[Lookup]):
    """Every lookup made inside one `observe()` block, in the order they ended; `stores` likewise."""

    def __init__(self, store_identity: object, namespace: str) -> None:
        super().__init__()
        self.stores: list[Store] = []
        self._store_identity = store_identity
        self._namespace = namespace

    def watches(self, store_identity: object, namespace: str) -> bool:
        """Whether this block belongs to that store and namespace."""
        return self._store_identity is store_identity and self._namespace == namespace


observers: ContextVar[tuple[Observed, ...]] = ContextVar("cache_backends_observers", default=())
"""The blocks around the running code: empty where making records would be for nobody."""


@contextmanager
def observing(store_identity: object, namespace: str) -> Iterator[Observed]:
    """Collect what happens in one namespace of one store until the block ends."""
    observed = Observed(store_identity, namespace)
    token = observers.set((*observers.get(), observed))
    try:
        yield observed
    finally:
        observers.reset(token)


def note_lookup(store_identity: object, namespace: str, lookup: Lookup) -> None:
    """Hand a lookup to everyone who watches."""
    for observed in observers.get():
        if observed.watches(store_identity, namespace):
            observed.append(lookup)


def note_store(store_identity: object, namespace: str, store: Store) -> None:
    """Hand a store to everyone who watches."""
    for observed in observers.get():
        if observed.watches(store_identity, namespace):
            observed.stores.append(store)
