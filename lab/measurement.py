"""The record of one request: what was asked, how it ended, what it took and what it saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RequestOutcome = Literal["hit", "miss", "expired", "corrupt", "error", "bypass", "shared"]
"""How the request's lookup ended; `bypass`: the cache was not asked; `shared`: it waited for an equal request."""

LOOKUPS: tuple[RequestOutcome, ...] = ("hit", "miss", "expired", "corrupt", "error", "shared")
"""The outcomes of requests whose cache was asked. One that was shared is among them: the cache had no answer for it."""

FailureKind = Literal[
    "rate_limited",
    "quota_used_up",
    "wrong_key",
    "no_key",
    "not_allowed",
    "unknown_model",
    "prompt_too_long",
    "bad_request",
    "unreachable",
    "timeout",
    "connection_lost",
    "server_error",
    "bad_answer",
    "stopped",
    "strategy_unavailable",
    "other",
]
"""Why a request got no answer."""

RETRY_HELPS: frozenset[FailureKind] = frozenset(
    {
        "rate_limited",
        "unreachable",
        "timeout",
        "connection_lost",
        "server_error",
        "bad_answer",
        "stopped",
        "strategy_unavailable",
    }
)
"""The failures after which asking once more may work without changing anything."""

WhyNotStored = Literal[
    "empty",
    "truncated",
    "unfaithful",
    "too_large",
    "error",
    "no_finish",
    "holds_key",
    "no_answer",
    "bypass",
    "hit",
    "shared",
    "no_cache",
]
"""Why a request stored nothing: see `cache_backends.Refusal`; `no_finish`: the stream ended without saying so;
`holds_key`: the answer repeats the key it was paid with; `shared`: the request that made the answer stores it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One request. Times in seconds on a monotonic clock, `asked_at` a Unix time, money in US dollars.

    `model_s` runs from the end of the lookup to the call of the store (to the end of the call where there is none);
    `total_s` is the whole call with LangChain's own work. None: did not happen, or is not known.
    """

    asked_at: float
    scope: str
    """Whose request it is: "shared", a browser session, a demo."""
    strategy: str
    model: str
    simulated: bool
    prompt: str
    temperature: float
    outcome: RequestOutcome
    total_s: float
    lookup_s: float | None = None
    model_s: float | None = None
    store_s: float | None = None
    first_token_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    tokens_estimated: bool = False
    cost_usd: float | None = None
    saved_s: float | None = None
    saved_usd: float | None = None
    stored: bool = False
    not_stored: WhyNotStored | None = None
    failure: FailureKind | None = None
    """Set where there is no answer."""
    detail: str | None = None
    """What the failing part said, credentials taken out."""
    key: str | None = None
    entry_age_s: float | None = None
    expired_for_s: float | None = None
    answer: str = ""

    @property
    def kept(self) -> bool:
        """Whether the store held this answer afterwards."""
        return self.stored or self.outcome == "hit"

    @property
    def shown_outcome(self) -> RequestOutcome:
        """What a person is told: an error where there is no answer, else the outcome of the lookup."""
        return "error" if self.failure is not None else self.outcome
