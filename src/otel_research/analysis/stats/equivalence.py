"""Two one-sided tests: is the difference inside a margin? (Schuirmann 1987)."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from otel_research.analysis.stats.outcome import Interval, Outcome
from otel_research.analysis.stats.two_samples import paired_t, pooled_t, t_outcome, welch
from otel_research.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Equivalence:
    """`p_value` is the larger of the two; `interval` (1 - 2 alpha) lies inside the margins when it is below alpha."""

    p_lower: float
    p_upper: float
    p_value: float
    interval: Interval
    method: str


def tost(
    a: ArrayLike,
    b: ArrayLike,
    low: float,
    high: float,
    *,
    alpha: float = 0.05,
    is_paired: bool = False,
    equal_var: bool = False,
) -> Equivalence:
    """Is the mean of `a` minus that of `b` between `low` and `high`?"""
    test = paired_t if is_paired else pooled_t if equal_var else welch
    return tost_of(test(a, b, confidence=1 - 2 * alpha), low, high, alpha)


def tost_of(outcome: Outcome, low: float, high: float, alpha: float = 0.05) -> Equivalence:
    """The two one-sided tests behind any t outcome (its estimate, standard error and df)."""
    if not low < high:
        raise ConfigurationError(f"The equivalence margin runs from {low} to {high}; low has to be below high.")
    if outcome.estimate is None or outcome.se is None or not isinstance(outcome.df, float):
        raise ConfigurationError(f"{outcome.method} has no standard error and df, so it cannot be tested twice.")
    estimate, se, df = outcome.estimate, outcome.se, outcome.df
    method = f"two one-sided tests, {outcome.method}"
    lower = t_outcome(estimate, se, df, 1 - 2 * alpha, "greater", method, null=low)
    upper = t_outcome(estimate, se, df, 1 - 2 * alpha, "less", method, null=high)
    both = t_outcome(estimate, se, df, 1 - 2 * alpha, "two-sided", method)
    assert both.interval is not None
    p_value = max(lower.p_value, upper.p_value)
    return Equivalence(lower.p_value, upper.p_value, p_value, both.interval, method)
