"""Several experiments as one claim: random effects over experiments, forest table, one correction family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from otel_research.analysis.arms import BASELINES, BUILT_IN, LOWER, Arm, Sample, arm, best_unit, samples
from otel_research.analysis.effect import aligned, design_of
from otel_research.analysis.fingerprint import of_values
from otel_research.analysis.means import t_test
from otel_research.analysis.observations import conditions
from otel_research.analysis.plan import Plan
from otel_research.analysis.result import Interval, Result, Warn, number
from otel_research.analysis.stats import constant, corrections, meta
from otel_research.analysis.stats.outcome import Estimate, between
from otel_research.analysis.stats.ratios import z_test
from otel_research.analysis.subject import Subject
from otel_research.analysis.units import Unit
from otel_research.errors import ConfigurationError, NotEnoughData

Scale = Literal["percent", "difference"]
_AGREE = 0.1
"""Q below this share of its expectation: chance alone spreads effects more than that."""
_FEW = 5
"""Experiments below which tau squared is barely known."""


class ForestRow(msgspec.Struct, frozen=True, kw_only=True):
    """One experiment's own effect, candidate minus baseline (percent of the baseline, or a difference)."""

    experiment: str
    effect: float
    ci: Interval
    weight: float
    """Share of the pooled effect, 0 to 1."""
    n: tuple[int, int]
    design: str
    p_value: float
    p_adjusted: float
    """Corrected within the study's one family: every experiment's test of every outcome."""
    pooled_without: float | None
    """The pooled effect when this experiment is left out."""
    pooled_without_ci: Interval | None


class Pooled(msgspec.Struct, frozen=True, kw_only=True):
    """One outcome over all experiments."""

    outcome: str
    scale: Scale
    effect: float
    ci: Interval
    """Hartung-Knapp."""
    prediction: Interval | None
    """Where the effect of a new experiment is expected; None below 3 experiments."""
    p_value: float
    p_adjusted: float
    significant: bool
    q: float
    q_p: float
    i2: float
    """Percent of the variation between experiments that is not chance."""
    tau2: float
    """Variance between experiments, on the scale of the analysis (logarithms for percent)."""
    fixed: float
    """The pooled effect if all experiments had one true effect."""
    forest: tuple[ForestRow, ...]


class Study(Result, frozen=True, kw_only=True):
    """A random-effects synthesis. Effects are candidate minus baseline."""

    experiments: tuple[str, ...]
    baseline: str
    candidate: str
    correction: str
    outcomes: dict[str, Pooled]

    def to_markdown(self) -> str:
        """A forest table per outcome, the pooled effect last."""
        lines = [f"**{self.heading()}**: {self.candidate} against {self.baseline}"]
        for pooled in self.outcomes.values():
            unit = " (%)" if pooled.scale == "percent" else ""
            lines += [
                "",
                f"{pooled.outcome}{unit}: I² {pooled.i2:.0f} %, tau² {pooled.tau2:.3g}, Q p {pooled.q_p:.3f}",
                "",
            ]
            lines += ["| experiment | effect | interval | weight | pooled without it |", "|---|---:|---|---:|---:|"]
            lines += [
                f"| {row.experiment} | {number(row.effect)} | {row.ci} | {100 * row.weight:.0f} % | "
                f"{number(row.pooled_without)} |"
                for row in pooled.forest
            ]
            lines.append(
                f"| **pooled** | **{number(pooled.effect)}** | **{pooled.ci}** | p {pooled.p_adjusted:.4f} | |"
            )
            if pooled.prediction is not None:
                lines.append(f"| a new experiment | | {pooled.prediction} | | |")
        lines += [""] * bool(self.warnings) + [f"- {w.severity}: {w.text}" for w in self.warnings]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.to_markdown()


@dataclass(frozen=True)
class _Single:
    """One experiment's effect on the scale of the analysis."""

    experiment: str
    effect: float
    se: float
    ci: Interval
    p_value: float
    n: tuple[int, int]
    design: str


