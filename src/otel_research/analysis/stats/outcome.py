"""What a statistical function returns: small frozen values, never NaN.

Directions, everywhere in this room: a difference is `a` minus `b`, a ratio is `a` over `b`.
A number that cannot be computed raises `NotEnoughData` with the reason, so that a value
which exists is always a finite one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Literal

from otel_research.analysis.result import Interval

__all__ = ["Alternative", "Estimate", "Interval", "Outcome", "between", "by", "library", "own"]

Alternative = Literal["two-sided", "less", "greater"]


def between(low: float | None, high: float | None, level: float, method: str) -> Interval:
    """An interval; an open side of a one-sided one is None."""
    return Interval(
        low=None if low is None else float(low), high=None if high is None else float(high), level=level, method=method
    )


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its standard error and interval, where those exist."""

    value: float
    se: float | None
    interval: Interval | None
    n: int
    method: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one test.

    `df` is one number, (numerator, denominator) of an F test, or None where the test has none;
    `estimate` is what the test is about (a mean difference, a ratio, a probability), `se` its standard error
    where the test has one.
    """

    statistic: float
    p_value: float
    df: float | tuple[float, float] | None
    estimate: float | None
    interval: Interval | None
    method: str
    se: float | None = None


@cache
def library(name: str) -> str:
    """`name` with its installed version, as a methods section cites it."""
    return f"{name} {version(name)}"


def by(function: str, name: str = "scipy") -> str:
    """Which function of which library made a number: `scipy.stats.ttest_rel (scipy 1.17.1)`."""
    return f"{function} ({library(name)})"


@cache
def own(what: str) -> str:
    """The same for a formula of ours: the formula's source and our version."""
    return f"{what} ({library('otel-research')})" if _is_installed() else f"{what} (otel-research)"


@cache
def _is_installed() -> bool:
    """A checkout on PYTHONPATH has no version to cite."""
    from importlib.metadata import PackageNotFoundError

    try:
        version("otel-research")
    except PackageNotFoundError:
        return False
    return True
