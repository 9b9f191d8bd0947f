"""Rates of events over exposure: exact Poisson intervals, their ratio, mean time between failures, pass@k."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from otel_research.analysis.stats import laws
from otel_research.analysis.stats.outcome import Alternative, Estimate, Interval, Outcome, between, by, own
from otel_research.analysis.stats.sample import confidence_level, counts
from otel_research.errors import ConfigurationError, NotEnoughData


@dataclass(frozen=True, slots=True)
class BetweenFailures:
    """Mean exposure between failures; None without a failure, where only the lower bound is known."""

    value: float | None
    failures: int
    interval: Interval
    method: str


def poisson_rate(events: int, exposure: float, confidence: float = 0.95) -> Estimate:
    """Events per unit of exposure with Garwood's (1936) exact interval."""
    _exposed(events, exposure)
    low, high = _garwood(events, (1 - confidence_level(confidence)) / 2)
    method = by("Garwood 1936 exact Poisson, scipy.special.gammaincinv")
    interval = between(low / exposure, high / exposure, confidence, method)
    return Estimate(events / exposure, math.sqrt(events) / exposure, interval, int(events), method)


def rate_ratio(
    events_a: int,
    exposure_a: float,
    events_b: int,
    exposure_b: float,
    *,
    confidence: float = 0.95,
    alternative: Alternative = "two-sided",
) -> Outcome:
    """The ratio of two Poisson rates, `a` over `b`: exact, conditional on the total number of events."""
    from scipy import stats

    _exposed(events_a, exposure_a)
    _exposed(events_b, exposure_b)
    total = int(events_a + events_b)
    if total == 0:
        raise NotEnoughData("Neither arm has an event, so their rates have no ratio.")
    result = stats.binomtest(int(events_a), total, exposure_a / (exposure_a + exposure_b), alternative=alternative)
    bounds = result.proportion_ci(confidence_level(confidence), method="exact")
    scale = exposure_b / exposure_a
    low, high = (None if p >= 1 else p / (1 - p) * scale for p in bounds)
    estimate = events_a / events_b * scale if events_b else None
    method = by("exact conditional binomial, scipy.stats.binomtest")
    statistic = float(events_a)
    return Outcome(statistic, float(result.pvalue), None, estimate, between(low, high, confidence, method), method)


def mtbf(total: float, failures: int, confidence: float = 0.95, one_sided: bool = False) -> BetweenFailures:
    """Mean time (or number of requests) between failures, of a run that ended by time.

    Exact chi-square bounds (NIST/SEMATECH e-Handbook 8.4.5.1). Without a failure the interval is one-sided,
    from T / -ln(alpha) upwards.
    """
    _exposed(failures, total)
    interval = between_failures(total, failures, confidence, one_sided)
    return BetweenFailures(total / failures if failures else None, int(failures), interval, interval.method)


def between_failures(total: float, failures: float, confidence: float = 0.95, one_sided: bool = False) -> Interval:
    """The interval of `mtbf`; total and failures may be effective numbers (under weights or clusters)."""
    alpha = 1 - confidence_level(confidence)
    method = by("exact Poisson, NIST e-Handbook 8.4.5.1, scipy.special.gammaincinv")
    if not failures or one_sided:
        return between(total / _garwood(failures, alpha)[1], None, confidence, method)
    fewest, most = _garwood(failures, alpha / 2)
    return between(total / most, total / fewest, confidence, method)


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Chance that at least one of k trials of an item succeeds, unbiased (Chen et al. 2021): 1 - C(n-c,k)/C(n,k)."""
    counts(n=n, correct=correct, k=k)
    if not 1 <= k <= n or correct > n:
        raise NotEnoughData(f"pass@{k} needs at least {k} trials of the item; it has {n}, of which {correct} correct.")
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def mean_pass_at_k(trials: Sequence[tuple[int, int]], k: int, confidence: float = 0.95) -> Estimate:
    """pass@k averaged over items, given as (trials, correct), with the t interval over items."""
    from otel_research.analysis.stats.two_samples import one_sample_t

    rates = [pass_at_k(n, correct, k) for n, correct in trials]
    if not rates:
        raise NotEnoughData("There are no items.")
    method = own("pass@k, Chen et al. 2021")
    average = math.fsum(rates) / len(rates)
    if len(set(rates)) == 1:
        return Estimate(average, None, None, len(rates), method)
    tested = one_sample_t(rates, confidence=confidence)
    assert tested.interval is not None
    low, high = max(0.0, tested.interval.low or 0.0), min(1.0, tested.interval.high or 1.0)
    return Estimate(average, abs(average / tested.statistic) if tested.statistic else None,
                    between(low, high, confidence, method), len(rates), method)  # fmt: skip


def _garwood(events: float, tail: float) -> tuple[float, float]:
    low = laws.chi2_quantile(tail, 2 * events) / 2 if events else 0.0
    return low, laws.chi2_quantile(1 - tail, 2 * events + 2) / 2


def _exposed(events: int, exposure: float) -> None:
    counts(events=events)
    if not exposure > 0 or not math.isfinite(exposure):
        raise (NotEnoughData if exposure == 0 else ConfigurationError)(
            f"An exposure of {exposure} has no rate; it has to be above 0."
        )
