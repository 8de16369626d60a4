"""Many entries at once: removed by what matches, exported, imported, copied out of LangChain's own cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration
from starlette.applications import Starlette
from starlette.testclient import TestClient

import lab.jobs
from lab.exporting import export_lines
from lab.foreign import qualified
from tests.lab.entries import Troubled, fill
from tests.lab.transfers import LLM, everything, store
from tests.pages.conftest import Configure, Visit
from tests.pages.entries_page import NAMESPACE, be_patient, cache, click, on, opened, put, rows, settled
from tests.pages.visitor import PATIENCE_S, Visitor
from ui.export_route import ROUTES
from ui.session import laboratory

pytestmark = pytest.mark.filterwarnings("ignore:The default value of `allowed_objects`")
OTHER = "session-1:simulated"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest.fixture
def client() -> Iterator[TestClient]:
    """What a browser downloads with."""
    with TestClient(Starlette(routes=ROUTES)) as made:
        yield made


def removing(visitor: Visitor) -> Visitor:
    """On the page, with what removes many unfolded."""
    return opened(on(visitor), "removal")


def moving(visitor: Visitor, **in_the_link: str) -> Visitor:
    """On the page, with export and import unfolded."""
    return opened(on(visitor, **in_the_link), "transfer")


def download(visitor: Visitor, client: TestClient) -> bytes:
    """What the link on the page gives."""
    (button,) = visitor.at.get("link_button")
    answer = client.get("/" + button.proto.url)
    assert answer.status_code == 200
    return bytes(answer.content)


def imported(visitor: Visitor, name: str, content: bytes) -> Visitor:
    """Upload a file and import it."""
    visitor.widget("entries_import").upload(name, content)
    return click(visitor.look().assert_sound(), "entries_import_run")


# Removed


@pytest.mark.parametrize("locale", ["en-US", "pt-BR"])
def test_what_matches_is_removed_once_one_is_sure_of_the_count(visit: Visit, locale: str) -> None:
    fill(cache(), 3, prompt="apple")
    fill(cache(), 2, prompt="pear")
    visitor = settled(removing(visit(locale=locale)).choose(entries_search="apple"))
    assert "3" in visitor.widget("remove_matching_sure").label
    assert visitor.widget("remove_matching").disabled
    visitor.choose(remove_matching_sure=True)
    assert not visitor.widget("remove_matching").disabled
    click(visitor, "remove_matching")
    assert [entry.prompt for entry in cache().entries(order_by="hits").entries].count("apple 0") == 0
    assert cache().stats().entries == 2
    assert "3" in visitor.at.success[0].value
    settled(visitor.choose(entries_search=""))
    assert sorted(rows(visitor)) == ["pear 0", "pear 1"]
    assert not visitor.widget("remove_matching_sure").value


def test_what_was_removed_is_listed_no_more_at_once(visit: Visit) -> None:
    for strategy in ("memory", "sqlite", "json"):
        fill(cache(strategy), 3)
        visitor = opened(on(visit(), entries_strategy=strategy), "removal")
        visitor.choose(remove_matching_sure=True).widget("remove_matching").click()
        visitor.look()
        laboratory().jobs.wait_for_all(PATIENCE_S)
        visitor.look().assert_sound()
        assert "3 entries removed." in visitor.text
        assert "Nothing is stored here yet" in visitor.text, strategy


def test_who_was_sure_of_one_count_is_asked_again_of_another(visit: Visit) -> None:
    fill(cache(), 2, prompt="apple")
    fill(cache(), 5, prompt="pear")
    visitor = settled(removing(visit()).choose(entries_search="apple")).choose(remove_matching_sure=True)
    settled(visitor.choose(entries_search=""))
    assert visitor.widget("remove_matching_sure").label == "Yes, remove 7 entries"
    assert not visitor.widget("remove_matching_sure").value
    assert visitor.widget("remove_matching").disabled


def test_what_was_stored_since_the_page_was_shown_stays(visit: Visit) -> None:
    put("old", days_old=0.01)
    visitor = removing(visit()).choose(remove_matching_sure=True)
    put("new", created_at=4e9)
    click(visitor, "remove_matching")
    assert rows(visitor) == ["new"]


def test_a_removal_that_fails_says_so_and_no_password(visit: Visit) -> None:
    failing = Troubled(namespace=NAMESPACE)
    laboratory().strategies._opened["memory", ""] = failing
    fill(failing, 2)
    visitor = removing(visit()).choose(remove_matching_sure=True)
    failing.fail("delete")
    click(visitor, "remove_matching")
    assert "0 entries removed. The rest could not be" in visitor.text
    assert "hunter2secret" not in visitor.everything
    assert len(rows(visitor)) == 2


def test_what_has_expired_is_removed(visit: Visit) -> None:
    put("expired", expires_at=1.0)
    put("pinned", expires_at=1.0, pinned=True)
    put("live")
    visitor = removing(visit())
    assert visitor.widget("remove_expired").label == "Remove 1 expired entry"
    click(visitor, "remove_expired")
    assert "1 entry removed." in visitor.text
    assert sorted(rows(visitor)) == ["live", "pinned"]
    assert visitor.widget("remove_expired").disabled


def test_everything_is_removed_only_once_the_name_was_typed(visit: Visit) -> None:
    fill(cache(), 3)
    fill(cache(namespace=OTHER), 2)
    visitor = removing(visit())
    for typed in ("", "Mem", "SQLite", "memory strategy"):
        assert visitor.choose(entries_clear_name=typed).widget("entries_clear").disabled
    assert not visitor.choose(entries_clear_name=" memory ").widget("entries_clear").disabled
    click(visitor, "entries_clear")
    assert "Nothing is stored here yet" in visitor.text
    assert cache().stats().entries == 0
    assert cache(namespace=OTHER).stats().entries == 2
    assert visitor.widget("entries_clear_name").value == ""
    assert visitor.widget("entries_clear").disabled


def test_who_has_a_namespace_of_their_own_removes_nothing_else(visit: Visit, configure: Configure) -> None:
    configure("sharing: private\n")
    for namespace in (NAMESPACE, OTHER):
        fill(cache(namespace=namespace), 2)
        put("expired", into=cache(namespace=namespace), expires_at=1.0)
    visitor = visit()
    own = f"{visitor.at.session_state['scope']}:simulated"
    for button in ("remove_matching", "remove_expired", "entries_clear"):
        fill(cache(namespace=own), 2)
        put("expired", into=cache(namespace=own), expires_at=1.0)
        removing(visitor)
        visitor.choose(remove_matching_sure=True).choose(entries_clear_name="memory")
        click(visitor, button)
        assert cache(namespace=own).stats().expired == 0
        assert [cache(namespace=namespace).stats().entries for namespace in (NAMESPACE, OTHER)] == [3, 3]


def test_the_result_of_one_store_is_not_shown_of_another(visit: Visit) -> None:
    fill(cache(), 1)
    visitor = click(removing(visit()).choose(remove_matching_sure=True), "remove_matching")
    assert "1 entry removed." in visitor.text
    assert "removed." not in settled(visitor.choose(entries_strategy="sqlite")).text


def test_where_too_many_jobs_run_nothing_is_removed(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cache(), 1)
    visitor = removing(visit()).choose(entries_clear_name="memory")
    monkeypatch.setattr(lab.jobs, "MAX_RUNNING", 0)
    visitor.widget("entries_clear").click()
    assert "So many requests are running" in visitor.look().assert_sound().text
    assert cache().stats().entries == 1


# Exported


@pytest.mark.parametrize("into", ["sqlite", "json"])
def test_what_is_downloaded_is_equal_in_another_strategy(visit: Visit, client: TestClient, into: str) -> None:
    put("question <b>", "answer \0 é", hits=3, days_old=2.0, pinned=True)
    fill(cache(), 3)
    lines = download(moving(visit()), client)
    visitor = imported(moving(visit(), entries_strategy=into), "entries.jsonl", lines)
    assert "4 entries imported." in visitor.text
    assert len(rows(visitor)) == 4
    assert everything(cache(into)) == everything(cache())


def test_the_link_gives_what_matches_now(visit: Visit, client: TestClient) -> None:
    fill(cache(), 3, prompt="apple")
    fill(cache(), 2, prompt="pear")
    visitor = moving(visit())
    assert len(download(visitor, client).splitlines()) == 5
    settled(visitor.choose(entries_search="pear"))
    assert visitor.at.get("link_button")[0].proto.label == "Download 2 entries (JSONL)"
    assert len(download(visitor, client).splitlines()) == 2


def test_the_link_stays_the_same_as_long_as_what_matches_does(visit: Visit) -> None:
    fill(cache(), 3)
    visitor = moving(visit())
    first = visitor.at.get("link_button")[0].proto.url
    assert settled(visitor).at.get("link_button")[0].proto.url == first
    assert settled(visitor.choose(entries_state="live")).at.get("link_button")[0].proto.url != first


def test_an_export_is_of_the_own_namespace(visit: Visit, configure: Configure, client: TestClient) -> None:
    configure("sharing: private\n")
    fill(cache(), 3, prompt="theirs")
    visitor = visit()
    fill(cache(namespace=f"{visitor.at.session_state['scope']}:simulated"), 2, prompt="mine")
    assert b"theirs" not in download(moving(visitor), client)
    assert len(download(moving(visitor), client).splitlines()) == 2


def test_nothing_is_nothing_to_download(visit: Visit) -> None:
    assert moving(visit()).at.get("link_button")[0].proto.disabled


# Imported


def test_mistakes_are_listed_with_their_lines_and_the_rest_goes_in(visit: Visit) -> None:
    fill(cache("sqlite"), 2)
    first, second = export_lines(cache("sqlite"))
    visitor = imported(moving(visit()), "entries.jsonl", first + b"<script>\n" + second + b"{}\n")
    assert "2 entries imported. 2 could not be imported." in visitor.text
    assert "Line 2:" in visitor.text
    assert "Line 4:" in visitor.text
    assert len(rows(visitor)) == 2


def test_what_was_imported_is_listed_at_once_though_the_index_rests(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.indexing.RESTED", 1e6)
    fill(cache(), 2)
    lines = b"".join(export_lines(cache()))
    visitor = imported(moving(visit(), entries_strategy="sqlite"), "entries.jsonl", lines)
    assert len(rows(visitor)) == 2


def test_what_is_there_stays_and_is_counted_unless_it_is_to_be_replaced(visit: Visit) -> None:
    fill(cache(), 2)
    lines = b"".join(export_lines(cache()))
    store(cache(), "question", "newer")
    visitor = imported(moving(visit()), "entries.jsonl", lines)
    assert "0 entries imported. 2 were there already and stayed as they are." in visitor.text
    click(visitor.choose(entries_overwrite=True), "entries_import_run")
    assert "2 entries imported. 2 of them replaced another." in visitor.text


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff\xfe", b"[" * 10_000, b"SQLite format 3\0 and no more"])
@pytest.mark.parametrize("locale", ["en-US", "pt-BR"])
def test_a_file_of_anything_breaks_nothing(visit: Visit, content: bytes, locale: str) -> None:
    visitor = imported(moving(visit(locale=locale)), "entries.jsonl", content)
    assert len(visitor.at.success) + len(visitor.at.warning) + len(visitor.at.error) == 1


def test_the_database_of_langchains_cache_can_be_uploaded(visit: Visit) -> None:
    foreign(NAMESPACE, "mine")
    foreign(OTHER, "somebody else's")
    database = (laboratory().settings.data_dir / "langchain.db").read_bytes()
    visitor = imported(moving(visit()), "langchain.db", database)
    assert "1 entry imported. 1 belong to another namespace and were left out." in visitor.text
    assert rows(visitor) == ["mine"]


def foreign(namespace: str, prompt: str) -> None:
    """Store an answer in LangChain's own cache, as the playground does."""
    own = laboratory().strategies.get("langchain-sqlite", namespace).cache
    assert own is not None
    own.update(prompt, qualified(namespace, LLM), [ChatGeneration(message=AIMessage(f"answer to {prompt}"))])


