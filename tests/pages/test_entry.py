"""One entry: every part of it, whatever was stored; removed and put back, pinned, kept longer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from cache_backends import CacheEntry, CacheUnavailableError, MemoryCache, cache_key
from tests.lab.building import Clock
from tests.lab.entries import DOWN, fill, parameters
from tests.lab.transfers import SECRET, SECRETIVE
from tests.pages.conftest import Visit
from tests.pages.entries_page import NAMESPACE, be_patient, cache, click, link, on, put, rows, settled
from tests.pages.visitor import Visitor
from ui import entries_state, entry_changes
from ui.entries_state import UNDO_S
from ui.entry_view import LONGEST_SHOWN, PARTS
from ui.session import laboratory

IMAGE = "![x](https://evil.example/x.png)"
HOSTILE = (
    f"<script>alert(1)</script> <img src=x onerror=alert(1)> {IMAGE} [link](javascript:alert(1)) "
    "\u202ercs\u0645\u0631\u062d\u0628\u0627 \0 :material/bolt: :red[x] $x$ $$y$$\n\n---\n# big\n``` unclosed\n</div>"
)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What an undo is offered by."""
    made = Clock()
    for module in (entries_state, entry_changes):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=made, time=module.time.time))
    return made


class Changeable(MemoryCache):
    """A store that can be told to fail whatever is to be changed."""

    down = False

    def delete(self, *keys: str) -> int:
        self.fail()
        return super().delete(*keys)

    def pin(self, key: str, pinned: bool = True) -> bool:
        self.fail()
        return super().pin(key, pinned)

    def set_ttl(self, key: str, ttl: object) -> bool:
        self.fail()
        return super().set_ttl(key, ttl)  # type: ignore[arg-type]

    def restore(self, entry: CacheEntry) -> None:
        self.fail()
        super().restore(entry)

    def fail(self) -> None:
        if type(self).down:
            raise CacheUnavailableError(DOWN)


@pytest.fixture
def changeable(monkeypatch: pytest.MonkeyPatch) -> type[Changeable]:
    """The store of the strategy "memory", which fails once its class is `down`."""
    monkeypatch.setattr(Changeable, "down", False)
    laboratory().strategies._opened["memory", ""] = Changeable(namespace=NAMESPACE)
    return Changeable


def at(visit: Visit, key: str, **in_the_link: str) -> Visitor:
    """A visitor who opens an entry by its link."""
    return on(visit(), entry=key, **in_the_link)


def code(visitor: Visitor, key: str) -> str:
    """The text in a box to copy from."""
    return str(visitor.widget(key).code[0].value)


def entry(key: str) -> CacheEntry:
    found = cache().get(key)
    assert found is not None
    return found


# Read


@pytest.mark.parametrize("locale", ["en-US", "pt-BR"])
def test_every_part_has_a_link_of_its_own(visit: Visit, locale: str) -> None:
    key = put("Who was Carl Sagan?", "An **astronomer**.")
    for part in PARTS:
        visitor = on(visit(locale=locale), entry=key, entry_part=part)
        assert visitor.widget("entry_part").value == part
        assert link(visitor) == {"entry": key} | ({} if part == "answer" else {"entry_part": part})
        assert code(visitor, "entry_prompt") == "Who was Carl Sagan?"
        assert "memory of this process" in code(visitor, "entry_location")


def test_an_entry_tells_of_its_life(visit: Visit) -> None:
    key = put("question", hits=1_234, model_time_s=2.0, days_old=3.0)
    visitor = at(visit, key)
    assert visitor.figure("Hits") == "1,234"
    assert visitor.figure("Time left") == "For ever"
    assert "Model: **demo-1**" in visitor.text
    assert "Time saved by its hits: **41.1 min**" in visitor.text


@pytest.mark.parametrize("strategy", ["sqlite", "json"])
def test_it_says_where_the_entry_lies(visit: Visit, strategy: str, data_dir: Path) -> None:
    key = put("question", into=cache(strategy))
    visitor = at(visit, key, entries_strategy=strategy)
    assert str(data_dir) in code(visitor, "entry_location")


