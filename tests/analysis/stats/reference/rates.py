"""Yes/no outcomes and counts of events."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from otel_research.analysis.stats import effects, events, proportions
from reference.case import Case, Numbers, alternative, ends


def cohens_h(case: Case) -> Numbers:
    given = case.data.get("pairs") or [[case.data["p1"], case.data["p2"]]]
    found = {f"h_{100 * p:g}_{100 * q:g}": effects.cohens_h(p, q) for p, q in given}
    return {**found, "h": effects.cohens_h(*given[0])}


def proportion_ci(case: Case) -> Numbers:
    k, n = case.data["successes"], case.data["n"]
    methods = {
        "wilson": proportions.wilson,
        "clopper_pearson": proportions.clopper_pearson,
        "agresti_coull": proportions.agresti_coull,
        "jeffreys": proportions.jeffreys,
    }
    found: dict[str, Any] = {"p": k / n}
    for name, method in methods.items():
        found |= ends(method(k, n, case.confidence), name)
    return found


def newcombe(case: Case) -> Numbers:
    found = proportions.newcombe(*(case.data[name] for name in ("k1", "n1", "k2", "n2")), case.confidence)
    return {"diff": found.value, **ends(found.interval)}


def newcombe_paired(case: Case) -> Numbers:
    table = [case.data[name] for name in ("both", "a_only", "b_only", "neither")]
    z = case.params.get("z")
    found = proportions.newcombe_paired(*table, case.confidence if z is None else math.erf(z / math.sqrt(2)))
    return {"diff": found.value, "phi": proportions.paired_phi(*table), **ends(found.interval)}


def proportions_test(case: Case) -> Numbers:
    k, n = case.data["successes"], case.data["n"]
    plain, corrected = proportions.chi_square(k, n), proportions.chi_square(k, n, correction=True)
    main = corrected if case.params.get("correct", case.params.get("correction", False)) else plain
    found = {"chi2": main.statistic, "df": main.df, "p_value": main.p_value,
             "chi2_cc": corrected.statistic, "p_cc": corrected.p_value}  # fmt: skip
    return {**found, "fisher_p": proportions.fisher(k[0], n[0], k[1], n[1]).p_value} if len(k) == 2 else found


def mcnemar(case: Case) -> Numbers:
    found = proportions.mcnemar(case.data["b"], case.data["c"])
    return {"chi2": found.chi2, "p_chi2": found.chi2_p, "chi2_cc": found.chi2_corrected,
            "p_cc": found.chi2_corrected_p, "p_exact": found.exact, "p_mid": found.mid_p}  # fmt: skip


def mtbf(case: Case) -> Numbers:
    confidence = 1 - case.params.get("alpha", 1 - case.confidence)
    total, failures = case.data["total_time"], case.data["failures"]
    two, one = events.mtbf(total, failures, confidence), events.mtbf(total, failures, confidence, one_sided=True)
    assert one.interval is not None
    return {"mtbf": two.value, "mean_time": two.value, **ends(two.interval), "ci_low_one_sided": one.interval.low}


def poisson_rate(case: Case) -> Numbers:
    found = events.poisson_rate(case.data["events"], case.data["exposure"], case.confidence)
    return {"rate": found.value, **ends(found.interval)}


def poisson_rate_ratio(case: Case) -> Numbers:
    (x, y), (s, t) = case.data["events"], case.data["exposure"]
    found = events.rate_ratio(x, s, y, t, confidence=case.confidence, alternative=alternative(case))
    return {"ratio": found.estimate, "p_value": found.p_value, **ends(found.interval)}


def srm(case: Case) -> Numbers:
    found = proportions.sample_ratio(case.data["observed"], case.data.get("expected_ratio"))
    return {"chi2": found.statistic, "df": found.df, "p_value": found.p_value}


KINDS: dict[str, Callable[[Case], Numbers]] = {
    "cohens_h": cohens_h,
    "mcnemar": mcnemar,
    "mtbf": mtbf,
    "newcombe": newcombe,
    "newcombe_paired": newcombe_paired,
    "poisson_rate": poisson_rate,
    "poisson_rate_ratio": poisson_rate_ratio,
    "proportion_ci": proportion_ci,
    "proportions_test": proportions_test,
    "srm": srm,
}
