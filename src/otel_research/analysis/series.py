"""A metric over time: every window computed from its own units, never from other windows' numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from otel_research.analysis import arms
from otel_research.analysis.engine import grouped
from otel_research.analysis.engines.chosen import engine_of
from otel_research.analysis.scored import scored
from otel_research.analysis.sections import n_required
from otel_research.analysis.stats import corrections, laws
from otel_research.analysis.stats.series import change_points
from otel_research.analysis.subject import Subject
from otel_research.analysis.units import Tables, Unit, tables
from otel_research.errors import ConfigurationError, NotEnoughData
from otel_research.spans.where import Where, check_columns

COLUMNS = ("window", "count", "mean", "min", "max", "p50", "p95", "p99", "anomaly", "expected", "reason", "step")
METRICS = ("latency", "ttft", "cost", "tokens", "error_rate", "throughput")
ALPHA = 0.05
"""False discovery rate over windows."""
TRAILING = 20
FEWEST = 5
"""Windows before one is judged, and how many of them make up its baseline."""
FEWEST_FOR_STEPS, MOST_FOR_STEPS = 20, 1000
MOST_WINDOWS = 200_000
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}


@dataclass(frozen=True)
class _Scale:
    """How windows are compared: on which scale their level lies, and its standard error there."""

    level: NDArray[np.float64]
    error: NDArray[np.float64]
    kind: str

    def back(self, value: float) -> float:
        """From the scale to the metric's own unit."""
        if self.kind == "log":
            return math.exp(value)
        if self.kind == "asin":
            return math.sin(min(max(value, 0.0), math.pi / 2)) ** 2
        return max(value, 0.0) ** 2 if self.kind == "sqrt" else value


def time_series(
    subject: Subject,
    metric: str = "latency",
    window: str = "5m",
    *,
    by: str | Sequence[str] | None = None,
    threshold: float | None = None,
    unit: Unit = "call",
    where: Where | None = None,
    engine: Any = None,
) -> pl.DataFrame:
    """One row per window of time (`window`: its start, UTC) and group.

    `metric` is one of `METRICS` or the name of a score or measurement; times are ms, cost USD per
    unit, throughput units per second. p95 and p99 are null where the window has too few units
    (`reason` says so); a window without units is a row with count 0: gaps stay gaps.

    `anomaly`: the window's level lies off the median of its `TRAILING` predecessors: robust z (on
    logarithms for amounts, variance-stabilised for rates and counts), judged at a false discovery
    rate of 5 % over windows (Benjamini & Hochberg 1995), or by |z| > `threshold` where that is
    given. Null where there are fewer than `FEWEST` predecessors. `expected` is that median.
    `step`: the window is the first of a new level (least squares with BIC, Bai & Perron 2003); null
    where there are too few or too many windows to tell.

    `engine` is where windows are aggregated: "polars" (default), "duckdb", "spark" or a SparkSession.

    Raises `ConfigurationError` for an unknown metric, window, column or engine, `NotEnoughData` where no unit has
    the metric and a time.
    """
    keys = () if by is None else (by,) if isinstance(by, str) else tuple(by)
    check_columns(list(keys), subject.spans, "by")
    width = nanoseconds(window)
    table = replace(tables(subject, unit, keys, where), engine=engine_of(engine))
    values = _values(table, subject, metric)
    if values["start_ns"].null_count() == values.height:
        raise NotEnoughData(f"{subject.label} has no {metric} with a time (unit {table.unit}), so there is no series.")
    parts = [
        _windows(table, rows.drop_nulls("start_ns"), metric, width, threshold, dict(zip(keys, key, strict=True)))
        for key, rows in _groups(values, table.keys)
    ]
    return pl.concat(parts)


