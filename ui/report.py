"""A comparison as one HTML file that needs nothing from elsewhere: texts, tables, and charts as SVG."""

from __future__ import annotations

from pathlib import Path

import altair as alt
import vl_convert
from jinja2 import Environment, FileSystemLoader

from lab.comparison import Run
from ui import compare_charts, compare_sentences, words
from ui.colours import in_light
from ui.compare_table import table
from ui.language import LANGUAGES, _, spoken
from ui.metrics import WHATS, what_it_is, what_title
from ui.numbers import DASH, duration, moment
from ui.session import laboratory

TEMPLATES = Path(__file__).parent
WIDTH = 760
"""Pixels of a chart."""


def report(run: Run, worth: list[str], code: str, timezone: str | None, strategies: list[str]) -> bytes:
    """The whole comparison as UTF-8 HTML in the language of `code`; `worth` is what the cost panel says."""
    assert code in LANGUAGES
    with spoken(code), in_light():
        return _written(run, worth, code, timezone, strategies).encode()


def _written(run: Run, worth: list[str], code: str, timezone: str | None, strategies: list[str]) -> str:
    template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("report.html")
    hit, miss = compare_charts.parts_of_hit(run), compare_charts.parts_of_miss(run)
    return template.render(
        say={
            "measured": _("Measured at {time}").format(time=moment(run.began_at, timezone)),
            "stopped": _("Stopped before its end"),
            "prompt": _("Prompt"),
            "race": _("One prompt, cold and warm"),
            "table": _("Fastest first; less is better."),
            "words": _("In words"),
            "odd": _("What is odd about these timings"),
            "worth": _("What it is worth"),
            "method": _("How it was measured, and on what"),
        },
        language=code,
        title=run.name or run.request.prompt,
        run=run,
        timezone=timezone or "UTC",
        model=words.model(laboratory(), run.request.model_id),
        sentences=[each for each in (compare_sentences.headline(run), compare_sentences.model_note(run)) if each],
        problems=[
            _("{strategy} could not be measured to the end: {reason}").format(strategy=name, reason=reason)
            for name, reason in compare_sentences.problems(run)
        ],
        race=_race(run),
        tables=[(what_title(what), what_it_is(what), table(run, what)) for what in WHATS],
        rows=[(compare_sentences.title(each), compare_sentences.row_sentence(run, each)) for each in run.measured],
        remarks=compare_sentences.remarks(run),
        charts=[
            (_("How fast is a hit?"), _svg(compare_charts.medians_chart(run)), []),
            (
                _("How much do hits vary?"),
                _svg(compare_charts.distribution_chart(run, "lookups", strategies)),
                [_("Inside the cache. A steep line hardly varies; one further left is faster.")],
            ),
            (
                _("Where does the time of a hit go?"),
                _svg(compare_charts.parts_chart(hit)),
                compare_charts.parts_in_words(hit),
            ),
            (
                _("Where did the time of the first, cold request go?"),
                _svg(compare_charts.parts_chart(miss)),
                compare_charts.parts_in_words(miss),
            ),
        ],
        worth=worth,
        method=compare_sentences.method(run),
        machine=compare_sentences.machine_line(run),
    )


def _race(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each strategy with the lines of its race."""
    raced = []
    for each in run.compared:
        lines = []
        for act, measured in ((_("First, cold"), each.cold), (_("Again, warm"), each.warm)):
            if measured is not None:
                outcome = words.outcome(measured.shown_outcome)
                parts = ", ".join(
                    f"{name} {duration(seconds)}"
                    for name, seconds in (
                        (_("Lookup"), measured.lookup_s),
                        (_("Model"), measured.model_s),
                        (_("Store"), measured.store_s),
                    )
                    if seconds is not None
                )
                lines.append((act, f"{outcome}, {duration(measured.total_s or None)} ({parts or DASH})"))
        answer = each.cold.answer if each.cold is not None else ""
        lines.append((_("Answer"), answer or each.problem or DASH))
        raced.append((compare_sentences.title(each), lines))
    return raced


def _svg(chart: alt.Chart | alt.LayerChart | None) -> str | None:
    """The chart as SVG. What is fetched from elsewhere while it is drawn: nothing."""
    if chart is None:
        return None
    wide = chart.properties(width=WIDTH).configure_view(stroke=None)
    drawn: str = vl_convert.vegalite_to_svg(wide.to_dict(), allowed_base_urls=[])
    return drawn
