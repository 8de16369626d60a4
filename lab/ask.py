"""`ask`: one real LangChain `invoke` with a strategy's cache set on the model, measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any, TypeGuard

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import ChatGeneration, Generation

from cache_backends import OneRequest, SingleFlight
from cache_backends.one_request import place_of
from lab.failures import StoppedError, classify, detail
from lab.measurement import FailureKind, Measurement, RequestOutcome, WhyNotStored
from lab.models import LanguageModel, Model
from lab.observed_cache import Exchange, ObservedCache
from lab.prices import Prices, estimated_tokens
from lab.server_urls import without_secrets
from lab.strategies import Strategy

MOST_TOKENS = 1_000_000_000
"""A server that says that a request used more is not believed."""
FLIGHTS = SingleFlight(gave_up_by=(StoppedError,))
"""The requests in flight, one for the process: each names its store. Who stops one stops it for nobody else."""


class _Tokens(BaseCallbackHandler):
    """Receives the tokens of an answer as they are made, notes when the first came, and stops when asked to."""

    raise_error = True  # else LangChain would swallow StoppedError

    def __init__(self, on_token: Callable[[str], None], stopping: Callable[[], bool]) -> None:
        self.first_at: float | None = None
        self._on_token = on_token
        self._stopping = stopping

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:  # noqa: ARG002  # LangChain's signature
        self.stop_if_asked()
        if not isinstance(token, str) or not token:
            return
        if self.first_at is None:
            self.first_at = time.perf_counter()
        self._on_token(token)

    def stop_if_asked(self) -> None:
        """Raise `StoppedError` where the person wants no answer any more."""
        if self._stopping():
            raise StoppedError("The answer was stopped.") from None  # whatever the model made of it


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
    exchanged: Callable[[Exchange], None] = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Measurement:
    """Ask a model through a strategy and measure it. Never raises for what a model or a cache does.

    With `bypass` the cache is neither asked nor filled. Equal requests that miss at the same time make one model call;
    the others share its answer or its failure. The model object is never changed: each request gets a copy that shares
    its connections. `on_token` receives the answer's text as it is made (nothing on a hit or where it is shared);
    `exchanged` what LangChain asked the cache for and the answer that came, where one did.
    """
    cache = None if bypass else strategy.cache
    observed = ObservedCache(cache, namespace=strategy.namespace, refuse=partial(_refuse, model))
    tokens = _Tokens(on_token, stopping)
    asked_at = clock()
    one = OneRequest(
        observed, FLIGHTS, place=_place(model, strategy), timeout_s=None, while_waiting=tokens.stop_if_asked
    )
    answer, error = "", None
    began = time.perf_counter()
    try:
        with nullcontext() if cache is None else one:  # outside its block it joins no others
            answer = _invoke(model.runnable.model_copy(update={"cache": one}), prompt, tokens)
    except Exception as failure:  # noqa: BLE001  # whatever fails is a result here
        error = failure
    ended = time.perf_counter()
    if error is None and observed.prompt is not None and observed.llm_string is not None:
        exchanged(Exchange(observed.prompt, observed.llm_string, one.shared or observed.generations))
    return _measurement(
        model, strategy, prompt, observed, one, prices or Prices(),
        asked_at=asked_at, scope=scope, bypass=bypass, answer=answer, error=error,
        total_s=ended - began,
        model_s=_model_s(observed, ended),
        first_token_s=None if tokens.first_at is None else tokens.first_at - began,
    )  # fmt: skip


def answer_from_elsewhere(model: Model, strategy: Strategy, bought: Measurement, exchange: Exchange) -> Measurement:
    """The measurement of a strategy that is given an answer which the model made once for several of them.

    Lookup and store are this strategy's own. The model's time is that of the one call, and the total is the sum of the
    three: no whole call was made.
    """
    observed = ObservedCache(strategy.cache, namespace=strategy.namespace, refuse=partial(_refuse, model))
    observed.lookup(exchange.prompt, exchange.llm_string)
    observed.update(exchange.prompt, exchange.llm_string, exchange.generations)
    assert observed.record is not None
    times = (observed.record.elapsed_s, bought.model_s, observed.store_s)
    return replace(
        bought,
        strategy=strategy.name,
        outcome=observed.record.outcome,
        lookup_s=observed.record.elapsed_s,
        store_s=observed.store_s,
        total_s=sum(time for time in times if time is not None),
        first_token_s=None,
        stored=observed.stored,
        not_stored=_why_not_stored(observed, strategy, observed.record.outcome, bypass=False, failed=False),
        detail=_cache_said(observed, strategy),
        key=observed.record.key,
    )


def _invoke(runnable: LanguageModel, prompt: str, tokens: _Tokens) -> str:
    try:
        result = runnable.invoke(prompt, config={"callbacks": [tokens]})
    except Exception:
        tokens.stop_if_asked()
        raise
    return result if isinstance(result, str) else str(result.text)


def _place(model: Model, strategy: Strategy) -> Hashable:
    """What equal requests have in common beside prompt and parameters.

    Their key too: one that the server refuses must not fail those who have a better one.
    """
    store = None if strategy.cache is None else place_of(strategy.cache)
    keys = sha256("\0".join(model.secrets).encode()).digest()
    return store, strategy.name, strategy.namespace, model.choice.id, keys


def _measurement(
    model: Model,
    strategy: Strategy,
    prompt: str,
    observed: ObservedCache,
    one: OneRequest,
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
    shared = one.outcome == "shared"
    outcome: RequestOutcome = "shared" if shared else "bypass" if lookup is None else lookup.outcome
    hit = outcome == "hit"
    avoided = hit or shared
    failure: FailureKind | None = None if error is None else classify(error)
    input_tokens, output_tokens, estimated = _usage(one.shared or observed.generations, prompt, answer)
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
        model_s=None if avoided else model_s,
        store_s=observed.store_s,
        first_token_s=first_token_s,
        input_tokens=None if failure else input_tokens,
        output_tokens=None if failure else output_tokens,
        tokens_estimated=estimated and failure is None,
        cost_usd=None if failure else 0.0 if avoided else price,
        saved_s=saved_s,
        saved_usd=price if avoided else None,
        stored=observed.stored,
        not_stored=_why_not_stored(observed, strategy, outcome, bypass=bypass, failed=failure is not None),
        failure=failure,
        detail=_cache_said(observed, strategy) if error is None else detail(error, model.secrets),
        key=None if lookup is None else lookup.key,
        entry_age_s=None if lookup is None else lookup.age_s,
        expired_for_s=None if lookup is None else lookup.expired_for_s,
        answer=answer,
    )


def _cache_said(observed: ObservedCache, strategy: Strategy) -> str | None:
    return None if observed.detail is None else without_secrets(observed.detail, strategy.secrets)


def _refuse(model: Model, generations: Sequence[Generation]) -> WhyNotStored | None:
    """Refuse what the model's endpoint says must not be stored, and answers that repeat the key they were paid with."""
    if any(secret in repr(generation) for secret in model.secrets for generation in generations):
        return "holds_key"
    return model.refuse(generations)


