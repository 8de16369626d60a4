"""`compose.yaml` is what it says: checked by reading it, since no Docker is needed to run the tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

TEXT = (Path(__file__).parents[1] / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
URLS = dict(re.findall(r"^#   export (\w+)='(\S+)'$", TEXT, re.MULTILINE))
"""What the comment tells people to set."""
SERVICE_OF = {"REDIS_URL": "redis", "POSTGRES_URL": "postgres", "MYSQL_URL": "mariadb", "MONGODB_URL": "mongodb"}
SECRET = re.compile(r"PASSWORD$|AUTH$")

every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def with_defaults(value: str) -> str:
    """A value as it is where no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def test_there_is_a_service_for_each_server() -> None:
    assert list(SERVICES) == ["redis", "postgres", "mariadb", "mongodb"]


@every_service
def test_a_service_starts_with_the_profile_alone(service: dict[str, Any]) -> None:
    assert service["profiles"] == ["servers"]


@every_service
def test_a_service_is_an_official_image_of_a_fixed_major_version(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"(redis|postgres|mariadb|mongo):[1-9]\d*(\.\d+)*", service["image"])


@every_service
def test_a_service_says_when_it_is_healthy(service: dict[str, Any]) -> None:
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["healthcheck"].keys() >= {"interval", "timeout", "retries"}


@every_service
def test_a_service_keeps_its_data_in_a_named_volume(service: dict[str, Any]) -> None:
    names = [volume.partition(":")[0] for volume in service["volumes"]]
    assert names
    assert set(names) <= COMPOSE["volumes"].keys()


@every_service
def test_a_service_is_reached_from_this_machine_alone(service: dict[str, Any]) -> None:
    assert service["ports"]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service["ports"])
    assert "network_mode" not in service


@every_service
def test_a_password_comes_from_a_variable(service: dict[str, Any]) -> None:
    secrets = [
        value
        for name, value in service["environment"].items()
        if SECRET.search(name) and not name.startswith("MARIADB_RANDOM")
    ]
    assert secrets
    assert all(re.fullmatch(r"\$\{\w+_PASSWORD:-change-me\}", value) for value in secrets)


def test_redis_writes_every_change_to_a_file_and_asks_for_the_password() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--requirepass") + 1] == SERVICES["redis"]["environment"]["REDISCLI_AUTH"]


@pytest.mark.parametrize("variable", SERVICE_OF)
def test_the_url_in_the_comment_is_that_of_the_service(variable: str) -> None:
    service = SERVICES[SERVICE_OF[variable]]
    url = urlsplit(URLS[variable])
    assert service["ports"] == [f"{url.hostname}:{url.port}:{url.port}"]
    told = {with_defaults(value) for value in [*service["environment"].values(), *service.get("command", [])]}
    assert {url.password} | ({url.username} - {""}) <= told
    if SERVICE_OF[variable] in ("postgres", "mariadb"):
        assert url.path.strip("/") in told
