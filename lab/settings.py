"""The operator's settings: `config.yaml`, checked, with good defaults where it is absent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

CONFIG_VARIABLE = "LLM_CACHE_LAB_CONFIG"
"""Environment variable that names another settings file than `config.yaml`."""

OPENAI_URL = "https://api.openai.com/v1"
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
"""Names that appear in links and colours: small letters, digits, dash, underscore."""


class SettingsError(Exception):
    """The settings can't be used: names the file, the key, what was there and what is allowed."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SimulatedSettings(_Section):
    """The simulated model: how long it takes, and which real model's price its tokens get."""

    first_token_s: float = Field(0.6, ge=0, le=60, description="median seconds until the first token")
    tokens_per_second: float = Field(70, gt=0, le=100_000)
    spread: float = Field(0.3, ge=0, le=2, description="sigma of the log-normal distribution of both")
    priced_as: str = Field("gpt-4o-mini", min_length=1)


class EndpointSettings(_Section):
    """A server that speaks OpenAI's protocol. Only the operator adds one; a visitor chooses among them."""

    name: Name
    title: str | None = None
    kind: Literal["chat", "completion"] = "chat"
    base_url: str = OPENAI_URL
    models: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(min_length=1)
    api_key_name: str | None = Field(None, description="environment variable or secret that holds the key")
    api_key: SecretStr | None = None
    needs_key: bool = True
    timeout_s: float = Field(60, gt=0, le=3600)
    max_retries: int = Field(0, ge=0, le=10)
    stream_usage: bool = True

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        AnyHttpUrl(value)
        return value.rstrip("/")


class StrategySettings(_Section):
    """A named way to cache: one of ours by `url`, or any LangChain `BaseCache` by the dotted path of its class."""

    name: Name
    title: str | None = None
    url: str | None = None
    langchain: str | None = Field(None, pattern=r"^[A-Za-z_][\w.]*\.[A-Za-z_]\w*$")
    options: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    survives_restart: bool = Field(True, description="of a LangChain cache; ours know it themselves")

    @model_validator(mode="after")
    def _names_one_cache(self) -> StrategySettings:
        if (self.url is None) == (self.langchain is None):
            raise ValueError("give either url (one of our caches) or langchain (the dotted path of a class)")
        return self


class PriceSettings(_Section):
    """A price that overrides the price list, in US dollars for a million tokens."""

    input_usd_per_million: float = Field(ge=0)
    output_usd_per_million: float = Field(ge=0)


class HistorySettings(_Section):
    """How much of the history is kept."""

    max_rows: int = Field(1_000_000, ge=100, le=100_000_000)


class Settings(_Section):
    """All settings. `{data_dir}` in a strategy's URL or options stands for the data folder."""

    data_dir: Path = Path("data")
    sharing: Literal["shared", "private"] = "shared"
    max_prompt_chars: int = Field(100_000, ge=100, le=10_000_000)
    simulated: SimulatedSettings = SimulatedSettings()
    endpoints: list[EndpointSettings] = Field(default_factory=lambda: list(_default_endpoints()))
    strategies: list[StrategySettings] = Field(default_factory=lambda: list(_default_strategies()), min_length=1)
    prices: dict[str, PriceSettings] = Field(default_factory=dict)
    history: HistorySettings = HistorySettings()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Settings:
        for kind, names in (
            ("endpoints", [endpoint.name for endpoint in self.endpoints] + ["simulated"]),
            ("strategies", [strategy.name for strategy in self.strategies] + ["none"]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind}: the name {twice[0]!r} is given twice ('simulated' and 'none' are taken)")
        return self


def _default_endpoints() -> tuple[EndpointSettings, ...]:
    return (
        EndpointSettings(
            name="openai", title="OpenAI", models=["gpt-4o-mini", "gpt-4.1-mini"], api_key_name="OPENAI_API_KEY"
        ),
        EndpointSettings(
            name="openai-completion",
            title="OpenAI (completion)",
            kind="completion",
            models=["gpt-3.5-turbo-instruct"],
            api_key_name="OPENAI_API_KEY",
        ),
    )


def _default_strategies() -> tuple[StrategySettings, ...]:
    return (
        StrategySettings(name="memory", url="memory://"),
        StrategySettings(name="sqlite", url="sqlite:///{data_dir}/cache.db"),
        StrategySettings(name="json", url="json:///{data_dir}/answers"),
        StrategySettings(
            name="langchain-memory", langchain="langchain_core.caches.InMemoryCache", survives_restart=False
        ),
        StrategySettings(
            name="langchain-sqlite",
            langchain="langchain_community.cache.SQLiteCache",
            options={"database_path": "{data_dir}/langchain.db"},
        ),
    )


def config_path() -> Path:
    """Where the settings are read from: what the environment names, else `config.yaml` in the current folder."""
    return Path(os.environ.get(CONFIG_VARIABLE) or "config.yaml")


def load_settings(path: Path | None = None) -> Settings:
    """The settings in a file; the defaults where there is none. Raises `SettingsError` in a sentence."""
    path = config_path() if path is None else path
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if os.environ.get(CONFIG_VARIABLE):
            raise SettingsError(f"{CONFIG_VARIABLE} names {path}, and there is no such file.") from None
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} can't be read: {error}.") from error
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not valid YAML: {_one_line(str(error))}.") from error
    if values is None:
        return Settings()
    if not isinstance(values, dict):
        raise SettingsError(
            f"{path} must hold keys and values such as 'data_dir: data', not a {type(values).__name__}."
        )
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join([f"{path} has a mistake:", *_sentences(error)])) from error


def _sentences(error: ValidationError) -> list[str]:
    sentences = []
    for mistake in error.errors(include_url=False, include_context=True):
        place = ".".join(str(part) for part in mistake["loc"]) or "the whole file"
        if mistake["type"] == "extra_forbidden":
            sentences.append(f"{place}: unknown key. Known here: {', '.join(_known_keys(mistake['loc']))}.")
            continue
        value = "" if _is_secret(mistake["loc"]) or mistake["type"] == "missing" else _shown(mistake["input"])
        sentences.append(f"{place}{value}: {mistake['msg'].removeprefix('Value error, ')}.")
    return sentences


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    sections: dict[str, type[BaseModel]] = {
        "simulated": SimulatedSettings,
        "endpoints": EndpointSettings,
        "strategies": StrategySettings,
        "prices": PriceSettings,
        "history": HistorySettings,
    }
    section = sections.get(str(location[0]), Settings) if len(location) > 1 else Settings
    return list(section.model_fields)


def _is_secret(location: tuple[int | str, ...]) -> bool:
    return "api_key" in location


def _shown(value: object) -> str:
    if isinstance(value, dict | list | BaseModel):
        return ""
    return f" is {_one_line(str(value))[:80]!r}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
