"""Several visitors at once: what they share, and what none of them sees of another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from lab.ask import FLIGHTS
from lab.laboratory import Request
from tests.cache_backends.flights import LONG_S, until
from tests.lab.building import Gate
from tests.openai_server import OpenAIServer
from tests.pages.conftest import Configure, Visit
from ui.session import laboratory

SAGAN = "Who was Carl Sagan?"
STRATEGIES = ("memory", "sqlite", "json", "langchain-memory")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_shared_an_answer_of_one_visitor_is_a_hit_for_the_other(visit: Visit, strategy: str) -> None:
    one, other = visit(strategy=strategy), visit(strategy=strategy)
    one.ask(SAGAN)
    other.ask(SAGAN)
    assert (one.outcome, other.outcome) == ("miss", "hit")
    assert other.answer == one.answer
    assert other.figure("Requests") == "2"
    assert "All visitors of this app share its caches and its history." in one.text


@pytest.mark.parametrize(
    ("locale", "says", "outcome", "avoided"),
    [
        ("en-US", "this request waited for that answer and shares it", "Shared", "by 1 call avoided"),
        ("pt-BR", "esta requisição esperou por essa resposta e a compartilha", "Compartilhado", "evitou 1 chamada"),
    ],
)
def test_shared_who_asks_what_is_being_answered_waits_and_pays_nothing(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, locale: str, says: str, outcome: str, avoided: str
) -> None:
    gate, visitor = Gate(), visit(locale=locale)
    model = laboratory().models.get("simulated", 0.7)
    gated = replace(model, runnable=model.runnable.model_copy(update={"sleep": gate}))
    monkeypatch.setattr(laboratory().models, "get", lambda *_: gated)

    def release() -> None:
        until(lambda: FLIGHTS.waiting == 1)
        gate.opened.set()

    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(laboratory().answer, Request(prompt=SAGAN, strategy="memory", model_id="simulated"))
        until(lambda: gate.calls == 1)
        released = pool.submit(release)
        visitor.ask(SAGAN)
        released.result(LONG_S)
        measured = other.result(LONG_S).measurement
    assert visitor.outcome == "shared"
    assert measured.answer.split("\n")[0] in visitor.answer
    assert visitor.measurement.saved_usd == measured.cost_usd
    assert says in visitor.text
    assert visitor.at.success[0].value.count("US") == 1
    assert outcome in set(visitor.at.dataframe[0].value["outcome"])
    (money,) = [metric for metric in visitor.at.metric if metric.delta == avoided]
    assert money.value != "–"
    visitor.assert_sound()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_private_each_visitor_has_entries_and_a_history_of_their_own(
    visit: Visit, configure: Configure, strategy: str
) -> None:
    configure("sharing: private\n")
    one, other = visit(strategy=strategy), visit(strategy=strategy)
    one.ask(SAGAN).click("ask_again")
    other.ask(SAGAN)
    assert (one.outcome, other.outcome) == ("hit", "miss")
    assert other.answer != one.answer
    assert (one.look().figure("Requests"), other.figure("Requests")) == ("2", "1")
    assert "Your cache and history are yours alone" in one.text


def test_private_a_restart_and_a_cleared_history_touch_nobody_else(visit: Visit, configure: Configure) -> None:
    configure("sharing: private\n")
    one, other = visit().ask(SAGAN), visit().ask(SAGAN)
    one.click("restart").click("clear_history")
    assert other.click("ask_again").outcome == "hit"
    assert other.figure("Requests") == "2"
    assert one.click("ask_again").outcome == "miss"


def test_what_one_visitor_chooses_the_other_does_not_see(visit: Visit) -> None:
    one, other = visit(), visit()
    one.choose(strategy="json", temperature=1.5, ttl="1h", lang="pt-BR", bypass=True)
    other.look()
    chosen = {key: other.at.session_state[key] for key in ("strategy", "temperature", "ttl", "lang", "bypass")}
    assert chosen == {"strategy": "memory", "temperature": 0.7, "ttl": "none", "lang": "en", "bypass": False}
    assert other.outcome == "none"


def test_two_visitors_with_different_languages_never_see_the_others(visit: Visit) -> None:
    english, portuguese = visit(locale="en-US"), visit(locale="pt-BR")
    for _ in range(2):
        english.ask(SAGAN)
        portuguese.ask(SAGAN)
        assert "Found in the cache" in english.look().click("ask_again").text
        assert "Encontrada no cache" in portuguese.look().click("ask_again").text
        assert english.at.title[0].value == "Playground"
        assert portuguese.at.title[0].value != "Playground"


def test_a_key_field_is_there_only_for_models_that_lack_a_key(visit: Visit, configure: Configure) -> None:
    configure(
        "endpoints:\n"
        "  - {name: lacking, models: [m], base_url: 'http://127.0.0.1:9/v1'}\n"
        "  - {name: keyed, models: [m], base_url: 'http://127.0.0.1:9/v1', api_key: sk-of-the-server}\n"
        "  - {name: open, models: [m], base_url: 'http://127.0.0.1:9/v1', needs_key: false}\n"
    )
    visitor = visit()
    fields = {
        model: [key for key in visitor.choose(model=model).keys if key.startswith("api_key_")]
        for model in ("simulated", "lacking/m", "keyed/m", "open/m")
    }
    assert fields == {"simulated": [], "lacking/m": ["api_key_lacking"], "keyed/m": [], "open/m": []}
    assert "sk-of-the-server" not in visitor.everything


def test_a_visitors_key_reaches_its_server_and_no_page(visit: Visit, configure: Configure) -> None:
    key = "sk-typed-by-a-visitor-0123456789"
    with OpenAIServer(api_key=key) as server, OpenAIServer(seed=2) as second:
        configure(
            "endpoints:\n"
            f"  - {{name: first, models: [m], base_url: '{server.base_url}'}}\n"
            f"  - {{name: second, models: [m], base_url: '{second.base_url}'}}\n"
        )
        one, other = visit(model="first/m"), visit(model="first/m")
        one.choose(api_key_first=key).ask(SAGAN)
        assert one.outcome == "miss"
        assert [request.key for request in server.requests] == [key]
        assert "api_key_first" in one.keys
        assert key not in one.everything
        other.ask("Who was Neil Armstrong?")
        assert other.outcome == "error"
        assert not other.widget("api_key_first").value
        one.choose(model="second/m").ask(SAGAN)
        assert one.outcome == "error"
        assert "This model needs a key." in one.text
        assert not second.requests
        assert len(server.requests) == 1
    for visitor in (one, other):
        assert key not in visitor.everything
        assert key not in visitor.text
        assert key not in str(visitor.at.query_params)
        assert key not in repr(visitor.at.session_state["asking"])


def test_a_wrong_key_is_explained_without_showing_it(visit: Visit, configure: Configure) -> None:
    with OpenAIServer() as server:
        configure(f"endpoints:\n  - {{name: local, models: [m], base_url: '{server.base_url}'}}\n")
        visitor = visit(model="local/m").choose(api_key_local="sk-wrong-000000000000").ask(SAGAN)
    assert visitor.outcome == "error"
    assert "The server does not accept this key." in visitor.text
    assert "sk-wrong" not in visitor.everything
