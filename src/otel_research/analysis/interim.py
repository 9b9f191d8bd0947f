"""A look before the declared n: alpha is spent, or the interval holds at every look.

With a declared `sample_size` each look spends part of alpha (Lan & DeMets 1983, O'Brien-Fleming
type by default), whenever it is taken. Without one, or beyond it, an asymptotic confidence
sequence (Waudby-Smith et al. 2023) may be looked at as often as one likes. Either way the
look is data too: `Interim.note()` is the annotation to keep with the experiment, and the next
look reads it back.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import polars as pl

from otel_research.analysis import arms as sides
from otel_research.analysis import declared, fingerprint, rates
from otel_research.analysis.arms import Arm, Sample, all_positive, units_of
from otel_research.analysis.effect import aligned, design_of
from otel_research.analysis.means import average, no_percent, t_test
from otel_research.analysis.plan import Plan, scaled
from otel_research.analysis.result import Interval, Result
from otel_research.analysis.stats import sequential
from otel_research.analysis.stats.outcome import Outcome
from otel_research.analysis.units import Unit
from otel_research.errors import ConfigurationError, NotEnoughData
from otel_research.spans.where import Where

METHOD = "interim/1"
LOOK = "look"
"""Kind of the annotation that records a look: {"kind": "look", "outcome", "fraction", "n"}."""
TUNING = 500.0
"""Units in all at which a confidence sequence without a declared n is tightest."""


class Interim(Result, frozen=True, kw_only=True):
    """One look at a running comparison; there is no fixed-n p-value in it."""

    outcome: str
    baseline: str
    candidate: str
    rule: Literal["alpha spending", "confidence sequence"]
    look: int
    """1 for the first look at this outcome."""
    fraction: float | None
    """Share of the declared n per arm that is in; None without a declared n."""
    declared_n: int | None = None
    """What that share is of; None without a declared n, or where it has been reached."""
    improvement_pct: float | None
    """Percent (times: of the geometric mean), positive is better; percentage points for rates; None under a baseline
    that is not above 0."""
    improvement_ci: Interval | None
    """Holds at this look and all others together."""
    gain: float | None
    """How far the mean or rate is better, in the outcome's own unit; None for a geometric mean."""
    gain_ci: Interval | None
    """Holds like `improvement_ci`."""
    z: float
    boundary: float | None
    """|z| at or above which this look may stop the run."""
    nominal_alpha: float | None
    spent: float | None
    """Alpha spent by now."""
    anytime_p: float | None
    """Confidence sequence: a p-value that holds at every look."""
    stop: bool
    verdict: Literal["better", "worse", "continue"]

    @property
    def change_unit(self) -> Literal["%", "points"]:
        """Of `improvement_pct`: a rate changes by percentage points."""
        return "points" if self.estimand.startswith("rate of ") else "%"

    def note(self) -> dict[str, Any]:
        """What to record of this look, as an annotation."""
        return {"kind": LOOK, "outcome": self.outcome, "fraction": self.fraction, "declared_n": self.declared_n, "n": self.n,
                "z": self.z, "boundary": self.boundary, "spent": self.spent, "stop": self.stop}  # fmt: skip