def study(
    experiments: Sequence[Any] | Mapping[str, tuple[float, float]],
    *,
    metrics: Sequence[str] | None = None,
    baseline: str | None = None,
    candidate: str | None = None,
    unit: Unit | None = None,
    alpha: float = 0.05,
    correction: str = "holm",
    paired: bool | str = "auto",
    seed: int = 0,
) -> Study:
    """Pool the same comparison over several experiments.

    Args:
        experiments: subjects that each hold both conditions; pairs (baseline, candidate) of subjects; or a mapping
            from name to (effect, standard error) of results known otherwise.
        metrics: outcomes; default the declared primary ones that every experiment has, else latency.
        baseline: the condition compared against; default "baseline" or "control" where every experiment has it.
        candidate: the other condition; default the only other one.
        unit: default trial where all have trials, else call.
        correction: over the pooled tests, and over all single tests: "holm", "bh", "by", "bonferroni" or "none".

    Raises:
        ConfigurationError: an experiment's baseline or candidate is not clear.
        NotEnoughData: fewer than 2 experiments with the outcome.
        MissingExtra: statsmodels is not installed.
    """
    if isinstance(experiments, Mapping):
        found: dict[str, list[_Single]] = {"effect": [_given(k, *v, alpha) for k, v in experiments.items()]}
        scales: dict[str, Scale] = {"effect": "difference"}
        names, chosen, base, other = list(experiments), "experiment", "baseline", "candidate"
        hashed: list[Any] = [list(v) for v in experiments.values()]
    else:
        pairs, base, other = _pairs(list(experiments), baseline, candidate)
        names = _distinct([label for label, _, _ in pairs])
        flat = [side for _, one, two in pairs for side in (one, two)]
        chosen = unit or best_unit(flat)
        arms = [(arm(one, chosen, None, base), arm(two, chosen, None, other)) for _, one, two in pairs]
        found, scales, hashed = {}, {}, []
        for metric in metrics or _default_metrics(flat, arms):
            found[metric], scales[metric] = _singles(metric, names, arms, paired, alpha, seed, hashed)
    return _result(found, scales, names, str(chosen), base, other, alpha, correction, seed, of_values(*hashed))


def _result(
    found: dict[str, list[_Single]], scales: dict[str, Scale], names: list[str], unit: str, base: str, other: str,
    alpha: float, correction: str, seed: int, data_hash: str,
) -> Study:  # fmt: skip
    for metric, singles in found.items():
        if len(singles) < 2:
            raise NotEnoughData(f"A study of {metric!r} needs at least 2 experiments; {len(singles)} have it.")
    pooled = {
        metric: meta.random_effects([s.effect for s in singles], [s.se**2 for s in singles], 1 - alpha)
        for metric, singles in found.items()
    }
    corrected = corrections.adjust([one.p_value for one in pooled.values()], correction)
    every = [single.p_value for singles in found.values() for single in singles]
    adjusted = iter(corrections.adjust(every, correction))
    outcomes = {}
    for (metric, singles), p_adjusted in zip(found.items(), corrected, strict=True):
        own = [next(adjusted) for _ in singles]
        outcomes[metric] = _pooled(metric, scales[metric], singles, pooled[metric], p_adjusted, own, alpha)
    first = next(iter(found.values()))
    return Study(
        estimand=f"effect of {other} against {base} over experiments",
        unit=unit,
        n=sum(sum(single.n) for single in first),
        n_units=len(first),
        method=next(iter(pooled.values())).method,
        alpha=alpha,
        seed=seed,
        assumptions=("experiments are independent", "effects vary normally between experiments"),
        warnings=tuple(_warnings(outcomes)),
        data_hash=data_hash,
        experiments=tuple(names),
        baseline=base,
        candidate=other,
        correction=correction,
        outcomes=outcomes,
    )


