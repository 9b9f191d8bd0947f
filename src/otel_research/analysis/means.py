"""Means of two arms: the t test that the design asks for, their difference and their relative change."""

from __future__ import annotations

import math

import numpy as np
from msgspec.structs import replace

from otel_research.analysis.arms import Floats, Sample, item_means, shared_items
from otel_research.analysis.comparison import Change
from otel_research.analysis.plan import Found, Plan, scaled
from otel_research.analysis.result import Interval
from otel_research.analysis.stats import clusters, constant, ratios, sequential, two_samples
from otel_research.analysis.stats.outcome import Estimate, Outcome
from otel_research.analysis.stats.weighted import Weighted, mean_error
from otel_research.errors import NotEnoughData


def t_test(plan: Plan, a: Sample, b: Sample, *, log: bool = False) -> Outcome:
    """Candidate minus baseline by the design's t test, on logarithms with `log`."""
    if plan.design == "paired":
        items = shared_items(a, b)
        cand, base = item_means(b, items, log=log), item_means(a, items, log=log)
        return constant.paired(cand, base, plan.level) or two_samples.paired_t(cand, base, confidence=plan.level)
    x, y = (np.log(s.values) if log else s.values for s in (b, a))
    if not (a.is_even and b.is_even):
        return _weighted_welch(plan, x, b, y, a)
    if plan.design == "clustered":
        one, two = (_clustered_mean(values, sample, log=log) for values, sample in ((x, b), (y, a)))
        return clusters.welch_of_means(one, two, confidence=plan.level)
    return constant.independent(x, y, plan.level) or _welch(plan, x, b, y, a, log=log)


def average(sample: Sample, plan: Plan, other: Sample) -> float:
    """The arm's mean in this design: of item means where it is paired."""
    if plan.design == "paired":
        return math.fsum(item_means(sample, shared_items(sample, other))) / shared_items(sample, other).size
    return sample.mean()


def no_percent(plan: Plan, a: Sample, b: Sample) -> str | None:
    """Why a change of means has no percent of this baseline; None where it has.

    A share is of something: of a mean above 0. Where values lie on both sides of 0 the mean has to be shown to be
    above it (by its interval), else chance turns the share's sign.
    """
    base = average(a, plan, b)
    if base <= 0:
        return f"the baseline's mean of {plan.outcome}, {base:.4g}, is not above 0: see the difference"
    if a.values.min() >= 0 or _lowest(plan, a, b, base) > 0:
        return None
    return (
        f"the baseline's {plan.outcome} lies on both sides of 0 and its mean, {base:.4g}, is not shown to be above: "
        "see the difference"
    )


def _lowest(plan: Plan, a: Sample, b: Sample, base: float) -> float:
    """The lower limit of the baseline's mean; its own lowest value where it has none."""
    try:
        if plan.design == "paired":
            made = two_samples.one_sample_t(item_means(a, shared_items(a, b)), confidence=plan.level)
        else:
            _, error, df = _arm_mean(a.values, a, is_clustered=plan.design == "clustered")
            made = two_samples.t_outcome(base, error, df, plan.level, "two-sided", "t")
    except NotEnoughData:
        return float(a.values.min())
    return float(a.values.min()) if made.interval is None or made.interval.low is None else made.interval.low


def mean_change(plan: Plan, a: Sample, b: Sample, raw: Outcome | None, found: Found, path: str) -> Change:
    """Means of both arms, their difference with its interval, and the relative change (delta method)."""
    base, cand = average(a, plan, b), average(b, plan, a)
    why = no_percent(plan, a, b)
    relative = None if why else found.get(f"{path}.percent", lambda: _relative(plan, a, b))
    ci = {}
    if raw is not None and raw.interval is not None:
        ci["difference"] = held(plan, raw.estimate, raw.se, a, b) or raw.interval
    if relative is not None:
        ci["percent"] = scaled(held(plan, relative.value, relative.se, a, b) or relative.interval, 100)
    percent = None if why else 100 * (cand - base) / base
    is_exact = raw is not None and raw.se == 0 and (relative is None or not relative.se)
    if is_exact and percent is not None and raw is not None and raw.interval is not None:
        ci["percent"] = Interval(low=percent, high=percent, level=plan.level, method=raw.interval.method)
    if why:
        found.reasons[f"{path}.percent"] = why
    return Change(baseline=base, candidate=cand, difference=cand - base, percent=percent, ci=ci)


