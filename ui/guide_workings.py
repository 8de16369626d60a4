"""The guide's second section: what happens to a request, the key, time to live, what is never stored, durability."""

from __future__ import annotations

from cache_backends import cache_key
from cache_backends.sqlite import DAMAGED_KEPT
from ui.guide_elements import detail, heading, prose, table
from ui.language import _
from ui.numbers import count
from ui.session import laboratory

KEY_DIGITS_SHOWN = 16


def show_workings() -> None:
    """From the request to the stored answer, and what may happen to it there."""
    heading(_("What happens to a request"), "request")
    prose(
        _(
            "1. LangChain makes two texts of the request: the prompt, and the parameters of the model.\n"
            "2. The cache makes the key of both and looks whether it holds an answer for it.\n"
            "3. If it does, that is a **hit**: the answer comes from the cache, and the model is not asked.\n"
            "4. If it does not, that is a **miss**: the model answers, and its answer is stored under the key."
        ),
        _(
            "A cache that fails is no reason to go without an answer: the model is asked as if there were no cache, "
            "and what went wrong is counted as an error."
        ),
    )
    _key()
    _time_to_live()
    _never_stored()
    _damage()
    _durability()
    _sharing()


def _key() -> None:
    heading(_("The key"), "key")
    prose(
        _(
            "The key is the fingerprint of a request. Exactly the same request has the same key; another word, another "
            "space, another model make another key, and so does another temperature: it changes how freely the model "
            "words its answer, so an answer that was given at 0 is not the answer to a request at 0.7."
        )
    )
    question = _("Who was Carl Sagan?")
    requests = [(question, "0.7"), (question, "0.0"), (question.lower(), "0.7")]
    table(
        [_("Prompt"), _("Temperature"), _("The key begins with")],
        [
            [prompt, temperature, f"`{cache_key(prompt, f'model=demo, temperature={temperature}')[:KEY_DIGITS_SHOWN]}`"]
            for prompt, temperature in requests
        ],
        alt=_("Three requests that differ in a detail, and their keys"),
    )
    prose(
        _(
            "The key is made the same way for every strategy. That is why a comparison compares the same requests, and "
            "why an entry of one cache can be found again in another."
        )
    )
    detail(
        _(
            "It is the SHA-256 of the prompt's length (8 bytes), the prompt and the parameters, in UTF-8, written as "
            "64 hexadecimal digits. The length stands first so that no two pairs of prompt and parameters share their "
            "bytes. (The table above shortens the parameters to the model's name and the temperature.)"
        ),
        _(
            "The prompt of a chat model is LangChain's JSON of all messages, that of a completion model the bare text. "
            "The parameters are LangChain's text of everything that the model object was made with: model, "
            "temperature, token limit, stop words, tools. For `ChatOpenAI` these include things that leave the answer "
            "as it is, such as `timeout` and `streaming`. API keys are not among them."
        ),
        _(
            "The namespace stands beside the key: an entry is found by both. This app makes a namespace of whose "
            "requests they are and which server answers them, because LangChain leaves the server's address out of the "
            "parameters of completion models. For LangChain's own caches, which know no namespaces, it puts the "
            "namespace before the parameters."
        ),
    )


def _time_to_live() -> None:
    heading(_("Time to live"), "time-to-live")
    prose(
        _(
            "Some answers grow old. With a time to live, an answer that is older counts as expired: the model is asked "
            "again, and its new answer takes the place of the old one. Without one, answers are kept for ever."
        )
    )
    detail(
        _(
            "The end of an answer's life is set when it is stored and looked at in every lookup. So another time to "
            "live holds for answers that are stored from then on, a hit does not make an answer live longer, and an "
            "expired answer stays in the store until it is replaced, removed (`purge_expired`) or evicted. The time to "
            "live is not part of the key. LangChain's own caches have none."
        )
    )


