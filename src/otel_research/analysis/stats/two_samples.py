"""Tests of two samples: Student's and Welch's t, on logarithms too, and the rank tests.

Differences are `a` minus `b`, ratios `a` over `b`. For a report pass the candidate as `a`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from otel_research.analysis.stats.describe import mean
from otel_research.analysis.stats.outcome import Alternative, Outcome, between, by
from otel_research.analysis.stats.sample import (
    Floats,
    confidence_level,
    finite,
    is_constant,
    pairs,
    positive,
    quiet,
    sample,
    varied,
)
from otel_research.errors import ConfigurationError, NotEnoughData


def welch(a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95, alternative: Alternative = "two-sided") -> Outcome:
    """Welch's t test of the difference in means, with its interval, in the unit of the values."""
    return _independent_t(a, b, False, confidence, alternative)


def welch_from_moments(
    mean_a: float,
    sd_a: float,
    n_a: int,
    mean_b: float,
    sd_b: float,
    n_b: int,
    *,
    confidence: float = 0.95,
    alternative: Alternative = "two-sided",
) -> Outcome:
    """Welch's t test from means, standard deviations (n-1) and counts."""
    _enough(n_a, n_b)
    part_a, part_b = sd_a**2 / n_a, sd_b**2 / n_b
    se = math.sqrt(part_a + part_b)
    _not_constant(se)
    df = (part_a + part_b) ** 2 / (part_a**2 / (n_a - 1) + part_b**2 / (n_b - 1))
    return t_outcome(mean_a - mean_b, se, df, confidence, alternative, by("Welch's t test, scipy.stats.t"))


def pooled_t(
    a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95, alternative: Alternative = "two-sided"
) -> Outcome:
    """Student's t test, which assumes equal variances."""
    return _independent_t(a, b, True, confidence, alternative)


def pooled_t_from_moments(
    mean_a: float,
    sd_a: float,
    n_a: int,
    mean_b: float,
    sd_b: float,
    n_b: int,
    *,
    confidence: float = 0.95,
    alternative: Alternative = "two-sided",
) -> Outcome:
    """Student's t test from means, standard deviations (n-1) and counts."""
    _enough(n_a, n_b)
    se = pooled_sd(sd_a, n_a, sd_b, n_b) * math.sqrt(1 / n_a + 1 / n_b)
    _not_constant(se)
    method = by("Student's t test, scipy.stats.t")
    return t_outcome(mean_a - mean_b, se, n_a + n_b - 2, confidence, alternative, method)


def pooled_sd(sd_a: float, n_a: int, sd_b: float, n_b: int) -> float:
    """The standard deviation within two groups, pooled by degrees of freedom."""
    return math.sqrt(((n_a - 1) * sd_a**2 + (n_b - 1) * sd_b**2) / (n_a + n_b - 2))


def paired_t(
    a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95, alternative: Alternative = "two-sided"
) -> Outcome:
    """Student's t test of paired differences."""
    from scipy import stats

    first, second = pairs(a, b)
    varied(first - second)
    with quiet():
        result = stats.ttest_rel(first, second, alternative=alternative)
    return _from_scipy(result, mean(first - second), confidence, by("scipy.stats.ttest_rel"))


def one_sample_t(
    values: ArrayLike, *, popmean: float = 0.0, confidence: float = 0.95, alternative: Alternative = "two-sided"
) -> Outcome:
    """Student's t test that a mean is `popmean`; the estimate and its interval are of the mean itself."""
    from scipy import stats

    array = sample(values, at_least=2)
    varied(array)
    with quiet():
        result = stats.ttest_1samp(array, popmean, alternative=alternative)
    return _from_scipy(result, mean(array), confidence, by("scipy.stats.ttest_1samp"))


def log_welch(
    a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95, alternative: Alternative = "two-sided"
) -> Outcome:
    """Welch's t test on logarithms: the ratio of geometric means, `a` over `b`, with its interval."""
    first = np.log(positive(sample(a, at_least=2, what="sample a"), "sample a"))
    second = np.log(positive(sample(b, at_least=2, what="sample b"), "sample b"))
    return exponentiated(welch(first, second, confidence=confidence, alternative=alternative))


