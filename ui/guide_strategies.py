"""The guide's first section: which strategies there are, how each stores, when to choose it, what servers add."""

from __future__ import annotations

import streamlit as st

from lab.environment import StrategyOfEnvironment
from lab.laboratory import Laboratory
from lab.server_urls import kind_of_server, scheme_of
from lab.settings import StrategySettings
from lab.strategies import NO_CACHE
from ui import guide_kinds as kinds
from ui import words
from ui.guide_elements import detail, heading, prose, subheading, table
from ui.guide_kinds import Kind
from ui.guide_servers import servers
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
    described = _described(laboratory())
    heading(_("At a glance"), "at-a-glance")
    table(
        [_("Strategy"), _("What it is"), _("After a restart"), _("Shared by"), _("Choose it when")],
        [[title, kind.what, kind.after_restart, kind.shared_by, kind.choose] for title, kind in described],
        alt=_("The strategies of this app, what each is and when to choose it"),
    )
    heading(_("How each one stores"), "how-each-one-stores")
    table(
        [_("Strategy"), _("Key"), _("Value"), _("Advantages"), _("Limits")],
        [[title, kind.key, kind.value, kind.advantages, kind.limits] for title, kind in described],
        alt=_("How each strategy stores an answer, its advantages and its limits"),
    )
    _in_words()
    _servers()


def _described(lab: Laboratory) -> list[tuple[str, Kind]]:
    """Title and kind of every strategy of the settings, in their order, "no cache" first."""
    configured = {strategy.name: strategy for strategy in lab.settings.strategies}
    return [
        (
            f"{words.strategy_icon(lab, name)} {shown_in_line(words.strategy(lab, name))}",
            _kind_of(configured.get(name)),
        )
        for name in [NO_CACHE, *configured]
    ]


def _kind_of(strategy: StrategySettings | None) -> Kind:
    """What is said of a strategy of the settings; None is "no cache"."""
    if strategy is None:
        return kinds.no_cache()
    if strategy.url is not None:
        scheme = scheme_of(strategy.url)
        embedded = {"memory": kinds.memory, "sqlite": kinds.sqlite, "json": kinds.json_files}.get(scheme)
        if embedded is not None:
            return embedded()
        kind = kind_of_server(strategy.url)
        name = strategy.name if isinstance(strategy, StrategyOfEnvironment) else kind.name if kind else None
        named = [server.kind for server in servers() if server.name == name]
        return named[0] if named else kinds.added(_("A cache that this app's operator added: {name}."), f"{scheme}://")
    langchain = strategy.langchain or ""
    theirs = {
        kinds.LANGCHAIN_MEMORY: kinds.langchain_memory,
        kinds.LANGCHAIN_SQLITE: kinds.langchain_sqlite,
    }.get(langchain)
    return theirs() if theirs else kinds.added_langchain(langchain, survives_restart=strategy.survives_restart)


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
            "Memory, SQLite and JSON files belong to one machine. A cache on a server is shared by many: what one of "
            "them asked, all others have. The price is a way over the network for each lookup, and a server that "
            "somebody runs."
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
        [_("Server"), _("What it is"), _("Choose it when"), _("What it costs"), _("A crash may lose")],
        [
            [server.title, server.kind.what, server.kind.choose, server.kind.limits, server.may_lose]
            for server in servers()
        ],
        alt=_("The servers: what each is, when to choose it, what it costs and what a crash may lose"),
    )
    prose(
        _(
            "A server can be down, or too far away. Then a lookup fails within its `timeout`, a second by default, the "
            "model is asked as if there were no cache, and its answer is not kept. After some failures in a row the "
            "server is left alone for a while, so that requests do not wait for it; the Playground says so, and finds "
            "out by itself when it is back. The section Health shows how each of them is now."
        )
    )
    for server in servers():
        subheading(server.title)
        prose(server.in_words)
        detail(server.exactly)
        if server.name == "redis":
            _redis_persistence()


def _redis_persistence() -> None:
    table(
        [_("Persistence of Redis"), _("Its settings"), _("A crash may lose")],
        [
            [_("None"), '`save ""`, `appendonly no`', words.durability("nothing")],
            [_("Snapshots (RDB)"), "`save 3600 1`, `appendonly no`", words.durability("snapshots")],
            [
                _("Log, synced every second"),
                "`appendonly yes`, `appendfsync everysec`",
                words.durability("every_second"),
            ],
            [_("Log, synced always"), "`appendonly yes`, `appendfsync always`", words.durability("every_write")],
        ],
        alt=_("What a crash of Redis may lose, by its persistence"),
    )
    detail(_("The health panel reads these settings from the server itself, where it may."))
