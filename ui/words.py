"""What outcomes, strategies, failures and reasons are called, with their icons, in the session's language."""

from __future__ import annotations

from cache_backends import Durability
from lab.explain import Explanation
from lab.laboratory import Laboratory
from lab.measurement import RETRY_HELPS, FailureKind, Measurement, WhyNotStored
from lab.strategies import NO_CACHE
from ui.language import _
from ui.numbers import ago, count

OUTCOME_ICONS = {
    "hit": ":material/check_circle:",
    "miss": ":material/cloud_download:",
    "expired": ":material/hourglass_disabled:",
    "corrupt": ":material/broken_image:",
    "error": ":material/error:",
    "bypass": ":material/alt_route:",
    "shared": ":material/group:",
}
STRATEGY_ICONS = {
    NO_CACHE: ":material/block:",
    "memory": ":material/memory:",
    "sqlite": ":material/database:",
    "json": ":material/description:",
    **dict.fromkeys(("redis", "postgresql", "mysql", "mongodb"), ":material/dns:"),
}
SERVER_ICON = ":material/dns:"
OTHER_ICON = ":material/link:"
PRODUCTS = {"redis": "Redis", "postgresql": "PostgreSQL", "mysql": "MySQL", "mongodb": "MongoDB"}
"""What strategies of these names lie on: names that are the same in all languages."""
PRODUCTS_BY_SCHEME = {"redis+cluster": "Redis Cluster", "rediss+cluster": "Redis Cluster", "mariadb": "MariaDB"}
"""Where the URL says it more exactly."""


def outcome(name: str) -> str:
    """An outcome in one word or two."""
    return {
        "hit": _("Hit"),
        "miss": _("Miss"),
        "expired": _("Expired"),
        "corrupt": _("Damaged"),
        "error": _("Error"),
        "bypass": _("Cache not asked"),
        "shared": _("Shared"),
    }[name]


def strategy(laboratory: Laboratory, name: str) -> str:
    """A strategy's title: the operator's, else ours."""
    known = {
        NO_CACHE: _("No cache"),
        "memory": _("Memory"),
        "sqlite": _("SQLite"),
        "json": _("JSON files"),
        "langchain-memory": _("LangChain's memory"),
        "langchain-sqlite": _("LangChain's SQLite"),
        **PRODUCTS,
    }
    if name in PRODUCTS:
        known[name] = PRODUCTS_BY_SCHEME.get(laboratory.strategies.scheme(name) or "", known[name])
    title = laboratory.strategies.title(name)
    if title is None:
        return known.get(name, name)
    others = (laboratory.strategies.title(other) for other in laboratory.strategies.names if other != name)
    return f"{title} ({name})" if title in others else title


def strategy_icon(laboratory: Laboratory, name: str) -> str:
    """A strategy's icon."""
    return STRATEGY_ICONS.get(name) or (SERVER_ICON if laboratory.strategies.is_server(name) else OTHER_ICON)


def model(laboratory: Laboratory, model_id: str) -> str:
    """A model's name with its endpoint."""
    choice = laboratory.models.choices.get(model_id)
    if choice is None:
        return model_id
    if choice.endpoint is None:
        return _("Simulated (no key needed)")
    return f"{choice.model} · {choice.endpoint.title or choice.endpoint.name}"


