"""`trials`: one row per trial, lazily, with what its calls added up to."""

from __future__ import annotations

import json

import polars as pl
from frames import START, Rows

from otel_research.analysis.trials import COLUMNS, trials


def test_a_trial_has_one_row_with_its_outcome_sums_and_scores() -> None:
    rows = Rows()
    one = rows.trial(300.0, calls=2, condition="a", item_id="q1", repetition=1, call_usd=0.01, call_input_tokens=5)
    rows.score('say "hi"', 0.5, trial_id=one)
    rows.score("accuracy", 0.0, trial_id=one, start_ns=rows.now + 1)
    rows.score("accuracy", 1.0, trial_id=one, start_ns=rows.now + 2)
    frame = trials(rows.frame())
    assert isinstance(frame, pl.LazyFrame)
    table = frame.collect()
    assert table.columns == list(COLUMNS)
    row = table.row(0, named=True)
    assert json.loads(row.pop("scores")) == {'say "hi"': 0.5, "accuracy": 1.0}
    assert row == {
        "trial_id": one,
        "condition": "a",
        "item_id": "q1",
        "repetition": 1,
        "session_id": None,
        "factors": None,
        "start_ns": START,
        "latency_ms": 300.0,
        "outcome": "ok",
        "failure_reason": None,
        "calls": 2,
        "cost_usd": 0.02,
        "cost_nano_usd": 20_000_000,
        "unpriced_calls": 0,
        "input_tokens": 10,
        "output_tokens": None,
    }


def test_outcomes_are_ok_failed_interrupted_or_excluded_with_the_reason() -> None:
    rows = Rows()
    rows.trial(100.0)
    rows.trial(100.0, status="error", status_message="wrong answer", error_type="Wrong")
    rows.trial(None, calls=0, status="interrupted")
    out = rows.trial(100.0, status="error", error_type="Boom")
    rows.trial(100.0, item_id="q9")
    notes = (
        {"kind": "exclusion", "trial_id": out, "reason": "warm-up"},
        {"kind": "exclusion", "where": {"item_id": "q9"}, "reason": "leaked into the prompt"},
    )
    table = trials(rows.frame(), notes).collect()
    assert table["outcome"].to_list() == ["ok", "failed", "interrupted", "excluded", "excluded"]
    assert table["failure_reason"].to_list() == [None, "wrong answer", None, "warm-up", "leaked into the prompt"]
    assert table["latency_ms"].to_list() == [100.0, 100.0, None, 100.0, 100.0]
    assert trials(rows.subject(annotations=notes)).collect().equals(table)


def test_an_unpriced_call_makes_the_trials_cost_unknown_and_no_call_makes_it_zero() -> None:
    rows = Rows()
    rows.trial(100.0, calls=1, call_usd=0.01)
    rows.trial(100.0, calls=2)
    rows.trial(100.0, calls=0)
    table = trials(rows.frame()).collect()
    assert table["cost_usd"].to_list() == [0.01, None, 0.0]
    assert table["unpriced_calls"].to_list() == [0, 2, 0]
    assert table["calls"].to_list() == [1, 2, 0]


def test_evaluation_calls_are_no_part_of_a_trials_cost() -> None:
    rows = Rows()
    trial = rows.trial(100.0, calls=1, call_usd=0.01)
    rows.call(50.0, usd=5.0, trial_id=trial, aside="judge")
    assert trials(rows.frame()).collect()["cost_usd"].to_list() == [0.01]


def test_scores_after_the_run_count_and_a_label_stands_where_there_is_no_value() -> None:
    rows = Rows()
    trial = rows.trial(100.0)
    rows.score("accuracy", 0.0, trial_id=trial)
    notes = (
        {"kind": "score", "trial_id": trial, "name": "accuracy", "value": 1.0, "label": None},
        {"kind": "score", "trial_id": trial, "name": "verdict", "value": None, "label": "good"},
    )
    scores = trials(rows.frame(), notes).collect()["scores"][0]
    assert json.loads(scores) == {"accuracy": 1.0, "verdict": "good"}


def test_without_trials_there_are_no_rows_but_all_columns() -> None:
    rows = Rows()
    rows.call(100.0)
    table = trials(rows.frame()).collect()
    assert table.height == 0
    assert table.columns == list(COLUMNS)
