"""Where a server is: the parts of its URL, and how it is named without what is secret in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit

from cache_backends.errors import CacheConfigError
from cache_backends.readable import redact, without_login

HIDDEN = "***"
ENCODE = "In user and password, write special characters as % and two digits, such as %2F for /."
_PREFIX = re.compile("[a-z_][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class Address:
    """A server's URL in parts. `hosts` are names with their port, None where the URL gives none."""

    scheme: str
    hosts: tuple[tuple[str, int | None], ...]
    database: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parsed(cls, url: str) -> Self:
        """The parts of a URL but for its options. Raises `CacheConfigError`."""
        try:
            parts = urlsplit(url)
        except ValueError:  # its text may have the password in it, so that it is not shown as the cause either
            raise CacheConfigError(f"{without_login(url)!r} is not a URL. {ENCODE}") from None
        option_names = (option.partition("=")[0] for option in parts.query.split("&"))
        if "@" in "".join((parts.path, parts.fragment, *option_names)):
            raise CacheConfigError(f"{without_login(url)!r} has an @ behind the host. {ENCODE}")
        userinfo, _, hosts = parts.netloc.rpartition("@")
        user, has_password, password = userinfo.partition(":")
        try:
            parsed_hosts = tuple(_host(host) for host in hosts.split(",") if host)
        except ValueError:
            shown = f" {without_login(url)!r}" if "@" in url else ""  # else what looks like a port may be a password
            raise CacheConfigError(
                f"The address{shown} has no usable host and port. "
                f"Write {parts.scheme}://host:port/… with a port from 1 to 65535. {ENCODE}"
            ) from None
        return cls(
            scheme=parts.scheme.lower(),
            hosts=parsed_hosts or (("localhost", None),),
            database=unquote(parts.path.removeprefix("/")),
            user=unquote(user) if user else None,
            password=unquote(password) if has_password else None,
        )

    @property
    def name(self) -> str:
        """The URL as messages may show it: without user and password."""
        hosts = ",".join(_shown_host(host) + (f":{port}" if port else "") for host, port in self.hosts)
        return f"{self.scheme}://{hosts}" + (f"/{self.database}" if self.database else "")

    def without_password(self, text: str) -> str:
        """A driver's message that may be shown: on one line, secrets taken out."""
        if self.password:
            text = text.replace(self.password, HIDDEN)
        return redact(" ".join(text.split()))


def parse_prefix(prefix: object) -> str:
    """What the names of tables, keys or collections begin with, checked: it becomes part of statements."""
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise CacheConfigError(
            f"prefix={str(prefix)[:80]!r} can't begin the names of tables. Use 1 to 40 of a-z, 0-9 and _, "
            "not a digit first."
        )
    return prefix


def parse_timeout(timeout: float | str) -> float:
    """Seconds that a call to a server may take, checked."""
    try:
        seconds = float(timeout)
    except (TypeError, ValueError):
        seconds = 0.0
    if isinstance(timeout, bool) or not 0.01 <= seconds <= 3600:  # NaN is in no range
        raise CacheConfigError(f"timeout={timeout!r:.60} is not a timeout. Use seconds from 0.01 to 3600.")
    return seconds


def _host(text: str) -> tuple[str, int | None]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"{text!r} names no host")
    if parts.port == 0:
        raise ValueError("port 0")
    return unquote(parts.hostname), parts.port


def _shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
