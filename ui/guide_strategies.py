"""The guide's first section: which strategies there are, how each stores, when to choose it, what servers add."""

from __future__ import annotations

import streamlit as st

from lab.laboratory import Laboratory
from lab.strategies import NO_CACHE
from ui import words
from ui.guide_elements import detail, heading, prose, subheading, table
from ui.guide_kinds import Kind, kind_of, servers
from ui.language import _
from ui.safe_text import shown_in_line
from ui.session import laboratory


def show_strategies() -> None:
    """The strategies of this app in two tables and in words, then the servers."""
    prose(
        _(
            "A language model takes seconds for an answer, and every answer costs money. A cache keeps each answer, "
            "and when exactly the same is asked again it gives the kept one at once: nobody waits, and nothing is paid."
        ),
        _(
            "The strategies differ in where the answers lie, and therefore in what survives, who shares them, and what "
            "storing costs. How fast each of them is depends on the machine, so this guide names no speeds: the "
            "Playground measures them on yours."
        ),
    )
    kinds = _kinds(laboratory())
    heading(_("At a glance"), "at-a-glance")
    table(
        [_("Strategy"), _("What it is"), _("After a restart"), _("Shared by"), _("Choose it when")],
        [[title, kind.what, kind.after_restart, kind.shared_by, kind.choose] for title, kind in kinds],
        alt=_("The strategies of this app, what each is and when to choose it"),
    )
    heading(_("How each one stores"), "how-each-one-stores")
    table(
        [_("Strategy"), _("Key"), _("Value"), _("Advantages"), _("Limits")],
        [[title, kind.key, kind.value, kind.advantages, kind.limits] for title, kind in kinds],
        alt=_("How each strategy stores an answer, its advantages and its limits"),
    )
    _in_words()
    _servers()


def _kinds(lab: Laboratory) -> list[tuple[str, Kind]]:
    """Title and kind of every strategy of the settings, in their order, "no cache" first."""
    configured = {strategy.name: strategy for strategy in lab.settings.strategies}
    return [
        (
            f"{words.STRATEGY_ICONS.get(name, ':material/link:')} {shown_in_line(words.strategy(lab, name))}",
            kind_of(configured.get(name)),
        )
        for name in [NO_CACHE, *configured]
    ]


def _in_words() -> None:
    heading(_("In words"), "in-words")
    subheading(_("Memory"))
    prose(
        _(
            "Memory is the simplest of all: answers lie in the memory of the program that asks. There is nothing to "
            "set up and nothing to clean away, and when the program ends, all is forgotten. The Restart button of the "
            "Playground does the same to it."
        )
    )
    detail(
        _(
            "Each answer is kept as JSON in bytes and made into new objects at each hit, so that whatever a caller "
            "does to an answer, the next one gets it as it was stored. With `max_entries`, the least recently used "
            "answer makes room for a new one."
        )
    )
    subheading(_("SQLite"))
    prose(
        _(
            "SQLite is the one to begin with when answers should be there tomorrow. One file holds them all, several "
            "programs of the machine can use it at once, and no server has to run."
        )
    )
    detail(
        _(
            "The file has a write-ahead log and `synchronous=NORMAL`: readers do not wait for a writer nor a writer "
            "for readers, and as soon as an answer is stored, the end of the process can't take it any more. The text "
            "of the parameters, which many answers have in common, is stored once. When and how often an answer was "
            "used is noted in memory and written later: when somebody browses, when the cache is closed, when room is "
            "made for new answers, or when there are a thousand notes and an answer is stored. So a hit writes nothing."
        )
    )
    subheading(_("JSON files"))
    prose(
        _(
            "JSON files are for people who want to see. Each answer is a file that opens in any editor, the folder can "
            "be copied, compared and packed like any other, and deleting a file is all it takes to forget its answer."
        )
    )
    detail(
        _(
            "The key is the file's name, so no prompt ever becomes one. A file is written under a temporary name in "
            "the same folder, synced to the disk, and renamed: a reader finds the old answer or the new one, never "
            "half of one. A checksum guards the content, and an answer that was edited by hand no longer fits it: the "
            "next lookup sets the file aside as damaged."
        )
    )
    subheading(_("LangChain's own caches"))
    prose(
        _(
            "LangChain brings two caches of its own: `InMemoryCache` and `SQLiteCache`. They are here for comparison, "
            "since they are what a program has when nobody adds another: beside them one sees what the strategies of "
            "this app add, and what that costs."
        )
    )
    detail(
        _(
            "They are used as they come, so what they lack is missing here too: no time to live, no single answer to "
            "forget, no age of an answer. By itself LangChain lets an error of a cache end the request, even after the "
            "model was paid; in this app it is counted as an error of the cache, and the answer reaches you all the "
            "same."
        )
    )


def _servers() -> None:
    heading(_("What servers add"), "servers")
    prose(
        _(
            "The strategies above belong to one machine. A cache on a server is shared by many: what one of them "
            "asked, all others have. The price is a way over the network for each lookup, and a server that somebody "
            "runs."
        )
    )
    missing = [server.title for server in servers() if not server.available]
    if missing:
        st.info(
            _("Not available yet: {servers}. They come with a later version of this app.").format(
                servers=", ".join(missing)
            ),
            icon=":material/schedule:",
        )
    table(
        [_("Server"), _("In this version"), _("What it adds"), _("Limits"), _("Choose it when")],
        [
            [
                server.title,
                f":material/check: {_('Available')}" if server.available else _("Not yet"),
                server.adds,
                server.limits,
                server.choose,
            ]
            for server in servers()
        ],
        alt=_("What each server adds, and whether this version has it"),
    )
