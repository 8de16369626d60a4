"""The comparison page: what it invites to, what a comparison shows, and how it is kept, opened and refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import lab.jobs
from lab.comparison import Run
from tests.pages.conftest import Configure, Visit
from tests.pages.visitor import Visitor
from ui.session import laboratory

OURS = ["none", "memory", "sqlite"]


def page(visitor: Visitor) -> Visitor:
    """Go to it."""
    return visitor.go("compare").assert_sound()


def compared(visitor: Visitor, *strategies: str, repeats: int = 400) -> Visitor:
    """Compare these strategies, and wait for the result."""
    visitor.choose(compare_strategies=list(strategies or OURS), compare_repeats=repeats)
    return visitor.click("compare_run").assert_sound()


def newest_run() -> Run:
    """The run that was kept last."""
    runs = laboratory().runs
    run = runs.get(runs.newest("shared", 1)[0].id)
    assert run is not None
    return run


def test_before_the_first_comparison_it_invites(visit: Visit) -> None:
    visitor = page(visit())
    assert "Nothing is compared yet." in visitor.text
    assert visitor.widget("compare_stop").disabled
    assert not visitor.widget("compare_run").disabled
    assert visitor.widget("compare_strategies").value == [
        "none", "memory", "sqlite", "json", "langchain-memory", "langchain-sqlite",
    ]  # fmt: skip


def test_a_comparison_shows_race_timings_sentences_charts_and_worth(visit: Visit) -> None:
    visitor = compared(page(visit()))
    run = newest_run()
    assert visitor.at.query_params["run"] == run.id
    for name in OURS:
        assert f"race_{name}" in visitor.keys
    assert visitor.text.count("First, cold: **Miss**") == 2
    assert visitor.text.count("Again, warm: **Hit**") == 2
    assert re.search(r"A stored answer comes back in \S+ .?s to \S+ .?s instead of", visitor.text)
    table = visitor.at.table[0].value
    assert sorted(table.columns) == ["Memory", "SQLite"]
    assert list(table.loc["n"]) == ["400", "400"]
    assert list(table.loc["Failed calls"]) == ["0", "0"]
    assert "SQLite: a hit takes" in visitor.text.replace("**", "")
    assert "as long as Memory (between" in visitor.text
    assert len(visitor.at.get("vega_lite_chart")) == 4
    assert visitor.figure("Model calls saved a month") == "90,000"
    assert "in a process of its own" in visitor.text
    assert "That time is simulated." in visitor.text


@pytest.mark.parametrize(("what", "n"), [("invokes", "400"), ("stores", "100")])
def test_the_table_tells_of_whole_calls_and_of_stores_too(visit: Visit, what: str, n: str) -> None:
    visitor = compared(page(visit()), "memory", "json").choose(compare_what=what)
    assert list(visitor.at.table[0].value.loc["n"]) == [n, n]


def test_too_few_timings_show_no_p99(visit: Visit) -> None:
    visitor = compared(page(visit()), "memory").choose(compare_what="stores")
    table = visitor.at.table[0].value
    assert table.loc["p99", "Memory"] == "–"
    assert table.loc["p95", "Memory"] != "–"


def test_a_link_opens_the_comparison_in_another_session(visit: Visit) -> None:
    compared(page(visit()), "memory")
    run = newest_run()
    other = page(visit(run=run.id))
    assert other.at.table[0].value.loc["n", "Memory"] == "400"


@pytest.mark.parametrize("link", ["0123456789abcdef", "../../etc/passwd", "", "<b>x</b>", "\0", "x" * 5_000])
def test_a_link_to_nothing_says_so(visit: Visit, link: str) -> None:
    visitor = page(visit(run=link))
    said = [error.value for error in visitor.at.error]
    assert said == ([] if not link else ["There is no comparison under this link\\. It may have been removed, or the "
                                         "link is incomplete\\."])  # fmt: skip


def test_a_comparison_is_still_there_after_another_page(visit: Visit) -> None:
    visitor = compared(page(visit()), "memory")
    before = visitor.at.table[0].value
    page(visitor.go("playground"))
    assert visitor.at.table[0].value.equals(before)


def test_a_comparison_is_named_kept_opened_and_removed(visit: Visit) -> None:
    visitor = compared(page(visit()), "memory")
    run = newest_run()
    visitor.choose(**{f"compare_name_{run.id}": "  before the <b>upgrade</b> "}).click("compare_rename")
    assert newest_run().name == "before the <b>upgrade</b>"
    assert "### before the <b>upgrade</b>" in visitor.text
    other = page(visit()).choose(compare_kept=run.id).click("compare_open").assert_sound()
    assert other.at.query_params["run"] == run.id
    other.click("compare_remove").assert_sound()
    assert "Nothing is compared yet." in other.text
    assert laboratory().runs.newest("shared", 10) == []


def test_another_comparison_is_set_beside(visit: Visit) -> None:
    visitor = compared(page(visit()), "memory")
    first = newest_run()
    compared(visitor, "memory").choose(compare_beside=first.id).assert_sound()
    beside = visitor.at.table[1].value
    assert list(beside.columns) == ["What was timed", "This one", "The other", "This / other"]
    assert len(beside) == 3
    assert all(cell.endswith("×") for cell in beside["This / other"])


def test_a_strategy_that_fails_is_listed_with_its_reason(visit: Visit, configure: Configure) -> None:
    configure(
        "strategies:\n  - {name: memory, url: 'memory://'}\n"
        "  - {name: broken, langchain: nowhere.Cache}\n  - {name: small, url: 'memory://?max_bytes=1'}\n"
    )
    visitor = compared(page(visit()), "memory", "broken", "small")
    warnings = " ".join(warning.value for warning in visitor.at.warning).replace("\\", "")
    assert "broken could not be measured to the end: nowhere.Cache can't be imported" in warnings
    assert "small could not be measured to the end" in warnings
    assert list(visitor.at.table[0].value.columns) == ["Memory"]


def test_what_the_settings_have_no_longer_is_no_longer_chosen(visit: Visit, configure: Configure) -> None:
    own = "strategies:\n  - {name: memory, url: 'memory://'}\n  - {name: gone, url: 'memory://'}\n"
    server = "endpoints:\n  - {name: old, base_url: 'http://127.0.0.1:9/v1', models: [m]}\n"
    configure(own + server)
    visitor = page(visit()).choose(compare_model="old/m", compare_strategies=["memory", "gone"])
    configure("strategies:\n  - {name: memory, url: 'memory://'}\n")
    visitor.look().assert_sound()
    assert visitor.widget("compare_strategies").value == ["memory"]
    assert visitor.widget("compare_model").value == "simulated"


@pytest.mark.parametrize("cost_usd", [-5e9, 5e9])
def test_a_run_that_was_written_by_hand_breaks_no_page(visit: Visit, cost_usd: float) -> None:
    compared(page(visit()), "memory")
    run = newest_run()
    cold = run.compared[0].cold
    assert cold is not None
    odd = replace(run.compared[0], cold=replace(cold, cost_usd=cost_usd, total_s=0.0))
    laboratory().runs.keep(replace(run, compared=(odd,)))
    page(visit(run=run.id))
    laboratory().runs.keep(replace(run, compared=(odd, odd)))
    said = page(visit(run=run.id)).at.error
    assert ["damaged and can't be shown" in error.value for error in said] == [True]


def test_a_refused_comparison_says_why(visit: Visit) -> None:
    visitor = page(visit())
    assert "Choose at least one strategy" in visitor.choose(compare_strategies=[]).click("compare_run").text
    visitor.choose(compare_strategies=["memory"], compare_prompt=" ").click("compare_run")
    assert "The prompt is empty." in visitor.text
    visitor.choose(compare_prompt="x" * 100_001).click("compare_run")
    assert "The prompt has 100,001 characters, and at most 100,000 are allowed." in visitor.text
    assert "characters, and at most" not in visitor.choose(compare_prompt="Who was Carl Sagan?").text


def test_one_comparison_too_many_is_not_begun(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = page(visit())
    monkeypatch.setattr(lab.jobs, "MAX_RUNNING", 0)
    assert "So many requests are running" in visitor.click("compare_run").text


def test_the_cost_of_a_real_model_is_told_before_it_is_spent(visit: Visit) -> None:
    visitor = page(visit()).choose(compare_model="openai/gpt-4o-mini", compare_strategies=["memory", "sqlite"])
    assert "The model will be called once, and its answer stored in every strategy. That costs about" in visitor.text
    once = re.search(r"about US\$ ([\d.]+)", visitor.text)
    each = re.search(r"called 2 times. That costs about US\$ ([\d.]+)", visitor.choose(compare_ask_each=True).text)
    assert once is not None
    assert each is not None
    assert float(each[1]) == pytest.approx(2 * float(once[1]), rel=0.1)


def test_without_a_key_nothing_is_asked_and_every_strategy_says_so(visit: Visit) -> None:
    visitor = page(visit()).choose(compare_model="openai/gpt-4o-mini")
    compared(visitor, "memory", "sqlite")
    assert len(visitor.at.warning) == 2
    assert all("needs a key" in warning.value for warning in visitor.at.warning)
    assert not visitor.at.table


def test_the_worth_follows_from_what_is_typed_and_from_the_history(visit: Visit) -> None:
    visitor = visit(strategy="memory").ask("Who was Carl Sagan?").click("ask_again").click("ask_again")
    compared(page(visitor), "memory")
    visitor.choose(cost_requests=1_000).click("cost_from_history").assert_sound()
    assert visitor.widget("cost_hit_ratio").value == 67
    assert visitor.figure("Model calls saved a month") == "20,100"


def test_nothing_stays_in_the_stores(visit: Visit) -> None:
    compared(page(visit()), "memory", "sqlite", "json", "langchain-sqlite")
    strategies = laboratory().strategies
    for name in ("memory", "sqlite", "json"):
        assert strategies.get(name, "x").cache.namespaces() == []  # type: ignore[union-attr]
