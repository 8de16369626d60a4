"""The Python in the README runs as it stands there, one block after the other, and says the truth."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cache_backends
from cache_backends import CacheBackend
from cache_backends.servers.mysql import MYSQL
from cache_backends.servers.postgres import POSTGRESQL
from cache_backends.servers.sql_statements import Dialect, Statements
from tests.openai_server import OpenAIServer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EMBEDDED = {"MemoryCache", "SQLiteCache", "JSONFileCache"}


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """The Python blocks of a Markdown text, each with the number of its first line."""
    for block in BLOCK.finditer(text):
        yield text.count("\n", 0, block.start(1)) + 1, block[1]


def run(text: str) -> dict[str, Any]:
    """Run the blocks of a text from the top, as a reader would; an error shows the line of the README."""
    names: dict[str, Any] = {"__name__": "readme"}
    for line, source in blocks(text):
        exec(compile("\n" * (line - 1) + source, str(ROOT / "README.md"), "exec"), names)
    return names


@pytest.fixture
def _reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somebody in an empty folder, with a key; what a model of OpenAI is asked stays on this machine."""
    monkeypatch.chdir(tmp_path)
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_API_KEY", server.api_key)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_BASE", server.base_url)
        yield


@pytest.mark.usefixtures("_reader")
def test_every_example_runs() -> None:
    names = run(README)
    for value in names.values():
        if isinstance(value, CacheBackend):
            value.close()
    assert {"llm", "cache"} <= names.keys()


@pytest.mark.parametrize("dialect", [POSTGRESQL, MYSQL], ids=["postgresql", "mysql"])
def test_the_sql_is_what_the_cache_itself_runs(dialect: Dialect) -> None:
    assert ";\n".join(Statements(dialect, "llm_cache").schema) + ";\n" in README


def test_an_example_that_is_wrong_is_noticed_with_its_line() -> None:
    with pytest.raises(AssertionError) as raised:
        run("# Title\n\n```python\nx = 1\n```\n\nText.\n\n```python\nassert x == 2\n```\n")
    assert raised.traceback[-1].lineno + 1 == 10


def test_there_is_an_example_of_every_embedded_backend() -> None:
    shown = "".join(source for _, source in blocks(README))
    assert set(cache_backends.__all__) >= EMBEDDED
    assert {name for name in EMBEDDED if f"{name}(" not in shown} == set()


def test_the_extras_are_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    section = README.partition("## Take the library home")[2].partition("\n## ")[0]
    assert {extra for extra in project["optional-dependencies"] if f"`{extra}`" not in section} == set()
