"""More than two groups, models of them, corrections, pooled experiments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from otel_research.analysis.stats import (
    agreement,
    corrections,
    describe,
    groups,
    linear,
    meta,
    mixed,
    posthoc,
    proportions,
)
from reference.case import Case, Numbers, ends


def kruskal(case: Case) -> Numbers:
    found = groups.kruskal(list(case.groups().values()))
    return {"H": found.statistic, "df": found.df, "p_value": found.p_value}


def friedman(case: Case) -> Numbers:
    rows = case.data["rows"] if "rows" in case.data else _wide(case)
    found = groups.friedman(rows)
    return {"chi2": found.statistic, "df": found.df, "p_value": found.p_value}


def _wide(case: Case) -> np.ndarray:
    block = case.columns.get("block", case.columns.get("subject"))
    treatment = case.columns.get("treatment", case.columns.get("group"))
    wide = case.frame.pivot(on=treatment, index=block, values=case.columns["value"], aggregate_function="mean")
    return wide.drop(block).to_numpy().astype(float)


def anova_oneway(case: Case) -> Numbers:
    found = groups.one_way(list(case.groups().values()))
    names = ("p_value", "df_between", "df_within", "ss_between", "ss_within", "residual_sd", "eta_squared")
    return {"F": found.f, **{name: getattr(found, name) for name in names}, "omega_squared": found.omega_squared}


def welch_anova(case: Case) -> Numbers:
    found = groups.welch_f(list(case.groups().values()))
    assert isinstance(found.df, tuple)
    return {"F": found.statistic, "df_num": found.df[0], "df_den": found.df[1], "p_value": found.p_value}


def anova_factorial(case: Case) -> Numbers:
    frame, names = case.frame, case.columns["factors"]
    interactions = "*" in case.params.get("formula", "*") or ":" in case.params.get("formula", "*")
    factors = {name: frame[name].to_list() for name in names}
    found: dict[str, Any] = {}
    for kind in (1, 2, 3):
        fit = linear.factorial(case.values(), factors, type=kind, interactions=interactions)
        found[f"type{kind}"] = {
            term.name: {"sum_sq": term.ss, "df": term.df, "F": term.f, "p_value": term.p_value,
                        "partial_eta_sq": term.partial_eta_squared, "partial_omega_sq": term.omega_squared}
            for term in fit.terms
        }  # fmt: skip
        found["residual"] = {"sum_sq": fit.residual_ss, "df": fit.residual_df}
    return found


def anova_rm(case: Case) -> Numbers:
    frame, within = case.frame, case.columns["within"]
    names = [within] if isinstance(within, str) else within
    rows = mixed.repeated(case.values(), frame[case.columns["subject"]].to_list(),
                           {name: frame[name].to_list() for name in names})  # fmt: skip
    tables = {
        row.name: {"F": row.f, "df_num": row.df_num, "df_den": row.df_den, "p_value": row.p_value,
                   "ss_effect": row.ss_effect, "ss_error": row.ss_error}
        for row in rows
    }  # fmt: skip
    return {**tables[rows[0].name], **tables}


def _compared(found: list[posthoc.Comparison]) -> Numbers:
    return {
        f"{row.a}-{row.b}": {"diff": row.difference, "p_adj": row.p_adjusted, "p": row.p_value, "z": row.statistic,
                             "t": row.statistic, "q": row.statistic, **ends(row.interval)}
        for row in found
    }  # fmt: skip


def _in_level_order(case: Case) -> dict[str, np.ndarray]:
    """Groups in the order that the case's own pairs (later-earlier) imply; R may have set the levels."""
    samples = case.groups()
    pairs = [name.split("-") for name in case.expected]
    earlier = {name: {pair[1] for pair in pairs if pair[0] == name} for name in samples}
    return dict(sorted(samples.items(), key=lambda item: len(earlier[item[0]])))


def tukey_hsd(case: Case) -> Numbers:
    samples = _in_level_order(case)
    if "residual_model" not in case.params:
        return _compared(posthoc.tukey(samples, case.confidence))
    names = [case.columns["group"], case.columns["other"]]
    factors = {name: case.frame[name].to_list() for name in names}
    fit = linear.factorial(case.values(), factors, type=1, interactions="*" in case.params["residual_model"])
    means = {name: describe.mean(values) for name, values in samples.items()}
    sizes = {name: values.size for name, values in samples.items()}
    return _compared(posthoc.tukey_of_model(means, sizes, fit.residual_ms, fit.residual_df, case.confidence))


