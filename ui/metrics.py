"""The table of metrics: what is told of each strategy in a comparison. Table, report and file follow from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from lab.comparison import Compared, Timings
from lab.statistics import Summary
from ui.language import _
from ui.numbers import DASH, count, duration, size

What = Literal["lookups", "invokes", "stores"]
WHATS: tuple[What, ...] = ("lookups", "invokes", "stores")
Value = float | int | bool | None


@dataclass(frozen=True, slots=True)
class Metric:
    """One column. `key` names it in files, with its unit."""

    key: str
    title: Callable[[], str]
    value: Callable[[Compared, Timings, Summary | None], Value]
    shown: Callable[[Any], str]
    lower_is_better: bool | None = None
    """None: neither is."""

    def text(self, compared: Compared, what: What) -> str:
        """The value as a person reads it; a dash where there is none."""
        value = self.raw(compared, what)
        return DASH if value is None else self.shown(value)

    def raw(self, compared: Compared, what: What) -> Value:
        """The value as a file holds it."""
        timings: Timings = getattr(compared, what)
        return self.value(compared, timings, timings.summary)


def _time(key: str, title: Callable[[], str], *, lower_is_better: bool | None = True) -> Metric:
    def value(_compared: Compared, _timings: Timings, summed: Summary | None) -> Value:
        found: float | None = None if summed is None else getattr(summed, key)
        return found

    return Metric(key, title, value, duration, lower_is_better)


METRICS: tuple[Metric, ...] = (
    Metric("n", lambda: "n", lambda _c, _t, summed: 0 if summed is None else summed.n, count),
    _time("min_s", lambda: _("Shortest")),
    _time("median_s", lambda: _("Median")),
    _time("p95_s", lambda: "p95"),
    _time("p99_s", lambda: "p99"),
    _time("max_s", lambda: _("Longest")),
    _time("mean_s", lambda: _("Mean")),
    _time("deviation_s", lambda: _("± standard deviation")),
    Metric("failures", lambda: _("Failed calls"), lambda _c, timings, _s: timings.failures, count, True),
    Metric("entry_bytes", lambda: _("Bytes of an entry"), lambda compared, _t, _s: compared.entry_bytes, size, True),
    Metric("survives_restart", lambda: _("Survives a restart"), lambda compared, _t, _s: compared.survives_restart,
           lambda value: _("yes") if value else _("no")),
    Metric("shared_between_machines", lambda: _("Shared by machines"),
           lambda compared, _t, _s: compared.shared_between_machines, lambda value: _("yes") if value else _("no")),
)  # fmt: skip
"""In the order of the columns."""


def what_title(what: What) -> str:
    """What was timed, in a few words."""
    return {
        "lookups": _("A hit, inside the cache"),
        "invokes": _("A hit, the whole call"),
        "stores": _("A store, inside the cache"),
    }[what]


def what_it_is(what: What) -> str:
    """What was timed, in a sentence."""
    return {
        "lookups": _("Time inside the cache to find the stored answer and hand it out."),
        "invokes": _("Time of the whole model call with this cache, LangChain's own work included."),
        "stores": _("Time inside the cache to store a new answer of this length, each under a key of its own."),
    }[what]
