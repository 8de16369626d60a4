"""The playground on a server that may be down, hang or come back: said in words, waited for by nobody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cache_backends import StoreAbout
from tests.lab.made_up_server import MadeUpServer
from tests.pages.conftest import Configure, Visit
from tests.pages.visitor import Visitor
from ui import ask_state
from ui.history_table import _csv
from ui.session import laboratory

SAGAN = "Who was Carl Sagan?"
URL = "redis://app:hunter2secret@cache:6379/0"
DOWN = "redis://cache:6379/0 does not answer: Connection refused."


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, configure: Configure) -> Iterator[MadeUpServer]:
    """A server that the environment names. Whether it answers is found out at once, unless a test says otherwise."""
    made = MadeUpServer().install(monkeypatch)
    monkeypatch.setenv("REDIS_URL", URL)
    configure()
    find_out(at_once=True)
    yield made
    made.let_go()


def find_out(*, at_once: bool) -> None:
    """Whether a server is asked in place of being asked in a thread, or not at all for now."""
    laboratory().strategies._reach._begin = (lambda work: work()) if at_once else (lambda _: None)


def warning(visitor: Visitor) -> str:
    """The one warning on the page."""
    (shown,) = visitor.at.warning
    return str(shown.value).replace("\\", "")


def test_a_server_of_the_environment_is_a_strategy_with_a_title(visit: Visit, server: MadeUpServer) -> None:
    visitor = visit(strategy="redis")
    options = visitor.widget("strategy").options
    assert options[-1] == "Redis"
    assert visitor.at.session_state["strategy"] == "redis"
    assert "Kept by Redis 7.0.15. A crash may lose the last second." in visitor.text
    assert not visitor.at.warning


def test_answers_on_a_server_are_kept_over_a_restart(visit: Visit, server: MadeUpServer) -> None:
    visitor = visit(strategy="redis").ask(SAGAN)
    assert visitor.outcome == "miss"
    assert visitor.click("ask_again").outcome == "hit"
    visitor.click("restart")
    assert "Restarted: Redis is connected to anew, and still holds what it held." in visitor.text
    assert visitor.click("ask_again").outcome == "hit"
    assert len(server.opened) == 2
    assert visitor.click("forget").click("ask_again").outcome == "miss"


def test_what_a_crash_loses_is_said_before_anything_is_asked(visit: Visit, server: MadeUpServer) -> None:
    server.about = StoreAbout("Redis", "7.0.15", "nothing", "appendonly no, no snapshots")
    assert "A crash or restart of the server loses everything." in visit(strategy="redis").text


def test_a_server_that_is_down_is_warned_of_with_the_reason(visit: Visit, server: MadeUpServer) -> None:
    server.down = DOWN
    assert warning(visit(strategy="redis")) == (
        "Redis can't be reached now. Answers come from the model all the same, and are not kept. The reason: " + DOWN
    )


def test_the_answer_comes_though_the_server_is_down_and_the_card_says_why_it_was_no_hit(
    visit: Visit, server: MadeUpServer
) -> None:
    visitor = visit(strategy="redis").ask(SAGAN)
    server.down = DOWN
    visitor.click("ask_again")
    assert visitor.outcome == "error"
    assert "The cache could not be asked: the model answered all the same, and its answer was not kept." in visitor.text
    assert f"Why it could not be asked: {DOWN}" in visitor.text
    assert "Carl Sagan" in visitor.answer
    assert "Stored: –" in visitor.text
    assert warning(visitor).endswith(DOWN), "the strategy says so as soon as the request has found it out"
    assert visitor.figure("Requests") == "2"
    assert visitor.widget("forget").disabled


def test_the_card_says_so_in_portuguese_too(visit: Visit, server: MadeUpServer) -> None:
    server.down = DOWN
    visitor = visit(locale="pt-BR", strategy="redis").ask("Quem foi Carl Sagan?")
    assert "Não foi possível consultar o cache: o modelo respondeu mesmo assim" in visitor.text
    assert f"Por que não foi possível consultá-lo: {DOWN}" in visitor.text
    assert "Não é possível acessar Redis agora." in warning(visitor)


def test_an_answer_that_only_could_not_be_looked_up_is_said_to_be_kept(visit: Visit, server: MadeUpServer) -> None:
    def fail_once(found: object) -> None:
        server.reads = lambda found: found
        raise ConnectionError("a dropped connection")

    visitor = visit(strategy="redis")
    server.reads = fail_once
    visitor.ask(SAGAN)
    assert visitor.outcome == "error"
    assert "The cache could not be asked, so the model answered all the same." in visitor.text
    assert "was not kept" not in visitor.text
    assert visitor.click("ask_again").outcome == "hit"


def test_a_server_that_is_back_is_used_again_without_a_restart(visit: Visit, server: MadeUpServer) -> None:
    server.down = DOWN
    visitor = visit(strategy="redis").ask(SAGAN)
    assert visitor.at.warning
    server.down = None
    assert visitor.click("ask_again").outcome == "miss"
    assert not visitor.at.warning
    assert visitor.click("ask_again").outcome == "hit"


def test_a_page_does_not_wait_for_a_server_that_hangs(visit: Visit, server: MadeUpServer) -> None:
    find_out(at_once=False)
    server.hangs.set()
    visitor = visit(strategy="redis")
    assert "Redis is being asked whether it is there." in visitor.text
    visitor.click("restart")
    assert "Restarted" in visitor.text
    visitor.choose(strategy="memory").ask(SAGAN)
    assert visitor.outcome == "miss"


def test_what_gives_no_answer_at_all_is_said_to(
    visit: Visit, server: MadeUpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_out(at_once=False)
    monkeypatch.setattr("lab.reach.SILENT_S", 0.0)
    assert warning(visit(strategy="redis")).endswith("It gives no answer at all.")


def test_forgetting_waits_for_no_server_that_hangs(
    visit: Visit, server: MadeUpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visit(strategy="redis").ask(SAGAN)
    monkeypatch.setattr(ask_state, "FORGET_S", 0.05)
    server.hangs.set()
    visitor.click("forget")
    assert "The cache has not answered yet. The answer is removed as soon as it does." in visitor.text
    server.let_go()
    laboratory().jobs.wait_for_all(30)
    assert visitor.click("ask_again").outcome == "miss"


def test_forgetting_where_the_server_is_down_says_why_it_failed(visit: Visit, server: MadeUpServer) -> None:
    visitor = visit(strategy="redis").ask(SAGAN)
    server.down = DOWN
    visitor.click("forget")
    assert DOWN in "".join(str(shown.value) for shown in visitor.at.error)


@pytest.mark.parametrize("locale", ["en-US", "pt-BR"])
def test_a_password_is_nowhere_on_the_pages_in_the_history_or_the_log(
    visit: Visit, server: MadeUpServer, caplog: pytest.LogCaptureFixture, locale: str
) -> None:
    server.down = f"{URL} said: wrong password hunter2secret"
    visitor = visit(locale=locale, strategy="redis").ask(SAGAN)
    shown = visitor.everything
    visitor.go("guide")
    for section in ("strategies", "data", "health"):
        shown += visitor.choose(guide_section=section).everything
    shown += visitor.click("health_check").everything
    shown += _csv(laboratory().history, "shared").decode()
    assert "hunter2secret" not in shown
    assert "[redacted]" in shown
    # The log of cache_backends speaks of what a driver said; what looks like a URL's password is not in it either.
    assert "app:hunter2secret" not in caplog.text


@pytest.mark.parametrize("url", ["localhost:6379", "redis://:hunter2/secret@cache", "sqlite:///x"])
def test_a_variable_that_cannot_be_used_is_listed_with_its_reason(
    visit: Visit, configure: Configure, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    configure()
    visitor = visit(strategy="redis")
    assert visitor.widget("strategy").options[-1] == "Redis"
    assert "This strategy can't be used now" in warning(visitor)
    assert "hunter2" not in visitor.ask(SAGAN).everything
    assert visitor.outcome == "error"
    assert visitor.go("guide").assert_sound()


def test_the_demo_is_played_on_servers_too(visit: Visit, server: MadeUpServer) -> None:
    visitor = visit().click("guided_demo")
    assert "the same question, 4 caches, one restart" in visitor.text
    assert "All 16 steps done" in visitor.everything
    assert (
        "After the restart, the answer was gone from Memory, and still there in SQLite, JSON files, Redis."
        in visitor.text
    )
    assert len(server.opened) == 2
    assert not server.entries.held, "it leaves nothing behind"


def test_the_demo_says_which_server_could_not_be_asked(visit: Visit, server: MadeUpServer) -> None:
    server.down = DOWN
    visitor = visit().click("guided_demo")
    assert "Could not be asked, so that the model answered: Redis." in visitor.text
    assert "still there in SQLite, JSON files." in visitor.text
    visitor.assert_sound()
