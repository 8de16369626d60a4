"""What the playground remembers between two runs of its script: the request in work, and the newest answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import streamlit as st

from cache_backends import parse_ttl
from lab.demo import DemoJob, start_demo
from lab.jobs import Job, TooManyJobsError
from lab.laboratory import Answered, AskJob, Laboratory, PromptError, Request
from lab.strategies import StrategyUnavailableError
from ui import words
from ui.language import _
from ui.session import laboratory, scope

QUICK_S = 0.15
"""How long a run waits for an answer before it shows that one is being made: a hit is there long before."""
FORGET_S = 3.0
"""How long a page waits for an answer to be removed: a server that hangs must not hold it."""
TTL_CHOICES = ("none", "10s", "1m", "1h", "1d")
STATE_KEY = "asking"


@dataclass
class Asking:
    """One session's request in work, newest answer, message and rejected text."""

    job: AskJob | None = None
    job_request: Request | None = None
    answered: Answered | None = None
    demo: DemoJob | None = None
    message: str | None = None
    mistake: str | None = None
    rejected: str | None = None
    forgotten_key: str | None = None


def asking() -> Asking:
    """This session's state."""
    if STATE_KEY not in st.session_state:
        st.session_state[STATE_KEY] = Asking()
    return cast(Asking, st.session_state[STATE_KEY])


def settle() -> None:
    """Wait a moment for the request in work; if it is done, make it the newest answer."""
    state = asking()
    if state.job is not None and state.job.wait(QUICK_S):
        state.answered, state.job = state.job.result, None


def visitor_key_name(endpoint: str) -> str:
    """The widget key under which a visitor's API key for one endpoint is kept, in this session only."""
    return f"api_key_{endpoint}"


def request_for(prompt: str) -> Request:
    """A request with the settings that are chosen now."""
    state = st.session_state
    choice = laboratory().models.choices[state["model"]]
    typed = state.get(visitor_key_name(choice.endpoint.name)) if choice.endpoint is not None else None
    ttl = state.get("ttl") or "none"
    return Request(
        prompt=prompt,
        strategy=state["strategy"],
        model_id=choice.id,
        scope=scope(),
        temperature=float(state["temperature"]),
        ttl_s=None if ttl == "none" else parse_ttl(ttl),
        bypass=bool(state.get("bypass")),
        visitor_key=(typed or "").strip() or None,
    )


def submit(prompt: str) -> None:
    """Begin to ask; what is wrong with the prompt becomes a sentence, and its text is kept."""
    state = asking()
    state.message = state.mistake = state.rejected = state.forgotten_key = None
    if state.demo is not None:
        state.demo.stop()
        state.demo = None
    request = request_for(prompt)
    try:
        state.job, state.job_request = laboratory().start(request), request
    except PromptError as error:
        state.mistake, state.rejected = words.prompt_error(error.kind, error.length, error.limit), prompt
    except TooManyJobsError:
        state.mistake = words.too_many_requests()
        state.rejected = prompt


def submit_sample() -> None:
    """A sample was picked: ask it, and leave no sample picked, so that it can be picked again."""
    sample = st.session_state["sample_prompt"]
    st.session_state["sample_prompt"] = None
    if sample:
        submit(sample)


def forget_message() -> None:
    """Another strategy was chosen: what was said of the one before is not true of it."""
    asking().message = None


def submit_again() -> None:
    """Ask the newest prompt once more, with the settings that are chosen now."""
    newest = asking().job_request
    if newest is not None:
        submit(newest.prompt)


def stop() -> None:
    """Stop the answer that is being made, at the model's next word."""
    job = asking().job
    if job is not None:
        job.stop()


def forget() -> None:
    """Remove the newest answer from its store."""
    state = asking()
    answered = state.answered
    if answered is None or answered.measurement.key is None:
        return
    request, key = answered.request, answered.measurement.key
    try:
        lab = laboratory()
        job: Job[str, bool | str] = lab.jobs.start(lambda _job: _forgotten(lab, request, key))
    except TooManyJobsError:
        state.mistake = words.too_many_requests()
        return
    if not job.wait(FORGET_S):
        state.mistake = _("The cache has not answered yet. The answer is removed as soon as it does.")
    elif isinstance(job.result, str):
        state.mistake = job.result
    else:
        state.forgotten_key = key
        state.message = (
            _("The answer was removed from the cache. Ask again, and the model has to answer.")
            if job.result
            else _("The answer was not in the cache any more.")
        )


def _forgotten(lab: Laboratory, request: Request, key: str) -> bool | str:
    """Whether the answer was there, or why it can't be removed."""
    try:
        return lab.forget(request.strategy, request.scope, request.model_id, key)
    except StrategyUnavailableError as error:
        return str(error)


def restart() -> None:
    """Do to the chosen strategy what a new process would find."""
    state = asking()
    name, model_id = st.session_state["strategy"], st.session_state["model"]
    strategies = laboratory().strategies
    try:
        laboratory().restart(name, scope(), model_id)
        survives = strategies.survives_restart(name)
    except StrategyUnavailableError as error:
        state.mistake = str(error)
        return
    title = words.strategy(laboratory(), name)
    if strategies.is_server(name):
        message = _("Restarted: {strategy} is connected to anew, and still holds what it held. Ask again to see.")
    elif survives:
        message = _("Restarted: {strategy} opened its store anew, and its answers are still there. Ask again to see.")
    else:
        message = _("Restarted: {strategy} holds nothing any more. Ask again to see.")
    state.message = message.format(strategy=title)


def begin_demo(prompt: str) -> None:
    """Begin the guided demo with the chosen model."""
    state = asking()
    state.message = state.mistake = state.rejected = None
    try:
        state.demo = start_demo(laboratory(), request_for(prompt))
    except TooManyJobsError:
        state.mistake = words.too_many_requests()


def end_demo() -> None:
    """Stop the demo if it runs, else put it away."""
    state = asking()
    if state.demo is None or state.demo.finished:
        state.demo = None
    else:
        state.demo.stop()
