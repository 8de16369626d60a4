"""Every measurement, in a SQLite file bounded in size, and what cards, charts and tables need of it."""

from __future__ import annotations

import contextlib
import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import apsw
import pandas as pd

from cache_backends.errors import CacheError
from cache_backends.sqlite_file import SQLiteFile
from cache_backends.sqlite_schema import Schema
from lab import history_points
from lab.measurement import LOOKUPS, Measurement

logger = logging.getLogger("lab.history")

T = TypeVar("T")

MAX_PROMPT = 500
"""Characters of a prompt that the history keeps. Answers are not kept here at all."""
TRIM_EVERY = 1_000
"""Measurements between two looks at whether the history has outgrown its limit."""
EXPORT_ROWS = 1_000
"""Rows that an export reads at a time."""

COLUMNS = tuple(field.name for field in fields(Measurement) if field.name != "answer")

_TOTALS = "totals (scope, strategy, outcome, failed, requests, saved_s, saved_usd, cost_usd)"
_SCHEMA = Schema(
    content="history",
    application_id=0x4C4C4D48,  # "LLMH"
    version=1,
    statements=(
        f"create table measurements (id integer primary key autoincrement, {', '.join(COLUMNS)}, kept, answered_by)",
        # answered_by: "hit" or "model" where one of them gave the answer and the cache was asked; for medians by index
        "create index by_answer on measurements (scope, answered_by, total_s) where answered_by is not null",
        "create index by_scope on measurements (scope)",
        "create index by_key on measurements (scope, strategy, key) where kept",
        f"create table {_TOTALS.removesuffix(')')}, primary key (scope, strategy, outcome, failed))",
        f"""
        create trigger count_in after insert on measurements begin
            insert into {_TOTALS} values (
                new.scope, new.strategy, new.outcome, new.failure is not null, 1,
                coalesce(new.saved_s, 0), coalesce(new.saved_usd, 0), coalesce(new.cost_usd, 0)
            ) on conflict do update set
                requests = requests + 1, saved_s = saved_s + excluded.saved_s,
                saved_usd = saved_usd + excluded.saved_usd, cost_usd = cost_usd + excluded.cost_usd;
        end
        """,  # noqa: S608  # names of our own columns
        """
        create trigger count_out after delete on measurements begin
            update totals set
                requests = requests - 1, saved_s = saved_s - coalesce(old.saved_s, 0),
                saved_usd = saved_usd - coalesce(old.saved_usd, 0), cost_usd = cost_usd - coalesce(old.cost_usd, 0)
            where scope = old.scope and strategy = old.strategy and outcome = old.outcome
                and failed = (old.failure is not null);
        end
        """,
    ),
)
_INSERT = (
    f"insert into measurements ({', '.join(COLUMNS)}, kept, answered_by) "  # noqa: S608  # names of our own fields
    f"values ({', '.join('?' * (len(COLUMNS) + 2))})"
)


@dataclass(frozen=True, slots=True)
class Totals:
    """What a scope's requests came to. Ratio and medians are None where there was nothing to take them of."""

    requests: int
    lookups: int
    hits: int
    failures: int
    shared: int
    """Requests that were answered by the model call of an equal one."""
    median_hit_s: float | None
    median_miss_s: float | None
    """Median total time of the answers that the model had to make after the cache was asked."""
    misses_answered: int
    saved_s: float
    saved_usd: float
    cost_usd: float

    @property
    def calls_avoided(self) -> int:
        """Requests that were answered without a model call of their own."""
        return self.hits + self.shared

    @property
    def hit_ratio(self) -> float | None:
        """Hits of all lookups, 0 to 1."""
        return self.hits / self.lookups if self.lookups else None


@dataclass(frozen=True, slots=True)
class Kept:
    """When a request's answer was last known to be in a strategy's store (Unix time, seconds)."""

    at: float


