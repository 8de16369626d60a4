"""`ask`: one real LangChain `invoke` with a strategy's cache set on the model, measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeGuard

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import ChatGeneration, Generation

from lab.failures import StoppedError, classify, detail
from lab.measurement import FailureKind, Measurement, RequestOutcome, WhyNotStored
from lab.models import Model
from lab.observed_cache import ObservedCache
from lab.prices import Prices, estimated_tokens
from lab.strategies import Strategy

MOST_TOKENS = 1_000_000_000
"""A server that says that a request used more is not believed."""


class _Tokens(BaseCallbackHandler):
    """Receives the tokens of an answer as they are made, notes when the first came, and stops when asked to."""

    raise_error = True  # else LangChain would swallow StoppedError

    def __init__(self, on_token: Callable[[str], None], stopping: Callable[[], bool]) -> None:
        self.first_at: float | None = None
        self._on_token = on_token
        self._stopping = stopping

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:  # noqa: ARG002  # LangChain's signature
        if self._stopping():
            raise StoppedError("The answer was stopped.")
        if not isinstance(token, str) or not token:
            return
        if self.first_at is None:
            self.first_at = time.perf_counter()
        self._on_token(token)


def ask(
    model: Model,
    strategy: Strategy,
    prompt: str,
    *,
    scope: str = "shared",
    bypass: bool = False,
    prices: Prices | None = None,
    on_token: Callable[[str], None] = lambda _: None,
    stopping: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.time,
) -> Measurement:
    """Ask a model through a strategy and measure it. Never raises for what a model or a cache does.

    With `bypass` the cache is neither asked nor filled. The model object is never changed: each request gets a copy
    that shares its connections. `on_token` receives the answer's text as it is made (nothing on a hit).
    """
    observed = ObservedCache(
        None if bypass else strategy.cache, namespace=strategy.namespace, refuse=partial(_refuse, model)
    )
    tokens = _Tokens(on_token, stopping)
    asked_at = clock()
    answer, error = "", None
    began = time.perf_counter()
    try:
        result = model.runnable.model_copy(update={"cache": observed}).invoke(prompt, config={"callbacks": [tokens]})
        answer = result if isinstance(result, str) else str(result.text)
    except Exception as failure:  # noqa: BLE001  # whatever fails is a result here
        error = StoppedError("The answer was stopped.") if stopping() else failure
    ended = time.perf_counter()
    return _measurement(
        model, strategy, prompt, observed, prices or Prices(),
        asked_at=asked_at, scope=scope, bypass=bypass, answer=answer, error=error,
        total_s=ended - began,
        model_s=_model_s(observed, ended),
        first_token_s=None if tokens.first_at is None else tokens.first_at - began,
    )  # fmt: skip


def _measurement(
    model: Model,
    strategy: Strategy,
    prompt: str,
    observed: ObservedCache,
    prices: Prices,
    *,
    asked_at: float,
    scope: str,
    bypass: bool,
    answer: str,
    error: Exception | None,
    total_s: float,
    model_s: float | None,
    first_token_s: float | None,
) -> Measurement:
    lookup = observed.record
    outcome: RequestOutcome = "bypass" if lookup is None else lookup.outcome
    hit = outcome == "hit"
    failure: FailureKind | None = None if error is None else classify(error)
    input_tokens, output_tokens, estimated = _usage(observed, prompt, answer)
    price = None if failure else prices.cost_usd(model.priced_as, input_tokens, output_tokens, model.priced_at)
    saved_s = None
    if hit and lookup is not None and lookup.model_time_s is not None:
        saved_s = lookup.model_time_s - lookup.elapsed_s
    return Measurement(
        asked_at=asked_at,
        scope=scope,
        strategy=strategy.name,
        model=model.choice.id,
        simulated=model.choice.simulated,
        prompt=prompt,
        temperature=model.temperature,
        outcome=outcome,
        total_s=total_s,
        lookup_s=None if lookup is None else lookup.elapsed_s,
        model_s=None if hit else model_s,
        store_s=observed.store_s,
        first_token_s=first_token_s,
        input_tokens=None if failure else input_tokens,
        output_tokens=None if failure else output_tokens,
        tokens_estimated=estimated and failure is None,
        cost_usd=None if failure else 0.0 if hit else price,
        saved_s=saved_s,
        saved_usd=price if hit else None,
        stored=observed.stored,
        not_stored=_why_not_stored(observed, strategy, bypass=bypass, hit=hit, failed=failure is not None),
        failure=failure,
        detail=observed.detail if error is None else detail(error, model.secrets),
        key=None if lookup is None else lookup.key,
        entry_age_s=None if lookup is None else lookup.age_s,
        expired_for_s=None if lookup is None else lookup.expired_for_s,
        answer=answer,
    )


def _refuse(model: Model, generations: Sequence[Generation]) -> WhyNotStored | None:
    """Refuse what the model's endpoint says must not be stored, and answers that repeat the key they were paid with."""
    if any(secret in repr(generation) for secret in model.secrets for generation in generations):
        return "holds_key"
    return model.refuse(generations)


def _model_s(observed: ObservedCache, ended: float) -> float | None:
    if observed.lookup_ended is None:
        return None
    return (observed.store_began or ended) - observed.lookup_ended


def _usage(observed: ObservedCache, prompt: str, answer: str) -> tuple[int, int, bool]:
    """Input and output tokens, as the server said, else estimated from the texts; and whether they are estimated."""
    for generation in observed.generations:
        if isinstance(generation, ChatGeneration):
            usage = getattr(generation.message, "usage_metadata", None) or {}
            asked, answered = usage.get("input_tokens"), usage.get("output_tokens")
            if _is_count(asked) and _is_count(answered):
                return asked, answered, False
    return estimated_tokens(prompt), estimated_tokens(answer), True


def _is_count(tokens: object) -> TypeGuard[int]:
    return isinstance(tokens, int) and 0 <= tokens <= MOST_TOKENS


def _why_not_stored(
    observed: ObservedCache, strategy: Strategy, *, bypass: bool, hit: bool, failed: bool
) -> WhyNotStored | None:
    if observed.stored:
        return None
    if hit:
        return "hit"
    if strategy.cache is None:
        return "no_cache"
    if bypass:
        return "bypass"
    return observed.not_stored or ("no_answer" if failed else "error")
