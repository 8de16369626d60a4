"""The reason behind each way in which a request can end."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from lab.explain import Explanation, Reason, explain
from lab.history import Kept
from lab.measurement import FailureKind
from tests.lab.building import measurement

ASKED_AT = 1_000_000.0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"outcome": "hit", "entry_age_s": 180.0}, Explanation("found", 180.0)),
        ({"outcome": "hit", "entry_age_s": None}, Explanation("found")),
        ({"outcome": "expired", "expired_for_s": 10.0, "entry_age_s": 70.0}, Explanation("expired", 10.0)),
        ({"outcome": "shared", "expired_for_s": 10.0}, Explanation("shared")),
        ({"outcome": "corrupt"}, Explanation("damaged")),
        ({"outcome": "error"}, Explanation("cache_failed")),
        ({"outcome": "bypass", "not_stored": "bypass"}, Explanation("bypassed")),
        ({"outcome": "bypass", "not_stored": "no_cache"}, Explanation("no_cache")),
        ({"outcome": "miss"}, Explanation("first_time")),
        ({"outcome": "bypass", "failure": "strategy_unavailable"}, Explanation("strategy_unavailable")),
    ],
)
def test_an_outcome_has_its_reason(changes: Any, expected: Explanation) -> None:
    assert explain(measurement(asked_at=ASKED_AT, **changes), None, None) == expected


@pytest.mark.parametrize("failure", [kind for kind in get_args(FailureKind) if kind != "strategy_unavailable"])
@pytest.mark.parametrize("outcome", ["miss", "expired", "corrupt", "error", "bypass", "shared"])
def test_where_there_is_no_answer_that_is_the_reason(failure: Any, outcome: Any) -> None:
    failed = measurement(outcome=outcome, failure=failure, not_stored="no_cache")
    assert explain(failed, Kept(5), 6) == Explanation("model_failed")


@pytest.mark.parametrize(
    ("kept_at", "emptied_at", "expected"),
    [
        (None, None, Explanation("first_time")),
        (None, ASKED_AT - 5, Explanation("first_time")),
        (ASKED_AT - 60, None, Explanation("removed_since", 60)),
        (ASKED_AT - 60, ASKED_AT - 5, Explanation("emptied_by_restart", 5)),
        (ASKED_AT - 60, ASKED_AT - 60, Explanation("emptied_by_restart", 60)),
        (ASKED_AT - 60, ASKED_AT - 90, Explanation("removed_since", 60)),
    ],
)
def test_a_miss_of_what_was_there_before_says_what_became_of_it(
    kept_at: float | None, emptied_at: float | None, expected: Explanation
) -> None:
    kept = None if kept_at is None else Kept(kept_at)
    assert explain(measurement(asked_at=ASKED_AT), kept, emptied_at) == expected


def test_every_reason_is_given_somewhere() -> None:
    assert set(get_args(Reason)) == {
        "found", "shared", "first_time", "expired", "emptied_by_restart", "removed_since", "damaged", "cache_failed",
        "no_cache", "bypassed", "model_failed", "strategy_unavailable",
    }  # fmt: skip
