"""The shape of latency behind its numbers: its distribution and its course, few enough points to draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from otel_research.analysis.subject import Subject
from otel_research.analysis.units import Unit, tables

_KEY = "key:condition"


@dataclass(frozen=True)
class Shape:
    """Per condition (None: outside of any), of the units whose latency is known."""

    steps: dict[str | None, list[tuple[float, float]]]
    """(milliseconds, share of the units at or below, by their sample weights), rising; the last share is 1."""
    points: dict[str | None, list[tuple[float, float, bool]]]
    """(seconds since the first start of all, milliseconds, has failed), by start."""
    counts: dict[str | None, int]
    """Units with a known latency: where there are more than were drawn, they were thinned evenly by rank."""
    n_censored: int
    """Timeouts: they stand at the time they were given up, and would have taken longer."""
    n_unknown: int
    """Units without a known latency: interrupted ones, and ones without a duration."""


def shape(subject: Subject, unit: Unit = "call", most: int = 800) -> Shape:
    """At most `most` steps and `most` points per condition; first and last are always among them."""
    units = tables(subject, unit, ("condition",)).units
    known = units.filter(pl.col("latency_ms").is_not_null())
    origin = known["start_ns"].min()
    steps: dict[str | None, list[Any]] = {}
    points: dict[str | None, list[Any]] = {}
    counts: dict[str | None, int] = {}
    for condition in units[_KEY].unique().sort(nulls_last=True):
        rows = known.filter(pl.col(_KEY).eq_missing(pl.lit(condition)))
        counts[condition] = rows.height
        steps[condition] = _thinned(_distribution(rows), most)
        course = rows.sort("start_ns").select(
            ((pl.col("start_ns") - origin) / 1e9).alias("seconds"), "latency_ms", pl.col("is_failed").fill_null(False)
        )
        points[condition] = _thinned(course, most)
    censored = int(known["is_censored"].fill_null(False).sum())
    return Shape(steps, points, counts, censored, units.height - known.height)


def _distribution(rows: pl.DataFrame) -> pl.DataFrame:
    weight = pl.col("weight").fill_null(1.0)
    return rows.sort("latency_ms").select("latency_ms", (weight.cum_sum() / weight.sum()).alias("share"))


def _thinned(rows: pl.DataFrame, most: int) -> list[Any]:
    """Every row, or `most` of them evenly by rank with both ends."""
    if rows.height > most:
        rows = rows[[round(k * (rows.height - 1) / (most - 1)) for k in range(most)]]
    return rows.rows()
