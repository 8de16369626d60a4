"""Moving entries: what matches as a file, a file into this store, LangChain's own entries into one of ours."""

from __future__ import annotations

import re
from typing import BinaryIO, cast

import streamlit as st

from cache_backends.readable import shortened
from lab import browsing
from lab.browsing import ListRequest
from lab.intake import ImportResult
from lab.jobs import TooManyJobsError
from lab.moving import ImportJob, file_of, start_import, start_langchain_import
from lab.strategies import StrategyUnavailableError
from ui import choices, entries_state, words
from ui.export_route import PATH, TICKETS, Ticket
from ui.language import _, ngettext
from ui.links import choose_from_link
from ui.numbers import count
from ui.safe_text import shown_in_line
from ui.session import laboratory, scope

POLL_S = 0.5
SHOWN_MISTAKES = 100
TICKET_KEY = "entries_ticket"


def show_transfer(asked: ListRequest, total: int | None) -> None:
    """Export what matches, import a file."""
    left, right = st.columns([1, 1.4], gap="large")
    with left, st.container(key="entries_export"):
        st.markdown("##### " + _("Export"))
        st.markdown(
            _(
                "Everything that matches above, as one file: a line of JSON for each entry, with its answer, its "
                "parameters and its times. It can be imported into any strategy again."
            )
        )
        st.link_button(
            _("Download (JSONL)")
            if total is None
            else ngettext("Download {count} entry (JSONL)", "Download {count} entries (JSONL)", total).format(
                count=count(total)
            ),
            f"{PATH}/{_ticket(asked)}",
            icon=":material/download:",
            disabled=total == 0,
        )
    with right:
        st.markdown("##### " + _("Import"))
        st.markdown(
            _(
                "A file that was exported here, or the database of LangChain's `SQLiteCache`. What is no entry is "
                "listed with its line, and the rest goes in."
            )
        )
        upload = st.file_uploader(
            _("File to import into this strategy"), type=["jsonl", "ndjson", "db", "sqlite", "sqlite3"],
            key="entries_import", label_visibility="collapsed",
        )  # fmt: skip
        _overwrite_toggle()
        job = entries_state.state().importing
        st.button(
            _("Import"), key="entries_import_run", icon=":material/upload:", on_click=_import_upload,
            disabled=upload is None or (job is not None and not job.finished),
        )  # fmt: skip
    _show_import()


def show_foreign(strategy: str) -> None:
    """Why one of LangChain's own caches can't be browsed, and how its entries come into one that can."""
    lab = laboratory()
    title = shown_in_line(words.strategy(lab, strategy))
    with st.container(border=True, key="entries_foreign"):
        st.markdown("#### " + _("{strategy} can't be browsed").format(strategy=title))
        st.markdown(
            _(
                "LangChain's caches can only be asked for the answer to one exact prompt. They have no list of what "
                "they hold, no times, no sizes and no time to live."
            )
        )
        try:
            path = file_of(lab.strategies.get(strategy, lab.namespace(scope(), next(iter(lab.models.choices)))).cache)
        except StrategyUnavailableError as error:
            st.caption(shown_in_line(str(error)))
            return
        ours = [name for name in entries_state.strategies() if lab.strategies.is_ours(name)]
        if path is None or not ours:
            st.markdown(_("Its entries lie in no file that could be read, so they can't be imported either."))
            return
        st.markdown(_("Its answers can be copied into a strategy that can: they are hits there too."))
        choose, model, button = st.columns([1, 1.4, 1], vertical_alignment="bottom")
        models = list(lab.models.choices)
        choose_from_link("foreign_into", ours, "sqlite" if "sqlite" in ours else ours[0])
        choose_from_link("foreign_model", models, models[0])
        choices.select(choose, _("Copy into"), ours, key="foreign_into", title=lambda name: words.strategy(lab, name))
        choices.select(model, _("Answers of"), models, key="foreign_model", title=lambda name: words.model(lab, name))
        job = entries_state.state().importing
        button.button(
            _("Copy"), key="foreign_import", icon=":material/move_down:", type="primary", width="stretch",
            on_click=_import_foreign, args=(strategy,), disabled=job is not None and not job.finished,
        )  # fmt: skip
        _overwrite_toggle()
    _show_import()


def _overwrite_toggle() -> None:
    st.toggle(
        _("Replace entries that are there already"), key="entries_overwrite",
        help=_("Otherwise an entry that is there under the same key stays as it is."),
    )  # fmt: skip


