"""One sample, or one series: its numbers, quantiles, outliers, order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from otel_research.analysis.stats import describe, intervals, outliers, series, survival
from reference.case import Case, Numbers, ends


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
    return {"lower_rank": lower, "upper_rank": upper, **ends(interval)}


def autocorrelation(case: Case) -> Numbers:
    return {f"r{lag}": series.autocorrelation(case.values(), lag) for lag in range(1, 11)}


def ljung_box(case: Case) -> Numbers:
    values = case.values()
    found = series.ljung_box(values, case.params.get("lags", case.params.get("lag", 10)))
    return {**autocorrelation(case), "Q": found.statistic, "df": found.df, "p_value": found.p_value,
            "n_eff_ar1": series.effective_n(values)}  # fmt: skip


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


def bootstrap_ci(case: Case) -> Numbers:
    name, values = case.params["statistic"], case.values()
    n_resamples = case.params.get("min_resamples", 20_000)
    if name.startswith("p") or name == "median":
        p = 0.5 if name == "median" else float(name[1:]) / 100
        found = intervals.bootstrap_quantile(values, p, confidence=case.confidence, n_resamples=n_resamples)
    else:
        statistic = {"mean": describe.mean, "geomean": describe.geomean}[name]
        found = intervals.bootstrap(values, statistic, confidence=case.confidence, n_resamples=n_resamples)
    return {"estimate": found.value, **ends(found.interval, "perc")}


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


def censored(case: Case) -> Numbers:
    (a, b), (seen_a, seen_b) = case.arms(), case.labels("event")
    found: dict[str, Any] = {}
    for arm, times, seen in (("a", a, seen_a == 1), ("b", b, seen_b == 1)):
        values = survival.kaplan_meier_quantiles(times, seen, (0.5, 0.9, 0.95, 0.99, 0.999))
        found |= {f"{name}_{arm}": v for name, v in zip(("median", "p90", "p95", "p99", "p99.9"), values, strict=True)}
        found[f"n_censored_{arm}"] = int((~seen).sum())
    test = survival.log_rank(a, seen_a == 1, b, seen_b == 1)
    return {**found, "logrank_chi2": test.statistic, "p_value": test.p_value}


KINDS: dict[str, Callable[[Case], Numbers]] = {
    "autocorrelation": autocorrelation,
    "bootstrap_ci": bootstrap_ci,
    "censored": censored,
    "changepoint": changepoint,
    "descriptive": descriptive,
    "hd_quantile": hd_quantile,
    "ljung_box": ljung_box,
    "normality": normality,
    "outlier_gesd": outlier_gesd,
    "outlier_grubbs": outlier_grubbs,
    "outlier_iqr_mad": outlier_iqr_mad,
    "quantile": quantile,
    "quantile_ci": quantile_ci,
}
