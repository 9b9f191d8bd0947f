"""How large an effect is: standardised differences, dominance, explained variance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from otel_research.analysis.stats.describe import moments
from otel_research.analysis.stats.outcome import Estimate, Interval, between, by, own
from otel_research.analysis.stats.sample import Floats, confidence_level, finite, pairs, quiet, sample, varied
from otel_research.analysis.stats.two_samples import pooled_sd
from otel_research.errors import ConfigurationError, NotEnoughData

_NONCENTRAL_DF = 10_000
"""Degrees of freedom above which the noncentral t is its normal limit to 4 digits, and slow."""
_NONCENTRAL_T = 30
"""|t| above which the noncentral t underflows."""


@dataclass(frozen=True, slots=True)
class Standardised:
    """Cohen's d and Hedges' g with their variances and the noncentral-t interval of d."""

    d: float
    g: float
    pooled_sd: float
    var_d: float
    var_g: float
    interval: Interval
    g_interval: Interval
    method: str


def cohens_d(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Standardised:
    """(mean of `a` - mean of `b`) / pooled standard deviation, with its noncentral-t interval."""
    first, second = sample(a, at_least=2, what="sample a"), sample(b, at_least=2, what="sample b")
    varied(first, second)
    x, y = moments(first), moments(second)
    return cohens_d_from_moments(
        x.mean, x.stdev or 0.0, x.count, y.mean, y.stdev or 0.0, y.count, confidence=confidence
    )


def cohens_d_from_moments(
    mean_a: float, sd_a: float, n_a: int, mean_b: float, sd_b: float, n_b: int, *, confidence: float = 0.95
) -> Standardised:
    """The same from means, standard deviations (n-1) and counts.

    Variances: Borenstein et al. (2009), eq. 4.20 and 4.24. The interval inverts the noncentral t
    (Cumming & Finch 2001).
    """
    if n_a < 2 or n_b < 2:
        raise NotEnoughData(f"The samples have {n_a} and {n_b} values; at least 2 each are needed.")
    spread = pooled_sd(sd_a, n_a, sd_b, n_b)
    if not spread > 0:
        raise NotEnoughData("All values within each sample are the same, so a difference has no standard deviation.")
    d = (mean_a - mean_b) / spread
    scale, df = math.sqrt(1 / n_a + 1 / n_b), n_a + n_b - 2
    var_d = (n_a + n_b) / (n_a * n_b) + d * d / (2 * (n_a + n_b))
    correction = hedges_correction(df)
    interval = _noncentral_t(d, scale, df, confidence)
    return Standardised(
        d=d,
        g=d * correction,
        pooled_sd=spread,
        var_d=var_d,
        var_g=correction**2 * var_d,
        interval=interval,
        g_interval=_scaled(interval, correction),
        method=by("Cohen's d, noncentral-t interval, scipy.stats.nct"),
    )


def cohens_d_paired(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> dict[str, Estimate]:
    """`d_z` (by the standard deviation of the differences) and `d_av` (by the average standard deviation)."""
    first, second = pairs(a, b)
    varied(first - second)
    change, x, y = moments(first - second), moments(first), moments(second)
    d_z = change.mean / (change.stdev or 1.0)
    interval = _noncentral_t(d_z, 1 / math.sqrt(change.count), change.count - 1, confidence)
    average = math.sqrt(((x.variance or 0.0) + (y.variance or 0.0)) / 2)
    d_av = change.mean / average
    return {
        "d_z": Estimate(d_z, None, interval, change.count, interval.method),
        "d_av": Estimate(d_av, None, None, change.count, own("Cumming 2012, d_av")),
    }


def hedges_correction(df: float) -> float:
    """Hedges' (1981) exact small-sample factor J."""
    from scipy.special import gammaln

    return float(np.exp(gammaln(df / 2) - gammaln((df - 1) / 2))) / math.sqrt(df / 2)


def hedges_correction_approximate(df: float) -> float:
    """The usual approximation of J: 1 - 3 / (4 df - 1)."""
    return 1 - 3 / (4 * df - 1)