def _ticket(asked: ListRequest) -> str:
    """The ticket for what matches now: the same as long as that is the same."""
    same_for = (asked.strategy, asked.namespace, entries_state.search(), entries_state.narrowing())
    known = st.session_state.get(TICKET_KEY)
    if known is not None and known[0] == same_for and TICKETS.get(known[1]) is not None:
        return str(known[1])
    lab = laboratory()
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", asked.strategy)[:40]
    ticket = TICKETS.give(
        Ticket(lambda: browsing.cache_of(lab, asked.strategy, asked.namespace), asked.entries, f"entries-{name}.jsonl")
    )
    st.session_state[TICKET_KEY] = (same_for, ticket)
    return ticket


def _import_upload() -> None:
    upload = st.session_state.get("entries_import")
    if upload is not None:
        into = entries_state.strategy()
        _begin(
            into,
            lambda: start_import(
                laboratory(),
                into,
                entries_state.namespace(),
                cast(BinaryIO, upload),
                overwrite=bool(st.session_state.get("entries_overwrite")),
            ),
        )


def _import_foreign(strategy: str) -> None:
    lab, into = laboratory(), choices.chosen("foreign_into") or ""
    _begin(
        into,
        lambda: start_langchain_import(
            lab,
            strategy,
            into,
            lab.namespace(scope(), choices.chosen("foreign_model") or ""),
            overwrite=bool(st.session_state.get("entries_overwrite")),
        ),
    )


def _begin(into: str, start: entries_state.StartImport) -> None:
    state = entries_state.state()
    entries_state.forget_words()
    try:
        state.importing, state.importing_into = start(), into
    except TooManyJobsError:
        state.mistake = words.too_many_requests()


def _show_import() -> None:
    job = entries_state.state().importing
    if job is None:
        return
    with st.container(key="import_result"):
        if not entries_state.has_ended(job):
            _watch(job)
        elif job.result is not None:
            show_result(job.result)
        else:
            reason = shown_in_line(entries_state.safe(str(job.error), entries_state.state().importing_into))
            st.error(_("The import failed: {reason}").format(reason=reason), icon=":material/error:")


@st.fragment(run_every=POLL_S)
def _watch(job: ImportJob) -> None:
    if job.finished:
        st.rerun()
    steps = job.progress
    text = _("The file is being read")
    if steps:
        text = _("{read} lines read, {imported} entries imported").format(
            read=count(steps[-1].read), imported=count(steps[-1].imported)
        )
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        st.markdown(f":material/progress_activity: {text}", width="stretch")
        st.button(_("Stop"), key="import_stop", icon=":material/stop_circle:", on_click=job.stop)


def show_result(result: ImportResult) -> None:
    """What became of an import, mistakes line by line."""
    sentences = [ngettext("{count} entry imported.", "{count} entries imported.", result.imported).format(
        count=count(result.imported)
    )]  # fmt: skip
    for number, sentence in (
        (result.replaced, _("{count} of them replaced another.")),
        (result.already_there, _("{count} were there already and stayed as they are.")),
        (result.skipped, _("{count} belong to another namespace and were left out.")),
        (
            result.unverified,
            _("{count} of them have parameters with a secret taken out, so that their keys can't be checked."),
        ),
        (result.mistakes_in_all, _("{count} could not be imported.")),
    ):
        if number:
            sentences.append(sentence.format(count=count(number)))
    if result.stopped:
        sentences.insert(0, _("Stopped."))
    text = " ".join(sentences)
    if result.error is not None:
        st.error(
            _("The import ended early: {reason}").format(
                reason=shown_in_line(entries_state.safe(result.error, entries_state.state().importing_into))
            )
            + " "
            + text,
            icon=":material/error:",
        )
    elif result.mistakes_in_all or result.stopped:
        st.warning(text, icon=":material/rule:")
    else:
        st.success(text, icon=":material/check:")
    if result.mistakes:
        with st.expander(_("What could not be imported"), expanded=True):
            for mistake in result.mistakes[:SHOWN_MISTAKES]:
                sentence = shown_in_line(shortened(mistake.sentence, 400))
                st.markdown(f"- {_('Line {number}').format(number=count(mistake.number))}: {sentence}")
            if result.mistakes_in_all > SHOWN_MISTAKES:
                st.caption(
                    _("The first {shown} of {all} are listed.").format(
                        shown=count(min(SHOWN_MISTAKES, len(result.mistakes))), all=count(result.mistakes_in_all)
                    )
                )
