"""What is simulated: heavy-tailed, clustered and autocorrelated latency, as numbers and as spans."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from calibration.judged import Rng
from otel_research.analysis.result import Interval
from otel_research.analysis.subject import Subject


def heavy(rng: Rng, n: int) -> np.ndarray:
    """Latency with a heavy tail: log-normal, 3 % of calls slower by e^1.6."""
    return rng.lognormal(6.5, 0.5, n) * np.where(rng.random(n) < 0.03, math.exp(1.6), 1.0)


def heavy_quantile(p: float) -> float:
    """The true quantile of `heavy`."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    def excess(x: float) -> float:
        return 0.97 * norm.cdf((x - 6.5) / 0.5) + 0.03 * norm.cdf((x - 8.1) / 0.5) - p

    return math.exp(brentq(excess, 0, 20))


def items(rng: Rng, n_items: int, uneven: bool = True) -> np.ndarray:
    """Items of 1 to 8 trials, or of 5 each."""
    return np.repeat(np.arange(n_items), rng.integers(1, 9, n_items) if uneven else 5)


def clustered(rng: Rng, labels: np.ndarray, effect: np.ndarray | None = None) -> np.ndarray:
    """Log-normal latency, 74 % of the variance between items."""
    spread = rng.normal(0, 0.5, int(labels.max()) + 1) if effect is None else effect
    return np.exp(6.5 + spread[labels] + rng.normal(0, 0.3, labels.size))


def clustered_quantile(p: float) -> float:
    """The true quantile of `clustered`."""
    from scipy.special import ndtri

    return math.exp(6.5 + float(ndtri(p)) * math.hypot(0.5, 0.3))


def autoregressive(rng: Rng, n: int, rho: float) -> np.ndarray:
    """Log-normal latency whose logarithms are AR(1) in time."""
    noise = rng.normal(0, 0.5, n)
    series = np.empty(n)
    series[0] = noise[0] / math.sqrt(1 - rho**2)
    for t in range(1, n):
        series[t] = rho * series[t - 1] + noise[t]
    return np.exp(6.5 + series)


def spans(rng: Rng, latency: np.ndarray, arm: np.ndarray, item: np.ndarray | None) -> tuple[Subject, Subject]:
    """Trials in order of time as spans, one model call each; the two arms of an experiment."""
    items = None if item is None else [f"q{at}" for at in item]
    return arms(Subject(rows(rng, latency, np.where(arm, "candidate", "baseline"), items)))


def arms(whole: Subject) -> tuple[Subject, Subject]:
    """The two arms of an experiment."""
    return whole.where({"condition": "baseline"}), whole.where({"condition": "candidate"})


def rows(
    rng: Rng, latency: np.ndarray, condition: Sequence[str] | np.ndarray, item: Sequence[str] | None
) -> pl.LazyFrame:
    """One trial a second with one model call in each: what a clean run leaves."""
    n = latency.size
    ids = pl.Series([f"{i:016x}" for i in range(1, n + 1)])
    start = np.arange(n) * 10**9
    common = pl.DataFrame(
        {
            "experiment_id": ["aa"] * n,
            "condition": np.asarray(condition),
            "trial_id": ids,
            "item_id": [None] * n if item is None else item,
            "trace_id": ids,
            "start_ns": start,
            "status": ["ok"] * n,
            "end_ns": start + np.round(latency * 1e6).astype(np.int64),
            "duration_ms": latency,
        },
        schema_overrides={"item_id": pl.String},
    ).with_columns(repetition=_repetition(item))
    trials = common.with_columns(span_id=ids, role=pl.lit("trial"), is_call=pl.lit(value=False))
    calls = common.with_columns(
        span_id=ids + "c", parent_span_id=ids, role=pl.lit("call"), is_call=pl.lit(value=True),
        input_tokens=pl.lit(100), output_tokens=pl.lit(20),
        cost_nano_usd=pl.Series(rng.lognormal(14, 0.5, n).astype(np.int64)),
    )  # fmt: skip
    return pl.concat([trials, calls], how="diagonal").lazy()


def _repetition(item: Sequence[str] | None) -> pl.Expr:
    """How many times the condition has had the item before."""
    return pl.lit(None, pl.Int64) if item is None else pl.int_range(pl.len()).over("condition", "item_id")


def decides(verdict: str) -> bool:
    return verdict in ("better", "worse")


def inside(interval: Interval, truth: float) -> bool:
    low, high = interval.low, interval.high
    return (low is None or low <= truth) and (high is None or truth <= high)
