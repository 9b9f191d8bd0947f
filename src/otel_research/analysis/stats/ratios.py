"""Ratios by the delta method: change of means in percent, cost per success, ratio of sums per cluster.

Deng, Knoblich & Lu (2018), "Applying the delta method in metric analytics".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from otel_research.analysis.stats.describe import mean, moments
from otel_research.analysis.stats.outcome import Estimate, Outcome, between, own
from otel_research.analysis.stats.proportions import z_of
from otel_research.analysis.stats.sample import Floats, codes, finite, sample
from otel_research.errors import ConfigurationError, NotEnoughData

DELTA = "delta method, Deng, Knoblich & Lu 2018"


@dataclass(frozen=True, slots=True)
class Part:
    """A mean and the variance of that mean."""

    value: float
    variance: float


def relative_change(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Estimate:
    """(mean of `a` - mean of `b`) / mean of `b`, as a fraction of the baseline `b`; independent samples."""
    x = moments(sample(a, at_least=2, what="sample a"))
    y = moments(sample(b, at_least=2, what="sample b"))
    return relative_change_from_moments(
        x.mean, x.variance or 0.0, x.count, y.mean, y.variance or 0.0, y.count, confidence
    )


def relative_change_from_moments(
    mean_a: float, var_a: float, n_a: int, mean_b: float, var_b: float, n_b: int, confidence: float = 0.95
) -> Estimate:
    """The same from means, variances (n-1) and counts; `b` is the baseline."""
    if n_a < 2 or n_b < 2:
        raise NotEnoughData(f"The samples have {n_a} and {n_b} values; at least 2 each are needed.")
    ratio = _delta(Part(mean_a, var_a / n_a), Part(mean_b, var_b / n_b), 0.0)
    return _normal(ratio.value - 1, math.sqrt(ratio.variance), n_a + n_b, confidence)


def paired_relative_change(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Estimate:
    """(mean of `a` - mean of `b`) / mean of `b` where row i of both is the same item."""
    ratio = ratio_of_means(a, b, confidence)
    return _normal(ratio.value - 1, ratio.se or 0.0, ratio.n, confidence)


def ratio_of_means(numerator: ArrayLike, denominator: ArrayLike, confidence: float = 0.95) -> Estimate:
    """A ratio of two sums over the same units (cost over successes), units independent."""
    top, bottom = _same_units(numerator, denominator)
    part = _ratio_part(top, bottom)
    return _normal(part.value, math.sqrt(part.variance), top.size, confidence)


def clustered_ratio(
    numerator: ArrayLike, denominator: ArrayLike, cluster: ArrayLike, confidence: float = 0.95
) -> Estimate:
    """A ratio of two sums where rows of one cluster (an item's trials) depend: summed per cluster first."""
    return ratio_of_means(*cluster_sums(numerator, denominator, cluster), confidence)


def ratio_change(
    numerator_a: ArrayLike,
    denominator_a: ArrayLike,
    numerator_b: ArrayLike,
    denominator_b: ArrayLike,
    confidence: float = 0.95,
) -> Estimate:
    """Relative change of one ratio against another, independent arms: cost per success of `a` against `b`.

    The interval is symmetric on the log scale, so that it never passes -100 %.
    """
    first = _ratio_part(*_same_units(numerator_a, denominator_a))
    second = _ratio_part(*_same_units(numerator_b, denominator_b))
    n = sample(numerator_a).size + sample(numerator_b).size
    return log_ratio(first, second, n, confidence)


def log_ratio(a: Part, b: Part, n: int, confidence: float = 0.95) -> Estimate:
    """`a` over `b` minus 1, with an interval made on the log scale; both have to be above 0."""
    if a.value <= 0 or b.value <= 0:
        raise NotEnoughData("A relative change needs both values above 0.")
    ratio = a.value / b.value
    log_se = math.sqrt(a.variance / a.value**2 + b.variance / b.value**2)
    half = z_of(confidence) * log_se
    method = own(f"{DELTA}, on logarithms")
    interval = between(ratio * math.exp(-half) - 1, ratio * math.exp(half) - 1, confidence, method)
    return Estimate(ratio - 1, ratio * log_se, interval, n, method)


def z_test(estimate: Estimate, null: float = 0.0) -> Outcome:
    """The normal test of an estimate against a value, from its standard error."""
    from scipy.special import ndtr

    if not estimate.se:
        raise NotEnoughData("The estimate has no standard error, so it cannot be tested.")
    z = (estimate.value - null) / estimate.se
    p_value = 2 * float(ndtr(-abs(z)))
    return Outcome(z, p_value, None, estimate.value, estimate.interval, f"z test, {estimate.method}")


def cluster_sums(numerator: ArrayLike, denominator: ArrayLike, cluster: ArrayLike) -> tuple[Floats, Floats]:
    """Both columns summed per cluster."""
    top, bottom = _same_units(numerator, denominator)
    code, size = codes(cluster, top.size)
    return np.bincount(code, top, size).astype(np.float64), np.bincount(code, bottom, size).astype(np.float64)


def _same_units(numerator: ArrayLike, denominator: ArrayLike) -> tuple[Floats, Floats]:
    top = sample(numerator, at_least=2, what="the numerator")
    bottom = sample(denominator, at_least=2, what="the denominator")
    if top.size != bottom.size:
        raise ConfigurationError(f"A ratio needs both columns per unit; they have {top.size} and {bottom.size} rows.")
    return top, bottom


def _ratio_part(top: Floats, bottom: Floats) -> Part:
    """The ratio of the means and its variance: that of the linearised top - r * bottom."""
    below = mean(bottom)
    if below == 0:
        raise NotEnoughData("The denominator sums to 0, so there is no ratio.")
    ratio = mean(top) / below
    residual = moments(top - ratio * bottom).variance or 0.0
    return Part(ratio, residual / top.size / below**2)


def _delta(a: Part, b: Part, covariance: float) -> Part:
    if b.value == 0:
        raise NotEnoughData("The baseline's mean is 0, so there is no relative change.")
    ratio = a.value / b.value
    variance = a.variance / b.value**2 + ratio**2 * b.variance / b.value**2 - 2 * ratio * covariance / b.value**2
    return Part(finite(ratio, "the ratio"), max(variance, 0.0))


def _normal(value: float, se: float, n: int, confidence: float) -> Estimate:
    half = z_of(confidence) * se
    method = own(DELTA)
    return Estimate(finite(value, "the ratio"), se, between(value - half, value + half, confidence, method), n, method)
