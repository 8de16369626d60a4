"""`Laboratory`: the parts put together; what a page asks for goes through here."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from cache_backends import CacheError
from lab.ask import ask
from lab.explain import Explanation, explain
from lab.failures import classify, detail
from lab.health import HealthJob, check_all
from lab.history import History
from lab.indexing import Indexing
from lab.jobs import Job, Jobs
from lab.measurement import FailureKind, Measurement
from lab.models import BadKeyError, ModelChoice, Models, NoKeyError
from lab.prices import Prices
from lab.runs import Runs
from lab.settings import Settings
from lab.strategies import Strategies, Strategy, StrategyUnavailableError
from lab.turns import Turns

logger = logging.getLogger("lab.laboratory")

SHARED_SCOPE = "shared"


class PromptError(ValueError):
    """A prompt that is not asked. `kind` says why, `length` how many characters it has."""

    def __init__(self, kind: str, length: int, limit: int) -> None:
        super().__init__(f"The prompt is {kind}: {length:,} characters, at most {limit:,} are allowed.")
        self.kind = kind
        self.length = length
        self.limit = limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asks for. `visitor_key` was typed for this model's endpoint and goes nowhere else."""

    prompt: str
    strategy: str
    model_id: str
    scope: str = SHARED_SCOPE
    temperature: float = 0.7
    ttl_s: float | None = None
    bypass: bool = False
    visitor_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """A request (without its key) with its measurement and the reason why it ended so."""

    request: Request
    measurement: Measurement
    explanation: Explanation


AskJob = Job[str, Answered]
"""A request in work: its progress is the answer's text, piece by piece."""


