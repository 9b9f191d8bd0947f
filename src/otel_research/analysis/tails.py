"""Quantiles of two arms: their values, differences and bootstrap intervals."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from otel_research.analysis import quantiles
from otel_research.analysis.arms import Floats, Sample
from otel_research.analysis.comparison import Change, Test
from otel_research.analysis.engine import QUANTILES
from otel_research.analysis.plan import Found, Plan
from otel_research.analysis.result import Interval
from otel_research.analysis.sections import n_required
from otel_research.analysis.stats import resampling, survival, weighted


def quantile_changes(plan: Plan, a: Sample, b: Sample, found: Found, path: str) -> dict[str, Change]:
    """Quantiles of both arms and their difference; intervals only where each arm has the units it takes."""
    changes = {}
    for index, (name, p) in enumerate(QUANTILES.items()):
        base, cand = point(a, p), point(b, p)
        if base is None or cand is None:
            found.reasons[f"{path}.quantiles.{name}"] = "timeouts reach this quantile, so its value is not known"
            changes[name] = Change(baseline=base, candidate=cand)
            continue
        ci = {}
        why = _too_few(a, b, p)
        if why is not None:
            found.reasons[f"{path}.quantiles.{name}.ci"] = why
        elif plan.tuning is not None:
            found.reasons[f"{path}.quantiles.{name}.ci"] = "withheld until the declared n is reached"
        else:
            ci = _quantile_ci(plan, a, b, p, plan.seed + index, found)
        percent = _percent(base, cand, found, f"{path}.quantiles.{name}")
        changes[name] = Change(baseline=base, candidate=cand, difference=cand - base, percent=percent, ci=ci)
    return changes


def _percent(base: float, cand: float, found: Found, path: str) -> float | None:
    """The change of a quantile in percent of the baseline's, where that is above 0."""
    if base > 0:
        return 100 * (cand / base - 1)
    found.reasons[f"{path}.percent"] = f"the baseline's quantile, {base:.4g}, is not above 0: see the difference"
    return None


def point(sample: Sample, p: float) -> float | None:
    """One quantile: Kaplan-Meier under censoring, weighted under unequal weights, else type 7."""
    if sample.is_censored.any():
        return survival.kaplan_meier_quantiles(sample.values, ~sample.is_censored, [p], sample.weights)[0]
    if not sample.is_even:
        order = sample.by_value
        return weighted.quantiles(sample.values[order], sample.weights[order], [p])[0]
    if sample.told is not None:
        return sample.told.quantile(p)
    return quantiles.at(sample.values[sample.by_value], p)


def joint_draws(a: Sample, b: Sample, p: float, seed: int, *, is_clustered: bool) -> tuple[Floats, Floats]:
    """Bootstrap draws of one quantile in both arms; shared items are drawn together."""
    if not is_clustered or a.items is None or b.items is None:
        first, second = np.random.default_rng(seed), np.random.default_rng(seed + 7919)
        return resampling.draws(a.values[a.by_value], p, first), resampling.draws(b.values[b.by_value], p, second)
    groups = int(max(a.items.max(), b.items.max())) + 1
    coded = [
        (sample.values[sample.by_value], sample.items[sample.by_value]) for sample in (a, b) if sample.items is not None
    ]
    if groups > resampling.MANY_CLUSTERS:
        codes, rng = [items for _, items in coded], np.random.default_rng(seed)
        shares = resampling.joint_shares(codes, p, groups, rng, resampling.CLUSTER_RESAMPLES)
        x, y = (resampling.read_off(values, share) for (values, _), share in zip(coded, shares, strict=True))
        return x, y
    # Generators of one seed draw the same items for both arms.
    x, y = (
        resampling.clustered_draws(values, items, p, np.random.default_rng(seed), groups=groups)
        for values, items in coded
    )
    usable = np.isfinite(x) & np.isfinite(y)
    return x[usable], y[usable]


def effective_n(sample: Sample, p: float) -> float:
    """Independent units that would place the quantile as well."""
    if sample.items is None or not sample.repeats:
        return float(sample.n)
    return resampling.effective_n(sample.items[sample.by_value], p)


def _too_few(a: Sample, b: Sample, p: float) -> str | None:
    """Why there is no interval of this quantile, or None where there are enough units."""
    needed = n_required(p)
    if min(a.n, b.n) < needed:
        return f"n = {a.n:,} and {b.n:,}; an interval needs {needed:,} per arm"
    effective = min(effective_n(a, p), effective_n(b, p))
    if effective < needed:
        return f"items repeat: the units say as much as {effective:,.0f} independent ones; an interval needs {needed:,}"
    return None


def quantile(
    plan: Plan, a: Sample, b: Sample, p: float, found: Found, path: str
) -> tuple[Change, float | None, Interval | None, Test]:
    """A quantile as the estimand: both arms, change in percent, its bootstrap interval and test."""
    base, cand = point(a, p), point(b, p)
    name = "percentile bootstrap"
    if base is None or cand is None:
        found.reasons[f"{path}.main"] = "timeouts reach this quantile, so its value is not known"
        return Change(baseline=base, candidate=cand), None, None, Test(name=name, method=name)
    percent = _percent(base, cand, found, f"{path}.main")
    change = Change(baseline=base, candidate=cand, difference=cand - base, percent=percent)
    why = _too_few(a, b, p)
    if why is None and plan.tuning is not None:
        why = "withheld until the declared n is reached"
    if why is None and (a.is_censored.any() or b.is_censored.any() or not (a.is_even and b.is_even)):
        why = "timeouts or unequal weights: quantiles are shown, their difference is not tested"
    if why is not None:
        found.reasons[f"{path}.improvement_ci"] = why
        return change, percent, None, Test(name=name, method=name)
    x, y = joint_draws(a, b, p, plan.seed, is_clustered=plan.design != "independent")
    found.n_resamples = int(x.size)
    ci = None
    if (x > 0).all() and percent is not None:
        ci = _interval(100 * (y / x - 1), plan)
    else:
        found.reasons[f"{path}.improvement_ci"] = "the baseline's quantile is not above 0 in all resamples"
    change = replace(change, ci={"difference": _interval(y - x, plan)})
    # Twice the smaller tail of the draws around "no difference", with the +1 that keeps p above 0.
    tail = min(int((y <= x).sum()), int((y >= x).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (x.size + 1))
    return change, percent, ci, Test(name=name, method=f"{name}, {x.size} resamples", p_value=p_value)


def _interval(draws: Floats, plan: Plan) -> Interval:
    low, high = resampling.interval(draws, plan.alpha)
    return Interval(low=low, high=high, level=plan.level, method="percentile bootstrap")


def _quantile_ci(plan: Plan, a: Sample, b: Sample, p: float, seed: int, found: Found) -> dict[str, Interval]:
    if a.is_censored.any() or b.is_censored.any() or not (a.is_even and b.is_even):
        return {}
    x, y = joint_draws(a, b, p, seed, is_clustered=plan.design != "independent")
    if not x.size:
        return {}
    found.n_resamples = int(x.size)
    low, high = resampling.interval(y - x, plan.alpha)
    method = resampling.ORDER_METHOD if plan.design == "independent" else resampling.CLUSTER_METHOD
    return {"difference": Interval(low=low, high=high, level=plan.level, method=method)}