def _pooled(
    metric: str, scale: Scale, singles: list[_Single], pooled: meta.Synthesis, p_adjusted: float, own: list[float], alpha: float
) -> Pooled:  # fmt: skip
    effects, variances = [s.effect for s in singles], [s.se**2 for s in singles]
    without: Sequence[meta.Synthesis | None] = [None] * len(singles)
    if len(singles) > 2:
        without = meta.leave_one_out(effects, variances, 1 - alpha)
    assert pooled.random.interval is not None
    return Pooled(
        outcome=metric,
        scale=scale,
        effect=_read(pooled.random.value, scale),
        ci=_read_interval(pooled.random.interval, scale),
        prediction=None if pooled.prediction is None else _read_interval(pooled.prediction, scale),
        p_value=pooled.p_value,
        p_adjusted=p_adjusted,
        significant=p_adjusted < alpha,
        q=pooled.q,
        q_p=pooled.q_p,
        i2=pooled.i2,
        tau2=pooled.tau2,
        fixed=_read(pooled.fixed.value, scale),
        forest=tuple(
            ForestRow(
                experiment=s.experiment,
                effect=_read(s.effect, scale),
                ci=_read_interval(s.ci, scale),
                weight=weight,
                n=s.n,
                design=s.design,
                p_value=s.p_value,
                p_adjusted=p,
                pooled_without=None if rest is None else _read(rest.random.value, scale),
                pooled_without_ci=_left(rest, scale),
            )
            for s, weight, p, rest in zip(singles, pooled.weights, own, without, strict=True)
        ),
    )


def _warnings(outcomes: dict[str, Pooled]) -> list[Warn]:
    found = []
    for pooled in outcomes.values():
        k = len(pooled.forest)
        if k < _FEW:
            text = f"{pooled.outcome}: {k} experiments; the variation between experiments is barely known"
            found.append(Warn(code="few_experiments", severity="info", text=text, value=float(k)))
        if pooled.q < (k - 1) * _AGREE:
            text = f"{pooled.outcome}: the experiments agree more than chance would have it; the interval may be too narrow"
            found.append(Warn(code="homogeneous", severity="info", text=text, value=pooled.q))
        signs = {row.pooled_without_ci is not None and _excludes_0(row.pooled_without_ci) for row in pooled.forest}
        if k > 2 and pooled.significant and False in signs:
            text = f"{pooled.outcome}: the result rests on one experiment; without it the interval holds 0"
            found.append(Warn(code="fragile", severity="warning", text=text))
    return found


def _singles(
    metric: str, names: list[str], arms: list[tuple[Arm, Arm]], paired: bool | str, alpha: float, seed: int,
    hashed: list[Any],
) -> tuple[list[_Single], Scale]:  # fmt: skip
    """Every experiment's effect on one outcome, all on one scale."""
    sides = []
    for name, (one, two) in zip(names, arms, strict=True):
        if metric in one.frames and metric in two.frames:
            a, b = samples([one, two], metric)
            if a.n and b.n:
                sides.append((name, a, b))
                hashed += [a.values, b.values]
    if not sides:
        raise NotEnoughData(f"No experiment has values of {metric!r} in both conditions.")
    is_rate = metric == "success_rate"
    is_positive = all(bool((s.values > 0).all()) for _, a, b in sides for s in (a, b))
    scale: Scale = "percent" if is_positive and not is_rate and metric in BUILT_IN else "difference"
    return [_single(name, metric, a, b, scale, paired, alpha, seed) for name, a, b in sides], scale


def _single(
    name: str, metric: str, a: Sample, b: Sample, scale: Scale, paired: bool | str, alpha: float, seed: int
) -> _Single:
    design = design_of(a, b, paired)
    direction: Any = "lower" if metric in LOWER else "higher"
    plan = Plan(metric, "mean", "1", direction, design, alpha, seed)
    one, two = aligned(a, b, design)
    try:
        outcome = t_test(plan, one, two, log=scale == "percent")
        if (error := constant.error(outcome)) is None or outcome.interval is None or outcome.estimate is None:
            raise NotEnoughData("the test has no standard error")
        return _Single(name, outcome.estimate, error, outcome.interval, outcome.p_value, (a.n, b.n), design)
    except NotEnoughData as exc:
        if not _is_yes_no(a, b):
            raise NotEnoughData(f"{name}: {metric} cannot be compared: {exc}") from exc
        return _plus_four(name, one, two, design, alpha)


def _plus_four(name: str, a: Sample, b: Sample, design: str, alpha: float) -> _Single:
    """The difference of rates after one success and one failure are added to each arm (Agresti & Caffo 2000).

    For arms without a single failure, whose plain standard error is 0.
    """
    (p, n), (q, m) = (((float(s.values.sum()) + 1) / (s.n + 2), s.n + 2) for s in (b, a))
    estimate = Estimate(p - q, math.sqrt(p * (1 - p) / n + q * (1 - q) / m), None, n + m, "Agresti & Caffo 2000")
    ci, test = _normal_interval(estimate.value, estimate.se or 0.0, alpha), z_test(estimate)
    return _Single(name, estimate.value, estimate.se or 0.0, ci, test.p_value, (a.n, b.n), design)


