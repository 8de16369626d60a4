"""The OpenAI paths, end to end: the real clients of `langchain_openai` against a server on the loopback address."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from cache_backends import CacheBackend
from lab.laboratory import Laboratory, Request
from lab.measurement import FailureKind, Measurement, WhyNotStored
from lab.prices import estimated_tokens
from lab.settings import PriceSettings
from lab.strategies import NO_CACHE
from tests.lab.building import CACHES, OURS, SAGAN, endpoint, quick_settings
from tests.openai_server import Kind, OpenAIServer

EndpointKind = Literal["chat", "completion"]
ENDPOINTS: tuple[EndpointKind, ...] = ("chat", "completion")
FAILURES: dict[Kind, FailureKind] = {
    Kind.DROPPED: "connection_lost",
    Kind.NOT_JSON: "bad_answer",
    Kind.HTML: "bad_answer",
    Kind.ERROR_IN_BODY: "server_error",
    Kind.RATE_LIMITED: "rate_limited",
    Kind.NO_QUOTA: "quota_used_up",
    Kind.SERVER_ERROR: "server_error",
    Kind.UNAVAILABLE: "server_error",
    Kind.BAD_GATEWAY: "server_error",
    Kind.WRONG_KEY: "wrong_key",
    Kind.UNKNOWN_MODEL: "unknown_model",
    Kind.UNKNOWN_URL: "unknown_model",
    Kind.CONTEXT_TOO_LONG: "prompt_too_long",
    Kind.BAD_REQUEST: "bad_request",
}
NOT_STORED: dict[Kind, WhyNotStored] = {
    Kind.LENGTH: "truncated",
    Kind.EMPTY: "empty",
    Kind.SILENT_CUT: "no_finish",
}
HELD = (Kind.SLOW, Kind.STALLED)
PRICE = PriceSettings(input_usd_per_million=3, output_usd_per_million=5)


@dataclass(frozen=True)
class Bench:
    """A laboratory with one endpoint, and the server behind it."""

    laboratory: Laboratory
    server: OpenAIServer

    def ask(self, prompt: str = SAGAN, strategy: str = "memory", **others: Any) -> Measurement:
        """Ask the endpoint's model."""
        request = Request(prompt=prompt, strategy=strategy, model_id="local/gpt-4o-mini", **others)
        return self.laboratory.answer(request).measurement

    def entries(self, strategy: str) -> int:
        """How many answers a strategy holds."""
        namespace = self.laboratory.namespace("shared", "local/gpt-4o-mini")
        cache = self.laboratory.strategies.get(strategy, namespace).cache
        return cache.stats().entries if isinstance(cache, CacheBackend) else 0


def made(folder: Path, server: OpenAIServer, kind: EndpointKind, **others: Any) -> Bench:
    settings = quick_settings(
        folder, endpoints=[endpoint(server, kind=kind, **others)], prices={"gpt-4o-mini": PRICE}, data_dir=folder
    )
    return Bench(Laboratory(settings), server)


@pytest.fixture(params=ENDPOINTS)
def kind(request: pytest.FixtureRequest) -> EndpointKind:
    """Chat and completion."""
    found: EndpointKind = request.param
    return found


@pytest.fixture
def bench(tmp_path: Path, server: OpenAIServer, kind: EndpointKind) -> Bench:
    return made(tmp_path, server, kind)


def test_every_kind_of_the_server_is_expected_here() -> None:
    assert {*FAILURES, *NOT_STORED, *HELD, Kind.OK, Kind.TOOL_CALLS} == set(Kind)


def test_a_real_client_misses_then_hits_without_another_request(bench: Bench) -> None:
    for number, name in enumerate(CACHES, start=1):  # one client for all: building one takes 0.2 s
        first, again = bench.ask(strategy=name), bench.ask(strategy=name)
        assert (first.outcome, first.failure, first.stored) == ("miss", None, True), name
        assert (again.outcome, again.failure) == ("hit", None), name
        assert again.answer == first.answer
        assert "ação 数 🚀" in first.answer
        assert len(bench.server.requests) == number
        assert bench.server.requests[-1].body["stream"] is True


