"""The guided demo: the same story every time, and nothing left of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cache_backends import CacheBackend, CacheUnavailableError
from lab.demo import DEMO_TTL_S, DemoStep, demo_strategies, play, start_demo
from lab.jobs import Job
from lab.laboratory import Laboratory, PromptError, Request
from lab.settings import StrategySettings
from tests.lab.building import SAGAN, Clock, endpoint, quick_settings
from tests.lab.made_up_server import MadeUpServer
from tests.openai_server import OpenAIServer

REQUEST = Request(prompt=SAGAN, strategy="memory", model_id="simulated")
ACTS = ["first", "again", "restart", "after_restart"]
LONG_S = 30.0


def story(steps: list[DemoStep] | None) -> list[tuple[str, str, str | None]]:
    assert steps is not None
    return [
        (step.strategy, step.act, None if step.measurement is None else step.measurement.shown_outcome)
        for step in steps
    ]


WHOLE = [
    (strategy, act, outcome)
    for strategy, last in (("memory", "miss"), ("sqlite", "hit"), ("json", "hit"))
    for act, outcome in zip(ACTS, ("miss", "hit", None, last), strict=True)
]


def leftovers(laboratory: Laboratory) -> list[str]:
    """Namespaces of any demo that still hold something."""
    found = []
    for name in demo_strategies(laboratory):
        cache = laboratory.strategies.get(name, "check").cache
        assert isinstance(cache, CacheBackend)
        found += [namespace for namespace in cache.namespaces() if namespace.startswith("demo-")]
    return found


def played(laboratory: Laboratory, stop: Callable[[Job[DemoStep, Any]], None] = lambda job: None) -> list[DemoStep]:
    job: Job[DemoStep, list[DemoStep]] = Job()
    show = job.show

    def show_and_stop(step: DemoStep) -> None:
        show(step)
        stop(job)

    job.show = show_and_stop  # type: ignore[method-assign]
    return play(laboratory, REQUEST, job)


def test_the_story_goes_the_same_way_every_time(laboratory: Laboratory) -> None:
    for _ in range(2):
        job = start_demo(laboratory, REQUEST)
        assert job.wait(LONG_S)
        assert story(job.result) == WHOLE
        assert job.result == job.progress


def test_what_visitors_have_stored_changes_nothing_and_stays(laboratory: Laboratory) -> None:
    for name in demo_strategies(laboratory):
        laboratory.answer(Request(prompt=SAGAN, strategy=name, model_id="simulated"))
    before = laboratory.history.totals("shared")
    assert story(played(laboratory)) == WHOLE
    assert laboratory.history.totals("shared") == before
    for name in demo_strategies(laboratory):
        asked = laboratory.answer(Request(prompt=SAGAN, strategy=name, model_id="simulated"))
        assert asked.measurement.outcome == "hit", name


def test_answers_are_told_as_they_were(laboratory: Laboratory) -> None:
    measured = {(step.strategy, step.act): step.measurement for step in played(laboratory)}
    for name in demo_strategies(laboratory):
        first, again, after = (measured[name, act] for act in ("first", "again", "after_restart"))
        assert first is not None
        assert again is not None
        assert after is not None
        assert first.answer == again.answer
        assert (after.answer == first.answer) is (name != "memory")
        assert first.scope.startswith("demo-")


def test_nothing_is_left_of_it(laboratory: Laboratory) -> None:
    scopes = {step.measurement.scope for step in played(laboratory) if step.measurement is not None}
    assert len(scopes) == 1
    assert leftovers(laboratory) == []
    for scope in scopes:
        assert laboratory.history.totals(scope).requests == 0
    assert laboratory._restarted_at == {}


@pytest.mark.parametrize("after", range(1, 13))
def test_it_can_be_stopped_after_any_step_and_leaves_nothing(after: int, laboratory: Laboratory) -> None:
    steps = played(laboratory, lambda job: job.stop() if len(job.progress) == after else None)
    assert story(steps) == WHOLE[:after]
    assert leftovers(laboratory) == []


def test_it_can_be_stopped_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    with OpenAIServer() as server:
        laboratory = Laboratory(quick_settings(tmp_path, endpoints=[endpoint(server)]))
        server.next("ok", "stalled")
        prompt_of_second = Request(prompt=SAGAN, strategy="memory", model_id="local/gpt-4o-mini")
        job = start_demo(laboratory, prompt_of_second)
        assert server.wait_until_held()
        job.stop()
        server.release()
        assert job.wait(LONG_S)
    assert story(job.result)[-1] == ("memory", "restart", None)
    assert leftovers(laboratory) == []


def test_an_unusable_prompt_is_refused_before_anything_begins(laboratory: Laboratory) -> None:
    with pytest.raises(PromptError):
        start_demo(laboratory, Request(prompt=" ", strategy="memory", model_id="simulated"))


def test_only_strategies_that_the_settings_have_are_played(tmp_path: Path) -> None:
    settings = quick_settings(
        tmp_path,
        strategies=[
            StrategySettings(name="json", url="json:///{data_dir}/answers"),
            StrategySettings(name="other", url="memory://"),
        ],
    )
    steps = played(Laboratory(settings))
    assert story(steps) == [entry for entry in WHOLE if entry[0] == "json"]


def test_a_strategy_that_cannot_be_opened_fails_once_and_the_others_are_played(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cache.db").mkdir()
    laboratory = Laboratory(quick_settings(tmp_path))
    steps = played(laboratory)
    assert story(steps) == [*WHOLE[:4], ("sqlite", "first", "error"), *WHOLE[8:]]
    failed = steps[4].measurement
    assert failed is not None
    assert failed.failure == "strategy_unavailable"


def test_a_model_without_its_key_is_not_asked_over_and_over(laboratory: Laboratory) -> None:
    job: Job[DemoStep, list[DemoStep]] = Job()
    request = Request(prompt=SAGAN, strategy="memory", model_id="openai/gpt-4o-mini")
    steps = play(laboratory, request, job)
    assert story(steps) == [(name, "first", "error") for name in demo_strategies(laboratory)]


def test_what_cannot_be_removed_is_logged_and_the_story_stands(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: CacheBackend, **kwargs: Any) -> None:
        raise CacheUnavailableError("the store is locked")

    removed: list[str] = []
    monkeypatch.setattr("cache_backends.SQLiteCache.clear", refuse)
    monkeypatch.setattr(laboratory.history, "clear", removed.append)
    assert story(played(laboratory)) == WHOLE
    assert "the store is locked" in caplog.text
    assert len(removed) == 1
    assert [namespace.partition("-")[0] for namespace in leftovers(laboratory)] == ["demo"]


def test_what_cannot_be_removed_is_over_after_an_hour(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr("cache_backends.SQLiteCache.clear", lambda self, **kwargs: None)
    played(laboratory)
    (namespace,) = leftovers(laboratory)
    cache = laboratory.strategies.get("sqlite", namespace).cache
    assert isinstance(cache, CacheBackend)
    assert cache.stats().expired == 0
    clock.advance(DEMO_TTL_S)
    assert cache.stats().expired == cache.stats().entries == 1


def test_it_is_played_on_servers_too_and_one_that_is_down_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = MadeUpServer().install(monkeypatch)
    names = (("memory", "memory://"), ("redis", "redis://here"), ("far", "redis://here"), ("mysql", "mysql://there"))
    down = MadeUpServer().install(monkeypatch, "mysql")
    down.down = "out of reach"
    strategies = [StrategySettings(name=name, url=url) for name, url in names]
    laboratory = Laboratory(quick_settings(tmp_path, strategies=strategies))
    assert demo_strategies(laboratory) == ["memory", "redis", "mysql"]
    steps = played(laboratory)
    assert [outcome for name, _, outcome in story(steps) if name == "redis"] == ["miss", "hit", None, "hit"]
    assert [outcome for name, _, outcome in story(steps) if name == "mysql"] == ["error", "error", None, "error"]
    assert all(step.measurement is None or step.measurement.answer for step in steps)
    assert not server.entries.held


def test_two_demos_at_once_do_not_disturb_each_other(laboratory: Laboratory) -> None:
    start = threading.Barrier(2)
    told: list[list[DemoStep]] = []

    def work() -> None:
        start.wait()
        told.append(played(laboratory))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [story(steps) for steps in told] == [WHOLE, WHOLE]
    assert leftovers(laboratory) == []
