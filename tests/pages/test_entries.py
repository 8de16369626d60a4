"""The entries page: found, counted, narrowed, ordered and paged, all of it by a link, whatever anybody writes in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.testing.v1.element_tree import Selectbox

import lab.jobs
from tests.lab.entries import DOWN, Slow, Troubled, fill
from tests.pages.conftest import Configure, Visit
from tests.pages.entries_page import NAMESPACE, be_patient, cache, click, link, listing, on, opened, put, rows, settled
from tests.pages.visitor import PATIENCE_S, Visitor
from ui import entries_jobs, entries_list, entries_state, waiting
from ui.entries_state import PAGE_ROWS
from ui.numbers import count
from ui.session import laboratory

LANGUAGES = ["en-US", "pt-BR"]
OTHER = "compare-1:x"
STILL_COUNTING = "Still counting the choices above."


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)
    monkeypatch.setattr(entries_jobs, "COUNTS_KEPT_S", 0.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page waits for no list and no counts."""
    monkeypatch.setattr(waiting.wait_for, "__defaults__", (0.0,))
    monkeypatch.setattr(entries_jobs, "COUNTS_PATIENCE_S", 0.0)


def instead(store: Slow | Troubled) -> None:
    """Have this store in place of the strategy "memory"."""
    laboratory().strategies._opened["memory", ""] = store


@pytest.fixture
def slow() -> Iterator[Slow]:
    """The store of the strategy "memory", which waits in the steps that it is told."""
    made = Slow(namespace=NAMESPACE)
    instead(made)
    yield made
    made.goes_on.set()


def mixed() -> None:
    """Entries of two models, of all ages and sizes, live and expired."""
    for number, days_old in enumerate((0, 3, 20, 100)):
        for size in (10, 5_000, 50_000, 500_000):
            put(f"question {number} of {size}", "x" * size, model=f"demo-{number % 2}", days_old=days_old)
        put(f"expired {number}", days_old=days_old, expires_at=1.0)


# Found


def test_before_anything_is_stored_it_says_what_would_be_here(visit: Visit) -> None:
    visitor = on(visit())
    assert "Nothing is stored here yet" in visitor.text
    assert "Go to the playground" in visitor.everything


def test_what_was_asked_on_the_playground_is_there(visit: Visit) -> None:
    visitor = visit(strategy="sqlite").ask("Who was Carl Sagan?")
    on(visitor, entries_strategy="sqlite")
    assert rows(visitor) == ["Who was Carl Sagan?"]
    assert "1 entry" in visitor.text
    assert listing(visitor)["model"][0] == "simulated"


@pytest.mark.parametrize("strategy", ["memory", "sqlite", "json"])
def test_pages_follow_each_other_and_lead_back(visit: Visit, strategy: str) -> None:
    store = cache(strategy)
    for number in range(PAGE_ROWS * 2 + 3):
        put(f"question {number:03}", into=store, days_old=(number + 1) / 1_000)
    visitor = on(visit(), entries_strategy=strategy)
    shown = [rows(visitor)]
    assert visitor.widget("entries_previous").disabled
    assert visitor.widget("entries_first").disabled
    shown.append(rows(click(visitor, "entries_next")))
    shown.append(rows(click(visitor, "entries_next")))
    assert [len(page) for page in shown] == [PAGE_ROWS, PAGE_ROWS, 3]
    assert [prompt for page in shown for prompt in page] == [
        f"question {number:03}" for number in range(PAGE_ROWS * 2 + 3)
    ]
    assert visitor.widget("entries_next").disabled
    assert rows(click(visitor, "entries_previous")) == shown[1]
    assert rows(click(visitor, "entries_previous")) == shown[0]
    assert "after" not in link(visitor)
    click(click(visitor, "entries_next"), "entries_next")
    assert rows(click(visitor, "entries_first")) == shown[0]
    assert visitor.widget("entries_previous").disabled


def test_who_came_to_a_page_by_its_link_can_go_to_the_one_before(visit: Visit) -> None:
    for number in range(PAGE_ROWS * 2 + 3):
        put(f"question {number:03}", days_old=(number + 1) / 1_000)
    visitor = on(visit())
    shown = [rows(visitor), rows(click(visitor, "entries_next"))]
    click(visitor, "entries_next")
    by_link = on(visit(), after=str(link(visitor)["after"]))
    assert rows(click(by_link, "entries_previous")) == shown[1]
    assert rows(click(by_link, "entries_previous")) == shown[0]
    assert "after" not in link(by_link)