def _model_s(observed: ObservedCache, ended: float) -> float | None:
    if observed.lookup_ended is None:
        return None
    return (observed.store_began or ended) - observed.lookup_ended


def _usage(generations: Sequence[Generation], prompt: str, answer: str) -> tuple[int, int, bool]:
    """Input and output tokens, as the server said, else estimated from the texts; and whether they are estimated."""
    for generation in generations:
        if isinstance(generation, ChatGeneration):
            usage = getattr(generation.message, "usage_metadata", None) or {}
            asked, answered = usage.get("input_tokens"), usage.get("output_tokens")
            if _is_count(asked) and _is_count(answered):
                return asked, answered, False
    return estimated_tokens(prompt), estimated_tokens(answer), True


def _is_count(tokens: object) -> TypeGuard[int]:
    return isinstance(tokens, int) and 0 <= tokens <= MOST_TOKENS


def _why_not_stored(
    observed: ObservedCache, strategy: Strategy, outcome: RequestOutcome, *, bypass: bool, failed: bool
) -> WhyNotStored | None:
    if observed.stored:
        return None
    if outcome == "hit":
        return "hit"
    if strategy.cache is None:
        return "no_cache"
    if bypass:
        return "bypass"
    if outcome == "shared" and not failed:
        return "shared"
    return observed.not_stored or ("no_answer" if failed else "error")
