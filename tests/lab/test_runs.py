"""The kept comparisons: come back as they were, hold no key, are bounded, and survive damage."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache_backends import CacheError
from lab.comparison import Compared, CompareRequest, Machine, Run, Timings
from lab.laboratory import Laboratory
from lab.runs import MAX_NAME, KeptRun, RunDamagedError, Runs
from lab.statistics import Interval
from tests.lab.building import SAGAN, files_below, measurement, quick_settings

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD = "Quem é? 数 \U0001f600 \x00 \u202e \ufeff \"'\\ a\nb\r\tc % _"
KEY = "sk-visitors-own-1234567890"


def run_of(number: int = 0, **changes: Any) -> Run:
    """A run with everything in it, whose number is in its id and its time."""
    values: dict[str, Any] = {
        "id": f"run-{number:012}",
        "scope": "shared",
        "began_at": 1_750_000_000.25 + number,
        "request": CompareRequest(
            prompt=SAGAN, strategies=("none", "memory", "sqlite"), model_id="simulated", scope="shared", repeats=400
        ),
        "simulated": True,
        "machine": Machine(system="Linux", processor="x86_64", cores=None, python="3.11", versions={"apsw": "3.50"}),
        "compared": (
            Compared(strategy="none", cold=measurement(strategy="none", store_s=None, not_stored="no_cache")),
            Compared(
                strategy="memory",
                cold=measurement(),
                warm=measurement(outcome="hit", model_s=None, saved_s=1.4, cost_usd=0.0),
                lookups=Timings(rounds=[[1e-06, 1.1e-06], []], first_s=0.1 + 0.2, failures=3),
                invokes=Timings(rounds=[[1 / 3], [5e-324]]),
                entry_bytes=813,
                survives_restart=False,
                shared_between_machines=False,
            ),
            Compared(strategy="sqlite", problem=f"can't be opened: {ODD}"),
        ),
        "ratios": {"memory": Interval(1.9, 1.8, 2.0)},
    }
    return Run(**values | changes)


def asking(**changes: Any) -> CompareRequest:
    return replace(run_of().request, **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "comparisons.db"


@pytest.fixture
def runs(path: Path) -> Iterator[Runs]:
    opened = Runs(path, max_runs=3)
    yield opened
    opened.close()


def change(path: Path, assignment: str, *values: Any) -> None:
    """What damages a row. By the same SQLite: two in one process would take one another's locks away."""
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute(f"update runs set {assignment}", values)


def ids(runs: Runs, scope: str = "shared") -> list[int]:
    return [int(kept.id.removeprefix("run-")) for kept in runs.newest(scope, 100)]


# As they were


@pytest.mark.parametrize(
    "run",
    [
        run_of(),
        run_of(name=ODD, stopped=True, ratios={}, compared=()),
        run_of(request=asking(prompt=ODD, temperature=0.1 + 0.2, ask_each=True), simulated=False),
        run_of(compared=(Compared(strategy="memory", cold=measurement(answer=ODD, detail=ODD, failure="other")),)),
        run_of(machine=Machine(system=ODD, processor="", cores=2, python="3.11", versions={})),
    ],
)
def test_a_run_comes_back_as_it_was(run: Run, runs: Runs, path: Path) -> None:
    runs.keep(run)
    assert runs.get(run.id) == run
    other = Runs(path)
    assert other.get(run.id) == run
    other.close()


@QUICK
@given(text=st.text(min_size=1), times=st.lists(st.lists(st.floats(0, 1e6))), first_s=st.none() | st.floats(0, 1e6))
def test_any_text_and_any_timings_come_back(
    text: str, times: list[list[float]], first_s: float | None, runs: Runs
) -> None:
    timings = Timings(rounds=times, first_s=first_s)
    run = run_of(request=asking(prompt=text), compared=(Compared(strategy="memory", problem=text, lookups=timings),))
    runs.keep(run)
    assert runs.get(run.id) == run


def test_a_run_is_kept_in_the_place_of_one_with_its_id(runs: Runs) -> None:
    runs.keep(run_of(1))
    runs.keep(run_of(1, stopped=True))
    assert runs.get(run_of(1).id) == run_of(1, stopped=True)
    assert ids(runs) == [1]


