"""Servers that environment variables name become strategies, unless the settings have them already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from lab.environment import with_servers
from lab.settings import Settings, StrategySettings
from lab.strategies import Strategies
from tests.lab.building import quick_settings
from tests.lab.made_up_server import MadeUpServer

ALL = {
    "REDIS_URL": "redis://localhost:6379/0",
    "POSTGRES_URL": "postgresql://app:s3cret-word@db/cache",
    "MYSQL_URL": "mariadb://app:s3cret-word@db/cache",
    "MONGODB_URL": "mongodb://localhost/cache",
}


def names(environ: Mapping[str, str], *strategies: StrategySettings) -> list[str]:
    settings = Settings(strategies=list(strategies) or Settings().strategies)
    return [strategy.name for strategy in with_servers(settings, environ).strategies]


def test_servers_come_after_the_others_in_an_order_that_never_changes() -> None:
    backwards = dict(reversed(ALL.items()))
    assert names(backwards)[5:] == names(ALL)[5:] == ["redis", "postgresql", "mysql", "mongodb"]
    assert names(backwards)[:5] == [strategy.name for strategy in Settings().strategies]


@pytest.mark.parametrize("environ", [{}, {"REDIS_URL": ""}, {"REDIS_URL": "  "}, {"REDIS": "redis://localhost"}])
def test_what_is_empty_names_nothing(environ: dict[str, str]) -> None:
    settings = Settings()
    assert with_servers(settings, environ) is settings


def test_a_strategy_of_the_settings_with_that_name_wins() -> None:
    assert names(ALL, StrategySettings(name="redis", url="memory://")) == ["redis", "postgresql", "mysql", "mongodb"]


def test_a_strategy_of_the_settings_with_that_url_wins() -> None:
    far = StrategySettings(name="far", url=ALL["REDIS_URL"])
    assert names({"REDIS_URL": f" {ALL['REDIS_URL']} "}, far) == ["far"]
    assert names({"REDIS_URL": ALL["REDIS_URL"] + "?ttl=1h"}, far) == ["far", "redis"]


def test_the_environment_of_the_process_is_asked_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", ALL["REDIS_URL"])
    assert with_servers(Settings()).strategies[-1].url == ALL["REDIS_URL"]


@pytest.mark.parametrize(
    "url", ["localhost:6379", "hunter2secret@db", "postgresql://app:hunter2secret@db/x", "sqlite:///x"]
)
def test_a_variable_that_names_something_else_is_listed_with_what_it_must_begin_with(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MadeUpServer().install(monkeypatch, "postgresql")
    strategies = Strategies(with_servers(quick_settings(tmp_path), {"REDIS_URL": url}))
    assert strategies.names[-1] == "redis"
    assert strategies.problem("redis") == (
        "REDIS_URL must begin with redis://, rediss://, redis+cluster:// or rediss+cluster://. "
        "Give an address such as redis://localhost:6379/0, or leave the variable empty."
    )


def test_no_password_of_the_environment_is_in_what_the_settings_say_of_themselves() -> None:
    settings = with_servers(Settings(), ALL)
    assert "s3cret-word" not in f"{settings!r} {settings}"
