"""Tests of several groups at once: classic, Welch and rank analyses of variance, and equality of spreads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from otel_research.analysis.stats.describe import mean, moments
from otel_research.analysis.stats.effects import eta_squared, omega_squared
from otel_research.analysis.stats.outcome import Outcome, by, own
from otel_research.analysis.stats.sample import Floats, finite, groups, is_constant, quiet, sample, varied
from otel_research.errors import ConfigurationError, NotEnoughData


@dataclass(frozen=True, slots=True)
class OneWay:
    """The classic one-way table."""

    f: float
    p_value: float
    df_between: int
    df_within: int
    ss_between: float
    ss_within: float
    residual_sd: float
    eta_squared: float
    omega_squared: float
    method: str


def one_way(samples: Sequence[ArrayLike]) -> OneWay:
    """Fisher's one-way analysis of variance.

    Values are centred before anything is squared: NIST's SmLs09 has 1.0 correct digits without, 4.2 with.
    """
    from scipy import stats

    arrays = groups(samples)
    varied(*arrays)
    n, k = sum(each.size for each in arrays), len(arrays)
    if n <= k:
        raise NotEnoughData(f"{n} values in {k} groups leave no degree of freedom within groups.")
    centre = mean(np.concatenate(arrays))
    centred = [each - centre for each in arrays]
    total = math.fsum(math.fsum(each) for each in centred) / n
    means = [mean(each) for each in centred]
    between = math.fsum(each.size * (own_mean - total) ** 2 for each, own_mean in zip(centred, means, strict=True))
    within = math.fsum(moments(each).variance * (each.size - 1) for each in centred if each.size > 1)  # type: ignore[operator]
    f = finite(between / (k - 1) / (within / (n - k)), "F")
    return OneWay(
        f=f,
        p_value=float(stats.f.sf(f, k - 1, n - k)),
        df_between=k - 1,
        df_within=n - k,
        ss_between=between,
        ss_within=within,
        residual_sd=math.sqrt(within / (n - k)),
        eta_squared=eta_squared(between, within),
        omega_squared=omega_squared(f, k - 1, n),
        method=by("one-way analysis of variance, scipy.stats.f"),
    )


def welch_f(samples: Sequence[ArrayLike]) -> Outcome:
    """Welch's (1951) analysis of variance: means of groups whose variances differ."""
    from scipy import stats

    arrays = groups(samples, at_least=2)
    for index, each in enumerate(arrays):
        if is_constant(each):
            raise NotEnoughData(f"All values of group {index + 1} are the same; Welch's F weighs by 1/variance.")
    with quiet():
        result = stats.f_oneway(*arrays, equal_var=False)
    f = finite(result.statistic, "Welch's F")
    df = (float(len(arrays) - 1), _welch_df(arrays))
    return Outcome(f, finite(result.pvalue, "the p-value"), df, None, None, by("scipy.stats.f_oneway(equal_var=False)"))


def kruskal(samples: Sequence[ArrayLike]) -> Outcome:
    """Kruskal & Wallis's rank test of several groups."""
    from scipy import stats

    arrays = groups(samples)
    if is_constant(np.concatenate(arrays)):
        raise NotEnoughData("All values are the same, so ranks say nothing.")
    with quiet():
        result = stats.kruskal(*arrays)
    return Outcome(
        finite(result.statistic, "H"), finite(result.pvalue, "the p-value"), float(len(arrays) - 1), None, None,
        by("scipy.stats.kruskal"),
    )  # fmt: skip


def friedman(rows: ArrayLike) -> Outcome:
    """Friedman's rank test of treatments (columns) over blocks (rows), corrected for ties.

    scipy's function refuses 2 treatments, hence the formula (Conover 1999, section 5.8).
    """
    from scipy import stats

    try:
        table = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"Friedman's test needs one row of numbers per block: {exc}.") from exc
    if table.ndim != 2 or min(table.shape) < 2:
        raise NotEnoughData(f"Friedman's test needs at least 2 blocks and 2 treatments; the table is {table.shape}.")
    sample(table.ravel(), what="the table")
    blocks, treatments = table.shape
    ranks = stats.rankdata(table, axis=1)
    spread = float((ranks**2).sum()) - blocks * treatments * (treatments + 1) ** 2 / 4
    if spread == 0:
        raise NotEnoughData("Within every block all values are the same, so ranks say nothing.")
    sums = ranks.sum(axis=0)
    effect = float(((sums - blocks * (treatments + 1) / 2) ** 2).sum())
    chi2 = (treatments - 1) * effect / spread
    p_value = float(stats.chi2.sf(chi2, treatments - 1))
    return Outcome(chi2, p_value, float(treatments - 1), None, None, own("Friedman, Conover 1999 sec. 5.8"))


def levene(samples: Sequence[ArrayLike], center: str = "median") -> Outcome:
    """Levene's test of equal spreads; around the median it is Brown & Forsythe's (1974)."""
    from scipy import stats

    arrays = groups(samples, at_least=2)
    varied(*arrays)
    with quiet():
        result = stats.levene(*arrays, center=center)
    n = sum(each.size for each in arrays)
    return Outcome(
        finite(result.statistic, "Levene's W"), finite(result.pvalue, "the p-value"),
        (float(len(arrays) - 1), float(n - len(arrays))), None, None, by(f'scipy.stats.levene(center="{center}")'),
    )  # fmt: skip


def bartlett(samples: Sequence[ArrayLike]) -> Outcome:
    """Bartlett's test of equal variances; sensitive to heavy tails."""
    return _spread("bartlett", samples)


def fligner(samples: Sequence[ArrayLike]) -> Outcome:
    """Fligner & Killeen's rank test of equal spreads, around the medians."""
    return _spread("fligner", samples)


def _spread(name: str, samples: Sequence[ArrayLike]) -> Outcome:
    from scipy import stats

    arrays = groups(samples, at_least=2)
    varied(*arrays)
    with quiet():
        result = getattr(stats, name)(*arrays)
    return Outcome(
        finite(result.statistic, f"{name}'s statistic"), finite(result.pvalue, "the p-value"), float(len(arrays) - 1),
        None, None, by(f"scipy.stats.{name}"),
    )  # fmt: skip


def _welch_df(arrays: list[Floats]) -> float:
    """Denominator degrees of freedom of Welch's F (Welch 1951, eq. 29); scipy keeps them to itself."""
    weights = np.array([each.size / (moments(each).variance or math.nan) for each in arrays])
    share = weights / weights.sum()
    sizes = np.array([each.size for each in arrays])
    k = len(arrays)
    return float((k**2 - 1) / (3 * ((1 - share) ** 2 / (sizes - 1)).sum()))