def test_stored_text_is_only_text_in_every_part(visit: Visit) -> None:
    llm_string = f"[('_type', 'demo'), ('model_name', 'demo-1'), ('note', {HOSTILE!r})]"
    key = put(HOSTILE, HOSTILE, llm_string=llm_string)
    for part in PARTS:
        visitor = at(visit, key, entry_part=part)
        assert "\0" not in visitor.everything
        for shown in visitor.at.markdown:
            assert not shown.proto.allow_html
            assert "![" not in shown.value
            assert ":material/bolt:" not in shown.value
            assert ":red[" not in shown.value.replace(r"\:red[", "")
    visitor = at(visit, key, entry_part="text")
    assert code(visitor, "entry_text") == HOSTILE.replace("\0", "\u2400")
    assert code(visitor, "entry_prompt") == HOSTILE.replace("\0", "\u2400")


def test_of_an_answer_of_10_mb_only_the_beginning_is_sent_and_the_rest_is_a_download(visit: Visit) -> None:
    text = "0123456789" * 1_000_000
    key = put("question", text)
    for part in PARTS:
        visitor = at(visit, key, entry_part=part)
        assert len(visitor.everything) < 4 * LONGEST_SHOWN, part
        if part in ("answer", "text", "stored"):
            assert "The first 100,000 of 10,000," in visitor.text
            assert any(name.endswith("_whole") for name in visitor.keys)
    assert len(code(at(visit, key, entry_part="text"), "entry_text")) == LONGEST_SHOWN


def test_a_prompt_of_a_megabyte_is_shown_by_its_beginning(visit: Visit) -> None:
    key = put("x" * 1_000_000)
    for part in PARTS:
        assert len(at(visit, key, entry_part=part).everything) < 4 * LONGEST_SHOWN, part


def test_all_generations_are_shown_as_they_are_stored(visit: Visit) -> None:
    called = AIMessage(
        "", tool_calls=[{"name": "look_up", "args": {"of": "<b>Sagan</b>"}, "id": "call-1"}],
        response_metadata={"finish_reason": "tool_calls", "model_name": "demo-1-2026"},
        usage_metadata={"input_tokens": 12, "output_tokens": 3, "total_tokens": 15},
    )  # fmt: skip
    key = put("question", [ChatGeneration(message=called), Generation(text="plain", generation_info={"n": 2**60})])
    visitor = at(visit, key, entry_part="stored")
    assert "2 answers to this prompt are stored" in visitor.text
    table = visitor.at.dataframe[0].value
    assert list(table["Type"]) == ["AIMessage", "Generation"]
    assert list(table["Ended because"]) == ["tool_calls", "–"]
    assert list(table["Tokens in"]) == ["12", "–"]
    assert "look_up" in code(visitor, "entry_stored")
    silent = put("another question", [ChatGeneration(message=called)])
    assert "This answer has no text; see its stored form." in at(visit, silent).text


def test_odd_metadata_is_shown_too(visit: Visit) -> None:
    odd = Generation(
        text="x", generation_info={"finish_reason": ["<b>", 1], "model_name": {"a": "\0"}, "nested": [[[]]]}
    )
    key = put("question", [odd])
    for part in PARTS:
        at(visit, key, entry_part=part)


@pytest.mark.parametrize("llm_string", ["", "not parameters", "[('a', 1)", "x" * 1_000_000, "[]"])
def test_parameters_of_any_form_are_shown(visit: Visit, llm_string: str) -> None:
    key = put("question", llm_string=llm_string)
    for part in ("key", "miss"):
        visitor = at(visit, key, entry_part=part)
        assert len(visitor.everything) < 4 * LONGEST_SHOWN


def test_secrets_are_taken_out_of_parameters(visit: Visit) -> None:
    key = put("question", llm_string=SECRETIVE)
    for part in PARTS:
        assert SECRET not in at(visit, key, entry_part=part).everything, part
    assert "[redacted]" in code(at(visit, key, entry_part="key"), "entry_llm_string")


def test_why_it_would_miss_can_be_tried(visit: Visit) -> None:
    visitor = at(visit, put("question"), entry_part="miss")
    assert "why_verdict_hit" in visitor.keys
    assert "why_verdict_miss" in settled(visitor.choose(why_prompt="question ")).keys


@pytest.mark.parametrize("at_s", [-1e308, 1e308, -1e12, 1e18])
def test_times_of_no_calendar_break_no_entry(visit: Visit, at_s: float) -> None:
    key = put("question", created_at=at_s, expires_at=at_s)
    at(visit, key)
    assert rows(on(visit())) == ["question"]


