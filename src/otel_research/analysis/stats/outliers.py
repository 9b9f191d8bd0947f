"""Values far from the rest. They are flagged, never removed; latency is judged on its log scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from otel_research.analysis.stats.describe import mad, moments, quantiles
from otel_research.analysis.stats.sample import Floats, is_constant, sample
from otel_research.errors import ConfigurationError, NotEnoughData

NORMAL_MAD = 1.4826
"""MAD times this is the standard deviation of normal values."""


@dataclass(frozen=True, slots=True)
class Fences:
    """Tukey's fences and which values lie outside."""

    q1: float
    q3: float
    low: float
    high: float
    is_outlier: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Grubbs:
    """Grubbs's test of one outlier, with both critical values."""

    g: float
    critical_one_sided: float
    critical_two_sided: float
    index: int
    value: float


@dataclass(frozen=True, slots=True)
class GeneralisedEsd:
    """Rosner's (1983) test: statistics and critical values per step, and the positions of the outliers."""

    statistics: tuple[float, ...]
    critical: tuple[float, ...]
    outliers: tuple[int, ...]


def fences(values: ArrayLike, reach: float = 1.5) -> Fences:
    """Tukey's fences: quartiles (type 7) -/+ `reach` interquartile ranges."""
    array = sample(values, at_least=4)
    q1, q3 = quantiles(array, [0.25, 0.75])
    low, high = q1 - reach * (q3 - q1), q3 + reach * (q3 - q1)
    return Fences(q1, q3, low, high, (array < low) | (array > high))


def modified_z(values: ArrayLike) -> Floats:
    """Iglewicz & Hoaglin's (1993) modified z: 0.6745 (x - median) / MAD; above 3.5 in size is an outlier."""
    array = sample(values, at_least=3)
    spread = mad(array)
    if spread == 0:
        raise NotEnoughData("More than half of the values are the same, so the MAD is 0 and gives no scale.")
    return 0.6745 * (array - np.median(array)) / spread


def grubbs(values: ArrayLike, alpha: float = 0.05) -> Grubbs:
    """Grubbs's test that the value farthest from the mean is an outlier."""
    array = _spread_out(values, 3)
    index, g = _farthest(array)
    return Grubbs(g, _grubbs_critical(array.size, alpha), _grubbs_critical(array.size, alpha / 2), index,
                  float(array[index]))  # fmt: skip


def generalised_esd(values: ArrayLike, max_outliers: int = 10, alpha: float = 0.05) -> GeneralisedEsd:
    """Generalised extreme Studentised deviate test for up to `max_outliers` outliers, without masking."""
    array = _spread_out(values, 4)
    if not 1 <= max_outliers <= array.size - 3:
        raise ConfigurationError(f"max_outliers={max_outliers} has to be between 1 and {array.size - 3}.")
    remaining = np.arange(array.size)
    statistics, critical, order = [], [], []
    for step in range(max_outliers):
        left = array[remaining]
        if is_constant(left):
            break
        at, r = _farthest(left)
        statistics.append(r)
        # Rosner's critical value for n - step values is the two-sided one of Grubbs.
        critical.append(_grubbs_critical(array.size - step, alpha / 2))
        order.append(int(remaining[at]))
        remaining = np.delete(remaining, at)
    found = max((i + 1 for i in range(len(order)) if statistics[i] > critical[i]), default=0)
    return GeneralisedEsd(tuple(statistics), tuple(critical), tuple(order[:found]))


def _farthest(array: Floats) -> tuple[int, float]:
    own = moments(array)
    distance = np.abs(array - own.mean)
    index = int(np.argmax(distance))
    return index, float(distance[index]) / (own.stdev or math.inf)


def _grubbs_critical(n: int, alpha: float) -> float:
    """(n-1) t / sqrt(n (n-2+t^2)), with t the upper alpha/n point of Student's t on n-2 df."""
    from scipy import stats

    t = float(stats.t.isf(alpha / n, n - 2))
    return (n - 1) * t / math.sqrt((n - 2 + t * t) * n)


def _spread_out(values: ArrayLike, at_least: int) -> Floats:
    array = sample(values, at_least=at_least)
    if is_constant(array):
        raise NotEnoughData("All values are the same, so none is far from the rest.")
    return array
