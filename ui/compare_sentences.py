"""What the numbers of a comparison say, in sentences: like is compared with like, and what is simulated is said."""

from __future__ import annotations

import statistics

from lab.comparison import BLOCK, STORES_SHARE, Compared, Run
from lab.rounds import WARM_UP_ROUNDS
from lab.statistics import Interval, needed
from ui import words
from ui.language import _, ngettext
from ui.metrics import WHATS, what_title
from ui.numbers import count, decimal, duration, times
from ui.session import laboratory


def title(compared: Compared) -> str:
    """A strategy's name."""
    return words.strategy(laboratory(), compared.strategy)


def headline(run: Run) -> str | None:
    """The whole story in one sentence, whole call against whole call; None where nothing was timed."""
    cold_s = whole_time(run)
    timed = [found.median_s for each in run.measured if (found := each.invokes.summary) is not None]
    if not timed or cold_s is None or max(timed) >= cold_s:
        return None
    if len(timed) == 1:
        return _("A stored answer comes back in {hit} instead of {model}: {times} as fast.").format(
            hit=duration(timed[0]), model=duration(cold_s), times=times(cold_s / timed[0])
        )
    return _(
        "A stored answer comes back in {fastest} to {slowest} instead of {model}: {least} to {most} as fast."
    ).format(
        fastest=duration(min(timed)),
        slowest=duration(max(timed)),
        model=duration(cold_s),
        least=times(cold_s / max(timed)),
        most=times(cold_s / min(timed)),
    )


def whole_time(run: Run) -> float | None:
    """The median of the whole calls in which the model answered, in seconds."""
    found = run.cold_times_s
    return statistics.median(found) if found else None


def model_time(run: Run) -> float | None:
    """The median of the model's calls in the race, in seconds."""
    found = run.model_times_s
    return statistics.median(found) if found else None


def model_note(run: Run) -> str | None:
    """How often the model was called and how long that took, and whether it was simulated."""
    model_s = model_time(run)
    if model_s is None:
        return None
    calls = len(run.model_times_s)
    sentence = ngettext(
        "The model took {time} (one call).", "The model took {time} (median of {n} calls).", calls
    ).format(time=duration(model_s), n=count(calls))
    return f"{sentence} {_('That time is simulated.')}" if run.simulated else sentence


def row_sentence(run: Run, compared: Compared) -> str | None:
    """What the timings of one strategy say; None where it has none."""
    lookups, invokes, model_s = compared.lookups.summary, compared.invokes.summary, whole_time(run)
    if lookups is None or invokes is None:
        return None
    if model_s is None:
        whole = _("a hit takes {hit} (the whole call, median of {n}).").format(
            hit=duration(invokes.median_s), n=count(invokes.n)
        )
    else:
        whole = _("a hit takes {hit} instead of {model} (whole calls, median of {n} hits).").format(
            hit=duration(invokes.median_s), model=duration(model_s), n=count(invokes.n)
        )
    return f"{whole} {_backend_sentence(run, compared, lookups.median_s)}"


def _backend_sentence(run: Run, compared: Compared, median_s: float) -> str:
    baseline, time = run.baseline, duration(median_s)
    ratio = run.ratios.get(compared.strategy)
    if ratio is None or baseline is None:
        return _("Inside the cache: {time}.").format(time=time)
    if ratio.low <= 1 <= ratio.high:
        sentence = _("Inside the cache: {time}, not to be told from {baseline} ({low} to {high} as long).")
    elif ratio.value > 1:
        sentence = _("Inside the cache: {time}, {ratio} as long as {baseline} (between {low} and {high}).")
    else:
        sentence = _("Inside the cache: {time}, {ratio} as fast as {baseline} (between {low} and {high}).")
        ratio = Interval(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)
    low, value, high = _with_equal_digits(ratio)
    return sentence.format(time=time, ratio=value, baseline=title(baseline), low=low, high=high)


def _with_equal_digits(ratio: Interval) -> list[str]:
    """Low end, value and high end with as many digits as tell the ends apart, four at most."""
    ends = (ratio.low, ratio.value, ratio.high)
    for digits in (2, 3, 4):
        shown = [decimal(end, digits) for end in ends]
        if shown[0] != shown[2]:
            break
    return [f"{each}×" for each in shown]


