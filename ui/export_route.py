"""Exports as downloads of any size: a route of the web server that streams them.

What Streamlit's own download button gives out lies in memory whole. A page makes a ticket for what it offers; whoever
has the link of one may download it, and nobody can guess one.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from cache_backends import CacheBackend, CacheError
from lab.entry_filter import EntryFilter
from lab.exporting import export_lines
from lab.strategies import StrategyUnavailableError

PATH = "entries-export"
MOST_TICKETS = 10_000
CHUNK_BYTES = 262_144


@dataclass(frozen=True)
class Ticket:
    """What may be downloaded by whoever has the link."""

    open_cache: Callable[[], CacheBackend]
    chosen: EntryFilter
    file_name: str


class Tickets:
    """Those that were given out, the oldest forgotten first."""

    def __init__(self) -> None:
        self._given: OrderedDict[str, Ticket] = OrderedDict()
        self._lock = threading.Lock()

    def give(self, ticket: Ticket) -> str:
        """What the link of a ticket ends with."""
        name = secrets.token_urlsafe(24)
        with self._lock:
            self._given[name] = ticket
            while len(self._given) > MOST_TICKETS:
                self._given.popitem(last=False)
        return name

    def get(self, name: str) -> Ticket | None:
        """The ticket of a link."""
        return self._given.get(name)


TICKETS = Tickets()
"""Of this process: pages make them, the route looks for them."""


def export(request: Request) -> Response:
    """The entries of a ticket, a line of JSON each."""
    ticket = TICKETS.get(request.path_params["ticket"])
    if ticket is None:
        return PlainTextResponse("This download is offered no more. Reload the page that offered it.\n", 404)
    try:
        cache = ticket.open_cache()
    except (CacheError, StrategyUnavailableError):
        return PlainTextResponse("The store can't be read now. Try again in a moment.\n", 503)
    return StreamingResponse(
        _in_chunks(export_lines(cache, ticket.chosen)),
        media_type="application/jsonl",
        headers={
            "Content-Disposition": f'attachment; filename="{ticket.file_name}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _in_chunks(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Many lines at a time: each step costs a hop to a thread."""
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line)
        if size >= CHUNK_BYTES:
            yield b"".join(chunk)
            chunk, size = [], 0
    if chunk:
        yield b"".join(chunk)


ROUTES = [Route(f"/{PATH}/{{ticket}}", export)]
