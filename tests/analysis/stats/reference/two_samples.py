"""Two samples: tests, effect sizes, ratios, clusters, looks."""

from __future__ import annotations

import math
from collections.abc import Callable

from otel_research.analysis.stats import (
    clusters,
    describe,
    effects,
    equivalence,
    intervals,
    permutation,
    ratios,
    sequential,
    two_samples,
)
from reference.case import Case, Numbers, alternative, ends


def _t(outcome: two_samples.Outcome) -> Numbers:
    return {"t": outcome.statistic, "df": outcome.df, "p_value": outcome.p_value, "mean_diff": outcome.estimate,
            **ends(outcome.interval)}  # fmt: skip


def welch(case: Case) -> Numbers:
    options = {"confidence": case.confidence, "alternative": alternative(case)}
    if "mean_a" in case.data:
        return _t(two_samples.welch_from_moments(*case.moments(), **options))
    return _t(two_samples.welch(*case.arms(), **options))


def pooled_t(case: Case) -> Numbers:
    options = {"confidence": case.confidence, "alternative": alternative(case)}
    if "mean_a" in case.data:
        mean_a, sd_a, n_a, mean_b, sd_b, n_b = case.moments()
        found = two_samples.pooled_t_from_moments(mean_a, sd_a, n_a, mean_b, sd_b, n_b, **options)
        return {**_t(found), "pooled_sd": two_samples.pooled_sd(sd_a, n_a, sd_b, n_b)}
    a, b = case.arms()
    return {**_t(two_samples.pooled_t(a, b, **options)), "pooled_sd": effects.cohens_d(a, b).pooled_sd}


def paired_t(case: Case) -> Numbers:
    return _t(two_samples.paired_t(*case.arms(), confidence=case.confidence, alternative=alternative(case)))


def geomean_ratio(case: Case) -> Numbers:
    a, b = case.arms()
    found = two_samples.log_welch(b, a, confidence=case.confidence)
    return {"ratio": found.estimate, "p_value": found.p_value, "df": found.df, **ends(found.interval)}


def relative_change(case: Case) -> Numbers:
    if "sum_a" in case.data:
        a, b = _mean_and_variance(case, "a"), _mean_and_variance(case, "b")
        found = ratios.relative_change_from_moments(*b, *a, case.confidence)
    else:
        a, b = case.arms()
        found = ratios.relative_change(b, a, case.confidence)
    return {"relative_change": found.value, "se": found.se, **{f"{k}_z": v for k, v in ends(found.interval).items()},
            **ends(found.interval)}  # fmt: skip


def _mean_and_variance(case: Case, arm: str) -> tuple[float, float, int]:
    total, squares, n = (case.data[f"{what}_{arm}"] for what in ("sum", "sumsq", "n"))
    return total / n, (squares - total**2 / n) / (n - 1), n


def anytime_cs(case: Case) -> Numbers:
    mean_a, var_a, n_a = _mean_and_variance(case, "a")
    mean_b, var_b, n_b = _mean_and_variance(case, "b")
    tuning, alpha = case.params["tuning"], case.params.get("alpha", 0.05)
    if case.params.get("relative"):
        change = ratios.relative_change_from_moments(mean_b, var_b, n_b, mean_a, var_a, n_a)
        effect, se = change.value, change.se
    else:
        effect, se = mean_b - mean_a, math.sqrt(var_a / n_a + var_b / n_b)
    found = sequential.confidence_sequence(effect, se, n_a + n_b, tuning=tuning, alpha=alpha)
    return {"effect": found.value, "se": se, "rho": sequential.sequence_rho(tuning, alpha), **ends(found.interval)}


def mannwhitney(case: Case) -> Numbers:
    a, b = case.arms()
    options = {"method": case.params.get("method", "asymptotic"), "continuity": case.params.get("continuity", True)}
    found = two_samples.mann_whitney(a, b, **options)
    return {
        "U": found.statistic,
        "p_value_two_sided": found.p_value,
        "p_value_two_sided_no_cc": two_samples.mann_whitney(a, b, method=options["method"], continuity=False).p_value,
        "p_value_greater": two_samples.mann_whitney(a, b, **options, alternative="greater").p_value,
        "p_value_less": two_samples.mann_whitney(a, b, **options, alternative="less").p_value,
        "prob_superiority": found.estimate,
    }


