"""What a page waits for: a job that is usually quick, and may take seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import streamlit as st

from lab.jobs import Job
from ui.session import laboratory

P = TypeVar("P")
T = TypeVar("T")

PATIENCE_S = 0.25
"""So long a run of the script waits: what is there by then is shown at once, without a sign of progress in between."""
STATE_KEY = "waited_for"


@dataclass
class _Waited:
    key: object
    job: Job[Any, Any]
    was_slow: bool = False
    """Whether a run of the script has ended without it; its result is then kept, since it took a while."""


def waited_for(slot: str, key: object, start: Callable[[], Job[P, T]], patience_s: float = PATIENCE_S) -> Job[P, T]:
    """The job for `key`, finished if it is quick: a new one each time, unless the last one for the same key was slow.

    One job to a slot: another key stops the one before. Raises what `start` raises.
    """
    slots = cast(dict[str, _Waited], st.session_state.setdefault(STATE_KEY, {}))
    waited = slots.get(slot)
    if waited is None or waited.key != key or not waited.was_slow:
        if waited is not None:
            waited.job.stop()
            laboratory().jobs.forget(waited.job.id)
        waited = slots[slot] = _Waited(key, start())
        waited.was_slow = not waited.job.wait(patience_s)
    return waited.job
