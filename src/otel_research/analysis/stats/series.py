"""Values in order: autocorrelation, Ljung-Box, effective sample size, and where the level changed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from otel_research.analysis.stats import laws
from otel_research.analysis.stats.describe import mean
from otel_research.analysis.stats.outcome import Outcome, by, own
from otel_research.analysis.stats.sample import Floats, is_constant, sample
from otel_research.errors import ConfigurationError, NotEnoughData

_LONGEST = 5000
"""Change points are searched in at most so many points: the search is quadratic."""


@dataclass(frozen=True, slots=True)
class ChangePoints:
    """Where the mean stepped: `last_before` are 1-based positions of the last point before each step."""

    last_before: tuple[int, ...]
    means: tuple[float, ...]
    method: str


def autocorrelation(values: ArrayLike, lag: int = 1) -> float:
    """Autocorrelation at a lag: sum of (y_t - m)(y_{t+lag} - m) over sum of (y_t - m)^2."""
    return autocorrelations(values, [lag])[0]


def autocorrelations(values: ArrayLike, lags: list[int]) -> list[float]:
    """The same at several lags."""
    array = sample(values, at_least=2, what="the series")
    if min(lags) < 0 or max(lags) >= array.size:
        raise NotEnoughData(f"A series of {array.size} values has no autocorrelation at lag {max(lags)}.")
    if is_constant(array):
        raise NotEnoughData("All values of the series are the same, so it has no autocorrelation.")
    deviation = array - mean(array)
    total = math.fsum(deviation * deviation)
    return [math.fsum(deviation[: array.size - lag] * deviation[lag:]) / total for lag in lags]


def ljung_box(values: ArrayLike, lags: int = 10, fitted: int = 0) -> Outcome:
    """Ljung & Box's (1978) test that the first `lags` autocorrelations are 0; the estimate is that of lag 1."""
    array = sample(values, at_least=3, what="the series")
    if not 1 <= lags < array.size:
        raise NotEnoughData(f"A series of {array.size} values cannot be tested at {lags} lags.")
    if lags <= fitted:
        raise ConfigurationError(f"{lags} lags leave no degree of freedom after {fitted} fitted parameters.")
    n = array.size
    r = autocorrelations(array, list(range(1, lags + 1)))
    q = n * (n + 2) * math.fsum(value**2 / (n - lag) for lag, value in enumerate(r, start=1))
    df = lags - fitted
    p_value = laws.chi2_upper_tail(q, df)
    return Outcome(q, p_value, float(df), r[0], None, by("Ljung & Box 1978, scipy.special.gammaincc"))


def trend(values: ArrayLike) -> Outcome:
    """Spearman's rank correlation with the order, its p by Student's t (Kendall & Stuart 1979, vol. 2, 31.19)."""
    array = sample(values, at_least=3, what="the series")
    if is_constant(array):
        raise NotEnoughData("All values of the series are the same, so it has no trend.")
    ranks = pl.Series(array).rank().to_numpy()
    rho, df = float(np.corrcoef(ranks, np.arange(array.size))[0, 1]), float(array.size - 2)
    p_value = 2 * float(laws.t_upper_tail(abs(rho) * math.sqrt(df / (1 - rho * rho)), df)) if abs(rho) < 1 else 0.0
    return Outcome(rho, p_value, df, rho, None, by("Spearman's rho, scipy.special.stdtr"))


def effective_n(values: ArrayLike) -> float:
    """Independent values that would give the same standard error, under AR(1): n (1 - r) / (1 + r).

    Above n where neighbours repel each other.
    """
    r, n = autocorrelation(values), len(sample(values))
    if r <= -1:
        raise NotEnoughData("The series alternates perfectly, so it has no effective sample size.")
    return n * (1 - r) / (1 + r)


def change_points(values: ArrayLike, min_share: float = 0.15, most: int | None = None) -> ChangePoints:
    """Steps in the mean: least squares over all partitions, their number by BIC (Bai & Perron 2003).

    A segment holds at least `min_share` of the points. BIC counts a mean and a break per segment, as R's
    strucchange does.
    """
    array = sample(values, at_least=4, what="the series")
    if array.size > _LONGEST:
        raise NotEnoughData(f"{array.size} points are too many for the search; use windows, at most {_LONGEST}.")
    method = own("Bai & Perron 2003, BIC")
    if is_constant(array):
        return ChangePoints((), (float(array[0]),), method)
    n = array.size
    shortest = max(2, int(min_share * n))
    limit = max(0, math.ceil(n / shortest) - 2) if most is None else most
    limit = min(limit, n // shortest - 1)
    if limit < 1:
        raise NotEnoughData(f"{n} points are too few to look for a step with segments of {shortest} or more.")
    best = _partitions(array - mean(array), shortest, limit)
    chosen = min(best, key=lambda breaks: _bic(best[breaks], n, len(breaks)))
    edges = [0, *chosen, n]
    means = tuple(mean(array[start:end]) for start, end in pairwise(edges))
    return ChangePoints(tuple(chosen), means, method)


def _partitions(array: Floats, shortest: int, limit: int) -> dict[tuple[int, ...], float]:
    """For 0, 1, ... limit breaks: the best breaks and their residual sum of squares, by dynamic programming."""
    n = array.size
    sums = np.concatenate([[0.0], np.cumsum(array)])
    squares = np.concatenate([[0.0], np.cumsum(array**2)])

    def cost(start: Floats, end: int) -> Floats:
        """Residual sum of squares of points start..end-1, for many starts."""
        begin = start.astype(np.intp)
        spread = squares[end] - squares[begin] - (sums[end] - sums[begin]) ** 2 / (end - start)
        return np.asarray(np.maximum(spread, 0.0), dtype=np.float64)

    ends = range(shortest, n + 1)
    reached = np.full(n + 1, np.inf)
    reached[shortest:] = [cost(np.zeros(1), end)[0] for end in ends]
    found: dict[tuple[int, ...], float] = {(): float(reached[n])}
    came_from: list[np.ndarray] = []
    for breaks in range(1, limit + 1):
        following, origin = np.full(n + 1, np.inf), np.zeros(n + 1, dtype=np.intp)
        for end in range((breaks + 1) * shortest, n + 1):
            starts = np.arange(breaks * shortest, end - shortest + 1)
            total = reached[starts] + cost(starts.astype(np.float64), end)
            pick = int(np.argmin(total))
            following[end], origin[end] = total[pick], starts[pick]
        came_from.append(origin)
        reached = following
        found[_trace(came_from, n)] = float(reached[n])
    return found


def _trace(came_from: list[np.ndarray], n: int) -> tuple[int, ...]:
    places, at = [], n
    for origin in reversed(came_from):
        at = int(origin[at])
        places.append(at)
    return tuple(reversed(places))


def _bic(residual: float, n: int, breaks: int) -> float:
    if residual <= 0:
        return -math.inf
    return n * (math.log(residual / n) + 1 + math.log(2 * math.pi)) + math.log(n) * 2 * (breaks + 1)
