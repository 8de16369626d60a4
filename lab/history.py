"""Every measurement, in a SQLite file bounded in size, and what cards, charts and tables need of it."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from cache_backends.errors import CacheError
from cache_backends.sqlite_file import Schema, SQLiteFile
from lab.measurement import Measurement

logger = logging.getLogger("lab.history")

MAX_PROMPT = 500
"""Characters of a prompt that the history keeps. Answers are not kept here at all."""
TRIM_EVERY = 1_000
"""Measurements between two looks at whether the history has outgrown its limit."""
MAX_POINTS = 2_000
"""Most points that a chart gets."""
EXPORT_ROWS = 1_000
"""Rows that an export reads at a time."""

COLUMNS = tuple(field.name for field in fields(Measurement) if field.name != "answer")
LOOKUPS = ("hit", "miss", "expired", "corrupt", "error")
"""The outcomes of requests whose cache was asked."""

_TOTALS = "totals (scope, strategy, outcome, failed, requests, saved_s, saved_usd, cost_usd)"
_SCHEMA = Schema(
    content="history",
    application_id=0x4C4C4D48,  # "LLMH"
    version=1,
    statements=(
        f"create table measurements (id integer primary key, {', '.join(COLUMNS)}, kept, answered_by)",
        # answered_by: "hit" or "model" where there is an answer and the cache was asked; for medians by index alone
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
        """,
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
    median_hit_s: float | None
    median_miss_s: float | None
    """Median total time of the answers that the model had to make after the cache was asked."""
    misses_answered: int
    saved_s: float
    saved_usd: float
    cost_usd: float

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
        try:
            self._file = SQLiteFile(path, _SCHEMA)
        except CacheError as error:
            self.problem = str(error)
            logger.warning("the history lasts until the process ends: %s", error)
            self._file = SQLiteFile(Path(tempfile.mkdtemp(prefix="history-")) / "history.db", _SCHEMA)

    @property
    def notices(self) -> list[str]:
        """What a person should know about the history's file."""
        return [*([self.problem] if self.problem else []), *self._file.notices]

    def record(self, measurement: Measurement) -> None:
        """Add one measurement."""
        values = [getattr(measurement, name) for name in COLUMNS]
        values[COLUMNS.index("prompt")] = measurement.prompt[:MAX_PROMPT]
        try:
            with self._file.transaction() as connection:
                connection.execute(_INSERT, (*values, measurement.kept, _answered_by(measurement)))
                self._recorded += 1
                if self._recorded % TRIM_EVERY == 0:
                    self._trim(connection)
        except (CacheError, ValueError) as error:
            logger.warning("a measurement could not be recorded: %s", error)

    def record_many(self, measurements: Iterator[Measurement]) -> None:
        """Add many measurements in one transaction."""
        with self._file.transaction() as connection:
            connection.executemany(
                _INSERT,
                ((*(getattr(each, name) for name in COLUMNS), each.kept, _answered_by(each)) for each in measurements),
            )
            self._trim(connection)

    def clear(self, scope: str) -> None:
        """Remove all measurements of a scope."""
        with self._file.transaction() as connection:
            connection.execute("delete from measurements where scope = ?", (scope,))
            connection.execute("delete from totals where scope = ?", (scope,))

    def version(self, scope: str) -> int:
        """A number that changes when a measurement of the scope is added."""
        return int(self._one("select max(id) from measurements where scope = ?", scope) or 0)

    def last_kept(self, scope: str, strategy: str, key: str) -> Kept | None:
        """When this request's answer was last known to be in the strategy's store, None if it never was."""
        at = self._one(
            "select max(asked_at + total_s) from measurements where kept and scope = ? and strategy = ? and key = ?",
            scope, strategy, key,
        )  # fmt: skip
        return None if at is None else Kept(at)

    def last_model_s(self, scope: str, strategy: str, key: str) -> float | None:
        """How long the model last took for this request, for caches that don't remember it themselves."""
        model_s: float | None = self._one(
            "select model_s from measurements "
            "where kept and scope = ? and strategy = ? and key = ? and stored order by id desc limit 1",
            scope, strategy, key,
        )  # fmt: skip
        return model_s

    def totals(self, scope: str) -> Totals:
        """What the scope's requests came to."""
        rows = self._rows(
            "select outcome, failed, sum(requests), sum(saved_s), sum(saved_usd), sum(cost_usd) "
            "from totals where scope = ? group by outcome, failed",
            scope,
        )
        misses_answered = self._count(scope, "model")
        return Totals(
            requests=sum(row[2] for row in rows),
            lookups=sum(row[2] for row in rows if row[0] in LOOKUPS),
            hits=sum(row[2] for row in rows if row[0] == "hit"),
            failures=sum(row[2] for row in rows if row[1]),
            median_hit_s=self._median(scope, "hit", self._count(scope, "hit")),
            median_miss_s=self._median(scope, "model", misses_answered),
            misses_answered=misses_answered,
            saved_s=math.fsum(row[3] for row in rows),
            saved_usd=math.fsum(row[4] for row in rows),
            cost_usd=math.fsum(row[5] for row in rows),
        )

    def newest(self, scope: str, limit: int) -> pd.DataFrame:
        """The newest measurements, newest first, one row each, with `request`: 1 for the scope's first."""
        rows = self._rows(
            f"select {', '.join(COLUMNS)} from measurements where scope = ? order by id desc limit ?",  # noqa: S608
            scope, limit,
        )  # fmt: skip
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        total = self._requests(scope)
        frame.insert(0, "request", range(total, total - len(frame), -1))
        return frame

    def latencies(self, scope: str, limit: int | None) -> pd.DataFrame:
        """Points of the latency chart: `request, asked_at, strategy, outcome, total_s, requests`, oldest first.

        The newest `limit` requests one by one; with None all of them, and where those are more than `MAX_POINTS` can
        show, the median of each stretch by strategy and outcome, `requests` saying of how many.
        """
        total = self._requests(scope)
        shown = total if limit is None else min(limit, total)
        columns = ["request", "asked_at", "strategy", "outcome", "total_s", "requests"]
        if shown <= MAX_POINTS:
            rows = self._rows(
                "select asked_at, strategy, iif(failure is null, outcome, 'error'), total_s from measurements "
                "where scope = ? order by id desc limit ?",
                scope, shown,
            )  # fmt: skip
            numbered = [(total - number, *row, 1) for number, row in enumerate(rows)]
            return pd.DataFrame(numbered[::-1], columns=columns)
        stretch = math.ceil(total / (MAX_POINTS // 16))  # a stretch gives a point for each strategy and outcome in it
        rows = self._rows(
            """
            with numbered as (
                select row_number() over (order by id) as request, asked_at, strategy,
                       iif(failure is null, outcome, 'error') as outcome, total_s
                from measurements where scope = ?1
            ), ranked as (
                select *, row_number() over stretches as place, count(*) over stretches_whole as requests
                from numbered
                window stretches as (partition by request / ?2, strategy, outcome order by total_s),
                       stretches_whole as (partition by request / ?2, strategy, outcome)
            )
            select request, asked_at, strategy, outcome, total_s, requests from ranked
            where place = (requests + 1) / 2 order by requests desc, request limit ?3
            """,
            scope, stretch, MAX_POINTS,
        )  # fmt: skip
        return pd.DataFrame(sorted(rows), columns=columns)

    def hit_ratios(self, scope: str, limit: int | None) -> pd.DataFrame:
        """Running hit ratio by strategy: `request, strategy, hits, lookups, hit_ratio`, oldest first.

        Counts run from the scope's first request, whatever `limit` shows; at most `MAX_POINTS` rows.
        """
        total = self._requests(scope)
        shown = total if limit is None else min(limit, total)
        step = max(1, math.ceil(shown / MAX_POINTS))
        marks = ", ".join("?" * len(LOOKUPS))
        rows = self._rows(
            f"select strategy, outcome = 'hit', outcome in ({marks}) from measurements "  # noqa: S608
            "where scope = ? order by id desc limit ?",
            *LOOKUPS, scope, shown,
        )  # fmt: skip
        counts = self._counts_before(scope, rows)
        points = []
        for number, (strategy, hit, asked) in enumerate(reversed(rows), start=total - shown + 1):
            if not asked:
                continue
            hits, lookups = counts.get(strategy, (0, 0))
            counts[strategy] = hits, lookups = hits + hit, lookups + 1
            points.append((number, strategy, hits, lookups, hits / lookups))
        return pd.DataFrame(points[::-1][::step][::-1], columns=["request", "strategy", "hits", "lookups", "hit_ratio"])

    def export(self, scope: str) -> Iterator[pd.DataFrame]:
        """All measurements of a scope, oldest first, a frame of `EXPORT_ROWS` at a time."""
        last_id = 0
        while True:
            rows = self._rows(
                f"select id, {', '.join(COLUMNS)} from measurements "  # noqa: S608
                "where scope = ? and id > ? order by id limit ?",
                scope, last_id, EXPORT_ROWS,
            )  # fmt: skip
            if not rows:
                return
            last_id = rows[-1][0]
            yield pd.DataFrame([row[1:] for row in rows], columns=list(COLUMNS))

    def close(self) -> None:
        """Give back the file. Idempotent."""
        self._file.close()

    def _counts_before(self, scope: str, rows: list[Any]) -> dict[str, tuple[int, int]]:
        """Hits and lookups by strategy of the requests before the `rows` shown."""
        counts: dict[str, tuple[int, int]] = {}
        for strategy, outcome, requests in self._rows(
            "select strategy, outcome, sum(requests) from totals where scope = ? group by strategy, outcome", scope
        ):
            hits, lookups = counts.get(strategy, (0, 0))
            if outcome in LOOKUPS:
                counts[strategy] = (hits + requests * (outcome == "hit"), lookups + requests)
        for strategy, hit, asked in rows:
            hits, lookups = counts.get(strategy, (0, 0))
            counts[strategy] = (hits - hit, lookups - asked)
        return counts

    def _requests(self, scope: str) -> int:
        return int(self._one("select sum(requests) from totals where scope = ?", scope) or 0)

    def _count(self, scope: str, answered_by: str) -> int:
        outcome = "outcome = 'hit'" if answered_by == "hit" else "outcome in ('miss', 'expired', 'corrupt', 'error')"
        counted = self._one(
            f"select sum(requests) from totals where scope = ? and not failed and {outcome}",  # noqa: S608
            scope,
        )
        return int(counted or 0)

    def _median(self, scope: str, answered_by: str, count: int) -> float | None:
        """The median total time; the mean of the middle two where the number is even."""
        if not count:
            return None
        middle = self._rows(
            "select total_s from measurements where scope = ? and answered_by = ? order by total_s limit ? offset ?",
            scope, answered_by, 2 - count % 2, (count - 1) // 2,
        )  # fmt: skip
        return math.fsum(row[0] for row in middle) / len(middle) if middle else None

    def _trim(self, connection: Any) -> None:
        newest = connection.execute("select max(id) from measurements").get or 0
        connection.execute("delete from measurements where id <= ?", (newest - self.max_rows,))

    def _rows(self, query: str, *bindings: Any) -> list[Any]:
        with self._file.connection() as connection:
            return list(connection.execute(query, bindings))

    def _one(self, query: str, *bindings: Any) -> Any:
        rows = self._rows(query, *bindings)
        return rows[0][0] if rows else None


def _answered_by(measurement: Measurement) -> str | None:
    if measurement.failure is not None or measurement.outcome not in LOOKUPS:
        return None
    return "hit" if measurement.outcome == "hit" else "model"
