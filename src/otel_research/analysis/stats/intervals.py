"""Intervals without a formula: the percentile bootstrap of independent values.

Quantiles are drawn as `resampling` draws them for results (by order statistics, exact in law);
any other statistic is resampled by scipy. scipy's default, BCa, covers less than the percentile method
for skewed means and tails, so it is overridden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from otel_research.analysis.stats import resampling
from otel_research.analysis.stats.describe import quantiles
from otel_research.analysis.stats.outcome import Estimate, between, by, own
from otel_research.analysis.stats.sample import Floats, confidence_level, finite, quiet, sample
from otel_research.errors import NotEnoughData


def bootstrap(
    values: ArrayLike | Sequence[ArrayLike],
    statistic: Callable[..., float],
    *,
    confidence: float = 0.95,
    n_resamples: int = resampling.RESAMPLES,
    seed: int = 0,
    paired: bool = False,
) -> Estimate:
    """Percentile bootstrap of any statistic of one sample, or of a list of samples, by scipy."""
    from scipy import stats

    given = values if isinstance(values, (list, tuple)) and values and not np.isscalar(values[0]) else [values]
    data = [sample(each, at_least=2) for each in given]  # type: ignore[arg-type]
    with quiet():
        result = stats.bootstrap(
            data, statistic, n_resamples=n_resamples, confidence_level=confidence_level(confidence), paired=paired,
            method="percentile", rng=np.random.default_rng(seed), vectorized=False, batch=1,
        )  # fmt: skip
    value = finite(statistic(*data), "the statistic")
    low, high = (finite(end, "the bootstrap interval") for end in result.confidence_interval)
    method = by('scipy.stats.bootstrap(method="percentile")')
    se = finite(result.standard_error, "the bootstrap standard error")
    return Estimate(value, se, between(low, high, confidence, method), sum(x.size for x in data), method)


def bootstrap_quantile(
    values: ArrayLike, p: float, *, confidence: float = 0.95, n_resamples: int = resampling.RESAMPLES, seed: int = 0
) -> Estimate:
    """A type-7 quantile of independent values with its percentile bootstrap interval."""
    array = np.sort(sample(values, at_least=2))
    value = quantiles(array, [p])[0]
    draws = resampling.draws(array, p, np.random.default_rng(seed), n_resamples)
    return _estimate(value, draws, confidence, array.size)


def bootstrap_quantile_difference(
    a: ArrayLike,
    b: ArrayLike,
    p: float,
    *,
    relative: bool = False,
    confidence: float = 0.95,
    n_resamples: int = resampling.RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The difference of a quantile, `a` minus `b`, independent arms; `relative` divides it by that of `b`."""
    first, second = (np.sort(sample(x, at_least=2, what=w)) for x, w in ((a, "sample a"), (b, "sample b")))
    (at_a,), (at_b,) = quantiles(first, [p]), quantiles(second, [p])
    rng = np.random.default_rng(seed)
    x, y = (resampling.draws(ordered, p, rng, n_resamples) for ordered in (first, second))
    if relative and (at_b == 0 or bool((y == 0).any())):
        raise NotEnoughData(f"The baseline's {p:g} quantile is 0, so there is no relative change.")
    value, draws = (at_a / at_b - 1, x / y - 1) if relative else (at_a - at_b, x - y)
    return _estimate(value, draws, confidence, first.size + second.size)


def _estimate(value: float, draws: Floats, confidence: float, n: int) -> Estimate:
    low, high = resampling.interval(draws, 1 - confidence_level(confidence))
    method = own(f"percentile bootstrap, {draws.size} resamples")
    spread = float(draws.std(ddof=1))
    return Estimate(finite(value, "the statistic"), spread, between(low, high, confidence, method), n, method)
