"""The guide says what is true of the code: its strategies, options and outcomes are the real ones, its programs run."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
from langchain_core.globals import set_llm_cache
from langchain_core.outputs import Generation

from cache_backends import Outcome, open_cache
from cache_backends.options import OPTIONS
from cache_backends.servers.server_cache import OWN_OPTIONS
from cache_backends.urls import EMBEDDED, SCHEMES, SERVERS
from lab.server_urls import kind_of_server
from lab.settings import load_settings
from tests.openai_server import OpenAIServer
from tests.pages.visitor import Visitor
from ui.guide_code import EMBEDDED_URLS
from ui.guide_servers import Server, servers
from ui.guide_snippets import snippets

SECTIONS = ("strategies", "workings", "numbers", "code", "data", "health")
PIECES = [snippet.name for snippet in snippets("memory://")]

Visit = Callable[..., Visitor]
Configure = Callable[..., Path]


@pytest.fixture
def read(visit: Visit) -> Callable[..., Visitor]:
    """Open a section of the guide: `read("numbers")`, `read("code", locale="pt-BR", guide_strategy="sqlite")`."""

    def open_section(section: str, **options: str) -> Visitor:
        visitor = visit(**options).go("guide")
        visitor.choose(guide_section=section)
        if strategy := options.get("guide_strategy"):
            visitor.choose(guide_strategy=strategy)
        return visitor.assert_sound()

    return open_section


@pytest.fixture
def openai(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """A server in the place of OpenAI, for programs that name no address, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_API_KEY", server.api_key)
        monkeypatch.setenv("OPENAI_API_BASE", server.base_url)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield server
    set_llm_cache(None)


def tables(visitor: Visitor) -> list[pd.DataFrame]:
    """The tables of the page, from top to bottom."""
    return [shown.value for shown in visitor.at.table]


def first_column(table: pd.DataFrame) -> str:
    """The first column of a table, as text."""
    return "\n".join(table.iloc[:, 0])


def programs(visitor: Visitor) -> list[str]:
    """The Python programs that the page shows, from top to bottom."""
    return [shown.value for shown in visitor.at.code if shown.language == "python"]


@pytest.mark.parametrize("locale", ["en-US", "pt-BR"])
@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_is_shown_in_both_languages(read: Callable[..., Visitor], section: str, locale: str) -> None:
    guide = read(section, locale=locale)
    assert guide.at.session_state["lang"] == {"en-US": "en", "pt-BR": "pt-BR"}[locale]
    assert guide.at.subheader
    assert all(cell.strip() for table in tables(guide) for cell in table.to_numpy().ravel())
    assert not {"{", "}"} & set(guide.text), "a placeholder was not filled in"


def test_a_link_leads_to_its_section(visit: Visit) -> None:
    guide = visit(guide_section="numbers").go("guide")
    guide.at.query_params["guide_section"] = "data"
    guide.look().assert_sound()
    assert guide.at.session_state["guide_section"] == "data"


def test_a_link_that_names_no_section_leads_to_the_first(visit: Visit) -> None:
    guide = visit().go("guide")
    guide.at.query_params["guide_section"] = "<script>"
    guide.look().assert_sound()
    assert guide.at.session_state["guide_section"] == "strategies"


def test_a_chosen_section_can_be_linked_to(read: Callable[..., Visitor]) -> None:
    assert read("workings").at.query_params["guide_section"] == "workings"