def test_who_comes_back_to_the_page_is_at_the_beginning(visit: Visit) -> None:
    fill(cache(), PAGE_ROWS + 1)
    visitor = click(on(visit()), "entries_next")
    visitor.go("guide")
    del visitor.at.query_params["after"]  # as Streamlit does
    settled(visitor.go("entries"))
    assert len(rows(visitor)) == PAGE_ROWS
    assert visitor.widget("entries_previous").disabled


def test_the_browsers_way_back_leaves_no_page_before_the_first(visit: Visit) -> None:
    fill(cache(), PAGE_ROWS * 3)
    visitor = click(on(visit()), "entries_next")
    second = visitor.at.query_params["after"]
    click(visitor, "entries_next")
    visitor.at.query_params["after"] = second
    settled(visitor)
    click(visitor, "entries_previous")
    assert "after" not in link(visitor)


def test_a_search_finds_words_by_how_they_begin(visit: Visit) -> None:
    fill(cache(), 3, prompt="apple")
    fill(cache(), 2, prompt="pear")
    visitor = on(visit()).choose(entries_search="APP answ")
    assert sorted(rows(visitor)) == ["apple 0", "apple 1", "apple 2"]
    assert "3 entries match" in visitor.text
    assert link(visitor) == {"entries_search": "APP answ"}
    settled(visitor.choose(entries_search="zebra"))
    assert "Nothing matches" in visitor.text
    assert len(rows(click(visitor, "entries_show_all"))) == 5
    assert link(visitor) == {}


@pytest.mark.parametrize("typed", ["\"'; drop table x; --", "* NEAR/2(a b)", "<script>{9}", "\u202e", "a" * 500])
def test_whatever_is_looked_for_is_only_text(visit: Visit, typed: str) -> None:
    fill(cache("sqlite"), 2)
    visitor = settled(on(visit(), entries_strategy="sqlite").choose(entries_search=typed))
    assert "Nothing matches" in visitor.text


def test_every_choice_lists_as_many_as_it_said(visit: Visit) -> None:
    mixed()
    visitor = on(visit())
    for key in ("entries_model", "entries_state", "entries_age", "entries_size"):
        before = visitor.widget(key).value
        for place, title in enumerate(visitor.widget(key).options):
            said = re.search(r" · ([\d,]+)$", title)
            if said is None:
                assert place == 0, "what is chosen, the list says"
                continue
            settled(visitor.choose(**{key: chosen(visitor, key, place)}))
            found = re.search(r"\*\*([\d,]+) entr", visitor.text)
            assert (found[1] if found else "0") == said[1], (key, title)
            settled(visitor.choose(**{key: before}))


def chosen(visitor: Visitor, key: str, place: int) -> str:
    """The value of a choice by its place."""
    models = ["", "demo-0", "demo-1"]
    of = {
        "entries_model": models,
        "entries_state": list(entries_state.STATES),
        "entries_age": list(entries_state.AGE_CHOICES),
        "entries_size": list(entries_state.SIZES),
    }
    assert len(visitor.widget(key).options) == len(of[key])
    return of[key][place]


def test_what_is_chosen_narrows_the_other_counts(visit: Visit) -> None:
    mixed()
    visitor = settled(on(visit()).choose(entries_state="expired"))
    assert visitor.widget("entries_model").options == ["Every model", "demo-0 · 0", "demo-1 · 4"]
    assert visitor.widget("entries_state").options == ["Any state · 20", "Live · 16", "Expired"]


@pytest.mark.parametrize(
    ("key", "choice"),
    [("entries_model", "demo-1"), ("entries_state", "live"), ("entries_age", "7d"), ("entries_size", "1")],
)
def test_a_choice_whose_title_changes_stays_what_it_is(visit: Visit, key: str, choice: str) -> None:
    # What a browser sends is the title that a choice was made by: "demo-1 · 5", which then is "demo-1".
    mixed()
    visitor = settled(on(visit()))
    made_by = titles(visitor, key)[choice]
    visitor.choose(**{key: choice})
    assert visitor.widget(key).proto.set_value, "the browser is told the new title"
    assert visitor.widget(key).proto.raw_value == titles(visitor, key)[choice] != made_by
    with sending(key, made_by):
        visitor.choose(entries_order="hits")
    assert visitor.at.session_state[key] == choice
    assert link(settled(visitor)) == {key: choice, "entries_order": "hits"}
    assert rows(visitor)


