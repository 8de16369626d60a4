"""How the chosen strategy stands: what keeps it, or why it can't be used or reached; said as soon as it is known."""

from __future__ import annotations

import streamlit as st

from lab.reach import Standing
from ui import words
from ui.language import _
from ui.places import in_its_place
from ui.safe_text import shown_in_line
from ui.session import laboratory

POLL_S = 0.5


@in_its_place
def show_standing(name: str) -> None:
    """A line on a strategy that lies on a server, a warning for one in trouble, nothing for the others."""
    standing = laboratory().strategies.standing(name)
    if standing.state in ("asking", "unreachable"):
        _watch(name)
    else:
        _show(name, standing)


@st.fragment(run_every=POLL_S)
def _watch(name: str) -> None:
    """Until the server answers. Nothing waits for it: what is known is shown, and the rest is found out elsewhere."""
    standing = laboratory().strategies.standing(name)
    if standing.state not in ("asking", "unreachable"):
        st.rerun()
    _show(name, standing)


def _show(name: str, standing: Standing) -> None:
    lab = laboratory()
    strategy = shown_in_line(words.strategy(lab, name))
    reason = None if standing.reason is None else shown_in_line(standing.reason)
    if standing.state == "unusable":
        st.warning(_("This strategy can't be used now: {reason}").format(reason=reason), icon=":material/database_off:")
    elif standing.state == "unreachable":
        sentence = _(
            "{strategy} can't be reached now. Answers come from the model all the same, and are not kept."
        ).format(strategy=strategy)
        said = _("It gives no answer at all.") if reason is None else _("The reason: {reason}").format(reason=reason)
        st.warning(f"{sentence} {said}", icon=":material/cloud_off:")
    elif standing.state == "asking":
        st.caption(_("{strategy} is being asked whether it is there.").format(strategy=strategy))
    elif standing.about is not None:
        st.caption(
            _("Kept by {product} {version}. {durability}").format(
                product=shown_in_line(standing.about.product),
                version=shown_in_line(standing.about.version),
                durability=words.durability(standing.about.durability),
            )
        )
    elif lab.strategies.is_server(name):
        st.caption(_("{strategy} is there.").format(strategy=strategy))