def test_lone_surrogates_become_question_marks_and_break_nothing(runs: Runs) -> None:
    broken = "a\ud800b"
    strategy = Compared(strategy="memory", problem=broken, cold=measurement(prompt=broken, answer=broken))
    runs.keep(run_of(name=broken, request=asking(prompt=broken), compared=(strategy,)))
    found = runs.get(run_of().id)
    assert found is not None
    (compared,) = found.compared
    assert compared.cold is not None
    texts = {found.name, found.request.prompt, compared.problem, compared.cold.prompt, compared.cold.answer}
    assert texts == {"a?b"}
    (kept,) = runs.newest("shared", 10)
    assert (kept.name, kept.prompt) == ("a?b", "a?b")


def test_a_visitors_key_is_in_no_file(runs: Runs, tmp_path: Path) -> None:
    runs.keep(run_of(request=asking(visitor_key=KEY)))
    found = runs.get(run_of().id)
    assert found is not None
    assert found.request == asking(visitor_key=None)
    assert len([path for path, _ in files_below(tmp_path)]) > 0
    assert not [path for path, content in files_below(tmp_path) if KEY.encode() in content]


# By link


@pytest.mark.parametrize(
    "run_id", ["run-999999999999", "", "short", "x" * 17, "run-00000000000' ", "é" * 16, "a\n" * 8]
)
def test_an_id_that_is_unknown_or_none_at_all_finds_nothing(run_id: str, runs: Runs) -> None:
    runs.keep(run_of())
    assert runs.get(run_id) is None
    assert not runs.remove(run_id)
    runs.rename(run_id, "name")
    assert ids(runs) == [0]


def test_what_is_no_id_is_not_looked_up(runs: Runs) -> None:
    runs.keep(run_of(id="no id at all"))
    assert runs.get("no id at all") is None


# Damage


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: b"",
        lambda body: b"\xff\xfe",
        lambda body: "not JSON",
        lambda body: 7,
        lambda body: orjson.dumps(body)[:-1],
        lambda body: orjson.dumps(body).replace(b"1.9", b"NaN"),
        lambda body: orjson.dumps(body).replace(b"1.9", b"Infinity"),
        lambda body: orjson.dumps([body]),
        lambda body: b"null",
        lambda body: orjson.dumps(without(body, "compared")),
        lambda body: orjson.dumps(body | {"compared": "memory"}),
        lambda body: orjson.dumps(body | {"began_at": "yesterday"}),
        lambda body: orjson.dumps(body | {"began_at": None}),
        lambda body: orjson.dumps(body | {"request": {}}),
        lambda body: orjson.dumps(body | {"ratios": {"memory": {"value": [], "low": 1, "high": 2}}}),
        lambda body: b"[" * 2000,
    ],
)
def test_a_damaged_run_is_said_to_be_damaged(damage: Any, runs: Runs, path: Path) -> None:
    runs.keep(run_of())
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        body = connection.execute("select body from runs").get
    assert b"1.9" in body
    change(path, "body = ?", damage(orjson.loads(body)))
    with pytest.raises(RunDamagedError, match=r"run-000000000000 is damaged and can't be shown"):
        runs.get(run_of().id)


def test_text_in_place_of_bytes_is_read_all_the_same(runs: Runs, path: Path) -> None:
    runs.keep(run_of())
    change(path, "body = cast(body as text)")
    assert runs.get(run_of().id) == run_of()