def test_a_title_of_before_does_not_lead_back_to_the_first_page(visit: Visit) -> None:
    fill(cache(), PAGE_ROWS * 2 + 1, model="demo-1")
    visitor = settled(on(visit()))
    made_by = titles(visitor, "entries_model")["demo-1"]
    settled(visitor.choose(entries_model="demo-1"))
    with sending("entries_model", made_by):
        visitor.widget("entries_next").click()
        visitor.look()
    assert "after" in link(visitor)
    assert visitor.at.session_state["entries_model"] == "demo-1"


def test_choices_survive_another_language(visit: Visit) -> None:
    fill(cache(), 3, model="demo-1")
    visitor = settled(on(visit(locale="en-US")))
    english = {key: str(visitor.widget(key).options[0]) for key in ("entries_model", "entries_state")}
    visitor.choose(lang="pt-BR")
    for key, title in english.items():
        with sending(key, title):
            settled(visitor.look())
    assert len(rows(visitor)) == 3
    assert visitor.at.session_state["entries_model"] == ""
    assert visitor.at.session_state["entries_state"] == "any"


def titles(visitor: Visitor, key: str) -> dict[str, str]:
    """What each choice of a widget is called now."""
    return {option: str(visitor.widget(key).format_func(option)) for option in every_choice(key)}


def every_choice(key: str) -> list[str]:
    return {
        "entries_model": ["", "demo-0", "demo-1"],
        "entries_state": list(entries_state.STATES),
        "entries_age": list(entries_state.AGE_CHOICES),
        "entries_size": list(entries_state.SIZES),
    }[key]


def sending(key: str, title: str) -> patch:  # type: ignore[type-arg]
    """A browser that still knows a choice by this title."""
    now = Selectbox._widget_state

    def state(box: Selectbox[str]) -> WidgetState:
        if box.key == key:
            return WidgetState(id=box.id, string_value=title)
        sent: WidgetState = now.fget(box)  # type: ignore[attr-defined]
        return sent

    return patch.object(Selectbox, "_widget_state", property(state))


@pytest.mark.parametrize(
    ("order", "first"),
    [("created_at", "new"), ("last_used_at", "used"), ("hits", "often"), ("size_bytes", "large"),
     ("expires_at", "lasting"), ("model_time_s", "slow")],
)  # fmt: skip
def test_each_order_and_its_reverse(visit: Visit, order: str, first: str) -> None:
    now = 1_750_000_000.0
    usual = {"created_at": now, "last_used_at": now, "hits": 1, "expires_at": now + 1e9, "model_time_s": 1.0}
    put("new", **usual | {"created_at": now + 1})
    put("used", **usual | {"last_used_at": now + 5})
    put("often", **usual | {"hits": 9})
    put("large", "x" * 500, **usual)
    put("lasting", **usual | {"expires_at": now + 2e9})
    put("slow", **usual | {"model_time_s": 7.0})
    visitor = settled(on(visit()).choose(entries_order=order))
    assert rows(visitor)[0] == first
    settled(visitor.choose(entries_direction="up"))
    assert rows(visitor)[-1] == first
    assert link(visitor) == {"entries_direction": "up"} | ({} if order == "created_at" else {"entries_order": order})


def test_another_order_begins_at_the_first_page(visit: Visit) -> None:
    fill(cache(), PAGE_ROWS + 1)
    visitor = click(on(visit()), "entries_next")
    settled(visitor.choose(entries_order="hits"))
    assert "after" not in link(visitor)
    assert len(rows(visitor)) == PAGE_ROWS
    assert visitor.widget("entries_previous").disabled


# By a link


def test_a_link_shows_a_second_visitor_the_same(visit: Visit) -> None:
    for number in range(PAGE_ROWS + 20):
        put(f"apple {number:03}", model="demo-1", hits=number)
    fill(cache(), 3, prompt="pear", model="demo-2")
    visitor = on(visit())
    visitor.choose(entries_search="apple").choose(entries_model="demo-1", entries_state="live")
    visitor.choose(entries_age="7d", entries_size="0").choose(entries_order="hits").choose(entries_direction="up")
    click(settled(visitor), "entries_next")
    assert rows(visitor) == [f"apple {number:03}" for number in range(PAGE_ROWS, PAGE_ROWS + 20)]
    assert {*link(visitor)} == {
        "entries_search", "entries_model", "entries_state", "entries_age", "entries_size", "entries_order",
        "entries_direction", "after",
    }  # fmt: skip
    other = on(visit(), **link(visitor))
    assert rows(other) == rows(visitor)
    assert link(other) == link(visitor)
    assert not other.widget("entries_first").disabled
    assert len(rows(click(other, "entries_first"))) == PAGE_ROWS


