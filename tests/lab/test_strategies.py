"""Strategies: opened when needed, listed when they can't be, apart by namespace, and what a restart does to them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import BaseCache
from langchain_core.outputs import Generation

from cache_backends import CacheBackend, CacheConfigError, JSONFileCache, MemoryCache, SQLiteCache
from cache_backends.urls import SERVERS
from lab.reach import Standing
from lab.settings import StrategySettings
from lab.strategies import NO_CACHE, RETRY_AFTER_S, Strategies, StrategyUnavailableError
from tests.lab import foreign_caches
from tests.lab.building import CACHES, LANGCHAINS, OURS, Clock, quick_settings
from tests.lab.made_up_server import LONG_S, MadeUpServer

ANSWER = [Generation(text="An astronomer.")]
HERE = "tests.lab.foreign_caches"


def with_one(folder: Path, *, monotonic: Any = None, clock: Any = None, begin: Any = None, **values: Any) -> Strategies:
    """Strategies with a single one, called "one"."""
    clocks = {"monotonic": monotonic, "clock": clock, "begin": begin}
    settings = quick_settings(folder, strategies=[StrategySettings(name="one", **values)])
    return Strategies(settings, **{name: given for name, given in clocks.items() if given is not None})


def put(strategies: Strategies, name: str, namespace: str = "a", prompt: str = "prompt") -> BaseCache:
    cache = strategies.get(name, namespace).cache
    assert cache is not None
    cache.update(prompt, "model", ANSWER)
    return cache


def found(strategies: Strategies, name: str, namespace: str = "a", prompt: str = "prompt") -> bool:
    cache = strategies.get(name, namespace).cache
    assert cache is not None
    return cache.lookup(prompt, "model") is not None


def test_no_cache_comes_first_and_then_the_settings_in_their_order(strategies: Strategies) -> None:
    assert strategies.names == [NO_CACHE, "memory", "sqlite", "json", "langchain-memory", "langchain-sqlite"]
    assert [strategies.is_ours(name) for name in strategies.names] == [False, True, True, True, False, False]
    assert [strategies.survives_restart(name) for name in strategies.names] == [False, False, True, True, False, True]
    assert [strategies.problem(name) for name in strategies.names] == [None] * 6
    assert strategies.notices() == []


def test_the_default_strategies_are_what_they_are_called(strategies: Strategies) -> None:
    classes = [type(strategies.get(name, "a").cache).__name__ for name in CACHES]
    assert classes == ["MemoryCache", "SQLiteCache", "JSONFileCache", "InMemoryCache", "SQLiteCache"]
    assert isinstance(strategies.get("sqlite", "a").cache, SQLiteCache)
    assert not isinstance(strategies.get("langchain-sqlite", "a").cache, CacheBackend)
    assert strategies.get(NO_CACHE, "a").cache is None


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    Strategies(quick_settings(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_strategy_has_the_operators_title(tmp_path: Path) -> None:
    assert with_one(tmp_path, url="memory://", title="Fast").title("one") == "Fast"
    assert with_one(tmp_path, url="memory://").title("one") is None
    assert with_one(tmp_path, url="memory://").title(NO_CACHE) is None


def test_an_unknown_name_is_a_key_error(strategies: Strategies) -> None:
    for call in (strategies.get, strategies.restart):
        with pytest.raises(KeyError):
            call("nobody", "a")


@pytest.mark.parametrize(
    "folder", ["plain", "with space", "per%20cent", "ha#sh", "que?ry", "açaí 数", "a&b=c+d", "semi;colon"]
)
def test_the_data_folder_may_have_any_name(folder: str, tmp_path: Path) -> None:
    settings = quick_settings(tmp_path, data_dir=tmp_path / folder)
    strategies = Strategies(settings)
    for name in ("sqlite", "json", *LANGCHAINS[:1]):
        put(strategies, name)
        assert found(strategies, name)
    assert (tmp_path / folder / "cache.db").is_file()
    assert (tmp_path / folder / "answers").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [folder]


def test_a_relative_data_folder_is_below_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(Strategies(quick_settings(tmp_path, data_dir=Path("data"))), "sqlite")
    assert (tmp_path / "data" / "cache.db").is_file()


def test_options_reach_our_caches_and_foreign_ones(tmp_path: Path) -> None:
    ours = with_one(tmp_path, url="memory://?ttl=1h", options={"max_entries": 3, "strict": True, "ttl": None})
    cache = ours.get("one", "a").cache
    assert isinstance(cache, MemoryCache)
    assert (cache.max_entries, cache.strict, cache.ttl_s) == (3, True, 3600)
    options = {"path": "{data_dir}/x", "size": 3, "on": True}
    foreign = with_one(tmp_path, langchain=f"{HERE}.Plain", options=options).get("one", "a").cache
    assert isinstance(foreign, foreign_caches.Plain)
    assert foreign.options == {"path": f"{tmp_path / 'data'}/x", "size": 3, "on": True}


def test_a_time_to_live_of_the_request_wins_over_that_of_the_settings(tmp_path: Path, clock: Clock) -> None:
    strategies = with_one(tmp_path, url="memory://?ttl=1h", clock=clock)
    for ttl_s, lives_s in ((None, 3600), (10.0, 10)):
        cache = strategies.get("one", f"namespace {ttl_s}", ttl_s).cache
        assert cache is not None
        cache.update("prompt", "model", ANSWER)
        clock.advance(lives_s - 1)
        assert cache.lookup("prompt", "model")
        clock.advance(1)
        assert cache.lookup("prompt", "model") is None


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf")])
def test_a_time_to_live_that_cannot_be_makes_the_strategy_unavailable(ttl_s: float, strategies: Strategies) -> None:
    with pytest.raises(StrategyUnavailableError, match="time to live"):
        strategies.get("memory", "a", ttl_s)


@pytest.mark.parametrize("namespace", ["", "x" * 201, "\ud800"])
def test_a_namespace_that_cannot_be_makes_the_strategy_unavailable(namespace: str, strategies: Strategies) -> None:
    with pytest.raises(StrategyUnavailableError, match="namespace"):
        strategies.get("sqlite", namespace)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"url": "floppy:///a"}, "must begin with one of: memory://"),
        ({"url": "sqlite://"}, "names no path"),
        ({"url": "memory://?size=3"}, "Unknown option 'size'"),
        ({"url": "memory://", "options": {"max_entries": 0}}, "max_entries=0"),
        ({"url": "memory://", "options": {"clock": "x"}}, "clock"),
        ({"url": "sqlite:///{data_dir}"}, "is a folder"),
        ({"url": "json:///{data_dir}/file"}, "is a file"),
        ({"url": "sqlite:///{data_dir}/file/cache.db"}, "can't be used"),
        ({"langchain": "no_such_package.Cache"}, "no_such_package.Cache can't be imported: No module named"),
        ({"langchain": f"{HERE}.Missing"}, "Missing can't be imported"),
        ({"langchain": f"{HERE}.NoCache"}, "NoCache is no LangChain cache"),
        ({"langchain": f"{HERE}.NOT_A_CLASS"}, "NOT_A_CLASS is no LangChain cache"),
        ({"langchain": "langchain_core.caches.InMemoryCache", "options": {"size": 3}}, "size"),
        ({"langchain": "langchain_core.caches.BaseCache"}, "abstract"),
        ({"langchain": f"{HERE}.OpensLater"}, "no server at redis://app:[redacted]@cache"),
    ],
)
def test_what_cannot_be_opened_is_listed_with_its_reason(values: Any, reason: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("not a folder")
    strategies = with_one(tmp_path, **values)
    assert strategies.names == [NO_CACHE, "one"]
    problem = strategies.problem("one")
    assert problem is not None
    assert reason in problem
    for call in (strategies.get, strategies.restart):
        with pytest.raises(StrategyUnavailableError) as caught:
            call("one", "a")
        assert str(caught.value) == problem
    with pytest.raises(StrategyUnavailableError):
        strategies.forget("one", "a", "ab" * 32)


def test_a_newer_or_foreign_file_is_left_alone_and_told_of(tmp_path: Path, strategies: Strategies) -> None:
    (tmp_path / "data").mkdir()
    with sqlite3.connect(tmp_path / "data" / "cache.db") as connection:
        connection.execute("create table theirs (x)")
    problem = strategies.problem("sqlite")
    assert problem is not None
    assert "another program" in problem


def test_what_could_not_be_opened_is_left_alone_for_a_while_and_then_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monotonic = Clock()
    strategies = with_one(tmp_path, monotonic=monotonic, langchain=f"{HERE}.OpensLater")
    assert strategies.problem("one")
    monkeypatch.setattr(foreign_caches.OpensLater, "ready", True)
    monotonic.advance(RETRY_AFTER_S - 0.1)
    assert strategies.problem("one")
    monotonic.advance(0.1)
    assert strategies.problem("one") is None
    put(strategies, "one")
    assert found(strategies, "one")


def test_a_strategy_that_takes_long_to_open_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opening, go_on = threading.Event(), threading.Event()

    def slow(self: Any, **options: Any) -> None:
        opening.set()
        assert go_on.wait(60)

    monkeypatch.setattr(foreign_caches.NeverCleared, "__init__", slow)
    strategies = Strategies(
        quick_settings(
            tmp_path,
            strategies=[
                StrategySettings(name="slow", langchain=f"{HERE}.NeverCleared"),
                StrategySettings(name="memory", url="memory://"),
            ],
        )
    )
    thread = threading.Thread(target=strategies.problem, args=("slow",))
    thread.start()
    try:
        assert opening.wait(30)
        others: list[Any] = []
        other = threading.Thread(target=lambda: others.append(strategies.get("memory", "a")))
        other.start()
        other.join(10)
        assert len(others) == 1
    finally:
        go_on.set()
        thread.join()


@pytest.mark.parametrize("name", CACHES)
def test_many_who_need_a_strategy_at_once_get_the_same_store(name: str, strategies: Strategies) -> None:
    start = threading.Barrier(8)
    done: list[bool] = []

    def work(number: int) -> None:
        start.wait()
        put(strategies, name, prompt=f"prompt {number}")
        done.append(True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 8
    assert all(found(strategies, name, prompt=f"prompt {number}") for number in range(8))


@pytest.mark.parametrize("name", OURS)
def test_our_namespaces_are_apart(name: str, strategies: Strategies) -> None:
    put(strategies, name, "a")
    assert found(strategies, name, "a")
    assert not found(strategies, name, "b")
    strategies.remove_namespace(name, "b")
    assert found(strategies, name, "a")
    strategies.remove_namespace(name, "a")
    assert not found(strategies, name, "a")


@pytest.mark.parametrize("name", CACHES)
def test_a_restart_empties_memory_and_nothing_else(name: str, strategies: Strategies) -> None:
    put(strategies, name, "a")
    put(strategies, name, "b")
    strategies.restart(name, "a")
    assert found(strategies, name, "a") is strategies.survives_restart(name)
    assert strategies.survives_restart(name) is (name not in ("memory", "langchain-memory"))
    assert found(strategies, name, "b")


def test_a_restart_of_no_cache_does_nothing(strategies: Strategies) -> None:
    strategies.restart(NO_CACHE, "a")


@pytest.mark.parametrize("name", CACHES)
def test_what_is_in_flight_during_a_restart_is_not_lost(name: str, strategies: Strategies) -> None:
    in_flight = strategies.get(name, "a").cache
    assert in_flight is not None
    assert in_flight.lookup("prompt", "model") is None
    strategies.restart(name, "a")
    in_flight.update("prompt", "model", ANSWER)
    assert found(strategies, name, "a")


@pytest.mark.parametrize("name", ["sqlite", "json", "langchain-sqlite"])
def test_after_a_restart_the_store_is_opened_anew(name: str, strategies: Strategies) -> None:
    before = strategies.get(name, "a").cache
    strategies.restart(name, "a")
    after = strategies.get(name, "a").cache
    if isinstance(before, (SQLiteCache, JSONFileCache)):
        assert isinstance(after, CacheBackend)
        assert after.counters is not before.counters
    else:
        assert after is not before


def test_a_foreign_cache_in_memory_that_cannot_be_cleared_is_told_of(tmp_path: Path) -> None:
    strategies = with_one(tmp_path, langchain=f"{HERE}.NeverCleared", survives_restart=False)
    put(strategies, "one", "a")
    with pytest.raises(StrategyUnavailableError, match="can't be cleared"):
        strategies.restart("one", "a")


@pytest.mark.parametrize("name", OURS)
def test_one_entry_can_be_forgotten(name: str, strategies: Strategies) -> None:
    cache = put(strategies, name, "a")
    put(strategies, name, "a", "other prompt")
    assert isinstance(cache, CacheBackend)
    with cache.observe() as lookups:
        cache.lookup("prompt", "model")
    key = lookups[0].key
    assert key is not None
    assert not strategies.forget(name, "b", key)
    assert strategies.forget(name, "a", key)
    assert not strategies.forget(name, "a", key)
    assert not found(strategies, name, "a")
    assert found(strategies, name, "a", "other prompt")


def test_single_entries_of_langchains_caches_are_not_forgotten(strategies: Strategies) -> None:
    for name in (*LANGCHAINS, NO_CACHE):
        assert not strategies.forget(name, "a", "ab" * 32)


def test_a_store_that_fails_to_forget_is_unavailable(strategies: Strategies) -> None:
    cache = strategies.get("sqlite", "a").cache
    assert isinstance(cache, CacheBackend)
    strategies._opened["sqlite", ""].close()  # type: ignore[attr-defined]
    with pytest.raises(StrategyUnavailableError, match="closed"):
        strategies.forget("sqlite", "a", "ab" * 32)
    with pytest.raises(StrategyUnavailableError, match="closed"):
        strategies.remove_namespace("sqlite", "a")


def test_a_damaged_file_is_set_aside_and_told_of(tmp_path: Path, strategies: Strategies) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cache.db").write_bytes(b"this is no database at all" * 1000)
    put(strategies, "sqlite")
    assert found(strategies, "sqlite")
    assert len(strategies.notices()) == 1
    assert "damaged" in strategies.notices()[0]


def test_two_strategies_may_share_a_store(tmp_path: Path) -> None:
    settings = quick_settings(
        tmp_path,
        strategies=[
            StrategySettings(name="short", url="sqlite:///{data_dir}/cache.db?ttl=1s"),
            StrategySettings(name="long", url="sqlite:///{data_dir}/cache.db?ttl=1d"),
        ],
    )
    strategies = Strategies(settings)
    put(strategies, "long")
    assert found(strategies, "short")


# Servers

SERVER = "redis://:hunter2secret@cache:6379/0"


def at_once(work: Callable[[], None]) -> None:
    """In place of a thread."""
    work()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeUpServer]:
    made = MadeUpServer().install(monkeypatch)
    yield made
    made.let_go()


def test_a_strategy_on_a_server_is_ours_and_survives_a_restart(tmp_path: Path, server: MadeUpServer) -> None:
    strategies = with_one(tmp_path, url=SERVER)
    assert strategies.is_server("one")
    assert strategies.is_ours("one")
    assert strategies.survives_restart("one")
    assert strategies.scheme("one") == "redis"
    assert not any(strategies.is_server(name) for name in (NO_CACHE, "nobody"))
    assert not server.asked.is_set()


def test_only_servers_are_servers(strategies: Strategies) -> None:
    assert not any(strategies.is_server(name) for name in strategies.names)
    assert [strategies.scheme(name) for name in strategies.names] == [None, "memory", "sqlite", "json", None, None]


def test_opening_a_strategy_whose_server_is_down_is_no_problem_and_asking_it_is(
    tmp_path: Path, server: MadeUpServer
) -> None:
    server.down = f"{SERVER} does not answer"
    strategies = with_one(tmp_path, url=SERVER, begin=at_once)
    assert strategies.get("one", "a").cache is not None
    assert strategies.standing("one").state == "unreachable"
    assert strategies.problem("one") == "redis://:[redacted]@cache:6379/0 does not answer"


def test_a_server_that_is_down_is_a_miss_with_its_reason_and_recovers(tmp_path: Path, server: MadeUpServer) -> None:
    strategies = with_one(tmp_path, url=SERVER)
    server.down = "down"
    put(strategies, "one")
    assert not found(strategies, "one")
    server.down = None
    put(strategies, "one")
    assert found(strategies, "one")


def test_asking_how_a_server_stands_waits_for_nobody(tmp_path: Path, server: MadeUpServer) -> None:
    server.hangs.set()
    strategies = with_one(tmp_path, url=SERVER)
    problems: list[str | None] = []
    looking = threading.Thread(target=lambda: problems.append(strategies.problem("one")))
    looking.start()
    looking.join(LONG_S / 2)
    assert problems == [None]
    assert server.asked.wait(LONG_S)


def test_what_gives_no_answer_at_all_is_a_problem_too(tmp_path: Path, server: MadeUpServer) -> None:
    clock = Clock()
    strategies = with_one(tmp_path, url=SERVER, monotonic=clock, begin=lambda _: None)
    assert strategies.problem("one") is None
    clock.advance(60)
    assert strategies.problem("one") == "It gives no answer."


def test_a_restart_of_a_server_strategy_connects_anew_and_the_entries_are_there(
    tmp_path: Path, server: MadeUpServer
) -> None:
    strategies = with_one(tmp_path, url=SERVER, begin=at_once)
    put(strategies, "one")
    strategies.restart("one", "a")
    assert found(strategies, "one")
    before, after = server.opened
    assert before.state["closed"]
    assert not after.state["closed"]


def test_a_request_in_flight_keeps_its_connection_over_a_restart(tmp_path: Path, server: MadeUpServer) -> None:
    strategies = with_one(tmp_path, url=SERVER, begin=at_once)
    in_flight = strategies.get("one", "a").cache
    assert in_flight is not None
    strategies.restart("one", "a")
    in_flight.update("prompt", "model", ANSWER)
    assert found(strategies, "one")
    assert server.opened[0].state == {"trouble": None, "closed": False, "flushed": 1}


def test_a_restart_waits_for_no_server(tmp_path: Path, server: MadeUpServer) -> None:
    strategies = with_one(tmp_path, url=SERVER)
    held = strategies.get("one", "a").cache
    server.hangs.set()
    restarting = threading.Thread(target=strategies.restart, args=("one", "a"))
    restarting.start()
    restarting.join(LONG_S / 2)
    assert not restarting.is_alive()
    assert held is not None
    assert server.asked.wait(LONG_S), "uses are written, in the background"


def test_a_handle_apart_has_no_limits_and_is_none_of_the_requests(tmp_path: Path, server: MadeUpServer) -> None:
    strategies = with_one(tmp_path, url=SERVER, options={"max_entries": 3, "max_bytes": 1000})
    put(strategies, "one")
    apart = strategies.apart("one")
    assert isinstance(apart, CacheBackend)
    assert (apart.max_entries, apart.max_bytes) == (None, None)
    assert server.opened[0].max_entries == 3
    assert apart is server.opened[1]


@pytest.mark.parametrize(
    "url", ["redis://:hunter2/secret@cache", "redis://:hunter2 secret@cache", "redis://:hunter2@secret@cache"]
)
def test_a_url_whose_password_is_not_written_as_it_should_is_listed_without_it(
    url: str, tmp_path: Path, server: MadeUpServer
) -> None:
    problem = with_one(tmp_path, url=url).problem("one")
    assert problem is not None
    assert "%2F" in problem
    assert not [part for part in ("hunter2", "secret") if part in problem]
    assert server.opened == []


def test_no_message_of_a_server_shows_its_password(
    tmp_path: Path, server: MadeUpServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.down = "AUTH hunter2secret refused"
    strategies = with_one(tmp_path, url=SERVER, begin=at_once)
    told = [strategies.problem("one"), repr(strategies.get("one", "a"))]
    for call in (lambda: strategies.forget("one", "a", "ab" * 32), lambda: strategies.remove_namespace("one", "a")):
        with pytest.raises(StrategyUnavailableError) as caught:
            call()
        told.append(str(caught.value))
    assert not [text for text in told if text is None or "hunter2secret" in text]


def test_a_driver_that_is_not_installed_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_driver(url: str, options: dict[str, Any]) -> CacheBackend:
        raise CacheConfigError("redis is not installed, which this cache needs.")

    monkeypatch.setitem(SERVERS, "redis", without_driver)
    assert with_one(tmp_path, url=SERVER).standing("one") == Standing(
        "unusable", "redis is not installed, which this cache needs."
    )
