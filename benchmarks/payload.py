"""What every benchmark stores and looks up: a question of 300 characters, an answer of 1,000 with OpenAI's metadata."""

from __future__ import annotations

from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration

DESCRIPTION = "a question of 300 characters, an answer of 1,000 with OpenAI's metadata"
QUESTION_LENGTH, ANSWER_LENGTH = 300, 1_000
LLM_STRING = str(sorted({"model_name": "gpt-4o-mini", "temperature": 0.7, "stop": None, "max_tokens": 256}.items()))


def question(number: int) -> str:
    """The question as a person types it."""
    return (f"Question {number}: " + "what is known about it, and how? " * 9)[:QUESTION_LENGTH]


def prompt(number: int) -> str:
    """The question as LangChain passes it to a cache."""
    return dumps([HumanMessage(question(number))])


def answer(number: int) -> list[ChatGeneration]:
    """What a chat model of OpenAI answers."""
    message = AIMessage(
        content=(f"Answer {number}: " + "this much is known, and this is how. " * 28)[:ANSWER_LENGTH],
        additional_kwargs={"refusal": None},
        response_metadata={
            "token_usage": {
                "completion_tokens": 220,
                "prompt_tokens": 80,
                "total_tokens": 300,
                "completion_tokens_details": {"audio_tokens": 0, "reasoning_tokens": 0},
                "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
            },
            "model_provider": "openai",
            "model_name": "gpt-4o-mini-2024-07-18",
            "system_fingerprint": "fp_0123456789",
            "id": f"chatcmpl-{abs(number):029d}",
            "service_tier": "default",
            "finish_reason": "stop",
            "logprobs": None,
        },
        id=f"lc_run--{abs(number):032x}-0",
        usage_metadata={
            "input_tokens": 80,
            "output_tokens": 220,
            "total_tokens": 300,
            "input_token_details": {"audio": 0, "cache_read": 0},
            "output_token_details": {"audio": 0, "reasoning": 0},
        },
    )
    return [ChatGeneration(message=message, generation_info={"finish_reason": "stop", "logprobs": None})]