def cliffs_delta(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Estimate:
    """P(a > b) - P(a < b) = 2U/(nm) - 1, with Cliff's (1996) asymmetric interval."""
    first, second = sample(a, what="sample a"), sample(b, what="sample b")
    rows, columns = _dominance(first, second), -_dominance(second, first)
    delta = float(rows.mean())
    n, m = first.size, second.size
    method = own("Cliff's delta = 2U/(nm) - 1")
    if n < 2 or m < 2:
        return Estimate(delta, None, None, n + m, method)
    se = math.sqrt(float(rows.var(ddof=1)) / n + float(columns.var(ddof=1)) / m)
    return Estimate(delta, se, _cliff_interval(delta, se, confidence, method), n + m, method)


def vargha_delaney(a: ArrayLike, b: ArrayLike) -> float:
    """Vargha & Delaney's A: P(a > b) + P(a = b)/2."""
    return (cliffs_delta(a, b).value + 1) / 2


def cohens_h(p: float, q: float) -> float:
    """Cohen's (1988) h: the difference of two proportions after the arcsine transformation."""
    for value in (p, q):
        if not 0 <= value <= 1:
            raise ConfigurationError(f"{value} is not a proportion; use 0.95 for 95 %.")
    return 2 * math.asin(math.sqrt(p)) - 2 * math.asin(math.sqrt(q))


def eta_squared(ss_effect: float, ss_rest: float) -> float:
    """Share of the variance explained: SS effect / (SS effect + SS rest); partial when the rest is the error."""
    return finite(ss_effect / (ss_effect + ss_rest), "eta squared") if ss_effect + ss_rest > 0 else 0.0


def omega_squared(f: float, df_effect: float, n: int) -> float:
    """Partial omega squared from F (Olejnik & Algina 2003); one-way it is omega squared. May be below 0."""
    return df_effect * (f - 1) / (df_effect * (f - 1) + n)


def partial_eta_interval(f: float, df_effect: float, df_error: float, confidence: float = 0.9) -> Interval:
    """Interval of partial eta squared by inverting the noncentral F (Steiger 2004), 90 % by convention."""
    from scipy import stats

    n = df_effect + df_error + 1

    def bound(probability: float) -> float:
        def excess(ncp: float) -> float:
            law = stats.ncf.cdf(f, df_effect, df_error, ncp) if ncp > 0 else stats.f.cdf(f, df_effect, df_error)
            return float(law) - probability

        ncp = _falling_root(excess, start=max(f * df_effect, 1.0), lowest=0.0)
        return ncp / (ncp + n)

    with quiet():
        tail = (1 - confidence_level(confidence)) / 2
        return between(bound(1 - tail), bound(tail), confidence, by("noncentral F, scipy.stats.ncf"))


def _noncentral_t(d: float, scale: float, df: float, confidence: float) -> Interval:
    """The interval of d = ncp * scale whose noncentral t puts half of alpha beyond the observed t."""
    from scipy import stats
    from scipy.special import nctdtr

    t, tail = d / scale, (1 - confidence_level(confidence)) / 2
    if df > _NONCENTRAL_DF:
        half = float(stats.norm.ppf(1 - tail)) * math.sqrt(1 + t * t / (2 * df))
        return between((t - half) * scale, (t + half) * scale, confidence, own("normal limit of the noncentral t"))
    if abs(t) > _NONCENTRAL_T:
        # Far out the two uncertainties, of the mean (z) and of the standard deviation (chi), add as squares.
        z, size = float(stats.norm.ppf(1 - tail)), abs(t)
        inner, outer = (size * math.sqrt(float(stats.chi2.ppf(p, df)) / df) for p in (tail, 1 - tail))
        low, high = size - math.hypot(size - inner, z), size + math.hypot(outer - size, z)
        low, high = (low, high) if t > 0 else (-high, -low)
        return between(low * scale, high * scale, confidence, own("far limit of the noncentral t"))

    def bound(probability: float) -> float:
        return _falling_root(lambda ncp: float(nctdtr(df, ncp, t)) - probability, start=t) * scale

    with quiet():
        return between(bound(1 - tail), bound(tail), confidence, by("noncentral t, scipy.special.nctdtr"))


def _falling_root(function: Callable[[float], float], start: float, lowest: float = -math.inf) -> float:
    """The root of a falling function near `start`; `lowest` when it is already below 0 there."""
    from scipy.optimize import brentq

    if math.isfinite(lowest) and function(lowest) <= 0:
        return lowest
    step = 1.0
    low, high = max(start - step, lowest), start + step
    while function(low) < 0:
        step *= 2
        low = max(start - step, lowest)
    step = 1.0
    while function(high) > 0:
        step *= 2
        high = start + step
        if step > 1e8:
            raise NotEnoughData("The interval of the effect size has no upper end for these data.")
    return float(brentq(function, low, high, xtol=1e-12, rtol=1e-14, maxiter=500))


def _scaled(interval: Interval, factor: float) -> Interval:
    low, high = interval.low or 0.0, interval.high or 0.0
    return between(low * factor, high * factor, interval.level, interval.method)


def _dominance(a: Floats, b: Floats) -> Floats:
    """For each value of a: the share of b below it minus the share above it."""
    ordered = np.sort(b)
    below = np.searchsorted(ordered, a, side="left")
    above = b.size - np.searchsorted(ordered, a, side="right")
    return (below - above) / b.size


def _cliff_interval(delta: float, se: float, confidence: float, method: str) -> Interval:
    """Cliff (1996), as in Feng & Cliff (2004): asymmetric, inside [-1, 1]."""
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence_level(confidence)) / 2))
    spread = z * se * math.sqrt((1 - delta**2) ** 2 + z * z * se * se)
    below = 1 - delta**2 + z * z * se * se
    centre = delta - delta**3
    if below <= 0:
        return between(delta, delta, confidence, method)
    return between(max(-1.0, (centre - spread) / below), min(1.0, (centre + spread) / below), confidence, method)
