"""Times that ran into a limit: Kaplan-Meier quantiles and the log-rank test.

A timeout is right-censored at its limit. Dropping it makes every upper quantile too small; a quantile
above the last observed event is not known, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from otel_research.analysis.stats import laws
from otel_research.analysis.stats.outcome import Estimate, Interval, Outcome, between, by, own
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


def linearised_quantile(
    times: Floats,
    is_event: NDArray[np.bool_],
    p: float,
    confidence: float,
    weights: Floats,
    clusters: NDArray[np.intp] | None,
) -> Interval | None:
    """Interval of a Kaplan-Meier quantile of many weighted or clustered times, without resampling.

    Williams (1995): each unit's influence on log S(t) is summed by cluster, which gives its standard error; the
    log-log band of S at the quantile is then read off the curve (Woodruff 1952; Brookmeyer & Crowley 1982).
    A side that the data do not reach is the largest time. None where the quantile is the very first event's time.
    """
    order = np.lexsort((~is_event, times))
    x, event, w = times[order], is_event[order], weights[order]
    groups = np.arange(x.size) if clusters is None else clusters[order]
    steps, first, inverse = np.unique(x, return_index=True, return_inverse=True)
    at_risk = np.cumsum(w[::-1])[::-1][first]
    hazard = np.add.reduceat(np.where(event, w, 0.0), first) / at_risk
    curve = np.asarray(np.cumprod(1.0 - hazard), dtype=np.float64)
    last = int(np.searchsorted(-curve, -(1 - p) * (1 + _TIE)))
    if not 0 < last < steps.size or not 0 < curve[last - 1] < 1:
        return None
    # The curve just before the quantile is the one whose level the data can place.
    at = last - 1
    spent = np.cumsum(hazard[: at + 1] / at_risk[: at + 1])
    influence = w * spent[np.minimum(inverse, at)]
    died = event & (inverse <= at)
    influence[died] -= w[died] / at_risk[inverse[died]]
    sums = np.bincount(groups, weights=influence)
    count = int(np.unique(groups).size)
    error = float(np.sqrt((sums**2).sum() * count / max(count - 1, 1)))
    bend = laws.normal_quantile((1 + confidence) / 2) * error / abs(float(np.log(curve[at])))
    low, high = ((1 - p) ** float(np.exp(side * bend)) for side in (-1, 1))
    ends = [_first_at(steps, curve, level) for level in (low, high)]
    top = float(x[-1])
    method = own("Kaplan-Meier, linearised by cluster (Williams 1995), log-log")
    first_end, last_end = (top if end is None else end for end in ends)
    return between(first_end, last_end, confidence, method)


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
