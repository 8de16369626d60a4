"""The playground when something is wrong: with the prompt, the settings, the stores or the model."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import apsw
import pytest

import lab.jobs
from cache_backends import CacheBackend
from tests.openai_server import OpenAIServer
from tests.pages.conftest import Configure, Visit
from ui.session import laboratory

SAGAN = "Who was Carl Sagan?"


@pytest.mark.parametrize("prompt", [" ", "\n\t  \n"])
def test_a_blank_prompt_is_answered_with_a_sentence(visit: Visit, prompt: str) -> None:
    visitor = visit().ask(prompt)
    assert visitor.outcome == "mistake"
    assert "The prompt is empty" in visitor.text
    assert visitor.figure("Requests") == "0"


def test_a_prompt_that_is_too_long_is_offered_back(visit: Visit, configure: Configure) -> None:
    configure("max_prompt_chars: 100\n")
    long = "long " * 30
    visitor = visit().ask(long)
    assert visitor.outcome == "mistake"
    assert "The prompt has 150 characters, and at most 100 are allowed." in visitor.text
    assert visitor.widget("rejected_prompt").value == long
    assert visitor.ask(SAGAN).outcome == "miss"


def test_a_mistake_leaves_the_answer_before_it_on_the_page(visit: Visit) -> None:
    visitor = visit().ask(SAGAN)
    visitor.ask(" ")
    assert {"outcome_mistake", "outcome_miss"} <= set(visitor.keys)


@pytest.mark.parametrize("strategy", ["memory", "sqlite", "json"])
def test_nul_in_a_prompt_is_asked_kept_and_shown(visit: Visit, strategy: str) -> None:
    visitor = visit(strategy=strategy).ask("Who\0was?")
    assert visitor.outcome == "miss"
    assert visitor.click("ask_again").outcome == "hit"
    assert visitor.assert_sound().measurement.prompt == "Who\0was?"


def test_markup_in_a_prompt_is_shown_as_it_is(visit: Visit) -> None:
    visitor = visit().ask("![x](https://example.org/x.png) $a$ :red[b] <b>")
    shown = next(caption.value for caption in visitor.at.caption if "example" in caption.value)
    assert r"\!\[x\]\(http:small[]s\:" in shown
    assert r"\$a\$" in shown
    assert r"\:red\[b\]" in shown


def test_one_request_too_many_is_not_begun_and_its_text_is_offered_back(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visit()
    monkeypatch.setattr(lab.jobs, "MAX_RUNNING", 0)
    visitor.ask(SAGAN)
    assert "So many requests are running" in visitor.text
    assert visitor.widget("rejected_prompt").value == SAGAN
    visitor.click("guided_demo")
    assert "So many requests are running" in visitor.text
    visitor.assert_sound()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data_dir: [1", "is not valid YAML"),
        ("strategy: memory", "unknown key"),
        ("max_prompt_chars: many", "max_prompt_chars"),
        ("- a\n- b", "must hold keys and values"),
        ("strategies:\n  - {name: x, url: 'memory://', langchain: a.B}", "strategies.0"),
    ],
)
def test_broken_settings_are_explained_and_nothing_else_is_shown(
    visit: Visit, configure: Configure, text: str, said: str
) -> None:
    configure().write_text(text)
    visitor = visit()
    assert [title.value for title in visitor.at.title] == ["The settings have a mistake"]
    assert said in visitor.text
    assert "Correct the file and reload this page." in visitor.text
    assert "prompt" not in visitor.keys


def test_corrected_settings_are_taken_without_a_restart(visit: Visit, configure: Configure) -> None:
    path = configure()
    right = path.read_text()
    path.write_text("{")
    visitor = visit()
    path.write_text(right)
    assert visitor.look().ask(SAGAN).outcome == "miss"


@pytest.mark.parametrize(
    "address",
    [
        {"strategy": "<script>alert(1)</script>"},
        {"strategy": ""},
        {"model": "../../x"},
        {"temperature": "abc"},
        {"temperature": "1e999"},
        {"temperature": "nan"},
        {"ttl": "-1"},
        {"lang": "xx"},
        {"strategy": "none\0", "model": "openai/", "temperature": "", "ttl": "1y", "lang": "../en"},
    ],
)
def test_unknown_values_in_a_link_fall_back(visit: Visit, address: dict[str, str]) -> None:
    visitor = visit(**address)
    chosen = {key: visitor.at.session_state[key] for key in ("strategy", "model", "temperature", "ttl", "lang")}
    assert chosen == {"strategy": "memory", "model": "simulated", "temperature": 0.7, "ttl": "none", "lang": "en"}
    assert visitor.ask(SAGAN).outcome == "miss"


def test_known_values_in_a_link_are_chosen(visit: Visit) -> None:
    visitor = visit(strategy="json", temperature="0.2", ttl="1h", lang="pt-BR")
    chosen = {key: visitor.at.session_state[key] for key in ("strategy", "temperature", "ttl", "lang")}
    assert chosen == {"strategy": "json", "temperature": 0.2, "ttl": "1h", "lang": "pt-BR"}


def test_without_a_usable_data_folder_the_model_answers_all_the_same(
    visit: Visit, configure: Configure, data_dir: Path
) -> None:
    data_dir.write_text("a file where the folder should be")
    configure()
    visitor = visit(strategy="sqlite")
    assert "This strategy can't be used now" in visitor.text
    assert "Something happened to a store" in visitor.text
    visitor.ask(SAGAN)
    assert visitor.outcome == "error"
    assert "The store of this strategy can't be opened." in visitor.text
    for strategy, outcome in (("none", "bypass"), ("memory", "miss")):
        assert visitor.choose(strategy=strategy).click("ask_again").outcome == outcome
        assert "Carl Sagan" in visitor.answer
    assert visitor.assert_sound().figure("Requests") == "3"


def test_the_guided_demo_says_why_it_could_not_be_played_whole(
    visit: Visit, configure: Configure, data_dir: Path
) -> None:
    data_dir.write_text("")
    configure()
    visitor = visit().click("guided_demo")
    assert (
        "could not be played whole on SQLite, JSON files: The store of this strategy can't be opened." in visitor.text
    )
    visitor.assert_sound()


def test_a_damaged_sqlite_file_is_set_aside_with_a_notice(visit: Visit, configure: Configure, data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "cache.db").write_bytes(b"This was a database once. " * 1000)
    configure()
    visitor = visit(strategy="sqlite").look()
    assert "Something happened to a store" in visitor.text
    assert visitor.ask(SAGAN).outcome == "miss"
    assert visitor.click("ask_again").outcome == "hit"


def test_a_damaged_history_is_set_aside_with_a_notice(visit: Visit, configure: Configure, data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "history.db").write_bytes(b"This was a history once. " * 1000)
    configure()
    visitor = visit().ask(SAGAN)
    assert "Something happened to a store" in visitor.text
    assert visitor.figure("Requests") == "1"


def test_a_damaged_json_file_is_a_miss_that_says_so(visit: Visit, data_dir: Path) -> None:
    visitor = visit(strategy="json").ask(SAGAN)
    (stored,) = (path for path in (data_dir / "answers").rglob("*.json") if visitor.measurement.key in path.name)
    stored.write_text(stored.read_text().replace("Sagan", "Nobody"))
    visitor.click("ask_again")
    assert visitor.outcome == "corrupt"
    assert "The stored answer was damaged and has been set aside" in visitor.text
    assert visitor.click("ask_again").outcome == "hit"


def test_an_unreachable_model_is_explained_recorded_and_nothing_is_stored(visit: Visit, configure: Configure) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: whoever connects is refused
        port = unused.getsockname()[1]
        configure(
            "endpoints:\n  - {name: local, models: [tiny], needs_key: false, "
            f"base_url: 'http://127.0.0.1:{port}/v1'}}\n"
        )
        visitor = visit(model="local/tiny").ask(SAGAN)
    assert visitor.outcome == "error"
    assert "The server can't be reached. Check its address and that it is running." in visitor.text
    assert "Trying again may help." in visitor.text
    assert "There is no answer, and nothing was stored." in visitor.text
    row = visitor.at.dataframe[0].value.iloc[0]
    assert row["outcome"] == "Error"
    assert "can't be reached" in row["failure"]
    store = laboratory().strategies.get("memory", laboratory().namespace("shared", "local/tiny")).cache
    assert isinstance(store, CacheBackend)
    assert store.stats().entries == 0


def test_a_first_request_that_could_not_even_be_asked_leaves_a_sound_page(visit: Visit) -> None:
    visitor = visit(model="openai/gpt-4o-mini").ask(SAGAN)
    assert visitor.outcome == "error"
    assert "This model needs a key." in visitor.text
    assert "No request has been timed yet." in visitor.text
    assert visitor.figure("Total") == "–"
    assert visitor.at.dataframe[0].value["total_s"].isna().all()
    visitor.assert_sound()


def test_an_answer_in_the_making_can_be_watched_and_stopped(visit: Visit, configure: Configure) -> None:
    with OpenAIServer() as server:
        configure(
            "endpoints:\n  - {name: local, models: [tiny], "
            f"base_url: '{server.base_url}', api_key: '{server.api_key}'}}\n"
        )
        server.next("stalled")
        visitor = visit(model="local/tiny").choose(prompt=SAGAN)
        assert server.wait_until_held()
        visitor.look()
        assert visitor.outcome == "running"
        assert "Asking the model" in visitor.everything
        visitor.widget("stop_answer").click()
        visitor.look()
        server.release()
        visitor.wait()
        assert visitor.outcome == "error"
        assert "The answer was stopped." in visitor.text
        assert visitor.click("ask_again").outcome == "miss"


def test_a_data_folder_that_is_removed_meanwhile_is_made_again(visit: Visit) -> None:
    visitor = visit(strategy="sqlite").ask(SAGAN)
    shutil.rmtree(laboratory().settings.data_dir)
    assert visitor.ask("Who was Neil Armstrong?").outcome == "miss"
    assert visitor.click("ask_again").outcome == "hit"
    visitor.assert_sound()


@pytest.mark.parametrize(
    ("column", "value"), [("total_s", "abc"), ("failure", "zzz"), ("strategy", b"\xff\x00"), ("total_s", 9e999)]
)
def test_an_odd_row_in_the_history_never_breaks_the_page(visit: Visit, column: str, value: object) -> None:
    visitor = visit().ask(SAGAN)
    connection = apsw.Connection(str(laboratory().settings.data_dir / "history.db"))
    connection.execute(f"update measurements set {column} = ?", (value,))
    connection.close()
    visitor.look()
    assert not visitor.at.exception
    assert visitor.ask("Who was Neil Armstrong?").outcome == "miss"
