"""From effects to a verdict: better, worse, equivalent, inconclusive or invalid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from otel_research.analysis.comparison import Check, Effect, Verdict
from otel_research.analysis.result import Warn


def of(effect: Effect) -> Verdict:
    """One outcome: equivalent inside its margin, else by the corrected test and the interval's side.

    Where p is withheld (before the declared n) the interval holds at every look and decides alone.
    """
    if effect.equivalence is not None and effect.equivalence.significant:
        return "equivalent"
    change, ci = effect.gain, effect.improvement_ci or effect.gain_ci
    if change is None:
        return "inconclusive"
    if effect.test.significant is None:
        if effect.test.p_value is not None or ci is None or "sequence" not in ci.method:
            return "inconclusive"
        is_shown = _excludes_zero(ci.low, ci.high)
    else:
        # Corrected p and uncorrected interval agree unless the correction took the claim away.
        is_shown = effect.test.significant
    if not is_shown:
        return "inconclusive"
    return "better" if change > 0 else "worse"


def overall(effects: Mapping[str, Effect], headline: str, checks: Sequence[Check]) -> tuple[Verdict, list[Warn]]:
    """The headline's verdict, unless a check forbids it or another primary outcome got worse."""
    failed = [check for check in checks if not check.passed and check.severity == "error"]
    if failed:
        return "invalid", []
    verdict = effects[headline].verdict
    worse = [name for name, e in effects.items() if e.is_primary and e.verdict == "worse" and name != headline]
    if verdict == "better" and worse:
        text = f"{headline} is better, but {', '.join(worse)} got worse: a trade-off that no test can settle"
        return "inconclusive", [Warn(code="trade_off", severity="warning", text=text)]
    return verdict, []


def disagreement(effect: Effect, alpha: float) -> list[Warn]:
    """Tests of one outcome that fall on different sides of alpha, uncorrected."""
    found = {effect.test.name: effect.test.p_value} | {name: test.p_value for name, test in effect.tests.items()}
    known = {name: p for name, p in found.items() if p is not None}
    if len(known) < 2 or len({p < alpha for p in known.values()}) == 1:
        return []
    # The headline's own test is among the others too, under its short name.
    others = {name: p for name, p in known.items() if name == effect.test.name or p != effect.test.p_value}
    shown = ", ".join(f"{name.replace('_', ' ')} p = {p:.2g}" for name, p in others.items())
    text = f"{effect.outcome}: tests disagree ({shown}); the tail or the spread differs, not only the centre"
    return [Warn(code="tests_disagree", severity="info", text=text)]


def rank(effect: Effect) -> tuple[bool, float]:
    """Sorts candidates: the best first, an unknown change last."""
    change = effect.gain
    return (True, 0.0) if change is None else (False, -change)


def _excludes_zero(low: float | None, high: float | None) -> bool:
    return (low is not None and low > 0) or (high is not None and high < 0)