@pytest.mark.parametrize(
    "assignment",
    ["prompt = null", "began_at = 'yesterday'", "stopped = 'perhaps'", "prompt = x'ff'", "name = 7", "began_at = null"],
)
def test_a_damaged_row_is_left_out_of_the_list_and_the_others_are_in_it(
    assignment: str, runs: Runs, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        runs.keep(run_of(number))
    change(path, f"{assignment} where id = 'run-000000000001'")
    assert ids(runs) == [2]
    assert "a kept run is damaged" in caplog.text


def test_strategies_that_are_no_text_break_nothing(runs: Runs, path: Path) -> None:
    runs.keep(run_of(1))
    change(path, "strategies = null")
    assert ids(runs) == [1]


def test_a_damaged_file_is_set_aside_and_told_of(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database at all" * 1000)
    runs = Runs(path)
    assert runs.notices == []
    runs.keep(run_of())
    assert ids(runs) == [0]
    assert len(runs.notices) == 1
    assert "damaged" in runs.notices[0]
    runs.close()


# The list


def test_the_list_shows_the_newest_first_with_what_a_person_needs_to_know_them_by(runs: Runs) -> None:
    runs.keep(run_of(1))
    runs.keep(run_of(2, name="Second", stopped=True))
    strategies = ("none", "memory", "sqlite")
    assert runs.newest("shared", 10) == [
        KeptRun("run-000000000002", 1_750_000_002.25, "Second", SAGAN, strategies, True),
        KeptRun("run-000000000001", 1_750_000_001.25, None, SAGAN, strategies, False),
    ]
    assert [kept.name for kept in runs.newest("shared", 1)] == ["Second"]


def test_a_long_prompt_is_cut_in_the_list_and_whole_in_the_run(runs: Runs) -> None:
    prompt = "é" * 2000
    runs.keep(run_of(request=asking(prompt=prompt)))
    assert runs.newest("shared", 10)[0].prompt == "é" * 500
    found = runs.get(run_of().id)
    assert found is not None
    assert found.request.prompt == prompt


def test_a_scope_sees_its_own_runs_only(runs: Runs) -> None:
    runs.keep(run_of(1, scope="one"))
    runs.keep(run_of(2, scope="other"))
    assert (ids(runs, "one"), ids(runs, "other"), ids(runs, "nobody")) == ([1], [2], [])


# Bounded


def test_the_oldest_run_goes_when_there_are_too_many(runs: Runs) -> None:
    for number in (2, 1, 4, 3):
        runs.keep(run_of(number))
    assert ids(runs) == [4, 3, 2]


def test_runs_of_all_scopes_count_together(runs: Runs) -> None:
    for number in (1, 2, 3, 4):
        runs.keep(run_of(number, scope=f"scope {number % 2}"))
    assert (ids(runs, "scope 1"), ids(runs, "scope 0")) == ([3], [4, 2])


def test_the_oldest_without_a_name_goes_before_older_ones_with_a_name(runs: Runs) -> None:
    runs.keep(run_of(1, name="First"))
    for number in (2, 3, 4):
        runs.keep(run_of(number))
    assert ids(runs) == [4, 3, 1]


def test_where_all_have_names_the_oldest_goes(runs: Runs) -> None:
    for number in (1, 2, 3, 4):
        runs.keep(run_of(number, name=f"Run {number}"))
    assert ids(runs) == [4, 3, 2]


# Names


def test_a_run_is_named_and_its_name_taken_away(runs: Runs) -> None:
    runs.keep(run_of(1))
    runs.rename(run_of(1).id, "  Before \n the   change ")
    assert runs.get(run_of(1).id) == run_of(1, name="Before the change")
    assert runs.newest("shared", 1)[0].name == "Before the change"
    runs.rename(run_of(1).id, " \t ")
    assert runs.get(run_of(1).id) == run_of(1)
    assert runs.newest("shared", 1)[0].name is None


def test_a_long_name_is_cut(runs: Runs) -> None:
    runs.keep(run_of())
    runs.rename(run_of().id, "é" * 1000)
    assert runs.newest("shared", 1)[0].name == "é" * MAX_NAME


def test_a_run_is_removed_once(runs: Runs) -> None:
    for number in (1, 2):
        runs.keep(run_of(number))
    assert runs.remove(run_of(1).id)
    assert not runs.remove(run_of(1).id)
    assert runs.get(run_of(1).id) is None
    assert ids(runs) == [2]


# A file that can't be used


def test_nothing_is_opened_before_it_is_needed(path: Path) -> None:
    runs = Runs(path)
    assert runs.notices == []
    runs.close()
    assert not path.parent.exists()


@pytest.mark.parametrize("call", [lambda runs: runs.keep(run_of()), lambda runs: runs.newest("shared", 1)])
def test_a_file_that_cannot_be_used_is_an_error_with_its_reason(call: Any, path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(CacheError, match="is a folder"):
        call(Runs(path))


def test_a_file_that_can_be_used_again_is_used_again(path: Path) -> None:
    path.mkdir(parents=True)
    runs = Runs(path)
    with pytest.raises(CacheError):
        runs.keep(run_of())
    path.rmdir()
    runs.keep(run_of())
    assert ids(runs) == [0]
    runs.close()


def test_the_laboratory_starts_where_the_runs_cannot_be_kept(path: Path, tmp_path: Path) -> None:
    path.mkdir(parents=True)
    laboratory = Laboratory(quick_settings(tmp_path))
    assert laboratory.notices() == []
    with pytest.raises(CacheError):
        laboratory.runs.newest("shared", 1)
    laboratory.history.close()
