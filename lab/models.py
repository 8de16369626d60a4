"""The models a person can choose, and the LangChain objects that ask them."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock

from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.outputs import ChatGeneration, Generation
from pydantic import SecretStr

from lab.measurement import WhyNotStored
from lab.settings import EndpointSettings, Settings
from lab.simulated import SIMULATED_MODEL, SimulatedChatModel

LanguageModel = BaseChatModel | BaseLLM
NO_KEY = "no-key-needed"
"""Sent to servers that want no key: LangChain would otherwise send them OPENAI_API_KEY from the environment."""
MODELS_KEPT = 32


class NoKeyError(Exception):
    """The endpoint needs a key and none was typed or configured."""


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
        """The model with these parameters. Raises `NoKeyError`, and `KeyError` for an unknown model."""
        choice = self.choices[model_id]
        if choice.endpoint is None:
            return self._simulated(choice, temperature)
        key = visitor_key or self._server_key(choice.endpoint)
        if not key and choice.endpoint.needs_key:
            raise NoKeyError(choice.endpoint.name)
        place = (model_id, temperature, key or NO_KEY)
        with self._lock:
            model = self._built.get(place)
            if model is None:
                model = self._built[place] = _build(choice, choice.endpoint, temperature, key or NO_KEY)
                while len(self._built) > MODELS_KEPT:
                    self._built.popitem(last=False)
            return model

    def _server_key(self, endpoint: EndpointSettings) -> str | None:
        """The endpoint's own key: from the environment, the secrets, or `config.yaml`, in that order."""
        if endpoint.api_key_name:
            named = os.environ.get(endpoint.api_key_name) or self._secrets.get(endpoint.api_key_name)
            if named:
                return named
        return endpoint.api_key.get_secret_value() if endpoint.api_key else None

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


def _build(choice: ModelChoice, endpoint: EndpointSettings, temperature: float, key: str) -> Model:
    from langchain_openai import ChatOpenAI, OpenAI  # takes over a second to import

    if endpoint.kind == "chat":
        runnable: LanguageModel = ChatOpenAI(
            model=choice.model,
            base_url=endpoint.base_url,
            api_key=SecretStr(key),
            temperature=temperature,
            timeout=endpoint.timeout_s,
            max_retries=endpoint.max_retries,
            streaming=True,
            stream_usage=endpoint.stream_usage,
        )
    else:
        runnable = OpenAI(
            model=choice.model,
            base_url=endpoint.base_url,
            api_key=SecretStr(key),
            temperature=temperature,
            timeout=endpoint.timeout_s,
            max_retries=endpoint.max_retries,
            streaming=True,
        )
    return Model(choice, temperature, runnable, choice.model, refuse=unfinished)


def unfinished(generations: Sequence[Generation]) -> WhyNotStored | None:
    """Refuse an answer whose stream ended without a finish reason: the connection was cut, however politely."""
    return None if all(_finish_reason(generation) for generation in generations) else "no_finish"


def _finish_reason(generation: Generation) -> object:
    reason = (generation.generation_info or {}).get("finish_reason")
    if reason is None and isinstance(generation, ChatGeneration):
        reason = generation.message.response_metadata.get("finish_reason")
    return reason
