"""A comparison from its beginning to its end: waits for its turn, races, has the hits timed, keeps the run."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from cache_backends import CacheError
from cache_backends.codec import encode
from cache_backends.errors import NotCacheableError
from lab.comparison import BLOCK, STORES_SHARE, Compared, CompareRequest, Run, Timings
from lab.failures import detail
from lab.jobs import Job, TooManyJobsError
from lab.laboratory import Laboratory
from lab.machine import this_machine
from lab.measurement import Measurement
from lab.models import Model
from lab.observed_cache import Exchange
from lab.race import Race, Raced
from lab.rounds import WARM_UP_ROUNDS
from lab.strategies import NO_CACHE, Strategy, StrategyUnavailableError
from lab.timing import Line, Opened, Problem, RoundsDone, Task, Timed, What
from lab.timing_process import TimingFailedError, timed

logger = logging.getLogger("lab.compare")

LEAST, MOST = 1, 20
"""Strategies of one comparison."""
MOST_AT_ONCE = 10
"""Comparisons that have or wait for their turn: each is a job, and questions need some too."""
MOST_STORED_BYTES = 100_000_000
"""Of what one strategy is given to store while it is timed; larger answers are not timed in storing."""
MAX_ANSWER = 2_000
"""Characters of each answer that a run keeps."""
LEFT_AFTER_S = 3_600.0
"""What a comparison has stored for so long was left behind by a process that was killed."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What is compared, and whose comparison it is."""

    strategies: tuple[str, ...]
    scope: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """So many other comparisons come before this one."""

    before: int


@dataclass(frozen=True, slots=True)
class Timing:
    """So many rounds of all are timed; 0 while the process that times begins."""

    done: int
    of: int


@dataclass(frozen=True, slots=True)
class SummingUp:
    """All is measured: what was stored is removed, and ratios are computed."""


Step = Begun | Waiting | Raced | Timing | SummingUp
CompareJob = Job[Step, Run]


class CompareRequestError(ValueError):
    """A comparison that is not begun."""

    def __init__(self, kind: Literal["no_strategies", "too_many"]) -> None:
        super().__init__(f"A comparison has {LEAST} to {MOST} strategies.")
        self.kind = kind


def start_comparison(laboratory: Laboratory, request: CompareRequest) -> CompareJob:
    """Begin a comparison as a job, whose id is the run's.

    Raises `CompareRequestError`, `PromptError`, `TooManyJobsError`, and `KeyError` for an unknown model or strategy.
    """
    laboratory.check_prompt(request.prompt)
    if not request.strategies:
        raise CompareRequestError("no_strategies")
    if len(request.strategies) > MOST:
        raise CompareRequestError("too_many")
    for name in request.strategies:
        if name not in laboratory.strategies.names:
            raise KeyError(name)
    laboratory.models.choices[request.model_id]
    if laboratory.turns.taken >= MOST_AT_ONCE:
        raise TooManyJobsError(f"{MOST_AT_ONCE} comparisons are waiting already. Try again in a moment.")
    once_each = replace(request, strategies=tuple(dict.fromkeys(request.strategies)))
    return laboratory.jobs.start(lambda job: _Comparison(laboratory, once_each, job).run())


def running(laboratory: Laboratory, run_id: str) -> CompareJob | None:
    """The job of a run that is in work, or that could not be kept."""
    job = laboratory.jobs.get(run_id)
    is_comparison = job is not None and isinstance(next(iter(job.progress), None), Begun)
    return cast(CompareJob, job) if is_comparison else None


