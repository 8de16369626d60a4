"""The guide's health panel: what a check found out about each strategy's store, as it comes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import streamlit as st

from lab.health import PATIENCE_S, PINGS, Health, HealthJob, Trial, checked
from lab.jobs import TooManyJobsError
from ui import words
from ui.guide_elements import detail, heading, prose
from ui.language import _, ngettext
from ui.notices import show_mistake
from ui.numbers import DASH, count, duration, moment, size
from ui.places import in_its_place
from ui.safe_text import shown_in_line
from ui.session import laboratory, scope

POLL_S = 0.25
STATE_KEY = "health"
NO_BREAK_SPACE = "\u00a0"
WIDTHS = (1.3, 1.7, 3.1, 0.9, 1.2)
"""Of the columns, in parts."""
LINES = 3
"""Of a row while nothing is known and when all is well: what comes in moves nothing below."""


@dataclass
class Checking:
    """One session's newest check, and why the next one could not be begun."""

    job: HealthJob | None = None
    mistake: str | None = None


def show_health() -> None:
    """What a check is, and the newest one in whatever state it is."""
    prose(
        _(
            "Whether each store answers just now, how fast, what it is, what it holds, and what a crash of it may "
            "lose, in its own words."
        )
    )
    _show_newest()
    heading(_("How it is checked"), "how-checked")
    detail(
        _(
            "A round trip asks the store for a key that it does not have; connecting is not in it, and the figure is "
            "the median of {pings}. To see whether a store keeps what it is given, an answer is stored in a namespace "
            "of its own, read back, compared and removed. The strategies are looked at one after the other, each for "
            "{seconds} seconds at most once it is open, so a server that hangs holds up nobody. Entries and bytes are "
            "those of this app that you can see, not of all that the store holds."
        ).format(pings=count(PINGS), seconds=count(int(PATIENCE_S)))
    )


@in_its_place
def _show_newest() -> None:
    job = _state().job
    if job is None or job.finished:
        _show_panel()
    else:
        _watch(job)


@st.fragment(run_every=POLL_S)
def _watch(job: HealthJob) -> None:
    if job.finished:
        st.rerun()
    _show_panel()


def _state() -> Checking:
    if STATE_KEY not in st.session_state:
        st.session_state[STATE_KEY] = Checking()
    return cast(Checking, st.session_state[STATE_KEY])


def _begin() -> None:
    state = _state()
    try:
        state.job, state.mistake = laboratory().check_health(scope()), None
    except TooManyJobsError:
        state.mistake = words.too_many_requests()


def _stop() -> None:
    job = _state().job
    if job is not None:
        job.stop()


def _show_panel() -> None:
    state = _state()
    job = state.job
    running = job is not None and not job.finished
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            _("Check now"),
            key="health_check",
            icon=":material/health_and_safety:",
            type="primary",
            on_click=_begin,
            disabled=running,
        )
        st.button(
            _("Stop"),
            key="health_stop",
            icon=":material/stop_circle:",
            on_click=_stop,
            disabled=job is None or job.finished or job.stopping,
        )
    show_mistake(state.mistake)
    with st.container(key="health_result"):
        if job is None:
            st.info(
                _("Nothing was checked yet. Check now, and each strategy is looked at in turn."),
                icon=":material/monitor_heart:",
            )
        else:
            _show_result(job)


def _show_result(job: HealthJob) -> None:
    found = {health.strategy: health for health in job.progress}
    names = checked(laboratory().strategies)
    done = sum(name in found for name in names)
    st.progress(done / len(names), text=_progress_text(job, found, done, len(names)))
    if job.error is not None:
        st.error(
            _("The check could not be ended: {reason}").format(reason=shown_in_line(str(job.error))),
            icon=":material/error:",
        )
    now = next((name for name in names if name not in found), None) if not job.finished else None
    with st.container(gap="xsmall"):
        with st.container(border=True):
            header = (_("Strategy"), _("Now"), _("A crash may lose"), _("Holds"), _("Store and read"))
            _show_row([f":gray[{title}]" for title in header])
        for name in names:
            with st.container(border=True, key=f"health_{name}"):
                _show_row(_row(name, found.get(name), is_next=name == now, running=not job.finished))


