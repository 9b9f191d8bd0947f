"""Success rates: intervals of one, two and paired proportions, and their tests.

Differences are first minus second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from otel_research.analysis.stats import laws
from otel_research.analysis.stats.outcome import Alternative, Estimate, Interval, Outcome, between, by, own
from otel_research.analysis.stats.sample import confidence_level, counts, finite, quiet
from otel_research.errors import ConfigurationError, NotEnoughData


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's test of paired yes/no outcomes: `exact` is the one to quote."""

    exact: float
    mid_p: float
    chi2: float
    chi2_p: float
    chi2_corrected: float
    chi2_corrected_p: float
    method: str


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's (1927) score interval of a proportion; never of width 0, never outside [0, 1]."""
    _one(successes, n)
    return wilson_share(successes / n, n, confidence)


def wilson_share(share: float, n: float, confidence: float = 0.95) -> Interval:
    """The same from a share and an n that may be an effective one (which scipy's does not take)."""
    z = z_of(confidence)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if share == 0 else max(0.0, middle - half)
    high = 1.0 if share == 1 else min(1.0, middle + half)
    return between(low, high, confidence, own("Wilson 1927"))


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Clopper & Pearson's (1934) exact interval of a proportion: conservative."""
    return _from_binomtest(successes, n, confidence, "exact")


