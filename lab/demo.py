"""The guided demo: the story of a cache in four steps for each strategy, in a namespace of its own."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from typing import Literal

from lab.jobs import Job
from lab.laboratory import Laboratory, Request
from lab.measurement import Measurement
from lab.server_urls import SERVER_KINDS
from lab.strategies import StrategyUnavailableError

DEMO_TTL_S = 3600.0
"""After this its answers are over, even where they could not be removed."""
DemoAct = Literal["first", "again", "restart", "after_restart"]
DEMO_STRATEGIES = ("memory", "sqlite", "json", *(kind.name for kind in SERVER_KINDS))
"""The strategies that the demo plays on, where the settings have them."""


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One step that has been done: a request with its measurement, or the restart (None)."""

    strategy: str
    act: DemoAct
    measurement: Measurement | None = None


DemoJob = Job[DemoStep, list[DemoStep]]


def demo_strategies(laboratory: Laboratory) -> list[str]:
    """The strategies that the demo plays on, in the order of the settings."""
    return [name for name in laboratory.strategies.names if name in DEMO_STRATEGIES]


def start_demo(laboratory: Laboratory, request: Request) -> DemoJob:
    """Play the story with the model and prompt of `request` as a job. Its namespace is removed at the end.

    Raises `PromptError` and `TooManyJobsError`.
    """
    laboratory.check_prompt(request.prompt)
    return laboratory.jobs.start(lambda job: play(laboratory, request, job))


def play(laboratory: Laboratory, request: Request, job: DemoJob) -> list[DemoStep]:
    """Ask (miss), ask again (hit), restart, ask again, on every strategy of the demo."""
    scope = f"demo-{secrets.token_hex(8)}"
    strategies = demo_strategies(laboratory)
    try:
        for strategy in strategies:
            for act in ("first", "again", "restart", "after_restart"):
                step = _step(laboratory, request, scope, strategy, act, job)
                if step is None:
                    return job.progress
                job.show(step)
                if step.measurement is not None and step.measurement.failure is not None:
                    break  # what can't be asked once need not be asked again
    finally:
        laboratory.remove_scope(scope, request.model_id, strategies)
    return job.progress


def _step(
    laboratory: Laboratory, request: Request, scope: str, strategy: str, act: DemoAct, job: DemoJob
) -> DemoStep | None:
    """Do one step; None where somebody stopped the demo before it or in the middle of it."""
    if job.stopping:
        return None
    if act == "restart":
        with contextlib.suppress(StrategyUnavailableError):
            laboratory.restart(strategy, scope, request.model_id)
        return DemoStep(strategy, act)
    asked = Request(
        prompt=request.prompt,
        strategy=strategy,
        model_id=request.model_id,
        scope=scope,
        temperature=request.temperature,
        ttl_s=DEMO_TTL_S,
        visitor_key=request.visitor_key,
    )
    measurement = laboratory.answer(asked, stopping=lambda: job.stopping).measurement
    return None if measurement.failure == "stopped" else DemoStep(strategy, act, measurement)
