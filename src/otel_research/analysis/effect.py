"""The effect on one numeric outcome: estimate, interval, the estimand's own test and the others beside it.

Which test follows from the design: paired on item means where items are shared, cluster-robust
(CR2, Satterthwaite) where an arm repeats items, Welch where units stand alone. Times are compared
on their logarithms (ratio of geometric means) unless another estimand is asked for.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from otel_research.analysis import margins, tails
from otel_research.analysis.arms import Floats, Sample, all_positive, item_means, only, shared_items
from otel_research.analysis.comparison import Change, Design, Effect, EffectSize, Test
from otel_research.analysis.dependence import ITEM
from otel_research.analysis.engine import QUANTILES
from otel_research.analysis.means import held, mean_change, t_test
from otel_research.analysis.plan import Found, Plan, turned
from otel_research.analysis.result import Interval
from otel_research.analysis.stats import effects, power, two_samples
from otel_research.analysis.stats.outcome import Outcome
from otel_research.errors import ConfigurationError, NotEnoughData

_NAMES = {"geomean": "geometric mean", "mean": "mean", "median": "median"}


def design_of(a: Sample, b: Sample, paired: bool | str) -> Design:
    """Paired on shared items, clustered where items repeat, else independent."""
    if paired not in (True, False, "auto"):
        raise ConfigurationError(f'paired={paired!r}; use True, False or "auto".')
    shared = shared_items(a, b)
    if paired is True:
        if a.items is None and a.n == b.n:
            return "paired"
        if shared.size < 2:
            raise NotEnoughData(
                f"paired=True needs items in both arms, but they share {shared.size}. Give item ids (exp.trial(item=...)), "
                "sequences of equal length, or paired=False."
            )
        return "paired"
    is_item = a.level == b.level == ITEM
    if paired == "auto" and is_item and shared.size >= 2 and a.items is not None and b.items is not None:
        most = max(a.distinct.size, b.distinct.size)
        if shared.size >= most / 2:
            return "paired"
    return "clustered" if a.repeats or b.repeats else "independent"


def aligned(a: Sample, b: Sample, design: Design) -> tuple[Sample, Sample]:
    """The units that enter: in a paired design those of shared items (by position where there are no items)."""
    if design != "paired":
        return a, b
    if a.items is None:
        places = np.arange(a.n, dtype=np.intp)
        return a.having(places), b.having(places)
    shared = shared_items(a, b)
    return only(a, shared), only(b, shared)


def numeric(plan: Plan, baseline: Sample, candidate: Sample) -> tuple[Effect, Found]:
    """The effect on a numeric outcome."""
    a, b = aligned(baseline, candidate, plan.design)
    found = Found()
    path = f"effects.{plan.outcome}"
    is_log = plan.estimand == "geomean"
    if is_log and (a.values.min(initial=1) <= 0 or b.values.min(initial=1) <= 0):
        plan, is_log = plan.having("mean"), False
        found.reasons[f"{path}.estimand"] = "a value is not above 0, so there is no geometric mean: means are compared"
    raw = found.get(f"{path}.test", lambda: t_test(plan, a, b))
    logs = found.get(f"{path}.tests.log", lambda: t_test(plan, a, b, log=True)) if all_positive(a, b) else None
    main, pct, ci, own = _main(plan, a, b, raw, logs, found, path)
    if pct is None and f"{path}.main.percent" in found.reasons:
        found.reasons |= dict.fromkeys(
            (f"{path}.improvement_pct", f"{path}.mde_pct"), found.reasons[f"{path}.main.percent"]
        )
    effect = Effect(
        outcome=plan.outcome,
        estimand=_NAMES.get(plan.estimand, plan.estimand),
        unit=plan.unit,
        direction=plan.direction,
        design=plan.design,
        n=(a.n, b.n),
        n_items=None if plan.design == "independent" or a.items is None else _items(a, b),
        main=main,
        mean=mean_change(plan, a, b, raw, found, f"{path}.mean"),
        improvement_pct=None if pct is None else plan.better * pct,
        improvement_ci=turned(ci, plan.better),
        test=own,
        tests=beside(plan, a, b, raw, logs, found),
        quantiles=tails.quantile_changes(plan, a, b, found, path) if plan.unit == "ms" else {},
        effect_size=effect_size(plan, a, b, found, path),
        mde_pct=None if pct is None else _mde(plan, a, raw, logs if is_log else None),
        margin=None if plan.margin is None else found.get(f"{path}.margin", lambda: margins.margin(plan, a)),
        equivalence=found.get(f"{path}.equivalence", lambda: margins.equivalence(plan, a, raw, logs)),
        verdict="inconclusive",
    )
    return effect, found


def beside(
    plan: Plan, a: Sample, b: Sample, raw: Outcome | None, logs: Outcome | None, found: Found
) -> dict[str, Test]:
    """Every other test of the outcome; rank tests on item means where units are not independent."""
    name = {"paired": "paired_t", "clustered": "clustered_welch", "independent": "welch"}[plan.design]
    made = {name: raw, f"log_{name}": logs}
    if not plan.is_ranked:
        pass
    elif plan.design == "paired":
        items = shared_items(a, b)
        x, y = item_means(b, items), item_means(a, items)
        made["wilcoxon"] = found.get(f"effects.{plan.outcome}.tests.wilcoxon", lambda: two_samples.wilcoxon(x, y))
    else:
        x, y = (_independent(sample) for sample in (b, a))
        for rank, test in (("brunner_munzel", two_samples.brunner_munzel), ("mann_whitney", two_samples.mann_whitney)):
            made[rank] = found.get(f"effects.{plan.outcome}.tests.{rank}", partial(test, x, y))
    return {name: as_test(name, outcome, plan) for name, outcome in made.items() if outcome is not None}


def as_test(name: str, outcome: Outcome | None, plan: Plan) -> Test:
    """A test as results show it; before the declared n its p-value is withheld."""
    if outcome is None:
        return Test(name=name, method="not computable")
    p = None if plan.tuning is not None else outcome.p_value
    df = outcome.df if isinstance(outcome.df, float) else None
    return Test(name=name, method=outcome.method, statistic=outcome.statistic, df=df, p_value=p)


def effect_size(plan: Plan, a: Sample, b: Sample, found: Found, path: str) -> EffectSize:
    """Cohen's d, Hedges' g and Cliff's delta of the units, d_z of paired items; candidate minus baseline."""
    level = plan.level
    d = found.get(f"{path}.effect_size.cohens_d", lambda: _cohens_d(a, b, level))
    cliff = None
    if plan.is_ranked:
        cliff = found.get(f"{path}.effect_size.cliffs_delta", lambda: effects.cliffs_delta(b.values, a.values, level))
    else:
        found.reasons[f"{path}.effect_size.cliffs_delta"] = "totals are compared on their means"
    ci: dict[str, Interval] = {}
    if d is not None:
        ci |= {"cohens_d": d.interval, "hedges_g": d.g_interval}
    if cliff is not None and cliff.interval is not None:
        ci["cliffs_delta"] = cliff.interval
    d_z = None
    if plan.design == "paired":
        items = shared_items(a, b)
        pair = found.get(
            f"{path}.effect_size.d_z",
            lambda: effects.cohens_d_paired(item_means(b, items), item_means(a, items), level)["d_z"],
        )
        if pair is not None:
            d_z, ci = pair.value, ci | ({"d_z": pair.interval} if pair.interval else {})
    return EffectSize(
        cohens_d=None if d is None else d.d,
        hedges_g=None if d is None else d.g,
        cliffs_delta=None if cliff is None else cliff.value,
        d_z=d_z,
        ci=ci,
    )


