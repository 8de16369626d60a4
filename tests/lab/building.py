"""What the tests of `lab` are built of: quick settings, models that say what they are told, measurements, clocks."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation, LLMResult
from pydantic import Field

from lab.measurement import Measurement
from lab.models import LanguageModel, Model, ModelChoice
from lab.settings import EndpointSettings, Settings, SimulatedSettings
from lab.simulated import SimulatedChatModel
from tests.cache_backends.flights import LONG_S
from tests.openai_server import OpenAIServer

OURS = ("memory", "sqlite", "json")
LANGCHAINS = ("langchain-memory", "langchain-sqlite")
CACHES = OURS + LANGCHAINS
"""All strategies of the default settings but "no cache"."""
SAGAN = "Who was Carl Sagan?"


class Clock:
    """A clock that stands still until it is moved. Starts at a Unix time of our day."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move it."""
        self.now += seconds


def quick_settings(folder: Path, **others: Any) -> Settings:
    """Settings with a data folder of their own and a simulated model that takes no time."""
    values: dict[str, Any] = {
        "data_dir": folder / "data",
        "simulated": SimulatedSettings(first_token_s=0, tokens_per_second=100_000, spread=0),
    }
    return Settings(**values | others)


def endpoint(server: OpenAIServer, name: str = "local", **others: Any) -> EndpointSettings:
    """An endpoint on a test server, whose key it knows."""
    values: dict[str, Any] = {
        "name": name,
        "base_url": server.base_url,
        "models": ["gpt-4o-mini"],
        "api_key": server.api_key,
        "timeout_s": 30,
    }
    return EndpointSettings(**values | others)


def simulated(seed: int | None = None, **others: Any) -> Model:
    """The simulated model, without its waiting, and with a wording that a seed may fix."""
    values: dict[str, Any] = {"streaming": True, "sleep": lambda _: None}
    rng = None if seed is None else random.Random(seed)
    return as_model(SimulatedChatModel(rng=rng, **values | others), others.get("temperature", 0.7))


def as_model(runnable: LanguageModel, temperature: float = 0.7, **others: Any) -> Model:
    """Any LangChain model as one of the laboratory's."""
    return Model(ModelChoice("simulated", "simulated", None), temperature, runnable, "gpt-4o-mini", **others)


class Gate:
    """In place of the simulated model's waiting: counts its calls and lets them through once it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.threads: set[int] = set()

    def __call__(self, seconds: float) -> None:
        self.threads.add(threading.get_ident())
        assert self.opened.wait(LONG_S)

    @property
    def calls(self) -> int:
        return len(self.threads)


class ToldChat(BaseChatModel):
    """A chat model that gives the messages it was told to give, or raises the errors, one after the other."""

    told: list[Any]  # AIMessage or Exception: pydantic would take one for the other

    @property
    def _llm_type(self) -> str:
        return "told-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": "told"}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        said = self.told.pop(0)
        if isinstance(said, Exception):
            raise said
        return ChatResult(generations=[ChatGeneration(message=said)])


class Counting(BaseLLM):
    """A completion model that gives another answer at every call, and whose key says nothing of where it runs."""

    place: str
    calls: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "counting"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": "counting"}

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        self.calls.extend(prompts)
        return LLMResult(generations=[[Generation(text=f"answer {len(self.calls)} from {self.place}")]])


def measurement(**changes: Any) -> Measurement:
    """A measurement of a miss that was stored, with changes."""
    values: dict[str, Any] = {
        "asked_at": 1_750_000_000.0,
        "scope": "shared",
        "strategy": "memory",
        "model": "simulated",
        "simulated": True,
        "prompt": SAGAN,
        "temperature": 0.7,
        "outcome": "miss",
        "total_s": 1.5,
        "lookup_s": 0.001,
        "model_s": 1.4,
        "store_s": 0.002,
        "stored": True,
        "key": "ab" * 32,
        "answer": "An astronomer.",
    }
    return Measurement(**values | changes)


def files_below(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder with its content."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()