def interim(
    baseline: Any,
    candidate: Any,
    *,
    metric: str | None = None,
    alpha: float = 0.05,
    spending: str = "obrien-fleming",
    paired: bool | str = "auto",
    unit: Unit | None = None,
    where: Where | None = None,
    tuning: float = TUNING,
    correction: str = "bonferroni",
) -> Interim:
    """One look at one outcome (default: the first declared one, else latency).

    `spending` is "obrien-fleming", "pocock" or "power:RHO". Several declared `primary` outcomes share alpha, so that any
    of them may be looked at (`correction="none"`: each has all of it). Earlier looks are read from both sides' annotations. Raises `NotEnoughData` where nothing can be said yet.
    """
    if not 0 < alpha < 0.5:
        raise ConfigurationError(f"alpha={alpha} is not between 0 and 0.5. Use 0.05.")
    if correction not in ("bonferroni", "none"):
        raise ConfigurationError(f'correction={correction!r}; use "bonferroni" or "none".')
    a, b = _arms(baseline, candidate, unit, where, metric)
    names, reasons = sides.outcomes([a, b], None if metric is None else (metric,))
    if not names:
        raise NotEnoughData(f"{metric or 'no outcome'} is not in both arms yet. {reasons or ''}".strip())
    name = declared.primary(a, b, names)[0] if metric is None else names[0]
    first, second = sides.samples([a, b], name)
    family = 1 if correction == "none" else declared.family(a, b, name)
    alpha /= family
    plan = Plan(
        outcome=name,
        estimand=_estimand(name, first, second),
        unit=sides.UNITS.get(name, "1"),
        direction=declared.direction(a, b, name),
        design=design_of(first, second, paired),
        alpha=alpha,
        seed=0,
        family=family,
    )
    x, y = aligned(first, second, plan.design)
    outcome = t_test(plan, x, y, log=plan.estimand == "geomean")
    size = declared.sample_size(a, b)
    have = min(units_of(a, x), units_of(b, y))
    earlier, spent = _earlier(a, b, name, size)
    plan = Plan(**{**plan.__dict__, "alpha": alpha - spent}) if spent < alpha else plan
    if size is not None and (not earlier or earlier[-1] < 1):
        found = _spending(plan, a, b, (x, y), outcome, min(1.0, have / size), earlier, spending)
        return msgspec.structs.replace(found, declared_n=size, spent=spent + (found.spent or 0.0))
    return _sequence(plan, a, b, (x, y), outcome, len(earlier), tuning)


def _spending(
    plan: Plan, a: Arm, b: Arm, pair: tuple[Sample, Sample], outcome: Outcome, fraction: float,
    earlier: list[float], spending: str,
) -> Interim:  # fmt: skip
    # Looking twice at the same data is one look.
    fractions = [each for each in earlier if each < fraction - 1e-9] + [fraction]
    bounds = sequential.spending_boundary(fractions, plan.alpha, spending)
    boundary = bounds.z[-1]
    z = _z(outcome)
    method = f"repeated interval, {bounds.method}"
    shown, reasons = _shown(plan, pair, outcome, boundary * (outcome.se or 0.0), method)
    return Interim(
        **shown,
        **_common(plan, a, b, pair, outcome, z, len(fractions), abs(z) >= boundary),
        rule="alpha spending",
        fraction=fraction,
        boundary=boundary,
        nominal_alpha=bounds.nominal[-1],
        spent=bounds.spent[-1],
        anytime_p=None,
        reasons={"anytime_p": "the run has a declared n: alpha is spent instead", **reasons},
    )


def _sequence(
    plan: Plan, a: Arm, b: Arm, pair: tuple[Sample, Sample], outcome: Outcome, looks: int, tuning: float
) -> Interim:
    n = pair[0].n + pair[1].n
    if outcome.estimate is None or outcome.se is None:
        raise NotEnoughData(f"{plan.outcome} has no standard error yet, so there is nothing to monitor.")
    held = sequential.confidence_sequence(outcome.estimate, outcome.se, n, tuning=tuning, alpha=plan.alpha)
    assert held.interval is not None
    half = held.interval.high - outcome.estimate if held.interval.high is not None else 0.0
    shown, reasons = _shown(plan, pair, outcome, half, held.method)
    p = sequential.sequence_p_value(outcome.estimate, outcome.se, n, tuning=tuning, alpha=plan.alpha)
    z = _z(outcome)
    why = "no sample size was declared, or it is reached: the confidence sequence holds at every look"
    return Interim(
        **shown,
        **_common(plan, a, b, pair, outcome, z, looks + 1, abs(outcome.estimate) > half),
        rule="confidence sequence",
        fraction=None,
        boundary=None,
        nominal_alpha=None,
        spent=None,
        anytime_p=p,
        reasons=dict.fromkeys(("fraction", "boundary", "nominal_alpha", "spent"), why) | reasons,
    )


