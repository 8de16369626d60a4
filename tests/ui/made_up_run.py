"""A comparison whose timings are made up, so that every number in it is known."""

from __future__ import annotations

from typing import Any

from lab.comparison import Compared, CompareRequest, Machine, Run, Timings
from tests.lab.building import measurement


def timings(shortest_s: float, n: int = 400, **others: Any) -> Timings:
    """Evenly spread from `shortest_s` to twice as much, in rounds of 20."""
    seconds = [shortest_s * (1 + number / n) for number in range(n)]
    return Timings(rounds=[seconds[at::20][:20] for at in range(20)], **others)


def compared(strategy: str, hit_s: float, **others: Any) -> Compared:
    """One strategy with all its timings."""
    values: dict[str, Any] = {
        "cold": measurement(strategy=strategy, answer="He was.", cost_usd=0.5),
        "warm": measurement(strategy=strategy, outcome="hit", total_s=0.003),
        "lookups": timings(hit_s, first_s=hit_s * 50),
        "invokes": timings(hit_s + 0.0002),
        "stores": timings(hit_s * 3, failures=2),
        "entry_bytes": 4_321,
        "survives_restart": True,
        "shared_between_machines": False,
    }
    return Compared(strategy=strategy, **values | others)


def run(*all_compared: Compared, **others: Any) -> Run:
    """A finished comparison; of memory and SQLite unless others are given."""
    chosen = all_compared or (compared("memory", 10e-6), compared("sqlite", 20e-6))
    values: dict[str, Any] = {
        "id": "0123456789abcdef",
        "scope": "shared",
        "began_at": 1_750_000_000.0,
        "request": CompareRequest(
            prompt="Who was Carl Sagan?",
            strategies=tuple(each.strategy for each in chosen),
            model_id="simulated",
            scope="shared",
            ask_each=True,
        ),
        "simulated": True,
        "machine": Machine(system="Linux 6", processor="x86_64", cores=2, python="3.11.2", versions={"apsw": "3.51"}),
        "compared": chosen,
    }
    return Run(**values | others).with_ratios()
