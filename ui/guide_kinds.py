"""What is said of each kind of cache that needs no server: the embedded ones, and LangChain's own."""

from __future__ import annotations

from dataclasses import dataclass

from cache_backends.sqlite_file import BUSY_TIMEOUT_S
from ui.language import _
from ui.numbers import DASH, count
from ui.safe_text import shown_in_line

LANGCHAIN_MEMORY = "langchain_core.caches.InMemoryCache"
LANGCHAIN_SQLITE = "langchain_community.cache.SQLiteCache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of cache in the words of the tables."""

    what: str
    after_restart: str
    shared_by: str
    choose: str
    key: str
    value: str
    advantages: str
    limits: str


def no_cache() -> Kind:
    """Every request goes to the model."""
    return Kind(
        what=_("Every request goes to the model."),
        after_restart=_("There is nothing to lose."),
        shared_by=DASH,
        choose=_("You want a yardstick for all others, or each answer must be a new one."),
        key=DASH,
        value=DASH,
        advantages=_("Nothing to set up, and no answer is ever out of date."),
        limits=_("Every answer takes the model's whole time and costs its whole price."),
    )


def memory() -> Kind:
    """`MemoryCache`."""
    return Kind(
        what=_("Answers lie in the memory of the program."),
        after_restart=_("All gone: the program begins with an empty cache."),
        shared_by=_("The threads of one process."),
        choose=_("Answers matter for one run only, such as in a notebook or a test, or must not be written to a file."),
        key=_("The request's SHA-256, together with the namespace, in a dictionary."),
        value=_("The answer as JSON in bytes, made into new objects at each hit."),
        advantages=_("No file, no server, nothing to set up. Storing waits for no disk."),
        limits=_(
            "Lost when the process ends, unknown to every other process, and as large as you let it grow "
            "(`max_entries`)."
        ),
    )


def sqlite() -> Kind:
    """`SQLiteCache`."""
    return Kind(
        what=_("All answers lie in one database file, without a server."),
        after_restart=_("Still there."),
        shared_by=_("Threads and processes of one machine."),
        choose=_("You are in doubt: answers last, and there is nothing to install, run or look after."),
        key=_("The request's SHA-256 (32 bytes) together with the namespace, in a unique index."),
        value=_(
            "Two rows an answer: the answer as JSON behind a checksum, with its times; and prompt, model and hits, "
            "which a hit need not read."
        ),
        advantages=_("Survives restarts and crashes. Reading and browsing never hold up whoever stores."),
        limits=_(
            "One machine. Answers are stored one after the other: one that waits more than {seconds} seconds for its "
            "turn is not stored. A power cut may take the newest ones."
        ).format(seconds=count(int(BUSY_TIMEOUT_S))),
    )


def json_files() -> Kind:
    """`JSONFileCache`."""
    return Kind(
        what=_("Each answer is a readable file of its own in a folder."),
        after_restart=_("Still there."),
        shared_by=_("Threads and processes of one machine."),
        choose=_("People want to open, compare, copy or delete single answers with the tools they have."),
        key=_("The request's SHA-256 is the file's name, in a folder for its namespace."),
        value=_("One indented JSON document: prompt, parameters, answer, times and hits, with a checksum."),
        advantages=_(
            "Opens in any editor; deleting the file forgets the answer. A file is there whole or not at all, even "
            "after a power cut."
        ),
        limits=_(
            "Storing waits for the disk. Many small files take more room than one large file, and keeping to a limit "
            "means looking at all of them."
        ),
    )


def langchain_memory() -> Kind:
    """LangChain's `InMemoryCache`."""
    return Kind(
        what=_("`InMemoryCache` of langchain-core, as it comes."),
        after_restart=_("All gone: the program begins with an empty cache."),
        shared_by=_("The threads of one process."),
        choose=_("You want to compare it with the memory strategy: that is what it is here for."),
        key=_("The whole texts of prompt and parameters, in a dictionary."),
        value=_("The answer's objects themselves."),
        advantages=_("Part of langchain-core: nothing else to install."),
        limits=_(
            "No time to live, no namespaces, no single answer to find or forget. Whoever alters an answer alters what "
            "is stored."
        ),
    )


def langchain_sqlite() -> Kind:
    """langchain-community's `SQLiteCache`."""
    return Kind(
        what=_("`SQLiteCache` of langchain-community, as it comes."),
        after_restart=_("Still there."),
        shared_by=_("Threads and processes of one machine."),
        choose=_("You want to compare it with the SQLite strategy: that is what it is here for."),
        key=_("The whole texts of prompt and parameters, as the table's primary key."),
        value=_("One row for each generation: LangChain's own serialisation, as text."),
        advantages=_("One line of code, and a file that lasts."),
        limits=_(
            "No time to live, no limit, no namespaces. Equal requests that store at the same moment can end in a "
            "database error. Its package is no longer developed."
        ),
    )


def added(what: str, name: str) -> Kind:
    """One of our caches that nothing more is known of; `what` says so of `name`."""
    return Kind(
        what=what.format(name=shown_in_line(name)),
        after_restart=DASH,
        shared_by=DASH,
        choose=_("The operator of this app can tell why it is here."),
        key=_("The request's SHA-256, as in all caches of this app."),
        value=DASH,
        advantages=DASH,
        limits=DASH,
    )


def added_langchain(path: str, *, survives_restart: bool) -> Kind:
    """A LangChain cache that the operator named by its path."""
    return Kind(
        what=_("A LangChain cache that this app's operator added: {name}.").format(name=shown_in_line(path)),
        after_restart=_("Still there.") if survives_restart else _("All gone: the program begins with an empty cache."),
        shared_by=DASH,
        choose=_("The operator of this app can tell why it is here."),
        key=_("Made by that cache from the texts of prompt and parameters."),
        value=DASH,
        advantages=DASH,
        limits=DASH,
    )
