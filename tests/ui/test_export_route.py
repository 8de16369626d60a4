"""The route that streams exports: exactly what a ticket is for, and broken off where the store fails."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from cache_backends import CacheBackend, CacheUnavailableError, MemoryCache, open_cache
from lab.entry_filter import EntryFilter
from lab.importing import import_lines
from lab.strategies import StrategyUnavailableError
from tests.lab.entries import DOWN, Troubled, fill
from tests.lab.transfers import everything, store
from ui import export_route
from ui.export_route import PATH, ROUTES, TICKETS, Ticket, Tickets

ALL = EntryFilter()


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(Starlette(routes=ROUTES)) as made:
        yield made


@pytest.fixture
def cache() -> MemoryCache:
    return MemoryCache(namespace="mine")


def link(cache: CacheBackend, chosen: EntryFilter = ALL, file_name: str = "entries-memory.jsonl") -> str:
    return f"/{PATH}/{TICKETS.give(Ticket(lambda: cache, chosen, file_name))}"


def prompts(content: bytes) -> list[str]:
    return sorted(json.loads(line)["raw_prompt"] for line in content.splitlines())


@pytest.mark.parametrize("name", ["unknown", "%00", "..%2f..%2fetc%2fpasswd", "x" * 10_000, "é", "<script>"])
def test_a_link_that_nobody_made_offers_nothing(client: TestClient, name: str) -> None:
    answer = client.get(f"/{PATH}/{name}")
    assert answer.status_code == 404
    assert "script" not in answer.text


def test_a_ticket_streams_exactly_what_matches(client: TestClient, cache: MemoryCache) -> None:
    fill(cache, 700, prompt="apple")
    fill(cache, 3, prompt="pear")
    fill(cache.view(namespace="other"), 5, prompt="apple")
    answer = client.get(link(cache, EntryFilter(search="app")))
    assert answer.status_code == 200
    assert prompts(answer.content) == sorted(f"apple {number}" for number in range(700))


def test_what_was_downloaded_is_equal_in_another_store(client: TestClient, cache: MemoryCache, tmp_path: Any) -> None:
    fill(cache, 20)
    store(cache, "odd", "<script>\0\u202e" + "é" * 300_000)
    other = open_cache(f"json:///{tmp_path}/answers")
    result = import_lines(io.BytesIO(client.get(link(cache)).content), other)
    assert (result.imported, result.mistakes_in_all) == (21, 0)
    assert everything(other) == everything(cache)


def test_it_is_a_file_to_keep_and_not_a_page_to_open(client: TestClient, cache: MemoryCache) -> None:
    headers = client.get(link(cache)).headers
    assert headers["content-disposition"] == 'attachment; filename="entries-memory.jsonl"'
    assert headers["content-type"].startswith("application/jsonl")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_nothing_that_matches_is_an_empty_file(client: TestClient, cache: MemoryCache) -> None:
    answer = client.get(link(cache))
    assert (answer.status_code, answer.content) == (200, b"")


def test_it_comes_in_pieces_of_a_bounded_size(cache: MemoryCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_route, "CHUNK_BYTES", 100)
    lines = [b"x" * 30] * 10
    pieces = list(export_route._in_chunks(iter(lines)))
    assert b"".join(pieces) == b"".join(lines)
    assert [len(piece) for piece in pieces] == [120, 120, 60]


@pytest.mark.parametrize("error", [CacheUnavailableError(DOWN), StrategyUnavailableError(DOWN)])
def test_a_store_that_can_not_be_opened_says_so_and_no_secret(client: TestClient, error: Exception) -> None:
    def fail() -> CacheBackend:
        raise error

    answer = client.get(f"/{PATH}/{TICKETS.give(Ticket(fail, EntryFilter(), 'entries.jsonl'))}")
    assert answer.status_code == 503
    assert "can't be read now" in answer.text
    assert "hunter2secret" not in answer.text


@pytest.mark.parametrize("fails", [1, 2])
def test_a_store_that_fails_in_the_middle_breaks_the_download_off(client: TestClient, fails: int) -> None:
    cache = Troubled()
    fill(cache, 700)
    pages: list[int] = []

    def fail_then() -> None:
        pages.append(1)
        if len(pages) == fails:
            raise CacheUnavailableError("down")

    cache.on["entries"] = fail_then
    with pytest.raises(CacheUnavailableError):  # which the server makes a broken connection of, without an end
        client.get(link(cache))


def test_a_ticket_may_be_used_again(client: TestClient, cache: MemoryCache) -> None:
    fill(cache, 2)
    once = link(cache)
    assert client.get(once).content == client.get(once).content != b""


def test_what_is_stored_later_is_in_a_later_download(client: TestClient, cache: MemoryCache) -> None:
    once = link(cache)
    fill(cache, 2)
    assert len(prompts(client.get(once).content)) == 2


def test_tickets_are_bounded_and_the_oldest_is_forgotten(cache: MemoryCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_route, "MOST_TICKETS", 3)
    tickets = Tickets()
    ticket = Ticket(lambda: cache, EntryFilter(), "entries.jsonl")
    names = [tickets.give(ticket) for _ in range(5)]
    assert [tickets.get(name) is ticket for name in names] == [False, False, True, True, True]


def test_nobody_can_guess_a_link(cache: MemoryCache) -> None:
    names = {TICKETS.give(Ticket(lambda: cache, EntryFilter(), "entries.jsonl")) for _ in range(100)}
    assert len(names) == 100
    assert min(map(len, names)) >= 32
