"""Entries out of a file of lines, as `lab.exporting` writes it, into a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from cache_backends import CacheBackend, CacheError
from lab.failures import detail
from lab.intake import Importing, ImportResult, Intake
from lab.transfer_format import LineRefusedError, entry_of

MAX_LINE_BYTES = 64 * 2**20
"""Of one line; more is never in memory. An answer of 10 MB may take six times as much, where each character of it is
written as an escape."""
SKIPPED_AT_A_TIME = 2**20
"""Bytes of a line that is too long."""
LINES_A_STEP = 500
"""Lines after which it is shown how far the import is."""
BYTES_A_STEP = 2**24
"""Or bytes, where lines are long."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def import_lines(
    source: BinaryIO,
    cache: CacheBackend,
    *,
    overwrite: bool = False,
    show: Callable[[Importing], object] = lambda _: None,
    stopping: Callable[[], bool] = lambda: False,
) -> ImportResult:
    """Put the entries of all lines into the namespace of this cache; what is no entry is among the mistakes.

    An entry that is there under the same key stays, unless `overwrite`. It is looked for just before, so that an answer
    which is stored in this very moment may be replaced. A file or store that fails ends it; the result says why.
    """
    intake = Intake(cache, overwrite=overwrite)
    number = shown = unseen_bytes = 0
    try:
        for number, line in enumerate(_lines(source), 1):
            if stopping():
                return intake.result(stopped=True)
            if line is None:
                _skip_line(source, stopping)
                intake.refuse(number, f"the line is longer than {MAX_LINE_BYTES} bytes, the most that is allowed.")
            elif line.strip():
                _put(intake, number, line)
            unseen_bytes += len(line or b"")
            if number - shown >= LINES_A_STEP or unseen_bytes >= BYTES_A_STEP:
                show(intake.so_far(number))
                shown, unseen_bytes = number, 0
    except (CacheError, OSError) as error:
        return intake.result(error=detail(error))
    show(intake.so_far(number))
    return intake.result()


def _put(intake: Intake, number: int, line: bytes) -> None:
    try:
        read = entry_of(line)
    except LineRefusedError as refused:
        intake.refuse(number, str(refused))
    else:
        intake.put(number, read.entry, is_verified=read.is_verified)


def _lines(source: BinaryIO) -> Iterator[bytes | None]:
    """Each line; None in place of one that is too long, whose rest is to be skipped."""
    mark = _BYTE_ORDER_MARK
    while line := source.readline(MAX_LINE_BYTES + 1):
        yield line.removeprefix(mark) if len(line) <= MAX_LINE_BYTES or line.endswith(b"\n") else None
        mark = b""


def _skip_line(source: BinaryIO, stopping: Callable[[], bool]) -> None:
    while not stopping():
        if not (part := source.readline(SKIPPED_AT_A_TIME)) or part.endswith(b"\n"):
            return
