"""The two pictures of latency: along the run, and its distribution. What is thinned out says of how many."""

from __future__ import annotations

from typing import Any

import polars as pl

from otel_research.analysis.series import time_series
from otel_research.analysis.subject import Subject
from otel_research.analysis.units import tables
from otel_research.errors import ResearchError

POINTS = 1500
"""Dots drawn; more would be a cloud that costs and shows nothing."""
STEPS = 300
"""Steps of a distribution's curve, each an exact value of the sample."""
WINDOWS = 80
_WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
"""Seconds."""
_LATENCY = ("start_ns", "latency_ms", "is_failed", "key:condition")


def curves(subject: Subject, unit: str) -> dict[str, Any]:
    """Windows of p50, p95 and p99, some dots, and one distribution per condition."""
    table = tables(subject, unit, ("condition",))
    units = table.units.select(_LATENCY).drop_nulls(["start_ns", "latency_ms"]).sort("start_ns")
    if units.is_empty():
        return {"reason": table.reason or "no unit has a duration yet", "unit": unit}
    return {"unit": unit, "series": _series(subject, unit, units), "points": _points(units), "ecdf": _ecdf(units)}


def _series(subject: Subject, unit: str, units: pl.DataFrame) -> dict[str, Any]:
    seconds = (units["start_ns"][-1] - units["start_ns"][0]) / 1e9
    width = next((width for width in _WIDTHS if seconds / width <= WINDOWS), int(seconds / WINDOWS) + 1)
    try:
        found = time_series(subject, "latency", f"{width}s", unit=unit)
    except ResearchError as error:
        return {"reason": str(error)}
    columns = ("count", "p50", "p95", "p99", "anomaly")
    rows = found.select(pl.col("window").dt.timestamp("ms").alias("t_ms"), *columns).rows()
    return {"window_s": width, "columns": ["t_ms", *columns], "rows": [list(row) for row in rows]}


def _points(units: pl.DataFrame) -> dict[str, Any]:
    """Every k-th unit, and the slowest ones whichever they are: an outlier must not be thinned away."""
    shown = units
    if units.height > POINTS:
        step = units.height / (POINTS - 100)
        picked = pl.Series([int(number * step) for number in range(POINTS - 100)], dtype=pl.UInt32)
        slowest = units["latency_ms"].arg_sort(descending=True).head(100)
        shown = units[pl.concat([picked, slowest.cast(pl.UInt32)]).unique().sort()]
    rows = shown.select(pl.col("start_ns") / 1e6, "latency_ms", "is_failed", "key:condition").rows()
    return {"shown": shown.height, "of": units.height, "rows": [list(row) for row in rows]}


def _ecdf(units: pl.DataFrame) -> list[dict[str, Any]]:
    parts = units.partition_by("key:condition", as_dict=True, include_key=False)
    ordered = sorted(parts.items(), key=lambda pair: (pair[0][0] is None, str(pair[0][0])))
    return [{"condition": key[0], **_steps(part["latency_ms"].sort())} for key, part in ordered]


def _steps(values: pl.Series) -> dict[str, Any]:
    """Points (value, share of the sample at or below it); thinned evenly in rank, the extremes kept."""
    n = len(values)
    evenly = {round(number * (n - 1) / (STEPS - 1)) for number in range(STEPS)}
    ranks = list(range(n)) if n <= STEPS else sorted(evenly)
    return {"n": n, "shown": len(ranks), "points": [[values[rank], (rank + 1) / n] for rank in ranks]}