def log_paired_t(
    a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95, alternative: Alternative = "two-sided"
) -> Outcome:
    """The paired t test on logarithms: the geometric mean of the ratios, `a` over `b`."""
    first, second = pairs(a, b)
    logs = np.log(positive(first, "sample a")), np.log(positive(second, "sample b"))
    return exponentiated(paired_t(*logs, confidence=confidence, alternative=alternative))


def mann_whitney(
    a: ArrayLike,
    b: ArrayLike,
    *,
    method: str = "asymptotic",
    continuity: bool = True,
    alternative: Alternative = "two-sided",
) -> Outcome:
    """Mann-Whitney U of `a`; the estimate is P(a > b) + P(a = b)/2."""
    from scipy import stats

    first, second = sample(a, what="sample a"), sample(b, what="sample b")
    if is_constant(np.concatenate([first, second])):
        raise NotEnoughData("All values are the same, so ranks say nothing.")
    with quiet():
        result = stats.mannwhitneyu(first, second, method=method, use_continuity=continuity, alternative=alternative)
    u = finite(result.statistic, "Mann-Whitney's U")
    superiority = u / (first.size * second.size)
    return Outcome(u, finite(result.pvalue, "the p-value"), None, superiority, None, by("scipy.stats.mannwhitneyu"))


def wilcoxon(
    a: ArrayLike,
    b: ArrayLike,
    *,
    method: str = "auto",
    continuity: bool = True,
    zero_method: str = "wilcox",
    alternative: Alternative = "two-sided",
) -> Outcome:
    """Wilcoxon's signed-rank test; the statistic is V, the sum of the ranks of positive differences."""
    from scipy import stats

    first, second = pairs(a, b, at_least=1)
    differences = first - second
    if not differences.any():
        raise NotEnoughData("All paired differences are 0, so signed ranks say nothing.")
    options = {"zero_method": zero_method, "correction": continuity, "method": method}
    with quiet():
        result = stats.wilcoxon(differences, alternative=alternative, **options)
        # Two-sided, scipy gives the smaller of the two rank sums; V is the one of "greater".
        positive_ranks = stats.wilcoxon(differences, alternative="greater", **options).statistic
    p_value = finite(result.pvalue, "the p-value")
    return Outcome(
        finite(positive_ranks, "Wilcoxon's V"), p_value, None, float(np.median(differences)), None,
        by("scipy.stats.wilcoxon"),
    )  # fmt: skip


def brunner_munzel(
    a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95, alternative: Alternative = "two-sided"
) -> Outcome:
    """Brunner & Munzel's (2000) test; the estimate is P(a < b) + P(a = b)/2 with its interval.

    Unlike Mann-Whitney it holds its level when the two spreads differ. Samples that do not overlap at
    all have no within-group variance of ranks and are refused.
    """
    from scipy import stats

    first, second = _two(a, b)
    with quiet():
        result = stats.brunnermunzel(first, second, alternative=alternative)
    superiority, se, df = _placement(first.astype(float), second.astype(float))
    if not se > 0:
        raise NotEnoughData("The samples do not overlap, so Brunner-Munzel has no variance; use Mann-Whitney.")
    half = float(stats.t.ppf((1 + confidence_level(confidence)) / 2, df)) * se
    interval = between(max(0.0, superiority - half), min(1.0, superiority + half), confidence, "t, Brunner-Munzel")
    return Outcome(
        finite(result.statistic, "Brunner-Munzel's statistic"), finite(result.pvalue, "the p-value"), df,
        superiority, interval, by("scipy.stats.brunnermunzel"),
    )  # fmt: skip


