"""What a page waits for: a job that is usually quick, and may take seconds."""

from __future__ import annotations

import math
import time
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
COSTLY_S = 0.05
"""What took less is done anew each time."""
STATE_KEY = "waited_for"


@dataclass
class _Waited:
    key: object
    job: Job[Any, Any]
    keep_s: float | None
    was_slow: bool = False
    """Whether a run of the script has ended without it."""
    kept_until: float = math.inf
    """By `time.monotonic`; known once a run of the script has seen its end."""


def begin(slot: str, key: object, start: Callable[[], Job[P, T]], keep_s: float | None = None) -> Job[P, T]:
    """The job for `key`: a new one, unless the last one for the same key is running, or what it found is kept.

    That is so for `keep_s` if it took a while; where that is not said, for good if a run of the script has ended
    without it. One job to a slot: another key stops the one before. Raises what `start` raises.
    """
    slots = _slots()
    if not is_begun(slot, key):
        before, job = slots.get(slot), start()
        if before is not None:
            before.job.stop()
            laboratory().jobs.forget(before.job.id)
        slots[slot] = _Waited(key, job, keep_s)
    return slots[slot].job


def is_begun(slot: str, key: object) -> bool:
    """Whether there is a job for `key` already that `begin` would give."""
    waited = _slots().get(slot)
    return waited is not None and waited.key == key and time.monotonic() < waited.kept_until


def wait_for(slot: str, patience_s: float = PATIENCE_S) -> bool:
    """Wait a little for the job of a slot; whether it has ended."""
    waited = _slots()[slot]
    if not waited.was_slow and not waited.job.wait(patience_s):
        waited.was_slow = True
    if waited.job.finished and waited.kept_until == math.inf:
        waited.kept_until = _kept_until(waited, time.monotonic())
    return waited.job.finished


def _slots() -> dict[str, _Waited]:
    return cast(dict[str, _Waited], st.session_state.setdefault(STATE_KEY, {}))


def _kept_until(waited: _Waited, now: float) -> float:
    if waited.keep_s is None:
        return math.inf if waited.was_slow else now
    return now + waited.keep_s if waited.was_slow or now - waited.job.began_at >= COSTLY_S else now
