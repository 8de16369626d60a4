"""The comparison's controls: which strategies, which prompt and model, how many hits."""

from __future__ import annotations

import streamlit as st

from lab.comparison import DEFAULT_REPEATS, REPEATS
from lab.models import ModelChoice
from lab.prices import estimated_tokens
from lab.simulated import SIMULATED_MODEL
from ui import compare_state, words
from ui.controls import SAMPLES, visitor_key_field
from ui.language import _, language
from ui.links import choose_from_link
from ui.numbers import count, money
from ui.places import in_its_place
from ui.session import laboratory

TYPICAL_ANSWER_TOKENS = 300
"""For what a call may cost, before it is made."""


def compare_controls() -> None:
    """What is to be compared, and the buttons that begin and stop it."""
    lab = laboratory()
    running = compare_state.own_job() is not None
    st.session_state.setdefault("compare_prompt", SAMPLES[language()][0])
    chosen = st.session_state.get("compare_strategies", lab.strategies.names)
    st.session_state["compare_strategies"] = [name for name in chosen if name in lab.strategies.names]
    choose_from_link("compare_model", list(lab.models.choices), SIMULATED_MODEL)
    st.pills(
        _("Strategies"),
        lab.strategies.names,
        selection_mode="multi",
        format_func=lambda name: f"{words.strategy_icon(lab, name)} {words.strategy(lab, name)}",
        key="compare_strategies",
        persist_state="session",
        help=_("All that are chosen get the same prompt, and their hits are timed in turn."),
    )
    prompt, model, repeats = st.columns([2.6, 2, 2.4], gap="medium")
    prompt.text_input(_("Prompt"), key="compare_prompt", persist_state="session")
    model.selectbox(
        _("Model"),
        list(lab.models.choices),
        format_func=lambda model_id: words.model(lab, model_id),
        key="compare_model",
        persist_state="session",
    )
    repeats.segmented_control(
        _("Hits to time, each"),
        REPEATS,
        default=DEFAULT_REPEATS,
        format_func=count,
        key="compare_repeats",
        required=True,
        persist_state="session",
        help=_("More hits take longer, and narrow what chance leaves open."),
    )
    choice = lab.models.choices[st.session_state["compare_model"]]
    visitor_key_field(choice)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            _("Compare"),
            key="compare_run",
            type="primary",
            icon=":material/sports_score:",
            on_click=compare_state.begin,
            disabled=running,
        )
        st.button(
            _("Stop"), key="compare_stop", icon=":material/stop_circle:", on_click=compare_state.stop,
            disabled=not running,
        )  # fmt: skip
        st.toggle(
            _("Ask the model once for each strategy"),
            key="compare_ask_each",
            persist_state="session",
            help=_(
                "Otherwise it is asked once, and its answer stored in every strategy: what the model happens to take "
                "is then the same for all."
            ),
        )
    _show_cost(choice)


@in_its_place
def _show_cost(choice: ModelChoice) -> None:
    if not choice.simulated:
        st.caption(_cost())


def _cost() -> str:
    """What the model calls of a comparison come to, before they are made."""
    lab = laboratory()
    asked = compare_state.request()
    calls = len(asked.strategies) if asked.ask_each else min(1, len(asked.strategies))
    choice = lab.models.choices[asked.model_id]
    tokens = estimated_tokens(asked.prompt)
    server_url = None if choice.endpoint is None else choice.endpoint.base_url
    price = lab.prices.cost_usd(choice.model, tokens, TYPICAL_ANSWER_TOKENS, server_url)
    if asked.ask_each:
        sentence = _("The model will be called {calls} times.").format(calls=count(calls))
    else:
        sentence = _("The model will be called once, and its answer stored in every strategy.")
    if price is None:
        return sentence + " " + _("What a call costs is not known for this model.")
    return (
        sentence
        + " "
        + _("That costs about {money}, if the answer has {tokens} tokens.").format(
            money=money(calls * price).replace("$", r"\$"), tokens=count(TYPICAL_ANSWER_TOKENS)
        )
    )
