"""What a comparison means in money and waiting time, for traffic that a person describes."""

from __future__ import annotations

import streamlit as st

from cache_backends import CacheError
from lab.comparison import Run
from lab.savings import DAYS, Savings, savings
from ui import compare_sentences
from ui.language import _
from ui.numbers import count, decimal, duration, money, of
from ui.safe_text import shown_in_line
from ui.session import laboratory, scope

FALLBACK_HIT_RATIO = 30
"""Per cent, where there is no history to take it from."""
MOST_REQUESTS = 100_000_000
MOST_USD = 1_000.0
"""For one call of a model."""


def show_cost_panel(run: Run) -> list[str]:
    """The panel; what it says in sentences, for the report."""
    model_s = compare_sentences.whole_time(run)
    measured = [(each, found) for each in run.measured if (found := each.invokes.summary) is not None]
    if model_s is None or not measured:
        return []
    st.markdown("#### " + _("What it is worth"))
    requests, ratio, price, of_whom = st.columns(4, gap="medium")
    with requests:
        a_day = st.number_input(
            _("Requests a day"), 1, MOST_REQUESTS, 10_000, 1_000, key="cost_requests", persist_state="session"
        )
    with ratio:
        st.session_state.setdefault("cost_hit_ratio", FALLBACK_HIT_RATIO)
        hit_ratio = st.slider(
            _("Expected hit ratio, %"), 0, 100, key="cost_hit_ratio", persist_state="session",
            help=_("Of a hundred requests, so many are answered from the cache."),
        )  # fmt: skip
        _take_from_history()
    with price:
        known = _price_of_a_call(run)
        usd = st.number_input(
            _("Price of a model call, US$"),
            0.0,
            MOST_USD,
            min(max(known or 0.0, 0.0), MOST_USD),
            0.0001,
            format="%.6f",
            key=f"cost_price_{run.id}",
            help=_price_note(run, known),
        )
    with of_whom:
        names = [each.strategy for each, _found in measured]
        chosen = st.selectbox(
            _("Strategy"),
            names,
            index=0 if run.baseline is None else names.index(run.baseline.strategy),
            format_func=lambda name: next(
                compare_sentences.title(each) for each, _found in measured if each.strategy == name
            ),
            key=f"cost_strategy_{run.id}",
        )
    hit_s = next(found.median_s for each, found in measured if each.strategy == chosen)
    saved = savings(requests_a_day=a_day, hit_ratio=hit_ratio / 100, price_usd=usd, model_s=model_s, hit_s=hit_s)
    _show_figures(saved)
    sentence = _(
        "{requests} requests a day for {days} days at a hit ratio of {ratio} % are {calls} model calls saved. Each "
        "costs {price}, and takes {model} where a hit takes {hit}."
    ).format(
        requests=count(int(a_day)),
        days=count(DAYS),
        ratio=count(int(hit_ratio)),
        calls=count(round(saved.calls)),
        price=f"US$ {decimal(usd)}",
        model=duration(model_s),
        hit=duration(hit_s),
    )
    st.caption(shown_in_line(sentence))
    return [
        sentence,
        _("Saved in a month: {money}, and {time} of waiting.").format(
            money=money(saved.usd), time=_long(saved.seconds)
        ),
    ]


def _show_figures(saved: Savings) -> None:
    first, second, third = st.columns(3)
    first.metric(_("Saved a month"), money(saved.usd))
    second.metric(_("Waiting saved a month"), _long(saved.seconds))
    third.metric(_("Model calls saved a month"), count(round(saved.calls)))


def _long(seconds: float) -> str:
    """A long time, in days from three days up."""
    return _("{n} days").format(n=decimal(seconds / 86_400)) if seconds >= 3 * 86_400 else duration(seconds)


def _take_from_history() -> None:
    """A button that sets the slider to what the history says, with both numbers."""
    try:
        totals = laboratory().history.totals(scope())
    except CacheError:
        return
    if totals.hit_ratio is None:
        return

    def take() -> None:
        st.session_state["cost_hit_ratio"] = round(100 * (totals.hit_ratio or 0))

    st.button(
        _("Take it from the history: {hits}").format(hits=of(totals.hits, totals.lookups)),
        key="cost_from_history",
        type="tertiary",
        on_click=take,
    )


def _price_of_a_call(run: Run) -> float | None:
    """What the call of the race cost, or would have cost at the price the simulated model goes by."""
    return next((cold.cost_usd for each in run.compared if (cold := each.cold) is not None and cold.cost_usd), None)


def _price_note(run: Run, known: float | None) -> str:
    if known is None:
        return _("The price of this model is not known: type one.")
    if run.simulated:
        return _("What the call of this comparison would have cost at the price of {model}.").format(
            model=laboratory().settings.simulated.priced_as
        )
    return _("What the call of this comparison cost.")
