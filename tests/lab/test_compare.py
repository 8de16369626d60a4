"""A comparison from its beginning to its end: kept as it was shown, nothing left behind, in turn, stopped, refused."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest
from langchain_core.outputs import Generation

from cache_backends import CacheBackend, CacheError
from lab import compare as compare_module
from lab.compare import (
    LEFT_AFTER_S,
    MOST,
    MOST_AT_ONCE,
    Begun,
    CompareJob,
    CompareRequestError,
    SummingUp,
    Timing,
    Waiting,
    running,
    start_comparison,
)
from lab.comparison import BLOCK, STORES_SHARE, CompareRequest, Run
from lab.jobs import TooManyJobsError
from lab.laboratory import Laboratory, PromptError, Request
from lab.race import Race, Raced
from lab.settings import Settings, StrategySettings
from lab.strategies import NO_CACHE
from lab.timing import Line, RoundsDone, Task, Timed, measure
from lab.timing_process import TimingFailedError
from tests.cache_backends.flights import until
from tests.lab.building import CACHES, LANGCHAINS, OURS, SAGAN, endpoint, files_below, quick_settings
from tests.openai_server import OpenAIServer

pytestmark = pytest.mark.filterwarnings("ignore:The default value of `allowed_objects`")

HERE = "tests.lab.foreign_caches"
KEY = "sk-visitors-own-1234567890"
LONG_S = 60.0
"""A bound on waiting: reached only where the test fails."""
REPEATS = 400
ROUNDS = REPEATS // BLOCK
FEW = 2 * BLOCK
"""Enough where it does not matter what the timings are."""


@contextlib.contextmanager
def laboratory_of(settings: Settings) -> Iterator[Laboratory]:
    made = Laboratory(settings)
    yield made
    for job in list(made.jobs._jobs.values()):
        job.stop()
    made.jobs.wait_for_all(LONG_S)
    made.runs.close()
    made.history.close()


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    """One whose comparisons keep real time, as `time.perf_counter` does."""
    with laboratory_of(quick_settings(tmp_path)) as made:
        yield made


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """Timing in this process instead of one of its own, which takes a second to begin; and what was to be timed."""
    tasks: list[Task] = []

    def timed(task: Task, stopping: Callable[[], bool]) -> Iterator[Line]:
        tasks.append(task)
        for line in measure(task):
            if stopping():
                return
            yield line

    monkeypatch.setattr(compare_module, "timed", timed)
    return tasks


@contextlib.contextmanager
def turn_held(laboratory: Laboratory) -> Iterator[None]:
    """As if another comparison were in work."""
    with laboratory.turns.turn(lambda _: None, lambda: False) as is_mine:
        assert is_mine
        yield


def request_of(*strategies: str, **changes: Any) -> CompareRequest:
    values: dict[str, Any] = {
        "prompt": SAGAN,
        "strategies": strategies or (NO_CACHE, *CACHES),
        "model_id": "simulated",
        "scope": "shared",
        "repeats": FEW,
    }
    return CompareRequest(**values | changes)


def result_of(job: CompareJob) -> Run:
    assert job.wait(LONG_S)
    assert job.error is None
    assert job.result is not None
    return job.result


def compared(laboratory: Laboratory, request: CompareRequest) -> Run:
    return result_of(start_comparison(laboratory, request))


def problems_of(run: Run) -> dict[str, str | None]:
    return {each.strategy: each.problem for each in run.compared}


def left_behind(laboratory: Laboratory) -> dict[str, int]:
    """How many entries there are in every store, whatever their namespace."""
    strategies, folder = laboratory.strategies, laboratory.settings.data_dir
    left: dict[str, int] = {}
    for name in OURS:
        cache = strategies._opened.get((name, ""))
        left[name] = cache.stats().entries if isinstance(cache, CacheBackend) else 0
    left["json files"] = len(list((folder / "answers").glob("*/*/*.json")))
    left["langchain-memory"] = sum(place[0] == "langchain-memory" for place in strategies._opened)
    if (folder / "langchain.db").exists():
        with contextlib.closing(apsw.Connection(str(folder / "langchain.db"))) as connection:
            left["langchain-sqlite"] = connection.execute("select count(*) from full_llm_cache").get
    return {name: entries for name, entries in left.items() if entries}


# From its beginning to its end


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Laboratory, CompareJob, Run]]:
    """One comparison of everything, with a process of its own for the timing."""
    with laboratory_of(quick_settings(tmp_path_factory.mktemp("whole"))) as laboratory:
        job = start_comparison(laboratory, request_of(visitor_key=KEY, repeats=REPEATS))
        yield laboratory, job, result_of(job)


Whole = tuple[Laboratory, CompareJob, Run]


def test_every_strategy_is_measured_to_the_end(whole: Whole) -> None:
    _, _, run = whole
    assert problems_of(run) == dict.fromkeys((NO_CACHE, *CACHES))
    assert not run.stopped
    assert run.simulated
    for each in run.compared[1:]:
        calls = [(len(timings.rounds), timings.failures) for timings in (each.lookups, each.invokes, each.stores)]
        assert calls == [(ROUNDS, 0), (ROUNDS, 0), (ROUNDS // STORES_SHARE, 0)]
        assert {len(seconds) for seconds in each.lookups.rounds + each.invokes.rounds + each.stores.rounds} == {BLOCK}
        assert each.lookups.first_s is not None
        assert each.cold is not None
        assert each.warm is not None
        assert (each.cold.outcome, each.warm.outcome) == ("miss", "hit")


def test_of_no_cache_there_is_a_race_and_nothing_to_time(whole: Whole) -> None:
    none = whole[2].compared[0]
    assert none.cold is not None
    assert none.warm is None
    assert none.lookups.summary is None


def test_every_cache_has_a_ratio_to_the_first_one(whole: Whole) -> None:
    _, _, run = whole
    assert run.baseline is not None
    assert run.baseline.strategy == CACHES[0]
    assert {*run.ratios} == {*CACHES[1:]}
    assert all(0 < ratio.low <= ratio.value <= ratio.high for ratio in run.ratios.values())


def test_what_is_known_of_the_stores_is_in_the_result(whole: Whole) -> None:
    of = {each.strategy: each for each in whole[2].compared}
    assert {name: each.survives_restart for name, each in of.items()} == {
        NO_CACHE: None, "memory": False, "sqlite": True, "json": True, "langchain-memory": False,
        "langchain-sqlite": True,
    }  # fmt: skip
    assert {name: each.shared_between_machines for name, each in of.items()} == {NO_CACHE: None} | dict.fromkeys(
        OURS, False
    ) | dict.fromkeys(LANGCHAINS)
    assert {name for name, each in of.items() if each.entry_bytes is not None} == {*OURS}


def test_the_result_is_kept_under_the_jobs_id_as_it_was_shown(whole: Whole) -> None:
    laboratory, job, run = whole
    assert run.id == job.id
    assert laboratory.runs.get(job.id) == run
    assert [kept.id for kept in laboratory.runs.newest("shared", 10)] == [job.id]


def test_a_run_that_is_kept_is_removed_when_it_is_removed(laboratory: Laboratory, here: list[Task]) -> None:
    run = compared(laboratory, request_of("memory"))
    assert laboratory.runs.remove(run.id)
    assert running(laboratory, run.id) is None
    assert laboratory.runs.get(run.id) is None


def test_no_entry_is_left_in_any_store(whole: Whole) -> None:
    assert left_behind(whole[0]) == {}


def test_a_visitors_key_is_in_no_result_and_in_no_file(whole: Whole) -> None:
    laboratory, _, run = whole
    assert run.request == request_of(visitor_key=None, repeats=REPEATS)
    assert not [path for path, content in files_below(laboratory.settings.data_dir) if KEY.encode() in content]


def test_progress_goes_from_the_strategies_over_the_race_to_the_rounds(whole: Whole) -> None:
    progress = whole[1].progress
    of = ROUNDS + ROUNDS // STORES_SHARE
    assert progress[0] == Begun((NO_CACHE, *CACHES), "shared")
    raced = [(step.act, step.strategy) for step in progress if isinstance(step, Raced)]
    assert raced == [("cold", name) for name in (NO_CACHE, *CACHES)] + [("warm", name) for name in CACHES]
    assert progress[1 + len(raced) :] == [*(Timing(done, of) for done in range(of + 1)), SummingUp()]


def test_what_a_killed_process_left_in_the_stores_is_removed_by_the_next_comparison_after_a_while(
    laboratory: Laboratory, here: list[Task]
) -> None:
    for age_s, namespace in ((LEFT_AFTER_S + 60, "compare-old:simulated"), (60, "compare-new:simulated")):
        laboratory.runs.note_namespace(namespace, time.time() - age_s)
        for name in ("memory", "sqlite", "json"):
            cache = laboratory.strategies.get(name, namespace).cache
            assert cache is not None
            cache.update("q", "model", [Generation(text="left")])
    compared(laboratory, request_of("memory"))
    for name in ("memory", "sqlite", "json"):
        cache = laboratory.strategies.get(name, "x").cache
        assert isinstance(cache, CacheBackend)
        assert cache.namespaces() == ["compare-new:simulated"]
    assert laboratory.runs.left_namespaces(time.time()) == ["compare-new:simulated"]


def test_a_large_answer_is_not_stored_over_and_over_to_be_timed(
    laboratory: Laboratory, here: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_module, "MOST_STORED_BYTES", 1_000)
    compared(laboratory, request_of("memory"))
    assert [task.store_rounds for task in here] == [0]


def test_more_comparisons_than_can_wait_are_refused_so_that_questions_go_on(laboratory: Laboratory) -> None:
    with turn_held(laboratory):
        jobs = [start_comparison(laboratory, request_of("memory")) for _ in range(MOST_AT_ONCE - 1)]
        until(lambda: laboratory.turns.taken == MOST_AT_ONCE)
        with pytest.raises(TooManyJobsError, match="waiting already"):
            start_comparison(laboratory, request_of("memory"))
        for job in jobs:
            job.stop()
            assert job.wait(LONG_S)


# What others have stored


def test_what_others_have_stored_stays(laboratory: Laboratory, here: list[Task]) -> None:
    for name in CACHES:
        laboratory.answer(Request(prompt=SAGAN, strategy=name, model_id="simulated"))
    compared(laboratory, request_of())
    again = [laboratory.answer(Request(prompt=SAGAN, strategy=name, model_id="simulated")) for name in CACHES]
    assert [answered.measurement.outcome for answered in again] == ["hit"] * len(CACHES)


def test_the_race_is_cold_though_the_prompt_was_asked_and_compared_before(
    laboratory: Laboratory, here: list[Task]
) -> None:
    for _ in range(2):
        run = compared(laboratory, request_of())
        assert {each.cold.outcome for each in run.compared[1:] if each.cold is not None} == {"miss"}
    first, second = here
    assert first.namespace != second.namespace


def test_a_comparison_is_not_in_the_history(laboratory: Laboratory, here: list[Task]) -> None:
    compared(laboratory, request_of())
    assert laboratory.history.totals("shared").requests == 0


# Endpoints


def test_hits_of_a_real_endpoints_model_are_found_in_the_process_and_it_is_asked_once(
    tmp_path: Path, server: OpenAIServer
) -> None:
    settings = quick_settings(tmp_path, endpoints=[endpoint(server)])
    with laboratory_of(settings) as laboratory:
        run = compared(laboratory, request_of("memory", "langchain-memory", model_id="local/gpt-4o-mini"))
    assert problems_of(run) == {"memory": None, "langchain-memory": None}
    assert [each.invokes.failures for each in run.compared] == [0, 0]
    assert not run.simulated
    assert len(server.requests) == 1


def test_the_process_is_given_no_key(tmp_path: Path, server: OpenAIServer, here: list[Task]) -> None:
    settings = quick_settings(tmp_path, endpoints=[endpoint(server), endpoint(server, "other", api_key="sk-other-1")])
    with laboratory_of(settings) as laboratory:
        run = compared(laboratory, request_of("memory", model_id="local/gpt-4o-mini", visitor_key=server.api_key))
    assert problems_of(run) == {"memory": None}
    (task,) = here
    written = orjson.dumps(task).decode()
    assert server.api_key not in written
    assert "sk-other-1" not in written
    assert [strategy["name"] for strategy in task.settings["strategies"]] == ["memory"]


@pytest.mark.parametrize("ask_each", [False, True])
def test_without_a_key_every_strategy_says_so_and_nobody_is_asked(
    ask_each: bool, tmp_path: Path, server: OpenAIServer, here: list[Task]
) -> None:
    settings = quick_settings(tmp_path, endpoints=[endpoint(server, api_key=None, needs_key=True)])
    with laboratory_of(settings) as laboratory:
        run = compared(laboratory, request_of(model_id="local/gpt-4o-mini", ask_each=ask_each))
        assert laboratory.runs.get(run.id) == run
    assert [*problems_of(run)] == [NO_CACHE, *CACHES]
    assert all("needs a key" in str(problem) for problem in problems_of(run).values())
    assert {(each.cold, each.lookups.summary) for each in run.compared} == {(None, None)}
    assert (len(server.requests), here) == (0, [])


# Problems


def test_a_strategy_that_can_not_be_opened_is_listed_with_its_reason_and_the_others_are_measured(
    tmp_path: Path, here: list[Task]
) -> None:
    strategies = [
        StrategySettings(name="broken", langchain=f"{HERE}.OpensLater"),
        StrategySettings(name="folder", url="sqlite:///{data_dir}"),
        StrategySettings(name="memory", url="memory://"),
    ]
    settings = quick_settings(tmp_path, strategies=strategies)
    settings.data_dir.mkdir()
    with laboratory_of(settings) as laboratory:
        run = compared(laboratory, request_of("broken", "folder", "memory"))
    assert [each.strategy for each in run.compared] == ["broken", "folder", "memory"]
    problems = problems_of(run)
    assert problems["broken"] == "no server at redis://app:[redacted]@cache:6379/0"
    assert "is a folder" in str(problems["folder"])
    assert problems["memory"] is None
    assert [each.strategy for each in run.failed] == ["broken", "folder"]
    assert [each.strategy for each in run.measured] == ["memory"]


def test_where_no_strategy_can_be_opened_nothing_is_asked(tmp_path: Path, here: list[Task]) -> None:
    settings = quick_settings(tmp_path, strategies=[StrategySettings(name="broken", langchain=f"{HERE}.Missing")])
    with laboratory_of(settings) as laboratory:
        run = compared(laboratory, request_of("broken"))
    assert "can't be imported" in str(run.compared[0].problem)
    assert run.compared[0].cold is None
    assert here == []


@pytest.mark.parametrize(
    ("kind", "problem"), [("FindsNothing", "not found again"), ("FailsLater", "lost redis://app:[redacted]@cache")]
)
def test_a_strategy_that_does_not_keep_the_answer_is_not_timed_and_says_why(
    kind: str, problem: str, tmp_path: Path, here: list[Task]
) -> None:
    strategies = [
        StrategySettings(name="one", langchain=f"{HERE}.{kind}", survives_restart=False),
        StrategySettings(name="memory", url="memory://"),
    ]
    with laboratory_of(quick_settings(tmp_path, strategies=strategies)) as laboratory:
        run = compared(laboratory, request_of("one", "memory"))
    assert problem in str(problems_of(run)["one"])
    assert problems_of(run)["memory"] is None
    assert [task.strategies for task in here] == [("memory",)]


def test_a_model_that_fails_is_the_problem_of_every_strategy(
    tmp_path: Path, server: OpenAIServer, here: list[Task]
) -> None:
    settings = quick_settings(tmp_path, endpoints=[endpoint(server, api_key="sk-wrong")])
    with laboratory_of(settings) as laboratory:
        run = compared(laboratory, request_of(model_id="local/gpt-4o-mini"))
    assert all(problem is not None for problem in problems_of(run).values())
    assert {each.cold.failure for each in run.compared if each.cold is not None} == {"wrong_key"}
    assert here == []


def test_a_process_that_fails_is_the_problem_of_all_it_should_have_timed(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(task: Task, stopping: Callable[[], bool]) -> Iterator[Line]:
        yield Timed(strategy="memory", what="lookup", number=0, seconds=[0.5], failures=3)
        raise TimingFailedError("MemoryError")

    monkeypatch.setattr(compare_module, "timed", timed)
    run = compared(laboratory, request_of(NO_CACHE, "memory", "sqlite"))
    assert problems_of(run) == {NO_CACHE: None, "memory": "MemoryError", "sqlite": "MemoryError"}
    assert run.compared[1].lookups.rounds == [[0.5]]
    assert run.compared[1].lookups.failures == 3
    assert left_behind(laboratory) == {}


def test_the_warm_up_is_in_no_timings_but_its_first_call_is_named(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(task: Task, stopping: Callable[[], bool]) -> Iterator[Line]:
        for number, seconds in ((-2, []), (-1, [9.0, 8.0]), (0, [1.0, 2.0]), (1, [3.0])):
            yield Timed(strategy="memory", what="store", number=number, seconds=seconds, failures=1)

    monkeypatch.setattr(compare_module, "timed", timed)
    stores = compared(laboratory, request_of("memory")).compared[0].stores
    assert (stores.rounds, stores.first_s, stores.failures) == ([[1.0, 2.0], [3.0]], 9.0, 2)


def test_a_comparison_that_can_not_be_kept_has_its_result_all_the_same(
    laboratory: Laboratory, here: list[Task], caplog: pytest.LogCaptureFixture
) -> None:
    (laboratory.settings.data_dir / "comparisons.db").mkdir(parents=True)
    run = compared(laboratory, request_of("memory"))
    assert run.measured
    assert "a comparison could not be kept" in caplog.text
    with pytest.raises(CacheError):
        laboratory.runs.get(run.id)


def test_a_prompt_with_half_a_character_is_compared_and_kept(laboratory: Laboratory, here: list[Task]) -> None:
    run = compared(laboratory, request_of("memory", "langchain-memory", prompt="half \ud83d of a pair"))
    kept = laboratory.runs.get(run.id)
    assert kept is not None
    assert kept.request.prompt == "half ? of a pair"
    assert all(each.problem is not None for each in run.compared[:1])


# Stopped


def test_one_that_is_stopped_while_it_times_keeps_what_was_measured_and_says_so(laboratory: Laboratory) -> None:
    job = start_comparison(laboratory, request_of("memory", "sqlite", "langchain-sqlite", repeats=10_000_000))
    until(lambda: any(isinstance(step, Timing) and step.done >= 2 for step in job.progress) or job.finished)
    job.stop()
    run = result_of(job)
    assert run.stopped
    assert all(len(each.lookups.rounds) >= 2 for each in run.compared)
    assert all(each.warm is not None for each in run.compared)
    assert laboratory.runs.get(job.id) == run
    assert laboratory.runs.newest("shared", 1)[0].stopped
    assert left_behind(laboratory) == {}


def test_one_that_is_stopped_in_the_race_is_not_timed(
    laboratory: Laboratory, here: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    race = Race.run

    def run_and_stop(self: Race) -> Any:
        job.stop()
        return race(self)

    monkeypatch.setattr(Race, "run", run_and_stop)
    with turn_held(laboratory):  # the race does not begin before there is a job
        job = start_comparison(laboratory, request_of())
    run = result_of(job)
    assert run.stopped
    assert here == []
    assert {each.lookups.summary for each in run.compared} == {None}
    assert left_behind(laboratory) == {}


# In turn


def test_two_at_once_run_one_after_the_other_and_the_second_says_that_it_waits(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[str] = []
    most: list[int] = []

    def timed(task: Task, stopping: Callable[[], bool]) -> Iterator[Line]:
        inside.append(task.namespace)
        most.append(len(inside))
        yield RoundsDone(done=1, of=1)
        inside.remove(task.namespace)

    monkeypatch.setattr(compare_module, "timed", timed)
    with turn_held(laboratory):
        first = start_comparison(laboratory, request_of("memory"))
        until(lambda: Waiting(1) in first.progress)
        second = start_comparison(laboratory, request_of("memory"))
        until(lambda: Waiting(2) in second.progress)
        assert (first.progress[1:], second.progress[1:]) == ([Waiting(1)], [Waiting(2)])
    runs = [result_of(job) for job in (first, second)]
    assert runs[0].began_at <= runs[1].began_at
    assert most == [1, 1]
    assert [kept.id for kept in laboratory.runs.newest("shared", 10)] == [second.id, first.id]


def test_one_that_is_stopped_while_it_waits_asks_nobody_and_is_not_kept(
    laboratory: Laboratory, here: list[Task]
) -> None:
    with turn_held(laboratory):
        job = start_comparison(laboratory, request_of())
        until(lambda: Waiting(1) in job.progress)
        job.stop()
        run = result_of(job)
    assert run.stopped
    assert [each.strategy for each in run.compared] == [NO_CACHE, *CACHES]
    assert {(each.cold, each.lookups.summary) for each in run.compared} == {(None, None)}
    assert laboratory.runs.get(job.id) is None
    assert here == []


def test_a_strategy_that_is_named_twice_is_compared_once(laboratory: Laboratory, here: list[Task]) -> None:
    run = compared(laboratory, request_of("memory", "memory"))
    assert [each.strategy for each in run.compared] == ["memory"]


def test_one_that_breaks_gives_its_turn_on_and_leaves_nothing_behind(
    laboratory: Laboratory, here: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(task: Task, stopping: Callable[[], bool]) -> Iterator[Line]:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(compare_module, "timed", broken)
        job = start_comparison(laboratory, request_of())
        assert job.wait(LONG_S)
    assert isinstance(job.error, ZeroDivisionError)
    assert left_behind(laboratory) == {}
    assert compared(laboratory, request_of("memory")).measured


# Refused


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"prompt": ""}, PromptError),
        ({"prompt": " \n "}, PromptError),
        ({"prompt": "x" * 1_000_000}, PromptError),
        ({"strategies": ()}, CompareRequestError),
        ({"strategies": ("memory",) * (MOST + 1)}, CompareRequestError),
        ({"strategies": ("memory", "nobody's")}, KeyError),
        ({"model_id": "nobody's"}, KeyError),
    ],
)
def test_what_can_not_be_compared_is_refused_before_anything_begins(
    changes: dict[str, Any], error: type[Exception], laboratory: Laboratory
) -> None:
    with pytest.raises(error):
        start_comparison(laboratory, replace(request_of(), **changes))
    assert laboratory.jobs._jobs == {}


@pytest.mark.parametrize(("strategies", "kind"), [((), "no_strategies"), (("memory",) * 21, "too_many")])
def test_a_refusal_says_how_many_strategies_there_may_be(
    strategies: tuple[str, ...], kind: str, laboratory: Laboratory
) -> None:
    with pytest.raises(CompareRequestError, match="1 to 20 strategies") as caught:
        start_comparison(laboratory, replace(request_of(), strategies=strategies))
    assert caught.value.kind == kind


def test_of_a_job_that_is_no_comparison_there_is_none_running(laboratory: Laboratory) -> None:
    job = laboratory.jobs.start(lambda job: "something else")
    assert job.wait(LONG_S)
    assert running(laboratory, job.id) is None
    assert running(laboratory, "unknown") is None