def test_without_a_cache_and_with_bypass_the_server_is_asked_each_time(bench: Bench) -> None:
    answers = [bench.ask(strategy=NO_CACHE).answer, bench.ask(strategy=NO_CACHE).answer]
    answers += [bench.ask(bypass=True).answer, bench.ask().answer]
    assert len(set(answers)) == len(bench.server.requests) == 4


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_server_does_each_request_ends_as_it_must(seed: int, kind: EndpointKind, tmp_path: Path) -> None:
    faults: list[str] = [*FAILURES, *NOT_STORED, Kind.TOOL_CALLS]
    weights = dict.fromkeys(faults, 1.0) | {Kind.OK: 4.0}
    rng = random.Random(seed)
    with OpenAIServer(seed=seed, weights=weights) as server:
        bench = made(tmp_path, server, kind)
        for number in range(25):
            prompt, strategy = f"Question {number}", rng.choice(CACHES)
            held, sent = bench.entries(strategy), len(server.requests)
            asked = bench.ask(prompt, strategy)
            assert len(server.requests) == sent + 1
            served = server.requests[-1].kind
            check(asked, served, ours=strategy in OURS)
            assert bench.entries(strategy) == held + (asked.stored and strategy in OURS)
            newest = bench.laboratory.history.newest("shared", 1).iloc[0]
            assert (newest["prompt"], newest["failure"], newest["detail"]) == (prompt, asked.failure, asked.detail)
            server.next(Kind.OK)
            again = bench.ask(prompt, strategy)
            assert again.failure is None
            if asked.stored:
                assert (again.outcome, again.answer) == ("hit", asked.answer)
                assert len(server.requests) == sent + 1
            else:
                assert (again.outcome, again.stored) == ("miss", True)
                assert len(server.requests) == sent + 2
        totals = bench.laboratory.history.totals("shared")
        failed = [request for request in server.requests if request.kind in FAILURES]
        assert (totals.requests, totals.failures) == (50, len(failed))


def check(asked: Measurement, served: Kind, *, ours: bool) -> None:
    """A request that was served in this way must have been measured so."""
    assert asked.outcome == "miss"
    assert asked.failure == FAILURES.get(served), (served, asked.failure, asked.detail)
    if served in FAILURES:
        assert (asked.stored, asked.not_stored, asked.answer) == (False, "no_answer", "")
        assert asked.shown_outcome == "error"
        assert asked.detail
        assert (asked.cost_usd, asked.input_tokens, asked.tokens_estimated) == (None, None, False)
    elif served in NOT_STORED and (ours or served is Kind.SILENT_CUT):
        assert (asked.stored, asked.not_stored) == (False, NOT_STORED[served])
        assert (asked.answer == "") == (served is Kind.EMPTY)
    else:
        assert (asked.stored, asked.not_stored) == (True, None)


def test_after_each_fault_nothing_is_stored_and_the_next_try_works(bench: Bench) -> None:
    for number, fault in enumerate([*FAILURES, *NOT_STORED]):
        bench.server.next(fault)
        asked = bench.ask(fault)
        check(asked, fault, ours=True)
        assert bench.entries("memory") == number
        recorded = bench.laboratory.history.newest("shared", 1).iloc[0]
        assert (recorded["failure"], recorded["not_stored"]) == (asked.failure, asked.not_stored)
        assert bench.ask(fault).stored
        assert bench.ask(fault).outcome == "hit"


@pytest.mark.parametrize("held", HELD)
def test_a_server_that_is_too_slow_is_a_timeout(
    held: Kind, kind: EndpointKind, server: OpenAIServer, tmp_path: Path
) -> None:
    impatient = made(tmp_path / "impatient", server, kind, timeout_s=0.2)
    server.next(held)
    asked = impatient.ask()
    assert (asked.failure, asked.stored, asked.not_stored) == ("timeout", False, "no_answer")
    assert impatient.entries("memory") == 0
    server.release()
    assert made(tmp_path / "patient", server, kind).ask().stored


def test_an_answer_stopped_after_its_first_token_is_not_stored(bench: Bench) -> None:
    tokens: list[str] = []
    stop = False

    def on_token(token: str) -> None:
        nonlocal stop
        tokens.append(token)
        stop = True

    request = Request(prompt=SAGAN, strategy="sqlite", model_id="local/gpt-4o-mini")
    asked = bench.laboratory.answer(request, on_token=on_token, stopping=lambda: stop).measurement
    assert (asked.failure, asked.stored) == ("stopped", False)
    assert len(tokens) == 1
    assert bench.entries("sqlite") == 0
    assert bench.ask(strategy="sqlite").outcome == "miss"