def test_langchains_own_answers_are_copied_and_are_hits_there(visit: Visit) -> None:
    visitor = visit(strategy="langchain-sqlite").ask("Who was Carl Sagan?")
    foreign(OTHER, "somebody else's")
    on(visitor, entries_strategy="langchain-sqlite")
    visitor.choose(foreign_into="json")
    click(visitor, "foreign_import")
    assert "1 entry imported. 1 belong to another namespace" in visitor.text
    settled(visitor.choose(entries_strategy="json"))
    assert rows(visitor) == ["Who was Carl Sagan?"]
    assert cache("json").namespaces() == [NAMESPACE]
    visitor.go("playground").choose(strategy="json").click("ask_again")
    assert visitor.outcome == "hit"


def test_who_has_a_namespace_of_their_own_copies_only_its_answers(visit: Visit, configure: Configure) -> None:
    configure("sharing: private\n")
    foreign(NAMESPACE, "theirs")
    visitor = visit(strategy="langchain-sqlite").ask("mine")
    click(on(visitor, entries_strategy="langchain-sqlite"), "foreign_import")
    assert "1 entry imported." in visitor.text
    assert cache("sqlite").namespaces() == [f"{visitor.at.session_state['scope']}:simulated"]


def test_where_too_many_jobs_run_nothing_is_imported(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = moving(visit())
    visitor.widget("entries_import").upload("entries.jsonl", b"{}\n")
    visitor.look()
    monkeypatch.setattr(lab.jobs, "MAX_RUNNING", 0)
    visitor.widget("entries_import_run").click()
    assert "So many requests are running" in visitor.look().assert_sound().text
