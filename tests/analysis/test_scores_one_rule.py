"""Scores follow one rule in every analysis: those of counted trials, and per trial and name the last."""

from __future__ import annotations

import json
from typing import Any

import pytest
from frames import Rows

from otel_research.analysis.compare import compare
from otel_research.analysis.metrics import calculate_metrics, metrics_by
from otel_research.analysis.series import time_series
from otel_research.analysis.subject import Subject
from otel_research.analysis.trials import trials


def later(trial: str | None, value: float | None, name: str = "acc", **fields: Any) -> dict[str, Any]:
    return {"kind": "score", "trial_id": trial, "name": name, "value": value, **fields}


def two_arms(*notes: dict[str, Any]) -> Subject:
    """Three trials of a, scored 1.0 after the run, and three of b, scored 0.0."""
    rows = Rows()
    scores = []
    for condition, value in (("a", 1.0), ("b", 0.0)):
        for item in range(3):
            scores.append(later(rows.trial(100.0 + item, condition=condition, item_id=f"q{item}"), value))
    return rows.subject(annotations=(*scores, *notes))


def numbers(subject: Subject, **options: Any) -> tuple[float, int]:
    custom = calculate_metrics(subject, **options).custom
    assert custom is not None
    return custom["acc"]["mean"], custom["acc"]["count"]


@pytest.mark.parametrize("unit", ["call", "trial", "span"])
def test_scores_after_the_run_are_of_the_selected_trials_only(unit: str) -> None:
    """A selection, `where=` and groups give the same numbers."""
    subject = two_arms()
    assert numbers(subject.where({"condition": "a"}), unit=unit) == (1.0, 3)
    assert numbers(subject, where={"condition": "a"}, unit=unit) == (1.0, 3)
    by = metrics_by(subject, "condition", unit=unit)["a"].custom
    assert by is not None
    assert (by["acc"]["mean"], by["acc"]["count"]) == (1.0, 3)


def test_scores_of_excluded_trials_are_out() -> None:
    note = {"kind": "exclusion", "where": {"condition": "a"}, "reason": "another prompt"}
    assert numbers(two_arms(note)) == (0.0, 3)


def test_a_score_that_names_no_trial_is_in_no_number_and_named() -> None:
    found = calculate_metrics(two_arms(later(None, 100.0)))
    assert found.custom is not None
    assert found.custom["acc"]["count"] == 6
    warning = next(one for one in found.warnings if one.code == "unplaced_scores")
    assert (warning.severity, warning.value) == ("warning", 1.0)


def rescored() -> Subject:
    """Scores that were corrected during the run, after it, and withdrawn."""
    rows = Rows()
    for index in range(6):
        trial = rows.trial(100.0 + index, condition="ab"[index % 2], item_id=f"q{index // 2}")
        rows.score("during", 0.0, trial_id=trial, start_ns=rows.now + 2)
        rows.score("during", 1.0, trial_id=trial, start_ns=rows.now + 3)
        rows.score("acc", 0.0, trial_id=trial)
    ids = [row["span_id"] for row in rows.rows if row["role"] == "trial"]
    notes = [later(one, 0.25) for one in ids] + [later(one, 0.75) for one in ids]
    return rows.subject(annotations=(*notes, later(ids[0], None, label="unsure")))


def test_the_last_score_of_a_trial_counts_in_metrics_trials_comparisons_and_series() -> None:
    subject = rescored()
    told = [json.loads(text) for text in trials(subject).collect()["scores"]]
    assert [one["acc"] for one in told] == ["unsure", *[0.75] * 5]
    assert {one["during"] for one in told} == {1.0}
    found = calculate_metrics(subject).custom
    assert found is not None
    assert (found["acc"]["mean"], found["acc"]["count"], found["acc"]["min"]) == (0.75, 5, 0.75)
    assert (found["during"]["mean"], found["during"]["count"]) == (1.0, 6)
    compared = compare(subject.where({"condition": "a"}), subject.where({"condition": "b"}), metrics=("acc",))
    assert (compared.effects["acc"].mean.baseline, compared.effects["acc"].mean.candidate) == (0.75, 0.75)
    series = time_series(subject, "acc", "1h")
    assert (series["count"].sum(), series["mean"].to_list()) == (5, [0.75])


def test_measurements_are_not_scores_and_all_count() -> None:
    rows = Rows()
    trial = rows.trial(100.0)
    for value in (1.0, 3.0):
        rows.record({"acc": value}, trial_id=trial)
    assert numbers(rows.subject()) == (2.0, 2)
