"""Quantiles and tails of the usual laws, from `scipy.special`.

`scipy.stats` gives the same numbers by the same functions, but its import takes a second, which every command that
prints metrics would pay. So what metrics need is asked for here; tests, which need `scipy.stats` anyway, import it.
"""

from __future__ import annotations

import math
from typing import Any


def normal_quantile(p: float) -> float:
    """The point below which a standard normal value lies with probability p."""
    from scipy.special import ndtri

    return float(ndtri(p))


def t_quantile(p: float, df: float) -> float:
    """The point below which a Student t value with `df` degrees of freedom lies with probability p."""
    from scipy.special import stdtrit

    return float(stdtrit(df, p))


def t_upper_tail(t: Any, df: Any) -> Any:
    """The probability that a Student t value exceeds t; arrays give arrays."""
    from scipy.special import stdtr

    return stdtr(df, -t)


def chi2_quantile(p: float, df: float) -> float:
    """The point below which a chi-square value with `df` degrees of freedom lies with probability p."""
    from scipy.special import gammaincinv

    return 2 * float(gammaincinv(df / 2, p))


def chi2_upper_tail(x: float, df: float) -> float:
    """The probability that a chi-square value with `df` degrees of freedom exceeds x."""
    from scipy.special import gammaincc

    return float(gammaincc(df / 2, x / 2))


def beta_quantile(p: float, a: float, b: float) -> float:
    """The point below which a beta(a, b) value lies with probability p."""
    from scipy.special import betaincinv

    return float(betaincinv(a, b, p))


def binomial_quantile(p: float, n: int, chance: float) -> int:
    """The smallest count of successes in n that is not exceeded with probability p or more."""
    from scipy.special import bdtr, bdtrik

    count = math.ceil(float(bdtrik(p, n, chance)))
    return count - 1 if count > 0 and bdtr(count - 1, n, chance) >= p else count
