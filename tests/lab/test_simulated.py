"""The simulated model: a LangChain chat model whose latency is drawn, and which never waits in a test."""

from __future__ import annotations

import math
import random
import statistics
import subprocess
import sys

import pytest
from langchain_core.messages import HumanMessage

from lab.prices import estimated_tokens
from lab.simulated import SimulatedChatModel
from tests.lab.building import SAGAN


def waits(model: SimulatedChatModel) -> tuple[float, float, int]:
    """Seconds until the first token, seconds for all others, and how many tokens there were."""
    slept: list[float] = []
    answer = model.model_copy(update={"sleep": slept.append}).invoke(SAGAN)
    words = str(answer.content).split(" ")
    assert len(slept) == len(words) + 1
    return (
        slept[0],
        sum(slept[1:]),
        sum(estimated_tokens(f"{word} ") for word in words[:-1]) + estimated_tokens(words[-1]),
    )


def test_latency_is_log_normal_around_the_configured_medians() -> None:
    model = SimulatedChatModel(first_token_s=0.6, tokens_per_second=70, spread=0.3, rng=random.Random(11))
    drawn = [waits(model) for _ in range(400)]
    firsts = [first for first, _, _ in drawn]
    paces = [rest / tokens for _, rest, tokens in drawn]
    for values, median in ((firsts, 0.6), (paces, 1 / 70)):
        logarithms = statistics.NormalDist.from_samples([random_log(value / median) for value in values])
        assert logarithms.mean == pytest.approx(0, abs=0.05)  # three standard errors
        assert logarithms.stdev == pytest.approx(0.3, abs=0.04)
    assert statistics.median(firsts) == pytest.approx(0.6, rel=0.06)
    assert statistics.median(paces) == pytest.approx(1 / 70, rel=0.06)
    skew = statistics.fmean(firsts) - statistics.median(firsts)
    assert skew > 0


def random_log(value: float) -> float:
    """The natural logarithm."""
    return math.log(value)


def test_without_spread_the_latency_is_the_median_itself() -> None:
    first, rest, tokens = waits(SimulatedChatModel(first_token_s=0.5, tokens_per_second=10, spread=0))
    assert first == 0.5
    assert rest == pytest.approx(tokens / 10)


def test_invoke_and_stream_say_the_same_with_the_same_seed() -> None:
    def model() -> SimulatedChatModel:
        return SimulatedChatModel(rng=random.Random(3), sleep=lambda _: None)

    streamed = "".join(str(chunk.content) for chunk in model().stream(SAGAN))
    assert streamed == model().invoke(SAGAN).content


@pytest.mark.parametrize("streaming", [True, False])
def test_the_answer_says_that_it_is_simulated_and_how_many_tokens_it_has(streaming: bool) -> None:
    model = SimulatedChatModel(sleep=lambda _: None, streaming=streaming)
    answer = model.invoke([HumanMessage("First?"), HumanMessage(SAGAN)])
    assert answer.response_metadata["simulated"] is True
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == estimated_tokens(SAGAN)
    assert answer.usage_metadata["output_tokens"] == estimated_tokens(str(answer.content))
    assert "Simulated answer" in str(answer.content)


def test_two_calls_differ() -> None:
    model = SimulatedChatModel(sleep=lambda _: None)
    assert len({str(model.invoke(SAGAN).content) for _ in range(30)}) == 30


def test_another_process_words_it_differently_but_has_the_same_key() -> None:
    code = (
        "from lab.simulated import SimulatedChatModel; "
        "model = SimulatedChatModel(sleep=lambda _: None, streaming=True, temperature=0.7); "
        f"print(model._get_llm_string()); print(repr(model.invoke({SAGAN!r}).content))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
        for _ in range(2)
    ]
    assert runs[0][0] == runs[1][0]
    assert runs[0][1] != runs[1][1]
    assert "0x" not in runs[0][0]


def test_speed_is_no_part_of_the_key_and_temperature_is() -> None:
    def key(**options: float) -> str:
        return SimulatedChatModel(streaming=True, **options)._get_llm_string()

    assert key(first_token_s=0.1, tokens_per_second=5, spread=0) == key(first_token_s=3)
    assert key(temperature=0.1) != key(temperature=0.2)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " ",
        "\0",
        "x" * 1_000_000,
        "מי היה קרל סייגן?",
        "\u202e\u200f",
        "數" * 1000,
        "{prompt} {0} %s",
        "\ud800",
        "`" * 99,
    ],
)
def test_any_text_is_answered(prompt: str) -> None:
    answer = SimulatedChatModel(sleep=lambda _: None).invoke(prompt)
    assert "Simulated answer" in str(answer.content) or "Resposta simulada" in str(answer.content)
    assert len(str(answer.content)) < 2000


def test_nothing_to_answer_is_answered_too() -> None:
    model = SimulatedChatModel(sleep=lambda _: None)
    assert model._generate([]).generations[0].text
