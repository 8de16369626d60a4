"""Imports point down only: pages, then ui, then lab, then cache_backends; and a driver costs only who uses it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "cache_backends": {"streamlit", "lab", "ui", "pages", "app", "tests", "langchain_community", "langchain_openai"},
    "lab": {"streamlit", "ui", "pages", "app", "tests"},
    "ui": {"pages", "app", "tests"},
    "pages": {"app", "tests"},
}
SOURCES = [path for folder in FORBIDDEN for path in sorted((ROOT / folder).rglob("*.py"))]
HEAVY = {
    "streamlit",
    "langchain_community",
    "langchain_openai",
    "openai",
    "pandas",
    "redis",
    "psycopg",
    "pymysql",
    "pymongo",
    "lab",
    "ui",
}


def imported(source: str) -> set[str]:
    """The packages a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." if node.level else str(node.module).partition(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_nothing_from_above(path: Path) -> None:
    forbidden = FORBIDDEN[path.relative_to(ROOT).parts[0]]
    assert imported(path.read_text(encoding="utf-8")) & forbidden == set()


def test_imports_are_seen_wherever_they_stand() -> None:
    source = "import a.b, c\nfrom d.e import f\ndef g():\n    import streamlit as st\n    from . import h\n"
    assert imported(source) == {"a", "c", "d", "streamlit", "."}


def test_every_folder_has_its_modules() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} >= {"cache_backends", "lab"}


def test_importing_the_library_loads_no_driver_and_nothing_above_it() -> None:
    code = (
        "import json, sys, cache_backends; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(json.loads(result.stdout)) & HEAVY == set()