def games_howell(case: Case) -> Numbers:
    return _compared(posthoc.games_howell(_in_level_order(case), case.confidence))


def dunnett(case: Case) -> Numbers:
    return _compared(posthoc.dunnett(case.groups(), str(case.columns["control"]), case.confidence))


def dunn(case: Case) -> Numbers:
    return _compared(posthoc.dunn(_in_level_order(case), case.params.get("p_adjust", "holm").lower()))


def homogeneity(case: Case) -> Numbers:
    samples = list(case.groups().values())
    median, average = groups.levene(samples), groups.levene(samples, center="mean")
    bartlett, fligner = groups.bartlett(samples), groups.fligner(samples)
    return {
        "levene_median_W": median.statistic, "levene_p": median.p_value, "levene_median_p": median.p_value,
        "levene_mean_W": average.statistic, "levene_mean_p": average.p_value,
        "bartlett_T": bartlett.statistic, "bartlett_p": bartlett.p_value,
        "fligner_chi2": fligner.statistic, "fligner_p": fligner.p_value,
    }  # fmt: skip


def mixed_model(case: Case) -> Numbers:
    fixed, group = case.columns["fixed"], case.frame[case.columns["group"]].to_list()
    names = [fixed] if isinstance(fixed, str) else fixed
    slope = case.columns.get("random_slope", case.params.get("random_slope"))
    found = mixed.mixed(case.values(), {name: case.frame[name].to_list() for name in names}, group, slope=slope)
    first = next(name for name in found.coefficients if name != "Intercept")
    return {
        "intercept": found.coefficients["Intercept"], "slope": found.coefficients[first], "slope_se": found.se[first],
        "intercept_se": found.se["Intercept"], "effect": found.coefficients[first], "effect_se": found.se[first],
        "var_group": found.var_group, "var_slope": found.var_slope, "cov": found.covariance,
        "var_resid": found.var_residual, "icc": found.icc, "loglik_reml": found.log_likelihood,
    }  # fmt: skip


def icc(case: Case) -> Numbers:
    frame, names = case.frame, case.columns
    found = agreement.intraclass(frame[names["target"]], frame[names["rater"]], case.values())
    limits = {key: value for name, one in found.items() for key, value in ends(one.interval, name).items()}
    return {**{name: one.value for name, one in found.items()}, **limits}


def meta_analysis(case: Case) -> Numbers:
    found = meta.random_effects(case.data["yi"], case.data["vi"], case.confidence)
    wald = proportions.z_of(case.confidence) * found.se_wald
    return {
        "re_estimate": found.random.value, "re_se": found.se_wald, "tau2": found.tau2, "I2": found.i2, "H2": found.h2,
        "re_ci_low": found.random.value - wald, "re_ci_high": found.random.value + wald,
        "Q": found.q, "Q_p": found.q_p, "fe_estimate": found.fixed.value, "fe_se": found.fixed.se,
        "hk_se": found.random.se, **ends(found.random.interval, "hk_ci"), **ends(found.prediction, "pi"),
    }  # fmt: skip


def _adjusted(method: str) -> Callable[[Case], Numbers]:
    def adapter(case: Case) -> Numbers:
        adjusted = corrections.adjust(case.data["p"], method)
        return {"adjusted": adjusted, "n_reject_05": sum(p <= 0.05 for p in adjusted),
                "n_reject_10": sum(p <= 0.1 for p in adjusted)}  # fmt: skip

    return adapter


KINDS: dict[str, Callable[[Case], Numbers]] = {
    "anova_factorial": anova_factorial,
    "anova_oneway": anova_oneway,
    "anova_rm": anova_rm,
    "bh": _adjusted("bh"),
    "bonferroni": _adjusted("bonferroni"),
    "by": _adjusted("by"),
    "dunn": dunn,
    "dunnett": dunnett,
    "friedman": friedman,
    "games_howell": games_howell,
    "holm": _adjusted("holm"),
    "homogeneity": homogeneity,
    "icc": icc,
    "kruskal": kruskal,
    "meta_analysis": meta_analysis,
    "mixed_model": mixed_model,
    "tukey_hsd": tukey_hsd,
    "welch_anova": welch_anova,
}
