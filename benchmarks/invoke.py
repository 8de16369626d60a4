"""A whole `ChatOpenAI.invoke` that is answered by a cache: what a user of LangChain waits for."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from langchain_core.caches import BaseCache
from langchain_core.outputs import ChatGeneration
from langchain_openai import ChatOpenAI

from benchmarks import payload
from benchmarks.contenders import OUR_JSON, OUR_MEMORY, OUR_SQLITE, THEIR_MEMORY, THEIR_SQLITE, contenders
from benchmarks.rounds import Operation, interleaved
from benchmarks.tables import Goal, Table, goals_table

QUESTIONS = 200
ROUNDS, BLOCK = 60, 20
GOAL = 1.4
NAMES = (OUR_MEMORY, OUR_SQLITE, OUR_JSON, THEIR_MEMORY, THEIR_SQLITE)


def measure() -> list[Table]:
    """Each cache set on a model of its own; no model is ever asked."""
    with tempfile.TemporaryDirectory() as folder:
        models = {}
        for name, contender in contenders(Path(folder), *NAMES).items():
            model = _model(contender.cache)
            for number in range(QUESTIONS):
                _store_answer(model, contender.cache, number)
            models[name] = model
        times = interleaved({name: partial(_ask, model) for name, model in models.items()}, rounds=ROUNDS, block=BLOCK)
    base_s = times[THEIR_MEMORY].median_s
    return [
        goals_table(
            "A whole ChatOpenAI.invoke on a hit",
            f"Medians of {ROUNDS * BLOCK:,} calls each, interleaved as above, over {QUESTIONS} questions; "
            f"{THEIR_MEMORY} takes {base_s * 1e6:.0f} µs, nearly all of it LangChain's own. Times as long as with it:",
            [
                Goal.at_most(name, GOAL, times[name].median_s / base_s)
                if name == OUR_SQLITE
                else Goal.none(name, times[name].median_s / base_s)
                for name in NAMES
            ],
        )
    ]


def _model(cache: BaseCache) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o-mini", temperature=0.7, api_key="made-up", cache=cache, max_retries=0)


def _store_answer(model: ChatOpenAI, cache: BaseCache, number: int) -> None:
    """Under the key that the model will ask with: it looks up, finds nothing, and is told the answer."""

    class Teller(BaseCache):
        def lookup(self, prompt: str, llm_string: str) -> list[ChatGeneration]:
            answer = payload.answer(number)
            cache.update(prompt, llm_string, answer)
            return answer

        def update(self, prompt: str, llm_string: str, return_val: object) -> None:
            raise AssertionError("no model is asked here")

        def clear(self, **kwargs: object) -> None:
            raise AssertionError("nothing is cleared here")

    model.model_copy(update={"cache": Teller()}).invoke(payload.question(number))


def _ask(model: ChatOpenAI, number: int) -> Operation:
    return partial(model.invoke, payload.question(number % QUESTIONS))