def t_outcome(
    estimate: float,
    se: float,
    df: float,
    confidence: float,
    alternative: Alternative,
    method: str,
    *,
    null: float = 0.0,
) -> Outcome:
    """A t test and its interval from an estimate, its standard error and degrees of freedom."""
    from scipy import stats

    t = finite((estimate - null) / se, "the t statistic")
    level = confidence_level(confidence)
    law = stats.t(df)
    if alternative == "two-sided":
        p_value, half = 2 * law.sf(abs(t)), law.ppf((1 + level) / 2) * se
        low, high = estimate - half, estimate + half
    elif alternative == "greater":
        p_value, low, high = law.sf(t), estimate - law.ppf(level) * se, None
    elif alternative == "less":
        p_value, low, high = law.cdf(t), None, estimate + law.ppf(level) * se
    else:
        raise ConfigurationError(f'alternative={alternative!r}; use "two-sided", "less" or "greater".')
    interval = between(None if low is None else float(low), None if high is None else float(high), level, method)
    return Outcome(t, float(p_value), float(df), float(estimate), interval, method, float(se))


def exponentiated(outcome: Outcome) -> Outcome:
    """An outcome on the log scale, read as a ratio."""
    if outcome.interval is None or outcome.estimate is None:
        raise ConfigurationError("Only an outcome with an estimate and an interval can become a ratio.")
    low, high = outcome.interval.low, outcome.interval.high
    method = f"{outcome.method}, on logarithms"
    interval = between(
        None if low is None else math.exp(low), None if high is None else math.exp(high),
        outcome.interval.level, method,
    )  # fmt: skip
    ratio = finite(math.exp(outcome.estimate), "the ratio")
    return Outcome(outcome.statistic, outcome.p_value, outcome.df, ratio, interval, method)


def _independent_t(a: ArrayLike, b: ArrayLike, equal_var: bool, confidence: float, alternative: Alternative) -> Outcome:
    from scipy import stats

    first, second = _two(a, b)
    with quiet():
        result = stats.ttest_ind(first, second, equal_var=equal_var, alternative=alternative)
    method = by(f"scipy.stats.ttest_ind(equal_var={equal_var})")
    return _from_scipy(result, mean(first) - mean(second), confidence, method)


def _from_scipy(result: Any, estimate: float, confidence: float, method: str) -> Outcome:
    """scipy's t test with its interval; the side that a one-sided interval leaves open is None."""
    from scipy import stats

    level, df = confidence_level(confidence), float(result.df)
    low, high = (float(bound) if math.isfinite(bound) else None for bound in result.confidence_interval(level))
    t, p_value = finite(result.statistic, "the t statistic"), finite(result.pvalue, "the p-value")
    # scipy keeps the standard error to itself; the interval gives it back.
    if low is not None and high is not None:
        se = (high - low) / 2 / float(stats.t.ppf((1 + level) / 2, df))
    else:
        reach = abs(estimate - (low if high is None else high))  # type: ignore[operator]
        se = reach / abs(float(stats.t.ppf(level, df)))
    return Outcome(t, p_value, df, estimate, between(low, high, confidence, method), method, se)


def _two(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    first, second = sample(a, at_least=2, what="sample a"), sample(b, at_least=2, what="sample b")
    varied(first, second)
    return first, second


def _enough(n_a: int, n_b: int) -> None:
    if n_a < 2 or n_b < 2:
        raise NotEnoughData(f"The samples have {n_a} and {n_b} values; at least 2 each are needed.")


def _not_constant(se: float) -> None:
    if not se > 0:
        raise NotEnoughData("All values within each sample are the same, so there is no variation to judge by.")


def _placement(a: Floats, b: Floats) -> tuple[float, float, float]:
    """P(a < b) + P(a = b)/2, its standard error and degrees of freedom (Brunner & Munzel 2000, eq. 3-5)."""
    from scipy.stats import rankdata

    n, m = a.size, b.size
    joint = rankdata(np.concatenate([a, b]))
    spare_a = joint[:n] - rankdata(a)
    spare_b = joint[n:] - rankdata(b)
    var_a, var_b = spare_a.var(ddof=1) / (n * m**2), spare_b.var(ddof=1) / (m * n**2)
    total = float(var_a + var_b)
    df = total**2 / (var_a**2 / (n - 1) + var_b**2 / (m - 1)) if total > 0 else 0.0
    return float((joint[n:].mean() - (m + 1) / 2) / n), math.sqrt(total), float(df)
