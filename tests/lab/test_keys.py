"""Keys: each goes to its own endpoint and nowhere else, and appears in nothing that is kept, logged or shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from lab.laboratory import Answered, Laboratory, Request
from lab.models import NO_KEY
from lab.settings import OPENAI_URL, EndpointSettings
from lab.strategies import NO_CACHE
from tests.lab.building import CACHES, SAGAN, endpoint, files_below, quick_settings
from tests.openai_server import OpenAIServer

OPERATORS_KEY = "sk-operator-environment-0123456789"
VISITORS_KEY = "sk-visitor-typed-this-abcdefghij"
ACCOUNT = {
    "OPENAI_ORG_ID": "org-of-the-operator",
    "OPENAI_ORGANIZATION": "org-of-the-operator",
    "OPENAI_PROJECT_ID": "proj_of_the_operator",
    "OPENAI_CUSTOM_HEADERS": "User-Agent: header-of-the-operator",
}
KINDS: tuple[Literal["chat", "completion"], ...] = ("chat", "completion")


class World:
    """Three servers (A takes a visitor's key, B wants none, C the operator's) and a laboratory that knows them."""

    def __init__(self, folder: Path, a: OpenAIServer, b: OpenAIServer, c: OpenAIServer) -> None:
        self.a, self.b, self.c = a, b, c
        servers: tuple[tuple[str, OpenAIServer, dict[str, Any]], ...] = (
            ("a", a, {}),
            ("b", b, {"needs_key": False}),
            ("c", c, {"api_key_name": "OPENAI_API_KEY"}),
        )
        endpoints = [
            endpoint(server, f"{name}-{kind}", kind=kind, api_key=None, **others)
            for kind in KINDS
            for name, server, others in servers
        ]
        self.laboratory = Laboratory(quick_settings(folder, endpoints=endpoints))

    def ask(self, endpoint_name: str, prompt: str = SAGAN, **others: Any) -> Answered:
        """Ask an endpoint's model, by default with memory."""
        values: dict[str, Any] = {"strategy": "memory", "model_id": f"{endpoint_name}/gpt-4o-mini"}
        return self.laboratory.answer(Request(prompt=prompt, **values | others))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with (
        OpenAIServer(seed=1, api_key=VISITORS_KEY) as a,
        OpenAIServer(seed=2, api_key=NO_KEY) as b,
        OpenAIServer(seed=3, api_key=OPERATORS_KEY) as c,
    ):
        monkeypatch.setenv("OPENAI_API_KEY", OPERATORS_KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", a.base_url)
        monkeypatch.setenv("OPENAI_API_BASE", a.base_url)
        for name, value in ACCOUNT.items():
            monkeypatch.setenv(name, value)
        yield World(tmp_path, a, b, c)


def test_each_endpoint_gets_its_own_key_and_no_other(world: World) -> None:
    for kind in KINDS:
        assert world.ask(f"a-{kind}", visitor_key=VISITORS_KEY).measurement.stored
        assert world.ask(f"b-{kind}").measurement.stored
        assert world.ask(f"c-{kind}").measurement.stored
        assert world.ask(f"b-{kind}", visitor_key=None, bypass=True).measurement.failure is None
    assert {request.key for request in world.a.requests} == {VISITORS_KEY}
    assert {request.key for request in world.b.requests} == {NO_KEY}
    assert {request.key for request in world.c.requests} == {OPERATORS_KEY}
    assert [len(server.requests) for server in (world.a, world.b, world.c)] == [2, 4, 2]


def test_an_endpoint_that_needs_a_key_is_not_asked_without_one(world: World) -> None:
    for kind in KINDS:
        measured = world.ask(f"a-{kind}").measurement
        assert (measured.failure, measured.outcome, measured.stored) == ("no_key", "bypass", False)
        assert world.ask(f"a-{kind}", visitor_key="  ").measurement.failure == "no_key"
    assert not world.a.requests


def test_a_visitors_key_is_used_for_the_visitor_alone(world: World) -> None:
    for kind in KINDS:
        assert world.ask(f"c-{kind}", visitor_key=VISITORS_KEY).measurement.failure == "wrong_key"
        assert world.ask(f"c-{kind}").measurement.failure is None
        assert world.ask(f"a-{kind}", visitor_key=VISITORS_KEY).measurement.failure is None
        assert world.ask(f"a-{kind}", bypass=True).measurement.failure == "no_key"
    assert [request.key for request in world.c.requests] == [VISITORS_KEY, OPERATORS_KEY] * 2


def test_a_key_pasted_with_space_around_it_is_used_without(world: World) -> None:
    assert world.ask("a-chat", visitor_key=f"  {VISITORS_KEY}\n").measurement.stored
    assert world.a.requests[0].key == VISITORS_KEY


@pytest.mark.parametrize(
    "key", ["schlüssel-äöü-0123456789", "two words of a key", "line\nbreak-0123456", "nul\0-012345"]
)
def test_what_cannot_be_a_key_is_told_so_and_sent_nowhere(key: str, world: World) -> None:
    for kind in KINDS:
        measured = world.ask(f"a-{kind}", visitor_key=key).measurement
        assert measured.failure == "wrong_key"
        assert key not in repr(measured)
    assert not world.a.requests


def test_what_belongs_to_the_operators_account_goes_to_no_other_server(world: World) -> None:
    for kind in KINDS:
        world.ask(f"a-{kind}", visitor_key=VISITORS_KEY)
        world.ask(f"b-{kind}")
        world.ask(f"c-{kind}")
    for server in (world.a, world.b, world.c):
        for request in server.requests:
            assert not [value for value in request.headers.values() if "operator" in value and value.startswith("org")]
            assert not {"openai-organization", "openai-project"} & request.headers.keys()
            assert request.headers["user-agent"] != "header-of-the-operator"


@pytest.mark.parametrize("kind", KINDS)
def test_the_operators_account_is_named_to_openai_with_the_operators_key_alone(
    kind: Literal["chat", "completion"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", OPERATORS_KEY)
    for name, value in ACCOUNT.items():
        monkeypatch.setenv(name, value)
    at_openai = EndpointSettings(name="openai", kind=kind, models=["m"], api_key_name="OPENAI_API_KEY")
    models = Laboratory(quick_settings(tmp_path, endpoints=[at_openai])).models

    def client(visitor_key: str | None) -> Any:
        runnable: Any = models.get("openai/m", 0.5, visitor_key).runnable
        return runnable.root_client if kind == "chat" else runnable.client._client

    assert at_openai.base_url == OPENAI_URL
    assert (client(None).api_key, client(None).organization) == (OPERATORS_KEY, "org-of-the-operator")
    assert client(VISITORS_KEY).api_key == VISITORS_KEY
    assert (client(VISITORS_KEY).organization, client(VISITORS_KEY).project) == (None, None)


def test_no_key_appears_in_what_is_kept_logged_or_shown(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, "lab")
    caplog.set_level(logging.DEBUG, "cache_backends")
    shown: list[object] = []
    for kind in KINDS:
        for strategy in (*CACHES, NO_CACHE):
            for name, key in ((f"a-{kind}", VISITORS_KEY), (f"c-{kind}", None), (f"c-{kind}", VISITORS_KEY)):
                request = Request(
                    prompt=f"{SAGAN} {name} {key is None}",
                    strategy=strategy,
                    model_id=f"{name}/gpt-4o-mini",
                    visitor_key=key,
                )
                job = world.laboratory.start(request)
                assert job.wait(30)
                assert job.error is None
                shown += [request, job.result, vars(job), world.laboratory.models.get(request.model_id, 0.7, key)]
    newest = world.laboratory.history.newest("shared", 1000)
    assert list(newest["failure"].dropna()) == ["wrong_key"] * len(KINDS) * (len(CACHES) + 1)
    shown += [newest.to_csv(), caplog.text]
    kept = [content for _, content in files_below(tmp_path)]
    assert len(kept) > 5
    for key in (OPERATORS_KEY, VISITORS_KEY):
        for part in (key, key[3:19], key[-16:]):
            assert not [text for text in map(repr, shown) if part in text]
            assert not [content for content in kept if part.encode() in content]


@pytest.mark.parametrize("key", ["k-12345678", "sk-1", VISITORS_KEY, "a.key+with/signs*and(regex"])
def test_a_key_that_the_server_sends_back_in_its_message_is_taken_out(key: str, tmp_path: Path, world: World) -> None:
    for kind in KINDS:
        answered = world.ask(f"c-{kind}", visitor_key=key)
        detail = answered.measurement.detail
        assert detail is not None
        assert detail.startswith("Incorrect API key provided: [redacted]")
        for part in (key, key[:8]):
            assert part not in repr(answered)
    assert not [path for path, content in files_below(tmp_path) if key.encode() in content]


def test_a_servers_own_key_is_taken_out_of_messages_too(tmp_path: Path) -> None:
    with OpenAIServer(api_key="another-key") as server:
        settings = quick_settings(tmp_path, endpoints=[endpoint(server, api_key="op-secret")])
        request = Request(prompt=SAGAN, strategy="memory", model_id="local/gpt-4o-mini")
        measured = Laboratory(settings).answer(request).measurement
    assert measured.failure == "wrong_key"
    assert "op-secret" not in repr(measured)


def test_what_an_answered_request_remembers_has_no_key(world: World) -> None:
    answered = world.ask("a-chat", visitor_key=VISITORS_KEY)
    assert answered.request.visitor_key is None
    assert answered.request.prompt == SAGAN
