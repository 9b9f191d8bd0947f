"""One sample in numbers: moments, quantiles, geometric mean, spread, shape."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from otel_research.analysis.stats import laws
from otel_research.analysis.stats.outcome import Interval, between, own
from otel_research.analysis.stats.sample import Floats, confidence_level, finite, is_constant, positive, quiet, sample
from otel_research.errors import ConfigurationError, NotEnoughData

TAILS = (0.5, 0.9, 0.95, 0.99, 0.999)

_KINDS = {
    1: "inverted_cdf",
    2: "averaged_inverted_cdf",
    3: "closest_observation",
    4: "interpolated_inverted_cdf",
    5: "hazen",
    6: "weibull",
    7: "linear",
    8: "median_unbiased",
    9: "normal_unbiased",
}
"""Hyndman & Fan's (1996) types and scipy's names for them."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean, variance and standard deviation (n-1); the last two are None for one value."""

    count: int
    mean: float
    variance: float | None
    stdev: float | None


@dataclass(frozen=True, slots=True)
class Description:
    """The numbers of one sample; `quantiles` maps p50, p90, ... to type-7 quantiles."""

    count: int
    mean: float
    median: float
    min: float
    max: float
    variance: float | None
    stdev: float | None
    quantiles: dict[str, float]
    iqr: float
    mad: float
    geomean: float | None


@dataclass(frozen=True, slots=True)
class Shape:
    """Skewness and excess kurtosis, as moment ratios (type 1) and bias-corrected (type 2), and Shapiro-Wilk."""

    skewness_type1: float
    skewness_type2: float | None
    excess_kurtosis_type1: float
    excess_kurtosis_type2: float | None
    shapiro_w: float | None
    shapiro_p: float | None


def mean(values: ArrayLike) -> float:
    """The mean, correctly rounded: the same whatever the order of the values."""
    array = sample(values)
    return math.fsum(array) / array.size


def moments(values: ArrayLike) -> Moments:
    """Mean and variance (n-1) in two passes, with the correction of Chan, Golub & LeVeque (1983)."""
    array = sample(values)
    centre = math.fsum(array) / array.size
    if array.size < 2:
        return Moments(1, centre, None, None)
    if is_constant(array):
        return Moments(array.size, float(array[0]), 0.0, 0.0)
    deviations = array - centre
    squares = math.fsum(deviations * deviations) - math.fsum(deviations) ** 2 / array.size
    variance = finite(squares / (array.size - 1), "the variance")
    return Moments(array.size, centre, variance, math.sqrt(variance))


def describe(values: ArrayLike, probs: Sequence[float] = TAILS) -> Description:
    """Every headline number of one sample, in its own unit."""
    array = sample(values)
    first = moments(array)
    points = quantiles(array, [*probs, 0.25, 0.5, 0.75])
    low, middle, high = points[-3:]
    return Description(
        count=array.size,
        mean=first.mean,
        median=middle,
        min=float(array.min()),
        max=float(array.max()),
        variance=first.variance,
        stdev=first.stdev,
        quantiles={quantile_name(p): value for p, value in zip(probs, points, strict=False)},
        iqr=high - low,
        mad=mad(array),
        geomean=geomean(array) if bool((array > 0).all()) else None,
    )


def quantile_name(p: float) -> str:
    """0.5 is p50, 0.999 is p99_9."""
    return "p" + f"{100 * p:.10g}".replace(".", "_")


def quantiles(values: ArrayLike, probs: Iterable[float], kind: int | str = 7) -> list[float]:
    """Sample quantiles, Hyndman & Fan (1996) type 7 unless `kind` is another type or scipy's name of one.

    `kind="harrell-davis"` is the smooth estimator of Harrell & Davis (1982).
    """
    method = _KINDS.get(kind) if isinstance(kind, int) else kind
    if method is None:
        raise ConfigurationError(f"There is no quantile type {kind}; Hyndman & Fan's types are 1 to 9.")
    array, at = sample(values), np.asarray(list(probs), dtype=np.float64)
    if not bool(((at >= 0) & (at <= 1)).all()):
        raise ConfigurationError(f"Quantile probabilities lie between 0 and 1, not {at.tolist()}. Use 0.99 for p99.")
    if method == "linear":
        return [float(q) for q in np.quantile(array, at)]
    from scipy import stats

    with quiet():
        return [finite(q, "the quantile") for q in np.atleast_1d(stats.quantile(array, at, method=method))]


def harrell_davis(values: ArrayLike, probs: Iterable[float]) -> list[float]:
    """Harrell-Davis quantiles: a weighted mean of all order statistics, smoother than type 7 in small samples."""
    return quantiles(values, probs, "harrell-davis")


def quantile_interval(values: ArrayLike, p: float, confidence: float = 0.95) -> tuple[Interval, int, int]:
    """A distribution-free interval of a quantile between two order statistics, and their 1-based ranks.

    Ranks qbinom(a/2, n, p) and qbinom(1-a/2, n, p) + 1 (David & Nagaraja 2003, section 7.1); where a rank
    does not exist, the sample is too small and the call is refused.
    """
    array = np.sort(sample(values, at_least=2))
    tail = (1 - confidence_level(confidence)) / 2
    lower = laws.binomial_quantile(tail, array.size, p)
    upper = laws.binomial_quantile(1 - tail, array.size, p) + 1
    if lower < 1 or upper > array.size:
        raise NotEnoughData(
            f"{array.size} values do not bound the {p:g} quantile with confidence {confidence:g}; collect more."
        )
    method = own("order statistics, David & Nagaraja 2003 sec. 7.1")
    return between(float(array[lower - 1]), float(array[upper - 1]), confidence, method), lower, upper


def geomean(values: ArrayLike) -> float:
    """The geometric mean; every value has to be above 0."""
    logs = np.log(positive(sample(values), "the sample"))
    return math.exp(math.fsum(logs) / logs.size)


def mad(values: ArrayLike, scale: float = 1.0) -> float:
    """Median absolute deviation from the median; `scale=1.4826` makes it a standard deviation under normality."""
    array = sample(values)
    return float(np.median(np.abs(array - np.median(array)))) * scale


def shape(values: ArrayLike) -> Shape:
    """Skewness, excess kurtosis and the Shapiro-Wilk test of normality (up to 5,000 values)."""
    from scipy import stats

    array = sample(values, at_least=3)
    if is_constant(array):
        raise NotEnoughData("All values are the same, so they have no shape.")
    with quiet():
        wilk = stats.shapiro(array) if array.size <= 5000 else None
        return Shape(
            skewness_type1=finite(stats.skew(array), "skewness"),
            skewness_type2=finite(stats.skew(array, bias=False), "skewness"),
            excess_kurtosis_type1=finite(stats.kurtosis(array), "kurtosis"),
            excess_kurtosis_type2=finite(stats.kurtosis(array, bias=False), "kurtosis") if array.size > 3 else None,
            shapiro_w=None if wilk is None else float(wilk.statistic),
            shapiro_p=None if wilk is None else float(wilk.pvalue),
        )


def standard_error(values: Floats) -> float:
    """Standard error of the mean of independent values."""
    spread = moments(values).stdev
    if spread is None:
        raise NotEnoughData("One value has no standard error; at least 2 are needed.")
    return spread / math.sqrt(values.size)
