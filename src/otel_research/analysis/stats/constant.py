"""Differences that do not vary: a deterministic outcome, such as the cost of one prompt against another's.

There is no standard error to divide by, so there is no t test; but a difference that is the same every time is the
clearest of all. It is judged by counting, which assumes no spread: the exact sign test of pairs, the exact
permutation test of two arms that are each constant. The interval is the difference itself.
"""

from __future__ import annotations

import math

import numpy as np

from otel_research.analysis.stats.outcome import Outcome, between, own
from otel_research.analysis.stats.sample import Floats

ROUNDING = 1e-12
"""Differences closer than this share of the values are equal: the rest is how fractions are stored."""


def paired(a: Floats, b: Floats, confidence: float = 0.95) -> Outcome | None:
    """`a` minus `b` of pairs whose differences are all equal and not 0: p = 2^(1-n). None for any others."""
    if a.size < 2 or not _is_one(a - b, a, b):
        return None
    method = f"{own('exact sign test')}: all differences are equal"
    return _outcome(float(np.median(a - b)), a.size, math.ldexp(1.0, 1 - a.size), method, confidence)


def independent(a: Floats, b: Floats, confidence: float = 0.95) -> Outcome | None:
    """`a` minus `b` of two different constants: of all ways to deal the units to the arms two are as far apart."""
    if min(a.size, b.size) < 2 or np.ptp(a) != 0 or np.ptp(b) != 0 or not _is_one(a[:1] - b[:1], a, b):
        return None
    ways = math.lgamma(a.size + b.size + 1) - math.lgamma(a.size + 1) - math.lgamma(b.size + 1)
    p = min(1.0, 2.0 * math.exp(-ways))
    method = f"{own('exact permutation test')}: each arm is constant"
    return _outcome(float(a[0] - b[0]), a.size + b.size, p, method, confidence)


def error(outcome: Outcome) -> float | None:
    """The standard error; of a difference that does not vary the grain of how fractions are stored."""
    return outcome.se if outcome.se != 0 else ROUNDING * max(1.0, abs(outcome.estimate or 0.0))


def _is_one(differences: Floats, a: Floats, b: Floats) -> bool:
    """Are all differences one number other than 0, up to how fractions are stored?"""
    grain = ROUNDING * max(float(np.abs(a).max()), float(np.abs(b).max()))
    return bool(np.ptp(differences) <= grain < np.abs(differences).min())


def _outcome(estimate: float, n: int, p: float, method: str, confidence: float) -> Outcome:
    interval = between(estimate, estimate, confidence, f"{method}, so the interval has no width")
    return Outcome(float(n), p, None, estimate, interval, method, se=0.0)
