"""`record()` and `score()`: rows of the program's own, measurements and metadata apart."""

from __future__ import annotations

import json
import time
from typing import Any

import polars as pl
import pytest

import otel_research as otr


def row(exp: otr.Experiment, name: str) -> dict[str, Any]:
    (found,) = exp.spans().filter(pl.col("name") == name).collect().to_dicts()
    return found


def test_measurements_and_metadata_stay_apart(host: Any) -> None:
    """Measurements become `measurement.<key>`, metadata plain keys; both may use the same word."""
    with otr.experiment("apart") as exp:
        otr.record("my_app.accuracy.measured", {"accuracy": 0.94, "f1": 0.91}, {"model": "gpt-4", "accuracy": "top-1"})
    found = json.loads(row(exp, "my_app.accuracy.measured")["attributes"])
    ours = {key: value for key, value in found.items() if not key.startswith("experiment.")}
    assert ours == {
        "measurement.accuracy": 0.94, "measurement.f1": 0.91, "model": "gpt-4", "accuracy": "top-1",
    }  # fmt: skip


def test_a_record_is_a_point_in_time_and_no_latency(host: Any) -> None:
    """Without a duration the row has none, and enters neither latency nor reliability."""
    before = time.time_ns()
    with otr.experiment("point") as exp:
        otr.record("event", {"x": 1.0})
        host.call()
    found = row(exp, "event")
    assert before <= found["start_ns"] == found["end_ns"] <= time.time_ns()
    assert (found["duration_ms"], found["role"]) == (None, "record")
    metrics = exp.metrics()
    assert metrics.latency.count == metrics.reliability.total_requests == 1


@pytest.mark.parametrize(("given", "milliseconds"), [({"duration_ms": 12.5}, 12.5), ({"duration_us": 1500}, 1.5)])
def test_a_duration_is_the_rows_duration(host: Any, given: dict[str, float], milliseconds: float) -> None:
    """`duration_ms` and `duration_us` give the row its duration, ending now."""
    with otr.experiment("duration") as exp:
        otr.record("timed", given)
    assert row(exp, "timed")["duration_ms"] == milliseconds


def test_what_record_understands_reaches_the_numbers(host: Any) -> None:
    """Model, tokens, cost and success of a hand-made call count like an instrumented one."""
    with otr.experiment("by hand") as exp:
        call = {"duration_ms": 100, "model": "gpt-4o-mini", "input_tokens": 10, "output_tokens": 5, "cost_usd": 0.25}
        otr.record("call", {**call, "success": True})
        otr.record("call", {**call, "success": False})
    metrics = exp.metrics()
    assert (metrics.latency.count, metrics.latency.mean) == (2, 100.0)
    assert (metrics.tokens.total_input, metrics.tokens.total_output) == (20, 10)
    assert metrics.cost.total_usd == pytest.approx(0.5)
    assert (metrics.reliability.successes, metrics.reliability.failures) == (1, 1)


def test_custom_metrics_by_name(host: Any) -> None:
    """What is measured under a name is summarised under it."""
    with otr.experiment("named", metrics={"custom": ["accuracy"]}) as exp:
        for value in (0.5, 0.7, 0.9):
            otr.record("m", {"accuracy": value})
    custom = exp.metrics().custom["accuracy"]
    assert (custom["count"], custom["min"], custom["max"]) == (3, 0.5, 0.9)
    assert custom["mean"] == pytest.approx(0.7)


def test_metadata_may_be_any_json(host: Any) -> None:
    """Nested values and mixed lists become JSON text, unknown (None) is left out, NumPy's types are numbers."""
    import numpy as np

    with otr.experiment("json") as exp:
        otr.record(
            "m",
            {"x": np.float32(0.5), "vector": np.array([1, 2, 3])},
            {"config": {"a": [1, {"b": None}]}, "mixed": [1, "two", None], "none": None, "flags": [True, False]},
        )
    found = json.loads(row(exp, "m")["attributes"])
    assert found["measurement.x"] == 0.5
    assert found["measurement.vector"] == [1, 2, 3]
    assert json.loads(found["config"]) == {"a": [1, {"b": None}]}
    assert json.loads(found["mixed"]) == [1, "two", None]
    assert found["flags"] == [True, False]
    assert "none" not in found


