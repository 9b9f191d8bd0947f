"""One sample whose rows do not count alike, or whose largest values are only lower bounds.

- Unequal sampling weights: a row kept with probability p stands for 1/p rows. Means and
  quantiles under weights are consistent, not unbiased.
- Timeouts: the true latency lies above the observed one (right-censored), so quantiles come
  from the Kaplan-Meier curve: the smallest t with S(t) <= 1 - p. Dropping them instead makes
  a true +15 % look like +11 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


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


def kaplan_meier(
    values: Floats, is_censored: Flags, weights: Floats, probs: Mapping[str, float]
) -> dict[str, float | None]:
    """Quantiles of right-censored values; None where the curve never falls that far."""
    # At equal times events come before censorings: a call that ended at t had not been cut off at t.
    order = np.lexsort((is_censored, values))
    x, event, w = values[order], ~is_censored[order], weights[order]
    at_risk = np.cumsum(w[::-1])[::-1]
    times, first = np.unique(x, return_index=True)
    deaths = np.add.reduceat(np.where(event, w, 0.0), first)
    survival = np.cumprod(1.0 - deaths / at_risk[first])
    found: dict[str, float | None] = {}
    for name, p in probs.items():
        # Rounding in the product must not push a step that reaches 1 - p exactly to the next time.
        below = np.flatnonzero(survival <= (1.0 - p) * (1 + 1e-12) + 1e-15)
        found[name] = float(times[below[0]]) if below.size else None
    return found


def _median_apart(values: Floats, weights: Floats, middle: float) -> float:
    apart = np.abs(values - middle)
    order = np.argsort(apart, kind="stable")
    return quantiles(apart[order], weights[order], [0.5])[0]
