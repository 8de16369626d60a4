"""Moving entries, as jobs: an upload of either kind into a cache, LangChain's own file into a cache."""

from __future__ import annotations

import io
import tempfile
import threading
from pathlib import Path

import pytest
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration

from cache_backends import CacheBackend
from lab.browsing import cache_of
from lab.exporting import export_lines
from lab.foreign import qualified
from lab.intake import Importing, ImportResult
from lab.laboratory import Laboratory
from lab.moving import ImportJob, file_of, start_import, start_langchain_import
from lab.strategies import StrategyUnavailableError
from tests.cache_backends.flights import LONG_S
from tests.lab.building import LANGCHAINS, OURS
from tests.lab.entries import done, fill
from tests.lab.foreign_caches import Plain
from tests.lab.transfers import LLM, FailingCache, everything, store

pytestmark = pytest.mark.filterwarnings("ignore:The default value of `allowed_objects`")

NAMESPACE = "shared:simulated"
OTHER = "session-1:simulated"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def own(laboratory: Laboratory, strategy: str, namespace: str = NAMESPACE) -> CacheBackend:
    return cache_of(laboratory, strategy, namespace)


def foreign(laboratory: Laboratory, namespace: str, *prompts: str, name: str = "langchain-sqlite") -> None:
    """Store answers in one of LangChain's own caches, as the laboratory does."""
    cache = laboratory.strategies.get(name, namespace).cache
    assert cache is not None
    for prompt in prompts:
        answers = [ChatGeneration(message=AIMessage(f"answer to {prompt}"))]
        cache.update(prompt, qualified(namespace, LLM), answers)


def result_of(job: ImportJob) -> ImportResult:
    result = done(job).result
    assert result is not None, job.error
    return result


@pytest.mark.parametrize("into", OURS)
@pytest.mark.parametrize("of", OURS)
def test_what_was_exported_is_equal_in_another_strategy(laboratory: Laboratory, of: str, into: str) -> None:
    fill(own(laboratory, of), 5)
    lines = b"".join(export_lines(own(laboratory, of)))
    before = everything(own(laboratory, of))
    target = own(laboratory, into, OTHER)
    result = result_of(start_import(laboratory, into, OTHER, io.BytesIO(lines)))
    assert (result.imported, result.mistakes_in_all, result.error) == (5, 0, None)
    assert everything(target) == before


def test_what_is_no_entry_is_listed_with_its_line_and_the_rest_goes_in(laboratory: Laboratory) -> None:
    fill(own(laboratory, "memory"), 2)
    good = list(export_lines(own(laboratory, "memory")))
    lines = b"".join([good[0], b"no entry\n", b"\n", b"{}\n", good[1]])
    result = result_of(start_import(laboratory, "sqlite", NAMESPACE, io.BytesIO(lines)))
    assert (result.imported, result.mistakes_in_all) == (2, 2)
    assert [mistake.number for mistake in result.mistakes] == [2, 4]
    assert all(mistake.sentence for mistake in result.mistakes)


def test_an_entry_that_is_there_stays_unless_it_is_to_be_replaced(laboratory: Laboratory) -> None:
    store(own(laboratory, "memory"), "question", "old")
    lines = b"".join(export_lines(own(laboratory, "memory")))
    store(own(laboratory, "memory"), "question", "new")
    kept = result_of(start_import(laboratory, "memory", NAMESPACE, io.BytesIO(lines)))
    assert (kept.imported, kept.already_there) == (0, 1)
    assert own(laboratory, "memory").entries().entries[0].answer == "new"
    replaced = result_of(start_import(laboratory, "memory", NAMESPACE, io.BytesIO(lines), overwrite=True))
    assert (replaced.imported, replaced.replaced) == (1, 1)
    assert own(laboratory, "memory").entries().entries[0].answer == "old"


def test_an_upload_that_was_read_to_its_end_is_read_from_its_beginning(laboratory: Laboratory) -> None:
    fill(own(laboratory, "memory"), 1)
    foreign(laboratory, NAMESPACE, "mine", "also mine")
    lines = b"".join(export_lines(own(laboratory, "memory")))
    database = (laboratory.settings.data_dir / "langchain.db").read_bytes()
    for content, entries in ((lines, 1), (database, 2)):
        upload = io.BytesIO(content)
        upload.read()
        assert result_of(start_import(laboratory, "json", NAMESPACE, upload)).imported == entries


def test_the_database_of_langchains_cache_is_known_by_its_content(laboratory: Laboratory, temporary: Path) -> None:
    foreign(laboratory, NAMESPACE, "mine", "also mine")
    foreign(laboratory, OTHER, "somebody else's")
    database = (laboratory.settings.data_dir / "langchain.db").read_bytes()
    result = result_of(start_import(laboratory, "sqlite", NAMESPACE, io.BytesIO(database)))
    assert (result.imported, result.skipped, result.error) == (2, 1, None)
    found = own(laboratory, "sqlite").lookup("mine", LLM)
    assert found is not None
    assert found[0].text == "answer to mine"
    assert own(laboratory, "sqlite").namespaces() == [NAMESPACE]
    assert list(temporary.iterdir()) == [], "no copy of anybody's answers is left behind"