def test_a_server_that_is_not_there_is_unreachable(kind: EndpointKind, tmp_path: Path) -> None:
    with OpenAIServer() as server:
        bench = made(tmp_path, server, kind)
    asked = bench.ask()
    assert (asked.failure, asked.outcome, asked.stored) == ("unreachable", "miss", False)


def test_an_address_without_its_path_is_told_as_an_unknown_model_or_address(
    kind: EndpointKind, server: OpenAIServer, tmp_path: Path
) -> None:
    bench = made(tmp_path, server, kind, base_url=server.base_url.removesuffix("/v1"))
    asked = bench.ask()
    assert asked.failure == "unknown_model"
    assert asked.detail is not None
    assert "Invalid URL" in asked.detail


def test_a_prompt_beyond_the_context_window_is_told_so(kind: EndpointKind, tmp_path: Path) -> None:
    with OpenAIServer(context_window=10) as server:
        assert made(tmp_path, server, kind).ask("long " * 100).failure == "prompt_too_long"


def test_a_chat_model_counts_its_tokens_and_they_are_priced(server: OpenAIServer, tmp_path: Path) -> None:
    bench = made(tmp_path, server, "chat")
    miss, hit = bench.ask(), bench.ask()
    assert not miss.tokens_estimated
    assert miss.input_tokens == (len(SAGAN) + 3) // 4
    assert miss.output_tokens == (len(miss.answer) + 3) // 4
    cost = (miss.input_tokens * 3 + miss.output_tokens * 5) / 1_000_000
    assert miss.cost_usd == pytest.approx(cost)
    assert hit.cost_usd == 0
    assert hit.saved_usd == pytest.approx(cost)


def test_the_tokens_of_a_completion_are_estimated_and_say_so(server: OpenAIServer, tmp_path: Path) -> None:
    bench = made(tmp_path, server, "completion")
    miss, hit = bench.ask(), bench.ask()
    for each in (miss, hit):
        assert each.tokens_estimated
        assert each.input_tokens == estimated_tokens(SAGAN)
        assert each.output_tokens == estimated_tokens(miss.answer)
    assert miss.cost_usd
    assert hit.saved_usd == miss.cost_usd


def test_a_server_that_gives_no_usage_has_its_tokens_estimated(server: OpenAIServer, tmp_path: Path) -> None:
    bench = made(tmp_path, server, "chat", stream_usage=False)
    asked = bench.ask()
    assert asked.tokens_estimated
    assert asked.output_tokens == estimated_tokens(asked.answer)


def test_the_tokens_come_one_by_one_and_the_first_is_timed(bench: Bench) -> None:
    tokens: list[str] = []
    request = Request(prompt=SAGAN, strategy="json", model_id="local/gpt-4o-mini")
    answered = bench.laboratory.answer(request, on_token=tokens.append).measurement
    assert len(tokens) > 5
    assert "".join(tokens) == answered.answer
    assert answered.first_token_s is not None
    assert 0 < answered.first_token_s <= answered.total_s


def test_two_servers_with_the_same_model_name_never_share_an_answer(kind: EndpointKind, tmp_path: Path) -> None:
    with OpenAIServer(seed=1) as here, OpenAIServer(seed=2) as there:
        settings = quick_settings(
            tmp_path, endpoints=[endpoint(here, "here", kind=kind), endpoint(there, "there", kind=kind)]
        )
        laboratory = Laboratory(settings)

        def ask(place: str, name: str) -> Measurement:
            request = Request(prompt=SAGAN, strategy=name, model_id=f"{place}/gpt-4o-mini")
            return laboratory.answer(request).measurement

        for number, name in enumerate(CACHES, start=1):
            first, other, first_again, other_again = (ask(place, name) for place in ("here", "there") * 2)
            assert [first.outcome, other.outcome] == ["miss", "miss"], name
            assert [first_again.outcome, other_again.outcome] == ["hit", "hit"], name
            assert "of server 1" in first.answer
            assert "of server 2" in other.answer
            assert (first_again.answer, other_again.answer) == (first.answer, other.answer)
            assert len(here.requests) == len(there.requests) == number


def test_a_laboratory_made_anew_finds_what_was_stored(bench: Bench, kind: EndpointKind) -> None:
    anew = made(bench.laboratory.settings.data_dir, bench.server, kind)
    for name in CACHES:
        first, again = bench.ask(strategy=name), anew.ask(strategy=name)
        assert again.key == first.key
        if name in ("memory", "langchain-memory"):
            assert again.outcome == "miss", name
        else:
            assert (again.outcome, again.answer) == ("hit", first.answer), name
