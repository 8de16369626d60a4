"""The models a person can choose, and the LangChain objects that ask them."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock
from typing import Any

from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.outputs import ChatGeneration, Generation
from pydantic import SecretStr

from lab.measurement import WhyNotStored
from lab.settings import OPENAI_URL, EndpointSettings, Settings
from lab.simulated import SIMULATED_MODEL, SimulatedChatModel

LanguageModel = BaseChatModel | BaseLLM
NO_KEY = "no-key-needed"
"""Sent to servers that want no key: LangChain would otherwise send them OPENAI_API_KEY from the environment."""
MODELS_KEPT = 32
COMPLETION_TOKENS = 1024
"""Longest answer of a completion model unless the settings say otherwise: LangChain would cut it off at 256."""


class NoKeyError(Exception):
    """The endpoint needs a key and none was typed or configured."""


class BadKeyError(Exception):
    """What was given can't be a key at all, such as text with spaces or accents in it. Does not say what it was."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One entry of the list of models. `id` goes into links and the history."""

    id: str
    model: str
    endpoint: EndpointSettings | None
    """None for the simulated model."""

    @property
    def simulated(self) -> bool:
        """Whether no model is really asked."""
        return self.endpoint is None

    @property
    def namespace(self) -> str:
        """Names the endpoint by its address: LangChain leaves the address out of a completion model's key."""
        if self.endpoint is None:
            return SIMULATED_MODEL
        return f"{self.endpoint.name}-{sha256(self.endpoint.base_url.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Model:
    """A model with its parameters, ready to be asked through `ask`."""

    choice: ModelChoice
    temperature: float
    runnable: LanguageModel
    priced_as: str
    refuse: Callable[[Sequence[Generation]], WhyNotStored | None] = field(default=lambda _: None)
    """Says why an answer of this model must not be stored."""
    priced_at: str | None = None
    """The address of the server, whose prices may be its own; None: those of whoever made the model."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What must not appear in any message: the key."""


class Models:
    """The models of the settings. A parameter set is an object of its own; none is ever changed."""

    def __init__(self, settings: Settings, secrets: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._secrets = dict(secrets or {})
        self._built: OrderedDict[tuple[str, float, str], Model] = OrderedDict()
        self._lock = Lock()
        self.choices: dict[str, ModelChoice] = {
            SIMULATED_MODEL: ModelChoice(SIMULATED_MODEL, SIMULATED_MODEL, None),
            **{
                f"{endpoint.name}/{model}": ModelChoice(f"{endpoint.name}/{model}", model, endpoint)
                for endpoint in settings.endpoints
                for model in endpoint.models
            },
        }

    def has_key(self, choice: ModelChoice) -> bool:
        """Whether the model can be asked without a visitor's key."""
        return choice.endpoint is None or not choice.endpoint.needs_key or bool(self._server_key(choice.endpoint))

    def get(self, model_id: str, temperature: float, visitor_key: str | None = None) -> Model:
        """The model with these parameters. Raises `NoKeyError`, `BadKeyError`, and `KeyError` for an unknown model."""
        choice = self.choices[model_id]
        if choice.endpoint is None:
            return self._simulated(choice, temperature)
        server_key = self._server_key(choice.endpoint)
        key = (visitor_key or "").strip() or server_key
        if not key and choice.endpoint.needs_key:
            raise NoKeyError(f"{choice.endpoint.title or choice.endpoint.name} needs a key, and none is given.")
        if key and not (key.isascii() and key.isprintable() and " " not in key):
            raise BadKeyError("A key has letters, digits and signs only: no spaces, no accents, no line breaks.")
        place = (model_id, temperature, key or NO_KEY)
        with self._lock:
            model = self._built.get(place)
            if model is None:
                model = self._built[place] = _build(
                    choice, choice.endpoint, temperature, key, is_servers_key=bool(key) and key == server_key
                )
                while len(self._built) > MODELS_KEPT:
                    self._built.popitem(last=False)
            self._built.move_to_end(place)
            return model

    def _server_key(self, endpoint: EndpointSettings) -> str | None:
        """The endpoint's own key: from the environment, the secrets, or `config.yaml`, in that order."""
        if endpoint.api_key_name:
            for source in (os.environ, self._secrets):
                named = source.get(endpoint.api_key_name, "").strip()
                if named:
                    return named
        return endpoint.api_key.get_secret_value().strip() if endpoint.api_key else None

    def _simulated(self, choice: ModelChoice, temperature: float) -> Model:
        simulated = self._settings.simulated
        runnable = SimulatedChatModel(
            temperature=temperature,
            first_token_s=simulated.first_token_s,
            tokens_per_second=simulated.tokens_per_second,
            spread=simulated.spread,
            streaming=True,
        )
        return Model(choice, temperature, runnable, simulated.priced_as)


def _build(
    choice: ModelChoice, endpoint: EndpointSettings, temperature: float, key: str | None, *, is_servers_key: bool
) -> Model:
    from langchain_openai import ChatOpenAI, OpenAI  # takes over a second to import

    options: dict[str, Any] = {
        "model": choice.model,
        "base_url": endpoint.base_url,
        "api_key": SecretStr(key or NO_KEY),
        "temperature": temperature,
        "timeout": endpoint.timeout_s,
        "max_retries": endpoint.max_retries,
        "streaming": True,
    }
    runnable: LanguageModel
    if endpoint.kind == "chat":
        runnable = chat = ChatOpenAI(**options, max_tokens=endpoint.max_tokens, stream_usage=endpoint.stream_usage)
        clients = [chat.root_client, chat.root_async_client]
    else:
        runnable = completion = OpenAI(**options, max_tokens=endpoint.max_tokens or COMPLETION_TOKENS)
        clients = [completion.client._client, completion.async_client._client]
    if not (is_servers_key and endpoint.base_url == OPENAI_URL):
        for client in clients:
            _without_account(client)
    return Model(
        choice,
        temperature,
        runnable,
        choice.model,
        refuse=unfinished,
        priced_at=endpoint.base_url,
        secrets=(key,) if key else (),
    )


def _without_account(client: Any) -> None:
    """Take out what the openai package took from the environment: it belongs to the operator's account at OpenAI.

    Sent elsewhere it would tell whose server this is; sent with a visitor's key, OpenAI refuses the request.
    """
    client.organization = client.project = None
    client._custom_headers = {}  # OPENAI_CUSTOM_HEADERS; we set none ourselves


def unfinished(generations: Sequence[Generation]) -> WhyNotStored | None:
    """Refuse an answer whose stream ended without a finish reason: the connection was cut, however politely."""
    return None if all(_finish_reason(generation) for generation in generations) else "no_finish"


def _finish_reason(generation: Generation) -> object:
    reason = (generation.generation_info or {}).get("finish_reason")
    if reason is None and isinstance(generation, ChatGeneration):
        reason = generation.message.response_metadata.get("finish_reason")
    return reason
