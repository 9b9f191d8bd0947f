"""Where aggregations run: narwhals expressions, so that one text runs on Polars, DuckDB or Spark.

Polars is the only engine today. What is in here is what another engine has to do: plain
sums, counts, extremes and exact linear (type 7) quantiles of columns, by group. Row-wise
preparation (`units`) and whatever needs the values themselves (intervals, unequal weights,
censoring) stays outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import polars as pl

Key = tuple[Any, ...]
QUANTILES: dict[str, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}


def aggregate(table: pl.DataFrame, keys: Sequence[str], spec: Mapping[str, nw.Expr]) -> dict[Key, dict[str, Any]]:
    """The expressions by group: key -> name -> value. Without keys there is one group, ()."""
    frame = nw.from_native(table.lazy())
    if not keys:
        return {(): frame.select(**spec).collect().rows(named=True)[0]}
    rows = frame.group_by(*keys).agg(**spec).collect().rows(named=True)
    return {tuple(row[key] for key in keys): {name: row[name] for name in spec} for row in rows}


def describe(table: pl.DataFrame, keys: Sequence[str], column: str) -> dict[Key, dict[str, Any]]:
    """Every number of one sample by group; missing values do not enter.

    stdev and variance have n - 1 below; `geomean` is null where a value is not above 0.
    """
    x = nw.col(column)
    spec = {
        "count": x.count(),
        "mean": x.mean(),
        "min": x.min(),
        "max": x.max(),
        "stdev": x.std(ddof=1),
        "variance": x.var(ddof=1),
        "q1": x.quantile(0.25, interpolation="linear"),
        "q3": x.quantile(0.75, interpolation="linear"),
        "log_mean": nw.when(x > 0).then(x.log()).mean(),
        "positive": (x > 0).cast(nw.Int64).sum(),
        "weight_min": nw.when(~x.is_null()).then(nw.col("weight")).min(),
        "weight_max": nw.when(~x.is_null()).then(nw.col("weight")).max(),
    } | {name: x.quantile(p, interpolation="linear") for name, p in QUANTILES.items()}
    found = aggregate(table, keys, spec)
    for key, value in _deviations(table, keys, column).items():
        found[key]["mad"] = value["mad"]
    return found


def total(column: str) -> nw.Expr:
    """A weighted total: each row stands for `weight` rows (1 where that is unknown)."""
    return (nw.col(column) * nw.col("weight").fill_null(1.0)).sum()


def count(flag: str) -> nw.Expr:
    """How many rows have the flag; booleans are cast first, because SQL engines do not sum them."""
    return nw.col(flag).cast(nw.Int64).sum()


def _deviations(table: pl.DataFrame, keys: Sequence[str], column: str) -> dict[Key, dict[str, Any]]:
    """Median absolute deviation: the median of a second pass over the distances to the first's."""
    x = nw.col(column)
    middle = x.median().over(*keys) if keys else x.median()
    apart = nw.from_native(table.select(*dict.fromkeys((*keys, column))).lazy()).with_columns(apart=(x - middle).abs())
    return aggregate(apart.collect().to_native(), keys, {"mad": nw.col("apart").median()})
