"""The effect on a yes/no outcome: success rate, or a score that is only ever 0 or 1."""

from __future__ import annotations

import math

import numpy as np

from otel_research.analysis import declared
from otel_research.analysis.arms import Sample, item_means, shared_items
from otel_research.analysis.comparison import Change, Effect, EffectSize, Test
from otel_research.analysis.effect import aligned
from otel_research.analysis.means import average, held, t_test
from otel_research.analysis.plan import Found, Plan, scaled, turned
from otel_research.analysis.result import Interval
from otel_research.analysis.stats import effects, power, proportions
from otel_research.analysis.stats.outcome import Estimate
from otel_research.analysis.stats.weighted import Weighted, rate_interval
from otel_research.errors import NotEnoughData


def is_rate(outcome: str, a: Sample, b: Sample) -> bool:
    """Whether the outcome's mean is a rate: every value is 0 or 1 and counts alike. A time of 1 s is no success."""
    even = a.is_even and b.is_even
    binary = all(bool(np.isin(sample.values, (0.0, 1.0)).all()) for sample in (a, b))
    return even and binary and not declared.is_time(outcome)


def rate(plan: Plan, baseline: Sample, candidate: Sample) -> tuple[Effect, Found]:
    """Wilson per arm; the difference by Newcombe with Fisher, paired with McNemar, over items where those repeat.

    `improvement_pct` and the minimum detectable effect are percentage points.
    """
    a, b = aligned(baseline, candidate, plan.design)
    found, path = Found(), f"effects.{plan.outcome}"
    base, cand = average(a, plan, b), average(b, plan, a)
    estimate, test = _difference(plan, a, b, found, path)
    spread = _standard_error(a, b) if estimate is None or not estimate.se else estimate.se
    own = held(plan, cand - base, spread, a, b) or (None if estimate is None else estimate.interval)
    ci = {} if own is None else {"difference": own}
    change = Change(
        baseline=base,
        candidate=cand,
        difference=cand - base,
        percent=100 * (cand - base) / base if base else None,
        ci=ci | _arms(plan, a, b),
    )
    if change.percent is None:
        found.reasons[f"{path}.mean.percent"] = "the baseline rate is 0"
    effect = Effect(
        outcome=plan.outcome,
        estimand="rate",
        unit=plan.unit,
        direction=plan.direction,
        design=plan.design,
        n=(a.n, b.n),
        n_items=None if plan.design == "independent" or a.items is None else a.distinct.size,
        main=change,
        mean=change,
        improvement_pct=plan.better * 100 * (cand - base),
        improvement_ci=_points(ci.get("difference"), plan.better),
        test=test,
        tests={},
        quantiles={},
        effect_size=EffectSize(cohens_h=effects.cohens_h(cand, base)),
        mde_pct=100 * power.detectable_effect(spread, plan.alpha),
        verdict="inconclusive",
        margin=None if plan.margin is None else margin(plan),
        equivalence=_equivalence(plan, a, b),
    )
    return effect, found


def margin(plan: Plan) -> float:
    """The margin as a difference of rates; "2%" means two percentage points."""
    if isinstance(plan.margin, str):
        return float(plan.margin.strip().removesuffix("%")) / 100
    assert plan.margin is not None
    return float(plan.margin)


def _difference(plan: Plan, a: Sample, b: Sample, found: Found, path: str) -> tuple[Estimate | None, Test]:
    """The difference of rates with its interval, and its test."""
    if plan.design == "independent":
        k, m = int(a.total()), int(b.total())
        estimate = proportions.newcombe(m, b.n, k, a.n, plan.level)
        outcome = proportions.fisher(m, b.n, k, a.n)
        return estimate, _test("Fisher exact", outcome.method, outcome.p_value, plan)
    if plan.design == "paired" and not a.repeats and not b.repeats:
        both, b_only, a_only, neither = _table(a, b)
        estimate = proportions.newcombe_paired(both, b_only, a_only, neither, plan.level)
        mcnemar = found.get(f"{path}.test", lambda: proportions.mcnemar(b_only, a_only))
        name = "McNemar exact"
        return estimate, Test(name=name, method=name) if mcnemar is None else _test(
            name, mcnemar.method, mcnemar.exact, plan
        )
    outcome = found.get(f"{path}.test", lambda: t_test(plan, a, b))
    name = "paired t over items" if plan.design == "paired" else "cluster-robust Welch t"
    if outcome is None:
        return None, Test(name=name, method=name)
    estimate = Estimate(outcome.estimate, outcome.se, outcome.interval, a.n + b.n, outcome.method)
    return estimate, _test(name, outcome.method, outcome.p_value, plan)


def _table(a: Sample, b: Sample) -> tuple[int, int, int, int]:
    """Paired outcomes: both, candidate only, baseline only, neither."""
    items = shared_items(a, b)
    x, y = item_means(a, items) > 0, item_means(b, items) > 0
    return int((x & y).sum()), int((~x & y).sum()), int((x & ~y).sum()), int((~x & ~y).sum())


def _arms(plan: Plan, a: Sample, b: Sample) -> dict[str, Interval]:
    """Each arm's own interval: Wilson, with the effective n where items repeat."""
    made = {}
    for name, sample in (("baseline", a), ("candidate", b)):
        codes = None
        if sample.repeats:
            codes = np.searchsorted(sample.distinct, sample.items).astype(np.intp)  # type: ignore[arg-type]
        flags = Weighted(sample.values, sample.weights, codes, sample.is_censored)
        try:
            made[name] = rate_interval(flags, plan.level)
        except NotEnoughData:
            continue
    return made


def _equivalence(plan: Plan, a: Sample, b: Sample) -> Test | None:
    """Inside the margin at 1 - 2 alpha, by Newcombe's interval."""
    if plan.margin is None or plan.tuning is not None:
        return None
    wide = Plan(**{**plan.__dict__, "alpha": 2 * plan.alpha, "margin": None})
    estimate, _ = _difference(wide, a, b, Found(), "")
    if estimate is None or estimate.interval is None:
        return None
    low, high, limit = estimate.interval.low, estimate.interval.high, margin(plan)
    inside = low is not None and high is not None and -limit < low and high < limit
    return Test(name="interval inside the margin", method=estimate.interval.method, significant=inside)


def _test(name: str, method: str, p_value: float, plan: Plan) -> Test:
    return Test(name=name, method=method, p_value=None if plan.tuning is not None else p_value)


def _standard_error(a: Sample, b: Sample) -> float:
    """Of a difference of rates, from Laplace-smoothed rates: never 0."""
    parts = []
    for sample in (a, b):
        share = (sample.total() + 1) / (sample.n + 2)
        parts.append(share * (1 - share) / sample.n)
    return math.sqrt(sum(parts))


def _points(interval: Interval | None, sign: int) -> Interval | None:
    return None if interval is None else turned(scaled(interval, 100), sign)
