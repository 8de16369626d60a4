"""The operator's settings: `config.yaml`, checked, with good defaults where it is absent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from cache_backends.readable import redact

CONFIG_VARIABLE = "LLM_CACHE_LAB_CONFIG"
"""Environment variable that names another settings file than `config.yaml`."""

OPENAI_URL = "https://api.openai.com/v1"
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
"""Names that appear in links and colours: small letters, digits, dash, underscore."""


class SettingsError(Exception):
    """The settings can't be used: names the file, the key, what was there and what is allowed."""


class _Section(BaseModel):
    # hide_input_in_errors: an error's own text would repeat a key that stands in the wrong place
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


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
    max_tokens: int | None = Field(None, ge=1, le=1_000_000, description="longest answer that is asked for")
    stream_usage: bool = True

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or any(character.isspace() or not character.isprintable() for character in value):
            raise ValueError("give an address such as 'http://localhost:11434/v1'")
        return value.rstrip("/")


class StrategySettings(_Section):
    """A named way to cache: one of ours by `url`, or any LangChain `BaseCache` by the dotted path of its class."""

    name: Name
    title: str | None = None
    url: str | None = Field(None, repr=False, description="may hold a password")
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

    data_dir: Path = Field(Path("data"), description="where histories and stores lie; ~ is the home folder")
    sharing: Literal["shared", "private"] = "shared"
    max_prompt_chars: int = Field(100_000, ge=100, le=10_000_000)
    simulated: SimulatedSettings = SimulatedSettings()
    endpoints: list[EndpointSettings] = Field(default_factory=lambda: list(_default_endpoints()))
    strategies: list[StrategySettings] = Field(default_factory=lambda: list(_default_strategies()), min_length=1)
    prices: dict[str, PriceSettings] = Field(default_factory=dict)
    history: HistorySettings = HistorySettings()

    @field_validator("data_dir")
    @classmethod
    def _is_a_path(cls, value: Path) -> Path:
        if "\0" in str(value):
            raise ValueError("give the path of a folder, without NUL characters")
        try:
            str(value).encode()
            return value.expanduser()
        except (RuntimeError, UnicodeEncodeError) as error:
            raise ValueError(f"give the path of a folder ({error})") from None

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
    named = os.environ.get(CONFIG_VARIABLE)
    path = config_path() if path is None else path
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        if named and path == Path(named):
            raise SettingsError(f"{CONFIG_VARIABLE} names {path}, and there is no such file.") from None
        return Settings()
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path} is not UTF-8 text: byte {error.start + 1} can't be read. Save it as UTF-8."
        ) from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}.") from error
    values = _parsed(path, text)
    if values is None:
        return Settings()
    if not isinstance(values, dict):
        what = "a list" if isinstance(values, list) else "a single value"
        raise SettingsError(f"{path} must hold keys and values such as 'data_dir: data', not {what}.")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        sentences = _sentences(error)
    except RecursionError:
        sentences = ["the whole file: it is nested too deeply."]
    raise SettingsError("\n".join([f"{path} has {'a mistake' if len(sentences) == 1 else 'mistakes'}:", *sentences]))


def _parsed(path: Path, text: str) -> object:
    """What the YAML says. A value that is no date or number, though it looks like one, is a ValueError there."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not valid YAML: {_one_line(_without_source(error))}.") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError) as error:
        raise SettingsError(f"{path} is not valid YAML: {_one_line(str(error))[:200]}.") from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, where YAML libraries silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """One mapping of the file."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is given twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _without_source(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the line itself: a key may stand in it."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        where = f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
        return ", ".join(filter(None, (error.context, error.problem, where)))
    return str(error)


ALLOWED: dict[str, str] = {
    "name": "use 1 to 40 small letters, digits, dashes and underscores, beginning with a letter or digit",
    "data_dir": "give the path of a folder",
    "langchain": "give the dotted path of a class, such as langchain_core.caches.InMemoryCache",
}
"""What is allowed where pydantic would show a regular expression or a class."""
OPTION = "use a text, a number, true, false or null"
"""What is allowed where pydantic would name each type in a sentence of its own."""


def _sentences(error: ValidationError) -> list[str]:
    sentences: dict[str, None] = {}
    for mistake in error.errors(include_url=False, include_context=True):
        location = tuple(part for part in mistake["loc"] if part != "[key]")
        is_option = len(location) > 4 and location[2] == "options"
        location = location[:4] if is_option else location
        place = _one_line(".".join(str(part) for part in location))[:200] or "the whole file"
        if mistake["type"] == "extra_forbidden":
            sentences[f"{place}: unknown key. Known here: {', '.join(_known_keys(location))}."] = None
            continue
        message = OPTION if is_option else mistake["msg"].removeprefix("Value error, ")
        if mistake["type"] in ("string_pattern_mismatch", "path_type"):
            message = ALLOWED.get(str(location[-1]), message)
        is_absent = mistake["type"] in ("missing", "invalid_key")
        value = "" if _is_secret(location) or is_absent else _shown(mistake["input"])
        sentences[f"{place}{value}: {_one_line(redact(message))}."] = None
    return list(sentences)


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
    named = str(location[-1]).lower() if "options" in location else ""
    return "api_key" in location or any(word in named for word in ("key", "secret", "password", "token"))


def _shown(value: object) -> str:
    if isinstance(value, dict | list | tuple | set | BaseModel):
        return ""
    return f" is {redact(_one_line(str(value)[:1000]))[:80]!r}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
