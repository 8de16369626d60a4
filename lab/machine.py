"""What figures were measured on: the machine and the versions that matter."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import apsw

from lab.comparison import Machine

PACKAGES = (
    "streamlit",
    "langchain-core",
    "langchain-community",
    "langchain-openai",
    "apsw",
    "orjson",
    "pydantic",
    "redis",
    "psycopg",
    "pymysql",
    "pymongo",
)


def this_machine() -> Machine:
    """The machine that this runs on."""
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=platform.machine(),
        cores=os.cpu_count(),
        python=platform.python_version(),
        versions={"SQLite": apsw.sqlite_lib_version()} | _versions(),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a driver that this installation does without
            continue
    return found