@pytest.mark.parametrize("content", [b"SQLite format 3\0", b"SQLite format 3\0" + b"x" * 5_000])
def test_a_damaged_database_is_refused_with_a_sentence(laboratory: Laboratory, content: bytes, temporary: Path) -> None:
    result = result_of(start_import(laboratory, "memory", NAMESPACE, io.BytesIO(content)))
    assert result.imported == 0
    assert result.error
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_upload_has_nothing_to_import(laboratory: Laboratory, content: bytes) -> None:
    result = result_of(start_import(laboratory, "memory", NAMESPACE, io.BytesIO(content)))
    assert (result.imported, result.mistakes_in_all, result.error) == (0, 0, None)


def test_a_store_that_fails_in_the_middle_says_how_far_it_came(laboratory: Laboratory) -> None:
    fill(own(laboratory, "memory"), 5)
    lines = b"".join(export_lines(own(laboratory, "memory")))
    laboratory.strategies._opened["json", ""] = FailingCache(takes=2)
    result = result_of(start_import(laboratory, "json", NAMESPACE, io.BytesIO(lines)))
    assert result.imported == 2
    assert result.error is not None
    assert "hunter2secret" not in result.error


class Paused(io.BytesIO):
    """A file that waits in the middle of being read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.waits, self.goes_on = threading.Event(), threading.Event()
        self.lines = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        self.lines += 1
        if self.lines == 3:
            self.waits.set()
            assert self.goes_on.wait(LONG_S)
        return super().readline(size)


def test_an_import_can_be_stopped_and_what_went_in_stays(laboratory: Laboratory) -> None:
    fill(own(laboratory, "memory"), 5)
    upload = Paused(b"".join(export_lines(own(laboratory, "memory"))))
    job = start_import(laboratory, "sqlite", NAMESPACE, upload)
    assert upload.waits.wait(LONG_S)
    job.stop()
    upload.goes_on.set()
    result = result_of(job)
    assert (result.stopped, result.imported) == (True, 2)
    assert own(laboratory, "sqlite").stats().entries == 2


def test_the_end_of_an_import_is_shown(laboratory: Laboratory) -> None:
    fill(own(laboratory, "memory"), 3)
    job = start_import(laboratory, "sqlite", NAMESPACE, io.BytesIO(b"".join(export_lines(own(laboratory, "memory")))))
    assert done(job).progress[-1] == Importing(3, 3)


@pytest.mark.parametrize("into", ["none", *LANGCHAINS, "unknown"])
def test_nothing_is_imported_into_what_can_not_list(laboratory: Laboratory, into: str) -> None:
    job = done(start_import(laboratory, into, NAMESPACE, io.BytesIO(b"{}\n")))
    assert isinstance(job.error, StrategyUnavailableError)


@pytest.mark.parametrize("into", OURS)
def test_langchains_own_entries_are_hits_where_they_are_copied_to(
    laboratory: Laboratory, into: str, temporary: Path
) -> None:
    foreign(laboratory, NAMESPACE, "mine", "also mine")
    foreign(laboratory, OTHER, "somebody else's")
    result = result_of(start_langchain_import(laboratory, "langchain-sqlite", into, NAMESPACE))
    assert (result.imported, result.skipped, result.error) == (2, 1, None)
    assert sorted(entry.prompt for entry in own(laboratory, into).entries().entries) == ["also mine", "mine"]
    assert own(laboratory, into).lookup("mine", LLM) is not None
    assert own(laboratory, into).namespaces() == [NAMESPACE]
    assert list(temporary.iterdir()) == []
    again = result_of(start_langchain_import(laboratory, "langchain-sqlite", into, NAMESPACE))
    assert (again.imported, again.already_there) == (0, 2)


def test_the_copied_file_is_left_as_it_was_and_in_use(laboratory: Laboratory) -> None:
    foreign(laboratory, NAMESPACE, "mine")
    before = (laboratory.settings.data_dir / "langchain.db").read_bytes()
    result_of(start_langchain_import(laboratory, "langchain-sqlite", "memory", NAMESPACE))
    assert (laboratory.settings.data_dir / "langchain.db").read_bytes() == before
    foreign(laboratory, NAMESPACE, "later")
    assert result_of(start_langchain_import(laboratory, "langchain-sqlite", "memory", NAMESPACE)).imported == 1


def test_what_keeps_no_file_can_not_be_copied(laboratory: Laboratory) -> None:
    job = done(start_langchain_import(laboratory, "langchain-memory", "memory", NAMESPACE))
    assert "keeps no file" in str(job.error)


def test_a_file_that_is_gone_is_a_failed_import(laboratory: Laboratory) -> None:
    foreign(laboratory, NAMESPACE, "mine")
    for path in laboratory.settings.data_dir.glob("langchain.db*"):
        path.unlink()
    assert done(start_langchain_import(laboratory, "langchain-sqlite", "memory", NAMESPACE)).error is not None


def test_the_file_is_that_of_langchains_sqlite_cache_alone(laboratory: Laboratory) -> None:
    cache = laboratory.strategies.get("langchain-sqlite", NAMESPACE).cache
    assert file_of(cache) == laboratory.settings.data_dir / "langchain.db"
    others: list[BaseCache | None] = [None, InMemoryCache(), Plain(), *(own(laboratory, name) for name in OURS)]
    assert [file_of(other) for other in others] == [None] * len(others)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_no_file(url: str) -> None:
    from langchain_community.cache import SQLAlchemyCache
    from sqlalchemy import create_engine

    assert file_of(SQLAlchemyCache(create_engine(url))) is None