@dataclass(slots=True)
class _Comparison:
    """One comparison in work."""

    laboratory: Laboratory
    request: CompareRequest
    job: CompareJob
    began_at: float = field(default_factory=time.time)
    compared: dict[str, Compared] = field(default_factory=dict)

    def run(self) -> Run:
        self.job.show(Begun(self.request.strategies, self.request.scope))
        with self.laboratory.turns.turn(self._wait, lambda: self.job.stopping) as is_mine:
            self.began_at = time.time()
            self.compared = {name: Compared(strategy=name) for name in self.request.strategies}
            if is_mine:
                self._measure()
        run = self._result().with_ratios()
        if any(each.cold is not None or each.problem is not None for each in run.compared):
            self._keep(run)
        return run

    def _keep(self, run: Run) -> None:
        """Keep the run in its file, and no longer as a job: whoever removes it there has removed it."""
        try:
            self.laboratory.runs.keep(run)
        except (CacheError, OSError) as error:
            logger.warning("a comparison could not be kept: %s", error)
        else:
            self.laboratory.jobs.forget(self.job.id)

    def _measure(self) -> None:
        """Everything, in a namespace that is removed afterwards."""
        self.compared = {name: self._described(name) for name in self.request.strategies}
        namespace = self.laboratory.namespace(f"compare-{secrets.token_hex(8)}", self.request.model_id)
        runs = self.laboratory.runs
        with contextlib.suppress(CacheError, OSError):  # then a killed process leaves something behind
            for left in runs.left_namespaces(before=self.began_at - LEFT_AFTER_S):
                self._remove(left, self.laboratory.strategies.names)
                runs.forget_namespace(left)
            runs.note_namespace(namespace, self.began_at)
        try:
            self._race_and_time(namespace)
        finally:
            self.job.show(SummingUp())
            self._remove(namespace, self.request.strategies)
            with contextlib.suppress(CacheError, OSError):
                runs.forget_namespace(namespace)

    def _wait(self, before: int) -> None:
        self.job.show(Waiting(before))

    def _race_and_time(self, namespace: str) -> None:
        opened = self._opened(namespace)
        if not opened:
            return
        try:
            model = self.laboratory.models.get(
                self.request.model_id, self.request.temperature, self.request.visitor_key
            )
        except Exception as error:  # noqa: BLE001  # no key, or one that can't be used: the result says so
            self._note_all(detail(error, (self.request.visitor_key or "",)))
            return
        exchange = Race(
            laboratory=self.laboratory,
            model=model,
            prompt=self.request.prompt,
            strategies=opened,
            ask_each=self.request.ask_each,
            show=self._raced,
            stopping=lambda: self.job.stopping,
        ).run()
        names = tuple(strategy.name for strategy in opened if self._can_be_timed(strategy.name))
        if exchange is not None and names and not self.job.stopping:
            self._time(model, names, namespace, exchange)

    def _opened(self, namespace: str) -> list[Strategy]:
        opened = []
        for name in self.request.strategies:
            try:
                opened.append(self.laboratory.strategies.get(name, namespace))
            except StrategyUnavailableError as error:
                self._note(name, problem=str(error))
        return opened

    def _raced(self, raced: Raced) -> None:
        measured = replace(raced.measurement, prompt="", answer=raced.measurement.answer[:MAX_ANSWER])
        self._note(raced.strategy, **{raced.act: measured})
        reason = _why_not(measured, raced.act)
        if reason is not None:
            self._note(raced.strategy, problem=reason)
        self.job.show(replace(raced, measurement=measured))

    def _can_be_timed(self, name: str) -> bool:
        return name != NO_CACHE and self.compared[name].problem is None

    def _time(self, model: Model, names: tuple[str, ...], namespace: str, exchange: Exchange) -> None:
        rounds = self.request.repeats // BLOCK
        try:
            answer = encode(exchange.generations).decode()
            entry_bytes = len(answer) + len(exchange.prompt) + len(exchange.llm_string)
            store_rounds = max(1, rounds // STORES_SHARE)
            if (store_rounds + WARM_UP_ROUNDS) * BLOCK * entry_bytes > MOST_STORED_BYTES:
                store_rounds = 0  # many copies of a large answer would fill memory and disk
            self.job.show(Timing(0, rounds + store_rounds))
            task = Task(
                settings=_as_json(self.laboratory, names),
                strategies=names,
                namespace=namespace,
                model_id=model.choice.id,
                temperature=model.temperature,
                prompt=self.request.prompt,
                cached_prompt=exchange.prompt,
                llm_string=exchange.llm_string,
                answer=answer,
                rounds=rounds,
                store_rounds=store_rounds,
                block=BLOCK,
            )
            for line in timed(task, lambda: self.job.stopping):
                self._heard(line)
        except (NotCacheableError, TimingFailedError, OSError) as error:
            for name in names:
                self._note(name, problem=self.laboratory.strategies.safe(name, str(error)))

    def _heard(self, line: Line) -> None:
        match line:
            case Opened():
                self._note(line.strategy, entry_bytes=line.entry_bytes)
            case Problem():
                self._note(line.strategy, problem=line.reason)
            case Timed():
                self._add(line)
            case RoundsDone():
                self.job.show(Timing(line.done, line.of))

    def _add(self, line: Timed) -> None:
        names: dict[What, str] = {"lookup": "lookups", "invoke": "invokes", "store": "stores"}
        known: Timings = getattr(self.compared[line.strategy], names[line.what])
        if line.number < 0:
            first_s = known.first_s if known.first_s is not None or not line.seconds else line.seconds[0]
            added = replace(known, first_s=first_s)
        else:
            known.rounds.append(line.seconds)
            added = replace(known, failures=known.failures + line.failures)
        self._note(line.strategy, **{names[line.what]: added})

    def _described(self, name: str) -> Compared:
        strategies = self.laboratory.strategies
        if name == NO_CACHE:
            return Compared(strategy=name)
        try:
            survives: bool | None = strategies.survives_restart(name)
        except StrategyUnavailableError:
            survives = None
        shared = strategies.is_server(name) if strategies.is_ours(name) else None
        return Compared(strategy=name, survives_restart=survives, shared_between_machines=shared)

    def _note(self, name: str, **found: object) -> None:
        self.compared[name] = replace(self.compared[name], **found)  # type: ignore[arg-type]

    def _note_all(self, problem: str) -> None:
        for name in self.request.strategies:
            self._note(name, problem=problem)

    def _remove(self, namespace: str, strategies: Iterable[str]) -> None:
        for name in strategies:
            try:
                self.laboratory.strategies.remove_namespace(name, namespace)
            except (StrategyUnavailableError, CacheError, OSError) as error:
                logger.warning("entries of %s could not be removed: %s", namespace, error)

    def _result(self) -> Run:
        return Run(
            id=self.job.id,
            scope=self.request.scope,
            began_at=self.began_at,
            request=replace(self.request, visitor_key=None),
            simulated=self.laboratory.models.choices[self.request.model_id].simulated,
            machine=this_machine(),
            compared=tuple(self.compared.values()),
            stopped=self.job.stopping,
        )


def _why_not(measured: Measurement, act: str) -> str | None:
    """Why a strategy can't be timed after this; None where it can."""
    if measured.failure is not None:
        return measured.detail or measured.failure
    if measured.strategy == NO_CACHE:
        return None
    if act == "warm" and measured.outcome != "hit":
        return measured.detail or f"The answer was not found again ({measured.outcome})."
    if act == "cold" and not measured.stored:
        return measured.detail or f"The answer was not stored ({measured.not_stored})."
    return None


def _as_json(laboratory: Laboratory, names: tuple[str, ...]) -> dict[str, object]:
    """The settings for the process that times: these strategies only, no keys, and a data folder that is the same."""
    settings = laboratory.settings
    chosen = [strategy for strategy in settings.strategies if strategy.name in names]
    return settings.model_copy(
        update={
            "data_dir": settings.data_dir.absolute(),
            "strategies": chosen,
            "endpoints": [endpoint.model_copy(update={"api_key": None}) for endpoint in settings.endpoints],
        }
    ).model_dump(mode="json")
