"""The health panel of the guide: it invites, is watched, can be stopped, and shows what was found out."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest

import lab.jobs
from tests.lab.made_up_server import LONG_S, MadeUpServer
from tests.pages.conftest import Configure, Visit
from tests.pages.visitor import Visitor, as_read

URL = "redis://app:hunter2secret@cache:6379/0"
SAGAN = "Who was Carl Sagan?"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, configure: Configure) -> Iterator[MadeUpServer]:
    """A server that the environment names."""
    made = MadeUpServer().install(monkeypatch)
    monkeypatch.setenv("REDIS_URL", URL)
    configure()
    yield made
    made.let_go()


def panel(visitor: Visitor) -> Visitor:
    """Go to it."""
    return visitor.go("guide").choose(guide_section="health").assert_sound()


def rows(visitor: Visitor) -> pd.DataFrame:
    """What the panel says of each strategy, by its name."""
    columns = ("title", "now", "may_lose", "holds", "trial")
    names = [key.removeprefix("health_") for key in visitor.keys if key.startswith("health_")]
    found = {
        name: [as_read(shown.value).replace("\u00a0", " ") for shown in visitor.widget(f"health_{name}").markdown]
        for name in names
        if name not in ("check", "stop", "result")
    }
    return pd.DataFrame.from_dict(found, orient="index", columns=columns)


def test_before_the_first_check_it_invites(visit: Visit) -> None:
    visitor = panel(visit())
    assert "Nothing was checked yet." in visitor.text
    assert "health_result" in visitor.keys
    assert rows(visitor).empty
    assert not visitor.widget("health_check").disabled
    assert visitor.widget("health_stop").disabled


def test_a_check_tells_of_every_strategy(visit: Visit, server: MadeUpServer) -> None:
    visitor = panel(visit(strategy="sqlite").ask(SAGAN)).click("health_check").assert_sound()
    found = rows(visitor)
    assert list(found.index) == ["memory", "sqlite", "json", "langchain-memory", "langchain-sqlite", "redis"]
    assert found.loc["redis", "title"] == "**:material/dns: Redis**"
    redis, sqlite = found.loc["redis"], found.loc["sqlite"]
    assert "Answers" in redis["now"]
    assert ", median of 5" in redis["now"]
    assert "Redis 7.0.15" in redis["now"]
    assert "A crash may lose the last second." in redis["may_lose"]
    assert "appendonly yes, appendfsync everysec" in redis["may_lose"]
    assert "Kept" in redis["trial"]
    assert "0 answers" in redis["holds"]
    assert "1 answer " in sqlite["holds"]
    assert "synchronous=NORMAL" in sqlite["may_lose"]
    assert found.loc["langchain-sqlite", "now"].startswith("LangChain's own caches can't be asked.")
    assert "Checked at 20" in visitor.everything


def test_one_that_is_down_is_told_with_its_reason_and_without_its_password(visit: Visit, server: MadeUpServer) -> None:
    server.down = f"{URL} does not answer"
    visitor = panel(visit()).click("health_check")
    redis = rows(visitor).loc["redis"]
    assert "Can't be reached" in redis["now"]
    assert "redis://app:[redacted]@cache:6379/0 does not answer" in redis["now"]
    assert list(redis.iloc[2:]) == ["–", "–", "–"]
    assert "hunter2secret" not in visitor.everything


def test_one_that_keeps_badly_is_told(visit: Visit, server: MadeUpServer) -> None:
    server.reads = lambda found: None
    assert "Stored, but not found again" in rows(panel(visit()).click("health_check")).loc["redis", "trial"]


def test_a_check_is_watched_and_stopped_while_a_server_hangs(visit: Visit, server: MadeUpServer) -> None:
    server.hangs.set()
    visitor = panel(visit())
    visitor.widget("health_check").click()
    visitor.look()
    assert server.asked.wait(LONG_S)
    visitor.look()
    assert visitor.widget("health_check").disabled
    assert "Strategy 6 of 6" in visitor.everything
    assert "Being checked" in rows(visitor).loc["redis", "now"]
    assert "Answers" in rows(visitor).loc["sqlite", "now"]
    visitor.widget("health_stop").click()
    visitor.look().wait()
    assert "Stopped at" in visitor.everything
    assert "Not checked" in rows(visitor).loc["redis", "now"]
    assert not visitor.widget("health_check").disabled


def test_what_was_found_out_is_still_there_after_another_page(visit: Visit) -> None:
    visitor = panel(visit()).click("health_check")
    before = rows(visitor)
    panel(visitor.go("playground"))
    pd.testing.assert_frame_equal(rows(visitor), before)


def test_one_check_too_many_is_not_begun(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = panel(visit())
    monkeypatch.setattr(lab.jobs, "MAX_RUNNING", 0)
    visitor.click("health_check")
    assert "So many requests are running" in visitor.text
    assert "Nothing was checked yet." in visitor.text


def test_of_another_sessions_entries_nothing_is_told(visit: Visit, configure: Configure) -> None:
    configure("sharing: private\n")
    visit(strategy="sqlite").ask(SAGAN)
    assert "0 answers" in rows(panel(visit()).click("health_check")).loc["sqlite", "holds"]
