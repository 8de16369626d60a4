"""Entries out of a file that anybody may have written: what is an entry goes in, all else is told of."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_backends import CacheBackend, MemoryCache, cache_key
from lab import importing, intake
from lab.exporting import export_lines
from lab.importing import import_lines
from lab.intake import Importing, ImportResult
from lab.jobs import Job, Jobs
from lab.transfer_format import line_of
from tests.cache_backends.generations import without_haste
from tests.lab.building import Clock
from tests.lab.transfers import LLM, SECRET, SECRETIVE, FailingCache, everything, store

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def cache() -> MemoryCache:
    return MemoryCache()


@pytest.fixture
def lines(clock: Clock) -> list[bytes]:
    """The lines of four entries."""
    source = MemoryCache(clock=clock)
    for number in range(4):
        store(source, f"q{number}")
        clock.advance(1)
    return list(export_lines(source))


def run(cache: CacheBackend, *parts: bytes, **options: Any) -> ImportResult:
    return import_lines(io.BytesIO(b"".join(parts)), cache, **options)


def told(result: ImportResult) -> list[tuple[int, str]]:
    return [(mistake.number, mistake.sentence) for mistake in result.mistakes]


def prompts(cache: CacheBackend) -> set[str]:
    return {entry.raw_prompt for entry in everything(cache).values()}


NOTHING = ImportResult(
    imported=0, replaced=0, already_there=0, unverified=0, skipped=0,
    mistakes=(), mistakes_in_all=0, stopped=False, error=None,
)  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\r\n", b"  \n\t\n", BOM, BOM + b"\n"])
def test_a_file_without_lines_imports_nothing(cache: MemoryCache, content: bytes) -> None:
    assert run(cache, content) == NOTHING


def test_right_lines_go_in_and_wrong_ones_are_told_by_their_numbers(cache: MemoryCache, lines: list[bytes]) -> None:
    result = run(cache, lines[0], b"nonsense\n", b"\n", lines[1], b'{"format": 7}\n', lines[2])
    assert result.imported == 3
    assert prompts(cache) == {"q0", "q1", "q2"}
    assert told(result) == [
        (2, "not JSON at character 1: Expecting value."),
        (5, "format is 7; allowed is 1."),
    ]
    assert result.mistakes_in_all == 2
    assert result.error is None


@pytest.mark.parametrize(
    "written",
    [
        lambda lines: b"".join(lines),
        lambda lines: b"".join(lines)[:-1],
        lambda lines: BOM + b"".join(lines),
        lambda lines: b"".join(lines).replace(b"\n", b"\r\n"),
        lambda lines: b"\n\r\n" + b"\n  \n".join(lines) + b"\n\n",
    ],
    ids=["as exported", "no last newline", "byte order mark", "CRLF", "blank lines"],
)
def test_a_file_that_an_editor_has_saved_is_read(
    cache: MemoryCache, lines: list[bytes], written: Callable[[list[bytes]], bytes]
) -> None:
    result = run(cache, written(lines))
    assert (result.imported, result.mistakes) == (4, ())


def test_a_byte_order_mark_is_no_part_of_any_other_line(cache: MemoryCache, lines: list[bytes]) -> None:
    assert [number for number, _ in told(run(cache, lines[0], BOM + lines[1]))] == [2]


def test_what_is_not_utf8_is_told(cache: MemoryCache, lines: list[bytes]) -> None:
    assert told(run(cache, lines[0], lines[1].replace(b"q1", b"q\xe9"), lines[2]))[0][0] == 2
    said = run(cache, b"".join(lines).decode().encode("utf-16"))
    assert said.imported == 0
    assert told(said)[0] == (1, "byte 1 of the line is not UTF-8; save the file in UTF-8.")


@pytest.mark.parametrize("over", [1, 2, 50, 100, 101, 1000])
def test_a_line_that_is_too_long_is_refused_and_the_next_is_read(
    cache: MemoryCache, lines: list[bytes], monkeypatch: pytest.MonkeyPatch, over: int
) -> None:
    most = max(map(len, lines))
    monkeypatch.setattr(importing, "MAX_LINE_BYTES", most)
    monkeypatch.setattr(importing, "SKIPPED_AT_A_TIME", 100)
    result = run(cache, lines[0], b" " * (most + over) + b"\n", lines[1], b"x" * (most + over))
    assert result.imported == 2
    assert told(result) == [
        (2, f"the line is longer than {most} bytes, the most that is allowed."),
        (4, f"the line is longer than {most} bytes, the most that is allowed."),
    ]


def test_the_longest_line_is_read(cache: MemoryCache, lines: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_LINE_BYTES", len(lines[0]) - 1)
    assert run(cache, lines[0], lines[0][:-1]).mistakes == ()


class Endless(io.RawIOBase):
    """A line without an end, until so many bytes were read."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readline(self, size: int | None = -1) -> bytes:
        """More of it."""
        assert size is not None
        assert size > 0
        part = b"x" * min(size, self.left)
        self.left -= len(part)
        return part


