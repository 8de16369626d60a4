"""The options every backend takes, checked once: namespace, time to live, limits, strictness."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cache_backends.errors import CacheConfigError
from cache_backends.readable import REDACTED, without_login

OPTIONS = ("namespace", "ttl", "max_entries", "max_bytes", "strict", "store_truncated")
"""What the query string of every cache's URL, or keywords, may set; `clock` by keyword only."""

TimeToLive = float | int | str | timedelta | None
"""Seconds, a `timedelta`, or text such as "90", "45s", "10m", "1h", "7d"; None: for ever."""

MAX_NAMESPACE_LENGTH = 200
GREATEST_LIMIT = 2**63 - 1
"""What SQLite's integers, and a division, can hold."""
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_TTL_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def merged_options(url: str, options: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    """The options of a URL's query string and those given by keyword, which win.

    Raises `CacheConfigError` for what is not known, naming what is.
    """
    if "#" in url:
        raise CacheConfigError(f"{without_login(url)!r} has a part after '#'. Write %23 for a '#' in a path or option.")
    from_query = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    unknown = sorted({*from_query, *options} - {*known, "clock"} | ({"clock"} & from_query.keys()))
    if unknown:
        raise CacheConfigError(
            f"Unknown option {', '.join(map(_shown_name, unknown))} for {without_login(url)!r}. "
            f"Known are: {', '.join(known)}."
        )
    return {**from_query, **options}


def parse_ttl(ttl: TimeToLive) -> float | None:
    """A time to live in seconds, or None for ever.

    >>> parse_ttl("1h"), parse_ttl(90), parse_ttl(None)
    (3600.0, 90.0, None)
    """
    if ttl is None:
        return None
    seconds: float | None = None
    if isinstance(ttl, timedelta):
        seconds = ttl.total_seconds()
    elif isinstance(ttl, str):
        match = _TTL_TEXT.fullmatch(ttl.strip().lower())
        if match:
            seconds = float(match[1]) * _UNITS_S[match[2]]
    elif not isinstance(ttl, bool):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            seconds = float(ttl)
    if seconds is None or not math.isfinite(seconds) or seconds <= 0:
        raise CacheConfigError(
            f"ttl={ttl!r} is not a time to live. Use seconds above 0, or text such as '45s', '10m', '1h', '7d'; "
            "leave it out to keep entries for ever."
        )
    return seconds


def parse_limit(name: str, limit: int | str | None) -> int | None:
    """A limit (of entries, of bytes), or None for no limit."""
    if limit is None:
        return None
    if isinstance(limit, str) and limit.strip().isdecimal() and len(limit.strip()) <= len(str(GREATEST_LIMIT)):
        limit = int(limit)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= GREATEST_LIMIT:
        raise CacheConfigError(f"{name}={_shown(limit)} is not a limit. Use a whole number of 1 or more.")
    return limit


def parse_namespace(namespace: object) -> str:
    """A namespace, checked: any text of 1 to 200 characters that UTF-8 can carry."""
    if not isinstance(namespace, str) or not 1 <= len(namespace) <= MAX_NAMESPACE_LENGTH:
        raise CacheConfigError(f"namespace={namespace!r} is not usable. Use 1 to {MAX_NAMESPACE_LENGTH} characters.")
    try:
        namespace.encode()
    except UnicodeEncodeError as error:
        raise CacheConfigError(f"namespace={namespace!r} has characters that can't be stored ({error}).") from error
    return namespace


def parse_bool(name: str, value: bool | str) -> bool:
    """A switch, given as a bool or as text of a URL."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise CacheConfigError(f"{name}={value!r} is not a switch. Use true or false.")


def _shown_name(option: str) -> str:
    """An option's name, unless it is the end of a password with a "?" in it."""
    return REDACTED if "@" in option else repr(option)


def _shown(limit: object) -> str:
    """A value as a sentence can show it: of very long numbers Python refuses to make text."""
    return "(too great)" if isinstance(limit, int) and limit > GREATEST_LIMIT else f"{limit!r:.60}"
