"""The guided demo: the story of a cache in four steps for each strategy, in a namespace of its own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

from lab.jobs import Job
from lab.laboratory import Laboratory, Request
from lab.measurement import Measurement

DemoAct = Literal["first", "again", "restart", "after_restart"]
DEMO_STRATEGIES = ("memory", "sqlite", "json")


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One step that has been done: a request with its measurement, or the restart (None)."""

    strategy: str
    act: DemoAct
    measurement: Measurement | None = None


DemoJob = Job[DemoStep, list[DemoStep]]


def start_demo(laboratory: Laboratory, request: Request) -> DemoJob:
    """Play the story with the model and prompt of `request` as a job. Its namespace is removed at the end.

    Raises `PromptError` and `TooManyJobsError`.
    """
    laboratory.check_prompt(request.prompt)
    return laboratory.jobs.start(lambda job: play(laboratory, request, job))


def play(laboratory: Laboratory, request: Request, job: DemoJob) -> list[DemoStep]:
    """Ask (miss), ask again (hit), restart, ask again, on every demo strategy that the settings have."""
    scope = f"demo-{secrets.token_hex(8)}"
    strategies = [name for name in laboratory.strategies.names if name in DEMO_STRATEGIES]
    try:
        for strategy in strategies:
            for act in ("first", "again", "restart", "after_restart"):
                if job.stopping:
                    return job.progress
                job.show(_step(laboratory, request, scope, strategy, act))
    finally:
        for strategy in strategies:
            if laboratory.strategies.problem(strategy) is None:
                laboratory.strategies.remove_namespace(strategy, laboratory.namespace(scope, request.model_id))
        laboratory.history.clear(scope)
    return job.progress


def _step(laboratory: Laboratory, request: Request, scope: str, strategy: str, act: DemoAct) -> DemoStep:
    if act == "restart":
        if laboratory.strategies.problem(strategy) is None:
            laboratory.restart(strategy, scope, request.model_id)
        return DemoStep(strategy, act)
    asked = Request(
        prompt=request.prompt,
        strategy=strategy,
        model_id=request.model_id,
        scope=scope,
        temperature=request.temperature,
        visitor_key=request.visitor_key,
    )
    return DemoStep(strategy, act, laboratory.answer(asked).measurement)
