"""The laboratory: prompts that are refused, reasons that are right, and visitors who do not see each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from langchain_core.messages import AIMessage

from cache_backends import CacheBackend
from lab.explain import Explanation
from lab.laboratory import Answered, Laboratory, PromptError, Request
from lab.measurement import Measurement
from lab.settings import StrategySettings
from lab.strategies import NO_CACHE, StrategyUnavailableError
from tests.lab.building import CACHES, LANGCHAINS, OURS, SAGAN, Clock, ToldChat, as_model, endpoint, quick_settings
from tests.openai_server import OpenAIServer

PERSISTENT = ("sqlite", "json", "langchain-sqlite")
FLEETING = ("memory", "langchain-memory")


def request(strategy: str = "memory", **others: Any) -> Request:
    values: dict[str, Any] = {"prompt": SAGAN, "strategy": strategy, "model_id": "simulated"}
    return Request(**values | others)


def ask(laboratory: Laboratory, strategy: str = "memory", **others: Any) -> Answered:
    return laboratory.answer(request(strategy, **others))


def anew(laboratory: Laboratory, clock: Clock) -> Laboratory:
    """What a new process would make of the same data folder."""
    return Laboratory(laboratory.settings, clock=clock)


# Prompts


@pytest.mark.parametrize("prompt", ["", " ", "\n\t ", "\u3000\u2003", "\r\n"])
def test_an_empty_prompt_is_refused(prompt: str, laboratory: Laboratory) -> None:
    with pytest.raises(PromptError) as caught:
        laboratory.start(request(prompt=prompt))
    assert (caught.value.kind, caught.value.length) == ("empty", len(prompt))
    assert laboratory.history.totals("shared").requests == 0


def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(tmp_path: Path) -> None:
    laboratory = Laboratory(quick_settings(tmp_path, max_prompt_chars=100))
    with pytest.raises(PromptError) as caught:
        laboratory.start(request(prompt="x" * 1_000_000))
    assert str(caught.value) == "The prompt is too_long: 1,000,000 characters, at most 100 are allowed."
    assert (caught.value.kind, caught.value.length, caught.value.limit) == ("too_long", 1_000_000, 100)
    assert laboratory.check_prompt("x" * 100) == "x" * 100


@pytest.mark.parametrize(
    "prompt", ["with\0nul", "x" * 100_000, "\u202e", "ação 数 🚀", "half \ud83d", "  spaces around  "]
)
def test_any_other_prompt_is_asked_as_it_is_and_recorded(prompt: str, laboratory: Laboratory) -> None:
    job = laboratory.start(request("json", prompt=prompt))
    assert job.wait(30)
    assert job.result is not None
    assert job.result.measurement.failure is None
    assert job.result.measurement.prompt == prompt
    assert laboratory.history.totals("shared").requests == 1


# Jobs


def test_a_request_runs_as_a_job_whose_progress_is_the_answer(laboratory: Laboratory) -> None:
    job = laboratory.start(request("sqlite"))
    assert job.wait(30)
    assert job.result is not None
    assert "".join(job.progress) == job.result.measurement.answer
    assert job.result.explanation == Explanation("first_time")


def test_a_stopped_request_is_recorded_and_not_stored(tmp_path: Path) -> None:
    with OpenAIServer() as server:
        laboratory = Laboratory(quick_settings(tmp_path, endpoints=[endpoint(server)]))
        server.next("stalled")
        job = laboratory.start(request("json", model_id="local/gpt-4o-mini"))
        assert server.wait_until_held()
        job.stop()
        server.release()
        assert job.wait(30)
    assert job.result is not None
    assert job.result.measurement.failure == "stopped"
    assert job.result.explanation == Explanation("model_failed")
    assert laboratory.history.totals("shared").failures == 1


def test_what_nobody_waits_for_is_stored_and_recorded_all_the_same(tmp_path: Path) -> None:
    with OpenAIServer() as server:
        laboratory = Laboratory(quick_settings(tmp_path, endpoints=[endpoint(server)]))
        server.next("stalled")
        laboratory.start(request("json", model_id="local/gpt-4o-mini"))
        assert server.wait_until_held()
        server.release()
        laboratory.jobs.wait_for_all(30)
        assert laboratory.history.totals("shared").requests == 1
        assert ask(laboratory, "json", model_id="local/gpt-4o-mini").measurement.outcome == "hit"
        assert len(server.requests) == 1


# Reasons


@pytest.mark.parametrize("name", CACHES)
def test_asked_for_the_first_time_then_found(name: str, laboratory: Laboratory, clock: Clock) -> None:
    first = ask(laboratory, name)
    clock.advance(180)
    again = ask(laboratory, name)
    assert (first.measurement.outcome, first.explanation) == ("miss", Explanation("first_time"))
    assert again.measurement.outcome == "hit"
    assert again.explanation == Explanation("found", 180 if name in OURS else None)


@pytest.mark.parametrize("name", OURS)
def test_expired_ten_seconds_ago(name: str, laboratory: Laboratory, clock: Clock) -> None:
    assert ask(laboratory, name, ttl_s=60.0).measurement.stored
    clock.advance(70)
    late = ask(laboratory, name, ttl_s=60.0)
    assert late.explanation == Explanation("expired", 10)
    assert (late.measurement.outcome, late.measurement.stored) == ("expired", True)
    clock.advance(59)
    assert ask(laboratory, name).explanation == Explanation("found", 59)


@pytest.mark.parametrize("name", CACHES)
def test_memory_was_emptied_by_the_restart_and_the_others_were_not(
    name: str, laboratory: Laboratory, clock: Clock
) -> None:
    first = ask(laboratory, name)
    clock.advance(60)
    laboratory.restart(name, "shared", "simulated")
    clock.advance(5)
    after = ask(laboratory, name)
    if name in FLEETING:
        assert (after.measurement.outcome, after.explanation) == ("miss", Explanation("emptied_by_restart", 5))
        assert after.measurement.answer != first.measurement.answer
    else:
        assert (after.measurement.outcome, after.measurement.answer) == ("hit", first.measurement.answer)
    clock.advance(5)
    assert ask(laboratory, name).measurement.outcome == "hit"


@pytest.mark.parametrize("name", CACHES)
def test_a_new_process_finds_memory_empty_and_the_others_as_they_were(
    name: str, laboratory: Laboratory, clock: Clock
) -> None:
    first = ask(laboratory, name)
    clock.advance(60)
    process = anew(laboratory, clock)
    clock.advance(7)
    after = ask(process, name)
    if name in FLEETING:
        assert (after.measurement.outcome, after.explanation) == ("miss", Explanation("emptied_by_restart", 7))
    else:
        assert (after.measurement.outcome, after.measurement.answer) == ("hit", first.measurement.answer)


@pytest.mark.parametrize("name", OURS)
def test_removed_since(name: str, laboratory: Laboratory, clock: Clock) -> None:
    first = ask(laboratory, name)
    assert first.measurement.key is not None
    clock.advance(40)
    assert laboratory.forget(name, "shared", "simulated", first.measurement.key)
    assert not laboratory.forget(name, "shared", "simulated", first.measurement.key)
    after = ask(laboratory, name)
    assert after.measurement.outcome == "miss"
    assert after.explanation.reason == "removed_since"
    assert after.explanation.ago_s == pytest.approx(40 - first.measurement.total_s)


def test_memory_that_was_removed_after_the_restart_was_not_emptied_by_it(laboratory: Laboratory, clock: Clock) -> None:
    laboratory.restart("memory", "shared", "simulated")
    clock.advance(10)
    key = ask(laboratory).measurement.key
    assert key is not None
    clock.advance(10)
    laboratory.forget("memory", "shared", "simulated", key)
    assert ask(laboratory).explanation.reason == "removed_since"


def test_another_temperature_is_asked_for_the_first_time(laboratory: Laboratory) -> None:
    ask(laboratory)
    assert ask(laboratory, temperature=0.1).explanation == Explanation("first_time")


def test_no_cache_and_bypass_are_their_own_reasons(laboratory: Laboratory) -> None:
    assert ask(laboratory, NO_CACHE).explanation == Explanation("no_cache")
    assert ask(laboratory, bypass=True).explanation == Explanation("bypassed")
    assert ask(laboratory, NO_CACHE, bypass=True).explanation == Explanation("no_cache")
    assert ask(laboratory).explanation == Explanation("first_time")


def test_a_damaged_entry_is_the_reason(laboratory: Laboratory, tmp_path: Path) -> None:
    ask(laboratory, "json")
    (entry,) = (path for path in (tmp_path / "data" / "answers").rglob("*.json") if len(path.stem) == 64)
    entry.write_bytes(entry.read_bytes()[:-20])
    assert ask(laboratory, "json").explanation == Explanation("damaged")


def test_a_cache_that_fails_is_the_reason(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise OSError("disk on fire")

    monkeypatch.setattr("cache_backends.SQLiteCache._read", fail)
    failed = ask(laboratory, "sqlite")
    assert failed.explanation == Explanation("cache_failed")
    assert failed.measurement.detail is not None
    assert "disk on fire" in failed.measurement.detail
    assert "Sagan" in failed.measurement.answer


def test_an_answer_that_was_cut_off_is_never_there_again(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ToldChat(told=[AIMessage("Half an", response_metadata={"finish_reason": "length"})] * 2)
    monkeypatch.setattr(laboratory.models, "get", lambda *_: as_model(told))
    for _ in range(2):
        cut_off = ask(laboratory)
        assert (cut_off.measurement.not_stored, cut_off.explanation) == ("truncated", Explanation("first_time"))
        assert cut_off.measurement.answer == "Half an"


def test_a_model_that_fails_is_the_reason_and_the_next_try_is_the_first(tmp_path: Path, server: OpenAIServer) -> None:
    laboratory = Laboratory(quick_settings(tmp_path, endpoints=[endpoint(server)]))
    server.next("server_error")
    assert ask(laboratory, model_id="local/gpt-4o-mini").explanation == Explanation("model_failed")
    assert ask(laboratory, model_id="local/gpt-4o-mini").explanation == Explanation("first_time")


def test_another_endpoints_answer_is_not_said_to_have_been_there(tmp_path: Path) -> None:
    with OpenAIServer(seed=1) as here, OpenAIServer(seed=2) as there:
        endpoints = [endpoint(here, "here", kind="completion"), endpoint(there, "there", kind="completion")]
        laboratory = Laboratory(quick_settings(tmp_path, endpoints=endpoints))
        for place in ("here", "there"):
            for name in (*OURS, *LANGCHAINS):
                first = ask(laboratory, name, model_id=f"{place}/gpt-4o-mini")
                assert first.explanation == Explanation("first_time"), (place, name)


# What can't be asked


def test_a_strategy_that_cannot_be_opened_is_a_measurement_and_nothing_is_asked(
    tmp_path: Path, server: OpenAIServer
) -> None:
    strategies = [StrategySettings(name="gone", url="floppy:///a")]
    laboratory = Laboratory(quick_settings(tmp_path, endpoints=[endpoint(server)], strategies=strategies))
    asked = ask(laboratory, "gone", model_id="local/gpt-4o-mini")
    measured = asked.measurement
    assert (measured.failure, measured.outcome, measured.stored) == ("strategy_unavailable", "bypass", False)
    assert measured.detail is not None
    assert "floppy" in measured.detail
    assert asked.explanation == Explanation("strategy_unavailable")
    assert not server.requests
    assert laboratory.history.totals("shared").failures == 1
    for call in (laboratory.restart, lambda name, scope, model: laboratory.forget(name, scope, model, "ab" * 32)):
        with pytest.raises(StrategyUnavailableError):
            call("gone", "shared", "simulated")


@pytest.mark.parametrize("ttl_s", [-1.0, 0.0, float("nan")])
def test_a_time_to_live_that_cannot_be_is_told(ttl_s: float, laboratory: Laboratory) -> None:
    measured = ask(laboratory, ttl_s=ttl_s).measurement
    assert measured.failure == "strategy_unavailable"
    assert measured.detail is not None
    assert "time to live" in measured.detail


def test_a_model_without_its_key_is_a_measurement(laboratory: Laboratory) -> None:
    asked = ask(laboratory, model_id="openai/gpt-4o-mini")
    assert (asked.measurement.failure, asked.measurement.simulated) == ("no_key", False)
    assert asked.measurement.detail == "OpenAI needs a key, and none is given."
    assert asked.explanation == Explanation("model_failed")


def test_a_client_that_cannot_be_built_is_a_measurement_that_tells_no_key(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError("can't build a client with visitors-own-key")

    monkeypatch.setattr("lab.models._build", fail)
    measured = ask(laboratory, model_id="openai/gpt-4o-mini", visitor_key="visitors-own-key").measurement
    assert measured.failure == "other"
    assert measured.detail == "can't build a client with [redacted]"


def test_names_that_the_settings_do_not_have_are_key_errors(laboratory: Laboratory) -> None:
    for others in ({"strategy": "nobody"}, {"model_id": "nobody"}):
        with pytest.raises(KeyError):
            laboratory.answer(request(**others))
    assert laboratory.history.totals("shared").requests == 0


# Saved time and money


@pytest.mark.parametrize("name", CACHES)
def test_a_hit_says_what_it_saved_whatever_the_cache(name: str, laboratory: Laboratory) -> None:
    miss, hit = ask(laboratory, name).measurement, ask(laboratory, name).measurement
    assert miss.model_s is not None
    assert hit.lookup_s is not None
    assert hit.saved_s is not None
    if name in LANGCHAINS:
        assert hit.saved_s == miss.model_s - hit.lookup_s
    else:
        assert 0 < hit.saved_s + hit.lookup_s <= miss.total_s
    assert hit.saved_usd == miss.cost_usd
    totals = laboratory.history.totals("shared")
    assert (totals.saved_s, totals.saved_usd, totals.cost_usd) == (hit.saved_s, hit.saved_usd, miss.cost_usd)
    assert (totals.hits, totals.lookups, totals.requests) == (1, 2, 2)


def test_a_hit_whose_miss_nobody_recorded_saved_an_unknown_time(laboratory: Laboratory) -> None:
    ask(laboratory, "langchain-sqlite")
    laboratory.history.clear("shared")
    hit = ask(laboratory, "langchain-sqlite").measurement
    assert (hit.outcome, hit.saved_s) == ("hit", None)


# Whose it is


@pytest.mark.parametrize("name", CACHES)
def test_private_scopes_are_apart_in_store_and_history(name: str, laboratory: Laboratory) -> None:
    mine, theirs = ask(laboratory, name, scope="session-a"), ask(laboratory, name, scope="session-b")
    assert (mine.measurement.outcome, theirs.measurement.outcome) == ("miss", "miss")
    assert theirs.explanation == Explanation("first_time")
    assert ask(laboratory, name, scope="session-a").measurement.answer == mine.measurement.answer
    assert ask(laboratory, name, scope="session-b").measurement.answer == theirs.measurement.answer
    assert [laboratory.history.totals(scope).requests for scope in ("session-a", "session-b", "shared")] == [2, 2, 0]
    laboratory.restart(name, "session-a", "simulated")
    assert ask(laboratory, name, scope="session-b").measurement.outcome == "hit"


@pytest.mark.parametrize("name", CACHES)
def test_what_one_visitor_stored_in_the_shared_scope_another_finds(name: str, laboratory: Laboratory) -> None:
    first, other = laboratory.start(request(name)), None
    assert first.wait(30)
    other = laboratory.start(request(name))
    assert other.wait(30)
    assert first.result is not None
    assert other.result is not None
    assert other.result.measurement.outcome == "hit"
    assert other.result.measurement.answer == first.result.measurement.answer


def test_forgetting_and_removing_a_scope_leave_others_alone(laboratory: Laboratory) -> None:
    for name in CACHES:
        ask(laboratory, name, scope="mine")
        ask(laboratory, name, scope="theirs")
        laboratory.restart(name, "mine", "simulated")
        ask(laboratory, name, scope="mine")
    laboratory.remove_scope("mine", "simulated", OURS)
    assert laboratory.history.totals("mine").requests == 0
    assert laboratory.history.totals("theirs").requests == len(CACHES)
    for name in OURS:
        assert ask(laboratory, name, scope="mine").explanation == Explanation("first_time")
        assert ask(laboratory, name, scope="theirs").measurement.outcome == "hit"


def test_the_namespace_names_scope_and_endpoint(laboratory: Laboratory) -> None:
    spaces = {
        laboratory.namespace(scope, model)
        for scope in ("shared", "session-a")
        for model in ("simulated", "openai/gpt-4o-mini", "openai-completion/gpt-3.5-turbo-instruct")
    }
    assert len(spaces) == 6
    assert laboratory.namespace("shared", "openai/gpt-4o-mini") == laboratory.namespace("shared", "openai/gpt-4.1-mini")


# A history or store in trouble


def test_an_answer_is_not_lost_to_a_history_that_fails(laboratory: Laboratory) -> None:
    for name in CACHES:
        ask(laboratory, name)
    laboratory.history.close()
    for name in CACHES:
        measured = ask(laboratory, name).measurement
        assert (measured.outcome, measured.failure) == ("hit", None)
        assert ask(laboratory, name, temperature=0.1).measurement.stored


def test_an_answer_is_not_lost_to_a_strategy_that_goes_away_meanwhile(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(name: str) -> bool:
        raise StrategyUnavailableError("gone")

    monkeypatch.setattr(laboratory.strategies, "survives_restart", gone)
    assert ask(laboratory, "sqlite").measurement.stored


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[apsw.Connection]:
    """Another program with the SQLite store locked. By the same SQLite: two in one process do not see each other."""
    Laboratory(quick_settings(tmp_path)).strategies.get("sqlite", "a")
    connection = apsw.Connection(str(tmp_path / "data" / "cache.db"))
    connection.execute("begin immediate")
    yield connection
    connection.close()


def test_a_locked_store_costs_the_storing_and_nothing_else(
    locked: apsw.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_S", 0.01)
    laboratory = Laboratory(quick_settings(tmp_path))
    asked = ask(laboratory, "sqlite").measurement
    assert (asked.outcome, asked.failure, asked.stored, asked.not_stored) == ("miss", None, False, "error")
    assert "Sagan" in asked.answer
    assert asked.detail is not None
    locked.execute("rollback")
    assert ask(laboratory, "sqlite").measurement.stored


def test_what_stores_and_history_have_to_say_is_gathered(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("history.db", "cache.db"):
        (tmp_path / "data" / name).write_bytes(b"no database" * 1000)
    laboratory = Laboratory(quick_settings(tmp_path))
    assert len(laboratory.notices()) == 1
    assert ask(laboratory, "sqlite").measurement.stored
    assert len(laboratory.notices()) == 2
    assert all("damaged" in notice for notice in laboratory.notices())


def test_a_data_folder_that_cannot_be_made_leaves_memory_working(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    laboratory = Laboratory(quick_settings(tmp_path, data_dir=tmp_path / "file" / "data"))
    assert laboratory.history.problem is not None
    assert ask(laboratory).measurement.stored
    assert ask(laboratory).measurement.outcome == "hit"
    for name in PERSISTENT:
        asked: Measurement = ask(laboratory, name).measurement
        assert asked.failure == "strategy_unavailable", name
        assert asked.detail
    assert laboratory.history.totals("shared").requests == 2 + len(PERSISTENT)


def test_a_request_shows_no_key() -> None:
    shown = repr(request(visitor_key="sk-visitor-0123456789"))
    assert "visitor" not in shown
    assert SAGAN in shown


def test_hits_do_not_change_what_is_stored(laboratory: Laboratory) -> None:
    for name in OURS:
        key = ask(laboratory, name).measurement.key
        assert key is not None
        cache = laboratory.strategies.get(name, laboratory.namespace("shared", "simulated")).cache
        assert isinstance(cache, CacheBackend)
        before = cache.get(key)
        ask(laboratory, name)
        after = cache.get(key)
        assert before is not None
        assert after is not None
        assert (before.generations, before.created_at) == (after.generations, after.created_at)
        assert (before.hits, after.hits) == (0, 1)
