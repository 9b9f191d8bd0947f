"""Several experiments as one: random effects (DerSimonian & Laird 1986) with Hartung-Knapp intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from otel_research.analysis.stats.outcome import Estimate, Interval, between, by
from otel_research.analysis.stats.sample import confidence_level, finite, need_statsmodels, pairs, quiet
from otel_research.errors import NotEnoughData


@dataclass(frozen=True, slots=True)
class Synthesis:
    """The pooled effect; `random` with its Hartung-Knapp interval is the one to quote."""

    random: Estimate
    fixed: Estimate
    se_wald: float
    p_value: float
    tau2: float
    q: float
    q_p: float
    i2: float
    h2: float
    prediction: Interval | None
    weights: tuple[float, ...]
    method: str


def random_effects(effects: ArrayLike, variances: ArrayLike, confidence: float = 0.95) -> Synthesis:
    """Pool effects with their sampling variances.

    `i2` is in percent. The prediction interval, where a new experiment's effect is expected, is that of
    Higgins, Thompson & Spiegelhalter (2009) with the Hartung-Knapp error and k-2 degrees of freedom.
    """
    from scipy import stats

    need_statsmodels()
    from statsmodels.stats.meta_analysis import combine_effects

    yi, vi = pairs(effects, variances)
    if not bool((vi > 0).all()):
        raise NotEnoughData("An experiment has a sampling variance of 0 or less, so it cannot be weighed.")
    k, level = yi.size, confidence_level(confidence)
    with quiet():
        pooled = combine_effects(yi, vi, method_re="chi2", use_t=True, alpha=1 - level)
        homogeneity = pooled.test_homogeneity()
    tau2 = max(0.0, float(pooled.tau2))
    weights = 1 / (vi + tau2)
    estimate = float((weights @ yi) / weights.sum())
    wald = math.sqrt(1 / weights.sum())
    knapp = math.sqrt(float((weights * (yi - estimate) ** 2).sum()) / (k - 1)) * wald
    if knapp < 1e-8 * wald:
        # Effects that agree exactly (no failure anywhere, say) would give an interval of width 0.
        knapp = wald
    q = float(homogeneity.statistic)
    method = by("statsmodels combine_effects, DerSimonian-Laird with Hartung-Knapp", "statsmodels")
    critical = float(stats.t.ppf((1 + level) / 2, k - 1))
    t = finite(estimate / knapp, "the pooled effect's t")
    return Synthesis(
        random=_around(estimate, knapp, critical, level, k, method),
        fixed=_fixed(yi, vi, level, method),
        se_wald=wald,
        p_value=float(2 * stats.t.sf(abs(t), k - 1)),
        tau2=tau2,
        q=q,
        q_p=float(stats.chi2.sf(q, k - 1)),
        i2=max(0.0, 100 * (q - (k - 1)) / q) if q > 0 else 0.0,
        h2=q / (k - 1),
        prediction=_prediction(estimate, knapp, tau2, k, level, method),
        weights=tuple((weights / weights.sum()).tolist()),
        method=method,
    )


def leave_one_out(effects: ArrayLike, variances: ArrayLike, confidence: float = 0.95) -> list[Synthesis]:
    """The synthesis without each experiment in turn."""
    yi, vi = pairs(effects, variances, at_least=3)
    return [random_effects(np.delete(yi, i), np.delete(vi, i), confidence) for i in range(yi.size)]


def _fixed(yi: np.ndarray, vi: np.ndarray, level: float, method: str) -> Estimate:
    from scipy import stats

    weights = 1 / vi
    estimate = float((weights @ yi) / weights.sum())
    return _around(
        estimate, math.sqrt(1 / weights.sum()), float(stats.norm.ppf((1 + level) / 2)), level, yi.size, method
    )


def _prediction(estimate: float, se: float, tau2: float, k: int, level: float, method: str) -> Interval | None:
    from scipy import stats

    if k < 3:
        return None
    half = float(stats.t.ppf((1 + level) / 2, k - 2)) * math.sqrt(tau2 + se**2)
    return between(estimate - half, estimate + half, level, f"prediction, {method}")


def _around(estimate: float, se: float, critical: float, level: float, k: int, method: str) -> Estimate:
    interval = between(estimate - critical * se, estimate + critical * se, level, method)
    return Estimate(estimate, se, interval, k, method)
