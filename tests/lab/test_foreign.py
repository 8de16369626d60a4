"""Namespaces in LangChain's own caches: kept apart, and taken out without touching what others stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_community.cache import SQLiteCache
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.outputs import Generation
from sqlalchemy.exc import OperationalError

from lab.foreign import qualified, remove_qualified

pytestmark = pytest.mark.filterwarnings("ignore:The default value of `allowed_objects`")

ANSWER = [Generation(text="An astronomer."), Generation(text="A writer.")]


def put(cache: BaseCache, namespace: str, prompt: str = "prompt") -> None:
    cache.update(prompt, qualified(namespace, "model"), ANSWER)


def found(cache: BaseCache, namespace: str, prompt: str = "prompt") -> bool:
    return cache.lookup(prompt, qualified(namespace, "model")) is not None


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[SQLiteCache]:
    made = SQLiteCache(str(tmp_path / "langchain.db"))
    yield made
    made.engine.dispose()


def test_namespaces_are_apart(cache: SQLiteCache) -> None:
    put(cache, "a")
    assert found(cache, "a")
    assert not found(cache, "b")
    assert cache.lookup("prompt", "model") is None


def test_removing_a_namespace_leaves_all_others_and_what_has_none(cache: SQLiteCache) -> None:
    others = ["b", "ab", "a b", "a:b", "A", "", " a"]
    for namespace in ("a", *others):
        put(cache, namespace)
        put(cache, namespace, "other prompt")
    cache.update("prompt", "a", ANSWER)
    remove_qualified(cache, "a")
    assert not found(cache, "a")
    assert not found(cache, "a", "other prompt")
    assert [name for name in others if not (found(cache, name) and found(cache, name, "other prompt"))] == []
    assert cache.lookup("prompt", "a") == ANSWER


@pytest.mark.parametrize(
    ("namespace", "other"), [("a%c", "abc"), ("a_c", "abc"), ("%", "a"), ("_", "a"), ("a/%", "a/b"), ("a\\%", "a\\b")]
)
def test_signs_of_sql_patterns_in_a_namespace_mean_themselves(namespace: str, other: str, cache: SQLiteCache) -> None:
    put(cache, namespace)
    put(cache, other)
    remove_qualified(cache, namespace)
    assert not found(cache, namespace)
    assert found(cache, other)


def test_removing_what_is_not_there_removes_nothing(cache: SQLiteCache) -> None:
    put(cache, "a")
    remove_qualified(cache, "b")
    assert found(cache, "a")


def test_a_cache_without_a_database_is_left_alone() -> None:
    cache = InMemoryCache()
    put(cache, "a")
    remove_qualified(cache, "a")
    assert found(cache, "a")


def test_what_the_database_says_is_raised(cache: SQLiteCache) -> None:
    cache.cache_schema.__table__.drop(cache.engine)
    with pytest.raises(OperationalError, match="no such table"):
        remove_qualified(cache, "a")