def test_every_strategy_of_the_settings_is_in_both_tables(configure: Configure, read: Callable[..., Visitor]) -> None:
    path = configure(
        "strategies:\n"
        "- {name: memory, url: 'memory://'}\n"
        "- {name: quick, title: Ten minutes *only*, url: 'sqlite:///{data_dir}/quick.db?ttl=10m'}\n"
        "- {name: json, url: 'json:///{data_dir}/answers'}\n"
        "- {name: langchain-memory, langchain: langchain_core.caches.InMemoryCache, survives_restart: false}\n"
        "- {name: far, title: Far away, url: 'carrier-pigeon://somewhere'}\n"
        "- {name: special, langchain: some.where.SpecialCache}\n"
    )
    glance, stores, *_ = tables(read("strategies"))
    assert len(glance) == len(stores) == 1 + len(load_settings(path).strategies)
    for table in (glance, stores):
        titles = ["No cache", "Memory", "Ten minutes", "JSON files", "LangChain", "Far away", "special"]
        assert all(title in cell for title, cell in zip(titles, table.iloc[:, 0], strict=True))
    assert r"\*only\*" in first_column(glance), "a title is text, not Markdown"
    assert "one database file" in glance.iloc[2, 1]
    assert "carrier" in glance.iloc[5, 1]
    assert "SpecialCache" in glance.iloc[6, 1]


def test_the_default_strategies_are_each_described_in_their_own_words(read: Callable[..., Visitor]) -> None:
    glance, stores, *_ = tables(read("strategies"))
    for table in (glance, stores):
        descriptions = table.iloc[:, 1:].agg(" ".join, axis=1)
        assert descriptions.is_unique


