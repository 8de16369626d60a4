"""The playground's controls: what to ask, which model, through which strategy."""

from __future__ import annotations

import streamlit as st

from lab.models import ModelChoice
from lab.simulated import SIMULATED_MODEL
from lab.strategies import NO_CACHE
from ui import ask_state, words
from ui.language import _, language
from ui.links import choose_from_link, keep_in_link
from ui.places import in_its_place
from ui.session import laboratory
from ui.standing import show_standing

SAMPLES = {
    "en": ("Who was Carl Sagan?", "Who was Neil Armstrong?", "Who is Neil deGrasse Tyson?"),
    "pt-BR": ("Quem foi Carl Sagan?", "Quem foi Neil Armstrong?", "Quem é Neil deGrasse Tyson?"),
}


def settings_row() -> None:
    """Strategy, model, temperature and time to live."""
    lab = laboratory()
    names = lab.strategies.names
    defaults = {
        "strategy": next((name for name in names if name != NO_CACHE), NO_CACHE),
        "model": SIMULATED_MODEL,
        "ttl": ask_state.TTL_CHOICES[0],
    }
    choose_from_link("strategy", names, defaults["strategy"])
    choose_from_link("model", list(lab.models.choices), defaults["model"])
    choose_from_link("ttl", ask_state.TTL_CHOICES, defaults["ttl"])
    st.segmented_control(
        _("Cache strategy"),
        names,
        format_func=_strategy_label,
        key="strategy",
        required=True,
        persist_state="session",
        on_change=ask_state.forget_message,
        help=_("Where answers are kept. The guide says what each is good for."),
    )
    model_column, temperature_column, ttl_column = st.columns([2, 1, 1], gap="medium")
    with model_column:
        st.selectbox(
            _("Model"),
            list(lab.models.choices),
            format_func=lambda model_id: words.model(lab, model_id),
            key="model",
            persist_state="session",
            help=_("The simulated model makes its answers up and takes the time that a real one takes."),
        )
    with temperature_column:
        st.slider(
            _("Temperature"),
            0.0,
            2.0,
            0.7,
            0.1,
            key="temperature",
            bind="query-params",
            persist_state="session",
            help=_(
                "How freely the model words its answer. It is part of the cache key: another value is another request."
            ),
        )
    with ttl_column:
        st.selectbox(
            _("Time to live"),
            ask_state.TTL_CHOICES,
            format_func=_ttl_label,
            key="ttl",
            persist_state="session",
            disabled=not lab.strategies.is_ours(st.session_state["strategy"]),
            help=_("How long an answer stored from now on may be used. LangChain's own caches have no time to live."),
        )
    for key, default in defaults.items():
        keep_in_link(key, default)
    visitor_key_field(lab.models.choices[st.session_state["model"]])
    show_standing(st.session_state["strategy"])


def prompt_row() -> None:
    """The prompt, and samples to begin with."""
    with st.container():  # straight on the page, a chat input would stick to the bottom of the window
        # By its return value: a session that has just reconnected to a restarted server runs no callbacks.
        typed = st.chat_input(_("Ask something, for example: Who was Carl Sagan?"), key="prompt")
    if typed:
        ask_state.submit(typed)
    first = language()
    samples = [*SAMPLES[first], *(sample for code, others in SAMPLES.items() if code != first for sample in others)]
    picked = st.pills(_("Or pick a sample"), samples, key="sample_prompt", on_change=ask_state.submit_sample)
    if picked:  # the callback leaves nothing picked, so it did not run
        ask_state.submit(picked)


def action_row() -> None:
    """What can be done with the newest request and the chosen strategy."""
    state = ask_state.asking()
    measured = state.answered.measurement if state.answered is not None else None
    forgettable = (
        measured is not None
        and measured.kept
        and measured.key is not None
        and measured.key != state.forgotten_key
        and laboratory().strategies.is_ours(measured.strategy)
    )
    no_cache = st.session_state["strategy"] == NO_CACHE
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            _("Ask again"),
            key="ask_again",
            icon=":material/replay:",
            type="primary",
            on_click=ask_state.submit_again,
            disabled=state.job_request is None,
        )
        st.button(
            _("Forget this answer"),
            key="forget",
            icon=":material/delete:",
            on_click=ask_state.forget,
            disabled=not forgettable,
        )
        st.button(
            _("Restart"), key="restart", icon=":material/restart_alt:", on_click=ask_state.restart, disabled=no_cache
        )
        st.toggle(_("Bypass the cache"), key="bypass", disabled=no_cache)
    st.caption(_what_they_do())


def _what_they_do() -> str:
    sentence = _(
        "Restart does to the chosen strategy what the end of the program would do: memory is emptied, files and "
        "connections to servers are opened anew. Bypass asks the model without asking or filling the cache."
    )
    if laboratory().settings.sharing == "shared":
        return sentence + " " + _("All visitors of this app share its caches and its history.")
    return sentence + " " + _("Your cache and history are yours alone; another browser session begins with empty ones.")


@in_its_place
def visitor_key_field(choice: ModelChoice) -> None:
    """A field for the visitor's own key, where the model has none."""
    if choice.endpoint is None or laboratory().models.has_key(choice):
        return
    st.text_input(
        _("Your API key for {address}").format(address=choice.endpoint.base_url),
        type="password",
        key=ask_state.visitor_key_name(choice.endpoint.name),
        persist_state="session",
        autocomplete="off",
        help=_("Sent to this address only, kept in this browser session only, and never stored or shown."),
    )


def _strategy_label(name: str) -> str:
    lab = laboratory()
    return f"{words.strategy_icon(lab, name)} {words.strategy(lab, name)}"


def _ttl_label(ttl: str) -> str:
    return {
        "none": _("For ever"),
        "10s": _("10 seconds"),
        "1m": _("1 minute"),
        "1h": _("1 hour"),
        "1d": _("1 day"),
    }[ttl]
