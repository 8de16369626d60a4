"""Calls that no timeout of their own covers."""

from __future__ import annotations

import socket
import threading

import pytest

from cache_backends import CacheUnavailableError, open_cache
from cache_backends.servers.bounded import bounded
from tests.cache_backends.answers import look

GUARD_S = 30


def never(made: object) -> None:
    """For what must not be discarded."""
    raise AssertionError(f"{made} was discarded")


def test_what_is_made_in_time_is_returned() -> None:
    assert bounded(lambda: "made", GUARD_S, never) == "made"


def test_nothing_can_be_made_too() -> None:
    assert bounded(lambda: None, GUARD_S, never) is None  # type: ignore[func-returns-value]


def test_what_fails_in_time_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        bounded(lambda: 1 / 0, GUARD_S, never)


def test_what_is_late_is_a_timeout_and_is_discarded_when_it_comes() -> None:
    go_on, discarded = threading.Event(), threading.Event()
    late: list[str] = []

    def make() -> str:
        assert go_on.wait(GUARD_S)
        return "late"

    def discard(made: str) -> None:
        late.append(made)
        discarded.set()

    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
        bounded(make, 0.01, discard)
    assert late == []
    go_on.set()
    assert discarded.wait(GUARD_S)
    assert late == ["late"]


def test_what_fails_late_is_a_timeout_all_the_same() -> None:
    go_on = threading.Event()

    def fail() -> None:
        assert go_on.wait(GUARD_S)
        raise ValueError("too late to matter")

    with pytest.raises(TimeoutError):
        bounded(fail, 0.01, never)
    go_on.set()


@pytest.mark.parametrize(
    "url", ["postgresql://db.example.test/cache", "redis://db.example.test", "redis+cluster://db.example.test"]
)
def test_a_name_that_cannot_be_looked_up_for_ever_is_a_server_that_does_not_answer(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        go_on.wait(GUARD_S)
        raise socket.gaierror("at last")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with open_cache(url, timeout=0.1) as cache:
            lookup = look(cache, "q")
            assert (lookup.outcome, lookup.error) == ("error", f"{url} did not answer within 0.1 s.")
            with pytest.raises(CacheUnavailableError, match="did not answer"):
                cache.ping()
    finally:
        go_on.set()