def agresti_coull(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Agresti & Coull's (1998) interval: Wald's, after adding z^2 / 2 successes and failures, cut to [0, 1]."""
    _one(successes, n)
    z = z_of(confidence)
    size = n + z * z
    centre = (successes + z * z / 2) / size
    half = z * math.sqrt(centre * (1 - centre) / size)
    return between(max(0.0, centre - half), min(1.0, centre + half), confidence, own("Agresti & Coull 1998"))


def jeffreys(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """The equal-tailed Jeffreys interval, with the ends of Brown, Cai & DasGupta (2001) at 0 and n successes."""
    _one(successes, n)
    tail = (1 - confidence_level(confidence)) / 2
    law = successes + 0.5, n - successes + 0.5
    low = 0.0 if successes == 0 else laws.beta_quantile(tail, *law)
    high = 1.0 if successes == n else laws.beta_quantile(1 - tail, *law)
    return between(low, high, confidence, by("Jeffreys interval, scipy.special.betaincinv"))


def rate(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """A success rate with its Wilson interval."""
    interval = wilson(successes, n, confidence)
    p = successes / n
    return Estimate(p, math.sqrt(p * (1 - p) / n), interval, n, interval.method)


def newcombe(successes_a: int, n_a: int, successes_b: int, n_b: int, confidence: float = 0.95) -> Estimate:
    """The difference of two independent proportions with Newcombe's (1998) interval, his method 10."""
    a, b = wilson(successes_a, n_a, confidence), wilson(successes_b, n_b, confidence)
    p, q = successes_a / n_a, successes_b / n_b
    low, high = _square_and_add(p, _ends(a), q, _ends(b), 0.0)
    se = math.sqrt(p * (1 - p) / n_a + q * (1 - q) / n_b)
    method = own("Newcombe 1998, method 10")
    return Estimate(p - q, se, between(low, high, confidence, method), n_a + n_b, method)


def newcombe_paired(both: int, a_only: int, b_only: int, neither: int, confidence: float = 0.95) -> Estimate:
    """The difference of two proportions of the same items, Newcombe (1998b), method 10.

    `a_only` counts the items where only the first arm succeeded.
    """
    counts(both=both, a_only=a_only, b_only=b_only, neither=neither)
    n = both + a_only + b_only + neither
    if n == 0:
        raise NotEnoughData("There are no paired items.")
    a, b = wilson(both + a_only, n, confidence), wilson(both + b_only, n, confidence)
    p, q = (both + a_only) / n, (both + b_only) / n
    low, high = _square_and_add(p, _ends(a), q, _ends(b), paired_phi(both, a_only, b_only, neither))
    se = math.sqrt(max(0.0, a_only + b_only - (a_only - b_only) ** 2 / n)) / n
    method = own("Newcombe 1998b, paired, method 10")
    return Estimate((a_only - b_only) / n, se, between(low, high, confidence, method), n, method)


def paired_phi(both: int, a_only: int, b_only: int, neither: int) -> float:
    """The correlation that Newcombe's paired method 10 uses: phi, its numerator shrunk towards 0 by n/2."""
    margins = (both + a_only) * (b_only + neither) * (both + b_only) * (a_only + neither)
    if margins == 0:
        return 0.0
    cross = float(both * neither - a_only * b_only)
    if cross > 0:
        cross = max(cross - (both + a_only + b_only + neither) / 2, 0.0)
    return cross / math.sqrt(margins)


def mcnemar(a_only: int, b_only: int) -> McNemar:
    """McNemar's test from the two discordant counts: exact, mid-p, and chi-square with and without correction."""
    from scipy import stats

    counts(a_only=a_only, b_only=b_only)
    n = int(a_only + b_only)
    if n == 0:
        raise NotEnoughData("No item changed its outcome between the arms, so McNemar's test has nothing to test.")
    exact = float(stats.binomtest(int(a_only), n, 0.5).pvalue)
    chi2 = (a_only - b_only) ** 2 / n
    # R's mcnemar.test, and Edwards (1948): the correction never goes below 0.
    corrected = max(abs(a_only - b_only) - 1, 0) ** 2 / n
    return McNemar(
        exact=exact,
        mid_p=min(1.0, exact - float(stats.binom.pmf(min(a_only, b_only), n, 0.5))),
        chi2=chi2,
        chi2_p=float(stats.chi2.sf(chi2, 1)),
        chi2_corrected=corrected,
        chi2_corrected_p=float(stats.chi2.sf(corrected, 1)),
        method=by("McNemar's test, scipy.stats.binomtest"),
    )


def fisher(successes_a: int, n_a: int, successes_b: int, n_b: int, alternative: Alternative = "two-sided") -> Outcome:
    """Fisher's exact test of two proportions; the estimate is their difference."""
    from scipy import stats

    _one(successes_a, n_a)
    _one(successes_b, n_b)
    table = [[successes_a, n_a - successes_a], [successes_b, n_b - successes_b]]
    with quiet():
        p_value = stats.fisher_exact(table, alternative=alternative).pvalue
    difference = successes_a / n_a - successes_b / n_b
    return Outcome(
        difference, finite(p_value, "Fisher's p-value"), None, difference, None, by("scipy.stats.fisher_exact")
    )


def chi_square(successes: Sequence[int], sizes: Sequence[int], correction: bool = False) -> Outcome:
    """Pearson's chi-square test that several proportions are equal."""
    from scipy import stats

    for k, n in zip(successes, sizes, strict=True):
        _one(k, n)
    table = np.array([successes, np.subtract(sizes, successes)])
    if not table.sum(axis=1).all():
        raise NotEnoughData("Every trial has the same outcome, so proportions cannot be compared by chi-square.")
    result = stats.chi2_contingency(table, correction=correction)
    return Outcome(
        float(result.statistic), float(result.pvalue), float(result.dof), None, None,
        by("scipy.stats.chi2_contingency"),
    )  # fmt: skip


def sample_ratio(observed: Sequence[int], planned: Sequence[float] | None = None) -> Outcome:
    """Chi-square test that the arms' sizes follow the planned ratio (equal by default): sample-ratio mismatch."""
    if len(observed) < 2 or sum(observed) == 0:
        raise NotEnoughData("A sample ratio needs at least two arms and one trial.")
    weights = np.asarray(planned if planned is not None else [1.0] * len(observed), dtype=np.float64)
    if weights.size != len(observed) or not bool((weights > 0).all()):
        raise ConfigurationError("The planned ratio needs one positive weight per arm.")
    expected = weights / weights.sum() * sum(observed)
    statistic, df = float((((np.asarray(observed) - expected) ** 2) / expected).sum()), float(len(observed) - 1)
    p_value = laws.chi2_upper_tail(statistic, df)
    return Outcome(statistic, p_value, df, None, None, by("Pearson's chi-square, scipy.special.gammaincc"))


def z_of(confidence: float) -> float:
    """The two-sided standard normal quantile of a confidence level: 1.96 for 0.95."""
    from scipy.special import ndtri

    return float(ndtri((1 + confidence_level(confidence)) / 2))


def _from_binomtest(successes: int, n: int, confidence: float, method: str) -> Interval:
    from scipy import stats

    _one(successes, n)
    bounds = stats.binomtest(int(successes), int(n)).proportion_ci(confidence_level(confidence), method=method)
    return between(
        float(bounds.low), float(bounds.high), confidence, by(f'scipy.stats.binomtest().proportion_ci("{method}")')
    )


def _square_and_add(
    p: float, first: tuple[float, float], q: float, second: tuple[float, float], phi: float
) -> tuple[float, float]:
    """Both ends of p - q from the ends of each, correlated by phi (Newcombe 1998b, eq. for method 10)."""
    below_p, above_p, below_q, above_q = p - first[0], first[1] - p, q - second[0], second[1] - q
    low = below_p**2 - 2 * phi * below_p * above_q + above_q**2
    high = above_p**2 - 2 * phi * above_p * below_q + below_q**2
    return p - q - math.sqrt(max(low, 0.0)), p - q + math.sqrt(max(high, 0.0))


def _ends(interval: Interval) -> tuple[float, float]:
    return interval.low or 0.0, 1.0 if interval.high is None else interval.high


def _one(successes: int, n: int) -> None:
    counts(successes=successes, n=n)
    if n == 0:
        raise NotEnoughData("There are no trials, so there is no success rate.")
    if successes > n:
        raise ConfigurationError(f"{successes} successes in {n} trials is impossible.")
