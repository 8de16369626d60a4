"""Entries on their way in and out, as jobs: an upload into a cache, LangChain's own file into a cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import apsw
from langchain_core.caches import BaseCache

from lab.browsing import cache_of
from lab.importing import import_lines
from lab.intake import Importing, ImportResult
from lab.jobs import Job
from lab.laboratory import Laboratory
from lab.langchain_import import import_langchain

ImportJob = Job[Importing, ImportResult]
PAGES_A_STEP = 1_000
SQLITE_MAGIC = b"SQLite format 3\0"
"""What every SQLite database begins with (https://sqlite.org/fileformat.html#the_database_header)."""


def start_import(
    lab: Laboratory, strategy: str, namespace: str, source: BinaryIO, *, overwrite: bool = False
) -> ImportJob:
    """Begin to import an upload: our lines of JSON, or the database of LangChain's `SQLiteCache`.

    Raises `jobs.TooManyJobsError`.
    """

    def work(job: ImportJob) -> ImportResult:
        cache = cache_of(lab, strategy, namespace)
        source.seek(0)
        is_database = source.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
        source.seek(0)
        if not is_database:
            return import_lines(source, cache, overwrite=overwrite, show=job.show, stopping=lambda: job.stopping)
        with tempfile.TemporaryDirectory(prefix="llm-cache-lab-") as folder:
            path = Path(folder, "upload.db")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
                shutil.copyfileobj(source, target)
            return import_langchain(
                path, cache, namespace=namespace, overwrite=overwrite, show=job.show, stopping=lambda: job.stopping
            )

    return lab.jobs.start(work)


def start_langchain_import(
    lab: Laboratory, foreign: str, strategy: str, namespace: str, *, overwrite: bool = False
) -> ImportJob:
    """Begin to import what this namespace has in a strategy that is LangChain's own `SQLiteCache`.

    Raises `jobs.TooManyJobsError`.
    """

    def work(job: ImportJob) -> ImportResult:
        path = file_of(lab.strategies.get(foreign, namespace).cache)
        if path is None:
            raise ValueError(f"{foreign} keeps no file that can be read.")
        cache = cache_of(lab, strategy, namespace)
        with tempfile.TemporaryDirectory(prefix="llm-cache-lab-") as folder:
            copy = Path(folder, "copy.db")
            _copy_as_it_is_now(path, copy)
            return import_langchain(
                copy, cache, namespace=namespace, overwrite=overwrite, show=job.show, stopping=lambda: job.stopping
            )

    return lab.jobs.start(work)


def file_of(cache: BaseCache | None) -> Path | None:
    """The file of LangChain's `SQLiteCache`; None for every other cache."""
    engine = getattr(cache, "engine", None)
    url = getattr(engine, "url", None)
    if getattr(url, "get_backend_name", lambda: None)() != "sqlite":
        return None
    database = getattr(url, "database", None)
    return Path(database) if database and database != ":memory:" else None


def _copy_as_it_is_now(source: Path, target: Path) -> None:
    """Copy a SQLite database that others may be writing to (https://sqlite.org/backup.html)."""
    with (
        closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)) as of,
        closing(apsw.Connection(str(target))) as into,
        into.backup("main", of, "main") as backup,
    ):
        while not backup.done:
            backup.step(PAGES_A_STEP)