def test_a_link_names_strategy_and_namespace(visit: Visit) -> None:
    put("question", into=cache("json", "compare-1:x"))
    visitor = on(visit(), entries_strategy="json", entries_namespace="compare-1:x")
    assert rows(visitor) == ["question"]
    assert link(visitor) == {"entries_strategy": "json", "entries_namespace": "compare-1:x"}


@pytest.mark.parametrize("value", ["x" * 10_000, "<script>\0\u202e"])
@pytest.mark.parametrize(
    "name",
    ["entries_strategy", "entries_namespace", "entries_model", "entries_state", "entries_age", "entries_size",
     "entries_order", "entries_direction", "entries_search", "after", "entry", "entry_part"],
)  # fmt: skip
def test_a_link_may_say_anything(visit: Visit, name: str, value: str) -> None:
    fill(cache(), 2)
    visitor = on(visit(), **{name: value})
    shown = visitor.text
    if name == "entry":
        assert "This link names no entry" in shown
    elif name == "after":
        assert "This link names a place that is none in this list" in shown
        assert len(rows(click(visitor, "entries_first_again"))) == 2
    elif name in ("entries_search", "entries_model"):
        assert "Nothing matches" in shown
    else:
        assert sorted(rows(visitor)) == ["question 0", "question 1"]
    assert "<script>" not in "".join(str(shown.value) for shown in visitor.at.markdown)


def test_an_entry_that_is_not_there_says_so_and_leads_back(visit: Visit) -> None:
    fill(cache(), 2)
    visitor = on(visit(), entry="ab" * 32)
    assert "There is no entry under this key any more" in visitor.text
    assert len(rows(click(visitor, "entry_back"))) == 2
    assert "entry" not in link(visitor)


@pytest.mark.parametrize("after", [True, False])
def test_a_link_to_a_page_whose_entries_are_gone_shows_none_and_the_way_back(visit: Visit, after: bool) -> None:
    fill(cache(), PAGE_ROWS + 5)
    visitor = click(on(visit()), "entries_next")
    assert len(rows(visitor)) == 5
    for entry in cache().entries(after=visitor.at.query_params["after"]).entries:
        cache().delete(entry.key)
    settled(visitor)
    assert rows(visitor) == []
    if after:
        cache().clear()
        settled(visitor)
    assert not visitor.widget("entries_first").disabled
    click(visitor, "entries_first")
    assert "Nothing is stored here yet" in visitor.text if after else len(rows(visitor)) == PAGE_ROWS


def test_a_link_to_the_strategy_of_the_playground_is_the_same_for_everybody(visit: Visit) -> None:
    put("question", into=cache("sqlite"))
    visitor = visit(strategy="sqlite")
    visitor.at.query_params.clear()  # as Streamlit does
    assert rows(on(visitor)) == ["question"]
    assert link(visitor) == {"entries_strategy": "sqlite"}
    assert rows(on(visit(), **link(visitor))) == ["question"]
    settled(visitor.choose(entries_strategy="memory"))
    assert link(visitor) == {}, "which is the first one for everybody"
    settled(visitor.choose(entries_strategy="json"))
    del visitor.at.query_params["entries_strategy"]  # the browser's way back
    settled(visitor)
    assert visitor.at.session_state["entries_strategy"] == "memory"


@pytest.mark.parametrize(
    ("played_with", "in_the_link", "shown"),
    [("sqlite", {"entries_strategy": "json"}, "json"), ("none", {}, "memory"), ("langchain-memory", {}, "memory")],
)
def test_the_strategy_of_the_playground_gives_way(
    visit: Visit, played_with: str, in_the_link: dict[str, str], shown: str
) -> None:
    visitor = on(visit(strategy=played_with), **in_the_link)
    assert visitor.at.session_state["entries_strategy"] == shown


