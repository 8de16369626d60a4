"""Timing caches: what is timed and what is not, what is given up, and the process of its own that does it."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.outputs import Generation

from cache_backends.codec import encode
from lab import timing_process
from lab.ask import ask
from lab.models import Models
from lab.observed_cache import Exchange
from lab.settings import Settings, StrategySettings
from lab.simulated import SimulatedChatModel
from lab.strategies import NO_CACHE, Strategies, Strategy
from lab.timing import (
    ENOUGH_FAILURES,
    LINE,
    NOT_FOUND,
    Line,
    OnlyHits,
    Opened,
    Problem,
    RoundsDone,
    Task,
    Timed,
    main,
    measure,
)
from lab.timing_process import TimingFailedError, timed
from tests.lab.building import CACHES, OURS, SAGAN, Counting, quick_settings
from tests.lab.made_up_server import MadeUpServer

pytestmark = pytest.mark.filterwarnings("ignore:The default value of `allowed_objects`")

HERE = "tests.lab.foreign_caches"
SERVER = "redis://:hunter2secret@cache:6379/0"
NAMESPACE = "compare-1:simulated"
ROUNDS, STORE_ROUNDS, BLOCK, WARM_UP = 3, 2, 4, 2
MANY = 1_000_000


def exchange_of(settings: Settings, prompt: str = SAGAN) -> Exchange:
    """What LangChain asks a cache for, and what it stores there."""
    model = Models(settings).get("simulated", 0.7)
    exchanges: list[Exchange] = []
    ask(model, Strategy(NO_CACHE, None, NAMESPACE), prompt, exchanged=exchanges.append)
    return exchanges[0]


def task_of(settings: Settings, strategies: Sequence[str] = CACHES, **changes: Any) -> Task:
    exchange = exchange_of(settings)
    values: dict[str, Any] = {
        "settings": settings.model_dump(mode="json"),
        "strategies": tuple(strategies),
        "namespace": NAMESPACE,
        "model_id": "simulated",
        "temperature": 0.7,
        "prompt": SAGAN,
        "cached_prompt": exchange.prompt,
        "llm_string": exchange.llm_string,
        "answer": encode(exchange.generations).decode(),
        "rounds": ROUNDS,
        "store_rounds": STORE_ROUNDS,
        "block": BLOCK,
    }
    return Task(**values | changes)


def with_one(folder: Path, **values: Any) -> Settings:
    """Settings with a strategy called "one", and one in memory."""
    one, memory = StrategySettings(name="one", **values), StrategySettings(name="memory", url="memory://")
    return quick_settings(folder, strategies=[one, memory])


def timed_of(lines: Sequence[Line], strategy: str) -> list[Timed]:
    return [line for line in lines if isinstance(line, Timed) and line.strategy == strategy]


def problems_of(lines: Sequence[Line]) -> dict[str, str]:
    return {line.strategy: line.reason for line in lines if isinstance(line, Problem)}


# What is timed


def test_every_strategy_is_opened_before_anything_is_timed(tmp_path: Path) -> None:
    lines = list(measure(task_of(quick_settings(tmp_path))))
    opened = lines[: len(CACHES)]
    assert [(type(line), line.strategy) for line in opened if not isinstance(line, RoundsDone)] == [
        (Opened, name) for name in CACHES
    ]
    assert not [line for line in lines[len(CACHES) :] if isinstance(line, (Opened, Problem))]


def test_the_size_of_an_entry_is_known_of_our_own_caches(tmp_path: Path) -> None:
    lines = list(measure(task_of(quick_settings(tmp_path))))
    sizes = {line.strategy: line.entry_bytes for line in lines if isinstance(line, Opened)}
    assert {name for name, size in sizes.items() if size is not None and size > 50} == {*OURS}


def test_hits_and_stores_of_every_strategy_are_timed_and_the_warm_up_is_marked(tmp_path: Path) -> None:
    lines = list(measure(task_of(quick_settings(tmp_path))))
    for name in CACHES:
        found = timed_of(lines, name)
        assert Counter((line.what, line.number < 0) for line in found) == {
            ("lookup", True): WARM_UP,
            ("lookup", False): ROUNDS,
            ("invoke", True): WARM_UP,
            ("invoke", False): ROUNDS,
            ("store", True): WARM_UP,
            ("store", False): STORE_ROUNDS,
        }
        assert {(len(line.seconds), line.failures) for line in found} == {(BLOCK, 0)}
        assert all(seconds > 0 for line in found for seconds in line.seconds)
        assert [line.number for line in found if line.what == "lookup"] == [-2, -1, 0, 1, 2]


def test_rounds_are_told_of_as_they_are_done(tmp_path: Path) -> None:
    lines = list(measure(task_of(quick_settings(tmp_path))))
    of = ROUNDS + STORE_ROUNDS
    assert [line for line in lines if isinstance(line, RoundsDone)] == [
        RoundsDone(done=done, of=of) for done in range(1, of + 1)
    ]
    assert lines[-1] == RoundsDone(done=of, of=of)


def test_a_whole_call_takes_longer_than_the_lookup_in_it(tmp_path: Path) -> None:
    lines = list(measure(task_of(quick_settings(tmp_path), ["memory"])))
    least = {
        what: min(seconds for line in timed_of(lines, "memory") if line.what == what for seconds in line.seconds)
        for what in ("lookup", "invoke")
    }
    assert least["invoke"] > least["lookup"]


@pytest.mark.parametrize("name", ["sqlite", "json", "langchain-sqlite"])
def test_all_that_was_stored_is_in_the_namespace_of_the_run(name: str, tmp_path: Path) -> None:
    settings = quick_settings(tmp_path)
    task = task_of(settings, [name])
    list(measure(task))
    strategies = Strategies(settings)
    prompts = [task.cached_prompt, *(f"{task.cached_prompt}\n{number}" for number in range(BLOCK))]
    qualified = f"{NAMESPACE}\n{task.llm_string}" if name.startswith("langchain") else task.llm_string

    def found(namespace: str, llm_string: str) -> list[bool]:
        cache = strategies.get(name, namespace).cache
        assert cache is not None
        return [bool(cache.lookup(prompt, llm_string)) for prompt in prompts]

    assert all(found(NAMESPACE, qualified))
    assert not any(found("shared:simulated", task.llm_string))


def test_the_answer_does_not_expire_while_it_is_timed(tmp_path: Path) -> None:
    lines = list(measure(task_of(with_one(tmp_path, url="memory://?ttl=0.000001s"), ["one"])))
    assert problems_of(lines) == {}
    assert sum(line.failures for line in timed_of(lines, "one")) == 0


# What is not


def test_a_miss_never_reaches_the_model() -> None:
    model = Counting(place="here")
    with pytest.raises(LookupError, match=NOT_FOUND):
        model.model_copy(update={"cache": OnlyHits(InMemoryCache(), lambda text: text)}).invoke(SAGAN)
    assert model.calls == []


def test_a_hit_comes_from_the_cache_in_the_namespace_of_the_run() -> None:
    inner, model = InMemoryCache(), Counting(place="here")
    asked: list[str] = []

    def qualify(llm_string: str) -> str:
        asked.append(llm_string)
        return "qualified"

    inner.update(SAGAN, "qualified", [Generation(text="An astronomer.")])
    assert model.model_copy(update={"cache": OnlyHits(inner, qualify)}).invoke(SAGAN) == "An astronomer."
    assert len(asked) == 1
    assert model.calls == []


@pytest.mark.parametrize("kind", ["FailsLater", "ForgetsLater"])
def test_the_model_is_not_asked_where_an_answer_is_lost(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(with_one(tmp_path, langchain=f"{HERE}.{kind}", survives_restart=False), ["one", "memory"])
    calls: list[str] = []
    for name in ("_generate", "_stream"):
        monkeypatch.setattr(SimulatedChatModel, name, lambda *arguments, **options: calls.append("asked"))
    lines = list(measure(task))
    assert sum(line.failures for line in timed_of(lines, "one")) > 0
    assert calls == []


# What is given up


@pytest.mark.parametrize(
    ("kind", "reason"), [("FailsLater", "lost redis://app:[redacted]@cache:6379/0"), ("ForgetsLater", NOT_FOUND)]
)
def test_a_strategy_that_fails_again_and_again_is_given_up_and_the_others_go_on(
    kind: str, reason: str, tmp_path: Path
) -> None:
    settings = with_one(tmp_path, langchain=f"{HERE}.{kind}", survives_restart=False)
    lines = list(measure(task_of(settings, ["one", "memory"], rounds=10)))
    assert problems_of(lines) == {"one": reason}
    failures = sum(line.failures for line in timed_of(lines, "one"))
    assert ENOUGH_FAILURES <= failures < ENOUGH_FAILURES + 2 * BLOCK
    assert {line.what for line in timed_of(lines, "one")} == {"lookup", "invoke"}
    assert Counter(line.what for line in timed_of(lines, "memory")) == {
        "lookup": WARM_UP + 10,
        "invoke": WARM_UP + 10,
        "store": WARM_UP + STORE_ROUNDS,
    }


def test_a_few_failures_are_counted_and_no_reason_to_give_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MadeUpServer().install(monkeypatch)
    reads = iter(range(MANY))
    server.reads = lambda found: None if 10 < next(reads) < 10 + ENOUGH_FAILURES else found
    lines = list(measure(task_of(with_one(tmp_path, url=SERVER), ["one", "memory"], rounds=10)))
    assert problems_of(lines) == {}
    assert sum(line.failures for line in timed_of(lines, "one")) == ENOUGH_FAILURES - 1
    assert sum(line.failures for line in timed_of(lines, "memory")) == 0
    assert "store" in {line.what for line in timed_of(lines, "one")}


def test_a_store_that_fails_is_a_failure_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MadeUpServer().install(monkeypatch)
    lines: list[Line] = []
    for line in measure(task_of(with_one(tmp_path, url=SERVER), ["one", "memory"], store_rounds=9)):
        lines.append(line)
        if line == RoundsDone(done=ROUNDS, of=ROUNDS + 9):
            server.down = "no space left"
    assert problems_of(lines) == {"one": "no space left"}
    failures = {line.what: line.failures for line in timed_of(lines, "one")}
    assert failures == {"lookup": 0, "invoke": 0, "store": BLOCK}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"url": "json:///{data_dir}/file"}, "is a file"),
        ({"langchain": f"{HERE}.Missing"}, "Missing can't be imported"),
        ({"langchain": f"{HERE}.OpensLater"}, "no server at redis://app:[redacted]@cache"),
        ({"langchain": f"{HERE}.FindsNothing"}, NOT_FOUND),
    ],
)
def test_a_strategy_that_can_not_be_opened_says_why_and_the_others_are_timed(
    values: Any, reason: str, tmp_path: Path
) -> None:
    settings = with_one(tmp_path, **values)
    task = task_of(settings, ["one", "memory"])
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "file").write_text("not a folder")
    lines = list(measure(task))
    assert isinstance(lines[0], Problem)
    assert lines[0].strategy == "one"
    assert reason in lines[0].reason
    assert timed_of(lines, "one") == []
    assert len(timed_of(lines, "memory")) == 3 * WARM_UP + 2 * ROUNDS + STORE_ROUNDS


def test_no_reason_shows_the_password_of_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MadeUpServer().install(monkeypatch)
    task = task_of(with_one(tmp_path, url=SERVER), ["one", "memory"], rounds=10)
    server.down = "AUTH hunter2secret refused"
    reasons = [problems_of(list(measure(task)))["one"]]
    server.down = None
    later: list[Line] = []
    for line in measure(task):
        later.append(line)
        if isinstance(line, RoundsDone):
            server.down = "AUTH hunter2secret refused"
    reasons.append(problems_of(later)["one"])
    assert all("AUTH" in reason and "hunter2secret" not in reason for reason in reasons)


def test_where_nothing_can_be_opened_the_rounds_are_empty(tmp_path: Path) -> None:
    lines = list(measure(task_of(with_one(tmp_path, langchain=f"{HERE}.Missing"), ["one"])))
    assert {type(line) for line in lines} == {Problem, RoundsDone}


def test_the_caches_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MadeUpServer().install(monkeypatch)
    task = task_of(with_one(tmp_path, url=SERVER), ["one"])
    list(measure(task))
    assert [cache.state["closed"] for cache in server.opened] == [True]
    abandoned = measure(task)
    next(abandoned)
    abandoned.close()  # type: ignore[attr-defined]
    assert [cache.state["closed"] for cache in server.opened] == [True, True]


# Line by line


def test_a_task_goes_in_and_lines_come_out(tmp_path: Path) -> None:
    source = io.BytesIO(orjson.dumps(task_of(quick_settings(tmp_path), ["memory"])))
    target = io.BytesIO()
    main(source, target)
    lines = [LINE.validate_json(line) for line in target.getvalue().splitlines()]
    assert [type(line) for line in lines[:1]] == [Opened]
    assert lines[-1] == RoundsDone(done=ROUNDS + STORE_ROUNDS, of=ROUNDS + STORE_ROUNDS)
    assert {type(line) for line in lines} == {Opened, Timed, RoundsDone}


@pytest.mark.parametrize(
    "line",
    [
        Opened(strategy="é 数", entry_bytes=None),
        Problem(strategy="one", reason="no\nluck \u2028"),
        Timed(strategy="one", what="store", number=-1, seconds=[5e-324, 1 / 3], failures=2),
        RoundsDone(done=1, of=2),
    ],
)
def test_every_line_comes_back_as_it_was(line: Line) -> None:
    assert LINE.validate_json(orjson.dumps(line)) == line


# The process


class Started:
    """Notes every process that is started, and may start another in its place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.environments: list[dict[str, str]] = []
        self.code: str | None = None
        self._start = subprocess.Popen
        monkeypatch.setattr(timing_process.subprocess, "Popen", self)

    def __call__(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        self.environments.append(options["env"])
        process = self._start(command if self.code is None else [sys.executable, "-c", self.code], **options)
        self.processes.append(process)
        return process


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    made = Started(monkeypatch)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def never() -> bool:
    return False


def test_the_process_finds_what_is_found_here(tmp_path: Path, started: Started) -> None:
    task = task_of(quick_settings(tmp_path))
    there = list(timed(task, never))
    here = list(measure(task))

    def without_times(lines: list[Line]) -> list[Any]:
        return [(line.strategy, line.what, line.number) if isinstance(line, Timed) else line for line in lines]

    assert without_times(there) == without_times(here)
    assert [process.returncode for process in started.processes] == [0]


def test_a_stop_ends_the_process_early(tmp_path: Path, started: Started) -> None:
    task = task_of(quick_settings(tmp_path), ["memory"], rounds=MANY)
    lines: list[Line] = []
    for line in timed(task, lambda: RoundsDone in map(type, lines)):
        lines.append(line)  # noqa: PERF402  # whoever stops it looks at them
    assert isinstance(lines[0], Opened)
    assert len(timed_of(lines, "memory")) > 0
    assert lines[-1] != RoundsDone(done=MANY, of=MANY + STORE_ROUNDS)
    assert started.processes[0].returncode not in (None, 0)


def test_whoever_wants_no_more_ends_the_process(tmp_path: Path, started: Started) -> None:
    lines = timed(task_of(quick_settings(tmp_path), ["memory"], rounds=MANY), never)
    next(lines)
    lines.close()  # type: ignore[attr-defined]
    assert started.processes[0].returncode == -signal.SIGKILL


def test_the_process_ends_with_the_one_that_asked_it(tmp_path: Path) -> None:
    """As after `kill -9`: nobody holds the other end of its standard input any more."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.timing"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=timing_process.ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(orjson.dumps(task_of(quick_settings(tmp_path), rounds=1_000_000)) + b"\n")
    process.stdin.flush()
    assert process.stdout.readline()
    process.stdin.close()
    process.stdout.read()
    assert process.wait() == 1


def test_a_process_that_dies_is_told_of_with_its_last_words(
    tmp_path: Path, started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TimingFailedError, match="CorruptEntryError: not JSON"):
        list(timed(task_of(quick_settings(tmp_path), answer="no answer"), never))
    assert "the process that times failed" in caplog.text


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; sys.exit('no luck with redis://app:hunter2secret@cache')", "no luck with redis://app:"),
        ("import sys; sys.exit(3)", "It ended with 3."),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "It ended with -9."),
        ("import sys; sys.stderr.buffer.write(b'first\\nlast \\xff\\n'); sys.exit(1)", "last \ufffd"),
    ],
)
@pytest.mark.parametrize("prompt", [SAGAN, "long " * 200_000], ids=["short", "more than a pipe holds"])
def test_a_process_that_dies_before_it_listens_is_told_of_too(
    code: str, words: str, prompt: str, tmp_path: Path, started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    started.code = code
    with pytest.raises(TimingFailedError) as caught:
        list(timed(task_of(quick_settings(tmp_path), prompt=prompt), never))
    assert str(caught.value).startswith(words)
    assert "hunter2secret" not in str(caught.value) + caplog.text


def test_a_line_that_was_cut_off_is_left_out_and_those_before_it_are_kept(tmp_path: Path, started: Started) -> None:
    whole, cut = orjson.dumps(RoundsDone(done=1, of=2)).decode(), '{"kind":"rou'
    started.code = f"import sys; sys.stdin.readline(); print({whole!r}); print({cut!r}, end=''); sys.exit(1)"
    coming = timed(task_of(quick_settings(tmp_path)), never)
    assert next(coming) == RoundsDone(done=1, of=2)
    with pytest.raises(TimingFailedError, match="It ended with 1"):
        next(coming)


@pytest.mark.parametrize(
    "name", ["LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING", "LANGCHAIN_TRACING"]
)
def test_nothing_that_is_timed_is_traced_whatever_the_app_is_told(
    name: str, tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(quick_settings(tmp_path))
    monkeypatch.setenv(name, "true")
    started.code = """
import sys
from langchain_core.utils.env import env_var_is_set
from langsmith.utils import tracing_is_enabled
sys.exit(f"traced: {tracing_is_enabled()}, {env_var_is_set('LANGCHAIN_TRACING')}")
"""
    with pytest.raises(TimingFailedError, match="traced: False, False"):
        list(timed(task, never))


def test_what_the_app_was_told_otherwise_reaches_the_process(
    tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMETHING_ELSE", "of the app")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    started.code = "import sys; sys.exit(1)"
    with pytest.raises(TimingFailedError):
        list(timed(task_of(quick_settings(tmp_path)), never))
    (environment,) = started.environments
    assert environment["SOMETHING_ELSE"] == "of the app"
    assert environment["PYTHONPATH"].split(":") == [str(timing_process.ROOT), "/somewhere"]
