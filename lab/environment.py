"""The servers that environment variables name, as strategies beside those of the settings."""

from __future__ import annotations

import os
from collections.abc import Mapping

from lab.server_urls import SERVER_KINDS, kind_of_server
from lab.settings import Settings, StrategySettings


class StrategyOfEnvironment(StrategySettings):
    """A strategy whose URL stands in an environment variable."""

    variable: str

    @property
    def mistake(self) -> str | None:
        """What is wrong with the variable, without its value: a password may stand in it. None where nothing is."""
        kind = next(kind for kind in SERVER_KINDS if kind.variable == self.variable)
        if kind_of_server(self.url) is kind:
            return None
        *others, last = (f"{scheme}://" for scheme in kind.schemes)
        return (
            f"{self.variable} must begin with {', '.join(others)} or {last}. "
            f"Give an address such as {kind.example}, or leave the variable empty."
        )


def with_servers(settings: Settings, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings with a strategy, after the others, for each server that the environment names.

    One whose name or URL a strategy of the settings has is left out; an empty variable names nothing.
    """
    names = {strategy.name for strategy in settings.strategies}
    urls = {strategy.url.strip() for strategy in settings.strategies if strategy.url is not None}
    added: list[StrategySettings] = [
        StrategyOfEnvironment(name=kind.name, url=url, variable=kind.variable)
        for kind in SERVER_KINDS
        if (url := environ.get(kind.variable, "").strip()) and kind.name not in names and url not in urls
    ]
    return settings.model_copy(update={"strategies": [*settings.strategies, *added]}) if added else settings
