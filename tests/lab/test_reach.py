"""Whether servers answer is found out in the background: nobody who looks waits, and what is back is seen to be."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from cache_backends import CacheUnavailableError, StoreAbout
from lab.reach import AGAIN_S, LOOK_AGAIN_S, SILENT_S, Reach, Standing, Work
from tests.lab.building import Clock
from tests.lab.made_up_server import LONG_S, MadeUpCache, MadeUpServer

ABOUT = StoreAbout("Redis", "7.0.15", "every_second", "appendonly yes, appendfsync everysec")


class Later:
    """Keeps work for later, in place of a thread."""

    def __init__(self) -> None:
        self.work: list[Work] = []

    def __call__(self, work: Work) -> None:
        self.work.append(work)

    def do(self) -> None:
        """Do what was kept."""
        todo, self.work = self.work, []
        for work in todo:
            work()


@pytest.fixture
def later() -> Later:
    return Later()


@pytest.fixture
def reach(clock: Clock, later: Later) -> Reach:
    return Reach(clock, later)


@pytest.fixture
def server() -> Iterator[MadeUpServer]:
    made = MadeUpServer()
    yield made
    made.let_go()


@pytest.fixture
def cache(server: MadeUpServer) -> MadeUpCache:
    return server.open("redis://h", {})


def test_a_server_is_asked_only_after_somebody_looked_and_by_somebody_else(
    reach: Reach, later: Later, server: MadeUpServer, cache: MadeUpCache
) -> None:
    assert reach.standing("one", cache) == Standing("asking")
    assert not server.asked.is_set()
    later.do()
    assert reach.standing("one", cache) == Standing("ready", about=ABOUT)


def test_whoever_looks_meanwhile_begins_nothing_more(reach: Reach, later: Later, cache: MadeUpCache) -> None:
    for _ in range(5):
        assert reach.standing("one", cache).state == "asking"
    assert len(later.work) == 1


def test_a_server_that_is_down_is_unreachable_with_its_reason(
    reach: Reach, later: Later, server: MadeUpServer, cache: MadeUpCache
) -> None:
    server.down = "redis://h does not answer"
    reach.standing("one", cache)
    later.do()
    assert reach.standing("one", cache) == Standing("unreachable", "redis://h does not answer")


def test_one_that_is_back_is_found_to_be_without_anybodys_help(
    reach: Reach, later: Later, server: MadeUpServer, cache: MadeUpCache, clock: Clock
) -> None:
    server.down = "down"
    reach.standing("one", cache)
    later.do()
    server.down = None
    clock.advance(AGAIN_S - 0.1)
    assert reach.standing("one", cache).state == "unreachable"
    assert later.work == []
    clock.advance(0.1)
    assert reach.standing("one", cache).state == "unreachable"
    later.do()
    assert reach.standing("one", cache) == Standing("ready", about=ABOUT)


def test_what_a_request_finds_is_believed_at_once(
    reach: Reach, later: Later, server: MadeUpServer, cache: MadeUpCache
) -> None:
    reach.standing("one", cache)
    later.do()
    server.down = "gone"
    assert cache.view(namespace="a").lookup("prompt", "model") is None
    assert reach.standing("one", cache) == Standing("unreachable", "gone")
    server.down = None
    assert cache.view(namespace="a").lookup("prompt", "model") is None
    assert reach.standing("one", cache).state == "ready"


def test_a_request_that_gets_through_ends_what_a_look_has_found(
    reach: Reach, later: Later, server: MadeUpServer, cache: MadeUpCache
) -> None:
    server.down = "down"
    reach.standing("one", cache)
    later.do()
    server.down = None
    assert cache.view(namespace="a").lookup("prompt", "model") is None
    assert reach.standing("one", cache).state == "ready"
    assert later.work == []


def test_one_that_answered_is_asked_again_now_and_then_when_somebody_looks(
    reach: Reach, later: Later, server: MadeUpServer, cache: MadeUpCache, clock: Clock
) -> None:
    reach.standing("one", cache)
    later.do()
    server.down = "went away unnoticed"
    clock.advance(LOOK_AGAIN_S)
    assert reach.standing("one", cache).state == "ready"
    later.do()
    assert reach.standing("one", cache).reason == "went away unnoticed"


def test_one_that_hangs_is_asking_at_first_and_then_counts_as_unreachable(
    reach: Reach, later: Later, cache: MadeUpCache, clock: Clock
) -> None:
    reach.standing("one", cache)
    clock.advance(SILENT_S - 0.1)
    assert reach.standing("one", cache).state == "asking"
    clock.advance(0.1)
    assert reach.standing("one", cache) == Standing("unreachable")
    clock.advance(1_000)
    reach.standing("one", cache)
    assert len(later.work) == 1, "no second thread hangs beside the first"
    later.do()
    assert reach.standing("one", cache).state == "ready"


def test_looking_at_a_server_that_hangs_takes_no_waiting(server: MadeUpServer, cache: MadeUpCache) -> None:
    server.hangs.set()
    reach = Reach()
    looked: list[Standing] = []
    looking = threading.Thread(target=lambda: looked.append(reach.standing("one", cache)))
    looking.start()
    looking.join(LONG_S / 2)
    assert [standing.state for standing in looked] == ["asking"]
    assert server.asked.wait(LONG_S)


def test_a_failure_that_the_cache_does_not_take_for_unreachable_is_told_too(
    reach: Reach, later: Later, cache: MadeUpCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> float:
        raise CacheUnavailableError("The tables could not be made")

    monkeypatch.setattr(cache, "ping", refuse)
    reach.standing("one", cache)
    later.do()
    assert reach.standing("one", cache) == Standing("unreachable", "The tables could not be made")


def test_one_that_keeps_to_itself_what_it_is_is_ready_all_the_same(
    reach: Reach, later: Later, server: MadeUpServer, cache: MadeUpCache
) -> None:
    server.about = CacheUnavailableError("no permission")
    reach.standing("one", cache)
    later.do()
    assert reach.standing("one", cache) == Standing("ready")


def test_of_a_new_handle_nothing_is_known_yet(
    reach: Reach, later: Later, server: MadeUpServer, cache: MadeUpCache
) -> None:
    reach.standing("one", cache)
    later.do()
    assert reach.standing("one", server.open("redis://h", {})).state == "asking"


def test_a_thread_that_the_system_refuses_is_asked_for_again(clock: Clock, later: Later, cache: MadeUpCache) -> None:
    refused = [True]

    def begin(work: Work) -> None:
        if refused.pop() if refused else False:
            raise RuntimeError("can't start new thread")
        later(work)

    reach = Reach(clock, begin)
    assert reach.standing("one", cache).state == "asking"
    assert reach.standing("one", cache).state == "asking"
    later.do()
    assert reach.standing("one", cache).state == "ready"
