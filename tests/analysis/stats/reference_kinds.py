"""How each kind of reference case is put to our functions: one short adapter per kind, in one mapping.

An adapter gets a `Case` and returns the numbers under the names the case expects. It may return more
than a case asks for; a name that the case expects and the adapter does not return fails the test.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from otel_research.analysis.stats import (
    agreement,
    clusters,
    corrections,
    describe,
    effects,
    equivalence,
    events,
    groups,
    intervals,
    linear,
    meta,
    mixed,
    outliers,
    permutation,
    posthoc,
    power,
    proportions,
    ratios,
    sequential,
    series,
    survival,
    tests,
)

FIXTURES = Path(
    os.environ.get("OTEL_RESEARCH_REFERENCE_CASES", Path(__file__).parents[4] / "shared" / "fixtures" / "statistics")
)
"""The shared cases beside the checkout; the variable names another folder of the same form."""

Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One case; `frame` is its data file with the case's filter applied."""

    id: str
    kind: str
    expected: dict[str, Any]
    rel: float
    abs: float
    data: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    data_file: str | None = None

    @property
    def confidence(self) -> float:
        return float(self.params.get("confidence", 0.95))

    @property
    def frame(self) -> pl.DataFrame:
        assert self.data_file is not None
        rows = pl.read_csv(FIXTURES / self.data_file, infer_schema_length=None)
        for name, value in self.columns.get("filter", {}).items():
            rows = rows.filter(pl.col(name).cast(pl.String) == str(value))
        return rows.head(self.columns["head"]) if "head" in self.columns else rows

    def values(self, column: str = "value") -> np.ndarray:
        """The values of one sample."""
        if self.data_file is None:
            return np.asarray(next(v for k, v in self.data.items() if k in ("y", "x", "values")), dtype=float)
        return self.frame[self.columns[column]].to_numpy().astype(float)

    def arms(self, column: str = "value") -> tuple[np.ndarray, np.ndarray]:
        """The two samples compared, in the order of pairs where there are pairs."""
        if self.data_file is None:
            return np.asarray(self.data["a"], dtype=float), np.asarray(self.data["b"], dtype=float)
        frame = self.frame.sort(self.columns["pair"], maintain_order=True) if "pair" in self.columns else self.frame
        group = frame[self.columns["group"]].cast(pl.String)
        one, two = (
            frame.filter(group == str(self.columns[arm]))[self.columns[column]].to_numpy() for arm in ("a", "b")
        )
        return one.astype(float), two.astype(float)

    def labels(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """A label column of the two arms."""
        group = self.frame[self.columns["group"]].cast(pl.String)
        return tuple(
            self.frame.filter(group == str(self.columns[arm]))[self.columns[column]].to_numpy() for arm in ("a", "b")
        )  # type: ignore[return-value]

    def groups(self) -> dict[str, np.ndarray]:
        """All groups by name, in the order of R's factor levels."""
        if self.data_file is None:
            return {str(k): np.asarray(v, dtype=float) for k, v in self.data.get("groups", self.data).items()}
        name = self.columns["group"]
        return {
            str(key[0]): part[self.columns["value"]].to_numpy().astype(float)
            for key, part in self.frame.sort(name, maintain_order=True).group_by(name, maintain_order=True)
        }

    def moments(self) -> list[float]:
        return [self.data[f"{what}_{arm}"] for arm in "ab" for what in ("mean", "sd", "n")]


def cases() -> list[Case]:
    document = json.loads((FIXTURES / "reference_cases.json").read_text())
    names = ("id", "kind", "expected", "data", "columns", "params", "data_file")
    return [
        Case(
            **{name: case[name] for name in names if name in case},
            rel=case["tolerance"]["rel"],
            abs=case["tolerance"]["abs"],
        )
        for case in document["cases"]
    ]


def leaves(expected: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every expected number with the path to it."""
    if isinstance(expected, Mapping):
        for name, value in expected.items():
            yield from leaves(value, (*path, name))
    elif isinstance(expected, list):
        for index, value in enumerate(expected):
            yield from leaves(value, (*path, str(index)))
    else:
        yield path, expected


def at(found: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        found = found[int(step)] if isinstance(found, (list, tuple)) else found[step]
    return found


def _t(outcome: tests.Outcome) -> Numbers:
    return {"t": outcome.statistic, "df": outcome.df, "p_value": outcome.p_value, "mean_diff": outcome.estimate,
            **_ends(outcome.interval)}  # fmt: skip


def _ends(interval: Any, prefix: str = "ci") -> Numbers:
    return {} if interval is None else {f"{prefix}_low": interval.low, f"{prefix}_high": interval.high}


def _alternative(case: Case) -> Any:
    given = case.params.get("alternative", "two-sided")
    return {"two.sided": "two-sided", "larger": "greater", "smaller": "less"}.get(given, given)


def descriptive(case: Case) -> Numbers:
    found = describe.describe(case.values())
    return {
        **{name.replace("_", "."): value for name, value in found.quantiles.items()},
        **{name: getattr(found, name) for name in ("count", "mean", "median", "min", "max", "stdev", "variance")},
        **{name: getattr(found, name) for name in ("iqr", "mad", "geomean")},
    }


def quantile(case: Case) -> Numbers:
    probs = case.params["probs"]
    kind = case.params.get("hyndman_fan_type", 7)
    return _by_percent(probs, describe.quantiles(case.values(), probs, kind))


def hd_quantile(case: Case) -> Numbers:
    probs = case.params["probs"]
    return _by_percent(probs, describe.harrell_davis(case.values(), probs))


def _by_percent(probs: list[float], values: list[float]) -> Numbers:
    return {f"p{100 * p:.10g}": value for p, value in zip(probs, values, strict=True)}


def quantile_ci(case: Case) -> Numbers:
    interval, lower, upper = describe.quantile_interval(case.values(), case.params["p"], case.confidence)
    return {"lower_rank": lower, "upper_rank": upper, **_ends(interval)}


def autocorrelation(case: Case) -> Numbers:
    return {f"r{lag}": series.autocorrelation(case.values(), lag) for lag in range(1, 11)}


def ljung_box(case: Case) -> Numbers:
    values = case.values()
    found = series.ljung_box(values, case.params.get("lags", case.params.get("lag", 10)))
    return {**autocorrelation(case), "Q": found.statistic, "df": found.df, "p_value": found.p_value,
            "n_eff_ar1": series.effective_n(values)}  # fmt: skip


def welch(case: Case) -> Numbers:
    options = {"confidence": case.confidence, "alternative": _alternative(case)}
    if "mean_a" in case.data:
        return _t(tests.welch_from_moments(*case.moments(), **options))
    return _t(tests.welch(*case.arms(), **options))


def pooled_t(case: Case) -> Numbers:
    options = {"confidence": case.confidence, "alternative": _alternative(case)}
    if "mean_a" in case.data:
        mean_a, sd_a, n_a, mean_b, sd_b, n_b = case.moments()
        found = tests.pooled_t_from_moments(mean_a, sd_a, n_a, mean_b, sd_b, n_b, **options)
        return {**_t(found), "pooled_sd": tests.pooled_sd(sd_a, n_a, sd_b, n_b)}
    a, b = case.arms()
    return {**_t(tests.pooled_t(a, b, **options)), "pooled_sd": effects.cohens_d(a, b).pooled_sd}


def paired_t(case: Case) -> Numbers:
    return _t(tests.paired_t(*case.arms(), confidence=case.confidence, alternative=_alternative(case)))


def geomean_ratio(case: Case) -> Numbers:
    a, b = case.arms()
    found = tests.log_welch(b, a, confidence=case.confidence)
    return {"ratio": found.estimate, "p_value": found.p_value, "df": found.df, **_ends(found.interval)}


def relative_change(case: Case) -> Numbers:
    if "sum_a" in case.data:
        a, b = _mean_and_variance(case, "a"), _mean_and_variance(case, "b")
        found = ratios.relative_change_from_moments(*b, *a, case.confidence)
    else:
        a, b = case.arms()
        found = ratios.relative_change(b, a, case.confidence)
    return {"relative_change": found.value, "se": found.se, **{f"{k}_z": v for k, v in _ends(found.interval).items()},
            **_ends(found.interval)}  # fmt: skip


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
    return {"effect": found.value, "se": se, "rho": sequential.sequence_rho(tuning, alpha), **_ends(found.interval)}


def mannwhitney(case: Case) -> Numbers:
    a, b = case.arms()
    options = {"method": case.params.get("method", "asymptotic"), "continuity": case.params.get("continuity", True)}
    found = tests.mann_whitney(a, b, **options)
    return {
        "U": found.statistic,
        "p_value_two_sided": found.p_value,
        "p_value_two_sided_no_cc": tests.mann_whitney(a, b, method=options["method"], continuity=False).p_value,
        "p_value_greater": tests.mann_whitney(a, b, **options, alternative="greater").p_value,
        "p_value_less": tests.mann_whitney(a, b, **options, alternative="less").p_value,
        "prob_superiority": found.estimate,
    }


def wilcoxon(case: Case) -> Numbers:
    options = {"method": case.params.get("method", "auto"), "continuity": case.params.get("continuity", True),
               "zero_method": case.params.get("zero_method", "wilcox")}  # fmt: skip
    found = tests.wilcoxon(*case.arms(), **options)
    return {
        "V": found.statistic,
        "p_value_two_sided": found.p_value,
        "p_value_greater": tests.wilcoxon(*case.arms(), **options, alternative="greater").p_value,
        "p_value_less": tests.wilcoxon(*case.arms(), **options, alternative="less").p_value,
    }


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


def brunnermunzel(case: Case) -> Numbers:
    found = tests.brunner_munzel(*case.arms(), confidence=case.confidence)
    return {"statistic": found.statistic, "df": found.df, "p_value": found.p_value,
            "prob_superiority": found.estimate, **_ends(found.interval)}  # fmt: skip


def permutation_test(case: Case) -> Numbers:
    return _permutation(permutation.permutation(*case.arms()))


def permutation_paired(case: Case) -> Numbers:
    return _permutation(permutation.permutation_paired(*case.arms()))


def _permutation(found: permutation.Permutation) -> Numbers:
    return {"mean_diff": found.mean_difference, "p_two_sided": found.p_two_sided, "p_greater": found.p_greater,
            "p_less": found.p_less}  # fmt: skip


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
                             "t": row.statistic, "q": row.statistic, **_ends(row.interval)}
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
        "var_g": rough**2 * found.var_d, **_ends(found.interval, "d_ci"), **_ends(found.g_interval, "g_ci"),
    }  # fmt: skip


def cohens_d_paired(case: Case) -> Numbers:
    found = effects.cohens_d_paired(*case.arms(), case.confidence)
    return {**{name: estimate.value for name, estimate in found.items()}, **_ends(found["d_z"].interval)}


def cliffs_delta(case: Case) -> Numbers:
    a, b = case.arms()
    found = effects.cliffs_delta(a, b, case.confidence)
    return {"delta": found.value, "vargha_delaney_A": effects.vargha_delaney(a, b), **_ends(found.interval)}


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
        found |= _ends(method(k, n, case.confidence), name)
    return found


def newcombe(case: Case) -> Numbers:
    found = proportions.newcombe(*(case.data[name] for name in ("k1", "n1", "k2", "n2")), case.confidence)
    return {"diff": found.value, **_ends(found.interval)}


def newcombe_paired(case: Case) -> Numbers:
    table = [case.data[name] for name in ("both", "a_only", "b_only", "neither")]
    z = case.params.get("z")
    found = proportions.newcombe_paired(*table, case.confidence if z is None else math.erf(z / math.sqrt(2)))
    return {"diff": found.value, "phi": proportions.paired_phi(*table), **_ends(found.interval)}


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


def _adjusted(method: str) -> Callable[[Case], Numbers]:
    def adapter(case: Case) -> Numbers:
        adjusted = corrections.adjust(case.data["p"], method)
        return {"adjusted": adjusted, "n_reject_05": sum(p <= 0.05 for p in adjusted),
                "n_reject_10": sum(p <= 0.1 for p in adjusted)}  # fmt: skip

    return adapter


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


def ratio_metric(case: Case) -> Numbers:
    top, bottom = case.values("numerator"), case.values("denominator")
    if "cluster" in case.columns:
        found = ratios.clustered_ratio(top, bottom, case.frame[case.columns["cluster"]].to_numpy(), case.confidence)
    else:
        found = ratios.ratio_of_means(top, bottom, case.confidence)
    return {"ratio": found.value, "se": found.se, **_ends(found.interval)}


def cuped(case: Case) -> Numbers:
    (a, b), (units_a, units_b) = case.arms(), case.labels("unit")
    before, after = clusters.item_means(a, units_a), clusters.item_means(b, units_b)
    shared = [unit for unit in after if unit in before]
    found = clusters.cuped([after[unit] for unit in shared], [before[unit] for unit in shared])
    return {"theta": found.theta, "mean_b": found.mean, "se_raw": found.se_raw, "se_cuped": found.se_adjusted,
            "variance_reduction": found.variance_reduction}  # fmt: skip


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
    ends = {key: value for name, one in found.items() for key, value in _ends(one.interval, name).items()}
    return {**{name: one.value for name, one in found.items()}, **ends}


def tost(case: Case) -> Numbers:
    a, b = case.arms()
    found = equivalence.tost(
        a, b, case.params["low"], case.params["high"], alpha=case.params.get("alpha", 0.05),
        is_paired=bool(case.params.get("paired")), equal_var=case.params.get("usevar") in ("equal", "pooled"),
    )  # fmt: skip
    return {"p_lower": found.p_lower, "p_upper": found.p_upper, "p_tost": found.p_value,
            **_ends(found.interval, "ci90")}  # fmt: skip


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


def normality(case: Case) -> Numbers:
    found = describe.shape(case.values())
    names = ("skewness_type1", "excess_kurtosis_type1", "skewness_type2", "excess_kurtosis_type2")
    return {"W": found.shapiro_w, "p_value": found.shapiro_p, **{name: getattr(found, name) for name in names}}


def outlier_grubbs(case: Case) -> Numbers:
    found = outliers.grubbs(case.values(), case.params.get("alpha", 0.05))
    return {"G": found.g, "critical_one_sided_05": found.critical_one_sided,
            "critical_two_sided_05": found.critical_two_sided, "outlier_value": found.value}  # fmt: skip


def outlier_gesd(case: Case) -> Numbers:
    found = outliers.generalised_esd(case.values(), case.params.get("max_outliers", 10), case.params.get("alpha", 0.05))
    return {"R": found.statistics, "lambda": found.critical, "n_outliers": len(found.outliers)}


def outlier_iqr_mad(case: Case) -> Numbers:
    values = case.values()
    found = outliers.fences(values)
    return {
        "q1": found.q1, "q3": found.q3, "fence_low": found.low, "fence_high": found.high,
        "n_iqr": int(found.is_outlier.sum()), "mad_scaled": describe.mad(values, outliers.NORMAL_MAD),
        "n_modz": int((np.abs(outliers.modified_z(values)) > 3.5).sum()),
    }  # fmt: skip


def mtbf(case: Case) -> Numbers:
    confidence = 1 - case.params.get("alpha", 1 - case.confidence)
    total, failures = case.data["total_time"], case.data["failures"]
    two, one = events.mtbf(total, failures, confidence), events.mtbf(total, failures, confidence, one_sided=True)
    assert one.interval is not None
    return {"mtbf": two.value, "mean_time": two.value, **_ends(two.interval), "ci_low_one_sided": one.interval.low}


def poisson_rate(case: Case) -> Numbers:
    found = events.poisson_rate(case.data["events"], case.data["exposure"], case.confidence)
    return {"rate": found.value, **_ends(found.interval)}


def poisson_rate_ratio(case: Case) -> Numbers:
    (x, y), (s, t) = case.data["events"], case.data["exposure"]
    found = events.rate_ratio(x, s, y, t, confidence=case.confidence, alternative=_alternative(case))
    return {"ratio": found.estimate, "p_value": found.p_value, **_ends(found.interval)}


def srm(case: Case) -> Numbers:
    found = proportions.sample_ratio(case.data["observed"], case.data.get("expected_ratio"))
    return {"chi2": found.statistic, "df": found.df, "p_value": found.p_value}


def bootstrap_ci(case: Case) -> Numbers:
    name, values = case.params["statistic"], case.values()
    n_resamples = case.params.get("min_resamples", 20_000)
    if name.startswith("p") or name == "median":
        p = 0.5 if name == "median" else float(name[1:]) / 100
        found = intervals.bootstrap_quantile(values, p, confidence=case.confidence, n_resamples=n_resamples)
    else:
        statistic = {"mean": describe.mean, "geomean": describe.geomean}[name]
        found = intervals.bootstrap(values, statistic, confidence=case.confidence, n_resamples=n_resamples)
    return {"estimate": found.value, **_ends(found.interval, "perc")}


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
    return {"diff": found.value, **_ends(found.interval, "perc")}


def changepoint(case: Case) -> Numbers:
    values = case.values()
    if "order" in case.columns:
        values = case.frame.sort(case.columns["order"])[case.columns["value"]].to_numpy().astype(float)
    found = series.change_points(values)
    numbers: dict[str, Any] = {"n_changepoints": len(found.last_before), "indices": found.last_before,
                               "means": found.means}  # fmt: skip
    if found.last_before:
        numbers |= {"last_index_before": found.last_before[0], "mean_before": found.means[0],
                    "mean_after": found.means[1]}  # fmt: skip
    return numbers


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


def censored(case: Case) -> Numbers:
    (a, b), (seen_a, seen_b) = case.arms(), case.labels("event")
    found: dict[str, Any] = {}
    for arm, times, seen in (("a", a, seen_a == 1), ("b", b, seen_b == 1)):
        values = survival.kaplan_meier_quantiles(times, seen, (0.5, 0.9, 0.95, 0.99, 0.999))
        found |= {f"{name}_{arm}": v for name, v in zip(("median", "p90", "p95", "p99", "p99.9"), values, strict=True)}
        found[f"n_censored_{arm}"] = int((~seen).sum())
    test = survival.log_rank(a, seen_a == 1, b, seen_b == 1)
    return {**found, "logrank_chi2": test.statistic, "p_value": test.p_value}


def meta_analysis(case: Case) -> Numbers:
    found = meta.random_effects(case.data["yi"], case.data["vi"], case.confidence)
    wald = proportions.z_of(case.confidence) * found.se_wald
    return {
        "re_estimate": found.random.value, "re_se": found.se_wald, "tau2": found.tau2, "I2": found.i2, "H2": found.h2,
        "re_ci_low": found.random.value - wald, "re_ci_high": found.random.value + wald,
        "Q": found.q, "Q_p": found.q_p, "fe_estimate": found.fixed.value, "fe_se": found.fixed.se,
        "hk_se": found.random.se, **_ends(found.random.interval, "hk_ci"), **_ends(found.prediction, "pi"),
    }  # fmt: skip


KINDS: dict[str, Callable[[Case], Numbers]] = {
    "anova_factorial": anova_factorial,
    "anova_oneway": anova_oneway,
    "anova_rm": anova_rm,
    "anytime_cs": anytime_cs,
    "autocorrelation": autocorrelation,
    "bh": _adjusted("bh"),
    "bonferroni": _adjusted("bonferroni"),
    "bootstrap_ci": bootstrap_ci,
    "bootstrap_diff_ci": bootstrap_diff_ci,
    "brunnermunzel": brunnermunzel,
    "by": _adjusted("by"),
    "censored": censored,
    "changepoint": changepoint,
    "cliffs_delta": cliffs_delta,
    "clustered_diff": clustered_diff,
    "clustered_se": clustered_se,
    "clustered_se_mean": clustered_se_mean,
    "cohens_d": cohens_d,
    "cohens_d_paired": cohens_d_paired,
    "cohens_h": cohens_h,
    "cuped": cuped,
    "descriptive": descriptive,
    "dunn": dunn,
    "dunnett": dunnett,
    "friedman": friedman,
    "games_howell": games_howell,
    "geomean_ratio": geomean_ratio,
    "group_sequential": group_sequential,
    "hd_quantile": hd_quantile,
    "holm": _adjusted("holm"),
    "homogeneity": homogeneity,
    "icc": icc,
    "kruskal": kruskal,
    "ljung_box": ljung_box,
    "mannwhitney": mannwhitney,
    "mcnemar": mcnemar,
    "meta_analysis": meta_analysis,
    "mixed_model": mixed_model,
    "mtbf": mtbf,
    "newcombe": newcombe,
    "newcombe_paired": newcombe_paired,
    "normality": normality,
    "outlier_gesd": outlier_gesd,
    "outlier_grubbs": outlier_grubbs,
    "outlier_iqr_mad": outlier_iqr_mad,
    "paired_t": paired_t,
    "permutation": permutation_test,
    "permutation_paired": permutation_paired,
    "poisson_rate": poisson_rate,
    "poisson_rate_ratio": poisson_rate_ratio,
    "pooled_t": pooled_t,
    "power": power_of,
    "power_miller": power_miller,
    "power_quantile": power_quantile,
    "power_quantile_min_n": power_quantile_min_n,
    "proportion_ci": proportion_ci,
    "proportions_test": proportions_test,
    "quantile": quantile,
    "quantile_ci": quantile_ci,
    "ratio_metric": ratio_metric,
    "relative_change": relative_change,
    "srm": srm,
    "tost": tost,
    "tukey_hsd": tukey_hsd,
    "welch": welch,
    "welch_anova": welch_anova,
    "wilcoxon_signed_rank": wilcoxon,
}
