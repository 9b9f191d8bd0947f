"""What `compare` returns: effects by outcome, checks of the design, a verdict, and the sentence to publish."""

from __future__ import annotations

from typing import Literal

import msgspec

from otel_research.analysis.items import Items
from otel_research.analysis.result import Interval, Result, Row, number
from otel_research.errors import NotEnoughData, ResearchError

Verdict = Literal["better", "worse", "equivalent", "inconclusive", "invalid"]
Direction = Literal["lower", "higher"]
Design = Literal["paired", "clustered", "independent"]


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """One test. `significant` is about the corrected p-value; None where no p-value may be given."""

    name: str
    method: str
    statistic: float | None = None
    df: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    significant: bool | None = None


class EffectSize(msgspec.Struct, frozen=True, kw_only=True):
    """Standardised effects, candidate minus baseline."""

    cohens_d: float | None = None
    """By the standard deviation within arms, pooled."""
    hedges_g: float | None = None
    cliffs_delta: float | None = None
    d_z: float | None = None
    """Paired designs: by the standard deviation of the differences."""
    cohens_h: float | None = None
    """Rates: difference after the arcsine transformation."""
    ci: dict[str, Interval] = {}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One number in both arms, and candidate minus baseline; `percent` is of the baseline."""

    baseline: float | None
    candidate: float | None
    difference: float | None = None
    percent: float | None = None
    ci: dict[str, Interval] = {}


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One outcome: its estimand in both arms, the change, and every test of it."""

    outcome: str
    estimand: str
    unit: str
    """The outcome's own unit: "ms", "USD", "tokens", "1"."""
    direction: Direction
    """Which direction is better."""
    design: Design
    n: tuple[int, int]
    """Units of analysis with a known value: baseline, candidate."""
    n_items: int | None
    """Independent items where units repeat or are paired."""
    main: Change
    """The estimand."""
    mean: Change
    improvement_pct: float | None
    """Change of the estimand in percent of the baseline, positive is better; percentage points for rates.

    None where the baseline is not above 0: no percentage says of such a change what it is. `gain` does.
    """
    improvement_ci: Interval | None
    test: Test
    """The estimand's own test."""
    tests: dict[str, Test]
    """The others beside it."""
    quantiles: dict[str, Change]
    effect_size: EffectSize
    mde_pct: float | None
    """Smallest change in percent that this n finds with 80 % power at alpha."""
    verdict: Verdict
    is_primary: bool = True
    equivalence: Test | None = None
    margin: float | None = None

    @property
    def gain(self) -> float | None:
        """How far the candidate's estimand is better than the baseline's, in the outcome's own unit."""
        difference = self.main.difference
        return difference if difference is None or self.direction == "higher" else -difference

    @property
    def gain_ci(self) -> Interval | None:
        """Its interval, where the estimand's difference has one."""
        ci = self.main.ci.get("difference")
        return ci if ci is None or self.direction == "higher" else ci.turned()


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check of the design. A failed one of severity "error" makes the comparison invalid."""

    name: str
    passed: bool
    severity: Literal["info", "warning", "error"]
    text: str
    value: float | None = None


class Comparison(Result, frozen=True, kw_only=True):
    """A candidate against a baseline. Signs: `_improvement` positive is better, `_change` and `_delta` candidate minus baseline."""

    baseline: str
    candidate: str
    headline: str
    """The outcome that the verdict is about."""
    verdict: Verdict
    latency_improvement: float | None
    """Percent of the estimand (geometric mean by default), positive is faster."""
    latency_p99_improvement: float | None
    cost_change: float | None
    """Percent of the mean cost per unit, positive is dearer."""
    reliability_delta: float | None
    """Success rate, candidate minus baseline, as a fraction."""
    statistical_test: Test
    effect_size: EffectSize
    minimum_detectable_effect: float | None
    """Of the headline outcome, in percent."""
    effects: dict[str, Effect]
    checks: tuple[Check, ...]
    cost_per_success_change: float | None = None
    """Percent, delta method."""
    correction: str = "holm"
    sections_ci: dict[str, Interval] = msgspec.field(default_factory=dict)
    """Intervals of latency_improvement, cost_change, reliability_delta, cost_per_success_change."""
    others: tuple[Comparison, ...] = ()
    """With several candidates: the comparison of each other one with the same baseline."""
    tied_with_best: tuple[str, ...] = ()
    """With several candidates: arms that the data cannot tell from the best one."""
    items: dict[str, Items] = msgspec.field(default_factory=dict)
    """By outcome: variance between and within items, items that flipped, pass@k."""
    methods: str = ""
    """One paragraph for a paper: what was compared and how, with library versions."""

    @property
    def exit_code(self) -> int:
        """0 better (or equivalent where a margin was asked for), 1 worse, 3 inconclusive or invalid."""
        return {"better": 0, "equivalent": 0, "worse": 1}.get(self.verdict, 3)

    def summary(self) -> str:
        """A few lines for people: verdict, effects with intervals and n, failed checks."""
        lines = [
            f"{self.candidate} against {self.baseline}: {self.verdict.upper()} ({self.headline}, unit {self.unit})"
        ]
        for effect in self.effects.values():
            lines.append("  " + sentence(effect, self.correction))
        if self.minimum_detectable_effect is not None:
            lines.append(
                f"  smallest detectable change of {self.headline} at this n: {self.minimum_detectable_effect:.3g} %"
            )
        lines += [f"  {check.severity}: {check.text}" for check in self.checks if not check.passed]
        if len(self.tied_with_best) > 1:
            lines.append(f"  cannot be told from the best: {', '.join(self.tied_with_best)}")
        lines += [f"  {other.summary()}".replace("\n", "\n  ") for other in self.others]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def shown(self) -> list[Row]:
        """The verdict and four lines per outcome; `rows()` has everything."""
        rows = [_line("verdict", text=f"{self.verdict} ({self.headline}, {self.candidate} against {self.baseline})")]
        for name, effect in self.effects.items():
            unit = "" if effect.unit == "1" else f" {effect.unit}"
            arms = f"{number(effect.main.baseline)} -> {number(effect.main.candidate)}{unit}"
            rows += [
                _line(f"{name}: {effect.estimand}", text=f"{arms} (n = {effect.n[0]:,} / {effect.n[1]:,})"),
                _improvement(name, effect),
                _line(f"{name}: adjusted p", effect.test.p_adjusted),
                _line(f"{name}: verdict", text=effect.verdict),
            ]
        return rows

    def to_markdown(self) -> str:
        """The table, the warnings and the methods paragraph."""
        return f"{super().to_markdown()}\n{self.methods}\n"

    def assert_improved(self, metric: str | None = None, *, by: float = 0.0, by_difference: float = 0.0) -> None:
        """Pass when the outcome (default: the headline) is better, corrected.

        `by`: by at least so many percent (points of a rate); `by_difference`: by at least so much in the outcome's own
        unit, also where a baseline that is not above 0 has no percent. Raises `AssertionError` with the summary where it is not, `ResearchError` for an unknown outcome.
        """
        name = metric or self.headline
        effect = self.effects.get(name)
        if effect is None:
            raise ResearchError(f"{name!r} was not compared. Compared: {', '.join(self.effects)}.")
        verdict = "invalid" if self.verdict == "invalid" else effect.verdict
        wanted = [
            f" by at least {least:g}{unit}{_no_interval(ci, self.reasons.get(why, ''))}"
            for least, unit, ci, why in (
                (by, " %", effect.improvement_ci, f"effects.{name}.improvement_pct"),
                (by_difference, "" if effect.unit == "1" else f" {effect.unit}", effect.gain_ci, ""),
            )
            if least > 0 and (ci is None or ci.low is None or ci.low < least)
        ]
        if verdict != "better" or wanted:
            raise AssertionError(
                f"{name} is not shown to have improved{' and'.join(wanted)}: {verdict}.\n{self.summary()}"
            )

    def effect(self, name: str) -> Effect:
        """The effect on one outcome; raises `NotEnoughData` where it was not compared."""
        if name not in self.effects:
            why = self.reasons.get(f"effects.{name}", f"compared were {', '.join(self.effects) or 'no outcomes'}")
            raise NotEnoughData(f"{name} has no effect here: {why}.")
        return self.effects[name]


def sentence(effect: Effect, correction: str) -> str:
    """One outcome in one line."""
    baseline, candidate = number(effect.main.baseline), number(effect.main.candidate)
    unit = "" if effect.unit == "1" else f" {effect.unit}"
    text = f"{effect.outcome}: {effect.estimand} {baseline} -> {candidate}{unit}"
    better, in_unit, ci = improvement(effect)
    if better:
        text += f", {abs(better):.3g}{in_unit} {'better' if better > 0 else 'worse'}"
        # "5 % worse [2 to 8]": the interval reads in the same direction as the number.
        text += "" if ci is None else f" [{ci if better > 0 else ci.turned()}]"
    p = effect.test.p_adjusted if effect.test.p_adjusted is not None else effect.test.p_value
    if p is not None:
        text += f", p = {p:.2g}" if p >= 1e-4 else ", p < 0.0001"
        text += f" ({effect.test.name}, {correction})"
    if effect.effect_size.cohens_d is not None:
        text += f", d = {effect.effect_size.cohens_d:.2f}"
    return f"{text}, n = {effect.n[0]:,} / {effect.n[1]:,}: {effect.verdict}"


def improvement(effect: Effect) -> tuple[float | None, str, Interval | None]:
    """How much better, its unit, its interval: in percent, or in the outcome's own unit where there is none."""
    if effect.improvement_pct is not None:
        return effect.improvement_pct, " points" if effect.estimand == "rate" else " %", effect.improvement_ci
    return effect.gain, "" if effect.unit == "1" else f" {effect.unit}", effect.gain_ci


def _improvement(name: str, effect: Effect) -> Row:
    better, unit, ci = improvement(effect)
    return _line(f"{name}: improvement,{unit or ' own unit'}", better, ci)


def _no_interval(ci: Interval | None, why: str) -> str:
    """What keeps a gate from being judged."""
    if ci is not None:
        return ""
    return f" (no change in percent: {why})" if why else " (it has no interval)"


def _line(field: str, value: float | None = None, ci: Interval | None = None, text: str | None = None) -> Row:
    low, high = (None, None) if ci is None else (ci.low, ci.high)
    return {"field": field, "value": value, "text": text, "low": low, "high": high, "reason": None}
