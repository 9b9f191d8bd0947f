"""`compare`: a candidate against a baseline, from units to a verdict.

sides -> arms        units of analysis and their outcomes
      -> checks      what could make the numbers mean something else
      -> effect      per outcome: estimate, interval, tests (rates for yes/no outcomes)
      -> correction  Holm over the primary outcomes, Benjamini-Hochberg over the rest
      -> verdict     from the headline's corrected test and interval
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import narwhals as nw
import numpy as np
import polars as pl

from otel_research.analysis import arms as sides
from otel_research.analysis import checks, declared, effect, fingerprint, items, methods, notes, rates, verdicts
from otel_research.analysis.arms import Arm, Sample
from otel_research.analysis.comparison import Check, Comparison, Effect, Test
from otel_research.analysis.declared import Margin
from otel_research.analysis.engine import grouped
from otel_research.analysis.engines.chosen import Engine, engine_of
from otel_research.analysis.items import Items
from otel_research.analysis.plan import ESTIMANDS, Plan, scaled
from otel_research.analysis.result import Interval, Warn
from otel_research.analysis.stats import corrections, posthoc, ratios
from otel_research.analysis.subject import Subject
from otel_research.analysis.units import Unit
from otel_research.errors import ConfigurationError, NotEnoughData, ResearchError
from otel_research.spans.where import Where

__all__ = ["Comparison", "compare"]

METHOD = "compare/1"
CORRECTIONS = ("holm", "bonferroni", "bh", "by", "none")


@dataclass(frozen=True)
class Options:
    """What a comparison was asked for, checked."""

    metrics: tuple[str, ...] | None
    estimand: str
    paired: bool | str
    alpha: float
    correction: str
    equivalence: Margin | Mapping[str, Margin] | None
    seed: int
    unit: Unit | None
    where: Where | None
    engine: Engine | None = None


def compare(
    baseline: Any,
    candidate: Any,
    *,
    metrics: Sequence[str] | str | None = None,
    estimand: str = "geomean",
    paired: bool | str = "auto",
    alpha: float = 0.05,
    correction: str = "holm",
    equivalence: Margin | Mapping[str, Margin] | None = None,
    seed: int = 0,
    unit: Unit | None = None,
    where: Where | None = None,
    engine: Any = None,
) -> Comparison:
    """A candidate (or several) against a baseline: effect, interval, tests, verdict.

    Both sides are subjects or sequences of numbers (taken as latencies unless `metrics` names
    one outcome). `unit` is "trial" where every side has trials, else "call". `estimand` is that of
    times: "geomean", "mean", "median", "p90", "p95", "p99"; other outcomes are compared on means.
    `paired` "auto" pairs on shared items. `equivalence` is a margin in the outcome's own unit, text
    such as "5%" of the baseline, or a mapping from outcome to one; declared margins count as well.
    `engine` is where sums, moments and quantiles of experiments are computed: "polars" (default), "duckdb",
    "spark" or a SparkSession; what needs the values themselves (rank tests, resampling, weights) stays here.
    Raises `ConfigurationError` for an unknown option, `NotEnoughData` where there is nothing to compare.
    """
    names = (metrics,) if isinstance(metrics, str) else None if metrics is None else tuple(metrics)
    on = engine_of(engine)
    options = Options(names, estimand, paired, alpha, correction, equivalence, seed, unit, where, on)
    _check(options)
    others = list(candidate) if _is_several(candidate) else [candidate]
    arms = _arms(baseline, others, options)
    found = [_pair(arms[0], arm, options, len(others)) for arm in arms[1:]]
    _correct(found, options.correction, options.alpha)
    if len(found) == 1:
        return found[0].finish()
    return _several(arms, found, options)


class _Draft:
    """One pair of arms while it is put together."""

    def __init__(self, a: Arm, b: Arm, options: Options, names: list[str], reasons: dict[str, str]) -> None:
        self.a, self.b, self.options, self.names = a, b, options, names
        self.reasons = {f"effects.{name}": why for name, why in reasons.items()}
        self.effects: dict[str, Effect] = {}
        self.samples: dict[str, tuple[Sample, Sample]] = {}
        self.checks: list[Check] = []
        self.items: dict[str, Items] = {}
        self.n_resamples: int | None = None
        self.primary = declared.primary(a, b, names)
        self.headline = next(iter(self.primary), names[0])
        self.declared = declared.sample_size(a, b)

    def finish(self, others: tuple[Comparison, ...] = (), tied: tuple[str, ...] = ()) -> Comparison:
        """The comparison, verdict and all."""
        head = self.effects[self.headline]
        verdict, warnings = verdicts.overall(self.effects, self.headline, self.checks)
        latency, cost, outcome = (self.effects.get(name) for name in ("latency", "cost", "success_rate"))
        per_success, per_success_ci = self._cost_per_success()
        ci = {
            "latency_improvement": None if latency is None else latency.improvement_ci,
            "cost_change": None if cost is None else cost.mean.ci.get("percent"),
            "reliability_delta": None if outcome is None else outcome.mean.ci.get("difference"),
            "cost_per_success_change": per_success_ci,
        }
        draft = Comparison(
            estimand=f"{head.estimand} of {self.headline}: {self.b.label} against {self.a.label}",
            unit=self.unit,
            n=sum(head.n),
            n_units=head.n_items or sum(head.n),
            method=f"{METHOD} ({self.options.engine.name if self.options.engine else f'polars {pl.__version__}'})",
            alpha=self.options.alpha,
            seed=self.options.seed,
            n_resamples=self.n_resamples,
            assumptions=methods.assumptions(head),
            warnings=(*warnings, *self._warnings()),
            data_hash=fingerprint.of_values(*(s.values for name in self.names for s in self.samples[name])),
            reasons=self._all_reasons(latency, cost, outcome),
            baseline=self.a.label,
            candidate=self.b.label,
            headline=self.headline,
            verdict=verdict,
            latency_improvement=None if latency is None else latency.improvement_pct,
            latency_p99_improvement=_p99(latency),
            cost_change=None if cost is None else cost.mean.percent,
            reliability_delta=None if outcome is None else outcome.mean.difference,
            statistical_test=head.test,
            effect_size=head.effect_size,
            minimum_detectable_effect=head.mde_pct,
            effects=self.effects,
            checks=tuple(self.checks),
            cost_per_success_change=per_success,
            correction=self.options.correction,
            sections_ci={name: interval for name, interval in ci.items() if interval is not None},
            others=others,
            tied_with_best=tied,
            items=self.items,
        )
        return msgspec.structs.replace(draft, methods=methods.paragraph(draft))

    def beside(self, name: str) -> int:
        """How many outcomes are corrected together with this one: the primary ones, or the rest."""
        return sum((each in self.primary) == (name in self.primary) for each in self.names)

    @property
    def unit(self) -> str:
        """The unit of analysis."""
        return self.a.table.unit if self.a.table is not None else "value"

    def _cost_per_success(self) -> tuple[float | None, Interval | None]:
        """Percent change of cost per success by the delta method; by item where units repeat."""
        try:
            cost_b, won_b = _cost_and_success(self.b)
            cost_a, won_a = _cost_and_success(self.a)
            change = ratios.ratio_change(cost_b, won_b, cost_a, won_a, 1 - self.options.alpha)
        except NotEnoughData as exc:
            self.reasons["cost_per_success_change"] = str(exc)
            return None, None
        interval = change.interval
        return 100 * change.value, None if interval is None else scaled(interval, 100)

    def _warnings(self) -> list[Warn]:
        found = [
            Warn(code=check.name, severity=check.severity, text=check.text, value=check.value)
            for check in self.checks
            if not check.passed
        ]
        for subject in {arm.subject.label: arm.subject for arm in (self.a, self.b) if arm.subject is not None}.values():
            found += notes.unusable_exclusions(subject)
        for name in self.names:
            found += verdicts.disagreement(self.effects[name], self.options.alpha)
        return found

    def _all_reasons(self, latency: Effect | None, cost: Effect | None, outcome: Effect | None) -> dict[str, str]:
        reasons = dict(self.reasons)
        for field, name, part, path in (
            ("latency_improvement", "latency", latency, "improvement_pct"),
            ("latency_p99_improvement", "latency", latency, "quantiles.p99.percent"),
            ("cost_change", "cost", cost, "mean.percent"),
            ("reliability_delta", "success_rate", outcome, ""),
            ("minimum_detectable_effect", self.headline, self.effects[self.headline], "mde_pct"),
        ):
            if part is None:
                reasons[field] = reasons.get(f"effects.{name}", f"{name} was not compared")
            elif f"effects.{name}.{path}" in reasons:
                reasons[field] = reasons[f"effects.{name}.{path}"]
        return reasons


def _pair(a: Arm, b: Arm, options: Options, pairs: int = 1) -> _Draft:
    names, reasons = sides.outcomes([a, b], options.metrics)
    names = [name for name in names if declared.is_on(a, b, name)]
    if not names:
        raise NotEnoughData(
            f"{a.label} and {b.label} have no outcome in common: {'; '.join(f'{n}: {w}' for n, w in reasons.items()) or 'no rows'}."
        )
    draft = _Draft(a, b, options, names, reasons)
    for name in names:
        first, second = sides.samples([a, b], name)
        draft.samples[name] = (first, second)
    first, second = draft.samples[draft.headline]
    design = effect.design_of(first, second, options.paired)
    draft.checks = list(checks.of(a, b, first, second, design, draft.declared))
    is_early = any(check.name == "declared_n" and not check.passed for check in draft.checks)
    for index, name in enumerate(names):
        x, y = draft.samples[name]
        plan = Plan(
            outcome=name,
            estimand=options.estimand if declared.is_time(name) else "mean",
            unit=sides.UNITS.get(name, "1") if a.table is not None or name == "latency" else "1",
            direction=declared.direction(a, b, name),
            design=effect.design_of(x, y, options.paired),
            alpha=options.alpha,
            seed=options.seed + 100 * index,
            margin=declared.margin(a, b, name, options.equivalence, is_headline=name == draft.headline),
            tuning=2.0 * draft.declared if is_early and draft.declared else None,
            family=1 if options.correction == "none" else pairs * draft.beside(name),
        )
        make = rates.rate if rates.is_rate(name, x, y) else effect.numeric
        made, found = make(plan, x, y)
        draft.effects[name] = msgspec.structs.replace(made, is_primary=name in draft.primary)
        is_binary = make is rates.rate
        by_item = items.report(a, b, x, y, name, is_binary=is_binary, alpha=options.alpha)
        if by_item is not None:
            draft.items[name] = by_item
        draft.reasons |= found.reasons
        draft.n_resamples = found.n_resamples or draft.n_resamples
    return draft


def _correct(drafts: list[_Draft], correction: str, alpha: float) -> None:
    """Corrected p-values: the chosen method over the primary outcomes of all pairs, BH over the rest."""
    for is_primary, method in ((True, correction), (False, "bh" if correction != "none" else "none")):
        family = [
            (draft, name)
            for draft in drafts
            for name, found in draft.effects.items()
            if found.is_primary == is_primary and found.test.p_value is not None
        ]
        if not family:
            continue
        raw = [draft.effects[name].test.p_value or 0.0 for draft, name in family]
        for (draft, name), adjusted in zip(family, corrections.adjust(raw, method), strict=True):
            found = draft.effects[name]
            test = msgspec.structs.replace(found.test, p_adjusted=adjusted, significant=adjusted < alpha)
            draft.effects[name] = msgspec.structs.replace(found, test=test)
    for draft in drafts:
        for name, found in draft.effects.items():
            draft.effects[name] = msgspec.structs.replace(found, verdict=verdicts.of(found))


def _several(arms: list[Arm], drafts: list[_Draft], options: Options) -> Comparison:
    """The candidate with the best estimate first, the others beside it, and who is tied with the best."""
    for draft, p in zip(drafts, _dunnett(arms, drafts, options), strict=True):
        head = draft.effects[draft.headline]
        if p is not None:
            tests = {**head.tests, "dunnett": p}
            draft.effects[draft.headline] = msgspec.structs.replace(head, tests=tests)
    ranked = sorted(drafts, key=lambda draft: verdicts.rank(draft.effects[draft.headline]))
    best = ranked[0]
    others = tuple(draft.finish() for draft in ranked[1:])
    return best.finish(others, _tied(arms, best, options))


def _dunnett(arms: list[Arm], drafts: list[_Draft], options: Options) -> list[Test | None]:
    """Every candidate against the baseline at once, where units are independent."""
    name = drafts[0].headline
    designs = {draft.effects[name].design for draft in drafts if name in draft.effects}
    if designs != {"independent"} or any(name not in arm.frames for arm in arms):
        return [None] * len(drafts)
    values = [sample.values for sample in sides.samples(arms, name)]
    if options.estimand == "geomean" and declared.is_time(name) and all((each > 0).all() for each in values):
        values = [np.log(each) for each in values]
    groups = {str(index): each for index, each in enumerate(values)}
    try:
        rows = posthoc.dunnett(groups, "0", 1 - options.alpha, options.seed)
    except ResearchError:
        return [None] * len(drafts)
    return [
        Test(
            name="Dunnett",
            method=row.method,
            statistic=row.statistic,
            p_value=row.p_adjusted,
            p_adjusted=row.p_adjusted,
            significant=row.p_adjusted < options.alpha,
        )
        for row in rows
    ]


def _tied(arms: list[Arm], best: _Draft, options: Options) -> tuple[str, ...]:
    """Arms whose headline the data cannot tell from the best one's.

    Which arm looks best is seen in the same data, so its comparisons are corrected over all pairs of arms
    (Bonferroni): corrected over its own alone, 12 equal conditions lose one in 21 % of experiments.
    """
    name = best.headline
    # Where the baseline itself is better than every candidate it is the best arm.
    top = best.a if (best.effects[name].gain or 0.0) < 0 else best.b
    only = Options(**{**options.__dict__, "metrics": (name,)})
    compared = [arm for arm in arms if name in arm.frames]
    level = options.alpha / math.comb(len(compared), 2)
    tests = {arm.label: _pair(top, arm, only).effects[name].test for arm in compared if arm is not top}
    return (top.label, *(label for label, test in tests.items() if test.p_value is None or test.p_value >= level))


def _cost_and_success(arm: Arm) -> tuple[np.ndarray, np.ndarray]:
    """Cost and successes per unit, or per item where items repeat; only fully priced units."""
    if arm.table is None or "cost" not in arm.frames:
        raise NotEnoughData(f"{arm.label} has no cost")
    units = arm.table.units.filter(pl.col("cost_nano_usd").is_not_null())
    # Whole nano-dollars: their sums are the same in any order, on any engine.
    frame = units.select(
        "item_id", cost="cost_nano_usd", success=(~pl.col("is_failed") & ~pl.col("is_interrupted")).cast(pl.Int64)
    )
    if not frame["item_id"].null_count():
        sums = {name: nw.col(name).sum() for name in ("cost", "success")}
        frame = grouped(arm.table.on_engine(frame), ["item_id"], sums).sort("item_id")
    return frame["cost"].to_numpy() / 1e9, frame["success"].to_numpy().astype(np.float64)


def _p99(latency: Effect | None) -> float | None:
    change = None if latency is None else latency.quantiles.get("p99")
    return None if change is None or change.percent is None else -change.percent


def _arms(baseline: Any, others: list[Any], options: Options) -> list[Arm]:
    if not others:
        raise NotEnoughData("compare needs at least one candidate.")
    unit = options.unit or sides.best_unit([baseline, *others])
    names = ["baseline", *(["candidate"] if len(others) == 1 else [f"candidate {i + 1}" for i in range(len(others))])]
    found = [
        sides.arm(side, unit, options.where, name, options.engine)
        for side, name in zip([baseline, *others], names, strict=True)
    ]
    plain = [arm.subject is None for arm in found]
    if any(plain) and not all(plain):
        raise ConfigurationError("compare takes experiments or sequences of numbers, not one of each.")
    if all(plain):
        outcome = options.metrics[0] if options.metrics else "latency"
        return [Arm(arm.label, None, None, {outcome: arm.frames["value"]}) for arm in found]
    return _labelled(found)


def _labelled(arms: list[Arm]) -> list[Arm]:
    """The arms under different labels: their condition where two come from one experiment."""
    labels = [arm.label for arm in arms]
    if len(set(labels)) == len(labels):
        return arms
    named = []
    for index, arm in enumerate(arms):
        conditions = [] if arm.table is None else arm.table.units["condition"].drop_nulls().unique().to_list()
        extra = conditions[0] if len(conditions) == 1 else ("baseline" if index == 0 else f"candidate {index}")
        named.append(Arm(f"{arm.label} [{extra}]", arm.subject, arm.table, arm.frames))
    return named


def _is_several(candidate: Any) -> bool:
    if not isinstance(candidate, (list, tuple)) or not candidate:
        return False
    return all(
        isinstance(item, Subject) or (hasattr(item, "__len__") and not isinstance(item, str)) for item in candidate
    )


def _check(options: Options) -> None:
    if options.estimand not in ESTIMANDS:
        raise ConfigurationError(f"estimand={options.estimand!r}; use one of {', '.join(map(repr, ESTIMANDS))}.")
    if options.correction not in CORRECTIONS:
        raise ConfigurationError(f"correction={options.correction!r}; use one of {', '.join(map(repr, CORRECTIONS))}.")
    if not 0 < options.alpha < 0.5:
        raise ConfigurationError(f"alpha={options.alpha} is not between 0 and 0.5. Use 0.05.")
