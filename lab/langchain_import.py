"""Answers out of the file of LangChain's `SQLiteCache` into a cache of ours.

The file is anybody's. It is opened to be read only, as if nobody changed it meanwhile (a copy is to be given, not a
file in use), with everything in it that SQLite could be made to execute switched off, and only where the table is what
`langchain_community.cache.SQLiteCache` makes: the rowid table `full_llm_cache(prompt, llm, idx, response)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import apsw

from cache_backends import CacheBackend, CacheEntry, CacheError, codec
from cache_backends.errors import NotCacheableError
from cache_backends.keys import request_digest
from cache_backends.readable import readable_parameters
from cache_backends.storage import StoredEntry
from cache_backends.summaries import entry_row, whole_entry
from cache_backends.worth_keeping import refuse_what_is_not_worth_keeping
from lab.failures import detail
from lab.foreign import qualified, unqualified
from lab.intake import Importing, ImportResult, Intake
from lab.langchain_json import ResponseRefusedError, generations_of

MAX_VALUE_BYTES = 64 * 2**20
"""Of one prompt, one set of parameters, and all generations of one answer."""
MOST_GENERATIONS = 1_000
"""Of one answer."""
ROWS_A_STEP = 500
"""Rows after which it is shown how far the import is."""
STEPS_BETWEEN_LOOKS = 20_000
"""Steps of SQLite's machine after which it is asked whether to stop: about a millisecond."""
MAX_STATEMENT_BYTES = 100_000
"""Of the text that makes a table: all of them are parsed."""

_TABLE = "full_llm_cache"
_COLUMNS = ("prompt", "llm", "idx", "response")
_ROWS = """
select rowid,
       iif(typeof(prompt) = 'text' and octet_length(prompt) <= ?1, cast(prompt as blob), null),
       iif(typeof(llm) = 'text' and octet_length(llm) <= ?1, cast(llm as blob), null),
       iif(typeof(idx) = 'integer', idx, null),
       iif(typeof(response) = 'text' and octet_length(response) <= ?1, cast(response as blob), null)
from main.full_llm_cache
order by prompt collate binary, llm collate binary, idx
"""
"""In the order of the table's own index, so that nothing is sorted. Texts as bytes, since they may not be UTF-8."""


class _Row(NamedTuple):
    number: int
    prompt: bytes | None
    llm: bytes | None
    idx: int | None
    response: bytes | None


@dataclass(slots=True)
class _Request:
    """The rows of one answer, as they are being read."""

    number: int
    prompt: bytes | None
    llm: bytes | None
    rows: list[_Row] = field(default_factory=list)
    size_bytes: int = 0
    problem: tuple[int, str] | None = None

    def add(self, row: _Row) -> None:
        if self.problem is not None:
            return
        for name, value in (("prompt", row.prompt), ("llm", row.llm), ("response", row.response)):
            if value is None:
                self._give_up(row, f"{name} is not text, or has more than {MAX_VALUE_BYTES} bytes.")
                return
        if row.idx is None:
            self._give_up(row, "idx is not a whole number.")
            return
        self.rows.append(row)
        self.size_bytes += len(row.response or b"")
        if len(self.rows) > MOST_GENERATIONS or self.size_bytes > MAX_VALUE_BYTES:
            self._give_up(
                row,
                f"the answer has more than {MOST_GENERATIONS} generations or {MAX_VALUE_BYTES} bytes, "
                "the most that is allowed.",
            )

    def _give_up(self, row: _Row, sentence: str) -> None:
        self.problem = (row.number, sentence)
        self.rows.clear()


class _NotLangChainsError(Exception):
    """A file that is not what LangChain's cache makes; the text is a sentence."""


def import_langchain(
    path: Path,
    cache: CacheBackend,
    *,
    namespace: str | None = None,
    overwrite: bool = False,
    show: Callable[[Importing], object] = lambda _: None,
    stopping: Callable[[], bool] = lambda: False,
) -> ImportResult:
    """Put the answers of LangChain's file into the namespace of this cache; what is none is among the mistakes.

    Where the laboratory itself has stored in such a file, the namespace before the parameters is taken away. With
    `namespace`, answers of other namespaces are skipped; those without any are not. The file knows no times: answers
    are as if stored now, and never expire. An entry that is there under the same key stays, unless `overwrite`. A file
    or store that fails ends it; the result says why.
    """
    intake = Intake(cache, overwrite=overwrite)
    read = shown = 0
    try:
        with closing(_opened(path, stopping)) as connection:
            _check_table(connection)
            for read, request in _requests(connection):
                if stopping():
                    return intake.result(stopped=True)
                if request is not None:
                    _put(intake, request, namespace)
                if read - shown >= ROWS_A_STEP:
                    show(intake.so_far(read))
                    shown = read
    except apsw.InterruptError:
        return intake.result(stopped=True)
    except _NotLangChainsError as error:
        return intake.result(error=str(error))
    except apsw.NotADBError:
        return intake.result(error="The file is not a SQLite database, and so not one of LangChain's cache.")
    except (apsw.Error, UnicodeDecodeError) as error:  # names in a damaged schema may not be UTF-8
        return intake.result(error=f"The file can't be read: {detail(error)}")
    except (CacheError, OSError) as error:
        return intake.result(error=detail(error))
    show(intake.so_far(read))
    return intake.result()


