"""The health of every store: what is found out, and what is told of one that is down, hangs or keeps badly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.outputs import Generation

from cache_backends import CacheBackend, CacheUnavailableError
from cache_backends.urls import SERVERS
from lab.health import PINGS, Health, HealthJob, check_all, checked
from lab.jobs import Job
from lab.laboratory import Laboratory, Request
from lab.settings import Settings, StrategySettings
from lab.strategies import NO_CACHE, Strategies
from tests.lab.building import OURS, SAGAN, Clock, quick_settings
from tests.lab.made_up_server import LONG_S, MadeUpCache, MadeUpServer

URL = "redis://:hunter2secret@cache:6379/0"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeUpServer]:
    made = MadeUpServer().install(monkeypatch)
    yield made
    made.let_go()


def settings(folder: Path, **options: Any) -> Settings:
    """A server between two that are always there."""
    return quick_settings(
        folder,
        strategies=[
            StrategySettings(name="memory", url="memory://"),
            StrategySettings(name="redis", url=URL, options=options),
            StrategySettings(name="sqlite", url="sqlite:///{data_dir}/cache.db"),
        ],
    )


def check(strategies: Strategies, *namespaces: str, patience_s: float = LONG_S, **others: Any) -> dict[str, Health]:
    """What a check finds out, by strategy."""
    job: HealthJob = others.pop("job", None) or Job()
    return {found.strategy: found for found in check_all(strategies, namespaces, job, patience_s=patience_s, **others)}


def test_every_strategy_is_looked_at_in_its_order_and_no_cache_is_none(laboratory: Laboratory) -> None:
    strategies = laboratory.strategies
    assert [NO_CACHE, *checked(strategies)] == strategies.names
    assert list(check(strategies)) == checked(strategies)


@pytest.mark.parametrize("name", OURS)
def test_a_store_that_is_well_is_told_whole(name: str, laboratory: Laboratory, clock: Clock) -> None:
    laboratory.answer(Request(prompt=SAGAN, strategy=name, model_id="simulated"))
    found = check(laboratory.strategies, "shared:simulated", "shared:elsewhere", clock=clock)[name]
    assert (found.state, found.reason, found.checked_at) == ("answers", None, clock.now)
    assert len(found.round_trips_s) == PINGS
    assert found.round_trip_s == sorted(found.round_trips_s)[PINGS // 2] > 0
    assert (found.trial, found.trial_detail) == ("kept", None)
    assert found.about is not None
    assert found.about.product
    assert found.stats is not None
    assert found.stats.entries == 1
    assert found.stats.size_bytes > 0
    assert found.stats.newest == clock.now


def test_langchains_own_caches_cannot_be_asked(laboratory: Laboratory) -> None:
    found = check(laboratory.strategies)
    for name in ("langchain-memory", "langchain-sqlite"):
        assert (found[name].state, found[name].round_trip_s, found[name].trial) == ("foreign", None, None)


@pytest.mark.parametrize("name", OURS)
def test_a_check_leaves_nothing_behind(name: str, laboratory: Laboratory) -> None:
    laboratory.answer(Request(prompt=SAGAN, strategy=name, model_id="simulated"))
    check(laboratory.strategies, "shared:simulated")
    cache = laboratory.strategies.get(name, "check").cache
    assert isinstance(cache, CacheBackend)
    assert cache.namespaces() == ["shared:simulated"]


def test_a_server_says_what_it_is_and_what_a_crash_may_lose(tmp_path: Path, server: MadeUpServer) -> None:
    found = check(Strategies(settings(tmp_path)))["redis"]
    assert found.state == "answers"
    assert found.about == server.about
    assert found.trial == "kept"
    assert server.pings == PINGS + 1, "the first one connects, and is not timed"


def test_a_server_is_asked_by_a_handle_of_its_own_which_is_closed(tmp_path: Path, server: MadeUpServer) -> None:
    strategies = Strategies(settings(tmp_path, max_entries=1))
    cache = strategies.get("redis", "a").cache
    assert cache is not None
    cache.update("prompt", "model", [Generation(text="An astronomer.")])
    check(strategies)
    ours, own = server.opened
    assert own.state["closed"]
    assert not ours.state["closed"]
    assert cache.lookup("prompt", "model"), "the trial evicts nobody's answers"


def test_a_server_that_is_back_is_found_to_be_and_requests_no_longer_leave_it_alone(
    tmp_path: Path, server: MadeUpServer
) -> None:
    strategies = Strategies(settings(tmp_path))
    used = strategies.get("redis", "a").cache
    assert isinstance(used, MadeUpCache)
    server.down = "down"
    assert used.lookup("prompt", "model") is None
    assert used.trouble == "down"
    server.down = None
    assert check(strategies)["redis"].state == "answers"
    assert used.trouble is None


def test_a_server_that_is_down_is_told_with_its_reason_and_the_next_one_is_looked_at(
    tmp_path: Path, server: MadeUpServer
) -> None:
    server.down = f"{URL} refused hunter2secret"
    found = check(Strategies(settings(tmp_path)))
    down = found["redis"]
    assert (down.state, down.round_trips_s, down.about, down.trial, down.stats) == ("unreachable", (), None, None, None)
    assert down.reason == "redis://:[redacted]@cache:6379/0 refused [redacted]"
    assert found["sqlite"].state == "answers"


def test_what_cannot_be_opened_is_told_with_its_reason(tmp_path: Path) -> None:
    strategies = [
        StrategySettings(name="one", url="sqlite:///{data_dir}"),
        StrategySettings(name="two", url="memory://"),
    ]
    (tmp_path / "data").mkdir()
    found = check(Strategies(quick_settings(tmp_path, strategies=strategies)))
    assert found["one"].state == "unusable"
    assert "is a folder" in str(found["one"].reason)
    assert found["two"].state == "answers"


def test_a_server_that_hangs_costs_its_time_and_no_more(tmp_path: Path, server: MadeUpServer) -> None:
    server.hangs.set()
    found = check(Strategies(settings(tmp_path)), patience_s=0.2)
    assert (found["redis"].state, found["redis"].round_trips_s) == ("silent", ())
    assert found["sqlite"].state == "answers"


def test_what_takes_long_to_open_is_waited_for(
    tmp_path: Path, server: MadeUpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()

    def open_slowly(url: str, options: dict[str, Any]) -> CacheBackend:
        opened.wait(0.3)  # longer than the patience: nobody sets it
        return server.open(url, options)

    monkeypatch.setitem(SERVERS, "redis", open_slowly)
    assert check(Strategies(settings(tmp_path)), patience_s=0.2)["redis"].state == "answers"


def test_of_a_server_that_hangs_later_on_it_is_told_what_was_found_out(tmp_path: Path, server: MadeUpServer) -> None:
    def hang() -> None:
        server.hangs.set()
        server.answer()

    server.at_stats = hang
    found = check(Strategies(settings(tmp_path)), "a", patience_s=1)["redis"]
    assert found.state == "silent"
    assert found.about == server.about
    assert found.trial == "kept"
    assert found.stats is None


def test_what_a_server_keeps_to_itself_is_told_and_the_rest_shown(tmp_path: Path, server: MadeUpServer) -> None:
    server.about = CacheUnavailableError("no permission for CONFIG")
    found = check(Strategies(settings(tmp_path)))["redis"]
    assert (found.state, found.about, found.reason) == ("answers", None, "no permission for CONFIG")
    assert found.trial == "kept"
    assert found.stats is not None


@pytest.mark.parametrize("strict", [False, True])
def test_a_store_that_refuses_an_answer_is_caught(tmp_path: Path, strict: bool) -> None:
    options = {"max_bytes": 10, "strict": strict}
    one = StrategySettings(name="one", url="memory://", options=options)
    found = check(Strategies(quick_settings(tmp_path, strategies=[one])))["one"]
    assert found.state == "answers"
    assert found.trial == "not_stored"
    assert "all of the cache may have 10" in str(found.trial_detail)


def test_a_store_that_loses_an_answer_is_caught(tmp_path: Path, server: MadeUpServer) -> None:
    server.reads = lambda found: None
    assert check(Strategies(settings(tmp_path)))["redis"].trial == "not_found"


def test_a_store_that_changes_an_answer_is_caught(tmp_path: Path, server: MadeUpServer) -> None:
    other = [Generation(text="Another one.")]

    def change(found: Any) -> Any:
        import orjson

        from cache_backends.codec import encode

        return found and found._replace(answers=orjson.loads(encode(other)))

    server.reads = change
    assert check(Strategies(settings(tmp_path)))["redis"].trial == "changed"


def test_a_store_that_does_not_remove_is_caught(tmp_path: Path, server: MadeUpServer) -> None:
    server.removes = False
    assert check(Strategies(settings(tmp_path)))["redis"].trial == "not_removed"


def test_a_check_can_be_stopped_even_while_a_server_hangs(
    laboratory: Laboratory, tmp_path: Path, server: MadeUpServer
) -> None:
    server.hangs.set()
    strategies = Strategies(settings(tmp_path))
    job = laboratory.jobs.start(lambda job: check_all(strategies, [], job, patience_s=LONG_S))
    assert server.asked.wait(LONG_S)
    job.stop()
    assert job.wait(LONG_S / 2)
    assert [found.strategy for found in job.result or []] == ["memory"]


def test_what_is_found_out_is_seen_while_the_check_goes_on(
    laboratory: Laboratory, tmp_path: Path, server: MadeUpServer
) -> None:
    server.hangs.set()
    strategies = Strategies(settings(tmp_path))
    job = laboratory.jobs.start(lambda job: check_all(strategies, [], job, patience_s=LONG_S))
    assert server.asked.wait(LONG_S)
    assert [found.strategy for found in job.progress] == ["memory"]
    server.let_go()
    assert job.wait(LONG_S)
    assert [found.state for found in job.progress] == ["answers"] * 3


def test_the_laboratory_counts_what_a_scope_holds_at_all_its_models(laboratory: Laboratory) -> None:
    for scope in ("shared", "session-1"):
        laboratory.answer(Request(prompt=SAGAN, strategy="sqlite", model_id="simulated", scope=scope))
    laboratory.answer(Request(prompt="Another", strategy="sqlite", model_id="simulated"))
    job = laboratory.check_health("shared")
    assert job.wait(LONG_S)
    (found,) = (found for found in job.result or [] if found.strategy == "sqlite")
    assert found.stats is not None
    assert found.stats.entries == 2


def test_no_thread_is_left_after_a_check(tmp_path: Path, server: MadeUpServer) -> None:
    before = set(threading.enumerate())
    check(Strategies(settings(tmp_path)))
    for thread in set(threading.enumerate()) - before:
        thread.join(LONG_S)
        assert not thread.is_alive()