def test_a_damaged_entry_is_none(visit: Visit, data_dir: Path) -> None:
    key = put("question", "a long answer", into=cache("json"))
    (stored,) = (path for path in (data_dir / "answers").rglob("*.json") if key in path.name)
    stored.write_text(stored.read_text().replace("a long answer", "another one"))
    assert "There is no entry under this key any more" in at(visit, key, entries_strategy="json").text


def test_an_entry_that_goes_while_it_is_read_says_so(visit: Visit) -> None:
    key = put("question")
    visitor = at(visit, key)
    cache().delete(key)
    assert "There is no entry under this key any more" in settled(visitor).text


def test_a_store_that_fails_while_an_entry_is_read_says_so(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    key = put("question")

    def fail(self: MemoryCache, key: str) -> None:
        raise CacheUnavailableError(DOWN)

    with monkeypatch.context() as failing:
        failing.setattr(MemoryCache, "get", fail)
        visitor = at(visit, key)
    assert "The entry can't be read now" in visitor.text
    assert "hunter2secret" not in visitor.everything
    assert "entry_part" in click(visitor, "entry_again").keys


# Removed, and put back


def test_an_entry_is_removed_and_put_back_as_it_was(visit: Visit, clock: Clock) -> None:
    key = put("question", hits=7, model_time_s=2.0, days_old=3.0)
    before = entry(key)
    visitor = click(at(visit, key), "entry_delete")
    assert cache().get(key) is None
    assert "Deleted: “question”" in visitor.text
    assert "entry" not in link(visitor)
    click(visitor, "entry_undo")
    assert entry(key) == before
    assert rows(visitor) == ["question"]
    assert "entry_undo" not in visitor.keys


def test_undo_is_offered_for_ten_seconds(visit: Visit, clock: Clock) -> None:
    visitor = click(at(visit, put("question")), "entry_delete")
    clock.advance(0.5)
    assert settled(visitor).widget("entry_undo").label == "Undo (10 s)"
    clock.advance(UNDO_S - 0.6)
    settled(visitor)
    assert visitor.widget("entry_undo").label == "Undo (1 s)"
    clock.advance(0.1)
    assert "entry_undo" not in settled(visitor).keys


def test_undo_replaces_no_newer_answer(visit: Visit, clock: Clock) -> None:
    key = put("question", "old")
    visitor = click(at(visit, key), "entry_delete")
    put("question", "new")
    click(visitor, "entry_undo")
    assert entry(key).text == "new"
    assert "There is a newer answer under this key by now." in visitor.text
    assert "entry_undo" not in visitor.keys


def test_what_was_stored_while_one_read_is_what_is_put_back(visit: Visit, clock: Clock) -> None:
    key = put("question", "old")
    visitor = at(visit, key)
    put("question", "new")
    click(click(visitor, "entry_delete"), "entry_undo")
    assert entry(key).text == "new"


def test_what_somebody_else_has_removed_is_not_offered_to_be_put_back(visit: Visit, clock: Clock) -> None:
    key = put("question")
    visitor = at(visit, key)
    cache().delete(key)
    click(visitor, "entry_delete")
    assert "The entry is not there any more." in visitor.text
    assert "entry_undo" not in visitor.keys


def test_undo_goes_where_the_entry_was(visit: Visit, clock: Clock) -> None:
    key = put("question", into=cache("sqlite"))
    visitor = click(at(visit, key, entries_strategy="sqlite"), "entry_delete")
    settled(visitor.choose(entries_strategy="json"))
    click(visitor, "entry_undo")
    assert cache("sqlite").get(key) is not None
    assert cache("json").get(key) is None


def test_a_store_that_fails_to_remove_says_so(visit: Visit, clock: Clock, changeable: type[Changeable]) -> None:
    key = put("question")
    visitor = at(visit, key)
    changeable.down = True
    click(visitor, "entry_delete")
    assert "no server at redis://" in visitor.text
    assert "hunter2secret" not in visitor.everything
    assert cache().get(key) is not None
    assert "entry_undo" not in visitor.keys


def test_a_store_that_fails_to_put_back_says_so_and_lets_one_try_again(
    visit: Visit, clock: Clock, changeable: type[Changeable]
) -> None:
    key = put("question")
    visitor = click(at(visit, key), "entry_delete")
    changeable.down = True
    click(visitor, "entry_undo")
    assert "no server at redis://" in visitor.text
    changeable.down = False
    click(visitor, "entry_undo")
    assert cache().get(key) is not None
    assert "no server at redis://" not in visitor.text


def test_what_was_removed_of_one_session_is_offered_to_no_other(visit: Visit, clock: Clock) -> None:
    click(at(visit, put("question")), "entry_delete")
    assert "entry_undo" not in on(visit()).keys


# Pinned, and kept longer


def pin_key(visitor: Visitor) -> str:
    """The key of the switch."""
    (key,) = (key for key in visitor.keys if key.startswith("entry_pin_"))
    return key


def test_an_entry_is_pinned_and_let_go(visit: Visit) -> None:
    key = put("question")
    visitor = at(visit, key)
    visitor.choose(**{pin_key(visitor): True})
    assert entry(key).pinned
    assert "The entry is pinned now." in visitor.text
    assert settled(visitor).figure("Time left") == "Pinned"
    visitor.choose(**{pin_key(visitor): False})
    assert not entry(key).pinned
    assert "The entry is not pinned any more." in visitor.text


def test_a_switch_shows_what_somebody_else_has_pinned(visit: Visit) -> None:
    key = put("question")
    visitor = at(visit, key)
    cache().pin(key)
    settled(visitor)
    assert visitor.widget(pin_key(visitor)).value is True
    visitor.choose(**{pin_key(visitor): False})
    assert not entry(key).pinned


@pytest.mark.parametrize(("choice", "seconds"), [("10m", 600), ("30d", 30 * 86_400), ("none", None)])
def test_an_entry_is_kept_for_as_long_as_is_chosen(visit: Visit, choice: str, seconds: int | None) -> None:
    key = put("question", expires_at=1.0)
    visitor = at(visit, key)
    assert visitor.figure("Time left") == "Expired"
    click(visitor.choose(entry_ttl=choice), "entry_ttl_set")
    assert "Kept from now on" in visitor.text
    expires_at = entry(key).expires_at
    assert (expires_at is None) == (seconds is None)
    assert visitor.figure("Time left") != "Expired"


def test_a_lifetime_chosen_in_another_language_is_understood(visit: Visit) -> None:
    from tests.pages.test_entries import sending

    key = put("question")
    visitor = at(visit, key).choose(entry_ttl="1d").choose(lang="pt-BR")
    with sending("entry_ttl", "1 day"):
        visitor.widget("entry_ttl_set").click()
        visitor.look().assert_sound()
    expires_at = entry(key).expires_at
    assert expires_at is not None


@pytest.mark.parametrize("change", ["pin", "ttl"])
def test_a_store_that_fails_to_change_an_entry_says_so_and_shows_it_as_it_is(
    visit: Visit, change: str, changeable: type[Changeable]
) -> None:
    key = put("question")
    visitor = at(visit, key)
    changeable.down = True
    if change == "pin":
        visitor.choose(**{pin_key(visitor): True})
    else:
        visitor.widget("entry_ttl_set").click()
        visitor.look()
    settled(visitor)
    assert "no server at redis://" in visitor.text
    assert "hunter2secret" not in visitor.everything
    assert visitor.widget(pin_key(visitor)).value is False
    assert not entry(key).pinned


@pytest.mark.parametrize("change", ["pin", "ttl"])
def test_changing_an_entry_that_is_gone_says_so(visit: Visit, change: str) -> None:
    key = put("question")
    visitor = at(visit, key)
    cache().delete(key)
    if change == "pin":
        visitor.choose(**{pin_key(visitor): True})
    else:
        visitor.widget("entry_ttl_set").click()
        visitor.look()
    assert "The entry is not there any more." in visitor.assert_sound().text


def test_what_was_said_of_one_store_is_not_said_of_another(visit: Visit) -> None:
    visitor = at(visit, put("question"))
    visitor.choose(**{pin_key(visitor): True})
    assert "The entry is pinned now." in visitor.text
    settled(visitor.choose(entries_strategy="json"))
    assert "The entry is pinned now." not in visitor.text


def test_the_key_in_the_link_may_be_in_capitals_or_of_no_entry(visit: Visit) -> None:
    fill(cache(), 1)
    key = cache_key("question 0", parameters("demo-1"))
    for odd in (key.upper(), f"{key} ", f"0x{key[2:]}", key[:-1], f"-{key[1:]}"):
        at(visit, odd)