def wilcoxon(case: Case) -> Numbers:
    options = {"method": case.params.get("method", "auto"), "continuity": case.params.get("continuity", True),
               "zero_method": case.params.get("zero_method", "wilcox")}  # fmt: skip
    found = two_samples.wilcoxon(*case.arms(), **options)
    return {
        "V": found.statistic,
        "p_value_two_sided": found.p_value,
        "p_value_greater": two_samples.wilcoxon(*case.arms(), **options, alternative="greater").p_value,
        "p_value_less": two_samples.wilcoxon(*case.arms(), **options, alternative="less").p_value,
    }


def brunnermunzel(case: Case) -> Numbers:
    found = two_samples.brunner_munzel(*case.arms(), confidence=case.confidence)
    return {"statistic": found.statistic, "df": found.df, "p_value": found.p_value,
            "prob_superiority": found.estimate, **ends(found.interval)}  # fmt: skip


def permutation_test(case: Case) -> Numbers:
    return _permutation(permutation.permutation(*case.arms()))


def permutation_paired(case: Case) -> Numbers:
    return _permutation(permutation.permutation_paired(*case.arms()))


def _permutation(found: permutation.Permutation) -> Numbers:
    return {"mean_diff": found.mean_difference, "p_two_sided": found.p_two_sided, "p_greater": found.p_greater,
            "p_less": found.p_less}  # fmt: skip


def cohens_d(case: Case) -> Numbers:
    if "mean_a" in case.data:
        found = effects.cohens_d_from_moments(*case.moments(), confidence=case.confidence)
        n = case.data["n_a"] + case.data["n_b"]
    else:
        a, b = case.arms()
        found, n = effects.cohens_d(a, b, case.confidence), a.size + b.size
    rough = effects.hedges_correction_approximate(n - 2)
    return {
        "cohens_d": found.d, "hedges_g": found.g, "pooled_sd": found.pooled_sd, "var_d": found.var_d,
        "J": effects.hedges_correction(n - 2), "J_approx": rough, "hedges_g_approx": rough * found.d,
        "var_g": rough**2 * found.var_d, **ends(found.interval, "d_ci"), **ends(found.g_interval, "g_ci"),
    }  # fmt: skip


def cohens_d_paired(case: Case) -> Numbers:
    found = effects.cohens_d_paired(*case.arms(), case.confidence)
    return {**{name: estimate.value for name, estimate in found.items()}, **ends(found["d_z"].interval)}


def cliffs_delta(case: Case) -> Numbers:
    a, b = case.arms()
    found = effects.cliffs_delta(a, b, case.confidence)
    return {"delta": found.value, "vargha_delaney_A": effects.vargha_delaney(a, b), **ends(found.interval)}


def tost(case: Case) -> Numbers:
    a, b = case.arms()
    found = equivalence.tost(
        a, b, case.params["low"], case.params["high"], alpha=case.params.get("alpha", 0.05),
        is_paired=bool(case.params.get("paired")), equal_var=case.params.get("usevar") in ("equal", "pooled"),
    )  # fmt: skip
    return {"p_lower": found.p_lower, "p_upper": found.p_upper, "p_tost": found.p_value,
            **ends(found.interval, "ci90")}  # fmt: skip


def bootstrap_diff_ci(case: Case) -> Numbers:
    (a, b), name = case.arms(), case.params["statistic"]
    n_resamples = case.params.get("min_resamples", 20_000)
    if name.startswith("p") or name == "median":
        p = 0.5 if name == "median" else float(name[1:]) / 100
        found = intervals.bootstrap_quantile_difference(b, a, p, confidence=case.confidence, n_resamples=n_resamples)
    else:
        statistic = {"mean": describe.mean, "geomean": describe.geomean}[name]
        found = intervals.bootstrap([b, a], lambda x, y: statistic(x) - statistic(y), confidence=case.confidence,
                                    n_resamples=n_resamples)  # fmt: skip
    return {"diff": found.value, **ends(found.interval, "perc")}


