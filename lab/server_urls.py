"""URLs of servers: which server one names, where it is, and what of it must never be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from cache_backends.readable import REDACTED, redact, secret_options

LEAST_SECRET = 4
"""Characters of a password that is looked for in messages: a shorter one is in half of all words."""
_RESERVED = re.compile(r"[/?#@\[\]\s]")
"""What ends a user name or password in a URL, unless it is written as %2F, %3F …"""


@dataclass(frozen=True, slots=True)
class ServerKind:
    """A kind of server: what its strategy is called, and the environment variable that may name one."""

    name: str
    variable: str
    schemes: tuple[str, ...]
    example: str


SERVER_KINDS = (
    ServerKind(
        "redis", "REDIS_URL", ("redis", "rediss", "redis+cluster", "rediss+cluster"), "redis://localhost:6379/0"
    ),
    ServerKind("postgresql", "POSTGRES_URL", ("postgresql", "postgres"), "postgresql://user@localhost:5432/cache"),
    ServerKind("mysql", "MYSQL_URL", ("mysql", "mariadb"), "mysql://user@localhost:3306/cache"),
    ServerKind("mongodb", "MONGODB_URL", ("mongodb", "mongodb+srv"), "mongodb://localhost:27017/cache"),
)


def scheme_of(url: str) -> str:
    """What stands before "://", in small letters.

    >>> scheme_of("Redis://localhost")
    'redis'
    """
    scheme, mark, _ = url.partition("://")
    return scheme.strip().lower() if mark else ""


def kind_of_server(url: str | None) -> ServerKind | None:
    """The kind of server that a URL names; None where it names none."""
    scheme = scheme_of(url or "")
    return next((kind for kind in SERVER_KINDS if scheme in kind.schemes), None)


def place_of_server(url: str) -> str:
    """A URL without user, password and options, for people to read.

    >>> place_of_server("postgresql://app:secret@db.example:5432/cache?ttl=1h")
    'postgresql://db.example:5432/cache'
    """
    place = url.partition("://")[2].rpartition("@")[2]  # the last @: one may stand in a password
    return f"{scheme_of(url)}://{re.split('[?#]', place)[0]}"


def mistake_in(url: str) -> str | None:
    """What is wrong with the user name or password of a server's URL, without showing them; None where nothing is."""
    user, mark, _ = url.partition("://")[2].rpartition("@")
    if mark and _RESERVED.search(user):
        return (
            f"The {scheme_of(url)}:// address can't be read: a user name, password or option holds one of / ? # @ [ ] "
            "or a space. Write them as %2F %3F %23 %40 %5B %5D %20."
        )
    return None


def secrets_of(url: str | None) -> tuple[str, ...]:
    """The passwords of a URL, as they stand there and as they are meant, where long enough to be looked for."""
    user, mark, _ = (url or "").partition("://")[2].rpartition("@")
    written = [*secret_options(url or ""), *([user.partition(":")[2] or user] if mark else [])]
    found = {*written, *map(unquote, written)}
    return tuple(sorted((secret for secret in found if len(secret) >= LEAST_SECRET), key=len, reverse=True))


def without_secrets(text: str, secrets: tuple[str, ...]) -> str:
    """A message with these secrets, and all that looks like a credential, taken out."""
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return redact(text)