class History:
    """The measurements of all scopes. Recording never fails a request: what can't be kept is logged."""

    def __init__(self, path: Path, *, max_rows: int = 1_000_000) -> None:
        self.max_rows = max_rows
        self.problem: str | None = None
        """Why the history is not kept in its file, if it is not."""
        self._recorded = 0
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        try:
            self._file = SQLiteFile(path, _SCHEMA)
            self._trim_at_start()
        except (CacheError, OSError, ValueError) as error:
            self.problem = str(error)
            logger.warning("the history lasts until the process ends: %s", error)
            self._temporary = tempfile.TemporaryDirectory(prefix="history-", ignore_cleanup_errors=True)
            self._file = SQLiteFile(Path(self._temporary.name) / "history.db", _SCHEMA)

    @property
    def notices(self) -> list[str]:
        """What a person should know about the history's file."""
        return [*([self.problem] if self.problem else []), *self._file.notices]

    def record(self, measurement: Measurement) -> None:
        """Add one measurement."""
        try:
            self._on_new_file_if_damaged(lambda: self._insert([measurement]))
        except Exception as error:  # noqa: BLE001  # the answer was paid for and must reach the person
            logger.warning("a measurement could not be recorded: %s", error)

    def record_many(self, measurements: Iterable[Measurement]) -> None:
        """Add many measurements in one transaction. Raises `CacheError` where they can't be kept."""
        self._insert(measurements)

    def clear(self, scope: str) -> None:
        """Remove all measurements of a scope."""
        with self._file.transaction() as connection:
            connection.execute("delete from measurements where scope = ?", (scope,))
            connection.execute("delete from totals where scope = ?", (scope,))

    def version(self, scope: str) -> str:
        """A text that changes when a measurement of the scope is added, and when another file takes the place."""
        newest = self._one("select max(id) from measurements where scope = ?", scope) or 0
        return f"{self._file.identity}-{newest}"

    def last_kept(self, scope: str, strategy: str, model: str, key: str) -> Kept | None:
        """When this request's answer was last known to be in the strategy's store, None if it never was.

        The model is asked for too: two endpoints with a namespace each may give a request the same key.
        """
        at = self._one_if_readable(
            "select max(asked_at + total_s) from measurements "
            "where kept and scope = ? and strategy = ? and key = ? and model = ?",
            scope, strategy, key, model,
        )  # fmt: skip
        return None if at is None else Kept(at)

    def last_model_s(self, scope: str, strategy: str, model: str, key: str) -> float | None:
        """How long the model last took for this request, for caches that don't remember it themselves."""
        model_s: float | None = self._one_if_readable(
            "select model_s from measurements "
            "where kept and scope = ? and strategy = ? and key = ? and model = ? and stored order by id desc limit 1",
            scope, strategy, key, model,
        )  # fmt: skip
        return model_s

    def totals(self, scope: str) -> Totals:
        """What the scope's requests came to."""
        return self._read(lambda connection: _totals(connection, scope))

    def newest(self, scope: str, limit: int) -> pd.DataFrame:
        """The newest measurements, newest first, one row each, with `request`: 1 for the oldest kept."""

        def read(connection: apsw.Connection) -> tuple[list[Any], int]:
            rows = connection.execute(
                f"select {', '.join(COLUMNS)} from measurements where scope = ? order by id desc limit ?",  # noqa: S608
                (scope, limit),
            )
            return list(rows), history_points.requests(connection, scope)

        rows, total = self._read(read)
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        frame.insert(0, "request", range(total, total - len(frame), -1))
        return frame

    def latencies(self, scope: str, limit: int | None) -> pd.DataFrame:
        """Points of the latency chart: `request, asked_at, strategy, outcome, total_s, requests`, oldest first.

        The newest `limit` requests (None: all of them), one by one; where those are more than `MAX_POINTS` can show,
        the median of each stretch by strategy and outcome, `requests` saying of how many.
        """
        return self._read(lambda connection: history_points.latencies(connection, scope, limit))

    def hit_ratios(self, scope: str, limit: int | None) -> pd.DataFrame:
        """Running hit ratio by strategy: `request, strategy, hits, lookups, hit_ratio`, oldest first.

        Counts run from the scope's first request, whatever `limit` shows; at most `MAX_POINTS` rows.
        """
        return self._read(lambda connection: history_points.hit_ratios(connection, scope, limit))

    def export(self, scope: str) -> Iterator[pd.DataFrame]:
        """All measurements of a scope, oldest first, a frame of `EXPORT_ROWS` at a time."""
        last_id = 0
        while rows := self._rows(
            f"select id, {', '.join(COLUMNS)} from measurements "  # noqa: S608
            "where scope = ? and id > ? order by id limit ?",
            scope, last_id, EXPORT_ROWS,
        ):  # fmt: skip
            last_id = rows[-1][0]
            yield pd.DataFrame([row[1:] for row in rows], columns=list(COLUMNS))

    def close(self) -> None:
        """Give back the file. Idempotent."""
        self._file.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _insert(self, measurements: Iterable[Measurement]) -> None:
        with self._file.transaction() as connection:
            before = self._recorded
            for measurement in measurements:
                connection.execute(_INSERT, _values(measurement))
                self._recorded += 1
            if self._recorded // TRIM_EVERY != before // TRIM_EVERY:
                self._trim(connection)

    def _trim_at_start(self) -> None:
        """To a limit that is lower now; also shows whether the file can be written. Others may be writing just now."""

        def trim() -> None:
            with self._file.transaction() as connection:
                self._trim(connection)

        try:
            self._on_new_file_if_damaged(trim)
        except CacheError as error:
            if not isinstance(error.__cause__, apsw.BusyError):
                raise

    def _trim(self, connection: apsw.Connection) -> None:
        held = connection.execute("select sum(requests) from totals").get or 0
        connection.execute(
            "delete from measurements where id in (select id from measurements order by id limit ?)",
            (max(0, held - self.max_rows),),
        )
        connection.execute("delete from totals where requests = 0")

    def _read(self, read: Callable[[apsw.Connection], T]) -> T:
        """Read in one snapshot, so that what is counted and what is shown agree."""

        def once() -> T:
            with self._file.connection() as connection:
                connection.execute("begin")
                try:
                    return read(connection)
                finally:
                    with contextlib.suppress(apsw.Error):
                        connection.execute("rollback")

        return self._on_new_file_if_damaged(once)

    def _rows(self, query: str, *bindings: Any) -> list[Any]:
        return self._read(lambda connection: list(connection.execute(query, bindings)))

    def _one(self, query: str, *bindings: Any) -> Any:
        return self._read(lambda connection: connection.execute(query, bindings).get)

    def _one_if_readable(self, query: str, *bindings: Any) -> Any:
        """For what a request would only like to know: its answer must not be lost to a history that can't be read."""
        try:
            return self._one(query, *bindings)
        except CacheError as error:
            logger.warning("the history could not be read: %s", error)
            return None

    def _on_new_file_if_damaged(self, work: Callable[[], T]) -> T:
        """Do the work; once more where the file turned out to be damaged and a new one was begun."""
        known = len(self._file.notices)
        try:
            return work()
        except CacheError:
            if len(self._file.notices) == known:
                raise
        return work()


