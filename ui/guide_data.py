"""The guide's last section: what the app keeps, where, and how to see it and get rid of it."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from lab.history import MAX_PROMPT
from lab.runs import MAX_RUNS
from lab.server_urls import kind_of_server, place_of_server, scheme_of
from lab.settings import Settings, StrategySettings
from ui import words
from ui.guide_elements import detail, heading, prose, table
from ui.guide_entries import show_entries_page
from ui.language import _
from ui.numbers import DASH, count
from ui.safe_text import shown_in_line
from ui.session import laboratory


def show_data() -> None:
    """History, stores and keys: what each holds, where it lies, and what can be done with it."""
    lab = laboratory()
    settings = lab.settings
    prose(
        _(
            "What this app keeps lies in its data folder on the machine that it runs on, {data_dir}, unless its "
            "operator chose another place for a cache, such as a server. Nothing leaves that machine but what goes to "
            "the model that you choose (prompt, parameters and key), and to the server of the strategy that you choose "
            "(prompt, parameters and answer). The simulated model is a part of the app and sends nothing."
        ).format(data_dir=_code(str(settings.data_dir)))
    )
    heading(_("Where it lies"), "where")
    ours = _("The answers with their prompts, parameters, times and hits.")
    langchains = _("The answers with their prompts and parameters.")
    table(
        [_("What"), _("Where"), _("What it holds")],
        [
            [
                _("History"),
                _code(str(settings.data_dir / "history.db")),
                _(
                    "A row for each request: when, strategy, model, temperature, outcome, the times, tokens, cost and "
                    "savings, the key, what failed, and the first {characters} characters of the prompt. No answers."
                ).format(characters=count(MAX_PROMPT)),
            ],
            [
                _("Comparisons"),
                _code(str(settings.data_dir / "comparisons.db")),
                _(
                    "The newest {runs} comparisons: prompt, answers, every timing, machine and versions. Whoever has "
                    "the link of one can open it."
                ).format(runs=count(MAX_RUNS)),
            ],
            *(
                [
                    shown_in_line(words.strategy(lab, strategy.name)),
                    _place(strategy, settings),
                    langchains if strategy.url is None else ours,
                ]
                for strategy in settings.strategies
            ),
            [
                _("API keys"),
                _("Nowhere in the data folder"),
                _(
                    "A key that you type is kept in the memory of this app for this browser session, and goes to the "
                    "server that it was typed for and nowhere else."
                ),
            ],
        ],
        alt=_("What the app keeps and where"),
    )
    show_entries_page()
    heading(_("How long, and who may read it"), "how-long")
    prose(
        _(
            "The history keeps the newest {rows} requests. You can download it and clear it in the Playground; what "
            "the caches hold stays. An answer can be forgotten in the Playground while it is shown there, and on the "
            "Entries page at any time. To forget everything, stop the app and delete the data folder."
        ).format(rows=count(settings.history.max_rows)),
        _(
            "Prompts and answers are stored as they are, not encrypted. The files of this app's own caches and of the "
            "history can be read and written only by the user who runs the app."
        ),
    )
    if any(kind_of_server(strategy.url) for strategy in settings.strategies):
        prose(
            _(
                "What lies on a server is not in the data folder: it stays until somebody removes the tables, keys or "
                "collections whose names begin with the cache's prefix, and whoever may read that database can read "
                "it. The way there is encrypted where the address says so: `rediss://`, or `sslmode=verify-full`."
            )
        )
    if settings.sharing == "shared":
        detail(
            _(
                "All visitors of this app share its caches and its history: what you ask appears, shortened, in the "
                "history that the others see. The operator can give each browser session its own (`sharing: private`)."
            )
        )
    else:
        detail(_("Each browser session sees entries and a history of its own only (`sharing: private`)."))
    detail(
        _(
            "The history is counted against its limit after every thousand requests, so it may be longer for a while. "
            "What looks like a credential in the parameters of a model is replaced before they are stored; a prompt is "
            "stored as it was typed."
        )
    )


def _place(strategy: StrategySettings, settings: Settings) -> str:
    """Where a strategy's answers lie, for a table."""
    data_dir = str(settings.data_dir)
    if strategy.url is not None:
        scheme = scheme_of(strategy.url)
        if scheme == "memory":
            return _("The memory of this app")
        if scheme in ("sqlite", "json"):
            return _code(unquote(urlsplit(strategy.url.replace("{data_dir}", data_dir)).path).removeprefix("/"))
        return _code(place_of_server(strategy.url)) if scheme else DASH
    paths = [
        value.replace("{data_dir}", data_dir)
        for value in strategy.options.values()
        if isinstance(value, str) and "{data_dir}" in value
    ]
    if paths:
        return " ".join(map(_code, paths))
    return DASH if strategy.survives_restart else _("The memory of this app")


def _code(text: str) -> str:
    """Text in a typewriter's letters, whatever it holds."""
    return shown_in_line(text) if "`" in text else f"`{text}`"
