"""What the comparison page remembers between two runs of its script, and the run that its link names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import streamlit as st

from cache_backends import CacheError
from lab.compare import Begun, CompareJob, CompareRequestError, running, start_comparison
from lab.comparison import DEFAULT_REPEATS, CompareRequest, Run
from lab.jobs import TooManyJobsError
from lab.laboratory import PromptError
from lab.runs import RunDamagedError
from ui import words
from ui.ask_state import visitor_key_name
from ui.language import _
from ui.session import laboratory, scope

LINK = "run"
STATE_KEY = "comparing"


@dataclass
class Comparing:
    """One session's run, by its id, and what could not be begun or opened."""

    run_id: str | None = None
    mistake: str | None = None
    refused: CompareRequest | None = None
    """What the mistake is about, if it is one of what was chosen."""
    run: Run | None = None
    """The newest one read, so that a page that is shown again need not read it again."""


def comparing() -> Comparing:
    """This session's state."""
    if STATE_KEY not in st.session_state:
        st.session_state[STATE_KEY] = Comparing()
    return cast(Comparing, st.session_state[STATE_KEY])


def follow_link() -> None:
    """Open the run that the link names; a page come back to goes on with its own."""
    state = comparing()
    asked = st.query_params.get(LINK)
    if asked and asked != state.run_id:
        state.run_id, state.mistake, state.run = asked, None, None
    elif state.run_id and not asked:
        st.query_params[LINK] = state.run_id


def current() -> CompareJob | Run | None:
    """The run in work or the finished one; None where there is none, with the reason as a mistake."""
    state = comparing()
    if state.run_id is None:
        return None
    if state.run is not None and state.run.id == state.run_id:
        return state.run
    job = running(laboratory(), state.run_id)
    if job is not None and (not job.finished or job.error is not None):
        return job
    try:
        state.run = laboratory().runs.get(state.run_id) or (None if job is None else job.result)
    except (CacheError, RunDamagedError) as error:
        state.run, state.mistake = (None if job is None else job.result), str(error)
        return state.run
    if state.run is None:
        state.mistake = _(
            "There is no comparison under this link. It may have been removed, or the link is incomplete."
        )
    return state.run


def request() -> CompareRequest:
    """A comparison with the settings that are chosen now."""
    state = st.session_state
    choice = laboratory().models.choices[state["compare_model"]]
    typed = state.get(visitor_key_name(choice.endpoint.name)) if choice.endpoint is not None else None
    return CompareRequest(
        prompt=state["compare_prompt"],
        strategies=tuple(name for name in laboratory().strategies.names if name in state["compare_strategies"]),
        model_id=choice.id,
        scope=scope(),
        repeats=int(state.get("compare_repeats") or DEFAULT_REPEATS),
        ask_each=bool(state.get("compare_ask_each")),
        visitor_key=(typed or "").strip() or None,
    )


def begin() -> None:
    """Begin a comparison; what is wrong with it becomes a sentence."""
    state = comparing()
    asked = request()
    try:
        job = start_comparison(laboratory(), asked)
    except PromptError as error:
        state.mistake = words.prompt_error(error.kind, error.length, error.limit)
    except CompareRequestError as error:
        state.mistake = {
            "no_strategies": _("Nothing is chosen. Choose at least one strategy to compare."),
            "too_many": _("So many strategies can't be compared at once. Choose at most 20."),
        }[error.kind]
    except TooManyJobsError:
        state.mistake = words.too_many_requests()
    else:
        open_run(job.id)
        return
    state.refused = asked


def forget_mended_mistake() -> None:
    """What was wrong with a request is not told any more once something else is chosen."""
    state = comparing()
    if state.refused is not None and state.refused != request():
        state.mistake = state.refused = None


def open_run(run_id: str | None) -> None:
    """Show this run, and put it into the link; None: show none."""
    state = comparing()
    state.run_id, state.mistake, state.refused, state.run = run_id, None, None, None
    if run_id is None:
        st.query_params.pop(LINK, None)
    else:
        st.query_params[LINK] = run_id


def stop() -> None:
    """Stop the run in work: what was measured so far is kept."""
    job = own_job()
    if job is not None:
        job.stop()


def own_job() -> CompareJob | None:
    """The comparison in work that is shown, where it is one of this visitor's own."""
    run_id = comparing().run_id
    job = running(laboratory(), run_id) if run_id else None
    if job is None or job.finished:
        return None
    return job if any(isinstance(step, Begun) and step.scope == scope() for step in job.progress) else None
