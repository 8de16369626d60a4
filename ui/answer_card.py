"""The newest request: being answered, answered, or not yet asked."""

from __future__ import annotations

import time

import streamlit as st

from lab.jobs import Job
from lab.laboratory import Answered, Request
from lab.measurement import Measurement
from lab.strategies import NO_CACHE
from ui import ask_state, words
from ui.language import _
from ui.numbers import DASH, ago, duration, money, times
from ui.places import in_its_place
from ui.safe_text import safe_markdown, shown_in_line
from ui.session import laboratory

POLL_S = 0.2
ANSWER_HEIGHT = 220
"""Pixels of the answer's box: the same while it grows and when it is there, so that nothing below moves."""


@in_its_place
def show_newest() -> None:
    """The card of the newest request in whatever state it is."""
    state = ask_state.asking()
    _show_sentences(state.mistake, state.rejected, state.message)
    if state.job is not None and state.job_request is not None:
        _show_running(state.job, state.job_request)
    elif state.answered is not None:
        _show_answered(state.answered)
    elif state.mistake is None:
        _show_empty()


@in_its_place
def _show_sentences(mistake: str | None, rejected: str | None, message: str | None) -> None:
    if mistake is not None:
        _show_mistake(mistake, rejected)
    if message is not None:
        st.info(message, icon=":material/info:")


@st.fragment(run_every=POLL_S)
def _show_running(job: Job[str, Answered], request: Request) -> None:
    if job.finished:
        st.rerun()
    with st.container(border=True, key="outcome_running"):
        left, right = st.columns([3, 2], gap="large")
        with left:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.badge(_("Asking the model"), icon=":material/progress_activity:", color="blue")
                st.caption(_prompt_line(request.prompt))
            with st.container(height=ANSWER_HEIGHT, border=False, key="answer"):
                written = "".join(job.progress)
                if written:
                    st.markdown(safe_markdown(written))
                else:
                    with st.skeleton(height=90):
                        pass
        with right:
            st.metric(_("Running for"), duration(_elapsed_s(job)))
            if request.bypass or request.strategy == NO_CACHE:
                st.caption(_("The cache is not asked: the model is writing an answer."))
            elif laboratory().strategies.problem(request.strategy) is not None:
                st.caption(_("The cache can't be asked now, so the model is writing an answer."))
            elif laboratory().strategies.is_server(request.strategy) and not written:
                st.caption(_("No answer from the cache so far: the model is writing one, or is about to."))
            else:
                st.caption(_("The cache has no answer to this, so the model is writing one."))
            st.button(
                _("Stop"),
                key="stop_answer",
                icon=":material/stop_circle:",
                on_click=ask_state.stop,
                disabled=job.stopping,
            )
            if job.stopping:
                st.caption(
                    _("Stopping at the model's next word, or at its time limit. You can ask something else meanwhile.")
                )


def _elapsed_s(job: Job[str, Answered]) -> float:
    return round(time.monotonic() - job.began_at, 1)


def _show_answered(answered: Answered) -> None:
    measured = answered.measurement
    with st.container(border=True, key=f"outcome_{measured.shown_outcome}"):
        left, right = st.columns([3, 2], gap="large")
        with left:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.badge(
                    words.outcome(measured.shown_outcome),
                    icon=words.OUTCOME_ICONS[measured.shown_outcome],
                    color=_badge_colour(measured.shown_outcome),
                )
                st.badge(words.strategy(laboratory(), measured.strategy), icon=":material/inventory_2:", color="gray")
                if measured.simulated:
                    st.badge(_("Simulated model"), icon=":material/science:", color="gray")
                st.caption(_prompt_line(measured.prompt))
            st.markdown(f"**{shown_in_line(words.why(measured, answered.explanation))}**")
            if measured.shown_outcome == "error" and measured.failure is None and measured.detail:
                st.caption(_("Why it could not be asked: {detail}").format(detail=shown_in_line(measured.detail)))
            with st.container(height=ANSWER_HEIGHT, border=False, key="answer"):
                if measured.failure is not None:
                    _show_failure(measured)
                else:
                    st.markdown(safe_markdown(measured.answer))
        with right:
            _show_times(measured)
            _show_savings(measured)
            _show_entry(measured)