def test_what_was_chosen_here_before_outlives_another_choice_on_the_playground(visit: Visit) -> None:
    visitor = settled(on(visit()).choose(entries_strategy="json"))
    visitor.go("playground").choose(strategy="sqlite")
    visitor.at.query_params.clear()  # as Streamlit does
    assert on(visitor).at.session_state["entries_strategy"] == "json"


# A namespace that is emptied


@pytest.mark.parametrize("strategy", ["memory", "sqlite", "json"])
def test_a_namespace_stays_chosen_when_its_last_entry_is_deleted(visit: Visit, strategy: str) -> None:
    put("the first namespace's", into=cache(strategy))
    key = put("question", into=cache(strategy, OTHER))
    visitor = on(visit(), entries_strategy=strategy, entries_namespace=OTHER, entry=key)
    click(visitor, "entry_delete")
    assert_empty(visitor, OTHER)
    assert visitor.at.query_params["entries_namespace"] == OTHER
    assert rows(click(visitor, "entry_undo")) == ["question"]


def test_a_namespace_stays_chosen_when_everything_in_it_is_removed(visit: Visit) -> None:
    put("the first namespace's")
    put("question", into=cache(namespace=OTHER))
    visitor = opened(on(visit(), entries_namespace=OTHER), "removal")
    click(visitor.choose(entries_clear_name="memory"), "entries_clear")
    assert_empty(visitor, OTHER)
    click(visitor.choose(entries_clear_name="memory"), "entries_clear")
    assert cache().stats().entries == 1, "what removes everything still points at the namespace that was chosen"


def test_a_namespace_stays_chosen_when_somebody_else_empties_it(visit: Visit) -> None:
    put("question", into=cache(namespace=OTHER))
    visitor = settled(on(visit()).choose(entries_namespace=OTHER))
    cache(namespace=OTHER).clear()
    assert_empty(settled(visitor), OTHER)
    visitor.go("guide")
    visitor.at.query_params.clear()  # as Streamlit does
    assert_empty(on(visitor), OTHER)
    settled(visitor.choose(entries_namespace=NAMESPACE))
    assert visitor.widget("entries_namespace").options == [NAMESPACE]


@pytest.mark.parametrize("name", [OTHER, "x" * 200, "</script> \\ ' %00 {9} **é**"])
def test_a_link_to_an_emptied_namespace_shows_it_as_empty(visit: Visit, name: str) -> None:
    put("the first namespace's")
    visitor = on(visit(), entries_namespace=name)
    assert_empty(visitor, name)
    assert link(visitor) == {"entries_namespace": name}
    assert cache().namespaces() == [NAMESPACE], "looking at it makes none"


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0b", "\u202egnp", "two\nlines"])
def test_a_link_to_what_can_be_no_namespace_shows_the_first(visit: Visit, name: str) -> None:
    put("the first namespace's")
    visitor = on(visit(), entries_namespace=name)
    assert rows(visitor) == ["the first namespace's"]
    assert visitor.widget("entries_namespace").options == [NAMESPACE]
    assert link(visitor) == {}


def test_another_strategy_does_not_take_over_a_namespace_that_it_does_not_have(visit: Visit) -> None:
    put("the first namespace's")
    put("question", into=cache("json", OTHER))
    put("question", into=cache("sqlite", OTHER))
    visitor = on(visit(), entries_strategy="json", entries_namespace=OTHER)
    settled(visitor.choose(entries_strategy="sqlite"))
    assert visitor.at.session_state["entries_namespace"] == OTHER, "it has it too"
    settled(visitor.choose(entries_strategy="memory"))
    assert rows(visitor) == ["the first namespace's"]
    assert visitor.widget("entries_namespace").options == [NAMESPACE]
    assert link(visitor) == {}
    put("later", into=cache(namespace=OTHER))
    settled(settled(visitor).choose(entries_namespace=OTHER))
    cache(namespace=OTHER).clear()
    assert_empty(settled(visitor), OTHER)


def test_the_browsers_way_back_to_an_emptied_namespace_shows_it_as_empty(visit: Visit) -> None:
    put("question", into=cache("json", OTHER))
    visitor = settled(on(visit(), entries_strategy="json", entries_namespace=OTHER).choose(entries_strategy="memory"))
    cache("json", OTHER).clear()
    assert_empty(on(visitor, entries_strategy="json", entries_namespace=OTHER), OTHER)


