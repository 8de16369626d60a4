"""`open_cache`: one line of text opens a cache, or says what is wrong with it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from cache_backends import (
    CacheConfigError,
    CacheError,
    CacheUnavailableError,
    JSONFileCache,
    MemoryCache,
    SQLiteCache,
    open_cache,
)
from tests.cache_backends.answers import found, store
from tests.cache_backends.backends import FakeClock
from tests.cache_backends.generations import any_text


def test_memory_is_the_memory_of_this_process() -> None:
    first, second = open_cache("memory://"), open_cache("memory://")
    assert type(first) is MemoryCache
    store(first, "q", "answer")
    assert found(second, "q") is None


def test_three_slashes_are_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_cache("sqlite:///data/cache.db") as sqlite, open_cache("json:///data/answers") as json_files:
        assert isinstance(sqlite, SQLiteCache)
        assert isinstance(json_files, JSONFileCache)
        assert (sqlite.path, json_files.path) == (tmp_path / "data/cache.db", tmp_path / "data/answers")
    assert sqlite.path.is_file()
    assert json_files.path.is_dir()


def test_a_relative_path_stays_where_it_was_when_the_program_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_cache("sqlite:///cache.db") as sqlite, open_cache("json:///answers") as json_files:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        for cache in (sqlite, json_files):
            store(cache, "q", "answer")
            assert found(cache, "q") == ["answer"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_four_slashes_are_an_absolute_path(tmp_path: Path) -> None:
    with open_cache(f"sqlite:///{tmp_path}/cache.db") as cache:
        assert isinstance(cache, SQLiteCache)
        assert cache.path == tmp_path / "cache.db"


def test_percent_signs_stand_for_any_character_of_a_path(tmp_path: Path) -> None:
    with open_cache(f"json:///{tmp_path}/a%20b%23c%3Fd%25e%C3%BC") as cache:
        assert isinstance(cache, JSONFileCache)
        assert cache.path == tmp_path / "a b#c?d%eü"


def test_options_come_from_the_query_string() -> None:
    url = "memory://?namespace=d%C3%A9mo&ttl=1h&max_entries=10&strict=true&store_truncated=yes"
    cache = open_cache(url)
    assert (cache.namespace, cache.ttl_s, cache.max_entries) == ("démo", 3600, 10)
    assert (cache.strict, cache.store_truncated) == (True, True)


def test_options_have_defaults() -> None:
    cache = open_cache("memory://")
    assert (cache.namespace, cache.ttl_s, cache.max_entries) == ("default", None, None)
    assert (cache.strict, cache.store_truncated) == (False, False)


def test_keywords_win_over_the_query_string() -> None:
    clock = FakeClock()
    cache = open_cache("memory://?ttl=1h&namespace=url", ttl=None, namespace="keyword", clock=clock)
    assert (cache.ttl_s, cache.namespace, cache.clock) == (None, "keyword", clock)


@pytest.mark.parametrize("url", ["MEMORY://", "Memory:///?ttl=5"])
def test_the_scheme_is_known_in_any_case(url: str) -> None:
    assert isinstance(open_cache(url), MemoryCache)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "must begin with one of: memory://, sqlite://, json://"),
        ("cache.db", "must begin with one of: memory://, sqlite://, json://"),
        ("sqllite:///cache.db", "'sqllite:///cache.db' names no known kind of cache"),
        ("file:///cache.db", "names no known kind of cache"),
        ("http://[bad", "is not a URL"),
        ("memory://?tll=5", "Unknown option 'tll' for 'memory://'. Known are: namespace, ttl, max_entries"),
        ("memory://?clock=5", "Unknown option 'clock'"),
        ("memory://?b=1&a=2", "Unknown option 'a', 'b'"),
        ("memory://?ttl=", "ttl='' is not a time to live"),
        ("memory://?ttl=soon", "ttl='soon' is not a time to live"),
        ("memory://?max_entries=0", "max_entries=0 is not a limit"),
        ("memory://?strict=perhaps", "strict='perhaps' is not a switch"),
        ("memory://?namespace=", "namespace='' is not usable"),
        ("memory://name", "memory:// takes no path"),
        ("memory:///path", "memory:// takes no path"),
        ("sqlite://", "names no path. Write sqlite:///cache.db for a relative path, sqlite:////var/cache.db"),
        ("sqlite:///", "names no path"),
        ("sqlite://cache.db", "names no path"),
        ("json://answers", "names no path. Write json:///cache for a relative path"),
        ("sqlite:///a%00b", "names no path"),
        ("sqlite:///:memory:", "Write memory:// for that"),
        ("sqlite:///a#b.db", "Write %23 for a '#'"),
        ("json:///answers#", "Write %23 for a '#'"),
    ],
)
def test_a_url_that_means_nothing_is_refused_with_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(CacheConfigError) as refused:
        open_cache(url)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("option", [{"tll": 5}, {"path": "x"}, {"max_bytes_": 1}])
def test_an_unknown_keyword_is_refused_with_a_sentence(option: dict[str, Any]) -> None:
    with pytest.raises(CacheConfigError, match=f"Unknown option '{next(iter(option))}'"):
        open_cache("memory://", **option)


@pytest.mark.parametrize(
    "url",
    [
        "redisss://user:pa55word@host",
        "rediss://user:pa55word@host:99999",
        "redis://user:pa55word@host/zero",
        "redis://user:pa55word@host?tll=5",
        "postgresql://user:pa55word@host",
        "postgresql://user:pa55word@host:port/cache",
        "postgresql://user:pa55word@host/cache?prefix=Robert');",
        "memory://user:pa55word@host",
        "sqlite://user:pa55word@host/x",
        "redis://user:pa55word@host?x=1#y",
        "memory://user:pa55word@host?tll=5",
        "redis://host?pwd=pa55word",
        "redis://host?pw=pa55word",
        "redis://host?pw=pa55word#y",
        "mysql://user@host/cache?passwd=pa55word",
        "mongodb://host/cache?authMechanismProperties=AWS_SESSION_TOKEN:pa55word&bogus=1",
        "unknown://host?pw=pa55word",
    ],
)
def test_a_password_in_a_url_is_never_repeated(url: str) -> None:
    with pytest.raises(CacheConfigError) as refused:
        open_cache(url)
    assert "pa55word" not in str(refused.value)


@given(any_text)
def test_any_text_after_memory_opens_a_cache_or_is_refused(text: str) -> None:
    with contextlib.suppress(CacheConfigError):
        open_cache(f"memory://{text}").close()


@pytest.mark.parametrize("scheme", ["sqlite", "json"])
def test_a_place_that_cannot_be_used_is_refused_with_a_sentence(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheUnavailableError, match="can't be used for the"):
        open_cache(f"{scheme}:///{tmp_path}/file/below/cache")
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_where_a_file_must_be_and_a_file_where_a_folder_must_be_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheConfigError, match=r"is a folder\. Name a file"):
        open_cache(f"sqlite:///{tmp_path}")
    with pytest.raises(CacheConfigError, match=r"is a file\. Name a folder"):
        open_cache(f"json:///{tmp_path}/file")


def test_every_refusal_is_a_cache_error() -> None:
    assert issubclass(CacheConfigError, CacheError)
    assert issubclass(CacheConfigError, ValueError)
    assert issubclass(CacheUnavailableError, CacheError)