def _given(name: str, effect: float, se: float, alpha: float) -> _Single:
    if not se > 0 or not math.isfinite(se) or not math.isfinite(effect):
        raise NotEnoughData(f"{name}: the effect {effect} with standard error {se} cannot be pooled.")
    test = z_test(Estimate(effect, se, None, 0, "given"))
    return _Single(name, effect, se, _normal_interval(effect, se, alpha), test.p_value, (0, 0), "given")


def _normal_interval(value: float, se: float, alpha: float) -> Interval:
    from scipy.special import ndtri

    half = -float(ndtri(alpha / 2)) * se
    return between(value - half, value + half, 1 - alpha, "normal")


def _pairs(
    experiments: list[Any], baseline: str | None, candidate: str | None
) -> tuple[list[tuple[str, Subject, Subject]], str, str]:
    """Label, baseline and candidate of every experiment, and what the two are called."""
    if len(experiments) < 2:
        raise NotEnoughData(f"A study needs at least 2 experiments; {len(experiments)} was given.")
    if all(isinstance(each, (tuple, list)) and [*map(type, each)] == [Subject, Subject] for each in experiments):
        found = [(one.label, one, two) for one, two in experiments]
        return found, baseline or "baseline", candidate or "candidate"
    for each in experiments:
        if not isinstance(each, Subject):
            raise ConfigurationError(
                f"A study takes experiments, pairs of them, or {{name: (effect, standard error)}}, not a "
                f"{type(each).__name__}."
            )
    held = [set(conditions(subject)) for subject in experiments]
    shared = set.intersection(*held)
    base = baseline or next((name for name in BASELINES if name in shared), None)
    if base is None or base not in shared:
        raise ConfigurationError(
            f"The baseline is not clear: every experiment has the conditions {', '.join(sorted(shared)) or 'none'}. "
            'Pass baseline="...".'
        )
    others = sorted(shared - {base})
    other = candidate or (others[0] if len(others) == 1 else None)
    if other is None or other not in shared:
        raise ConfigurationError(f'The candidate is not clear: {", ".join(others) or "none"}. Pass candidate="...".')
    pairs = [(s.label, s.where({"condition": base}), s.where({"condition": other})) for s in experiments]
    return pairs, base, other


def _default_metrics(subjects: list[Subject], arms: list[tuple[Arm, Arm]]) -> list[str]:
    common = set.intersection(*(set(side.frames) for pair in arms for side in pair))
    declared = [name for s in subjects if s.record is not None for name in s.record.primary if name in common]
    chosen = list(dict.fromkeys(declared)) or [name for name in ("latency",) if name in common]
    if not chosen:
        raise NotEnoughData(
            f"No outcome is common to all experiments ({', '.join(sorted(common)) or 'none'}); pass metrics=..."
        )
    return chosen


def _distinct(labels: list[str]) -> list[str]:
    """Labels, numbered where several experiments carry the same name."""
    seen: dict[str, int] = {}
    found = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        found.append(label if labels.count(label) == 1 else f"{label} #{seen[label]}")
    return found


def _is_yes_no(a: Sample, b: Sample) -> bool:
    return all(bool(np.isin(s.values, (0.0, 1.0)).all()) for s in (a, b))


def _read(value: float, scale: Scale) -> float:
    """From the scale of the analysis to the reader's: a log ratio becomes percent."""
    return 100 * math.expm1(value) if scale == "percent" else value


def _read_interval(interval: Interval, scale: Scale) -> Interval:
    low, high = (None if end is None else _read(end, scale) for end in (interval.low, interval.high))
    return between(low, high, interval.level, interval.method)


def _left(rest: meta.Synthesis | None, scale: Scale) -> Interval | None:
    return None if rest is None or rest.random.interval is None else _read_interval(rest.random.interval, scale)


def _excludes_0(interval: Interval) -> bool:
    return (interval.low is not None and interval.low > 0) or (interval.high is not None and interval.high < 0)
