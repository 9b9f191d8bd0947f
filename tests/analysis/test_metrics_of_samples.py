"""Censoring, sampling weights, repeated items and a million rows in `calculate_metrics`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import polars as pl
import pytest
from frames import Rows

from otel_research.analysis.metrics import calculate_metrics, metrics_by
from otel_research.analysis.subject import Subject


def latencies(values: list[float], **fields: Any) -> Subject:
    rows = Rows()
    for value in values:
        rows.call(value, **fields)
    return rows.subject()


def test_timeouts_are_censored_so_quantiles_do_not_shrink() -> None:
    rows = Rows()
    for value in (100.0, 200.0, 300.0, 400.0):
        rows.call(value)
    for _ in range(4):
        rows.call(250.0, status="error", error_type="APITimeoutError", error_kind="timeout")
    found = calculate_metrics(rows.subject())
    assert found.latency is not None
    # Kaplan-Meier by hand: S(100) = 7/8, S(200) = 6/8, S(300) = 6/8 * 1/2, S(400) = 0.
    assert (found.latency.n_censored, found.latency.p50, found.latency.p90) == (4, 300.0, 400.0)
    assert "censored" in {warning.code for warning in found.warnings}


def test_equal_weights_scale_totals_and_change_nothing_else() -> None:
    x = np.random.default_rng(3).lognormal(3, 1, 200).tolist()
    plain = calculate_metrics(latencies(x, usd=0.01))
    sampled = calculate_metrics(latencies(x, usd=0.01, sample_weight=10.0))
    assert plain.latency is not None
    assert sampled.latency is not None
    assert sampled.latency.p95 == plain.latency.p95
    assert sampled.latency.mean == pytest.approx(plain.latency.mean)
    assert sampled.cost is not None
    assert sampled.reliability is not None
    assert sampled.cost.total_usd == pytest.approx(20.0)
    assert sampled.cost.total_nano_usd is None
    assert sampled.reliability.total_requests == 2000
    assert "weighted" in {warning.code for warning in sampled.warnings}


def test_unequal_weights_estimate_the_population_they_were_drawn_from() -> None:
    rng = np.random.default_rng(4)
    population = rng.lognormal(4, 1, 40_000)
    keep = np.where(population > 100, 0.5, 0.05)
    kept = rng.random(population.size) < keep
    frame = pl.LazyFrame({"duration_ms": population[kept], "sample_weight": 1 / keep[kept]})
    found = calculate_metrics(Subject(frame)).latency
    assert found is not None
    assert found.mean == pytest.approx(population.mean(), rel=0.05)
    assert found.p50 == pytest.approx(np.median(population), rel=0.1)
    assert found.p95 == pytest.approx(np.quantile(population, 0.95), rel=0.05)


def test_a_hidden_sampling_probability_is_flagged_not_corrected() -> None:
    found = calculate_metrics(latencies([1.0, 2.0], sample_weight=None))
    assert "unweighted" in {warning.code for warning in found.warnings}


def test_repeated_items_widen_the_intervals() -> None:
    rng = np.random.default_rng(5)
    rows, bare = Rows(), Rows()
    for item in range(30):
        level = float(rng.lognormal(5, 0.8))
        for _ in range(10):
            value = level * float(rng.lognormal(0, 0.1))
            rows.call(value, item_id=f"q{item}")
            bare.call(value)
    by_item, naive = calculate_metrics(rows.subject()), calculate_metrics(bare.subject())
    assert (by_item.n, by_item.n_units) == (300, 30)
    for name in ("mean", "p50"):
        wide, narrow = (m.latency.ci[name] for m in (by_item, naive) if m.latency is not None)
        assert wide.high - wide.low > 1.8 * (narrow.high - narrow.low), name
        assert "item" in wide.method or "cluster" in wide.method


def test_a_million_calls_by_condition_take_one_pass_and_little_time() -> None:
    n = 1_000_000
    rng = np.random.default_rng(6)
    frame = pl.DataFrame(
        {
            "condition": np.where(rng.random(n) < 0.5, "a", "b"),
            "duration_ms": rng.lognormal(6, 1, n),
            "role": "call",
            "is_call": True,
            "cost_nano_usd": rng.integers(1, 10**6, n),
            "input_tokens": rng.integers(1, 1000, n),
            "output_tokens": rng.integers(1, 1000, n),
        }
    )
    subject = Subject(frame.lazy())
    started = time.process_time()
    found = metrics_by(subject, "condition", ci=False)
    spent = time.process_time() - started
    assert sum(part.n for part in found.values()) == n
    # Seconds are reported by the benchmark; this only catches a second pass or a Python loop over rows.
    assert spent < 10


def test_without_a_failure_repeated_items_do_not_blow_up_the_rates_interval() -> None:
    rows = Rows()
    for i in range(200):
        rows.call(100.0, item_id=f"q{i % 20}")
    found = calculate_metrics(rows.subject()).reliability
    assert found is not None
    # Wilson at 200 of 200: n / (n + z^2)
    assert found.ci["success_rate"].low == pytest.approx(200 / (200 + 1.959964**2), rel=1e-6)
    assert found.ci["mtbf"].low == pytest.approx(200 / -np.log(0.05))


def test_a_custom_metrics_interval_stands_beside_its_mean() -> None:
    rows = Rows()
    for value in (0.0, 1.0, 1.0, 0.0, 1.0):
        rows.record({"accuracy": value})
    rows.call(1.0)
    table = calculate_metrics(rows.subject()).to_polars()
    row = table.filter(field="custom.accuracy.mean").row(0, named=True)
    assert row["low"] < row["value"] < row["high"]
    assert not table["field"].str.starts_with("custom_ci").any()
