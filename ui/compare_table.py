"""The timings of a comparison as a table of texts."""

from __future__ import annotations

import pandas as pd

from lab.comparison import Run
from ui import compare_sentences
from ui.metrics import METRICS, Metric, What

NO_BREAK_SPACE = "\u00a0"


def table(run: Run, what: What, *, mark_best: bool = False) -> pd.DataFrame:
    """A row for each metric, a column for each strategy that was timed, fastest first.

    With `mark_best` the best value of a row is bold, in Markdown.
    """
    rows = [_row(run, metric, what, mark_best=mark_best) for metric in METRICS]
    names = [compare_sentences.title(each) for each in run.measured]
    titles = pd.Index([metric.title() for metric in METRICS], name="")
    return pd.DataFrame(rows, columns=pd.Index(names), index=titles)


def _row(run: Run, metric: Metric, what: What, *, mark_best: bool) -> list[str]:
    texts = [metric.text(each, what).replace(" ", NO_BREAK_SPACE) for each in run.measured]
    values = [metric.raw(each, what) for each in run.measured]
    known = [value for value in values if value is not None]
    if not mark_best or not metric.lower_is_better or len(set(known)) < 2:
        return texts
    best = min(known)
    return [f"**{text}**" if value == best else text for text, value in zip(texts, values, strict=True)]
