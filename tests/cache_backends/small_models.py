"""Real LangChain models that are small: each call has another wording, and is counted."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import LLM, BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field


class SmallChatModel(BaseChatModel):
    """A chat model that says how often it was asked."""

    calls: list[str] = Field(default_factory=list, exclude=True)
    fails: bool = False

    @property
    def _llm_type(self) -> str:
        return "small-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": "small-chat-1"}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self.fails:
            raise RuntimeError("the model is down")
        self.calls.append(str(messages[-1].content))
        answer = f"{messages[-1].content}: answer {len(self.calls)}"
        return ChatResult(generations=[ChatGeneration(message=AIMessage(answer))])


class SmallCompletionModel(LLM):
    """A completion model that says how often it was asked."""

    calls: list[str] = Field(default_factory=list, exclude=True)

    @property
    def _llm_type(self) -> str:
        return "small-completion"

    def _call(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> str:
        self.calls.append(prompt)
        return f"{prompt}: answer {len(self.calls)}"