def test_a_line_that_is_too_long_is_never_whole_in_memory(cache: MemoryCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_LINE_BYTES", 2_000_000)
    tracemalloc.start()
    try:
        result = import_lines(Endless(200_000_000), cache)  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.mistakes_in_all == 1
    assert peak < 10_000_000


def test_a_line_without_an_end_can_be_stopped(cache: MemoryCache) -> None:
    source = Endless(10**15)
    asked: list[int] = []

    def stopping() -> bool:
        asked.append(1)
        return len(asked) > 5

    result = import_lines(source, cache, stopping=stopping)  # type: ignore[arg-type]
    assert result.stopped


def test_so_many_mistakes_are_told_and_the_others_counted(
    cache: MemoryCache, lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_MISTAKES", 10)
    result = run(cache, b"x\n" * 25, lines[0])
    assert [number for number, _ in told(result)] == list(range(1, 11))
    assert (result.mistakes_in_all, result.imported) == (25, 1)


def test_an_entry_that_is_there_stays(cache: MemoryCache, lines: list[bytes]) -> None:
    store(cache, "q1", "newer answer")
    result = run(cache, *lines)
    assert (result.imported, result.already_there, result.replaced, result.mistakes) == (3, 1, 0, ())
    assert everything(cache)[cache_key("q1", LLM)].text == "newer answer"


def test_an_entry_that_is_there_is_replaced_where_that_is_wanted(cache: MemoryCache, lines: list[bytes]) -> None:
    store(cache, "q1", "newer answer")
    result = run(cache, *lines, overwrite=True)
    assert (result.imported, result.already_there, result.replaced) == (4, 0, 1)
    assert everything(cache)[cache_key("q1", LLM)].text == "answer"


def test_an_entry_that_is_twice_in_a_file_goes_in_once(cache: MemoryCache, lines: list[bytes]) -> None:
    result = run(cache, lines[0], lines[0])
    assert (result.imported, result.already_there) == (1, 1)


def secretive(prompt: str, text: str) -> bytes:
    """The line of an entry whose parameters had a secret."""
    source = MemoryCache()
    store(source, prompt, text, SECRETIVE)
    (line,) = export_lines(source)
    assert SECRET.encode() not in line
    return line


def test_keys_that_can_not_be_checked_are_counted(cache: MemoryCache, lines: list[bytes]) -> None:
    result = run(cache, secretive("secretive", "answer"), lines[0])
    assert (result.imported, result.unverified, result.mistakes) == (2, 1, ())
    assert cache.lookup("secretive", SECRETIVE) is not None
    assert run(cache, secretive("secretive", "answer")).unverified == 0  # it did not go in


def test_a_key_that_can_not_be_checked_never_replaces_the_answer_to_another_prompt(cache: MemoryCache) -> None:
    key = store(cache, "How much is two plus two?", "4")
    planted = secretive("planted", "5").replace(cache_key("planted", SECRETIVE).encode(), key.encode())
    result = run(cache, planted, overwrite=True)
    assert told(result) == [
        (1, "under this key, which can't be checked, lies the answer to another prompt, and stays.")
    ]
    assert everything(cache)[key].text == "4"
    assert run(cache, planted).already_there == 1


def test_a_key_that_was_checked_replaces_what_was_planted(cache: MemoryCache) -> None:
    source = MemoryCache()
    key = store(source, "How much is two plus two?", "4")
    run(cache, secretive("planted", "5").replace(cache_key("planted", SECRETIVE).encode(), key.encode()))
    assert everything(cache)[key].raw_prompt == "planted"
    assert run(cache, *export_lines(source), overwrite=True).replaced == 1
    assert everything(cache) == everything(source)


def test_no_secret_of_a_file_goes_in(cache: MemoryCache) -> None:
    source = MemoryCache()
    key = store(source, "q", "answer", SECRETIVE)
    line = line_of(everything(source)[key]).replace(b"[redacted]", f"Bearer {SECRET}".encode())
    assert SECRET.encode() in line
    assert run(cache, line).imported == 1
    assert SECRET not in repr(everything(cache))


def test_what_the_cache_itself_refuses_is_told(lines: list[bytes]) -> None:
    cache = MemoryCache(max_bytes=300)
    source = MemoryCache()
    store(source, "large", "x" * 1000)
    result = run(cache, lines[0], *export_lines(source), lines[1])
    assert result.imported == 2
    ((number, sentence),) = told(result)
    assert number == 2
    assert sentence.startswith("the entry can't be kept: the entry has 1")


def test_an_empty_answer_is_told(cache: MemoryCache, lines: list[bytes]) -> None:
    empty = lines[0].replace(b'"content":"answer"', b'"content":""')
    assert told(run(cache, empty)) == [(1, "the entry can't be kept: the answer is empty.")]


def test_a_store_that_fails_ends_it_and_what_went_in_is_counted(lines: list[bytes]) -> None:
    cache = FailingCache(2)
    result = run(cache, lines[0], b"x\n", *lines[1:])
    assert (result.imported, result.mistakes_in_all, result.stopped) == (2, 1, False)
    assert result.error is not None
    assert result.error.startswith("no server at redis://")
    assert "hunter2secret" not in result.error
    assert prompts(cache) == {"q0", "q1"}


def test_a_file_that_fails_ends_it(cache: MemoryCache, lines: list[bytes]) -> None:
    class Failing(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            if self.tell() > 0:
                raise OSError(5, "Input/output error")
            return super().readline(size)

    result = import_lines(Failing(b"".join(lines)), cache)
    assert (result.imported, result.error) == (1, "[Errno 5] Input/output error")


def test_it_stops_between_two_lines(cache: MemoryCache, lines: list[bytes]) -> None:
    result = run(cache, *lines, stopping=lambda: len(prompts(cache)) == 2)
    assert (result.imported, result.stopped, result.error) == (2, True, None)


def test_progress_is_shown_by_lines_and_by_bytes(
    cache: MemoryCache, lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "LINES_A_STEP", 3)
    shown: list[Importing] = []
    run(cache, b"x\n" * 5, *lines, show=shown.append)
    assert shown == [Importing(3, 0), Importing(6, 1), Importing(9, 4), Importing(9, 4)]
    monkeypatch.setattr(importing, "BYTES_A_STEP", 1)
    shown.clear()
    run(cache, *lines, show=shown.append)
    assert [step.read for step in shown] == [1, 2, 3, 4, 4]


def test_it_works_as_a_job_that_can_be_stopped(cache: MemoryCache, lines: list[bytes]) -> None:
    def work(job: Job[Importing, ImportResult]) -> ImportResult:
        def show(step: Importing) -> None:
            job.show(step)
            job.stop()

        return run(cache, lines[0], b"\n" * 499, *lines[1:], show=show, stopping=lambda: job.stopping)

    job = Jobs().start(work)
    assert job.wait(30)
    assert job.result is not None
    assert (job.result.imported, job.result.stopped, job.error) == (1, True, None)
    assert job.progress == [Importing(500, 1)]


@without_haste
@given(st.binary(max_size=300), st.integers(0, 3), st.integers(0, 3))
def test_any_bytes_are_read_without_an_error(content: bytes, before: int, after: int) -> None:
    source = MemoryCache()
    for number in range(4):
        store(source, f"q{number}")
    lines = list(export_lines(source))
    cache = MemoryCache()
    result = run(cache, *lines[:before], content, b"\n", *lines[4 - after :])
    assert result.error is None
    assert result.imported + result.already_there == before + after
    blank = sum(not part.strip() for part in content.removeprefix(BOM if before == 0 else b"").split(b"\n"))
    assert result.mistakes_in_all == content.count(b"\n") + 1 - blank
