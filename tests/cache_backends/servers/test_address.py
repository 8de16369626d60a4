"""URLs of servers: their parts, what is refused, and that no message ever has the password in it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cache_backends import CacheConfigError, open_cache
from cache_backends.servers.address import Address, parse_prefix, parse_timeout
from cache_backends.servers.server_cache import ServerCache

SCHEMES = ("redis", "rediss", "redis+cluster", "postgresql")
MARK = "pa55w0rd"
"""What the password has in it, between any other text."""


@pytest.mark.parametrize(
    ("url", "hosts", "database", "name"),
    [
        ("redis://host", (("host", None),), "", "redis://host"),
        ("redis://", (("localhost", None),), "", "redis://localhost"),
        ("redis://host:6380/2", (("host", 6380),), "2", "redis://host:6380/2"),
        (
            "postgresql://db.example.com/cache",
            (("db.example.com", None),),
            "cache",
            "postgresql://db.example.com/cache",
        ),
        ("postgresql://[::1]:5433/cache", (("::1", 5433),), "cache", "postgresql://[::1]:5433/cache"),
        ("postgresql://[2001:db8::1]/cache", (("2001:db8::1", None),), "cache", "postgresql://[2001:db8::1]/cache"),
        (
            "redis+cluster://a:1,b,[::1]:3",
            (("a", 1), ("b", None), ("::1", 3)),
            "",
            "redis+cluster://a:1,b,[::1]:3",
        ),
        ("POSTGRESQL://Host/My%20Base", (("host", None),), "My Base", "postgresql://host/My Base"),
    ],
)
def test_a_url_in_parts(url: str, hosts: Any, database: str, name: str) -> None:
    address = Address.parsed(url)
    assert (address.hosts, address.database, address.name) == (hosts, database, name)
    assert (address.user, address.password) == (None, None)


@pytest.mark.parametrize(
    ("login", "user", "password"),
    [
        ("ada:secret@", "ada", "secret"),
        ("ada@", "ada", None),
        (":secret@", None, "secret"),
        ("ada:@", "ada", ""),
        ("a%40da:p%40ss%2Fw%3Ard%25@", "a@da", "p@ss/w:rd%"),
        ("ada:p:a:s@", "ada", "p:a:s"),
        ("ada:p@ss@", "ada", "p@ss"),
        ("%C3%A9:%E2%82%AC@", "é", "€"),
    ],
)
def test_user_and_password(login: str, user: str | None, password: str | None) -> None:
    address = Address.parsed(f"postgresql://{login}host:5432/cache")
    assert (address.user, address.password, address.hosts) == (user, password, (("host", 5432),))
    assert address.name == "postgresql://host:5432/cache"


@given(user=st.text(min_size=1), password=st.text(), database=st.text())
def test_any_user_password_and_database_come_back_that_were_encoded(user: str, password: str, database: str) -> None:
    parts = [quote(part.encode("utf-8", "replace"), safe="") for part in (user, password, database)]
    address = Address.parsed("postgresql://{}:{}@host/{}".format(*parts))
    came_back = (address.user, address.password, address.database)
    assert came_back == tuple(part.encode("utf-8", "replace").decode() for part in (user, password, database))


@pytest.mark.parametrize(
    "rest",
    [
        "host:port",
        "host:0",
        "host:65536",
        "host:-1",
        "host:6379:6380",
        ":6379",
        "ada:secret@:6379",
        "a,:1",
        "[::1",
        "::1]:6379",
    ],
)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_no_host_and_port_is_refused(scheme: str, rest: str) -> None:
    with pytest.raises(CacheConfigError, match=r"no usable host and port|is not a URL"):
        open_cache(f"{scheme}://{rest}/0")


@pytest.mark.parametrize(
    "password",
    ["pa55w0rd/x", "12/pa55w0rd", "pa55w0rd?x", "12?pa55w0rd", "pa55w0rd#x", "[pa55w0rd", "1]pa55w0rd", "℀pa55w0rd"],
)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_password_that_was_not_encoded_is_refused_and_not_repeated(scheme: str, password: str) -> None:
    with pytest.raises(CacheConfigError) as refused:
        open_cache(f"{scheme}://ada:{password}@host/0")
    assert MARK not in str(refused.value)
    assert refused.value.__cause__ is None  # which a logged traceback would show
    assert refused.value.__context__ is None or refused.value.__suppress_context__
    assert "%" in str(refused.value)


any_part = st.text(
    alphabet=st.one_of(st.sampled_from("/?#[]@:%&=,. 0a\\'\""), st.characters(codec="utf-8")), max_size=8
)


@given(scheme=st.sampled_from([*SCHEMES, "redisss", "memory", ""]), before=any_part, after=any_part, behind=any_part)
@example(scheme="redis", before="", after="/x", behind="")
@example(scheme="postgresql", before="1?", after="", behind="")
@example(scheme="postgresql", before="1/", after="", behind="/cache")
def test_whatever_is_around_a_password_it_is_in_no_message(scheme: str, before: str, after: str, behind: str) -> None:
    url = f"{scheme}://ada:{before}{MARK}{after}@host{behind}"
    shown: list[object] = []
    try:
        with open_cache(url, timeout=0.01) as cache:
            shown += [cache, cache.trouble, vars(cache).get("address")]
            if isinstance(cache, ServerCache):
                shown.append(cache.address.name)
    except CacheConfigError as refused:
        shown += [refused, refused.__cause__]
    assert MARK not in "".join(f"{one!s} {one!r}" for one in shown)


@given(password=st.text(min_size=1), before=st.text(), after=st.text())
def test_a_drivers_message_is_shown_without_the_password(password: str, before: str, after: str) -> None:
    address = Address("redis", (("host", None),), "", "ada", password)
    shown = address.without_password(f"{before}{password}{after}")
    hidden = address.without_password(password)
    assert password not in hidden or password in "***" or password in "[redacted]"
    assert "\n" not in shown
    assert password not in repr(address).replace("Address", "").replace("redis", "") or len(password) < 8


@pytest.mark.parametrize("prefix", ["a", "_x", "llm_cache_2", "a" * 40])
def test_prefixes_that_may_begin_names(prefix: str) -> None:
    assert parse_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["", "2x", "A", "a-b", "a b", "a;drop", "é", "a" * 41, "a\n", None, 5])
def test_prefixes_that_may_not(prefix: object) -> None:
    with pytest.raises(CacheConfigError, match=r"Use 1 to 40 of a-z, 0-9 and _"):
        parse_prefix(prefix)


@pytest.mark.parametrize(("timeout", "seconds"), [(1, 1.0), ("0.5", 0.5), (0.01, 0.01), ("3600", 3600.0)])
def test_timeouts(timeout: Any, seconds: float) -> None:
    assert parse_timeout(timeout) == seconds


@pytest.mark.parametrize("timeout", [0, -1, "", "soon", "nan", "inf", 3601, True, None, "1s"])
def test_what_is_no_timeout_is_refused(timeout: Any) -> None:
    with pytest.raises(CacheConfigError, match=r"is not a timeout\. Use seconds from 0\.01 to 3600\."):
        parse_timeout(timeout)
