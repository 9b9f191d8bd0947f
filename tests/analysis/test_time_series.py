"""`time_series`: windows from their own units, honest tails, gaps that stay gaps, anomalies by a fair test."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from frames import START, Rows

from otel_research.analysis.series import COLUMNS, nanoseconds, time_series
from otel_research.analysis.subject import Subject
from otel_research.errors import ConfigurationError, NotEnoughData

MINUTE = 60 * 10**9
DAWN = START // MINUTE * MINUTE


def calls(times: np.ndarray, values: np.ndarray, **columns: object) -> Subject:
    given = {"start_ns": times.astype(np.int64), "duration_ms": values, **columns}
    return Subject(pl.DataFrame(given).lazy())


def even(n: int, seed: int, minutes: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return DAWN + np.sort(rng.integers(0, minutes * MINUTE, n)), rng.lognormal(5, 0.6, n)


def test_every_window_has_the_numbers_of_its_own_units() -> None:
    times, values = even(3000, 1)
    table = time_series(calls(times, values), "latency", "10m")
    assert table.columns == list(COLUMNS)
    assert table["window"][0] == datetime.fromtimestamp(DAWN // 10**9 // 600 * 600, UTC)
    inside = values[(times // (10 * MINUTE)) == times[0] // (10 * MINUTE)]
    row = table.row(0, named=True)
    assert row["count"] == inside.size
    assert [row[name] for name in ("mean", "min", "max", "p50", "p95")] == pytest.approx(
        [inside.mean(), inside.min(), inside.max(), np.median(inside), np.quantile(inside, 0.95)]
    )
    assert table["count"].sum() == 3000


def test_a_tail_of_too_few_units_is_null_and_says_why() -> None:
    times, values = even(300, 2, minutes=2)
    table = time_series(calls(times, values), "latency", "1m")
    assert table["p95"].null_count() == 0
    assert table["p99"].null_count() == table.height
    assert all("p99 396" in reason for reason in table["reason"])


def test_a_gap_stays_a_gap() -> None:
    times = np.concatenate([DAWN + np.arange(10) * 10**9, DAWN + 5 * MINUTE + np.arange(10) * 10**9])
    table = time_series(calls(times, np.ones(20)), "latency", "1m")
    assert table["count"].to_list() == [10, 0, 0, 0, 0, 10]
    assert table["mean"].to_list() == [1.0, None, None, None, None, 1.0]
    assert table["reason"][2] == "no units in this window"


def test_a_step_in_latency_is_an_anomaly_and_its_expectation_the_level_before() -> None:
    times, values = even(12_000, 3)
    late = (times >= DAWN + 40 * MINUTE) & (times < DAWN + 42 * MINUTE)
    values[late] *= 1.5
    table = time_series(calls(times, values), "latency", "1m").with_row_index()
    assert table.filter("anomaly")["index"].to_list() == [40, 41]
    assert table["expected"][40] == pytest.approx(math.exp(5), rel=0.05)
    assert table["anomaly"][:5].null_count() == 5


@pytest.mark.parametrize("metric", ["latency", "error_rate", "throughput"])
def test_clean_runs_have_almost_no_anomalies(metric: str) -> None:
    flagged = windows = 0
    for seed in range(5):
        times, values = even(6000, 100 + seed, minutes=120)
        status = np.where(np.random.default_rng(seed).random(6000) < 0.05, "error", "ok")
        table = time_series(calls(times, values, status=status), metric, "2m")
        flagged += int(table["anomaly"].fill_null(value=False).sum())
        windows += table.height
    assert flagged <= 0.02 * windows


def test_a_lasting_change_of_level_is_a_step_at_its_first_window() -> None:
    times, values = even(6000, 5)
    values[times >= DAWN + 30 * MINUTE] *= 1.4
    table = time_series(calls(times, values), "latency", "1m").with_row_index()
    assert table.filter("step")["index"].to_list() == [30]
    clean = time_series(calls(*even(6000, 6)), "latency", "1m")
    assert clean["step"].sum() == 0


def test_a_threshold_replaces_the_test() -> None:
    times, values = even(6000, 4)
    loose = time_series(calls(times, values), "latency", "1m", threshold=0.5)
    strict = time_series(calls(times, values), "latency", "1m", threshold=50.0)
    assert loose["anomaly"].sum() > 5
    assert strict["anomaly"].sum() == 0


def test_rates_and_throughput_are_per_window() -> None:
    times = DAWN + np.arange(120) * 10**9
    status = ["error" if i % 4 == 0 else "ok" for i in range(120)]
    subject = calls(times, np.ones(120), status=status)
    assert time_series(subject, "error_rate", "1m")["mean"].to_list() == [0.25, 0.25]
    assert time_series(subject, "throughput", "1m")["mean"].to_list() == [1.0, 1.0]
    assert time_series(subject, "throughput", "1m")["p50"].null_count() == 2


def test_groups_cost_tokens_and_scores_have_series_too() -> None:
    rows = Rows()
    for condition in ("a", "b"):
        rows.call(10.0, condition=condition, usd=0.5, input_tokens=10, output_tokens=5)
        rows.score("accuracy", 0.25, condition=condition)
    table = time_series(rows.subject(), "cost", "1h", by="condition")
    assert table["condition"].to_list() == ["a", "b"]
    assert table["mean"].to_list() == [0.5, 0.5]
    assert time_series(rows.subject(), "tokens", "1h")["mean"].to_list() == [15.0]
    assert time_series(rows.subject(), "accuracy", "1h")["count"].to_list() == [2]


def test_weights_count_in_means_and_throughput() -> None:
    frame = pl.DataFrame(
        {"start_ns": [DAWN, DAWN + 1], "duration_ms": [10.0, 40.0], "sample_weight": [1.0, 2.0]}
    ).lazy()
    assert time_series(Subject(frame), "latency", "1m")["mean"].to_list() == [30.0]
    assert time_series(Subject(frame), "throughput", "1m")["mean"].to_list() == [3 / 60]


def test_what_cannot_be_drawn_is_refused_with_the_next_step() -> None:
    subject = calls(np.array([DAWN]), np.ones(1))
    with pytest.raises(ConfigurationError, match="'accuracy' is unknown"):
        time_series(subject, "accuracy")
    with pytest.raises(ConfigurationError, match="window='soon'"):
        time_series(subject, window="soon")
    with pytest.raises(NotEnoughData, match="no ttft"):
        time_series(subject, "ttft")
    with pytest.raises(ConfigurationError, match="longer window"):
        time_series(calls(np.array([DAWN, DAWN + 3600 * 10**9]), np.ones(2)), window="1us")
    assert [nanoseconds(text) for text in ("500ms", "30s", "1.5m", "2h")] == [
        5 * 10**8,
        3 * 10**10,
        9 * 10**10,
        72 * 10**11,
    ]
