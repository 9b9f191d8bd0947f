"""One sample whose rows do not count alike: sampling weights, items that repeat.

A row kept with probability p stands for 1/p rows. Means and quantiles under weights are
consistent, not unbiased. With equal weights and no repeats every number is that of `describe` and `tests`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otel_research.analysis.stats import clusters, laws, resampling
from otel_research.analysis.stats.outcome import Interval, between, own
from otel_research.analysis.stats.proportions import wilson_share
from otel_research.analysis.stats.ratios import DELTA
from otel_research.analysis.stats.sample import Floats
from otel_research.errors import NotEnoughData


@dataclass(frozen=True)
class Weighted:
    """The known values of one column, with weight and cluster."""

    x: Floats
    weight: Floats
    cluster: NDArray[np.intp] | None
    """0-based codes of items that repeat; None where every unit stands alone."""
    is_censored: NDArray[np.bool_]

    @cached_property
    def is_even(self) -> bool:
        """Whether every value counts the same."""
        return not self.x.size or bool(np.ptp(self.weight) == 0)

    def having(self, x: Floats) -> Weighted:
        """Other values of the same units."""
        return Weighted(x, self.weight, self.cluster, self.is_censored)


def plain(x: Floats) -> Weighted:
    """Values that all count the same, each of its own item."""
    return Weighted(x, np.ones(x.size), None, np.zeros(x.size, dtype=bool))


def mean_error(sample: Weighted) -> tuple[float, float]:
    """Standard error of a (weighted) mean and its degrees of freedom; by item where items repeat."""
    if sample.x.size < 2:
        raise NotEnoughData("one value has no interval" if sample.x.size else "there is no value")
    share = sample.weight / sample.weight.sum()
    apart = share * (sample.x - float((share * sample.x).sum()))
    if sample.cluster is not None:
        sums = np.bincount(sample.cluster, weights=apart)
        if sums.size < 2:
            raise NotEnoughData("all units are of one item, so nothing is known beyond it")
        if sample.is_even:
            found = clusters.clustered_mean(sample.x, sample.cluster)
            return found.se_cr2, found.df_cr2
        return math.sqrt(sums.size / (sums.size - 1) * float((sums**2).sum())), float(sums.size - 1)
    n = sample.x.size
    return math.sqrt(n / (n - 1) * float((apart**2).sum())), float(n - 1)


def mean_interval(sample: Weighted, confidence: float = 0.95, *, log: bool = False) -> Interval:
    """t interval of a mean; `log` gives the geometric mean's."""
    x = np.log(sample.x) if log else sample.x
    error, df = mean_error(sample.having(x))
    centre = float(np.average(x, weights=sample.weight))
    half = laws.t_quantile((1 + confidence) / 2, df) * error
    low, high = centre - half, centre + half
    if log:
        low, high = math.exp(low), math.exp(high)
    method = ("t, cluster-robust" if sample.cluster is not None else "t") + (", on logarithms" if log else "")
    return between(low, high, confidence, method)


def ratio_interval(top: Weighted, bottom: Floats, confidence: float = 0.95) -> tuple[float, Interval]:
    """A ratio of two (weighted) sums over the same units with its delta-method t interval."""
    below = float((bottom * top.weight).sum())
    if not below:
        raise NotEnoughData("the denominator sums to 0, so there is no ratio")
    ratio = float((top.x * top.weight).sum()) / below
    # The ratio's error is that of the mean of x - ratio * y, in units of mean y.
    error, df = mean_error(top.having(top.x - ratio * bottom))
    half = laws.t_quantile((1 + confidence) / 2, df) * error / (below / float(top.weight.sum()))
    return ratio, between(ratio - half, ratio + half, confidence, own(f"t, {DELTA}"))


def rate_n(flags: Weighted) -> float:
    """How many independent units would say as much about a rate: by weights and clusters (Kish 1965)."""
    n = effective_n(flags.weight)
    if flags.cluster is None:
        return n
    share, groups = float(np.average(flags.x, weights=flags.weight)), int(np.unique(flags.cluster).size)
    if groups < 2 or not 0 < share < 1:
        # All alike, or one item: the data cannot say how much items differ, so units are taken as they are.
        return n
    error, _ = mean_error(flags)
    return min(n, share * (1 - share) / error**2) if error > 0 else n


def rate_interval(flags: Weighted, confidence: float = 0.95) -> Interval:
    """Wilson's interval of a rate at the effective n."""
    return wilson_share(float(np.average(flags.x, weights=flags.weight)), rate_n(flags), confidence)


def quantile_n(sample: Weighted, p: float) -> float:
    """Independent units of equal weight that would place the quantile as well."""
    n = effective_n(sample.weight)
    if sample.cluster is None:
        return n
    return min(n, resampling.effective_n(sample.cluster[np.argsort(sample.x, kind="stable")], p))


def describe(values: Floats, weights: Floats, probs: Mapping[str, float]) -> dict[str, Any]:
    """The numbers of `engine.describe` under weights; with equal weights they are the same numbers."""
    order = np.argsort(values, kind="stable")
    x, w = values[order], weights[order]
    middle = float(np.average(x, weights=w))
    spread = variance(x, w)
    centre = quantiles(x, w, [0.25, 0.5, 0.75])
    return {
        "mean": middle,
        "variance": spread,
        "stdev": None if spread is None else math.sqrt(spread),
        "q1": centre[0],
        "q3": centre[2],
        "log_mean": float(np.average(np.log(x), weights=w)) if x[0] > 0 else None,
        "mad": _median_apart(x, w, centre[1]),
    } | dict(zip(probs, quantiles(x, w, list(probs.values())), strict=True))


def variance(values: Floats, weights: Floats) -> float | None:
    """Weighted variance, n/(n-1)-corrected by the number of rows; None for one row."""
    if values.size < 2:
        return None
    share = weights / weights.sum()
    around = float((share * (values - float(np.average(values, weights=weights))) ** 2).sum())
    return around * values.size / (values.size - 1)


def effective_n(weights: Floats) -> float:
    """Kish's (1965) effective sample size: how many equally weighted rows would say as much."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def quantiles(values: Floats, weights: Floats, probs: list[float]) -> list[float]:
    """Quantiles of sorted values: linear between midpoints of weight, which is type 7 where weights are equal."""
    if values.size == 1:
        return [float(values[0])] * len(probs)
    steps = np.concatenate([[0.0], np.cumsum((weights[1:] + weights[:-1]) / 2)])
    return [float(q) for q in np.interp(np.asarray(probs) * steps[-1], steps, values)]


def _median_apart(values: Floats, weights: Floats, middle: float) -> float:
    apart = np.abs(values - middle)
    order = np.argsort(apart, kind="stable")
    return quantiles(apart[order], weights[order], [0.5])[0]
