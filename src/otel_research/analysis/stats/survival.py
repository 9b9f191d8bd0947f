"""Times that ran into a limit: Kaplan-Meier quantiles and the log-rank test.

A timeout is right-censored at its limit. Dropping it makes every upper quantile too small; a quantile
above the last observed event is not known, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from otel_research.analysis.stats.outcome import Estimate, Outcome, between, by
from otel_research.analysis.stats.sample import Floats, confidence_level, finite, quiet, sample
from otel_research.errors import ConfigurationError, NotEnoughData

_TIE = 1e-12


def kaplan_meier_quantile(times: ArrayLike, is_event: ArrayLike, p: float, confidence: float = 0.95) -> Estimate:
    """The smallest time t with Kaplan-Meier S(t) <= 1-p, with its log-log interval (Brookmeyer & Crowley 1982).

    `is_event` is false where the time is a limit that was hit. A side of the interval that the data do not
    reach is None.
    """
    array, observed = _checked(times, is_event)
    value = _first_at(*_survival(array, observed), 1 - p)
    if value is None:
        raise NotEnoughData(
            f"{int((~observed).sum())} of {array.size} times are censored, so the {p:g} quantile lies above the last "
            "observed event. Raise the timeout, or report a lower quantile."
        )
    method = by("Kaplan-Meier, scipy.stats.ecdf")
    with quiet():
        band = _curve(array, observed).confidence_interval(confidence_level(confidence), method="log-log")
    low = _first_at(band.low.quantiles, _filled(band.low.probabilities), 1 - p)
    high = _first_at(band.high.quantiles, _filled(band.high.probabilities), 1 - p)
    return Estimate(value, None, between(low, high, confidence, method), array.size, method)


def kaplan_meier_quantiles(
    times: ArrayLike, is_event: ArrayLike, probs: Iterable[float], weights: Floats | None = None
) -> list[float | None]:
    """Several quantiles at once, under weights; None where the data do not reach."""
    array, observed = _checked(times, is_event)
    steps, survival = _survival(array, observed, weights)
    return [_first_at(steps, survival, 1 - p) for p in probs]


def log_rank(times_a: ArrayLike, is_event_a: ArrayLike, times_b: ArrayLike, is_event_b: ArrayLike) -> Outcome:
    """The log-rank test that two arms have the same distribution of times; the statistic is chi-square, 1 df."""
    from scipy import stats

    a, b = _checked(times_a, is_event_a), _checked(times_b, is_event_b)
    if not a[1].any() and not b[1].any():
        raise NotEnoughData("Every time is censored, so there is no event to compare.")
    with quiet():
        result = stats.logrank(_censored(*a), _censored(*b))
    z = finite(result.statistic, "the log-rank statistic")
    return Outcome(z * z, finite(result.pvalue, "the p-value"), 1.0, None, None, by("scipy.stats.logrank"))


def _survival(times: Floats, observed: NDArray[np.bool_], weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Times and the Kaplan-Meier curve from each on; a row counts as often as its weight says."""
    # At equal times events come before censorings: a call that ended at t had not been cut off at t.
    order = np.lexsort((~observed, times))
    x, event = times[order], observed[order]
    w = np.ones(x.size) if weights is None else weights[order]
    at_risk = np.cumsum(w[::-1])[::-1]
    steps, first = np.unique(x, return_index=True)
    deaths = np.add.reduceat(np.where(event, w, 0.0), first)
    return steps, np.asarray(np.cumprod(1.0 - deaths / at_risk[first]), dtype=np.float64)


def _curve(times: Floats, observed: NDArray[np.bool_]) -> Any:
    from scipy import stats

    if not observed.any():
        raise NotEnoughData(f"All {times.size} times are censored, so no quantile is known.")
    return stats.ecdf(_censored(times, observed)).sf


def _censored(times: Floats, observed: NDArray[np.bool_]) -> Any:
    from scipy import stats

    return stats.CensoredData(uncensored=times[observed], right=times[~observed])


def _first_at(times: Floats, survival: Floats, level: float) -> float | None:
    """Where the falling step function first reaches the level; equal up to rounding counts as reached."""
    reached = np.flatnonzero(survival <= level * (1 + _TIE) + _TIE)
    return float(times[reached[0]]) if reached.size else None


def _filled(survival: Floats) -> Floats:
    """A band has no width where nothing or everything has failed: scipy says NaN there."""
    return np.where(np.isnan(survival), 1.0, survival)


def _checked(times: ArrayLike, is_event: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    array, observed = sample(times, what="the times"), np.asarray(is_event, dtype=bool)
    if array.shape != observed.shape:
        raise ConfigurationError(f"{array.size} times came with {observed.size} event flags; one each is needed.")
    return array, observed