class Laboratory:
    """All that pages need: settings, models, strategies, history and jobs, shared by the process's visitors."""

    def __init__(
        self,
        settings: Settings,
        secrets: Mapping[str, str] | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.models = Models(settings, secrets)
        self.strategies = Strategies(settings, clock=clock)
        self.history = History(settings.data_dir / "history.db", max_rows=settings.history.max_rows)
        self.prices = Prices(settings.prices)
        self.jobs = Jobs()
        self.turns = Turns()
        self.indexing = Indexing(self.jobs)
        self.runs = Runs(settings.data_dir / "comparisons.db")
        self._clock = clock
        self._started_at = clock()
        self._restarted_at: dict[tuple[str, str], float] = {}

    def check_prompt(self, prompt: str) -> str:
        """The prompt as it will be asked. Raises `PromptError`."""
        limit = self.settings.max_prompt_chars
        if not prompt.strip():
            raise PromptError("empty", len(prompt), limit)
        if len(prompt) > limit:
            raise PromptError("too_long", len(prompt), limit)
        return prompt

    def start(self, request: Request) -> AskJob:
        """Begin a request as a job. Raises `PromptError` and `jobs.TooManyJobsError`."""
        self.check_prompt(request.prompt)
        return self.jobs.start(lambda job: self.answer(request, on_token=job.show, stopping=lambda: job.stopping))

    def answer(
        self,
        request: Request,
        *,
        on_token: Callable[[str], None] = lambda _: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Answered:
        """Ask, record, and explain. What fails is in the measurement.

        Raises `KeyError` for a model or strategy that the settings do not have.
        """
        choice = self.models.choices[request.model_id]
        if request.strategy not in self.strategies.names:
            raise KeyError(request.strategy)
        try:
            strategy = self._strategy(request, choice)
            model = self.models.get(request.model_id, request.temperature, request.visitor_key)
        except Exception as error:  # noqa: BLE001  # what can't even be asked is a result too
            measurement = self._not_asked(request, choice, error)
        else:
            measurement = ask(
                model,
                strategy,
                request.prompt,
                scope=request.scope,
                bypass=request.bypass,
                prices=self.prices,
                on_token=on_token,
                stopping=stopping,
                clock=self._clock,
            )
            measurement = self._with_saved_time(measurement)
        explanation = self._explain(measurement, choice)
        self.history.record(measurement)
        return Answered(replace(request, visitor_key=None), measurement, explanation)

    def namespace(self, scope: str, model_id: str) -> str:
        """The namespace of a visitor's entries: whose they are, and which endpoint made them."""
        return f"{scope}:{self.models.choices[model_id].namespace}"

    def restart(self, strategy: str, scope: str, model_id: str) -> None:
        """Do to this namespace what a new process would find. Raises `StrategyUnavailableError`."""
        self.strategies.restart(strategy, self.namespace(scope, model_id))
        self._restarted_at[strategy, self.namespace(scope, model_id)] = self._clock()

    def forget(self, strategy: str, scope: str, model_id: str, key: str) -> bool:
        """Remove one stored answer; whether it was there. Raises `StrategyUnavailableError`."""
        return self.strategies.forget(strategy, self.namespace(scope, model_id), key)

    def check_health(self, scope: str) -> HealthJob:
        """Begin to look at every strategy's store; sizes are those of this scope. Raises `jobs.TooManyJobsError`."""
        namespaces = sorted({self.namespace(scope, model_id) for model_id in self.models.choices})
        return self.jobs.start(lambda job: check_all(self.strategies, namespaces, job, clock=self._clock))

    def remove_scope(self, scope: str, model_id: str, strategies: Iterable[str]) -> None:
        """Remove what a scope that is over left behind: its entries, its history. What can't be removed is logged."""
        namespace = self.namespace(scope, model_id)
        for strategy in strategies:
            self._restarted_at.pop((strategy, namespace), None)
            try:
                self.strategies.remove_namespace(strategy, namespace)
            except StrategyUnavailableError as error:
                logger.warning("entries of %s could not be removed: %s", namespace, error)
        try:
            self.history.clear(scope)
        except CacheError as error:
            logger.warning("the history of %s could not be removed: %s", scope, error)

    def notices(self) -> list[str]:
        """What a person should know about the stores and the history."""
        return [*self.history.notices, *self.runs.notices, *self.strategies.notices()]

    def _strategy(self, request: Request, choice: ModelChoice) -> Strategy:
        return self.strategies.get(request.strategy, f"{request.scope}:{choice.namespace}", request.ttl_s)

    def _explain(self, measurement: Measurement, choice: ModelChoice) -> Explanation:
        if measurement.outcome != "miss" or measurement.key is None or measurement.failure is not None:
            return explain(measurement, None, None)
        kept = self.history.last_kept(measurement.scope, measurement.strategy, measurement.model, measurement.key)
        emptied_at = None
        with contextlib.suppress(StrategyUnavailableError):  # it was there a moment ago, or there were no miss
            if not self.strategies.survives_restart(measurement.strategy):
                namespace = f"{measurement.scope}:{choice.namespace}"
                emptied_at = self._restarted_at.get((measurement.strategy, namespace), self._started_at)
        return explain(measurement, kept, emptied_at)

    def _with_saved_time(self, measurement: Measurement) -> Measurement:
        """Add what a hit saved where the cache itself does not know how long the model had taken."""
        if measurement.outcome != "hit" or measurement.saved_s is not None or measurement.key is None:
            return measurement
        model_s = self.history.last_model_s(measurement.scope, measurement.strategy, measurement.model, measurement.key)
        if model_s is None or measurement.lookup_s is None:
            return measurement
        return replace(measurement, saved_s=model_s - measurement.lookup_s)

    def _not_asked(self, request: Request, choice: ModelChoice, error: Exception) -> Measurement:
        failure: FailureKind = "other"
        if isinstance(error, StrategyUnavailableError):
            failure = "strategy_unavailable"
        elif isinstance(error, (NoKeyError, BadKeyError)):
            failure = classify(error)
        return Measurement(
            asked_at=self._clock(),
            scope=request.scope,
            strategy=request.strategy,
            model=request.model_id,
            simulated=choice.simulated,
            prompt=request.prompt,
            temperature=request.temperature,
            outcome="bypass",
            total_s=0.0,
            failure=failure,
            not_stored="no_answer",
            detail=detail(error, (request.visitor_key or "",)),
        )