def _cohens_d(a: Sample, b: Sample, level: float) -> effects.Standardised:
    if a.told is None or b.told is None:
        return effects.cohens_d(b.values, a.values, level)
    x, y = b.told.of_values, a.told.of_values
    return effects.cohens_d_from_moments(x.mean, x.stdev, x.n, y.mean, y.stdev, y.n, confidence=level)


def _main(
    plan: Plan, a: Sample, b: Sample, raw: Outcome | None, logs: Outcome | None, found: Found, path: str
) -> tuple[Change, float | None, Interval | None, Test]:
    """The estimand in both arms, its change in percent with interval, and its own test."""
    if plan.estimand == "geomean":
        return _geomean(plan, a, b, logs)
    if plan.estimand == "mean":
        change = mean_change(plan, a, b, raw, found, f"{path}.main")
        name = {"paired": "paired t", "clustered": "cluster-robust Welch t", "independent": "Welch t"}[plan.design]
        return change, change.percent, change.ci.get("percent"), as_test(name, raw, plan)
    p = 0.5 if plan.estimand == "median" else QUANTILES[plan.estimand]
    return tails.quantile(plan, a, b, p, found, path)


def _geomean(
    plan: Plan, a: Sample, b: Sample, logs: Outcome | None
) -> tuple[Change, float | None, Interval | None, Test]:
    if plan.design == "paired":
        items = shared_items(a, b)
        base, cand = (math.exp(float(item_means(s, items, log=True).mean())) for s in (a, b))
    else:
        base, cand = (math.exp(s.mean(log=True)) for s in (a, b))
    name = {
        "paired": "paired t on logarithms",
        "clustered": "cluster-robust Welch t on logarithms",
        "independent": "Welch t on logarithms",
    }[plan.design]
    percent = 100 * (cand / base - 1)
    ci = None
    if logs is not None and logs.interval is not None:
        kept = held(plan, logs.estimate, logs.se, a, b) or logs.interval
        ci = Interval(
            low=None if kept.low is None else 100 * math.expm1(kept.low),
            high=None if kept.high is None else 100 * math.expm1(kept.high),
            level=kept.level,
            method=f"{kept.method}, on logarithms",
        )
    change = Change(
        baseline=base, candidate=cand, difference=cand - base, percent=percent, ci={} if ci is None else {"percent": ci}
    )
    return change, percent, ci, as_test(name, logs, plan)


def _mde(plan: Plan, a: Sample, raw: Outcome | None, logs: Outcome | None) -> float | None:
    if plan.estimand == "geomean":
        return (
            None if logs is None or logs.se is None else 100 * math.expm1(power.detectable_effect(logs.se, plan.alpha))
        )
    base = a.mean()
    if raw is None or raw.se is None or not base or plan.estimand != "mean":
        return None
    return 100 * power.detectable_effect(raw.se, plan.alpha) / base


def _independent(sample: Sample) -> Floats:
    """Values that do not depend on each other: item means where items repeat."""
    return item_means(sample, sample.distinct) if sample.repeats else sample.values


def _items(a: Sample, b: Sample) -> int:
    return a.distinct.size + b.distinct.size - shared_items(a, b).size
