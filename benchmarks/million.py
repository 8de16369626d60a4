"""Makes stores of very many entries to browse, with short texts: `python -m benchmarks.million FOLDER [ENTRIES]`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.many_entries import Kind, load_one_by_one, load_sqlite, many_entries
from cache_backends import JSONFileCache, SQLiteCache

NAMESPACE = "shared:simulated"
"""The namespace that the entries page opens."""
APART_S = 5.0
"""Between two entries: a million of them were stored over two months."""
LIFETIMES_S = (None, 86_400.0, 30 * 86_400.0, 90 * 86_400.0)
QUESTION_LENGTH, ANSWER_LENGTH, MODELS, RARE_EVERY_SHARE = 75, 300, 4, 10
DESCRIPTION = f"questions of {QUESTION_LENGTH} characters, answers of {ANSWER_LENGTH}, {MODELS} models"


def kind(entries: int) -> Kind:
    """So many entries up to now, of which ten have the rare word."""
    return Kind(
        question_length=QUESTION_LENGTH,
        answer_length=ANSWER_LENGTH,
        models=MODELS,
        created_from=time.time() - entries * APART_S,
        created_every_s=APART_S,
        rare_every=entries // RARE_EVERY_SHARE,
        lifetimes_s=LIFETIMES_S,
        numbered=True,
    )


def make_sqlite(path: Path, entries: int) -> None:
    """A SQLite store with so many entries."""
    with SQLiteCache(path, namespace=NAMESPACE) as cache:
        for some in many_entries(entries, kind(entries)):
            load_sqlite(cache, some)


def make_json(folder: Path, entries: int) -> None:
    """A folder with so many entries."""
    with JSONFileCache(folder, namespace=NAMESPACE) as cache:
        for some in many_entries(entries, kind(entries)):
            load_one_by_one(cache, some)


def main() -> None:
    """Make a SQLite store in a data folder of the app."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("entries", type=int, nargs="?", default=1_000_000)
    asked = parser.parse_args()
    make_sqlite(asked.folder / "cache.db", asked.entries)


if __name__ == "__main__":
    main()
