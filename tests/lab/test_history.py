"""The history against a plain model of it, its bounds, and what happens when its file is in trouble."""

from __future__ import annotations

import os
import random
import stat
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.history import COLUMNS, EXPORT_ROWS, MAX_PROMPT, TRIM_EVERY, History
from lab.history_points import MAX_POINTS
from lab.measurement import LOOKUPS, Measurement
from tests.lab.building import files_below, measurement

OUTCOMES = ("hit", "miss", "expired", "corrupt", "error", "bypass", "shared")
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "history.db"


@pytest.fixture
def history(path: Path) -> Iterator[History]:
    opened = History(path)
    yield opened
    opened.close()


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    outcome = draw(st.sampled_from(OUTCOMES))
    failed = draw(st.booleans()) and outcome != "hit"
    amounts = st.none() | st.floats(0, 1000)
    return measurement(
        scope=draw(st.sampled_from(["shared", "other"])),
        strategy=draw(st.sampled_from(["memory", "sqlite"])),
        outcome=outcome,
        failure="timeout" if failed else None,
        total_s=draw(st.floats(0, 100)),
        saved_s=draw(amounts) if outcome == "hit" else None,
        saved_usd=draw(amounts) if outcome in ("hit", "shared") else None,
        cost_usd=draw(amounts),
        stored=outcome == "miss" and not failed,
    )


def expected_totals(given_: list[Measurement], scope: str) -> dict[str, Any]:
    """What `Totals` must say, worked out in plain Python."""
    mine = [each for each in given_ if each.scope == scope]
    lookups = [each for each in mine if each.outcome in LOOKUPS]
    answered = [each for each in lookups if each.failure is None]
    hits = [each.total_s for each in answered if each.outcome == "hit"]
    misses = [each.total_s for each in answered if each.outcome not in ("hit", "shared")]
    return {
        "requests": len(mine),
        "lookups": len(lookups),
        "hits": sum(each.outcome == "hit" for each in lookups),
        "shared": sum(each.outcome == "shared" for each in answered),
        "failures": sum(each.failure is not None for each in mine),
        "median_hit_s": pytest.approx(statistics.median(hits)) if hits else None,
        "median_miss_s": pytest.approx(statistics.median(misses)) if misses else None,
        "misses_answered": len(misses),
        "saved_s": pytest.approx(sum(each.saved_s or 0 for each in mine), abs=1e-6),
        "saved_usd": pytest.approx(sum(each.saved_usd or 0 for each in mine), abs=1e-6),
        "cost_usd": pytest.approx(sum(each.cost_usd or 0 for each in mine), abs=1e-6),
    }


def totals(history: History, scope: str = "shared") -> dict[str, Any]:
    found = history.totals(scope)
    return {name: getattr(found, name) for name in found.__slots__}


def expected_ratios(given_: list[Measurement], scope: str) -> list[tuple[int, str, int, int, float]]:
    counts: dict[str, tuple[int, int]] = {}
    points = []
    for number, each in enumerate((each for each in given_ if each.scope == scope), start=1):
        if each.outcome in LOOKUPS:
            hits, lookups = counts.get(each.strategy, (0, 0))
            hits, lookups = counts[each.strategy] = hits + (each.outcome == "hit"), lookups + 1
            points.append((number, each.strategy, hits, lookups, hits / lookups))
    return points


@given(asked=st.lists(measurements(), max_size=30), limit=st.none() | st.integers(1, 40))
@QUICK
def test_everything_agrees_with_a_plain_model(asked: list[Measurement], limit: int | None, history: History) -> None:
    for scope in ("shared", "other"):
        history.clear(scope)
    for each in asked:
        history.record(each)
    for scope in ("shared", "other"):
        mine = [each for each in asked if each.scope == scope]
        shown = mine if limit is None else mine[-limit:]
        assert totals(history, scope) == expected_totals(asked, scope)
        ratio = history.totals(scope).hit_ratio
        lookups = [each for each in mine if each.outcome in LOOKUPS]
        assert ratio == (sum(each.outcome == "hit" for each in lookups) / len(lookups) if lookups else None)
        points = [tuple(row) for row in history.hit_ratios(scope, limit).itertuples(index=False)]
        first = len(mine) - len(shown) + 1
        assert points == [point for point in expected_ratios(asked, scope) if point[0] >= first]
        latencies = history.latencies(scope, limit)
        assert list(latencies["request"]) == list(range(first, len(mine) + 1))
        assert list(latencies["total_s"]) == [each.total_s for each in shown]
        assert list(latencies["outcome"]) == [each.shown_outcome for each in shown]
        assert list(latencies["strategy"]) == [each.strategy for each in shown]
        assert set(latencies["requests"]) <= {1}
        newest = history.newest(scope, limit or 1000)
        assert list(newest["request"]) == list(range(first, len(mine) + 1))[::-1]


