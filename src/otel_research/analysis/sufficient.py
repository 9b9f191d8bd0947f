"""Sufficient statistics of one outcome of one arm, computed on an engine: what t tests, rates and quantiles need.

Moments of the values and of their logarithms, sums by item, and quantiles. Rank tests, resampling, sampling weights
and censored quantiles need the values themselves and stay with numpy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from otel_research.analysis import engine, quantiles
from otel_research.analysis.engine import QUANTILES

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Moments:
    """Count, mean and standard deviation (n - 1; 0 of one value)."""

    n: int
    mean: float
    stdev: float

    @property
    def variance(self) -> float:
        """Squared standard deviation."""
        return self.stdev**2


@dataclass(frozen=True)
class Sums:
    """By item code: units, sum of their values, sum of their logarithms."""

    count: Codes
    value: Floats
    log: Floats


@dataclass(frozen=True)
class Sufficient:
    """The statistics, each computed when it is first asked for; `table` has the columns value and item."""

    table: nw.LazyFrame[Any]

    @cached_property
    def _raw(self) -> dict[str, Any]:
        x, log = _values()
        spec = {
            "n": x.count(),
            "total": x.sum(),
            "mean": x.mean(),
            "stdev": x.std(ddof=1),
            "log_mean": log.mean(),
            "log_stdev": log.std(ddof=1),
        }
        return engine.aggregate(self.table, (), spec)[()]

    @property
    def total(self) -> float:
        """The sum of the values."""
        return float(self._raw["total"])

    @property
    def of_values(self) -> Moments:
        """Moments of the values."""
        return self._moments("")

    @property
    def of_logs(self) -> Moments:
        """Moments of the logarithms; only where every value is above 0."""
        return self._moments("log_")

    def moments(self, *, log: bool) -> Moments:
        """Either of the two."""
        return self.of_logs if log else self.of_values

    def _moments(self, kind: str) -> Moments:
        stdev = self._raw[f"{kind}stdev"]
        # Engines differ in what the spread of one value is: null or NaN.
        return Moments(
            int(self._raw["n"]),
            float(self._raw[f"{kind}mean"]),
            0.0 if stdev is None or math.isnan(stdev) else float(stdev),
        )

    @cached_property
    def by_item(self) -> Sums:
        """Sums by item code, one entry per code from 0 on."""
        x, log = _values()
        found = engine.grouped(self.table, ["item"], {"n": x.count(), "sum": x.sum(), "log": log.sum()})
        size = int(found["item"].max() or 0) + 1  # type: ignore[arg-type]
        at, count = found["item"].to_numpy(), np.zeros(size, np.intp)
        value, logs = np.zeros(size), np.zeros(size)
        count[at], value[at], logs[at] = (found[name].to_numpy() for name in ("n", "sum", "log"))
        return Sums(count, value, logs)

    def item_means(self, items: Codes, *, log: bool) -> Floats:
        """The mean of each of these items."""
        sums = self.by_item
        means: Floats = (sums.log if log else sums.value)[items] / sums.count[items]
        return means

    def quantile(self, p: float) -> float:
        """Linear (type 7), the same to the bit whatever computes it."""
        return self._quantiles[p] if p in self._quantiles else self._linear([p])[p]

    @cached_property
    def _quantiles(self) -> dict[float, float]:
        return self._linear(QUANTILES.values())

    def _linear(self, probs: Iterable[float]) -> dict[float, float]:
        names = {str(p): p for p in probs}
        found = quantiles.linear(self.table, (), "value", names)[()]
        return {p: found[name] for name, p in names.items()}


def _values() -> tuple[nw.Expr, nw.Expr]:
    """The values and their logarithms; SQL engines refuse that of 0."""
    x = nw.col("value")
    return x, nw.when(x > 0).then(x.log())


def table_of(values: Floats, items: Codes | None) -> pl.DataFrame:
    """The columns that the statistics are computed from."""
    codes = np.zeros(values.size, dtype=np.int64) if items is None else items.astype(np.int64)
    return pl.DataFrame({"value": values, "item": codes})
