"""How long `import cache_backends` takes beyond what every LangChain cache needs."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.tables import Table

ROUNDS = 11
GOAL_S = 0.1
TIMED = "import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"


def measure() -> list[Table]:
    """Import both in new processes, in turn, and compare the medians."""
    times_s: dict[str, list[float]] = {"langchain_core.caches": [], "cache_backends": []}
    for _ in range(ROUNDS):
        for module, measured_s in times_s.items():
            code = TIMED.format(module=module)
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            measured_s.append(float(done.stdout))
    medians_s = {module: statistics.median(measured_s) for module, measured_s in times_s.items()}
    extra_s = medians_s["cache_backends"] - medians_s["langchain_core.caches"]
    return [
        Table(
            "Import",
            f"Each module in a new process, in turn; medians of {ROUNDS}.",
            ("module", "seconds", "goal"),
            [
                ("langchain_core.caches", f"{medians_s['langchain_core.caches']:.3f}", ""),
                ("cache_backends", f"{medians_s['cache_backends']:.3f}", ""),
                ("difference", f"{extra_s:.3f}", f"≤ {GOAL_S}"),
            ],
        )
    ]
