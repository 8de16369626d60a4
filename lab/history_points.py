"""Points of the history's charts, taken in SQL: never more than a chart can show, whatever the history holds."""

from __future__ import annotations

import math
from typing import Any

import apsw
import pandas as pd

from lab.measurement import LOOKUPS

MAX_POINTS = 2_000
"""Most points that a chart gets."""
SERIES = 16
"""Combinations of strategy and outcome that a stretch of the latency chart is expected to have."""

_LOOKUPS = ", ".join(f"'{outcome}'" for outcome in LOOKUPS)
_SHOWN_OUTCOME = "iif(failure is null, outcome, 'error')"


def requests(connection: apsw.Connection, scope: str) -> int:
    """How many measurements the history holds of a scope."""
    return int(connection.execute("select sum(requests) from totals where scope = ?", (scope,)).get or 0)


def latencies(connection: apsw.Connection, scope: str, limit: int | None) -> pd.DataFrame:
    """See `History.latencies`."""
    total = requests(connection, scope)
    shown = total if limit is None else min(limit, total)
    columns = ["request", "asked_at", "strategy", "outcome", "total_s", "requests"]
    if shown <= MAX_POINTS:
        rows = list(
            connection.execute(
                f"select asked_at, strategy, {_SHOWN_OUTCOME}, total_s from measurements "  # noqa: S608
                "where scope = ? order by id desc limit ?",
                (scope, shown),
            )
        )
        numbered = [(total - number, *row, 1) for number, row in enumerate(rows)]
        return pd.DataFrame(numbered[::-1], columns=columns)
    stretch = math.ceil(shown / (MAX_POINTS // SERIES))
    rows = list(
        connection.execute(
            f"""
            with numbered as (
                select row_number() over (order by id) - 1 as place, asked_at, strategy,
                       {_SHOWN_OUTCOME} as outcome, total_s
                from measurements where scope = ?1 and id >= ?2
            ), ranked as (
                select *, row_number() over stretches as rank, count(*) over stretches_whole as requests
                from numbered
                window stretches as (partition by place / ?3, strategy, outcome order by total_s),
                       stretches_whole as (partition by place / ?3, strategy, outcome)
            )
            select place + ?4, asked_at, strategy, outcome, total_s, requests from ranked
            where rank = (requests + 1) / 2 order by requests desc, place limit ?5
            """,  # noqa: S608
            (scope, _first_id(connection, scope, shown), stretch, total - shown + 1, MAX_POINTS),
        )
    )
    return pd.DataFrame(sorted(rows), columns=columns)


def hit_ratios(connection: apsw.Connection, scope: str, limit: int | None) -> pd.DataFrame:
    """See `History.hit_ratios`."""
    total = requests(connection, scope)
    shown = total if limit is None else min(limit, total)
    first_id = _first_id(connection, scope, shown)
    within = {
        strategy: (hits, lookups)
        for strategy, hits, lookups in connection.execute(
            f"select strategy, sum(outcome = 'hit'), count(*) from measurements "  # noqa: S608
            f"where scope = ? and id >= ? and outcome in ({_LOOKUPS}) group by strategy",
            (scope, first_id),
        )
    }
    whole = {
        strategy: (hits, lookups)
        for strategy, hits, lookups in connection.execute(
            f"select strategy, sum(requests * (outcome = 'hit')), sum(requests) from totals "  # noqa: S608
            f"where scope = ? and outcome in ({_LOOKUPS}) group by strategy",
            (scope,),
        )
    }
    counts = {name: (whole[name][0] - hits, whole[name][1] - lookups) for name, (hits, lookups) in within.items()}
    # Each strategy is thinned by itself, from its newest point back: thinned together, strategies that take turns
    # would lose all points of one of them.
    step = max(1, math.ceil(sum(lookups for _, lookups in within.values()) / max(1, MAX_POINTS - len(within))))
    points: list[tuple[Any, ...]] = []
    rows = connection.execute(
        f"select strategy, outcome = 'hit', outcome in ({_LOOKUPS}) from measurements "  # noqa: S608
        "where scope = ? and id >= ? order by id",
        (scope, first_id),
    )
    for number, (strategy, hit, asked) in enumerate(rows, start=total - shown + 1):
        if not asked:
            continue
        hits, lookups = counts[strategy]
        counts[strategy] = hits, lookups = hits + hit, lookups + 1
        if (whole[strategy][1] - lookups) % step == 0:
            points.append((number, strategy, hits, lookups, hits / lookups))
    return pd.DataFrame(points, columns=["request", "strategy", "hits", "lookups", "hit_ratio"])


def _first_id(connection: apsw.Connection, scope: str, shown: int) -> int:
    """The id of the oldest measurement among the newest `shown`."""
    found = connection.execute(
        "select id from measurements where scope = ? order by id desc limit 1 offset ?", (scope, max(0, shown - 1))
    ).get
    return int(found or 0)
