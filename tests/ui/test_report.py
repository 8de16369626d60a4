"""What is taken away from a comparison: a page that needs nothing from elsewhere, and numbers for a spreadsheet."""

from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import replace

import pytest

from lab.comparison import Run, Timings
from tests.ui.made_up_run import compared, run
from ui import compare_sentences, language
from ui.compare_downloads import numbers_csv
from ui.compare_table import table
from ui.metrics import METRICS, WHATS
from ui.report import report

HOSTILE = '</title><script>alert(1)</script><img src="http://evil.example/x" onerror=alert(1)>'
NAMES = ["none", "memory", "sqlite"]


def written(made: Run, code: str = "en", worth: list[str] | None = None) -> str:
    """The report as text."""
    return report(made, worth or [], code, None, NAMES).decode()


def rows(made: Run) -> list[dict[str, str]]:
    """The rows of the CSV."""
    return list(csv.DictReader(io.StringIO(numbers_csv(made).decode("utf-8-sig"))))


@pytest.mark.parametrize("code", ["en", "pt-BR"])
def test_the_report_holds_every_number_of_the_tables_in_its_language(code: str) -> None:
    made = run()
    page = written(made, code)
    with language.spoken(code):
        for what in WHATS:
            cells = table(made, what)
            assert cells.size == 2 * len(METRICS)
            for text in cells.to_numpy().ravel():
                assert f">{html.escape(text)}</td>" in page
        for sentence in compare_sentences.method(made):
            assert html.escape(sentence, quote=False) in page.replace("&#39;", "'").replace("&#34;", '"')
    assert f'<html lang="{code}">' in page


def test_the_report_holds_all_sentences_the_worth_and_the_machine() -> None:
    made = run()
    page = html.unescape(written(made, worth=["Saved in a month: US$ 5."]))
    sentences = [compare_sentences.row_sentence(made, each) for each in made.compared]
    for said in (*sentences, *compare_sentences.remarks(made), compare_sentences.headline(made)):
        assert said is not None
        assert said in page
    assert "Saved in a month: US$ 5." in page
    assert "Linux 6, x86_64, 2 cores; Python 3.11.2, apsw 3.51" in page
    assert "That time is simulated." in page


def test_the_report_has_its_charts_in_it_with_their_numbers_in_words() -> None:
    page = written(run())
    assert page.count("<svg") == 4
    assert "Lookup 15.0 µs" in html.unescape(page)


def test_the_report_fetches_and_runs_nothing() -> None:
    page = written(run(name=HOSTILE))
    assert "<script" not in page
    assert "<img" not in page
    assert "default-src 'none'" in html.unescape(page)
    addresses = set(re.findall(r"https?://[^\s\"'<&]+", page)) - {"http://evil.example/x"}  # which is text there
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"\s(?:src|href|xlink:href)=", re.sub(r"&lt;.*?&gt;", "", page))


def test_what_a_model_or_a_cache_said_is_only_ever_text() -> None:
    made = run(compared("memory", 10e-6, problem=HOSTILE))
    cold = made.compared[0].cold
    assert cold is not None
    made = replace(made, compared=(replace(made.compared[0], cold=replace(cold, answer=HOSTILE + "\0")),))
    page = written(made)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_report_of_nothing_measured_says_why() -> None:
    nothing = {"cold": None, "warm": None, "lookups": Timings(), "invokes": Timings(), "stores": Timings()}
    made = run(compared("sqlite", 1.0, problem="The disk is gone.", **nothing))
    page = html.unescape(written(made))
    assert "SQLite could not be measured to the end: The disk is gone." in page
    assert "<svg" not in page


def test_the_numbers_have_a_row_for_each_strategy_and_thing_timed() -> None:
    found = rows(run())
    assert [(row["strategy"], row["timed"]) for row in found] == [
        (name, what) for name in ("memory", "sqlite") for what in WHATS
    ]
    first, fourth = found[0], found[3]
    assert float(first["median_s"]) == pytest.approx(10e-6 * 1.49875)
    assert (first["n"], first["failures"], first["entry_bytes"], first["survives_restart"]) == (
        "400", "0", "4321", "True",
    )  # fmt: skip
    assert first["times_the_baseline"] == ""
    assert float(fourth["times_the_baseline"]) == pytest.approx(2, rel=0.01)
    assert float(fourth["times_the_baseline_low"]) <= 2 <= float(fourth["times_the_baseline_high"]) * 1.001
    assert found[2]["failures"] == "2"


def test_a_spreadsheet_runs_none_of_the_numbers() -> None:
    found = rows(run(compared("memory", 10e-6, problem="=cmd|' /C calc'!A0")))
    assert found[0]["problem"] == "'=cmd|' /C calc'!A0"


def test_a_new_metric_is_in_table_report_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    added = replace(METRICS[1], key="added_s", title=lambda: "Added", value=lambda _c, _t, _s: 12.5)
    for module in ("ui.compare_table", "ui.compare_downloads"):
        monkeypatch.setattr(f"{module}.METRICS", (*METRICS, added))
    made = run()
    assert list(table(made, "lookups").loc["Added"]) == ["12.5\u00a0s"] * 2
    assert "Added" in written(made)
    assert rows(made)[0]["added_s"] == "12.5"