def _show_failure(measured: Measurement) -> None:
    assert measured.failure is not None
    st.error(words.failure(measured.failure), icon=":material/error:")
    if measured.detail and measured.failure not in ("wrong_key", "no_key", "stopped"):
        st.caption(_("What was said: {detail}").format(detail=shown_in_line(measured.detail)))


def _show_times(measured: Measurement) -> None:
    first, second = st.columns(2)
    third, fourth = st.columns(2)
    first.metric(
        _("Total"), duration(measured.total_s or None), help=_("The whole call, LangChain's own work included.")
    )
    second.metric(_("Lookup"), duration(measured.lookup_s), help=_("Time inside the cache, looking for the answer."))
    third.metric(
        _("Model"),
        duration(measured.model_s),
        help=_("From the end of the lookup until the answer was complete. On a hit the model is not asked."),
    )
    fourth.metric(_("Store"), duration(measured.store_s), help=_("Time inside the cache, storing the answer."))


def _show_savings(measured: Measurement) -> None:
    if measured.outcome == "hit" or (measured.outcome == "shared" and measured.failure is None):
        lines = []
        if measured.saved_s is not None:
            lines.append(_("**{time}** saved: the model took that long when it wrote this answer.").format(
                time=duration(measured.saved_s)
            ))  # fmt: skip
            if measured.total_s > 0 and measured.saved_s > measured.total_s:
                lines.append(_("This request was **{times}** as fast.").format(
                    times=times((measured.saved_s + measured.total_s) / measured.total_s)
                ))  # fmt: skip
        if measured.saved_usd is not None:
            lines.append(_("Money saved: **{money}**").format(money=_escaped(_price(measured, measured.saved_usd))))
        st.success(" ".join(lines) or _("No model call was paid for."), icon=":material/savings:")
        return
    parts = []
    if measured.first_token_s is not None:
        parts.append(_("First word after {time}.").format(time=duration(measured.first_token_s)))
    if measured.cost_usd is not None:
        parts.append(_("Cost: {money}.").format(money=_escaped(_price(measured, measured.cost_usd))))
    if measured.detail and measured.failure is None and measured.outcome != "error" and measured.not_stored == "error":
        parts.append(_("The cache said: {detail}").format(detail=shown_in_line(measured.detail)))
    if parts:
        st.caption(" ".join(parts))


def _price(measured: Measurement, usd: float) -> str:
    """Money, with what it rests on where that is not the server's own count and price."""
    notes = []
    if measured.simulated:
        notes.append(_("at the price of {model}").format(model=laboratory().settings.simulated.priced_as))
    if measured.tokens_estimated:
        notes.append(_("tokens estimated"))
    return f"{money(usd)} ({', '.join(notes)})" if notes else money(usd)


def _show_entry(measured: Measurement) -> None:
    if measured.key is None:
        return
    age_s = 0.0 if measured.stored else measured.entry_age_s
    age = DASH if age_s is None else ago(age_s)
    st.caption(_("Stored: {age} · Key (SHA-256 of prompt and parameters):").format(age=age))
    st.code(measured.key, language=None)


def _show_mistake(mistake: str, rejected: str | None) -> None:
    with st.container(key="outcome_mistake"):
        st.error(mistake, icon=":material/edit_note:")
        if rejected and rejected.strip():
            st.text_area(_("Your text, to copy and shorten"), rejected, key="rejected_prompt", height=120)


def _show_empty() -> None:
    with st.container(border=True, key="outcome_none"):
        st.markdown("#### " + _("Ask something twice"))
        st.markdown(
            _(
                "Type a question above or pick a sample. The first time the model has to answer, which takes a second "
                "or two. Ask again, and the cache answers in a fraction of a millisecond. Then restart, and see which "
                "caches still know the answer."
            )
        )
        st.caption(_("Nothing to install and no key needed: the simulated model works offline."))


def _prompt_line(prompt: str) -> str:
    line = " ".join(prompt[:400].split())
    return "“" + shown_in_line(line if len(line) <= 90 else line[:90] + "…") + "”"


def _badge_colour(outcome: str) -> str:
    colours = {
        "hit": "blue",
        "shared": "green",
        "miss": "orange",
        "expired": "yellow",
        "error": "red",
        "corrupt": "red",
    }
    return colours.get(outcome, "gray")


def _escaped(text: str) -> str:
    return text.replace("$", r"\$")
