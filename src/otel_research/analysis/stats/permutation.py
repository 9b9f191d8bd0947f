"""Permutation tests of mean differences: exact where the number of arrangements allows, else seeded draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from otel_research.analysis.stats.describe import mean
from otel_research.analysis.stats.outcome import by
from otel_research.analysis.stats.sample import Floats, finite, pairs, quiet, sample, varied

_EXACT = 200_000
"""Arrangements up to which all are enumerated."""


@dataclass(frozen=True, slots=True)
class Permutation:
    """p-values of one permutation test; two-sided counts arrangements at least as far from 0 as the data."""

    mean_difference: float
    p_two_sided: float
    p_greater: float
    p_less: float
    is_exact: bool
    method: str


def permutation(a: ArrayLike, b: ArrayLike, *, n_resamples: int = 9999, seed: int = 0) -> Permutation:
    """Permutation of arm labels: the difference of means of two independent samples."""
    first, second = sample(a, at_least=2, what="sample a"), sample(b, at_least=2, what="sample b")
    varied(np.concatenate([first, second]))
    arrangements = math.comb(first.size + second.size, first.size)
    return _test(first, second, "independent", arrangements, n_resamples, seed)


def permutation_paired(a: ArrayLike, b: ArrayLike, *, n_resamples: int = 9999, seed: int = 0) -> Permutation:
    """Permutation within pairs: the signs of the paired differences are flipped."""
    first, second = pairs(a, b)
    varied(np.concatenate([first, second]))
    return _test(first, second, "samples", 2**first.size, n_resamples, seed)


def _test(a: Floats, b: Floats, kind: str, arrangements: int, n_resamples: int, seed: int) -> Permutation:
    from scipy import stats

    is_exact = arrangements <= max(_EXACT, n_resamples)

    def difference(x: Floats, y: Floats, axis: int = -1) -> Floats:
        return np.asarray(x.mean(axis=axis) - y.mean(axis=axis))

    def p_value(alternative: str, absolute: bool = False) -> float:
        def statistic(x: Floats, y: Floats, axis: int = -1) -> Floats:
            found = difference(x, y, axis)
            return np.abs(found) if absolute else found

        with quiet():
            result = stats.permutation_test(
                (a, b), statistic, permutation_type=kind, alternative=alternative, vectorized=True, batch=10_000,
                n_resamples=np.inf if is_exact else n_resamples, rng=np.random.default_rng(seed),
            )  # fmt: skip
        return finite(result.pvalue, "the p-value")

    return Permutation(
        mean_difference=mean(a) - mean(b),
        # scipy doubles the smaller tail; the count of |difference| at least as large is the usual definition.
        p_two_sided=p_value("greater", absolute=True),
        p_greater=p_value("greater"),
        p_less=p_value("less"),
        is_exact=is_exact,
        method=by("scipy.stats.permutation_test"),
    )