def _relative(plan: Plan, a: Sample, b: Sample) -> Estimate:
    """Relative change of the means, candidate over baseline minus 1."""
    if plan.design == "paired":
        items = shared_items(a, b)
        return ratios.paired_relative_change(item_means(b, items), item_means(a, items), plan.level)
    if plan.design == "independent" and a.is_even and b.is_even:
        one, two = b.told, a.told
        if one is None or two is None:
            return ratios.relative_change(b.values, a.values, plan.level)
        x, y = one.of_values, two.of_values
        return ratios.relative_change_from_moments(x.mean, x.variance, x.n, y.mean, y.variance, y.n, plan.level)
    parts = []
    for sample in (b, a):
        middle, error, _ = _arm_mean(sample.values, sample, is_clustered=plan.design == "clustered")
        parts.append(ratios.Part(middle, error**2))
    return ratios.log_ratio(parts[0], parts[1], a.n + b.n, plan.level)


def _arm_mean(values: Floats, sample: Sample, *, is_clustered: bool) -> tuple[float, float, float]:
    """Mean, standard error and degrees of freedom of one arm, by its weights or its clusters."""
    if is_clustered and sample.is_even:
        own = _clustered_mean(values, sample, log=False)
        return own.mean, own.se_cr2, own.df_cr2
    codes = np.searchsorted(sample.distinct, sample.items) if is_clustered and sample.items is not None else None
    error, df = mean_error(Weighted(values, sample.weights, codes, sample.is_censored))
    return float(np.average(values, weights=sample.weights)), error, df


def _clustered_mean(values: Floats, sample: Sample, *, log: bool) -> clusters.ClusteredMean:
    """The mean of one arm with its cluster-robust error, from sums by cluster where an engine told them."""
    if sample.told is None:
        return clusters.clustered_mean(values, sample.items)  # type: ignore[arg-type]
    sums = sample.told.by_item
    total = sums.log if log else sums.value
    return clusters.mean_of_sums(sums.count, total, sample.told.moments(log=log).stdev)


def _welch(plan: Plan, x: Floats, b: Sample, y: Floats, a: Sample, *, log: bool) -> Outcome:
    if b.told is None or a.told is None:
        return two_samples.welch(x, y, confidence=plan.level)
    one, two = b.told.moments(log=log), a.told.moments(log=log)
    return two_samples.welch_from_moments(one.mean, one.stdev, one.n, two.mean, two.stdev, two.n, confidence=plan.level)


def _weighted_welch(plan: Plan, x: Floats, b: Sample, y: Floats, a: Sample) -> Outcome:
    is_clustered = plan.design == "clustered"
    one, two = _arm_mean(x, b, is_clustered=is_clustered), _arm_mean(y, a, is_clustered=is_clustered)
    first, second = one[1] ** 2, two[1] ** 2
    if not first + second > 0:
        raise NotEnoughData("All values within each sample are the same, so there is no variation to judge by.")
    df = (first + second) ** 2 / (first**2 / one[2] + second**2 / two[2])
    method = "Welch's t test under sampling weights"
    return two_samples.t_outcome(one[0] - two[0], math.sqrt(first + second), df, plan.level, "two-sided", method)


def held(plan: Plan, estimate: float | None, se: float | None, a: Sample, b: Sample) -> Interval | None:
    """Before the declared n: an interval that holds at every look, and for every outcome of the family at once.

    An asymptotic confidence sequence; Bonferroni over the family. None where the n is reached or nothing varies.
    """
    if plan.tuning is None or not se or estimate is None:
        return None
    alpha = plan.alpha / plan.family
    made = sequential.confidence_sequence(estimate, se, a.n + b.n, tuning=plan.tuning, alpha=alpha).interval
    if made is None or plan.family == 1:
        return made
    return replace(made, method=f"{made.method}, Bonferroni over {plan.family}")