def _common(
    plan: Plan, a: Arm, b: Arm, pair: tuple[Sample, Sample], outcome: Outcome, z: float, look: int, stop: bool
) -> dict[str, Any]:  # fmt: skip
    n = pair[0].n + pair[1].n
    items = n if pair[0].items is None else len({*pair[0].distinct.tolist(), *pair[1].distinct.tolist()})
    return {
        "estimand": f"{plan.estimand} of {plan.outcome}: {b.label} against {a.label}",
        "unit": a.table.unit if a.table is not None else "value",
        "n": n,
        "n_units": n if plan.design == "independent" else items,
        "method": f"{METHOD} ({outcome.method}; polars {pl.__version__})",
        "alpha": plan.alpha,
        "assumptions": _assumptions(plan),
        "data_hash": fingerprint.of_values(pair[0].values, pair[1].values),
        "outcome": plan.outcome,
        "baseline": a.label,
        "candidate": b.label,
        "look": look,
        "z": plan.better * z,
        "stop": stop,
        "verdict": ("better" if plan.better * z > 0 else "worse") if stop else "continue",
    }


def _assumptions(plan: Plan) -> tuple[str, ...]:
    told = ("increments between looks are independent and close to normal",)
    shared = f"alpha is shared by {plan.family} declared outcomes (Bonferroni)"
    return told if plan.family == 1 else (*told, shared)


def _z(outcome: Outcome) -> float:
    """The t statistic as the normal quantile of the same p, so that small samples do not cross too easily."""
    from scipy.special import ndtri

    if outcome.p_value > 1e-300:
        return math.copysign(-float(ndtri(outcome.p_value / 2)), outcome.statistic)
    return outcome.statistic


def _shown(
    plan: Plan, pair: tuple[Sample, Sample], outcome: Outcome, half: float, method: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """What was found so far, in percent and in the outcome's own unit, and why one of them is not known."""
    level, estimate = 1 - plan.alpha, outcome.estimate or 0.0
    ends = sorted(plan.better * (estimate + side * half) for side in (-1, 1))
    found = plan.better * estimate, Interval(low=ends[0], high=ends[1], level=level, method=method)
    none: dict[str, Any] = dict.fromkeys(("improvement_pct", "improvement_ci", "gain", "gain_ci"))
    if plan.estimand == "geomean":
        why = "the geometric mean changes by a factor: see improvement_pct"
        low, high = (_ratio(plan, end) for end in ends)
        ci = Interval(low=low, high=high, level=level, method=method)
        shown = {"improvement_pct": _ratio(plan, found[0]), "improvement_ci": ci}
        return none | shown, dict.fromkeys(("gain", "gain_ci"), why)
    shown = {"gain": found[0], "gain_ci": found[1]}
    absent = None if plan.estimand == "rate" else no_percent(plan, *pair)
    if absent:
        return none | shown, dict.fromkeys(("improvement_pct", "improvement_ci"), absent)
    by = 100 / (1 if plan.estimand == "rate" else average(pair[0], plan, pair[1]))
    return shown | {"improvement_pct": by * found[0], "improvement_ci": scaled(found[1], by)}, {}


def _estimand(name: str, first: Sample, second: Sample) -> str:
    """What is compared of the outcome's values: as in `compare`, for times their geometric mean."""
    if declared.is_time(name) and all_positive(first, second):
        return "geomean"
    return "rate" if rates.is_rate(name, first, second) else "mean"


def _ratio(plan: Plan, gain: float) -> float:
    """An improvement on the logarithms in percent of the baseline."""
    return plan.better * 100 * math.expm1(min(plan.better * gain, 700.0))


def _arms(baseline: Any, candidate: Any, unit: Unit | None, where: Where | None, metric: str | None) -> tuple[Arm, Arm]:
    chosen = unit or sides.best_unit([baseline, candidate])
    a, b = (sides.arm(side, chosen, where, name) for side, name in ((baseline, "baseline"), (candidate, "candidate")))
    if a.subject is None and b.subject is None:
        name = metric or "latency"
        a, b = (Arm(arm.label, None, None, {name: arm.frames["value"]}) for arm in (a, b))
    return a, b


def _earlier(a: Arm, b: Arm, name: str, size: int | None) -> tuple[list[float], float]:
    """Fractions of earlier looks at the outcome, rising, each once; and the alpha spent before the n was amended."""
    notes = [note for arm in (a, b) if arm.subject for note in arm.subject.annotations]
    looks = [
        note for note in notes if note.get("kind") == LOOK and note.get("outcome") == name and note.get("fraction")
    ]
    mine = {float(note["fraction"]) for note in looks if note.get("declared_n", size) == size or note["fraction"] >= 1}
    others = [float(note.get("spent") or 0.0) for note in looks if note.get("declared_n", size) != size]
    return sorted(mine), max(others, default=0.0)
