"""The library as a package: what is built, what it needs, and that it works away from this folder, with types."""

from __future__ import annotations

import email
import email.message
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.test_layers import HEAVY, imported

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
DEPENDENCIES: list[str] = PROJECT["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
DRIVERS = {
    "redis": {"redis"},
    "postgres": {"psycopg"},
    "mysql": {"pymysql"},
    "mongodb": {"pymongo", "bson"},
}
"""What each extra makes importable."""
PIP = (sys.executable, "-m", "pip", "--isolated", "--quiet", "--disable-pip-version-check")
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "data", "config.yaml")

EVERY_BACKEND = """
import importlib.util, json, sys
import cache_backends
from langchain_core.outputs import Generation

answers = []
for url in ("memory://", "sqlite:///answers.db", "json:///answers"):
    with cache_backends.open_cache(url, ttl="1h") as cache:
        cache.update("Who was Carl Sagan?", "model=demo", [Generation(text=f"An astronomer, says {url}")])
        answers.append(cache.lookup("Who was Carl Sagan?", "model=demo")[0].text)
print(json.dumps({
    "answers": answers,
    "at": cache_backends.__file__,
    "loaded": sorted({name.partition(".")[0] for name in sys.modules}),
    "lab": importlib.util.find_spec("lab") is not None,
}))
"""

TYPED_PROGRAM = """\
from cache_backends import open_cache
reveal_type(open_cache("memory://").stats())
open_cache(42)
"""

# Only the package's own types are asked about; those of its dependencies would cost ten seconds.
MYPY_INI = "[mypy]\n[mypy-langchain_core.*,pydantic.*,apsw.*,orjson.*]\nfollow_imports = skip\n"


@dataclass(frozen=True)
class Installed:
    """A wheel, and the folder it was installed into."""

    wheel: Path
    folder: Path

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run Python where this folder and the dependencies can be imported, and the project's folder cannot."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        return subprocess.run(
            [sys.executable, "-P", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The package, built from a copy of this folder (a build leaves files behind) and installed, without a network."""
    place = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT, place / "copy", ignore=NOT_COPIED)
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place), str(place / "copy"))
    (wheel,) = place.glob("*.whl")
    pip("install", "--no-index", "--no-deps", "--target", str(place / "installed"), str(wheel))
    return Installed(wheel, place / "installed")


def pip(*arguments: str) -> None:
    """Run pip; where it fails, show why."""
    result = subprocess.run([*PIP, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def named(requirements: list[str]) -> dict[str, str]:
    """Requirements by the name of what they require."""
    return {re.split(r"[^\w.-]", requirement)[0].lower(): requirement for requirement in requirements}


def required_in(file: str) -> dict[str, str]:
    """The requirements of a file, without what it includes."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines())
    return named([line for line in lines if line and not line.startswith("-")])


def test_the_wheel_holds_the_library_alone_and_says_that_it_is_typed(installed: Installed) -> None:
    files = {name for name in zipfile.ZipFile(installed.wheel).namelist() if ".dist-info/" not in name}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "cache_backends").rglob("*.py")}
    assert files == modules | {"cache_backends/py.typed"}


def test_the_wheel_says_what_it_is_and_needs(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(wheel.read(name))
        assert name.replace("METADATA", "licenses/LICENSE") in wheel.namelist()
    assert (metadata["Version"], metadata["License-Expression"]) == (PROJECT["version"], "MIT")
    assert "Typing :: Typed" in values(metadata, "Classifier")
    assert set(values(metadata, "Provides-Extra")) == {*DRIVERS, "all"}
    always = [requirement for requirement in values(metadata, "Requires-Dist") if "extra ==" not in requirement]
    assert set(named(always)) == {"langchain-core", "orjson", "apsw", "pydantic"}
    assert "pip install ." in str(metadata.get_payload())


def values(metadata: email.message.Message, field: str) -> list[str]:
    """Every value of a field that may occur more than once."""
    return [str(value) for value in metadata.get_all(field, [])]


def test_what_is_installed_works_with_every_embedded_backend_and_loads_nothing_of_the_app(
    installed: Installed, tmp_path: Path
) -> None:
    result = installed.run("-c", EVERY_BACKEND, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert Path(told["at"]).is_relative_to(installed.folder)
    assert told["answers"] == [
        "An astronomer, says memory://",
        "An astronomer, says sqlite:///answers.db",
        "An astronomer, says json:///answers",
    ]
    assert told["lab"] is False
    assert set(told["loaded"]) & HEAVY == set()


def test_a_program_that_uses_what_is_installed_is_checked_against_its_types(
    installed: Installed, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(TYPED_PROGRAM, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text(MYPY_INI, encoding="utf-8")
    arguments = ("--strict", "--no-pretty", "--config-file=mypy.ini", f"--cache-dir={os.devnull}", "program.py")
    result = installed.run("-m", "mypy", *arguments, cwd=tmp_path)
    reported = [line.partition(": ")[::2] for line in result.stdout.splitlines()]
    assert [place for place, _ in reported[:-1]] == ["program.py:2", "program.py:3"], result.stdout + result.stderr
    assert reported[0][1] == 'note: Revealed type is "cache_backends.records.StoreStats"'
    assert 'incompatible type "int"; expected "str"' in reported[1][1]


def test_what_is_declared_is_what_is_imported() -> None:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "cache_backends").rglob("*.py"))
    others = {name for source in sources for name in imported(source)} - sys.stdlib_module_names - {"cache_backends"}
    assert others - set().union(*DRIVERS.values()) == {name.replace("-", "_") for name in named(DEPENDENCIES)}


def test_the_extras_are_one_for_each_server_and_one_for_all() -> None:
    assert EXTRAS.keys() == {*DRIVERS, "all"}
    assert EXTRAS["all"] == [f"{PROJECT['name']}[{','.join(DRIVERS)}]"]


def test_ranges_are_the_same_wherever_they_stand() -> None:
    app = required_in("requirements.txt")
    drivers = named([requirement for extra in DRIVERS for requirement in EXTRAS[extra]])
    assert named(DEPENDENCIES).items() <= app.items()
    assert drivers.items() <= app.items()
    assert named(PYPROJECT["build-system"]["requires"]).items() <= required_in("requirements-dev.txt").items()
