"""What the entries page begins: when a list may lack entries that are there."""

from __future__ import annotations

import pytest

from lab.indexing import Progress
from lab.jobs import Job
from ui.entries_jobs import is_behind


@pytest.mark.parametrize(
    ("steps", "ended", "behind"),
    [
        ([], False, True),
        ([Progress(3, 10)], False, True),
        ([Progress(3, None)], False, True),
        ([Progress(10, 10)], False, False),
        ([Progress(0, 0)], False, False),
        ([Progress(3, 10)], True, False),
    ],
)
def test_a_list_is_behind_until_the_index_has_all_that_is_new(steps: list[Progress], ended: bool, behind: bool) -> None:
    job: Job[Progress, None] = Job()
    for step in steps:
        job.show(step)
    if ended:
        job.run(lambda _: None)
    assert is_behind(job) == behind
