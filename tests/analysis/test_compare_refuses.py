"""What `compare` cannot answer is None with a reason, or refused with what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from frames import Rows

from otel_research.analysis.compare import compare
from otel_research.analysis.subject import Subject
from otel_research.errors import ConfigurationError, NotEnoughData


def two_arms() -> tuple[Subject, Subject]:
    rows = Rows()
    for condition in ("a", "b"):
        for length in (90.0, 100.0, 120.0):
            rows.trial(length, condition=condition)
    subject = rows.subject()
    return subject.where({"condition": "a"}), subject.where({"condition": "b"})


@pytest.mark.parametrize(
    ("baseline", "candidate", "reason"),
    [
        ([5.0], [6.0, 7.0], "effects.latency.test"),
        ([5.0, 5.0, 5.0], [5.0, 5.0, 5.0], "effects.latency.test"),
        ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], "effects.latency.estimand"),
    ],
)
def test_what_cannot_be_answered_is_none_with_the_reason(
    baseline: list[float], candidate: list[float], reason: str
) -> None:
    found = compare(baseline, candidate)
    assert reason in found.reasons
    assert found.verdict == "inconclusive"
    json.loads(found.to_json())


@pytest.mark.parametrize(
    ("sides", "options", "error", "words"),
    [
        (([], [1.0]), {}, NotEnoughData, "baseline is empty"),
        (([1.0, float("nan")], [1.0]), {}, NotEnoughData, "NaN"),
        ((["x"], [1.0]), {}, ConfigurationError, "not a sequence of numbers"),
        ((3.0, [1.0]), {}, ConfigurationError, "cannot compare a float"),
        (([1.0, 2.0], [1.0, 2.0]), {"estimand": "mode"}, ConfigurationError, "'geomean'"),
        (([1.0, 2.0], [1.0, 2.0]), {"correction": "hope"}, ConfigurationError, "'holm'"),
        (([1.0, 2.0], [1.0, 2.0]), {"alpha": 95}, ConfigurationError, "0.05"),
        (([1.0, 2.0], [1.0, 2.0, 3.0]), {"paired": True}, NotEnoughData, "share 0"),
        (([1.0, 2.0], [1.0, 2.0]), {"paired": "maybe"}, ConfigurationError, "paired='maybe'"),
    ],
)
def test_bad_input_is_refused_with_what_to_do(
    sides: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        compare(*sides, **options)


def test_subjects_without_a_common_outcome_are_refused() -> None:
    rows = Rows()
    rows.span(100.0, role="agent")
    with pytest.raises(NotEnoughData, match="no outcome in common"):
        compare(rows.subject(), rows.subject())
    with pytest.raises(ConfigurationError, match="'f1'"):
        compare(*two_arms(), metrics=["f1"])
    with pytest.raises(ConfigurationError, match="one of each"):
        compare(two_arms()[0], [1.0, 2.0])
