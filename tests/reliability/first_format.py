"""What lies in the stores of `tests/cache_backends/stores`, as the first released version wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from cache_backends import CacheEntry, cache_key
from tests.cache_backends.answers import LLM, chat, chat_prompt

STORES = Path(__file__).parents[1] / "cache_backends" / "stores"
HOUR_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as the first version stored it."""

    namespace: str
    prompt: str
    readable: str
    generations: list[Generation]
    created_at: float
    last_used_at: float
    hits: int = 0
    expires_at: float | None = None
    model_times_s: tuple[float | None, ...] = (None,)
    """One for each of the stores, where the answer had been asked for."""

    @property
    def key(self) -> str:
        """Under which it lies."""
        return cache_key(self.prompt, LLM)


SAGAN = Stored(
    namespace="default",
    prompt=chat_prompt("Who was Carl Sagan?"),
    readable="Who was Carl Sagan?",
    generations=[
        ChatGeneration(
            message=AIMessage(
                "An astronomer.",
                id="run-1",
                response_metadata={"finish_reason": "stop"},
                usage_metadata={"input_tokens": 5, "output_tokens": 4, "total_tokens": 9},
            )
        )
    ],
    created_at=1_700_000_000.0,
    last_used_at=1_700_000_030.0,
    hits=2,
    model_times_s=(0.00011256700054218527, 0.00007231800009321887),
)
WEATHER = Stored(
    namespace="default",
    prompt=chat_prompt("What is the weather? é🪐"),
    readable="What is the weather? é🪐",
    generations=[chat("It rains."), chat("It is dry.")],
    created_at=1_700_000_010.0,
    last_used_at=1_700_000_010.0,
    expires_at=1_700_000_010.0 + HOUR_S,
)
COMPLETION = Stored(
    namespace="other",
    prompt="a completion's prompt",
    readable="a completion's prompt",
    generations=[Generation(text=" and its end", generation_info={"finish_reason": "stop"})],
    created_at=1_700_000_020.0,
    last_used_at=1_700_000_020.0,
)
STORED = (SAGAN, WEATHER, COMPLETION)


def is_as_it_was(entry: CacheEntry | None, old: Stored) -> None:
    """Compare an entry with what the first version stored, field by field."""
    assert entry is not None
    assert (entry.key, entry.namespace, entry.prompt) == (old.key, old.namespace, old.readable)
    assert (entry.raw_prompt, entry.llm_string, entry.model) == (old.prompt, LLM, "demo-1")
    assert entry.generations == old.generations
    assert (entry.created_at, entry.expires_at) == (old.created_at, old.expires_at)
    assert (entry.last_used_at, entry.hits) == (old.last_used_at, old.hits)
    assert (entry.pinned, entry.model_time_s in old.model_times_s) == (False, True)
    assert entry.text == "\n\n".join(generation.text for generation in old.generations)
    assert 0 < entry.size_bytes < 1_000