def _totals(connection: apsw.Connection, scope: str) -> Totals:
    rows = list(
        connection.execute(
            "select outcome, failed, sum(requests), sum(saved_s), sum(saved_usd), sum(cost_usd) "
            "from totals where scope = ? group by outcome, failed",
            (scope,),
        )
    )
    lookups = [row for row in rows if row[0] in LOOKUPS]
    hits_answered = sum(row[2] for row in lookups if row[0] == "hit" and not row[1])
    misses_answered = sum(row[2] for row in lookups if row[0] not in ("hit", "shared") and not row[1])
    return Totals(
        requests=sum(row[2] for row in rows),
        lookups=sum(row[2] for row in lookups),
        hits=sum(row[2] for row in lookups if row[0] == "hit"),
        failures=sum(row[2] for row in rows if row[1]),
        shared=sum(row[2] for row in lookups if row[0] == "shared" and not row[1]),
        median_hit_s=_median(connection, scope, "hit", hits_answered),
        median_miss_s=_median(connection, scope, "model", misses_answered),
        misses_answered=misses_answered,
        saved_s=math.fsum(row[3] for row in rows),
        saved_usd=math.fsum(row[4] for row in rows),
        cost_usd=math.fsum(row[5] for row in rows),
    )


def _values(measurement: Measurement) -> tuple[Any, ...]:
    values = [getattr(measurement, name) for name in COLUMNS]
    values[COLUMNS.index("prompt")] = measurement.prompt[:MAX_PROMPT]
    kept_as_text = [storable(value) if isinstance(value, str) else value for value in values]
    return (*kept_as_text, measurement.kept, _answered_by(measurement))


def storable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which UTF-8 can't carry."""
    return text.encode("utf-8", "replace").decode()


def _median(connection: apsw.Connection, scope: str, answered_by: str, count: int) -> float | None:
    """The median total time; the mean of the middle two where the number is even."""
    if not count:
        return None
    middle = list(
        connection.execute(
            "select total_s from measurements where scope = ? and answered_by = ? order by total_s limit ? offset ?",
            (scope, answered_by, 2 - count % 2, (count - 1) // 2),
        )
    )
    return math.fsum(row[0] for row in middle) / len(middle) if middle else None


def _answered_by(measurement: Measurement) -> str | None:
    if measurement.failure is not None or measurement.outcome not in LOOKUPS or measurement.outcome == "shared":
        return None
    return "hit" if measurement.outcome == "hit" else "model"
