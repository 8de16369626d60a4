"""A comparison as it is shown: in work, finished, or not yet begun."""

from __future__ import annotations

import streamlit as st

from cache_backends.readable import shortened
from lab.compare import Begun, CompareJob, SummingUp, Timing, Waiting
from lab.comparison import Run
from lab.race import Raced
from ui import compare_charts, compare_sentences, compare_state
from ui.compare_downloads import show_downloads
from ui.compare_race import Results, show_race
from ui.compare_table import table
from ui.cost_panel import show_cost_panel
from ui.language import _
from ui.metrics import WHATS, What, what_it_is, what_title
from ui.notices import show_mistake
from ui.numbers import count, moment
from ui.places import in_its_place
from ui.safe_text import shown_in_line
from ui.session import laboratory

POLL_S = 0.4
HEADING_LENGTH = 100


def show_comparison() -> None:
    """The run that is shown now, in whatever state it is."""
    state = compare_state.comparing()
    compare_state.forget_mended_mistake()
    shown = compare_state.current()
    show_mistake(state.mistake)
    with st.container(key="compare_result"):
        if shown is None:
            if state.mistake is None:
                st.info(
                    _(
                        "Nothing is compared yet. Compare puts one prompt to every chosen strategy, cold and warm, "
                        "and then times thousands of hits on each."
                    ),
                    icon=":material/sports_score:",
                )
        elif isinstance(shown, Run):
            _show_run(shown)
        elif shown.finished:
            st.error(
                _("The comparison could not be ended: {reason}").format(reason=shown_in_line(str(shown.error))),
                icon=":material/error:",
            )
        else:
            _watch(shown)


@st.fragment(run_every=POLL_S)
def _watch(job: CompareJob) -> None:
    if job.finished:
        st.rerun()
    steps = job.progress
    newest = steps[-1] if steps else Waiting(0)
    results: Results = {}
    for step in steps:
        if isinstance(step, Raced):
            results.setdefault(step.strategy, {})[step.act] = step.measurement
    names = next((step.strategies for step in steps if isinstance(step, Begun)), ())
    if isinstance(newest, Waiting):
        st.progress(
            0.0,
            text=_(
                "Waiting: {n} before this one. Comparisons run one at a time, or they would measure each other."
            ).format(n=count(newest.before))
            if newest.before
            else _("Beginning"),
        )
    elif isinstance(newest, Timing):
        text = (
            _("Timing hits and stores: round {done} of {of}").format(done=count(newest.done), of=count(newest.of))
            if newest.done
            else _("Starting the process that times")
        )
        st.progress(newest.done / newest.of, text=text)
    elif isinstance(newest, SummingUp):
        st.progress(1.0, text=_("Clearing up, and working out the ratios"))
    else:
        st.progress(0.0, text=_("Asking the model, and every strategy, cold and then warm"))
    _show_stopping(job)
    show_race(names, results, {}, is_running=True)


@in_its_place
def _show_stopping(job: CompareJob) -> None:
    if job.stopping:
        st.caption(_("Stopping. What was measured so far is kept."))


def _show_run(run: Run) -> None:
    _show_heading(run)
    for name, reason in compare_sentences.problems(run):
        st.warning(
            _("{strategy} could not be measured to the end: {reason}").format(
                strategy=shown_in_line(name), reason=shown_in_line(reason)
            ),
            icon=":material/report:",
        )
    results: Results = {
        each.strategy: {
            act: measured for act, measured in (("cold", each.cold), ("warm", each.warm)) if measured is not None
        }
        for each in run.compared
    }
    show_race(
        run.request.strategies, results,
        {each.strategy: each.problem for each in run.compared if each.problem is not None}, is_running=False,
    )  # fmt: skip
    worth: list[str] = []
    if run.measured:
        _show_table(run)
        _show_sentences(run)
        _show_charts(run)
        worth = show_cost_panel(run)
    _show_method(run)
    show_downloads(run, worth)


def _show_heading(run: Run) -> None:
    st.markdown(f"### {shown_in_line(shortened(run.name or run.request.prompt, HEADING_LENGTH))}")
    when = moment(run.began_at, st.context.timezone)
    st.caption(
        (_("Stopped; what was measured until then. {time}") if run.stopped else _("Measured at {time}")).format(
            time=when
        )
    )
    sentences = [
        shown_in_line(sentence)
        for sentence in (compare_sentences.headline(run), compare_sentences.model_note(run))
        if sentence is not None
    ]
    if sentences:
        st.success(f"**{sentences[0]}** {' '.join(sentences[1:])}", icon=":material/bolt:")


def _show_table(run: Run) -> None:
    st.markdown("#### " + _("Timings"))
    what: What = (
        st.segmented_control(
            _("What was timed"),
            WHATS,
            default="lookups",
            format_func=what_title,
            key="compare_what",
            required=True,
            label_visibility="collapsed",
            persist_state="session",
        )
        or "lookups"
    )
    st.caption(what_it_is(what) + " " + _("Fastest first; less is better, and the best of a row is bold."))
    with st.container(key="compare_table"):
        st.table(table(run, what, mark_best=True).rename(columns=shown_in_line), border="horizontal")
    st.caption(
        _(
            "p95: 95 % of the timings took no longer. Bytes of an entry: prompt, parameters and answer as stored. "
            "A dash: not known, or too few timings to say."
        )
    )


def _show_sentences(run: Run) -> None:
    lines = [
        f"- **{shown_in_line(compare_sentences.title(each))}**: {shown_in_line(sentence)}"
        for each in run.measured
        if (sentence := compare_sentences.row_sentence(run, each)) is not None
    ]
    st.markdown("\n".join(lines))
    found = compare_sentences.remarks(run)
    if found:
        with st.expander(_("What is odd about these timings ({n})").format(n=count(len(found)))):
            st.markdown("\n".join(f"- {shown_in_line(remark)}" for remark in found))


def _show_charts(run: Run) -> None:
    strategies = laboratory().strategies.names
    st.markdown("#### " + _("How fast is a hit?"))
    medians = compare_charts.medians_chart(run)
    if medians is not None:
        st.altair_chart(medians, key="compare_medians", alt=compare_sentences.headline(run) or _("Medians of all hits"))
        st.caption(
            _("Points are medians, lines hold 90 % of the timings, the dashed line is the model. Left is better.")
        )
    st.markdown("#### " + _("How much do hits vary?"))
    spread = compare_charts.distribution_chart(run, "lookups", strategies)
    if spread is not None:
        st.altair_chart(spread, key="compare_distribution", alt=_("Distribution of hits inside the cache"))
        st.caption(_("Inside the cache. A steep line hardly varies; one further left is faster."))
    st.markdown("#### " + _("Where does the time go?"))
    parts = (
        (_("A hit (medians)"), compare_charts.parts_of_hit(run), "compare_hit_parts"),
        (_("The first, cold request (one each)"), compare_charts.parts_of_miss(run), "compare_miss_parts"),
    )
    for column, (heading, frame, key) in zip(st.columns(2, gap="medium"), parts, strict=True):
        chart = compare_charts.parts_chart(frame)
        if chart is not None:
            in_words = compare_charts.parts_in_words(frame)
            with column:
                st.markdown(f"**{heading}**")
                st.altair_chart(chart, key=key, alt="; ".join(in_words))
                st.caption("  \n".join(map(shown_in_line, in_words)))


def _show_method(run: Run) -> None:
    with st.expander(_("How it was measured, and on what")):
        st.markdown("\n\n".join(shown_in_line(sentence) for sentence in compare_sentences.method(run)))
        st.caption(shown_in_line(compare_sentences.machine_line(run)))
