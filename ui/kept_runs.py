"""The comparisons that were kept: open one, name it, remove it, set another beside it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cache_backends import CacheError
from lab.comparison import Run
from lab.runs import MAX_NAME, KeptRun, RunDamagedError
from ui import compare_sentences, compare_state
from ui.language import _
from ui.metrics import WHATS, what_title
from ui.numbers import DASH, duration, moment, times
from ui.safe_text import shown_in_line
from ui.session import laboratory, scope

SHOWN = 30


def show_kept_runs() -> None:
    """All that can be done with kept runs; nothing where there are none."""
    try:
        kept = laboratory().runs.newest(scope(), SHOWN)
    except CacheError as error:
        st.warning(shown_in_line(str(error)), icon=":material/healing:")
        return
    if not kept:
        return
    shown = compare_state.current()
    by_id = {run.id: run for run in kept}
    with st.expander(_("Kept comparisons"), icon=":material/history:"):
        choose, open_column = st.columns([4, 1], vertical_alignment="bottom")
        choose.selectbox(
            _("Open a comparison"),
            list(by_id),
            index=None,
            format_func=lambda run_id: _label(by_id[run_id]),
            key="compare_kept",
            placeholder=_("Choose one"),
        )
        open_column.button(
            _("Open"), key="compare_open", on_click=_open, disabled=st.session_state.get("compare_kept") is None,
            width="stretch",
        )  # fmt: skip
        if isinstance(shown, Run):
            if shown.scope == scope():
                _show_naming(shown)
            _show_beside(shown, {run_id: run for run_id, run in by_id.items() if run_id != shown.id})


def _open() -> None:
    compare_state.open_run(st.session_state["compare_kept"])
    st.session_state["compare_kept"] = None


def _show_naming(run: Run) -> None:
    name, save, remove = st.columns([3, 1, 1], vertical_alignment="bottom")
    name.text_input(
        _("Name of the comparison that is shown"), run.name or "", max_chars=MAX_NAME, key=f"compare_name_{run.id}"
    )
    save.button(_("Save name"), key="compare_rename", on_click=_rename, args=(run.id,), width="stretch")
    remove.button(
        _("Remove"), key="compare_remove", icon=":material/delete:", on_click=_remove, args=(run.id,), width="stretch"
    )


def _rename(run_id: str) -> None:
    state = compare_state.comparing()
    try:
        laboratory().runs.rename(run_id, st.session_state[f"compare_name_{run_id}"])
        state.run = None
    except (CacheError, RunDamagedError) as error:
        state.mistake = str(error)


def _remove(run_id: str) -> None:
    try:
        laboratory().runs.remove(run_id)
    except CacheError as error:
        compare_state.comparing().mistake = str(error)
    else:
        compare_state.open_run(None)


def _show_beside(run: Run, others: dict[str, KeptRun]) -> None:
    if not others:
        return
    chosen = st.selectbox(
        _("Set another beside it"),
        list(others),
        index=None,
        format_func=lambda run_id: _label(others[run_id]),
        key="compare_beside",
        placeholder=_("Choose one"),
    )
    if chosen is None:
        return
    try:
        other = laboratory().runs.get(chosen)
    except (CacheError, RunDamagedError) as error:
        st.warning(shown_in_line(str(error)), icon=":material/healing:")
        return
    if other is not None:
        st.table(beside(run, other), border="horizontal")
        st.caption(
            _(
                "Medians of this comparison and of the other. Two runs differ by chance and by what else the machine "
                "does; only the strategies of one run were timed in turn."
            )
        )


def beside(run: Run, other: Run) -> pd.DataFrame:
    """Medians of both runs, a row for each strategy and thing timed that both have."""
    others = {each.strategy: each for each in other.measured}
    rows = []
    for each in run.measured:
        for what in WHATS:
            ours = getattr(each, what).summary
            theirs = getattr(others[each.strategy], what).summary if each.strategy in others else None
            if ours is None:
                continue
            rows.append(
                {
                    _("Strategy"): shown_in_line(compare_sentences.title(each)),
                    _("What was timed"): what_title(what),
                    _("This one"): duration(ours.median_s),
                    _("The other"): DASH if theirs is None else duration(theirs.median_s),
                    _("This / other"): DASH if theirs is None else times(ours.median_s / theirs.median_s),
                }
            )
    return pd.DataFrame(rows).set_index(_("Strategy")) if rows else pd.DataFrame()


def _label(run: KeptRun) -> str:
    when = moment(run.began_at, st.context.timezone)
    return f"{run.name or run.prompt[:60]} · {when} · {len(run.strategies)}"
