"""How many are enough: power of the common designs, and its inverse.

Every design is one function of n that gives power; `solve` finds whichever of n, effect or alpha is
missing. Written here, because `compare` states its minimum detectable effect on the core install;
the formulas are those of Cohen (1988) and R's pwr and power.prop.test, and the tests hold them to R.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from otel_research.analysis.stats.sample import finite, quiet
from otel_research.errors import ConfigurationError, NotEnoughData

_SIDES = {"two-sided": 2, "larger": 1, "smaller": 1, "greater": 1, "less": 1}


def power_t(
    d: float, n: float, alpha: float = 0.05, *, n_b: float | None = None, design: str = "two-sample",
    alternative: str = "two-sided",
) -> float:  # fmt: skip
    """Power of a t test at standardised effect d; `design` is "two-sample", "one-sample" or "paired" (d of differences).

    `n` is per group; `n_b` is the second group's size where it differs.
    """
    if design == "two-sample":
        other = n if n_b is None else n_b
        df, ncp = n + other - 2, d / math.sqrt(1 / n + 1 / other)
    elif design in ("one-sample", "paired"):
        df, ncp = n - 1, d * math.sqrt(n)
    else:
        raise ConfigurationError(f'design={design!r}; use "two-sample", "one-sample" or "paired".')
    return power_of_t(ncp, df, alpha, alternative)


def power_of_t(ncp: float, df: float, alpha: float = 0.05, alternative: str = "two-sided") -> float:
    """Power of any t test from its noncentrality, the effect over its standard error, and its df."""
    from scipy import stats

    if df <= 0:
        return 0.0
    critical = float(stats.t.isf(alpha / _sides(alternative), df))
    with quiet():
        if _sides(alternative) == 1:
            return _tail(stats.nct.sf(critical, df, -ncp if alternative in ("smaller", "less") else ncp))
        far = stats.nct.cdf(-critical, df, abs(ncp))
        return _tail(stats.nct.sf(critical, df, abs(ncp)) + (far if math.isfinite(far) else 0.0))


def power_normal(effect: float, se: float, alpha: float = 0.05, alternative: str = "two-sided") -> float:
    """Power of a z test of an effect with a known standard error."""
    from scipy.special import ndtr, ndtri

    shift = effect / se
    critical = -float(ndtri(alpha / _sides(alternative)))
    if _sides(alternative) == 2:
        return float(ndtr(shift - critical) + ndtr(-shift - critical))
    return float(ndtr((-shift if alternative in ("smaller", "less") else shift) - critical))


def power_proportions(p: float, q: float, n: float, alpha: float = 0.05, alternative: str = "two-sided") -> float:
    """Power of two independent proportions, n per group: normal, pooled under the null (R's power.prop.test)."""
    from scipy.special import ndtr, ndtri

    _shares(p, q)
    critical = -float(ndtri(alpha / _sides(alternative)))
    null = math.sqrt((p + q) * (1 - (p + q) / 2))
    return float(ndtr((math.sqrt(n) * abs(p - q) - critical * null) / math.sqrt(p * (1 - p) + q * (1 - q))))


def power_h(
    h: float, n: float, alpha: float = 0.05, *, n_b: float | None = None, alternative: str = "two-sided"
) -> float:
    """Power of two proportions by Cohen's h (arcsine), n per group (R's pwr.2p.test and pwr.2p2n.test)."""
    return power_normal(h, math.sqrt(1 / n + 1 / (n if n_b is None else n_b)), alpha, alternative)


def power_h_one(h: float, n: float, alpha: float = 0.05, alternative: str = "two-sided") -> float:
    """Power of one proportion against a constant by Cohen's h (R's pwr.p.test)."""
    return power_normal(h, 1 / math.sqrt(n), alpha, alternative)


def power_paired_proportions(a_only: float, b_only: float, n: float, alpha: float = 0.05) -> float:
    """Power of McNemar's test from the two discordant shares and n pairs (Connor 1987)."""
    from scipy.special import ndtr, ndtri

    discordant, difference = a_only + b_only, abs(a_only - b_only)
    _shares(a_only, b_only)
    if not difference < discordant <= 1 and difference != discordant:
        raise ConfigurationError(f"Discordant shares {a_only} and {b_only} are impossible.")
    critical = -float(ndtri(alpha / 2))
    spread = math.sqrt(max(discordant - difference**2, 1e-300))
    return float(ndtr((math.sqrt(n) * difference - critical * math.sqrt(discordant)) / spread))


def n_of_exact_test(n: float, difference: float) -> float:
    """n per group at which Fisher's (or McNemar's) exact test has the power that the asymptotic test has at `n`.

    The continuity correction of Casagrande, Pike & Smith (1978), eq. 2.3; for pairs the same algebra on the
    discordant ones (Lachin 1992).
    """
    return n / 4 * (1 + math.sqrt(1 + 4 / (n * abs(difference)))) ** 2


def power_anova(f: float, k: int, n: float, alpha: float = 0.05) -> float:
    """Power of one-way analysis of variance of k groups of n at Cohen's f."""
    from scipy import stats

    df = k * (n - 1)
    return _tail(stats.ncf.sf(stats.f.isf(alpha, k - 1, df), k - 1, df, f * f * k * n))


def power_chi_square(w: float, n: float, df: float, alpha: float = 0.05) -> float:
    """Power of a chi-square test at Cohen's w."""
    from scipy import stats

    return _tail(stats.ncx2.sf(stats.chi2.isf(alpha, df), df, n * w * w))


def power_f2(f2: float, df: float, df_error: float, alpha: float = 0.05) -> float:
    """Power of an F test in a linear model at Cohen's f2 (R's pwr.f2.test)."""
    from scipy import stats

    return _tail(stats.ncf.sf(stats.f.isf(alpha, df, df_error), df, df_error, f2 * (df + df_error + 1)))


def power_correlation(r: float, n: float, alpha: float = 0.05, alternative: str = "two-sided") -> float:
    """Power of a correlation test by Fisher's z with its bias term (R's pwr.r.test)."""
    from scipy import stats

    sided = _sides(alternative)
    r = abs(r) if sided == 2 else -r if alternative in ("smaller", "less") else r
    t = float(stats.t.isf(alpha / sided, n - 2))
    critical = math.sqrt(t * t / (t * t + n - 2))
    z, z_critical, scale = math.atanh(r) + r / (2 * (n - 1)), math.atanh(critical), math.sqrt(n - 3)
    upper = float(stats.norm.cdf((z - z_critical) * scale))
    return upper + float(stats.norm.cdf((-z - z_critical) * scale)) if sided == 2 else upper


def solve(power_at: Callable[[float], float], target: float, low: float, high: float, what: str = "n") -> float:
    """The value between `low` and `high` at which `power_at` reaches `target`; it has to rise or fall throughout."""
    from scipy.optimize import brentq

    if not 0 < target < 1:
        raise ConfigurationError(f"power={target} is not between 0 and 1. Use 0.8 for 80 %.")
    with quiet():
        at_low, at_high = power_at(low), power_at(high)
        if (at_low - target) * (at_high - target) > 0:
            raise NotEnoughData(
                f"No {what} between {low:g} and {high:g} gives power {target:g} (it runs from {at_low:.3g} to "
                f"{at_high:.3g})."
            )
        return finite(brentq(lambda x: power_at(x) - target, low, high, xtol=1e-12, rtol=1e-13), what)


def items_needed(
    delta: float, omega2: float, sigma2_a: float, sigma2_b: float, k_a: float, k_b: float,
    alpha: float = 0.05, power: float = 0.8,
) -> float:  # fmt: skip
    """Questions needed to see a paired difference, K answers each (Miller 2024, eq. 9).

    `omega2` is the variance of the true difference between items, `sigma2` that of trials within an item.
    """
    if delta == 0:
        raise ConfigurationError("delta=0 has no sample size; give the smallest difference that matters.")
    return _z_sum(alpha, power) ** 2 * (omega2 + sigma2_a / k_a + sigma2_b / k_b) / delta**2


def detectable_difference(
    n: float, omega2: float, sigma2_a: float, sigma2_b: float, k_a: float, k_b: float,
    alpha: float = 0.05, power: float = 0.8,
) -> float:  # fmt: skip
    """The same solved for the difference at n questions."""
    return _z_sum(alpha, power) * math.sqrt((omega2 + sigma2_a / k_a + sigma2_b / k_b) / n)


def detectable_effect(se: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """The effect that a two-sided test with this standard error finds with this power, in the effect's unit."""
    return _z_sum(alpha, power) * se


def tail_n(p: float, margin: float, confidence: float = 0.99) -> int:
    """Requests needed to place the p quantile within `margin` in probability (MLPerf Inference, table IV)."""
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence) / 2))
    return math.ceil(z * z * p * (1 - p) / margin**2 - 1e-9)


def tail_min_n(p: float, confidence: float = 0.95) -> int:
    """Smallest n whose maximum bounds the p quantile from above: ln(1-confidence)/ln(p) (Wilks 1941)."""
    if not 0 < p < 1 or not 0 < confidence < 1:
        raise ConfigurationError(f"p={p} and confidence={confidence} have to be between 0 and 1.")
    return math.ceil(math.log(1 - confidence) / math.log(p) - 1e-9)


def _z_sum(alpha: float, power: float) -> float:
    from scipy.special import ndtri

    return -float(ndtri(alpha / 2)) + float(ndtri(power))


def _sides(alternative: str) -> int:
    sides = _SIDES.get(alternative)
    if sides is None:
        raise ConfigurationError(f'alternative={alternative!r}; use "two-sided", "larger" or "smaller".')
    return sides


def _shares(*values: float) -> None:
    for value in values:
        if not 0 <= value <= 1:
            raise ConfigurationError(f"{value} is not a share; use 0.95 for 95 %.")


def _tail(value: float) -> float:
    """A probability; beyond any doubt the noncentral laws lose their digits and it is 1."""
    return min(1.0, max(0.0, float(value))) if math.isfinite(value) else 1.0