def test_a_record_carries_the_labels_of_where_it_is_made(host: Any) -> None:
    """Condition, trial and item of the block; in no block, just the experiment."""
    exp = otr.start_experiment("labels")
    otr.record("plain", {"x": 1})
    with exp.arm("a"), exp.trial(item="q1") as trial:
        otr.record("inside", {"x": 1})
    otr.stop_experiment(exp)
    assert [row(exp, "inside")[key] for key in ("condition", "trial_id", "item_id")] == ["a", trial.id, "q1"]
    assert [row(exp, "plain")[key] for key in ("condition", "trial_id", "item_id")] == [None, None, None]


def test_a_score_is_a_row_of_its_own(host: Any) -> None:
    """It follows `gen_ai.evaluation.result`: name, value, label and explanation, in the trial it is about."""
    with otr.experiment("scores") as exp, exp.trial(item="q1") as trial:
        otr.score("accuracy", True, label="pass", explanation="exact match")
    found = row(exp, "gen_ai.evaluation.result")
    assert (found["score_name"], found["score_value"], found["score_label"]) == ("accuracy", 1.0, "pass")
    assert (found["trial_id"], found["role"]) == (trial.id, "score")
    assert json.loads(found["attributes"])["gen_ai.evaluation.explanation"] == "exact match"
    assert exp.trials().collect()["scores"].to_list() == ['{"accuracy":1.0}']


def test_a_trial_can_be_scored_from_outside_while_the_experiment_runs(host: Any) -> None:
    """By the trial or by its id: a judge that runs later in the program."""
    with otr.experiment("later") as exp:
        with exp.trial(item="q1") as first:
            pass
        with exp.trial(item="q2") as second:
            pass
        otr.score("accuracy", 1.0, trial=first)
        otr.score("accuracy", 0.0, trial=second.id)
    assert exp.trials().select("trial_id", "scores").collect().rows() == [
        (first.id, '{"accuracy":1.0}'), (second.id, '{"accuracy":0.0}'),
    ]  # fmt: skip


def test_a_score_after_the_run_is_an_annotation(disk_host: Any) -> None:
    """Sealed data stay as they are; the score is appended with author and time, and counts."""
    with otr.experiment("sealed") as exp, exp.trial(item="q1") as trial:
        pass
    sealed = exp.content_hash
    otr.score("accuracy", 0.5, trial=trial, explanation="by a person")
    otr.score("accuracy", 0.7, trial=trial.id, experiment=otr.get_experiment(exp.id))
    notes = exp.annotations()
    assert [(note["name"], note["value"], note["trial_id"]) for note in notes] == [
        ("accuracy", 0.5, trial.id), ("accuracy", 0.7, trial.id),
    ]  # fmt: skip
    assert all(note["author"] and note["time_ns"] for note in notes)
    assert otr.get_experiment(exp.id).content_hash == sealed
    assert exp.spans().collect().height == 1


def test_an_exclusion_is_an_annotation_and_leaves_the_data(host: Any) -> None:
    """An excluded trial is out of the numbers; its rows are still there, with the reason beside."""
    with otr.experiment("excluded") as exp:
        trials = []
        for item in ("q1", "q2", "q3"):
            with exp.trial(item=item) as trial:
                host.call()
            trials.append(trial)
    exp.exclude(trials[0], reason="the server was restarted")
    exp.exclude({"item_id": "q2"}, reason="ambiguous question")
    assert [note["reason"] for note in exp.annotations()] == ["the server was restarted", "ambiguous question"]
    assert exp.spans().collect().height == 6
    assert exp.metrics(unit="trial").n_units == 1


@pytest.mark.parametrize("value", [1e300, 10**400, 1e16])
def test_a_duration_that_began_before_1970_is_refused(host: Any, value: float) -> None:
    """A duration that no clock can have measured names itself; nothing is stored."""
    with otr.experiment("long") as exp:
        with pytest.raises(otr.ConfigurationError, match="duration_ms"):
            otr.record("event", {"duration_ms": value})
        otr.record("event", {"duration_ms": 86_400_000.0})
    assert exp.spans().collect()["duration_ms"].to_list() == [86_400_000.0]
