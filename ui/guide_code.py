"""The guide's fourth section: the code to take a strategy home, with its options and what one should know."""

from __future__ import annotations

import streamlit as st

from cache_backends.servers.server_cache import TIMEOUT_S
from ui import words
from ui.guide_choice import choice
from ui.guide_elements import PROSE_WIDTH, heading, prose, table
from ui.guide_servers import servers
from ui.guide_snippets import snippets
from ui.language import _
from ui.numbers import decimal

EMBEDDED_URLS = {"memory": "memory://", "sqlite": "sqlite:///cache.db", "json": "json:///answers"}
"""The caches that need no server, as the programs of the guide open them."""


def urls_to_take_home() -> dict[str, str]:
    """What the picker offers and the URL of each: the embedded caches, and the servers that are available."""
    return {
        **EMBEDDED_URLS,
        **{server.name: server.example_url for server in servers() if server.available},
    }


def show_code() -> None:
    """The picker and the programs for what is picked."""
    urls = urls_to_take_home()
    picked = choice(_("Strategy"), list(urls), key="guide_strategy", format_func=_label)
    prose(
        _(
            "The caches of this app are a library of their own, `cache_backends`. In a clone of this app, this "
            "installs it and what it needs, and nothing else of the app; and LangChain's package for OpenAI, which the "
            "programs below use."
        )
    )
    extra = next((server.extra for server in servers() if server.name == picked), None)
    package = "." if extra is None else f'".[{extra}]"'
    st.code(f"pip install {package} langchain-openai", language="bash", width=PROSE_WIDTH)
    if extra is not None:
        st.caption(
            _("The driver of the server comes with the extra: `{name}`.").format(name=f"llm-cache-backends[{extra}]")
        )
    for number, snippet in enumerate(snippets(urls[picked])):
        heading(snippet.title, snippet.name.replace("_", "-"))
        prose(snippet.explanation)
        if number == 1:
            st.caption(_("This program and those below go on where the first one ends."))
        st.code(snippet.code, language="python", width=PROSE_WIDTH)
    _options()
    _server_options()
    _good_to_know()


def _label(name: str) -> str:
    titles = {"memory": _("Memory"), "sqlite": _("SQLite"), "json": _("JSON files")}
    titles.update({server.name: server.title for server in servers()})
    return f"{words.STRATEGY_ICONS[name]} {titles[name]}"


def _options() -> None:
    heading(_("The options"), "options")
    table(
        [_("Option"), _("Without it"), _("What it does")],
        [
            ["`namespace`", "`default`", _("Divides a store: looking up, listing and clearing stay inside one part.")],
            [
                "`ttl`",
                _("For ever"),
                _("The time to live: seconds, or text such as `45s`, `10m`, `1h`, `7d`."),
            ],
            ["`max_entries`", _("No limit"), _("The most answers that the store may hold, in all its namespaces.")],
            [
                "`max_bytes`",
                _("No limit"),
                _(
                    "The most bytes that all prompts, parameters and answers of the store may have together; for JSON "
                    "files, all files. A larger answer is not stored."
                ),
            ],
            [
                "`strict`",
                "`false`",
                _("With `true`, a store that fails raises an error instead of letting the model be asked."),
            ],
            [
                "`store_truncated`",
                "`false`",
                _("With `true`, answers that were cut off by their length are stored too."),
            ],
        ],
        alt=_("The options of open_cache, their defaults and meanings"),
    )


def _server_options() -> None:
    heading(_("What servers have besides"), "server-options")
    table(
        [_("Option"), _("Without it"), _("What it does")],
        [
            [
                "`prefix`",
                "`llm_cache`",
                _(
                    "What the names of tables, keys or collections begin with: several caches can share a database so, "
                    "each with its own limits."
                ),
            ],
            [
                "`timeout`",
                _("{seconds} second").format(seconds=decimal(TIMEOUT_S, 1)),
                _("How many seconds a lookup or store may take, connecting included."),
            ],
        ],
        alt=_("The options of caches on servers, their defaults and meanings"),
    )
    prose(
        _(
            "A `/`, `@`, `:` or other sign in a user name or password is written as in every address: `%2F`, `%40`, "
            "`%3A`. A server is not asked when its cache is opened, so a program starts though the server is down. "
            "The way there is encrypted with `rediss://` for Redis, `sslmode=verify-full` for PostgreSQL, "
            "`ssl_mode=verify_identity` for MySQL and MariaDB, `tls=true` for MongoDB."
        )
    )


def _good_to_know() -> None:
    heading(_("Good to know"), "good-to-know")
    prose(
        _(
            "- `stream` and `astream` never use a cache: LangChain leaves it out there. For an answer that appears "
            "word by word, make the model with `streaming=True`, call `invoke`, and take the words by callback.\n"
            "- Make a new model object for other parameters. LangChain remembers the parameters of a chat model that "
            "was asked once, so changing its temperature afterwards brings the answers of the old one. For a "
            "completion model, what is given with a single call is not part of the key.\n"
            "- Of structured output in LangChain's JSON schema mode, the parameters hold only the name of the class: "
            "clear the cache when you change its fields.\n"
            "- With a temperature above 0 a model words each answer anew; with a cache, the first wording is the one "
            "that everybody gets until it expires or is removed.\n"
            "- `ainvoke` and `abatch` use the cache as `invoke` does.\n"
            "- Equal requests that are under way at the same time each ask the model, unless each is made in a "
            "`with OneRequest(...)` block; the cache knows the answer only when the first of them is there.\n"
            "- Call `close()` at the end, or write `with open_cache(...) as cache:`. It gives back files and "
            "connections and writes how often answers were used.\n"
            "- The library runs on Linux and macOS."
        )
    )
