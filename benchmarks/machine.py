"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import apsw

PACKAGES = (
    "streamlit",
    "langchain-core",
    "langchain-community",
    "langchain-openai",
    "apsw",
    "orjson",
    "pydantic",
    "diskcache",
)


def description() -> str:
    """Machine and versions in one paragraph."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"SQLite {apsw.sqlite_lib_version()}, {packages}. Absolute times wander with the machine's load; compare the "
        "figures of one table.\n"
    )
