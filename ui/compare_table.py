"""The timings of a comparison as a table of texts."""

from __future__ import annotations

import pandas as pd

from lab.comparison import Run
from ui import compare_sentences
from ui.language import _
from ui.metrics import METRICS, What

NO_BREAK_SPACE = "\u00a0"


def table(run: Run, what: What) -> pd.DataFrame:
    """The metrics of every strategy that was timed, fastest first, the strategies as index."""
    return pd.DataFrame(
        [
            {metric.title(): metric.text(each, what).replace(" ", NO_BREAK_SPACE) for metric in METRICS}
            for each in run.measured
        ],
        index=pd.Index([compare_sentences.title(each) for each in run.measured], name=_("Strategy")),
    )