def why(measurement: Measurement, explanation: Explanation) -> str:
    """One sentence on why a request ended as it did."""
    since = ago(explanation.ago_s) if explanation.ago_s is not None else _("some time ago")
    sentence = {
        "found": _("Found in the cache, stored {since}: the model was not asked."),
        "shared": _(
            "An equal question was being answered just then: this request waited for that answer and shares it, "
            "and no second call was paid for."
        ),
        "first_time": _("Asked for the first time with this strategy and these settings: the model had to answer."),
        "expired": _("The stored answer expired {since}: the model had to answer again."),
        "emptied_by_restart": _("Memory was emptied by the restart {since}: the model had to answer again."),
        "removed_since": _("It was in the cache {since} and has been removed since: the model had to answer again."),
        "damaged": _("The stored answer was damaged and has been set aside: the model had to answer again."),
        "cache_failed": _("The cache could not be asked, so the model answered all the same."),
        "no_cache": _("No cache is in use: every request goes to the model."),
        "bypassed": _("The cache was bypassed: neither asked nor filled."),
        "model_failed": _("There is no answer, and nothing was stored."),
        "strategy_unavailable": _("This strategy can't be used now, and nothing was asked."),
    }[explanation.reason].format(since=since)
    if explanation.reason == "found" and explanation.ago_s is None:
        sentence = _("Found in the cache: the model was not asked.")
    if explanation.reason == "cache_failed" and measurement.not_stored == "error":
        return _("The cache could not be asked: the model answered all the same, and its answer was not kept.")
    refusal = not_stored(measurement.not_stored) if measurement.failure is None else None
    return f"{sentence} {refusal}" if refusal else sentence


def not_stored(reason: WhyNotStored | None) -> str | None:
    """Why an answer was not stored, where that is worth a word."""
    return {
        "empty": _("It was not stored, because the answer is empty."),
        "truncated": _("It was not stored, because the answer was cut off by its length limit."),
        "no_finish": _("It was not stored, because the connection ended before the answer did."),
        "holds_key": _("It was not stored, because it repeats the API key."),
        "unfaithful": _("It was not stored, because it would not come back exactly as it is."),
        "too_large": _("It was not stored, because it is larger than all that the cache may hold."),
        "error": _("It could not be stored."),
    }.get(reason or "")


def durability(kind: Durability) -> str:
    """What a crash of what keeps a store may lose."""
    return {
        "process": _("The end of this program loses everything."),
        "disk": _("A crash loses nothing; a power cut may lose the last moments."),
        "every_write": _("A crash loses nothing that was stored."),
        "every_second": _("A crash may lose the last second."),
        "snapshots": _("A crash loses everything since the last snapshot."),
        "nothing": _("A crash or restart of the server loses everything."),
        "unknown": _("What a crash may lose is not known: the server does not say."),
    }[kind]


def failure(kind: FailureKind) -> str:
    """What failed, and whether trying again helps."""
    what = {
        "rate_limited": _("The server gets too many requests just now."),
        "quota_used_up": _("The account behind this key has used up its quota. Check its plan and billing."),
        "wrong_key": _("The server does not accept this key. Check that it is complete and belongs to this server."),
        "no_key": _("This model needs a key. Type one in the field above, or choose the simulated model."),
        "not_allowed": _("The key is not allowed to use this model."),
        "unknown_model": _("The server does not know this model, or its address is wrong."),
        "prompt_too_long": _("The prompt is too long for this model. Shorten it."),
        "bad_request": _("The server refused the request as it is."),
        "unreachable": _("The server can't be reached. Check its address and that it is running."),
        "timeout": _("The server did not answer in time."),
        "connection_lost": _("The connection was lost in the middle of the answer."),
        "server_error": _("The server has a problem of its own."),
        "bad_answer": _("The server sent something that is not an answer."),
        "stopped": _("The answer was stopped."),
        "strategy_unavailable": _("The store of this strategy can't be opened."),
        "other": _("The model could not be asked."),
    }[kind]
    if kind in RETRY_HELPS:
        return what + " " + _("Trying again may help.")
    return what


def too_many_requests() -> str:
    """That something was not begun, and what to do."""
    return _("So many requests are running that this one was not begun. Try again in a moment.")


def prompt_error(kind: str, length: int, limit: int) -> str:
    """What is wrong with a prompt, and what is allowed."""
    if kind == "empty":
        return _("The prompt is empty. Type a question, or pick a sample.")
    return _(
        "The prompt has {length} characters, and at most {limit} are allowed. Shorten it and send it again."
    ).format(length=count(length), limit=count(limit))
