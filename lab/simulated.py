"""A language model that is made up, so that the app works with no key and no network, and says so in every answer.

It takes the time that a real one takes: log-normal time to the first token and log-normal pace of the others.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from lab.prices import estimated_tokens
from lab.simulated_answers import write_answer

SIMULATED_MODEL = "simulated"


class SimulatedChatModel(BaseChatModel):
    """A chat model whose answers are made up and whose latency is drawn at random.

    `rng` draws wording and latency and `sleep` waits; both are there for tests and copies share them.
    """

    model_name: str = SIMULATED_MODEL
    temperature: float = 0.7
    first_token_s: float = 0.6
    tokens_per_second: float = 70
    spread: float = 0.3
    streaming: bool = True
    rng: random.Random | None = None
    sleep: Callable[[float], None] = time.sleep

    @property
    def _llm_type(self) -> str:
        return "simulated-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "temperature": self.temperature}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002  # the contract's
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ARG002  # the contract's
    ) -> Iterator[ChatGenerationChunk]:
        rng = self.rng or random.Random(secrets.randbits(64))
        prompt = str(messages[-1].text) if messages else ""
        answer = write_answer(prompt, rng)
        self.sleep(self.first_token_s * rng.lognormvariate(0, self.spread))
        pace_s = rng.lognormvariate(0, self.spread) / self.tokens_per_second
        words = answer.split(" ")
        for number, word in enumerate(words):
            token = word if number == len(words) - 1 else f"{word} "
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=token))
            if run_manager:
                run_manager.on_llm_new_token(token, chunk=chunk)
            yield chunk
            self.sleep(pace_s * estimated_tokens(token))
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                content="",
                response_metadata={"finish_reason": "stop", "model_name": self.model_name, "simulated": True},
                usage_metadata=_usage(prompt, answer),
            )
        )


def _usage(prompt: str, answer: str) -> UsageMetadata:
    input_tokens, output_tokens = estimated_tokens(prompt), estimated_tokens(answer)
    return UsageMetadata(
        input_tokens=input_tokens, output_tokens=output_tokens, total_tokens=input_tokens + output_tokens
    )
