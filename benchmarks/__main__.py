"""Run every benchmark, print the tables and keep them in `benchmarks/results.md`."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from benchmarks import (
    backends,
    comparison,
    entries_page,
    imports,
    invoke,
    machine,
    page,
    parts,
    scale,
    server_pages,
    servers,
    writers,
)
from benchmarks.tables import Table

RESULTS = Path(__file__).parent / "results.md"
BENCHMARKS = {
    "backends": backends.measure,
    "parts": parts.measure,
    "invoke": invoke.measure,
    "scale": scale.measure,
    "writers": writers.measure,
    "servers": servers.measure,
    "browsing": server_pages.measure,
    "comparison": comparison.measure,
    "imports": imports.measure,
    "page": page.measure,
    "entries": entries_page.measure,
}


def main() -> None:
    """Measure what was asked for, all by default; only a whole run replaces the results that are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[], help=f"of: {', '.join(BENCHMARKS)}")
    chosen = parser.parse_args().names or list(BENCHMARKS)
    unknown = [name for name in chosen if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}. Known: {', '.join(BENCHMARKS)}")
    warnings.filterwarnings("ignore", module="langchain_community")  # it is here to be compared with
    tables: list[Table] = []
    for name in chosen:
        for table in BENCHMARKS[name]():
            print(table.markdown(), flush=True)
            tables.append(table)
    if set(chosen) == set(BENCHMARKS):
        RESULTS.write_text("\n".join(["# Results\n", machine.description(), *(each.markdown() for each in tables)]))
        print(f"Kept in {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")


if __name__ == "__main__":
    main()