def _opened(path: Path, stopping: Callable[[], bool]) -> apsw.Connection:
    """See "Defense Against the Dark Arts", https://sqlite.org/security.html."""
    if not path.is_file():
        raise _NotLangChainsError("There is no such file.")
    # immutable: no lock, no log, nothing beside the file is read or written
    connection = apsw.Connection(
        f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1",
        flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
    )
    for option, value in (
        (apsw.SQLITE_DBCONFIG_DEFENSIVE, 1),
        (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
        (apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0),
        (apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 0),
        (apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
    ):
        connection.config(option, value)
    for limit, most in (
        (apsw.SQLITE_LIMIT_LENGTH, 3 * MAX_VALUE_BYTES + 1_000_000),
        (apsw.SQLITE_LIMIT_SQL_LENGTH, MAX_STATEMENT_BYTES),
        (apsw.SQLITE_LIMIT_EXPR_DEPTH, 100),
        (apsw.SQLITE_LIMIT_ATTACHED, 0),
    ):
        connection.limit(limit, most)
    connection.set_progress_handler(stopping, STEPS_BETWEEN_LOOKS)
    for pragma in ("trusted_schema = off", "cell_size_check = on", "mmap_size = 0", "query_only = on"):
        connection.execute(f"pragma {pragma}")
    return connection


def _check_table(connection: apsw.Connection) -> None:
    if connection.pragma("encoding") != "UTF-8":
        raise _NotLangChainsError("The texts of the database are not in UTF-8, as those of LangChain's cache are.")
    tables = connection.execute(f"pragma main.table_list({_TABLE})").fetchall()
    if not tables:
        raise _NotLangChainsError(f"The database has no table {_TABLE}, and so is not one of LangChain's cache.")
    columns = [(name, hidden) for _, name, *_, hidden in connection.execute(f"pragma main.table_xinfo({_TABLE})")]
    _, _, kind, _, without_rowid, _ = tables[0]
    if kind != "table" or without_rowid or columns != [(name, 0) for name in _COLUMNS]:
        raise _NotLangChainsError(f"{_TABLE} is not the table {_TABLE}({', '.join(_COLUMNS)}) of LangChain's cache.")


def _requests(connection: apsw.Connection) -> Iterator[tuple[int, _Request | None]]:
    """After each row how many were read, and the request that ended before it, if one did."""
    current: _Request | None = None
    read = 0
    for values in connection.execute(_ROWS, (MAX_VALUE_BYTES,)):
        row = _Row(*values)
        ended = None
        if current is None or current.prompt is None or (row.prompt, row.llm) != (current.prompt, current.llm):
            ended, current = current, _Request(row.number, row.prompt, row.llm)
        current.add(row)
        read += 1
        yield read, ended
    yield read, current


def _put(intake: Intake, request: _Request, namespace: str | None) -> None:
    try:
        llm_string = _parameters(request.llm or b"", namespace)
        if llm_string is None:
            intake.skipped += 1
            return
        if request.problem is not None:
            intake.refuse(*request.problem)
            return
        prompt = (request.prompt or b"").decode()
        responses = [(row.response or b"").decode() for row in request.rows]
    except UnicodeDecodeError:
        intake.refuse(request.number, "prompt, llm or response holds bytes that are not UTF-8.")
        return
    try:
        entry = _entry(intake.cache, prompt, llm_string, responses)
    except ResponseRefusedError as refused:
        intake.refuse(request.rows[refused.place].number, str(refused))
    except NotCacheableError as error:
        intake.refuse(request.number, f"the answer can't be kept: {error}.")
    else:
        intake.put(request.number, entry)


def _parameters(llm: bytes, namespace: str | None) -> str | None:
    """LangChain's parameters without the laboratory's namespace before them; None where it is another one."""
    llm_string = llm.decode()
    if namespace is not None and llm_string.startswith(qualified(namespace, "")):
        return llm_string.removeprefix(qualified(namespace, ""))
    other, parameters = unqualified(llm_string)
    return parameters if namespace is None or other is None else None


def _entry(cache: CacheBackend, prompt: str, llm_string: str, responses: list[str]) -> CacheEntry:
    """The entry as if it were stored now, and just as if: what the cache would not store is refused."""
    generations = generations_of(responses)
    refuse_what_is_not_worth_keeping(generations, store_truncated=cache.store_truncated)
    parameters = readable_parameters(llm_string)
    now = cache.clock()
    stored = StoredEntry(
        digest=request_digest(prompt, llm_string),
        payload=codec.encode(generations),
        created_at=now,
        expires_at=None,
        model_time_s=None,
        model=parameters.model,
        raw_prompt=prompt,
        llm_string=parameters.llm_string,
        last_used_at=now,
    )
    return whole_entry(entry_row(stored, generations, cache.namespace), stored, generations, location="")
