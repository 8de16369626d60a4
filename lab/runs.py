"""`Runs`: the comparisons that were made, in a SQLite file bounded in number: opened by link, named, removed."""

from __future__ import annotations

import json
import logging
import re
import threading
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import apsw
import orjson
from pydantic import TypeAdapter, ValidationError

from cache_backends.errors import CacheError
from cache_backends.sqlite_file import SQLiteFile
from cache_backends.sqlite_schema import Schema
from lab.comparison import Run, UnixTime
from lab.history import storable

logger = logging.getLogger("lab.runs")

MAX_RUNS = 500
"""Runs that are kept, of all scopes together: the oldest unnamed one goes first, then the oldest."""
MAX_NAME = 80
"""Characters of a run's name."""
ID = re.compile(r"[A-Za-z0-9_-]{16}")
"""What an id looks like: whoever has one may open the run, so it can't be guessed."""

_SCHEMA = Schema(
    content="list of comparisons",
    application_id=0x4C4C4D52,  # "LLMR"
    version=1,
    statements=(
        "create table runs "
        "(id text primary key, scope, began_at, name, prompt, strategies, stopped, body) without rowid",
        "create index by_scope on runs (scope, began_at)",
        "create table namespaces (name text primary key, noted_at) without rowid",
    ),
    probes=(
        "select id, scope, began_at, name, prompt, strategies, stopped, body from runs limit 1",
        "select name, noted_at from namespaces limit 1",
    ),
)
_RUN = TypeAdapter(Run)


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run as a list shows it. `began_at` is a Unix time."""

    id: str
    began_at: UnixTime
    name: str | None
    prompt: str
    strategies: tuple[str, ...]
    stopped: bool


_KEPT = TypeAdapter(KeptRun)


class RunDamagedError(Exception):
    """A kept run can't be read."""


class Runs:
    """All comparisons that were made. Raises `CacheError` where its file can't be used."""

    def __init__(self, path: Path, *, max_runs: int = MAX_RUNS) -> None:
        self._path = path
        self._max_runs = max_runs
        self._opened: SQLiteFile | None = None
        self._lock = threading.Lock()

    @property
    def notices(self) -> list[str]:
        """What a person should know about the file."""
        return [] if self._opened is None else list(self._opened.notices)

    def keep(self, run: Run) -> None:
        """Keep a run, in the place of one with its id."""
        body = _as_json(_RUN.dump_python(run, mode="json", exclude={"request": {"visitor_key"}}))
        with self._file().transaction() as connection:
            connection.execute(
                "insert or replace into runs values (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run.id,
                    run.scope,
                    run.began_at,
                    None if run.name is None else storable(run.name),
                    storable(run.request.prompt[:500]),
                    storable("\n".join(run.request.strategies)),
                    run.stopped,
                    body,
                ),
            )
            connection.execute(
                "delete from runs where id in "
                "(select id from runs order by id = ? desc, name is not null desc, began_at desc limit -1 offset ?)",
                (run.id, self._max_runs),
            )

    def get(self, run_id: str) -> Run | None:
        """The run with this id; None where there is none. Raises `RunDamagedError`."""
        if not ID.fullmatch(run_id):
            return None
        row = self._file().row("select cast(body as blob) from runs where id = ?", (run_id,))
        if row is None:
            return None
        try:
            run = _RUN.validate_python(orjson.loads(row))  # which, other than pydantic, takes no NaN for a number
            for names in ([each.strategy for each in run.compared], run.request.strategies):
                if len(set(names)) < len(names):
                    raise ValueError("a strategy is in it twice")
            return run
        except (ValidationError, ValueError, TypeError) as error:
            raise RunDamagedError(f"The run {run_id} is damaged and can't be shown.") from error

    def newest(self, scope: str, limit: int) -> list[KeptRun]:
        """The newest runs of a scope, newest first; a row that is damaged is left out."""
        names = [each.name for each in fields(KeptRun)]
        with self._file().connection() as connection:
            rows = connection.execute(
                "select id, began_at, name, prompt, strategies, stopped from runs where scope = ? "
                "order by began_at desc limit ?",
                (scope, limit),
            ).fetchall()
        kept = []
        for row in rows:
            try:
                values = dict(zip(names, row, strict=True)) | {"strategies": str(row[4]).split("\n")}
                kept.append(_KEPT.validate_python(values))
            except ValidationError as error:
                logger.warning("a kept run is damaged: %s", error)
        return kept

    def rename(self, run_id: str, name: str) -> None:
        """Give a run a name, or take it away by an empty one; one that is not there stays away."""
        run = self.get(run_id)
        if run is not None:
            cleaned = " ".join(name.split())[:MAX_NAME]
            self.keep(replace(run, name=cleaned or None))

    def remove(self, run_id: str) -> bool:
        """Remove a run; whether it was there."""
        with self._file().transaction() as connection:
            connection.execute("delete from runs where id = ?", (run_id,))
            return bool(connection.changes())

    def note_namespace(self, name: str, now: float) -> None:
        """Note that entries are being stored there which must be removed, whatever becomes of this process."""
        with self._file().transaction() as connection:
            connection.execute("insert or replace into namespaces values (?, ?)", (name, now))

    def left_namespaces(self, before: float) -> list[str]:
        """The namespaces that were noted before a Unix time and not forgotten since."""
        with self._file().connection() as connection:
            rows = connection.execute("select cast(name as blob) from namespaces where noted_at < ?", (before,))
            return [name.decode("utf-8", "replace") for (name,) in rows]

    def forget_namespace(self, name: str) -> None:
        """Nothing is left there."""
        with self._file().transaction() as connection:
            connection.execute("delete from namespaces where name = ?", (name,))

    def close(self) -> None:
        """Give back the file. Idempotent."""
        if self._opened is not None:
            self._opened.close()

    def _file(self) -> SQLiteFile:
        """Opened when it is first needed: one that can't be used must not keep the app from starting."""
        with self._lock:
            if self._opened is None:
                try:
                    self._opened = SQLiteFile(self._path, _SCHEMA)
                except (OSError, apsw.Error, ValueError) as error:
                    raise CacheError(f"The comparisons can't be kept: {error}.") from error
            return self._opened


def _as_json(plain: Any) -> bytes:
    """JSON, with a question mark for each lone surrogate, which UTF-8 can't carry."""
    try:
        return orjson.dumps(plain)
    except TypeError:
        return json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace")