def _never_stored() -> None:
    heading(_("What is never stored"), "never-stored")
    prose(_("A cache repeats what it holds, so an answer that is not worth repeating must not get into it."))
    table(
        [_("Answer"), _("Why it is not stored")],
        [
            [
                _("Empty"),
                _("There is nothing in it. An answer without text that calls a tool is not empty, and is stored."),
            ],
            [
                _("Cut off"),
                _(
                    "The model stopped at its length limit, and the rest would be missing at every hit. Whoever wants "
                    "to keep such answers says `store_truncated=True`."
                ),
            ],
            [
                _("Failed or stopped"),
                _("There is no answer: the server was not reached, reported an error, or you stopped it."),
            ],
            [
                _("Unfinished"),
                _("The connection ended before the server said that the answer was complete. This app refuses those."),
            ],
            [
                _("Not storable as it is"),
                _("What would not come back equal in every field is not stored, rather than changed."),
            ],
        ],
        alt=_("Answers that are not stored, and why"),
    )
    detail(
        _(
            "LangChain's own caches make no such difference: they store whatever they are given, empty and cut-off "
            "answers too."
        )
    )


def _damage() -> None:
    heading(_("Damaged entries"), "damage")
    prose(
        _(
            "Disks fail and people edit files. An entry of this app's caches that can't be read, does not fit its "
            "checksum or belongs to another key is never given as an answer: the model is asked instead, and the "
            "outcome is called damaged."
        )
    )
    detail(
        _(
            "The damaged entry is set aside so that it can be looked at: SQLite moves it to the table `damaged` (the "
            "newest {kept} are kept), a JSON file gets the ending `.damaged`. An SQLite file that is damaged as a "
            "whole is kept under another name beside its place, a new one is begun, and the Playground says so."
        ).format(kept=count(DAMAGED_KEPT)),
        _(
            "LangChain's `SQLiteCache` has no checksum, and gives the raw text of an entry that it can't read as if it "
            "were the answer."
        ),
    )


def _durability() -> None:
    heading(_("What survives what"), "durability")
    all_lost, all_kept = _("All is lost."), _("All is kept.")
    table(
        [_("What happens"), _("Memory"), _("SQLite"), _("JSON files")],
        [
            [_("The program ends and starts again"), all_lost, all_kept, all_kept],
            [
                _("The process is killed"),
                all_lost,
                _("Every answer that had been stored is kept."),
                _("Every answer that had been stored is kept."),
            ],
            [
                _("The power fails"),
                all_lost,
                _("The file is sound; the newest answers may be missing."),
                _("Each file is there whole or not at all; the newest may be missing."),
            ],
            [
                _("The disk is full"),
                _("Nothing changes."),
                _("New answers are not stored; those stored before are kept."),
                _("New answers are not stored; those stored before are kept."),
            ],
        ],
        alt=_("What survives a restart, a kill, a power cut and a full disk, by strategy"),
    )
    prose(
        _(
            "A server is another process, mostly on another machine: the end of this app takes nothing from it. What a "
            "crash of the server itself may lose is a matter of its settings; the section Strategies says what is "
            "usual, and the section Health what the server says."
        )
    )
    detail(
        _(
            "Killed means even by `kill -9`. Only how often and when answers were last used may then be lost: that is "
            "noted in memory and written later, so that a hit costs no writing."
        )
    )


def _sharing() -> None:
    heading(_("Sharing"), "sharing")
    prose(
        _(
            "What one has asked, all who share the cache have. Memory is shared within one process, SQLite and JSON "
            "files by all programs of the machine that name the same file or folder, and a server by all machines that "
            "reach it. When several store the same answer at once, it ends as one whole answer."
        ),
        _(
            "When several who share a cache ask this app the same at the same moment, and the cache has no answer yet, "
            "one model call is made: the others wait for it and share its answer, or its failure. If whoever was first "
            "stops it, the next one asks. Requests that bypass the cache are never joined."
        ),
    )
    if laboratory().settings.sharing == "shared":
        prose(
            _(
                "In this app all visitors share the caches and the history: a question that one visitor has asked is a "
                "hit for the next."
            )
        )
    else:
        prose(
            _("In this app each browser session has entries and a history of its own, and finds nobody else's answers.")
        )