def nanoseconds(window: str) -> int:
    """ "500ms", "30s", "5m", "1h", "1d" in nanoseconds; raises `ConfigurationError` for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h|d)\s*", str(window))
    width = round(float(match[1]) * _UNITS[match[2]]) if match else 0
    if width <= 0:
        raise ConfigurationError(f'window={window!r} is not a length of time. Use for example "30s", "5m" or "1h".')
    return width


def _values(table: Tables, subject: Subject, metric: str) -> pl.DataFrame:
    """start_ns, value and the keys, one row per unit."""
    if table.reason:
        raise NotEnoughData(f"{subject.label} has no units to put on a time axis: {table.reason} (unit {table.unit}).")
    amounts: dict[str, pl.Expr] = {
        "latency": pl.col("latency_ms"),
        "ttft": pl.col("ttft_ms"),
        "cost": pl.col("cost_nano_usd") / 1e9,
        "tokens": arms.total_tokens(),
        "error_rate": pl.when(~pl.col("is_interrupted")).then(pl.col("is_failed").cast(pl.Float64)),
        "throughput": pl.lit(1.0),
    }
    if metric not in amounts:
        return _score(table, subject, metric)
    frame = table.units.select("start_ns", "weight", *table.keys, value=amounts[metric])
    return frame.drop_nulls("value").sort("start_ns", "value", "weight")


def _score(table: Tables, subject: Subject, metric: str) -> pl.DataFrame:
    known = scored(table, subject)
    found = known.filter(pl.col("name") == metric)
    if found.is_empty():
        names = sorted(known["name"].unique())
        raise ConfigurationError(f"metric={metric!r} is unknown here. Use one of {', '.join((*METRICS, *names))}.")
    return found.select("start_ns", "weight", *table.keys, "value").sort("start_ns", "value", "weight")


def _groups(values: pl.DataFrame, keys: tuple[str, ...]) -> list[tuple[tuple[Any, ...], pl.DataFrame]]:
    if not keys:
        return [((), values)]
    parts = values.partition_by(list(keys), as_dict=True)
    return sorted(parts.items(), key=lambda pair: [(part is None, str(part)) for part in pair[0]])


def _windows(
    table: Tables, rows: pl.DataFrame, metric: str, width: int, threshold: float | None, key: dict[str, Any]
) -> pl.DataFrame:
    indexed = rows.select("value", "weight", index=pl.col("start_ns") // width)
    numbers = grouped(table.on_engine(indexed), ["index"], _window_spec()).sort("index")
    frame = _with_gaps(numbers.with_columns(mean=pl.col("total") / pl.col("weighted")))
    seconds = width / 1e9
    if metric == "throughput":
        rate = pl.col("weighted").fill_null(0.0) / seconds
        frame = frame.with_columns(
            mean=rate, **{n: pl.lit(None, pl.Float64) for n in ("min", "max", "p50", "p95", "p99")}
        )
    if metric == "error_rate":
        frame = frame.with_columns(**{n: pl.lit(None, pl.Float64) for n in ("min", "max", "p50", "p95", "p99")})
    frame = _judged(frame, metric, threshold, seconds).with_columns(_reason(metric))
    for name, p in (("p95", 0.95), ("p99", 0.99)):
        frame = frame.with_columns(pl.when(pl.col("count") >= n_required(p)).then(name).alias(name))
    start = pl.from_epoch(pl.col("index") * width, time_unit="ns").dt.replace_time_zone("UTC").alias("window")
    return frame.select(*[pl.lit(value).alias(name) for name, value in key.items()], start, *COLUMNS[1:])


def _window_spec() -> dict[str, nw.Expr]:
    """The numbers of one window."""
    x, weight = nw.col("value"), nw.col("weight").fill_null(1.0)
    logarithm = nw.when(x > 0).then(x.log())
    return {
        "count": nw.len().cast(nw.Int64),
        "total": (x * weight).sum(),
        "weighted": weight.sum(),
        "min": x.min(),
        "max": x.max(),
        **{f"p{100 * p:.0f}": x.quantile(p, interpolation="linear") for p in (0.5, 0.95, 0.99)},
        "log_mean": logarithm.mean(),
        "log_sd": logarithm.std(ddof=1),
    }


def _with_gaps(frame: pl.DataFrame) -> pl.DataFrame:
    """Every window between the first and the last; an empty one has count 0 and no numbers."""
    first, last = frame["index"][0], frame["index"][-1]
    if last - first >= MOST_WINDOWS:
        raise ConfigurationError(
            f"the run spans {last - first + 1:,} windows, at most {MOST_WINDOWS:,} are drawn: choose a longer window."
        )
    every = pl.DataFrame({"index": pl.int_range(first, last + 1, eager=True, dtype=pl.Int64)})
    return every.join(frame, on="index", how="left", maintain_order="left").with_columns(pl.col("count").fill_null(0))


def _scale(frame: pl.DataFrame, metric: str, seconds: float) -> _Scale:
    """Level and standard error of each window where noise does not depend on the level."""
    count = frame["count"].to_numpy().astype(np.float64)
    known = np.where(count > 0, count, np.nan)
    if metric == "throughput":
        # An empty window is data here: nothing arrived.
        root = np.sqrt(count / seconds)
        return _Scale(root, np.full(count.size, 0.5 / math.sqrt(seconds)), "sqrt")
    mean = frame["mean"].fill_null(math.nan).to_numpy()
    if metric == "error_rate":
        return _Scale(np.arcsin(np.sqrt(np.clip(mean, 0, 1))), 0.5 / np.sqrt(known), "asin")
    low = frame["min"].min()
    if isinstance(low, (int, float)) and low > 0:
        spread = frame["log_sd"].fill_null(math.nan).to_numpy()
        typical = float(np.nanmedian(spread)) if np.isfinite(spread).any() else 0.0
        return _Scale(frame["log_mean"].fill_null(math.nan).to_numpy(), typical / np.sqrt(known), "log")
    return _Scale(mean, np.zeros(count.size), "raw")


def _judged(frame: pl.DataFrame, metric: str, threshold: float | None, seconds: float) -> pl.DataFrame:
    scale = _scale(frame, metric, seconds)
    z, expected, df = _robust_z(scale)
    flags: list[bool | None] = [None] * z.size
    judged = np.flatnonzero(np.isfinite(z))
    if judged.size and threshold is not None:
        for index in judged:
            flags[index] = bool(abs(z[index]) > threshold)
    elif judged.size:
        p = 2 * laws.t_upper_tail(np.abs(z[judged]), df[judged])
        for index, adjusted in zip(judged, corrections.benjamini_hochberg(np.clip(p, 0, 1).tolist()), strict=True):
            flags[index] = adjusted < ALPHA
    shown = [scale.back(value) if math.isfinite(value) else None for value in expected]
    return frame.with_columns(
        pl.Series("anomaly", flags, dtype=pl.Boolean),
        pl.Series("expected", shown, dtype=pl.Float64),
        pl.Series("step", _steps(scale), dtype=pl.Boolean),
    )


def _steps(scale: _Scale) -> list[bool | None]:
    """Whether each window with data starts a new level."""
    known = np.flatnonzero(np.isfinite(scale.level))
    found: list[bool | None] = [None] * scale.level.size
    if not FEWEST_FOR_STEPS <= known.size <= MOST_FOR_STEPS:
        return found
    starts = set(change_points(scale.level[known]).last_before)
    for position, index in enumerate(known):
        found[index] = position in starts
    return found


def _robust_z(scale: _Scale) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Distance from the trailing median in units of trailing MAD and the window's own standard error."""
    n = scale.level.size
    z, expected, df = (np.full(n, math.nan) for _ in range(3))
    known: list[float] = []
    for index in range(n):
        value = scale.level[index]
        if not math.isfinite(value):
            continue
        before = np.asarray(known[-TRAILING:])
        known.append(float(value))
        if before.size < FEWEST:
            continue
        middle = float(np.median(before))
        spread = 1.4826 * float(np.median(np.abs(before - middle)))
        own = float(scale.error[index]) if math.isfinite(scale.error[index]) else 0.0
        # The median of k windows has its own error, about spread * sqrt(pi / 2k).
        unit = math.sqrt(spread**2 * (1 + math.pi / (2 * before.size)) + own**2)
        expected[index], df[index] = middle, before.size - 1
        z[index] = (
            (value - middle) / unit if unit > 0 else (0.0 if value == middle else math.copysign(1e6, value - middle))
        )
    return z, expected, df


def _reason(metric: str) -> pl.Expr:
    small = pl.format(f"n = {{}}: p95 needs {n_required(0.95)}, p99 {n_required(0.99)}", pl.col("count"))
    no_tail = metric in ("error_rate", "throughput")
    text = (
        pl.when(pl.col("count") == 0)
        .then(pl.lit("no units in this window"))
        .when(pl.lit(no_tail))
        .then(pl.lit("a rate has no quantiles"))
        .when(pl.col("count") < n_required(0.99))
        .then(small)
    )
    return text.alias("reason")
