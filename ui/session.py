"""What a browser session works with: the laboratory of the process, and whose namespace it uses."""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from pathlib import Path

import streamlit as st

from lab.environment import with_servers
from lab.laboratory import SHARED_SCOPE, Laboratory
from lab.settings import config_path, load_settings

SCOPE_KEY = "scope"


_of_this_run: ContextVar[Laboratory | None] = ContextVar("laboratory_of_this_run", default=None)


def begin_run() -> None:
    """Look for the laboratory once for this run of the script: a page asks for it hundreds of times.

    It is a new one when the settings file has changed. Raises `SettingsError`.
    """
    _of_this_run.set(None)
    _of_this_run.set(laboratory())


def laboratory() -> Laboratory:
    """The process's laboratory. Raises `SettingsError`."""
    known = _of_this_run.get()
    if known is not None:
        return known
    path = config_path()
    return _laboratory(path, _changed_at(path))


def scope() -> str:
    """Whose entries and history this session sees: everybody's, or its own."""
    if laboratory().settings.sharing == "shared":
        return SHARED_SCOPE
    if SCOPE_KEY not in st.session_state:
        st.session_state[SCOPE_KEY] = f"session-{secrets.token_hex(8)}"
    return str(st.session_state[SCOPE_KEY])


@st.cache_resource(show_spinner=False, max_entries=1)
def _laboratory(path: Path, changed_at: int | None) -> Laboratory:  # noqa: ARG001  # part of the cache's key
    return Laboratory(with_servers(load_settings(path)), _secrets())


def _changed_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _secrets() -> dict[str, str]:
    """The texts in `.streamlit/secrets.toml`, if there is such a file."""
    if not st.secrets.load_if_toml_exists():
        return {}
    return {name: value for name, value in st.secrets.to_dict().items() if isinstance(value, str)}
