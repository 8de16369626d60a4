"""URLs of servers: which kind they name, and that nothing secret of them is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_backends.readable import REDACTED
from cache_backends.urls import EMBEDDED, SERVERS
from lab.server_urls import (
    SERVER_KINDS,
    kind_of_server,
    mistake_in,
    place_of_server,
    scheme_of,
    secrets_of,
    without_secrets,
)


@pytest.mark.parametrize("scheme", SERVERS)
def test_every_server_that_can_be_opened_has_a_kind(scheme: str) -> None:
    kind = kind_of_server(f"{scheme.upper()}://host")
    assert kind is not None
    assert scheme in kind.schemes


@pytest.mark.parametrize("url", [*(f"{scheme}:///x" for scheme in EMBEDDED), "localhost:6379", "", None, "redis:host"])
def test_what_names_no_server_has_no_kind(url: str | None) -> None:
    assert kind_of_server(url) is None


def test_an_example_is_of_its_kind_and_in_order() -> None:
    for kind in SERVER_KINDS:
        assert kind_of_server(kind.example) is kind
        assert mistake_in(kind.example) is None


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://localhost:6379/0?ttl=1h", "redis://localhost:6379/0"),
        ("Redis://:pa55@cache:6379", "redis://cache:6379"),
        ("postgresql://app:p@ss@one:5432,two:5433/db?sslmode=require#x", "postgresql://one:5432,two:5433/db"),
        ("mongodb+srv://token@cluster.example/db", "mongodb+srv://cluster.example/db"),
        ("redis://:pa?ss@cache", "redis://cache"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
    ],
)
def test_a_place_is_shown_without_what_is_secret(url: str, place: str) -> None:
    assert place_of_server(url) == place


@given(password=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=4, max_size=20))
def test_no_password_is_shown_whatever_its_characters(password: str) -> None:
    url = f"postgresql://somebody:{password}@db/x"
    shown = place_of_server(url)
    assert shown == "postgresql://db/x"
    said = mistake_in(url)
    assert said is None or password not in said
    if said is None:
        assert password not in without_secrets(f"can't open {url} because of {password}", secrets_of(url))


@pytest.mark.parametrize("sign", ["/", "?", "#", "@", "[", "]", " ", "\t"])
def test_a_sign_that_ends_a_password_is_told_of_with_how_to_write_it(sign: str) -> None:
    said = mistake_in(f"mysql://app:pass{sign}word@db/x")
    assert said is not None
    assert "mysql://" in said
    assert "%40" in said
    assert "word" not in said.replace("password", "")


@pytest.mark.parametrize("url", ["redis://:p%40ss%2Fword:x@h", "mysql://u@h", "redis://h", "postgresql://u:@h/d?a=b"])
def test_a_url_that_is_written_as_it_should_has_no_mistake(url: str) -> None:
    assert mistake_in(url) is None


def test_a_password_is_found_as_it_stands_and_as_it_is_meant() -> None:
    assert set(secrets_of("redis://:p%40ssword@h")) == {"p%40ssword", "p@ssword"}
    assert secrets_of("mongodb://token@h") == ("token",)
    assert secrets_of("mongodb://h/d?tlsCertificateKeyFilePassword=w%20rd&w=majority") == ("w%20rd", "w rd")
    assert secrets_of("redis://:abc@h") == secrets_of("redis://h") == secrets_of(None) == ()


def test_secrets_are_taken_out_the_longest_first() -> None:
    secrets = secrets_of("redis://:p%40ssword@h")
    assert without_secrets("AUTH p@ssword or p%40ssword", secrets) == f"AUTH {REDACTED} or {REDACTED}"
    assert scheme_of("redis+cluster://h") == "redis+cluster"
