"""`calculate_metrics` and `metrics_by` against hand-computed numbers, numpy and scipy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
from frames import MS, START, Rows
from scipy import stats

from otel_research.analysis.metrics import calculate_metrics, metrics_by
from otel_research.analysis.subject import Subject
from otel_research.errors import ConfigurationError
from otel_research.experiments import ExperimentRecord


def latencies(values: list[float], **fields: Any) -> Subject:
    rows = Rows()
    for value in values:
        rows.call(value, **fields)
    return rows.subject()


def test_latency_equals_numpy_and_scipy_in_every_field() -> None:
    x = np.random.default_rng(1).lognormal(5, 1, 501)
    found = calculate_metrics(latencies(x.tolist())).latency
    assert found is not None
    expected = {
        "count": 501,
        "mean": x.mean(),
        "median": np.median(x),
        "min": x.min(),
        "max": x.max(),
        "stdev": x.std(ddof=1),
        "variance": x.var(ddof=1),
        "geomean": stats.gmean(x),
        "iqr": stats.iqr(x),
        "mad": stats.median_abs_deviation(x),
    } | {
        name: np.quantile(x, p)
        for name, p in {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}.items()
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-12), name


def test_the_mean_has_the_t_interval_and_the_rate_wilsons() -> None:
    x = np.random.default_rng(2).normal(100, 10, 40)
    rows = Rows()
    for index, value in enumerate(x):
        rows.call(float(value), status="error" if index < 3 else "ok", error_type="Boom" if index < 3 else None)
    found = calculate_metrics(rows.subject())
    assert found.latency is not None
    assert found.reliability is not None
    low, high = stats.t.interval(0.95, 39, x.mean(), stats.sem(x))
    assert (found.latency.ci["mean"].low, found.latency.ci["mean"].high) == pytest.approx((low, high))
    wilson = stats.binomtest(37, 40).proportion_ci(method="wilson")
    rate = found.reliability.ci["success_rate"]
    assert (rate.low, rate.high) == pytest.approx((wilson.low, wilson.high))


def test_a_tail_says_how_many_units_it_needs_and_refuses_its_interval_below() -> None:
    found = calculate_metrics(latencies([float(i) for i in range(1, 101)]))
    assert found.latency is not None
    assert found.latency.n_required == {"p50": 4, "p90": 36, "p95": 76, "p99": 396, "p99_9": 3996}
    assert found.latency.reliable == {"p50": True, "p90": True, "p95": True, "p99": False, "p99_9": False}
    assert found.latency.p99 == pytest.approx(99.01)
    assert "p95" in found.latency.ci
    assert "p99" not in found.latency.ci
    assert "396" in found.reasons["latency.ci.p99"]


def test_cost_counts_what_is_priced_and_never_takes_unpriced_for_free() -> None:
    rows = Rows()
    rows.call(usd=0.10, request_model="m1")
    rows.call(usd=0.30, request_model="m1", status="error", error_type="Boom")
    rows.call(usd=0.05, request_model="m2", reported_cost_usd=0.06)
    rows.call(usd=None, request_model="m3")
    found = calculate_metrics(rows.subject())
    cost = found.cost
    assert cost is not None
    assert cost.total_usd == pytest.approx(0.45)
    assert cost.total_nano_usd == 450_000_000
    assert (cost.priced, cost.unpriced, cost.unpriced_models) == (3, 1, ("m3",))
    assert cost.by_model == {"m1": pytest.approx(0.40), "m2": pytest.approx(0.05), "m3": None}
    assert found.reasons["cost.by_model.m3"]
    assert cost.per_request_mean == pytest.approx(0.15)
    assert cost.per_request_median == pytest.approx(0.10)
    assert cost.cost_per_success == pytest.approx(0.45 / 2)
    assert cost.wasted_usd == pytest.approx(0.30)
    assert cost.reported_usd == pytest.approx(0.06)
    assert "unpriced" in {warning.code for warning in found.warnings}


def test_sums_of_money_are_exact_whatever_the_order() -> None:
    rows = Rows()
    for _ in range(1000):
        rows.call(usd=0.1)
        rows.call(usd=1e-9)
    found = calculate_metrics(rows.subject(), ci=False)
    assert found.cost is not None
    assert found.cost.total_nano_usd == 1000 * (100_000_000 + 1)


def test_reliability_counts_interrupted_units_apart_from_every_rate() -> None:
    rows = Rows()
    for _ in range(7):
        rows.call(1000.0)
    for kind in ("RateLimit", "RateLimit", "Timeout"):
        rows.call(500.0, status="error", error_type=kind)
    rows.call(None, status="interrupted")
    found = calculate_metrics(rows.subject())
    out = found.reliability
    assert out is not None
    assert found.latency is not None
    assert (out.total_requests, out.successes, out.failures, out.interrupted) == (11, 7, 3, 1)
    assert (out.success_rate, out.failure_rate) == pytest.approx((0.7, 0.3))
    assert out.error_types == {"RateLimit": 2, "Timeout": 1}
    assert out.mtbf == pytest.approx(10 / 3)
    assert out.mtbf_seconds == pytest.approx(8.5 / 3)
    assert found.latency.count == 10


def test_without_a_failure_mtbf_is_none_and_its_bound_one_sided() -> None:
    found = calculate_metrics(latencies([1000.0] * 500))
    out = found.reliability
    assert out is not None
    assert out.mtbf is None
    assert "no failure in 500" in found.reasons["reliability.mtbf"]
    # NIST e-Handbook 8.4.5.1: T / -ln(alpha) = 500 / 2.995732
    assert out.ci["mtbf"].low == pytest.approx(166.904100347667)
    assert out.ci["mtbf"].high is None
    assert out.ci["mtbf_seconds"].low == pytest.approx(166.904100347667)


def test_tokens_are_summed_over_calls_and_unknown_ones_are_in_no_sum() -> None:
    rows = Rows()
    rows.call(2000.0, input_tokens=100, output_tokens=10, cache_read_tokens=40, request_model="a")
    rows.call(3000.0, input_tokens=200, output_tokens=30, reasoning_tokens=20, request_model="b")
    rows.call(1000.0, request_model="b")
    found = calculate_metrics(rows.subject())
    used = found.tokens
    assert used is not None
    assert (used.total_input, used.total_output, used.total) == (300, 40, 340)
    assert (used.avg_input, used.avg_output) == (150, 20)
    assert used.by_model == {"a": {"input": 100, "output": 10}, "b": {"input": 200, "output": 30}}
    assert (used.cached, used.reasoning, used.unknown) == (40, 20, 1)
    assert used.output_per_second == pytest.approx(40 / 5)


def test_calls_leave_out_wrappers_asides_and_points_in_time() -> None:
    rows = Rows()
    rows.span(500.0, role="agent", input_tokens=999, output_tokens=999)
    rows.call(100.0, input_tokens=10, output_tokens=1)
    rows.call(70.0, aside="judge", usd=1.0, input_tokens=5, output_tokens=5)
    rows.record({"accuracy": 1.0})
    found = calculate_metrics(rows.subject())
    assert (found.unit, found.n) == ("call", 1)
    assert found.tokens is not None
    assert found.cost is not None
    assert found.tokens.total == 11
    assert found.cost.total_usd is None
    judge = found.aside["judge"]
    assert (judge.total_requests, judge.total_usd, judge.latency_mean) == (1, 1.0, 70.0)


def test_spans_with_genai_markers_but_no_call_give_none_with_the_reason() -> None:
    rows = Rows()
    rows.span(100.0, role="agent")
    found = calculate_metrics(rows.subject())
    assert found.n == 0
    assert found.latency is not None
    assert found.latency.mean is None
    assert found.reasons["latency"] == "no_call_spans"
    assert found.reasons["latency.mean"] == "no_call_spans"


def test_plain_spans_fall_back_to_roots_and_say_so() -> None:
    rows = Rows()
    root = rows.span(100.0)
    rows.span(40.0, parent_span_id=root)
    found = calculate_metrics(rows.subject())
    assert found.n == 1
    assert "root_spans" in {warning.code for warning in found.warnings}


def test_a_users_own_frame_needs_only_the_columns_it_has() -> None:
    frame = pl.LazyFrame({"duration_ms": [1, 2, 3], "condition": ["a", "b", "b"]})
    found = metrics_by(Subject(frame), "condition")
    assert {key: part.n for key, part in found.items()} == {"a": 1, "b": 2}
    assert found["b"].latency is not None
    assert found["b"].latency.mean == 2.5
    ended = Subject(pl.LazyFrame({"start_ns": [START], "end_ns": [START + 5 * MS]}))
    latency = calculate_metrics(ended).latency
    assert latency is not None
    assert latency.mean == 5.0


def test_a_column_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="'duration_ms' is String"):
        Subject(pl.LazyFrame({"duration_ms": ["fast"]}))


def test_a_trial_costs_what_its_calls_cost_and_lasts_as_long_as_its_span() -> None:
    rows = Rows()
    rows.trial(300.0, calls=3, call_usd=0.01, call_input_tokens=7, call_output_tokens=2)
    rows.trial(100.0, calls=0)
    rows.call(50.0, usd=9.0)
    found = calculate_metrics(rows.subject(), unit="trial")
    assert (found.unit, found.n) == ("trial", 2)
    assert found.latency is not None
    assert found.cost is not None
    assert found.tokens is not None
    assert found.latency.mean == 200.0
    assert found.cost.per_request_mean == pytest.approx(0.015)
    assert found.cost.total_usd == pytest.approx(0.03)
    assert found.tokens.avg_input == pytest.approx(10.5)
    assert found.tokens.total_input == 21


def test_a_trial_with_an_unpriced_call_has_no_cost_of_its_own() -> None:
    rows = Rows()
    rows.trial(100.0, calls=2, call_usd=0.01)
    rows.trial(100.0, calls=2)
    found = calculate_metrics(rows.subject(), unit="trial")
    assert found.cost is not None
    assert found.cost.per_request_mean == pytest.approx(0.02)
    assert (found.cost.priced, found.cost.unpriced) == (2, 2)


def test_wasted_cost_is_the_whole_cost_of_failed_trials() -> None:
    rows = Rows()
    rows.trial(100.0, calls=4, call_usd=0.01, status="error", error_type="Wrong")
    rows.trial(100.0, calls=1, call_usd=0.05)
    for unit in ("call", "trial"):
        cost = calculate_metrics(rows.subject(), unit=unit).cost
        assert cost is not None
        assert cost.wasted_usd == pytest.approx(0.04), unit


def test_excluded_trials_are_in_no_number_with_all_their_calls() -> None:
    rows = Rows()
    first = rows.trial(100.0, calls=2, item_id="q1", call_usd=1.0)
    rows.trial(300.0, calls=1, item_id="q2", call_usd=0.1)
    rows.trial(500.0, calls=1, item_id="q3", call_usd=0.2)
    notes = (
        {"kind": "exclusion", "trial_id": first, "reason": "warm-up"},
        {"kind": "exclusion", "where": {"duration_ms": 500.0, "role": "trial"}, "reason": "odd"},
    )
    subject = rows.subject(annotations=notes)
    for unit in ("call", "trial"):
        found = calculate_metrics(subject, unit=unit)
        assert found.n == 1, unit
        assert found.cost is not None
        assert found.cost.total_usd == pytest.approx(0.1)


def test_sessions_and_expressions_are_units_too() -> None:
    rows = Rows()
    for session in ("s1", "s1", "s2"):
        rows.call(100.0, session_id=session, usd=0.01, trace_id=session)
    by_session = calculate_metrics(rows.subject(), unit="session")
    assert (by_session.n, by_session.unit) == (2, "session")
    assert by_session.latency is not None
    assert by_session.latency.max == 200.0
    assert by_session.cost is not None
    assert by_session.cost.per_request_mean == pytest.approx(0.015)
    assert calculate_metrics(rows.subject(), unit=pl.col("trace_id")).n == 2
    assert calculate_metrics(latencies([1.0]), unit="session").reasons["latency"] == "no_sessions"


def test_where_takes_an_expression_or_a_mapping_and_trials_bring_their_calls() -> None:
    rows = Rows()
    for condition in ("a", "b", "b"):
        rows.trial(100.0, calls=2, condition=condition, call_usd=0.01)
    for where in ({"condition": "b"}, pl.col("condition") == "b"):
        assert calculate_metrics(rows.subject(), where=where).n == 4
        trials = calculate_metrics(rows.subject(), unit="trial", where=where)
        assert trials.n == 2
        assert trials.cost is not None
        assert trials.cost.total_usd == pytest.approx(0.04)
    with pytest.raises(ConfigurationError, match="Did you mean 'condition'"):
        calculate_metrics(rows.subject(), where={"conditoin": "b"})


def test_groups_may_be_of_several_columns_and_of_missing_values() -> None:
    rows = Rows()
    rows.call(10.0, condition="a", request_model="m")
    rows.call(20.0, condition=None, request_model="m")
    assert list(metrics_by(rows.subject(), "condition")) == ["a", None]
    assert list(metrics_by(rows.subject(), ["condition", "request_model"])) == [("a", "m"), (None, "m")]
    with pytest.raises(ConfigurationError, match="there is no column"):
        metrics_by(rows.subject(), "arm")


def test_an_unknown_unit_or_level_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unit='request'"):
        calculate_metrics(latencies([1.0]), unit="request")
    with pytest.raises(ConfigurationError, match="alpha=5"):
        calculate_metrics(latencies([1.0]), alpha=5)


class Mean:
    name = "mean_of_all"

    def calculate(self, spans: pl.LazyFrame) -> Mapping[str, Any]:
        return {"mean": spans.select(pl.col("duration_ms").mean()).collect().item(), "nothing": float("nan")}


class Broken:
    name = "broken"

    def calculate(self, spans: pl.LazyFrame) -> Mapping[str, Any]:
        raise ValueError("no such column")


def test_measurements_scores_and_calculators_answer_even_when_one_raises() -> None:
    rows = Rows()
    trial = rows.trial(100.0, condition="a")
    rows.record({"accuracy": 0.5, "note": "text"}, condition="a")
    rows.record({"accuracy": 1.0, "ok": True}, condition="a")
    rows.score("judge", 4.0, trial_id=trial, condition="a")
    note = {"kind": "score", "trial_id": trial, "name": "judge", "value": 2.0}
    found = calculate_metrics(rows.subject(annotations=(note,)), custom=(Broken(), Mean()))
    assert found.custom is not None
    assert found.custom["accuracy"] == {
        "mean": 0.75,
        "median": 0.75,
        "min": 0.5,
        "max": 1.0,
        "count": 2,
        "stdev": pytest.approx(0.3535533905932738),
    }
    assert (found.custom["judge"]["mean"], found.custom["ok"]["count"]) == (2.0, 1)
    assert "note" not in found.custom
    assert found.custom["broken"] is None
    assert "ValueError: no such column" in found.reasons["custom.broken"]
    assert found.custom["mean_of_all"] == {"mean": 100.0, "nothing": None}
    assert found.reasons["custom.mean_of_all.nothing"]


def test_switched_off_sections_are_none_with_the_reason_and_unknown_switches_are_refused() -> None:
    subject = latencies([1.0, 2.0])
    found = calculate_metrics(
        subject, toggles={"latency": True, "cost": False, "success_rate": False, "custom": ["f1"]}
    )
    assert found.latency is not None
    assert found.cost is None
    assert found.reliability is None
    assert found.reasons["cost"] == "switched off by metrics="
    assert found.custom == {"f1": None}
    assert found.reasons["custom.f1"] == "it was never measured"
    record = ExperimentRecord(id="e" * 32, name="x", metrics={"tokens": False})
    assert calculate_metrics(Subject(subject.spans, record)).tokens is None
    with pytest.raises(ConfigurationError, match="'latencies'"):
        calculate_metrics(subject, toggles={"latencies": True})


def test_a_where_on_trials_holds_for_what_lies_outside_of_every_trial() -> None:
    """Evaluation calls and scores of other conditions are not in it; what lies in a kept trial is."""
    rows = Rows()
    for condition, value in (("a", 1.0), ("b", 0.0)):
        trial = rows.trial(100.0, condition=condition)
        rows.call(5.0, aside="judge", condition=condition)
        rows.call(7.0, aside="inside", trial_id=trial)
        rows.score("loose", value, condition=condition)
    found = calculate_metrics(rows.subject(), unit="trial", where={"condition": "a"})
    assert (found.n, found.aside["judge"].total_requests, found.aside["inside"].total_requests) == (1, 1, 1)
    assert found.custom is not None
    assert (found.custom["loose"]["mean"], found.custom["loose"]["count"]) == (1.0, 1)


def test_errors_by_type_and_evaluation_calls_are_weighted_like_the_totals() -> None:
    rows = Rows()
    for index in range(6):
        failed = {"status": "error", "error_type": "Boom"} if index < 3 else {}
        rows.call(100.0, usd=0.5, sample_weight=4.0, **failed)
        weight = 4.0 if index else 1.0
        rows.call(10.0 + index, usd=0.5, aside="judge", sample_weight=weight, input_tokens=2, **failed)
    rows.call(None, aside="judge", sample_weight=4.0)
    found = calculate_metrics(rows.subject())
    assert found.reliability is not None
    assert (found.reliability.failures, found.reliability.error_types) == (12, {"Boom": 12})
    judge = found.aside["judge"]
    assert (judge.total_requests, judge.failures, judge.unpriced) == (25, 9, 1)
    assert (judge.total_usd, judge.total_input, judge.total_output) == (10.5, 42, None)
    assert judge.latency_mean == pytest.approx((10 + 4 * (11 + 12 + 13 + 14 + 15)) / 21)
    apart = rows.frame().filter(pl.col("aside") == "judge").with_columns(aside=pl.lit(None, pl.String))
    latency = calculate_metrics(Subject(apart)).latency
    assert latency is not None
    assert latency.p50 != 12.5
    assert (judge.latency_p50, judge.latency_mean) == pytest.approx((latency.p50, latency.mean))


def test_the_estimand_says_which_rows() -> None:
    """Of a filter, and of a group: the numbers of a part are not taken for those of the whole."""
    rows = Rows()
    for condition in ("a", "b"):
        rows.call(condition=condition)
    subject = rows.subject()
    whole, of = calculate_metrics(subject).estimand, f"of {subject.label}"
    assert whole.endswith(of)
    assert calculate_metrics(subject, where={"condition": "a"}).estimand.endswith(f"{of} [condition=a]")
    assert metrics_by(subject, "condition")["b"].estimand.endswith(f"{of} [condition=b]")
    part = metrics_by(subject, "condition", where={"is_call": True})["b"].estimand
    assert part.endswith(f"{of} [is_call=True; condition=b]")
