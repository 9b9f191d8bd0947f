"""Where aggregations run: narwhals expressions, so that one text runs on Polars, DuckDB or Spark.

A Polars frame is aggregated by Polars, another engine's (`engines`) by that one: plain sums,
counts, extremes and exact linear (type 7) quantiles of columns, by group. Row-wise preparation
(`units`) and whatever needs the values themselves (intervals, unequal weights, censoring) stays
outside, with Polars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import polars as pl

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Parts:
    """Rows in memory that lie in few large groups: taken apart once, and then summed whole."""

    keys: tuple[str, ...]
    frames: Mapping[Key, pl.DataFrame]


Rows = pl.DataFrame | nw.LazyFrame[Any]
"""Rows in memory, or of another engine."""
Frame = Rows | Parts
QUANTILES: dict[str, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}
PLACES = QUANTILES | {"q1": 0.25, "q3": 0.75}


LARGE = 20_000
"""Rows a group on average from which groups are taken apart: below, a query each costs more than grouping does."""
_MOST_BRANCHES = 200
"""Groups up to which each group's centre is written into the expression."""


def apart(table: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame | Parts:
    """The rows by group where groups are large; else as they are."""
    if not keys or table.height < LARGE or table.select(*keys).n_unique() * LARGE > table.height:
        return table
    return Parts(tuple(keys), table.partition_by(*keys, as_dict=True, include_key=False))


def aggregate(table: Frame, keys: Sequence[str], spec: Mapping[str, nw.Expr]) -> dict[Key, dict[str, Any]]:
    """The expressions by group: key -> name -> value. Without keys there is one group, ()."""
    if isinstance(table, Parts):
        rest = list(keys)[len(table.keys) :]
        made = {key: aggregate(frame, rest, spec) for key, frame in table.frames.items()}
        return {(*key, *inner): raw for key, found in made.items() for inner, raw in found.items()}
    rows = grouped(table, keys, spec).rows(named=True)
    return {tuple(row[key] for key in keys): {name: row[name] for name in spec} for row in rows}


def with_medians(
    table: Frame, keys: Sequence[str], spec: Mapping[str, nw.Expr], medians: Mapping[str, str]
) -> dict[Key, dict[str, Any]]:
    """`aggregate`, and medians of columns: name -> column.

    Not by an engine's own: Spark's holds every value of a group in the memory of one task.
    """
    if isinstance(table, (pl.DataFrame, Parts)):
        return aggregate(table, keys, {**spec, **{name: nw.col(column).median() for name, column in medians.items()}})
    from otel_research.analysis import quantiles

    found = aggregate(table, keys, spec)
    for name, column in medians.items():
        places = quantiles.linear(table, keys, column, {name: 0.5})
        for key, raw in found.items():
            raw[name] = places[key][name] if key in places else None
    return found


def grouped(table: Rows, keys: Sequence[str], spec: Mapping[str, nw.Expr]) -> pl.DataFrame:
    """The same as a frame, in no order; without keys one row."""
    frame = nw.from_native(table.lazy()) if isinstance(table, pl.DataFrame) else table
    return collected(frame.group_by(*keys).agg(**spec) if keys else frame.select(**spec))


def collected(frame: nw.LazyFrame[Any]) -> pl.DataFrame:
    """The rows here. SQL engines widen sums of integers to decimals, which are integers again."""
    found: pl.DataFrame = frame.collect("polars").to_native()
    wide = [name for name, kind in found.schema.items() if kind.is_decimal() or kind == pl.Int128]
    return found.with_columns(pl.col(wide).cast(pl.Int64)) if wide else found


def is_group(keys: Sequence[str], key: Key) -> nw.Expr:
    """Which rows are of one group; a missing value is a value."""
    parts = [
        nw.col(name).is_null() if value is None else nw.col(name) == value
        for name, value in zip(keys, key, strict=True)
    ]
    return nw.all_horizontal(nw.lit(True), *[part.fill_null(False) for part in parts], ignore_nulls=False)


def describe(table: Frame, keys: Sequence[str], column: str) -> dict[Key, dict[str, Any]]:
    """Every number of one sample by group; missing values do not enter.

    stdev and variance have n - 1 below; `geomean` is null where a value is not above 0.
    """
    if isinstance(table, Parts):
        return {key: describe(frame, (), column)[()] for key, frame in table.frames.items()}
    if isinstance(table, pl.DataFrame):
        return _described(table, keys, column)
    x = nw.col(column)
    spec = {
        "count": x.count(),
        "mean": x.mean(),
        "min": x.min(),
        "max": x.max(),
        "stdev": x.std(ddof=1),
        "variance": x.var(ddof=1),
        "log_mean": nw.when(x > 0).then(x.log()).mean(),
        "positive": (x > 0).cast(nw.Int64).sum(),
        "weight_min": nw.when(~x.is_null()).then(nw.col("weight")).min(),
        "weight_max": nw.when(~x.is_null()).then(nw.col("weight")).max(),
    }
    return _with_quantiles(table, keys, column, aggregate(table, keys, spec))


def _described(table: pl.DataFrame, keys: Sequence[str], column: str) -> dict[Key, dict[str, Any]]:
    """The same of rows in memory, sorted once for all of it.

    The order is the values' own: the last bits of a sum depend on the order of what is summed, and files have any.
    Polars places a quantile among missing values too, so those are left out first.
    """
    known = table.select(*keys, pl.col(column).alias("x"), "weight").filter(pl.col("x").is_not_null())
    numbers = _numbers()
    # Without keys nothing has to stay beside its value: a column alone is sorted in a third of the time.
    ordered = known.sort("x") if keys else known.with_columns(pl.col("x").sort())
    rows = (ordered.group_by(*keys).agg(**numbers) if keys else ordered.select(**numbers)).rows(named=True)
    found = {tuple(row[key] for key in keys): {name: row[name] for name in numbers} for row in rows}
    groups = table.select(*keys).unique().rows() if keys and known.height < table.height else []
    return {key: dict.fromkeys(numbers) | {"count": 0} for key in groups} | found


def _numbers() -> dict[str, pl.Expr]:
    x, weight = pl.col("x"), pl.col("weight")
    places = {name: x.quantile(p, interpolation="linear") for name, p in PLACES.items()}
    return places | {
        "count": x.len(),
        "mean": x.mean(),
        "min": x.min(),
        "max": x.max(),
        "stdev": x.std(ddof=1),
        "variance": x.var(ddof=1),
        "log_mean": x.filter(x > 0).log().mean(),
        "positive": (x > 0).sum(),
        "mad": (x - x.median()).abs().median(),
        "weight_min": weight.min(),
        "weight_max": weight.max(),
    }


def _with_quantiles(
    table: nw.LazyFrame[Any], keys: Sequence[str], column: str, found: dict[Key, dict[str, Any]]
) -> dict[Key, dict[str, Any]]:
    """The same with quantiles in two passes, and the deviations from the median in two more."""
    from otel_research.analysis import quantiles

    places = quantiles.linear(table, keys, column, PLACES)
    apart = table.with_columns(quantile_apart=(nw.col(column) - _centre(keys, column, places)).abs())
    deviations = quantiles.linear(apart, keys, "quantile_apart", {"mad": 0.5}) if places else {}
    nothing = dict.fromkeys((*PLACES, "mad"))
    return {key: raw | nothing | places.get(key, {}) | deviations.get(key, {}) for key, raw in found.items()}


def _centre(keys: Sequence[str], column: str, places: Mapping[Key, Mapping[str, float]]) -> nw.Expr:
    """Each row's group's median."""
    if len(places) > _MOST_BRANCHES:
        return nw.col(column).median().over(*keys)
    centre = nw.lit(None, nw.Float64)
    for key, found in places.items():
        centre = nw.when(is_group(keys, key)).then(nw.lit(found["p50"])).otherwise(centre)
    return centre


def total(column: str) -> nw.Expr:
    """A weighted total: each row stands for `weight` rows (1 where that is unknown)."""
    return (nw.col(column) * nw.col("weight").fill_null(1.0)).sum()


def exact(column: str, parts: float) -> nw.Expr:
    """A weighted total of a column that is told in `parts` of its unit: the same whatever the order of the rows.

    Each term is rounded to a whole number of parts; sums of whole numbers are exact up to 2^53 (104 days in
    nanoseconds, 9 million USD in nano-dollars).
    """
    return (nw.col(column) * nw.col("weight").fill_null(1.0) * parts).round().sum() * (1 / parts)


def count(flag: str) -> nw.Expr:
    """How many rows have the flag; booleans are cast first, because SQL engines do not sum them."""
    return nw.col(flag).cast(nw.Int64).sum()
