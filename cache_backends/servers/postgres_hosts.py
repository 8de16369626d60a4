"""How PostgreSQL is connected to: the parameters of its driver, and which of several hosts is tried first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cache_backends.servers.address import Address


class Hosts:
    """The hosts of one address in the order in which they are tried, as the connections of a store have found them.

    The driver goes on to the next by itself where one refuses, but not within a short time where one does not answer.
    """

    def __init__(self, address: Address) -> None:
        self.in_order = address.hosts

    def hung(self, tried: tuple[tuple[str, int | None], ...]) -> None:
        """Begin with the next from now on, unless somebody else has found the same meanwhile."""
        if self.in_order is tried:
            self.in_order = (*tried[1:], tried[0])


def parameters(
    address: Address, hosts: tuple[tuple[str, int | None], ...], settings: Mapping[str, str], timeout_s: float
) -> dict[str, Any]:
    """What the driver connects by."""
    names, ports = zip(*hosts, strict=True)
    return {
        "application_name": "llm_cache",
        "client_encoding": "utf8",
        **settings,
        "host": ",".join(names),
        "port": ",".join(str(port or 5432) for port in ports),
        "dbname": address.database or None,
        "user": address.user,
        "password": address.password,
        "connect_timeout": max(2, int(timeout_s)),  # psycopg takes no less; `bounded` does
    }