def remarks(run: Run) -> list[str]:
    """What an engineer would want to know of the timings: outliers, slow first calls, percentiles left out."""
    found: list[str] = []
    for what in WHATS:
        timed = [
            (title(each), timings, summed)
            for each in run.measured
            if (summed := (timings := getattr(each, what)).summary) is not None
        ]
        far_off = [
            _("{strategy} {n} (longest {time})").format(
                strategy=name, n=count(summed.outliers), time=duration(summed.max_s)
            )
            for name, _timings, summed in timed
            if summed.outliers
        ]
        if far_off:
            found.append(
                _("{what}: outliers, far beyond the other timings: {strategies}.").format(
                    what=what_title(what), strategies=", ".join(far_off)
                )
            )
        slow = [
            f"{name} {duration(timings.first_s)}"
            for name, timings, summed in timed
            if timings.first_s is not None and timings.first_s > SLOW_FIRST * summed.median_s
        ]
        if slow:
            found.append(
                _(
                    "{what}: the first timed call was slow: {strategies}. It belongs to the warm-up and is left out."
                ).format(what=what_title(what), strategies=", ".join(slow))
            )
        for name, timings, summed in timed:
            if timings.failures:
                found.append(
                    ngettext(
                        "{what}: {strategy} failed {n} time beside {good} good ones; failures are in no figure.",
                        "{what}: {strategy} failed {n} times beside {good} good ones; failures are in no figure.",
                        timings.failures,
                    ).format(what=what_title(what), strategy=name, n=count(timings.failures), good=count(summed.n))
                )
    smallest = min(
        (summed.n for each in run.measured for what in WHATS if (summed := getattr(each, what).summary) is not None),
        default=None,
    )
    if any(each.strategy == "langchain-memory" for each in run.measured):
        found.append(
            _(
                "LangChain's memory hands out the very objects that it was given: nothing is read or made, and what "
                "one caller changes in an answer, all others get. Ours make fresh objects."
            )
        )
    if smallest is not None and smallest < needed(99):
        found.append(
            _("A p95 is shown from {p95} timings on and a p99 from {p99} on: fewer can't support it.").format(
                p95=count(needed(95)), p99=count(needed(99))
            )
        )
    return found


SLOW_FIRST = 10
"""A first call that took so many times the median is named."""


def problems(run: Run) -> list[tuple[str, str]]:
    """Strategies that could not be measured, or not to the end, each with its reason; not those that were stopped."""
    return [(title(each), each.problem) for each in run.failed if each.problem is not None and not _is_stopped(each)]


def _is_stopped(compared: Compared) -> bool:
    return any(raced is not None and raced.failure == "stopped" for raced in (compared.cold, compared.warm))


def method(run: Run) -> list[str]:
    """How it was measured."""
    asked = (
        _(
            "The prompt was put to all strategies at once, each by a call of its own, in namespaces where nothing was "
            "stored: while they wait for the model they are in each other's way a little."
        )
        if run.request.ask_each
        else _(
            "The model was called once, and its answer stored in every strategy, each in a namespace of its own where "
            "nothing was stored; totals of the cold race are lookup, model and store added up."
        )
    )
    return [
        asked,
        _(
            "Then hits on that answer were timed in a process of its own, so that drawing this page is in none of the "
            "figures: {block} calls of one strategy after another, in an order drawn anew for each round, so that "
            "what slows the machine down hits all alike. The first {warm_up} rounds are a warm-up and are left out."
        ).format(block=count(BLOCK), warm_up=count(WARM_UP_ROUNDS)),
        _(
            "Inside the cache: the lookup alone. Whole call: invoke of the same LangChain model with this cache. "
            "Stores: one for every {share} hits, each under a key of its own."
        ).format(share=count(STORES_SHARE)),
        _(
            "Ratios are those of the medians. What they lie between comes from drawing whole stretches of rounds again "
            "and again (block bootstrap, 95 %), so that drift of the machine is part of it; what slows one strategy "
            "down alone for long is seen in part only."
        ),
    ]


def machine_line(run: Run) -> str:
    """What it was measured on, in one line."""
    machine = run.machine
    cores = ngettext("{n} core", "{n} cores", machine.cores or 0).format(n=count(machine.cores or 0))
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return f"{machine.system}, {machine.processor}, {cores}; Python {machine.python}, {versions}"