def ratio_metric(case: Case) -> Numbers:
    top, bottom = case.values("numerator"), case.values("denominator")
    if "cluster" in case.columns:
        found = ratios.clustered_ratio(top, bottom, case.frame[case.columns["cluster"]].to_numpy(), case.confidence)
    else:
        found = ratios.ratio_of_means(top, bottom, case.confidence)
    return {"ratio": found.value, "se": found.se, **ends(found.interval)}


def cuped(case: Case) -> Numbers:
    (a, b), (units_a, units_b) = case.arms(), case.labels("unit")
    before, after = clusters.item_means(a, units_a), clusters.item_means(b, units_b)
    shared = [unit for unit in after if unit in before]
    found = clusters.cuped([after[unit] for unit in shared], [before[unit] for unit in shared])
    return {"theta": found.theta, "mean_b": found.mean, "se_raw": found.se_raw, "se_cuped": found.se_adjusted,
            "variance_reduction": found.variance_reduction}  # fmt: skip


def clustered_se(case: Case) -> Numbers:
    frame, cluster = case.frame, case.columns["cluster"]
    labels = [frame[name].to_numpy() for name in ([cluster] if isinstance(cluster, str) else cluster)]
    found = clusters.regression(case.values("y"), [case.values("x")], labels)
    return {"beta": found.coefficients[1], "se_cluster": found.se_cluster[1], "se_naive": found.se_naive[1],
            "intercept": found.coefficients[0], "se_cluster_intercept": found.se_cluster[0]}  # fmt: skip


def clustered_se_mean(case: Case) -> Numbers:
    found = clusters.clustered_mean(case.values(), case.frame[case.columns["cluster"]].to_numpy())
    names = ("mean", "se_naive", "se_cr0", "se_cr1", "se_cr2", "df_cr2")
    return {name: getattr(found, name) for name in names}


def clustered_diff(case: Case) -> Numbers:
    (a, b), (items_a, items_b) = case.arms(), case.labels("cluster")
    found = clusters.clustered_difference(b, items_b, a, items_a)
    return {"diff": found.coefficients[1], "se_naive": found.se_naive[1], "se_cr1": found.se_cluster[1]}


def group_sequential(case: Case) -> Numbers:
    p = case.params
    looks = p.get("information") or p.get("fractions") or p["looks"]
    alpha, sided, name = p.get("alpha", 0.05), p.get("sided", 2), p["type"].lower().replace("'", "")
    fractions = [(i + 1) / looks for i in range(looks)] if isinstance(looks, int) else looks
    if name in ("asof", "ldof") or ("lan" in name and "pocock" not in name) or "spending" in name:
        found = sequential.spending_boundary(fractions, alpha, "obrien-fleming", sided)
    elif name in ("asp", "ldpocock") or "lan" in name:
        found = sequential.spending_boundary(fractions, alpha, "pocock", sided)
    else:
        delta = p.get("delta", 0.5 if name in ("pocock", "p") else 0.0)
        found = sequential.constant_boundary(fractions, alpha, delta, sided)
    return {"z": found.z, "nominal_p": found.nominal, "alpha_spent": found.spent}


KINDS: dict[str, Callable[[Case], Numbers]] = {
    "anytime_cs": anytime_cs,
    "bootstrap_diff_ci": bootstrap_diff_ci,
    "brunnermunzel": brunnermunzel,
    "cliffs_delta": cliffs_delta,
    "clustered_diff": clustered_diff,
    "clustered_se": clustered_se,
    "clustered_se_mean": clustered_se_mean,
    "cohens_d": cohens_d,
    "cohens_d_paired": cohens_d_paired,
    "cuped": cuped,
    "geomean_ratio": geomean_ratio,
    "group_sequential": group_sequential,
    "mannwhitney": mannwhitney,
    "paired_t": paired_t,
    "permutation": permutation_test,
    "permutation_paired": permutation_paired,
    "pooled_t": pooled_t,
    "ratio_metric": ratio_metric,
    "relative_change": relative_change,
    "tost": tost,
    "welch": welch,
    "wilcoxon_signed_rank": wilcoxon,
}