def test_a_measurement_comes_back_as_it_was_but_for_its_answer(history: History) -> None:
    asked = measurement(
        outcome="expired",
        failure="timeout",
        detail="too slow",
        entry_age_s=5.0,
        expired_for_s=1.0,
        input_tokens=5,
        output_tokens=7,
        tokens_estimated=True,
        not_stored="no_answer",
        first_token_s=0.5,
        prompt="quem é? ação 数 🚀\0\n",
    )
    history.record(asked)
    (row,) = records(history.newest("shared", 5))
    assert row == {"request": 1, **{name: getattr(asked, name) for name in COLUMNS}}
    assert "answer" not in COLUMNS


def test_an_empty_history_has_nothing_to_say(history: History) -> None:
    assert history.totals("shared").hit_ratio is None
    assert totals(history) == expected_totals([], "shared")
    for frame in (history.newest("shared", 5), history.latencies("shared", None), history.hit_ratios("shared", 5)):
        assert frame.empty
        assert "request" in frame.columns
    assert list(history.export("shared")) == []
    assert history.version("shared").endswith("-0")
    assert history.notices == []
    assert history.last_kept("shared", "memory", "simulated", "ab" * 32) is None
    assert history.last_model_s("shared", "memory", "simulated", "ab" * 32) is None


def test_scopes_are_apart(history: History) -> None:
    for scope in ("a", "b", "b"):
        history.record(measurement(scope=scope))
    assert [history.totals(scope).requests for scope in ("a", "b", "c")] == [1, 2, 0]
    history.clear("b")
    assert [history.totals(scope).requests for scope in ("a", "b", "c")] == [1, 0, 0]
    assert totals(history, "b") == expected_totals([], "b")
    assert history.newest("b", 5).empty
    assert len(history.newest("a", 5)) == 1


def test_the_version_changes_with_every_measurement_and_never_comes_back(history: History) -> None:
    seen = [history.version("shared")]
    for _ in range(3):
        history.record(measurement())
        history.record(measurement(scope="other"))
        seen.append(history.version("shared"))
    history.clear("shared")
    history.clear("other")
    for _ in range(3):
        history.record(measurement())
        seen.append(history.version("shared"))
    assert len(set(seen)) == len(seen) == 7


def test_another_scopes_measurement_does_not_change_the_version(history: History) -> None:
    history.record(measurement())
    before = history.version("shared")
    history.record(measurement(scope="other"))
    assert history.version("shared") == before


def test_when_an_answer_was_last_kept(history: History) -> None:
    def kept(**changes: str) -> float | None:
        place = {"scope": "shared", "strategy": "memory", "model": "simulated", "key": "ab" * 32} | changes
        found = history.last_kept(**place)
        return None if found is None else found.at

    history.record(measurement(asked_at=10.0, total_s=1.0, outcome="bypass", stored=False, not_stored="bypass"))
    history.record(measurement(asked_at=20.0, total_s=1.0, stored=False, not_stored="truncated"))
    assert kept() is None
    history.record(measurement(asked_at=100.0, total_s=1.5))
    assert kept() == 101.5
    history.record(measurement(asked_at=200.0, total_s=0.5, outcome="hit", stored=False))
    assert kept() == 200.5
    history.record(measurement(asked_at=300.0, outcome="miss", failure="timeout", stored=False))
    assert kept() == 200.5
    for others in ({"scope": "b"}, {"strategy": "sqlite"}, {"model": "a/m"}, {"key": "cd" * 32}):
        assert kept(**others) is None


def test_how_long_the_model_last_took(history: History) -> None:
    place = ("shared", "memory", "simulated", "ab" * 32)
    for model_s in (1.0, 2.0):
        history.record(measurement(model_s=model_s))
    history.record(measurement(model_s=None, outcome="hit", stored=False))
    history.record(measurement(model_s=9.0, stored=False, not_stored="truncated"))
    assert history.last_model_s(*place) == 2.0
    assert history.last_model_s("shared", "memory", "other/model", "ab" * 32) is None


