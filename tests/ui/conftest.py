"""Fixtures of the tests of `ui`: the language that is spoken, and the theme that is shown."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from streamlit.logger import set_log_level

from ui.language import LANGUAGES


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    """Streamlit warns of every access from outside a server."""
    set_log_level("ERROR")


# Of the module, not of the function: hypothesis runs a test many times within one fixture.
@pytest.fixture(params=LANGUAGES, scope="module")
def code(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each language in turn, which is spoken during the test."""
    with patch("ui.language.language", lambda: request.param):
        yield request.param


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each theme in turn, which is shown during the test."""
    with patch("ui.colours.is_dark", lambda: request.param == "dark"):
        yield request.param