def assert_empty(visitor: Visitor, namespace: str) -> None:
    """The page shows this namespace, and that it is empty."""
    assert visitor.at.session_state["entries_namespace"] == namespace
    assert visitor.widget("entries_namespace").value == namespace
    assert namespace in visitor.widget("entries_namespace").options
    assert "Nothing is stored here yet" in visitor.text


# Whose entries


def test_who_has_a_namespace_of_their_own_is_offered_no_emptied_one_of_anybody_else(
    visit: Visit, configure: Configure
) -> None:
    theirs = "session-0123456789abcdef:simulated"
    visitor = on(visit(), entries_namespace="compare-1:x")
    configure("sharing: private\n")
    settled(visitor)
    own = f"{visitor.at.session_state['scope']}:simulated"
    assert visitor.widget("entries_namespace").options == [own], "what was chosen while all was shared"
    for strange in (theirs, NAMESPACE, "compare-1:x", own.removesuffix(":simulated"), f"x{own}"):
        on(visitor, entries_namespace=strange)
        assert visitor.widget("entries_namespace").options == [own]
        assert visitor.at.session_state["entries_namespace"] == own
        fresh = on(visit(), entries_namespace=strange)
        assert fresh.widget("entries_namespace").options == [f"{fresh.at.session_state['scope']}:simulated"]


def test_who_has_a_namespace_of_their_own_never_sees_anothers(visit: Visit, configure: Configure) -> None:
    configure("sharing: private\n")
    other = visit(strategy="sqlite").ask("somebody's secret")
    theirs = other.at.session_state["scope"]
    visitor = visit(strategy="sqlite").ask("mine")
    (key,) = (entry.key for entry in cache("sqlite", f"{theirs}:simulated").entries().entries)
    for strange in (f"{theirs}:simulated", NAMESPACE, theirs, "session-"):
        visitor.go("guide")
        on(visitor, entries_strategy="sqlite", entries_namespace=strange)
        assert rows(visitor) == ["mine"]
        assert "secret" not in visitor.everything
        assert f"{theirs}:" not in visitor.text
        on(visitor, entry=key)
        assert "There is no entry under this key any more" in visitor.text
        assert "secret" not in visitor.everything
        click(visitor, "entry_back")
    assert visitor.widget("entries_namespace").options == [f"{visitor.at.session_state['scope']}:simulated"]


# Trouble


@pytest.mark.parametrize("locale", LANGUAGES)
def test_a_strategy_that_can_not_be_opened_says_why_and_can_be_tried_again(
    visit: Visit, configure: Configure, data_dir: Path, locale: str
) -> None:
    data_dir.write_text("a file where the folder should be")
    configure()
    visitor = on(visit(locale=locale), entries_strategy="sqlite")
    assert len(visitor.at.error) == 1
    assert "SQLite" in visitor.at.error[0].value
    data_dir.unlink()
    laboratory().strategies._failed.clear()
    click(visitor, "entries_retry")
    assert not visitor.at.error


def test_a_server_that_is_down_says_so_and_no_password(visit: Visit, configure: Configure) -> None:
    configure("strategies:\n  - {name: memory, url: 'memory://'}\n"
              "  - {name: far, url: 'redis://app:hunter2secret@127.0.0.1:1/0'}\n")  # fmt: skip
    visitor = on(visit(), entries_strategy="far")
    assert "can't be browsed now" in visitor.text
    assert "hunter2secret" not in visitor.everything
    assert "can't be browsed now" in click(visitor, "entries_retry").text
    settled(visitor.choose(entries_strategy="memory"))
    assert "Nothing is stored here yet" in visitor.text


def test_a_store_that_fails_while_it_lists_says_so_and_can_be_tried_again(visit: Visit) -> None:
    store = Troubled(namespace=NAMESPACE)
    instead(store)
    put("question")
    visitor = on(visit())
    store.fail("entries")
    settled(visitor)
    assert "The entries can't be listed now" in visitor.text
    store.on.clear()
    assert rows(click(visitor, "entries_again")) == ["question"]


def test_what_fails_for_no_reason_of_the_link_does_not_blame_it(visit: Visit) -> None:
    store = Troubled(namespace=NAMESPACE)
    instead(store)

    def fail() -> None:
        raise MemoryError("no more room")

    put("question")
    visitor = on(visit())
    store.on["entries"] = fail
    settled(visitor)
    assert "This link names a place" not in visitor.text
    assert "The entries can't be listed now: no more room" in visitor.text