def test_prompts_are_shortened_and_answers_are_not_in_the_file(history: History, path: Path) -> None:
    history.record(measurement(prompt="begin" + "x" * MAX_PROMPT + "the very end", answer="a secret answer"))
    history.record_many([measurement(prompt="begin" + "x" * MAX_PROMPT + "the very end", answer="a secret answer")])
    assert {len(prompt) for prompt in history.newest("shared", 5)["prompt"]} == {MAX_PROMPT}
    contents = b"".join(content for _, content in files_below(path.parent))
    assert b"begin" in contents
    assert b"the very end" not in contents
    assert b"secret answer" not in contents


def test_the_file_is_for_its_owner_alone(history: History, path: Path) -> None:
    history.record(measurement())
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700


@pytest.mark.parametrize(
    "text", ["half \ud83d of a pair", "\0", "\x1b[31m", "\u202e right to left", "'; drop table measurements; --"]
)
def test_odd_text_is_recorded(text: str, history: History) -> None:
    history.record(measurement(prompt=text, detail=text))
    (row,) = records(history.newest("shared", 5))
    assert row["prompt"] == row["detail"] == text.encode("utf-8", "replace").decode()


def test_what_cannot_be_recorded_is_logged_and_does_not_raise(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    history.record(measurement(input_tokens=10**30))
    assert "could not be recorded" in caplog.text
    history.record(measurement())
    assert history.totals("shared").requests == 1


def test_reopening_keeps_everything(path: Path) -> None:
    first = History(path)
    for _ in range(5):
        first.record(measurement())
    before = totals(first), first.version("shared")
    first.close()
    first.close()
    again = History(path)
    assert (totals(again), again.version("shared")) == before
    again.record(measurement())
    assert list(again.newest("shared", 1)["request"]) == [6]


def test_two_histories_on_one_file_see_each_other(path: Path) -> None:
    first, second = History(path), History(path)
    first.record(measurement())
    second.record(measurement())
    assert first.totals("shared").requests == second.totals("shared").requests == 2


def test_what_was_recorded_survives_a_process_that_is_killed(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from lab.history import History; "
        "from tests.lab.building import measurement; history = History(Path(sys.argv[1])); "
        "[history.record(measurement()) for _ in range(20)]; os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert History(path).totals("shared").requests == 20


# Bounds


def test_only_the_newest_are_kept_and_the_totals_stay_right(path: Path) -> None:
    history = History(path, max_rows=150)
    rng = random.Random(5)
    asked = [
        measurement(
            scope=rng.choice(["shared", "other"]),
            strategy=rng.choice(["memory", "sqlite"]),
            outcome=rng.choice(["hit", "miss", "bypass"]),
            failure=rng.choice([None, None, "timeout"]),
            total_s=rng.random(),
            saved_s=rng.random(),
            cost_usd=rng.random(),
        )
        for _ in range(TRIM_EVERY + 7)
    ]
    for each in asked:
        history.record(each)
    kept = asked[TRIM_EVERY - 150 :]
    for scope in ("shared", "other"):
        assert totals(history, scope) == expected_totals(kept, scope)
        points = [tuple(row) for row in history.hit_ratios(scope, None).itertuples(index=False)]
        assert points == expected_ratios(kept, scope)


def test_a_lower_limit_holds_from_the_next_opening(path: Path) -> None:
    first = History(path, max_rows=1000)
    for number in range(300):
        first.record(measurement(prompt=str(number)))
    first.close()
    again = History(path, max_rows=100)
    assert again.totals("shared").requests == 100
    assert list(again.newest("shared", 1000)["prompt"]) == [str(number) for number in range(299, 199, -1)]


def test_what_a_cleared_scope_left_free_does_not_push_out_what_others_have(path: Path) -> None:
    history = History(path, max_rows=200)
    history.record_many(measurement(scope="mine") for _ in range(50))
    history.record_many(measurement(scope="demo") for _ in range(140))
    history.clear("demo")
    history.record_many(measurement(scope="other") for _ in range(100))
    history.close()
    again = History(path, max_rows=200)
    assert [again.totals(scope).requests for scope in ("mine", "demo", "other")] == [50, 0, 100]


@pytest.fixture(scope="module")
def long_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[History, list[Measurement]]]:
    """100,000 measurements of three strategies that take turns."""
    history = History(tmp_path_factory.mktemp("long") / "history.db")
    rng = random.Random(3)
    asked = [
        measurement(
            asked_at=float(number),
            strategy=("memory", "sqlite", "json")[number % 3],
            outcome=rng.choices(["hit", "miss", "expired"], [8, 3, 1])[0],
            failure=rng.choices([None, "timeout"], [50, 1])[0],
            total_s=rng.lognormvariate(0, 1),
        )
        for number in range(100_000)
    ]
    history.record_many(asked)
    yield history, asked
    history.close()


@pytest.mark.parametrize("limit", [None, 50_000, MAX_POINTS + 1, MAX_POINTS, 500, 1])
def test_a_chart_never_gets_more_points_than_it_can_show(limit: int | None, long_history: Any) -> None:
    history, asked = long_history
    shown = asked if limit is None else asked[-limit:]
    latencies = history.latencies("shared", limit)
    assert 0 < len(latencies) <= MAX_POINTS
    assert latencies["requests"].sum() == len(shown)
    assert latencies["request"].is_monotonic_increasing
    assert latencies["request"].between(len(asked) - len(shown) + 1, len(asked)).all()
    assert set(latencies["strategy"]) == {each.strategy for each in shown}
    for point in latencies.itertuples():
        each = asked[point.request - 1]
        assert (point.total_s, point.strategy, point.outcome) == (each.total_s, each.strategy, each.shown_outcome)

    ratios = history.hit_ratios("shared", limit)
    assert 0 < len(ratios) <= MAX_POINTS
    exact = {point[0]: point for point in expected_ratios(asked, "shared")}
    assert all(tuple(row) == exact[row[0]] for row in ratios.itertuples(index=False))
    newest = {point[1]: point[0] for point in exact.values() if point[0] > len(asked) - len(shown)}
    assert ratios.groupby("strategy")["request"].max().to_dict() == newest


def test_a_stretch_shows_its_median(long_history: Any) -> None:
    history, asked = long_history
    points = history.latencies("shared", None)
    hits = sorted(each.total_s for each in asked if each.shown_outcome == "hit")
    shown = points[points["outcome"] == "hit"]["total_s"]
    middle = statistics.median(hits)
    assert shown.between(middle / 2, middle * 2).all()


def test_the_totals_of_many_are_right(long_history: Any) -> None:
    history, asked = long_history
    assert totals(history) == expected_totals(asked, "shared")


def test_an_export_has_everything_oldest_first_in_bounded_pieces(history: History) -> None:
    history.record_many(measurement(prompt=str(number)) for number in range(2 * EXPORT_ROWS + 3))
    history.record(measurement(scope="other"))
    frames = list(history.export("shared"))
    assert [len(frame) for frame in frames] == [EXPORT_ROWS, EXPORT_ROWS, 3]
    assert [prompt for frame in frames for prompt in frame["prompt"]] == [str(n) for n in range(2 * EXPORT_ROWS + 3)]
    assert list(frames[0].columns) == list(COLUMNS)


def test_a_history_that_is_cleared_during_an_export_ends_it(history: History) -> None:
    history.record_many(measurement() for _ in range(EXPORT_ROWS + 1))
    frames = history.export("shared")
    assert len(next(frames)) == EXPORT_ROWS
    history.clear("shared")
    assert list(frames) == []


# Trouble


@pytest.mark.parametrize("place", ["file/history.db", "folder", "file/deeper/history.db"])
def test_a_place_that_cannot_be_written_is_told_and_the_history_lasts_as_long_as_the_process(
    place: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder").mkdir()
    history = History(tmp_path / place)
    assert history.problem is not None
    assert history.notices == [history.problem]
    assert str(tmp_path) in history.problem
    history.record(measurement())
    assert history.totals("shared").requests == 1
    temporary = Path(history._file.path).parent
    assert temporary.is_dir()
    history.close()
    assert not temporary.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_file_that_can_only_be_read_is_told_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    History(path).close()
    make = apsw.Connection.__init__

    def read_only(self: apsw.Connection, name: str, *args: Any, **kwargs: Any) -> None:
        make(self, name, *args, **kwargs)
        if name == str(path):
            self.execute("pragma query_only = on")

    monkeypatch.setattr("cache_backends.sqlite_file.Connection.__init__", read_only)
    history = History(path)
    assert history.problem is not None
    history.record(measurement())
    assert history.totals("shared").requests == 1


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with apsw.Connection(str(path)) as connection:
        connection.execute("create table theirs (x)")
    connection.close()
    before = path.read_bytes()
    history = History(path)
    assert history.problem is not None
    assert "another program" in history.problem
    history.record(measurement())
    assert path.read_bytes() == before


def test_a_writer_in_the_way_of_the_opening_is_no_reason_to_forget_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_S", 0.01)
    History(path).close()
    writer = apsw.Connection(str(path))
    writer.execute("begin immediate")
    history = History(path)
    assert history.problem is None
    writer.execute("rollback")
    writer.close()
    history.record(measurement())
    assert history.totals("shared").requests == 1


def test_a_lock_of_another_program_costs_the_measurement_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cache_backends.sqlite_file.BUSY_TIMEOUT_S", 0.01)
    history = History(path)
    history.record(measurement())
    writer = apsw.Connection(str(path))
    writer.execute("begin immediate")
    history.record(measurement())
    assert "could not be recorded" in caplog.text
    assert history.totals("shared").requests == 1
    writer.execute("rollback")
    writer.close()
    history.record(measurement())
    assert history.totals("shared").requests == 2


def test_a_file_that_is_no_database_is_set_aside(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)
    history = History(path)
    assert history.problem is None
    assert len(history.notices) == 1
    assert "damaged" in history.notices[0]
    history.record(measurement())
    assert history.totals("shared").requests == 1
    assert [file.name for file in path.parent.iterdir() if "damaged" in file.name]


def damage(path: Path) -> None:
    """Overwrite everything but the header, as a failing disk would."""
    for file in (path, path.with_name(path.name + "-wal")):
        if file.exists():
            size = file.stat().st_size
            with open(file, "r+b") as opened:
                opened.seek(100)
                opened.write(b"\xa5" * max(0, size - 100))


@pytest.mark.parametrize(
    "first", ["record", "totals", "newest", "latencies", "hit_ratios", "version", "last_kept", "export"]
)
def test_damage_found_while_it_is_in_use_loses_the_past_but_nothing_that_follows(first: str, path: Path) -> None:
    filled = History(path)
    filled.record_many(measurement() for _ in range(500))
    filled.close()
    history = History(path)
    damage(path)
    calls: dict[str, Any] = {
        "record": lambda: history.record(measurement()),
        "totals": lambda: history.totals("shared"),
        "newest": lambda: history.newest("shared", 5),
        "latencies": lambda: history.latencies("shared", None),
        "hit_ratios": lambda: history.hit_ratios("shared", None),
        "version": lambda: history.version("shared"),
        "last_kept": lambda: history.last_kept("shared", "memory", "simulated", "ab" * 32),
        "export": lambda: list(history.export("shared")),
    }
    calls[first]()
    history.record(measurement())
    for call in calls.values():
        call()
    assert len(history.notices) == 1
    assert "damaged" in history.notices[0]
    assert history.totals("shared").requests == 2 + (first == "record")


def test_a_closed_history_does_not_fail_a_request(history: History, caplog: pytest.LogCaptureFixture) -> None:
    history.close()
    history.record(measurement())
    assert history.last_kept("shared", "memory", "simulated", "ab" * 32) is None
    assert history.last_model_s("shared", "memory", "simulated", "ab" * 32) is None
    assert "could not be recorded" in caplog.text
    assert "could not be read" in caplog.text


# Many at once


def test_eight_threads_record_at_once_and_nothing_is_lost(path: Path) -> None:
    history = History(path, max_rows=1_000_000)
    start = threading.Barrier(8)
    asked = [[measurement(scope=f"scope {n % 2}", total_s=0.1 * n, saved_s=1.0) for _ in range(150)] for n in range(8)]

    def work(mine: list[Measurement]) -> None:
        start.wait()
        for each in mine:
            history.record(each)
            history.totals(each.scope)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [each for mine in asked for each in mine]
    for scope in ("scope 0", "scope 1"):
        assert totals(history, scope) == expected_totals(everything, scope)
        assert list(history.latencies(scope, None)["request"]) == list(range(1, 601))


def test_who_looks_while_others_record_clear_and_trim_sees_one_moment(path: Path) -> None:
    history = History(path, max_rows=100)
    stop = threading.Event()

    def write() -> None:
        for number in range(40):
            history.record_many(measurement(outcome=("hit", "miss")[n % 2]) for n in range(60))
            if number % 7 == 6:
                history.clear("shared")
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while not stop.is_set() or not seen:
        for limit in (None, 50):
            ratios = history.hit_ratios("shared", limit)
            assert ratios["hit_ratio"].between(0, 1).all()
            assert (ratios["lookups"] >= 1).all()
        latencies = history.latencies("shared", None)
        assert list(latencies["request"]) == list(range(1, len(latencies) + 1))
        newest = history.newest("shared", 10_000)
        assert sorted(newest["request"]) == list(range(1, len(newest) + 1))
        seen += 1
    writer.join()