def _show_row(cells: list[str]) -> None:
    """Cells at widths that are the same in every row, whatever has been found out so far."""
    for column, cell in zip(st.columns(WIDTHS, gap="small", vertical_alignment="center"), cells, strict=True):
        column.markdown(cell)


def _progress_text(job: HealthJob, found: dict[str, Health], done: int, expected: int) -> str:
    if not job.finished:
        return _("Strategy {step} of {steps}").format(step=min(done + 1, expected), steps=expected)
    if not found:
        return _("Stopped")
    at = moment(max(health.checked_at for health in found.values()), st.context.timezone)
    if done < expected:
        return _("Stopped at {time}").format(time=at)
    return _("Checked at {time}").format(time=at)


def _row(name: str, health: Health | None, *, is_next: bool, running: bool) -> list[str]:
    lab = laboratory()
    title = f"**{words.strategy_icon(lab, name)} {shown_in_line(words.strategy(lab, name))}**"
    if health is None:
        waiting = _("Being checked") if is_next else _("Waiting") if running else _("Not checked")
        return [title, _in_lines([f":gray[{waiting}]"]), DASH, DASH, DASH]
    return [title, _now(health), _may_lose(health), _holds(health), _trial(health)]


def _now(health: Health) -> str:
    """Whether the store answers and how fast, or why not; what it is."""
    if health.state == "foreign":
        return _("LangChain's own caches can't be asked.")
    lines = []
    if health.state == "answers":
        lines.append(f":green[:material/check_circle: **{_('Answers')}**]")
    elif health.state == "silent":
        silent = _("Not all answered in time") if health.round_trips_s else _("No answer in time")
        lines.append(f":orange[:material/hourglass_disabled: **{silent}**]")
    else:
        what = _("Can't be opened") if health.state == "unusable" else _("Can't be reached")
        lines.append(f":red[:material/cloud_off: **{what}**]")
    if health.round_trip_s is not None:
        lines.append(
            _("{time}, median of {pings}").format(
                time=duration(health.round_trip_s).replace(" ", NO_BREAK_SPACE), pings=count(len(health.round_trips_s))
            )
        )
    if health.about is not None:
        lines.append(shown_in_line(f"{health.about.product} {health.about.version}"))
    if health.reason is not None:
        lines.append(f":small[{shown_in_line(health.reason)}]")
    return _in_lines(lines)


def _in_lines(lines: list[str]) -> str:
    return "  \n".join([*lines, *["&nbsp;"] * (LINES - len(lines))])


def _may_lose(health: Health) -> str:
    if health.about is None:
        return DASH
    sentence = words.durability(health.about.durability)
    evidence = shown_in_line(health.about.detail)
    return f"{sentence}  \n:small[:gray[{evidence}]]" if evidence else sentence


def _holds(health: Health) -> str:
    if health.stats is None:
        return DASH
    entries = ngettext("{n} answer", "{n} answers", health.stats.entries).format(n=count(health.stats.entries))
    return f"{entries}  \n{size(health.stats.size_bytes)}".replace(" ", NO_BREAK_SPACE, 1)


def _trial(health: Health) -> str:
    if health.trial is None:
        return DASH
    if health.trial == "kept":
        return f":green[:material/check_circle:{NO_BREAK_SPACE}{_trial_in_words('kept')}]"
    said = f":small[{shown_in_line(health.trial_detail)}]" if health.trial_detail else ""
    failed = f":red[:material/error: {_trial_in_words(health.trial)}]"
    return f"{failed}  \n{said}" if said else failed


def _trial_in_words(trial: Trial) -> str:
    return {
        "kept": _("Kept"),
        "not_stored": _("Was not stored"),
        "not_found": _("Stored, but not found again"),
        "changed": _("Came back changed"),
        "not_removed": _("Kept, but could not be removed"),
    }[trial]
