"""Power and sample size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from otel_research.analysis.stats import effects, power
from reference.case import Case, Numbers


def power_of(case: Case) -> Numbers:
    """One design; whichever of n, power, effect or alpha the case leaves out is solved for."""
    given = dict(case.params)
    test, alternative = given.pop("test"), _power_side(given.pop("alternative", "two-sided"))
    alpha, target = given.get("alpha", 0.05), given.get("power")
    effect = next((name for name in ("d", "h", "f", "w", "r", "f2") if name in given), None)
    n = given.get("n", given.get("n1"))

    def at(n: float | None, size: float, alpha: float) -> float:
        other = given.get("n2")
        match test:
            case "t2" | "t2n":
                return power.power_t(size, n, alpha, n_b=other, alternative=alternative)
            case "t1" | "tp" | "paired" | "t_paired":
                return power.power_t(size, n, alpha, design="one-sample", alternative=alternative)
            case "prop2_normal_pooled":
                return power.power_proportions(given["p1"], given["p2"], n, alpha, alternative)
            case "prop2" | "prop2_arcsine" | "2p" | "2p2n" | "prop2n":
                return power.power_h(_h(given, size), n, alpha, n_b=other, alternative=alternative)
            case "prop1" | "p" | "prop1_arcsine":
                return power.power_h_one(_h(given, size), n, alpha, alternative)
            case "anova":
                return power.power_anova(size, given["k"], n, alpha)
            case "chisq":
                return power.power_chi_square(size, n, given["df"], alpha)
            case "f2":
                return power.power_f2(size, given["u"], given["v"] if n is None else n, alpha)
            case "r" | "correlation":
                return power.power_correlation(size, n, alpha, alternative)
            case "norm" | "normal":
                return power.power_normal(size, 1 / math.sqrt(n), alpha, alternative)
            case "mcnemar":
                return power.power_paired_proportions(given["p10"], given["p01"], n, alpha)
        raise AssertionError(f"power test {test!r} is not mapped")

    size = given[effect] if effect else 0.0
    if target is None:
        return {"power": at(n, size, alpha)}
    if n is None:
        found = power.solve(lambda n: at(n, size, alpha), target, 4.0 if test in ("r", "correlation") else 2.0, 1e7)
        return {"n_per_group": found, "n": found, "n_ceil": math.ceil(found), "n_total": found * given.get("k", 2)}
    if effect is None and "p1" not in given:
        found = power.solve(lambda size: at(n, size, alpha), target, 1e-6, 0.999 if test == "r" else 20.0, "effect")
        return dict.fromkeys(("d", "h", "f", "w", "r", "f2", "mde"), found)
    return {"alpha": power.solve(lambda alpha: at(n, size, alpha), target, 1e-9, 0.999, "alpha")}


def _power_side(given: str) -> str:
    return {"two.sided": "two-sided", "greater": "larger", "less": "smaller"}.get(given, given)


def _h(given: Mapping[str, Any], size: float) -> float:
    return effects.cohens_h(given["p1"], given["p2"]) if "p1" in given else size


def power_miller(case: Case) -> Numbers:
    p = case.params
    design = [p[name] for name in ("omega2", "sigma2_a", "sigma2_b")] + [p.get("k_a", 1), p.get("k_b", 1)]
    alpha, target = p.get("alpha", 0.05), p.get("power", 0.8)
    n = power.items_needed(p["delta"], *design, alpha, target)
    found = {"n": n, "n_ceil": math.ceil(n)}
    if "n_for_mde" in p:
        found[f"mde_n{p['n_for_mde']}"] = power.detectable_difference(p["n_for_mde"], *design, alpha, target)
    return found


def power_quantile(case: Case) -> Numbers:
    return {"n": power.tail_n(case.params["p"], case.params["margin"], case.params["confidence"])}


def power_quantile_min_n(case: Case) -> Numbers:
    return {"n": power.tail_min_n(case.params["p"], case.params["confidence"])}


KINDS: dict[str, Callable[[Case], Numbers]] = {
    "power": power_of,
    "power_miller": power_miller,
    "power_quantile": power_quantile,
    "power_quantile_min_n": power_quantile_min_n,
}