def test_an_index_that_can_not_be_made_keeps_nothing_from_being_listed(visit: Visit) -> None:
    store = Troubled(namespace=NAMESPACE)
    store.fail("index")
    instead(store)
    put("question")
    assert rows(on(visit())) == ["question"]


def test_where_too_many_jobs_run_it_says_so(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = visit()
    monkeypatch.setattr(lab.jobs, "MAX_RUNNING", 0)
    assert "So many requests are running" in opened(on(visitor), "glance", "transfer", "removal").text


def test_a_data_folder_that_is_removed_meanwhile_breaks_nothing(visit: Visit, data_dir: Path) -> None:
    import shutil

    for strategy in ("sqlite", "json"):
        fill(cache(strategy), 3)
        visitor = on(visit(), entries_strategy=strategy)
        assert len(rows(visitor)) == 3
        shutil.rmtree(data_dir)
        settled(visitor)
        settled(visitor)
        fill(cache(strategy), 2, prompt="later")
        assert len(rows(settled(settled(visitor)))) == 2


def test_somebody_else_storing_and_removing_breaks_nothing(visit: Visit) -> None:
    for strategy in ("memory", "sqlite", "json"):
        visitor = on(visit(), entries_strategy=strategy)
        keys = fill(cache(strategy), 3)
        assert len(rows(settled(visitor))) == 3
        cache(strategy).delete(*keys[:2])
        assert len(rows(settled(visitor))) == 1
        settled(visitor.choose(entries_model="demo-1"))
        cache(strategy).clear()
        settled(visitor)
        assert "Nothing matches" in visitor.text
        fill(cache(strategy), 1, model="demo-9")
        settled(settled(visitor.choose(entries_model="")))
        assert len(rows(visitor)) == 1


# Slow stores


@pytest.mark.usefixtures("impatient")
def test_a_slow_list_is_watched_and_not_begun_anew_at_each_run(visit: Visit, slow: Slow) -> None:
    fill(slow, 2)
    visitor = visit()
    slow.slow = {"entries"}
    visitor.go("entries").assert_sound()
    for _ in range(3):
        visitor.look().assert_sound()
        assert slow.calls.count("entries") == 1
    assert slow.waits.wait(PATIENCE_S)
    assert "30 entries looked at" in visitor.look().everything
    slow.goes_on.set()
    assert len(rows(settled(visitor))) == 2
    assert len(rows(settled(visitor))) == 2
    assert slow.calls.count("entries") == 1, "what took a while is kept until something is changed"


@pytest.mark.usefixtures("impatient")
def test_a_slow_list_can_be_stopped(visit: Visit, slow: Slow) -> None:
    slow.slow = {"entries"}
    visitor = visit().go("entries").assert_sound()
    assert slow.waits.wait(PATIENCE_S)
    visitor.widget("entries_stop").click()
    visitor.look()
    slow.goes_on.set()
    settled(visitor)
    assert "Stopped. Nothing is shown of what was found so far." in visitor.text
    assert slow.calls.count("entries") == 1
    slow.slow.clear()
    visitor.widget("entries_again").click()
    assert "Nothing is stored here yet" in settled(visitor.look()).text


@pytest.mark.usefixtures("impatient")
def test_another_search_stops_a_slow_list(visit: Visit, slow: Slow) -> None:
    slow.slow = {"entries"}
    visitor = visit().go("entries").assert_sound()
    assert slow.waits.wait(PATIENCE_S)
    first = visitor.at.session_state[waiting.STATE_KEY]["list"].job
    visitor.choose(entries_search="else").assert_sound()
    assert first.stopping
    assert visitor.at.session_state[waiting.STATE_KEY]["list"].job is not first


@pytest.mark.usefixtures("impatient")
def test_counts_that_take_long_keep_no_list_waiting(visit: Visit, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(slow, 2)
    slow.slow = {"tally"}
    visitor = visit().go("entries").assert_sound()
    assert slow.waits.wait(PATIENCE_S)
    monkeypatch.setattr(waiting.wait_for, "__defaults__", (PATIENCE_S,))
    assert len(rows(visitor.look().assert_sound())) == 2
    assert visitor.widget("entries_state").options == ["Any state", "Live", "Expired"]
    assert STILL_COUNTING not in visitor.text, "it would come and go at once where it is done soon"
    monkeypatch.setattr(entries_list, "COUNTED_IN_SILENCE_S", 0.0)
    assert STILL_COUNTING in visitor.look().assert_sound().text
    slow.goes_on.set()
    assert "Live · 2" in settled(visitor).widget("entries_state").options


def test_a_long_search_is_shown_before_its_counts_are_begun(
    visit: Visit, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(slow, 2)
    visitor = visit().go("entries").assert_sound()
    monkeypatch.setattr(entries_jobs, "COUNTED_BEFORE_SHOWN", 1)
    slow.calls.clear()
    slow.slow = {"tally"}
    visitor.choose(entries_search="answer").assert_sound()
    assert len(rows(visitor)) == 2
    assert slow.waits.wait(PATIENCE_S)
    assert slow.calls == ["index", "entries", "tally"]
    slow.goes_on.set()
    assert visitor.widget("entries_state").options == ["Any state", "Live", "Expired"]
    assert "Live · 2" in settled(visitor).widget("entries_state").options
    assert slow.calls.count("tally") == 1


@pytest.mark.parametrize("of", [100, None])
def test_while_an_index_is_made_the_page_says_how_far_and_lists_what_is_there(
    visit: Visit, slow: Slow, monkeypatch: pytest.MonkeyPatch, of: int | None
) -> None:
    monkeypatch.setattr(entries_jobs, "INDEX_PATIENCE_S", 0.0)
    fill(slow, 2)
    slow.of = of
    slow.slow = {"index"}
    visitor = visit().go("entries").assert_sound()
    assert slow.waits.wait(PATIENCE_S)
    visitor.look().assert_sound()
    assert "entries_indexing" in visitor.keys
    said = "30 of 100 entries looked at so far" if of else "Looking for what is new."
    assert said in visitor.everything
    assert len(rows(visitor)) == 2
    other = visit().go("entries").assert_sound()
    assert said in other.everything
    assert slow.calls.count("index") == 1, "one job for a strategy, whoever browses it"
    slow.goes_on.set()
    monkeypatch.setattr(entries_jobs, "INDEX_PATIENCE_S", PATIENCE_S)
    assert "entries_indexing" not in settled(visitor).keys


# LangChain's own


@pytest.mark.parametrize("strategy", ["langchain-memory", "langchain-sqlite"])
def test_langchains_own_say_why_they_can_not_be_browsed(visit: Visit, strategy: str) -> None:
    visitor = on(visit(), entries_strategy=strategy)
    assert "can't be browsed" in visitor.text
    assert "have no list of what they hold" in visitor.text
    assert ("foreign_import" in visitor.keys) == (strategy == "langchain-sqlite")
    assert not visitor.at.dataframe
    visitor.choose(entries_strategy="memory").assert_sound()
    assert "Nothing is stored here yet" in visitor.text


def test_without_a_cache_there_is_nothing_to_browse(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = visit()
    monkeypatch.setattr(entries_state, "strategies", list)
    assert "There is no strategy with a cache to browse." in on(visitor).text


# At a glance


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("entries", [0, 1, 60])
def test_a_glance_tells_of_any_number_of_entries(visit: Visit, locale: str, entries: int) -> None:
    for number in range(entries):
        put(f"<b>question</b> {number}", days_old=number, hits=number, model_time_s=2.0)
    visitor = opened(on(visit(locale=locale)), "glance")
    figures = [metric.value for metric in visitor.at.metric]
    assert figures[0] == count(entries)
    useful = [shown.value for shown in visitor.at.dataframe if len(shown.value.columns) == 4]
    assert [len(table) for table in useful] == ([10] if entries == 60 else [])


def test_a_glance_counts_hits_of_this_strategy(visit: Visit) -> None:
    visitor = visit(strategy="memory").ask("Who was Carl Sagan?").click("ask_again").click("ask_again")
    opened(on(visitor), "glance")
    assert visitor.figure("Hit ratio") == "66.7 %"
    assert visitor.figure("Entries") == "1"


def test_a_glance_at_a_store_that_fails_says_so(visit: Visit) -> None:
    store = Troubled(namespace=NAMESPACE)
    instead(store)
    put("question")
    visitor = on(visit())
    store.fail("entries", message=DOWN)
    opened(visitor, "glance")
    assert len(visitor.at.error) == 2