def test_servers_that_this_version_lacks_are_said_to_come_later(
    read: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    for scheme in ("mysql", "mariadb"):
        monkeypatch.delitem(SERVERS, scheme, raising=False)
    guide = read("strategies")
    missing = [server.title for server in servers() if not any(scheme in SERVERS for scheme in server.schemes)]
    (said,) = [notice.value for notice in guide.at.info if "Not available yet" in notice.value]
    assert "MySQL or MariaDB" in missing
    assert [title for title in missing if title not in said] == []
    assert not [server.title for server in servers() if server.available and server.title in said]


def table_of_servers(guide: Visitor) -> pd.DataFrame:
    """The table that compares the servers."""
    (table,) = (each for each in tables(guide) if "What it costs" in each.columns)
    return table


def test_every_server_is_described_in_words_of_its_own(read: Callable[..., Visitor]) -> None:
    guide = read("strategies")
    table = table_of_servers(guide)
    assert [title.strip("*") for title in table.iloc[:, 0]] == [server.title for server in servers()]
    assert table.iloc[:, 1:].agg(" ".join, axis=1).is_unique
    subheadings = [shown.value for shown in guide.at.markdown]
    assert [server.title for server in servers() if f"#### {server.title}" not in subheadings] == []


def test_the_guide_says_what_a_crash_of_redis_may_lose_by_its_persistence(read: Callable[..., Visitor]) -> None:
    (table,) = (each for each in tables(read("strategies")) if "Its settings" in each.columns)
    lost = dict(zip(table.iloc[:, 0].str.strip("*"), table.iloc[:, 2], strict=True))
    assert lost == {
        "None": "A crash or restart of the server loses everything.",
        "Snapshots (RDB)": "A crash loses everything since the last snapshot.",
        "Log, synced every second": "A crash may lose the last second.",
        "Log, synced always": "A crash loses nothing that was stored.",
    }


@pytest.mark.parametrize("locale", ["en-US", "pt-BR"])
def test_the_guide_says_that_no_real_mongodb_was_measured(read: Callable[..., Visitor], locale: str) -> None:
    assert "nx-27017" in read("strategies", locale=locale).text


@pytest.mark.parametrize("server", servers(), ids=lambda server: server.name)
def test_a_server_that_is_available_can_be_taken_home(
    read: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setitem(SERVERS, server.schemes[0], lambda url, options: open_cache("memory://"))
    guide = read("code", guide_strategy=server.name)
    assert f'open_cache("{server.example_url}")' in programs(guide)[0]
    assert f'pip install ".[{server.extra}]" langchain-openai' in [shown.value for shown in guide.at.code]
    assert server.title in guide.everything


def test_the_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert {server.extra for server in servers()} == {*project["optional-dependencies"]} - {"all"}


def test_every_scheme_that_opens_is_described() -> None:
    described = {scheme for server in servers() for scheme in server.schemes}
    assert {url.partition(":")[0] for url in EMBEDDED_URLS.values()} == EMBEDDED.keys()
    assert {*SCHEMES} == EMBEDDED.keys() | SERVERS.keys()
    assert SERVERS.keys() - described == set()


@pytest.mark.parametrize(
    ("url", "title", "what"),
    [
        ("redis://cache", "Redis", "memory of a Redis server"),
        ("rediss+cluster://cache", "Redis Cluster", "memory of a Redis server"),
        ("postgresql://db/x", "PostgreSQL", "tables of a PostgreSQL database"),
        ("mysql://db/x", "MySQL", "tables of a MySQL or MariaDB database"),
        ("mariadb://db/x", "MariaDB", "tables of a MySQL or MariaDB database"),
        ("mongodb+srv://db/x", "MongoDB", "documents in a collection"),
    ],
)
def test_a_server_of_the_settings_has_its_title_and_its_words(
    configure: Configure, read: Callable[..., Visitor], url: str, title: str, what: str
) -> None:
    kind = kind_of_server(url)
    assert kind is not None
    configure(f"strategies:\n- {{name: {kind.name}, url: '{url}'}}\n- {{name: far, url: '{url}'}}\n")
    glance = tables(read("strategies"))[0]
    assert glance.iloc[1, 0].endswith(f" {title}**")
    assert glance.iloc[2, 0].endswith(" far**")
    assert what in glance.iloc[1, 1] == glance.iloc[2, 1]


@pytest.mark.parametrize("locale", ["en-US", "pt-BR"])
@pytest.mark.parametrize("strategy", EMBEDDED_URLS)
def test_the_programs_run_as_they_stand(
    read: Callable[..., Visitor],
    openai: OpenAIServer,
    capsys: pytest.CaptureFixture[str],
    strategy: str,
    locale: str,
) -> None:
    shown = programs(read("code", locale=locale, guide_strategy=strategy))
    assert len(shown) == len(PIECES)
    names: dict[str, object] = {}
    printed = {}
    for piece, program in zip(PIECES, shown, strict=True):
        exec(compile(program, f"<{piece}>", "exec"), names)
        printed[piece] = capsys.readouterr().out.splitlines()
    first, second = printed["start"]
    assert first == second != ""
    assert printed["for_all_models"] == [first]
    assert printed["observe"][0].startswith("hit ")
    assert printed["limits"][-1] == "0"
    assert printed["share"] == ["hit", first]
    assert first in "\n".join(printed["browse"])
    with open_cache(EMBEDDED_URLS[strategy]) as cache:
        assert cache.stats().entries == 0, "the last program clears the cache"


@pytest.mark.parametrize("piece", PIECES[1:])
def test_each_program_goes_on_where_the_first_one_ends(
    openai: OpenAIServer, capsys: pytest.CaptureFixture[str], piece: str
) -> None:
    code = {snippet.name: snippet.code for snippet in snippets("memory://")}
    names: dict[str, object] = {}
    exec(compile(code["start"], "<start>", "exec"), names)
    exec(compile(code[piece], f"<{piece}>", "exec"), names)
    asks_anew = piece == "limits"  # which opens a memory of its own
    assert len(openai.requests) == 1 + asks_anew
    assert capsys.readouterr().out


def test_the_program_asks_the_model_once_and_a_new_process_not_at_all(openai: OpenAIServer) -> None:
    code = snippets(EMBEDDED_URLS["sqlite"])[0].code
    for _ in range(2):
        exec(compile(code, "<start>", "exec"), {})
    assert len(openai.requests) == 1


def test_every_option_of_open_cache_is_explained(read: Callable[..., Visitor]) -> None:
    of_all, of_servers = tables(read("code"))
    assert list(of_all.iloc[:, 0]) == [f"**`{option}`**" for option in OPTIONS]
    assert list(of_servers.iloc[:, 0]) == [f"**`{option}`**" for option in OWN_OPTIONS]


def test_every_outcome_of_a_lookup_is_explained(read: Callable[..., Visitor]) -> None:
    outcomes = tables(read("numbers"))[0]
    assert len(outcomes) == len({*get_args(Outcome), "bypass", "shared"})
    assert "Damaged" in first_column(outcomes)


def test_every_figure_of_the_playground_is_defined(visit: Visit, read: Callable[..., Visitor]) -> None:
    playground = visit().ask("Who was Carl Sagan?")
    shown = {metric.label for metric in playground.at.metric}
    assert shown
    defined = "\n".join(map(first_column, tables(read("numbers"))))
    assert [label for label in shown if f"**{label}**" not in defined] == []


def test_three_requests_that_differ_in_a_detail_have_three_keys(read: Callable[..., Visitor]) -> None:
    keys = tables(read("workings"))[0].iloc[:, 2]
    assert len(keys) == 3
    assert keys.is_unique


def test_the_guide_tells_where_the_data_lies(read: Callable[..., Visitor], data_dir: Path) -> None:
    table = tables(read("data"))[0]
    places = "\n".join(table.iloc[:, 1])
    for name in ("history.db", "cache.db", "answers", "langchain.db"):
        assert str(data_dir / name) in places
    assert "500 characters" in table.iloc[0, 2]


ENTRIES_PAGE = {
    "en-US": (
        *("**Find**", "**Read**", "**Why would this miss?**", "**Change**", "**Move**", "up to 200 MB"),
        *("can be found so far", "can be deleted at any time", "by their own means", "some seconds old"),
    ),
    "pt-BR": (
        *("**Achar**", "**Ler**", "**Por que ausência?**", "**Alterar**", "**Mover**", "até 200 MB"),
        *("podem ser achadas", "apagado a qualquer momento", "próprios meios", "alguns segundos"),
    ),
}
"""What the guide says of the Entries page, by the browser's language."""


@pytest.mark.parametrize("locale", ENTRIES_PAGE)
def test_the_guide_says_what_the_entries_page_is_for(read: Callable[..., Visitor], locale: str) -> None:
    guide = read("data", locale=locale)
    assert [words for words in (*ENTRIES_PAGE[locale], "JSONL", "`SQLiteCache`") if words not in guide.text] == []
    assert [link.proto.page for link in guide.at.get("page_link")] == ["entries"]


def test_the_index_for_browsing_lies_where_the_guide_says(read: Callable[..., Visitor], tmp_path: Path) -> None:
    said = read("data").text
    for url, index in (
        (f"sqlite:///{tmp_path}/cache.db", tmp_path / "cache.db.browse"),
        (f"json:///{tmp_path}/answers", tmp_path / "answers" / "browse-index.db"),
    ):
        assert f"`{index.name}`" in said
        with open_cache(url) as cache:
            cache.update("Who was Carl Sagan?", "model=demo", [Generation(text="An astronomer.")])
            assert cache.lookup("Who was Carl Sagan?", "model=demo")
            assert not index.exists(), "it is made when somebody browses"
            for _ in range(2):
                assert cache.entries(search="astro").total == 1
                index.unlink()  # at any time


@pytest.mark.parametrize("scheme", ["carrier-pigeon", "redis", "postgresql"])
@pytest.mark.parametrize("password", ["s3cret", "s3cret/and#more", "[s3cret"])
def test_a_password_in_a_strategys_address_is_not_shown(
    configure: Configure, read: Callable[..., Visitor], scheme: str, password: str
) -> None:
    configure(f"strategies:\n- {{name: far, url: '{scheme}://keeper:{password}@roof/1?token=abc123'}}\n")
    for section in SECTIONS:
        shown = read(section).everything
        assert "s3cret" not in shown
        assert "abc123" not in shown
    assert "roof" in "\n".join(tables(read("data"))[0].iloc[:, 1])


@pytest.mark.parametrize(
    ("sharing", "says"), [("shared", "all visitors share"), ("private", "each browser session has entries")]
)
def test_the_guide_says_who_shares_what(
    configure: Configure, read: Callable[..., Visitor], sharing: str, says: str
) -> None:
    configure(f"sharing: {sharing}\n")
    assert f"In this app {says}" in read("workings").text
