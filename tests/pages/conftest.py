"""Fixtures of the tests of the pages: settings of their own, and visitors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.logger import set_log_level

from lab.server_urls import SERVER_KINDS
from lab.settings import CONFIG_VARIABLE
from tests.pages.visitor import Visitor

Visit = Callable[..., Visitor]
Configure = Callable[..., Path]

QUICK = "simulated: {first_token_s: 0, tokens_per_second: 100000, spread: 0}\n"
"""A simulated model that answers at once."""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where the app stores what it stores."""
    return tmp_path / "data"


@pytest.fixture
def configure(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Write settings: the lines given, besides the data folder and a quick model. Returns the file."""
    path = tmp_path / "config.yaml"

    def write(lines: str = "", *, model: str = QUICK) -> Path:
        path.write_text(f"data_dir: {data_dir}\n{model}{lines}")
        monkeypatch.setenv(CONFIG_VARIABLE, str(path))
        new_process()
        return path

    return write


@pytest.fixture(autouse=True)
def _settings_of_its_own(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reads the settings, keys or stores of the person who runs it."""
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        monkeypatch.delenv(name)
    for kind in SERVER_KINDS:
        monkeypatch.delenv(kind.variable, raising=False)
    set_log_level("ERROR")  # it warns of every access from outside a server
    configure("")
    yield
    new_process()


@pytest.fixture
def visit() -> Visit:
    """Open the app in a new session: `visit()`, `visit(locale="pt-BR")`, `visit(strategy="sqlite")`."""

    def open_app(**options: str) -> Visitor:
        return Visitor(**options).look().assert_sound()

    return open_app


def new_process() -> None:
    """Forget what Streamlit keeps for the process, as a restarted server has."""
    st.cache_resource.clear()
    st.cache_data.clear()
