"""The reference cases through the functions that users call: what is published is what is computed for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from reference import Case, Numbers, cases, leaves
from reference.case import alternative
from scipy.stats import norm

import otel_research as otr

SECOND = 1_000_000_000


def spans(values: Any, **columns: Any) -> pl.LazyFrame:
    """One call per value, in order of time."""
    x = np.asarray(values, dtype=float)
    frame = pl.DataFrame({"duration_ms": x, **columns})
    return frame.with_columns(
        pl.lit(value=True).alias("is_call"),
        pl.lit("call").alias("role"),
        (pl.int_range(pl.len()) * 60 * SECOND).alias("start_ns"),
    ).lazy()


def recorded(values: Any) -> pl.LazyFrame:
    """One measurement per value, as `otr.record` leaves it."""
    rows = [f'{{"measurement.value":{float(value)!r}}}' for value in values]
    return pl.LazyFrame({"attributes": rows, "role": ["record"] * len(rows), "start_ns": range(len(rows))})


def compared(case: Case, **options: Any) -> Any:
    a, b = case.arms()
    return otr.compare(b, a, metrics="value", alpha=1 - case.confidence, **options).effects["value"]


def descriptive(case: Case) -> Numbers:
    if case.values().min() < 0:
        found = otr.calculate_metrics(recorded(case.values())).custom["value"]
        return {name: found[name] for name in ("count", "mean", "stdev")}
    latency = otr.calculate_metrics(spans(case.values()), ci=False).latency
    assert latency is not None
    return {
        name: getattr(latency, name) for name in ("count", "mean", "stdev", "variance", "median", "min", "max", "mad")
    }


def quantile(case: Case) -> Numbers:
    if case.params.get("hyndman_fan_type", 7) != 7:
        return {}
    latency = otr.calculate_metrics(spans(case.values()), ci=False).latency
    return {name.replace("_", "."): getattr(latency, name) for name in ("p50", "p90", "p95", "p99", "p99_9")}


def censored(case: Case) -> Numbers:
    frame, names, numbers = case.frame, case.columns, {}
    for arm in "ab":
        own = frame.filter(pl.col(names["group"]).cast(pl.String) == str(names[arm]))
        cut = pl.col(names["event"]).cast(pl.Int64) == 0
        kinds = own.select(kind=pl.when(cut).then(pl.lit("timeout")))["kind"]
        found = otr.calculate_metrics(spans(own[names["value"]], error_kind=kinds, error_type=kinds)).latency
        assert found is not None
        numbers |= {f"n_censored_{arm}": found.n_censored, f"median_{arm}": found.median, f"p90_{arm}": found.p90,
                    f"p95_{arm}": found.p95}  # fmt: skip
    return numbers


def proportion_ci(case: Case) -> Numbers:
    k, n = case.data["successes"], case.data["n"]
    failed = ["error"] * (n - k) + [None] * k
    found = otr.calculate_metrics(spans([1.0] * n, error_type=failed), alpha=1 - case.confidence).reliability
    assert found is not None
    ci = found.ci["success_rate"]
    return {"estimate": found.success_rate, "wilson_low": ci.low, "wilson_high": ci.high}


def mtbf(case: Case) -> Numbers:
    """Each request takes a second, so that time between failures is requests between failures."""
    total, failures = case.data["total_time"], case.data["failures"]
    if total != int(total) or total > 1e6 or (failures and case.params.get("one_sided")):
        return {}
    failed = ["error"] * failures + [None] * (int(total) - failures)
    found = otr.calculate_metrics(
        spans([1000.0] * int(total), error_type=failed), alpha=case.params["alpha"]
    ).reliability
    assert found is not None
    for ci in (found.ci["mtbf"], found.ci["mtbf_seconds"]):
        assert ci.low == pytest.approx(found.ci["mtbf"].low, rel=1e-9)
    low = found.ci["mtbf"].low
    return {"mtbf": found.mtbf, "ci_low_one_sided": low} if not failures else {
        "mtbf": found.mtbf, "ci_low": low, "ci_high": found.ci["mtbf"].high}  # fmt: skip


def welch(case: Case) -> Numbers:
    if alternative(case) != "two-sided" or "mean_a" in case.data:
        return {}
    found = compared(case, paired=False)
    ci = found.mean.ci["difference"]
    return {"t": found.test.statistic, "df": found.test.df, "p_value": found.test.p_value,
            "mean_diff": found.mean.difference, "ci_low": ci.low, "ci_high": ci.high}  # fmt: skip


def paired_t(case: Case) -> Numbers:
    found = compared(case, paired=True)
    ci = found.mean.ci["difference"]
    return {"t": found.test.statistic, "df": found.test.df, "p_value": found.test.p_value,
            "mean_diff": found.mean.difference, "ci_low": ci.low, "ci_high": ci.high}  # fmt: skip


def geomean_ratio(case: Case) -> Numbers:
    a, b = case.arms()  # the case's ratio is b over a
    found = otr.compare(a, b, paired=False, alpha=1 - case.confidence).effects["latency"]
    ci = found.main.ci["percent"]
    return {"ratio": 1 + found.main.percent / 100, "ci_low": 1 + ci.low / 100, "ci_high": 1 + ci.high / 100,
            "p_value": found.test.p_value}  # fmt: skip


def brunnermunzel(case: Case) -> Numbers:
    a, b = case.arms()
    found = otr.compare(a, b, metrics="value", paired=False).effects["value"].tests["brunner_munzel"]
    return {"p_value": found.p_value, "df": found.df}


def cohens_d(case: Case) -> Numbers:
    if case.data_file is None:
        return {}
    found = compared(case, paired=False).effect_size
    ci = found.ci["cohens_d"]
    return {"cohens_d": found.cohens_d, "hedges_g": found.hedges_g, "d_ci_low": ci.low, "d_ci_high": ci.high}


def cliffs_delta(case: Case) -> Numbers:
    return {"delta": abs(compared(case, paired=False).effect_size.cliffs_delta)}


def newcombe(case: Case) -> Numbers:
    one, two = ([1.0] * case.data[f"k{i}"] + [0.0] * (case.data[f"n{i}"] - case.data[f"k{i}"]) for i in (1, 2))
    found = otr.compare(two, one, metrics="value", paired=False, alpha=1 - case.confidence).effects["value"]
    ci = found.mean.ci["difference"]
    return {"diff": found.mean.difference, "ci_low": ci.low, "ci_high": ci.high}


def newcombe_paired(case: Case) -> Numbers:
    both, a_only, b_only, neither = (case.data[name] for name in ("both", "a_only", "b_only", "neither"))
    one = [1.0] * (both + a_only) + [0.0] * (b_only + neither)
    two = [1.0] * both + [0.0] * a_only + [1.0] * b_only + [0.0] * neither
    alpha = 2 * float(norm.sf(case.params.get("z", norm.isf((1 - case.confidence) / 2))))
    found = otr.compare(two, one, metrics="value", paired=True, alpha=alpha).effects["value"]
    ci = found.mean.ci["difference"]
    return {"diff": found.mean.difference, "ci_low": ci.low, "ci_high": ci.high}


def mcnemar(case: Case) -> Numbers:
    a, b, c, d = (case.data[name] for name in "abcd")
    one = [1.0] * (a + b) + [0.0] * (c + d)
    two = [1.0] * a + [0.0] * b + [1.0] * c + [0.0] * d
    return {"p_exact": otr.compare(two, one, metrics="value", paired=True).effects["value"].test.p_value}


def tost(case: Case) -> Numbers:
    low, high = case.params["low"], case.params["high"]
    if low != -high or case.params.get("usevar") != "unequal":
        return {}
    return {"p_tost": compared(case, paired=False, equivalence=high).equivalence.p_value}


def anova_oneway(case: Case) -> Numbers:
    found = otr.anova(case.groups(), posthoc="dunn").one_way
    return {"df_between": found.df_between, "df_within": found.df_within, "ss_between": found.ss_between,
            "ss_within": found.ss_within, "F": found.f, "eta_squared": found.eta_squared, "p_value": found.p_value}  # fmt: skip


def welch_anova(case: Case) -> Numbers:
    found = otr.anova(case.groups(), posthoc="dunn").welch
    return {"F": found.statistic, "df_num": found.df[0], "df_den": found.df[1], "p_value": found.p_value}


def kruskal(case: Case) -> Numbers:
    found = otr.anova(case.groups(), posthoc="dunn").kruskal
    return {"H": found.statistic, "df": found.df, "p_value": found.p_value}


def anova_factorial(case: Case) -> Numbers:
    frame, names = case.frame, case.columns
    found: dict[str, Any] = {}
    for kind in (1, 2, 3):
        if f"type{kind}" in case.expected:
            terms = otr.anova(frame, names["value"], list(names["factors"]), type=kind).terms
            found[f"type{kind}"] = {
                name: {"sum_sq": term.ss, "df": term.df, "F": term.f, "p_value": term.p_value,
                       "partial_eta_sq": term.partial_eta_squared}
                for name, term in terms.items()
            }  # fmt: skip
    return found


def post_hoc(kind: str) -> Callable[[Case], Numbers]:
    def adapter(case: Case) -> Numbers:
        control = case.columns.get("control") if kind == "dunnett" else None
        found = otr.anova(case.groups(), posthoc=kind, control=None if control is None else str(control)).comparisons
        numbers: dict[str, Any] = {}
        if "residual_model" in case.params:
            return numbers
        for pair in case.expected:
            one, _, two = pair.rpartition("-")
            for sign, key in ((1, f"{one} - {two}"), (-1, f"{two} - {one}")):
                if key in found:
                    apart = found[key].difference
                    numbers[pair] = {"diff": None if apart is None else sign * apart, "p_adj": found[key].p_adjusted}
        return numbers

    return adapter


def power(case: Case) -> Numbers:
    given = case.params
    if given.get("test") != "t2" or not {"d", "alpha", "power"} <= set(given) or given.get("ratio", 1) != 1:
        return {}
    if alternative(case) != "two-sided":
        return {}
    found = otr.power(given["d"], design="means", power=given["power"], alpha=given["alpha"])
    return {"n_per_group": found.n_exact, "n_ceil": found.n_per_condition}


def meta_analysis(case: Case) -> Numbers:
    pairs = {str(i): (y, math.sqrt(v)) for i, (y, v) in enumerate(zip(case.data["yi"], case.data["vi"], strict=True))}
    found = otr.study(pairs, alpha=1 - case.confidence).outcomes["effect"]
    prediction = found.prediction
    return {
        "re_estimate": found.effect, "tau2": found.tau2, "I2": found.i2, "Q": found.q, "Q_p": found.q_p,
        "fe_estimate": found.fixed, "hk_ci_low": found.ci.low, "hk_ci_high": found.ci.high,
        "pi_low": prediction.low, "pi_high": prediction.high,
    }  # fmt: skip


PUBLIC: dict[str, Callable[[Case], Numbers]] = {
    "anova_factorial": anova_factorial,
    "anova_oneway": anova_oneway,
    "brunnermunzel": brunnermunzel,
    "censored": censored,
    "cliffs_delta": cliffs_delta,
    "cohens_d": cohens_d,
    "descriptive": descriptive,
    "dunn": post_hoc("dunn"),
    "dunnett": post_hoc("dunnett"),
    "games_howell": post_hoc("games-howell"),
    "geomean_ratio": geomean_ratio,
    "kruskal": kruskal,
    "mcnemar": mcnemar,
    "meta_analysis": meta_analysis,
    "mtbf": mtbf,
    "newcombe": newcombe,
    "newcombe_paired": newcombe_paired,
    "paired_t": paired_t,
    "power": power,
    "proportion_ci": proportion_ci,
    "quantile": quantile,
    "tost": tost,
    "tukey_hsd": post_hoc("tukey"),
    "welch": welch,
    "welch_anova": welch_anova,
}
"""Kind -> the public function that answers it; {} where a case asks for an option that it does not have."""

CASES = [case for case in cases() if case.kind in PUBLIC]


@cache
def answers(case_id: str) -> dict[tuple[str, ...], Any]:
    """Every number that the public function gives for a case."""
    (case,) = (one for one in CASES if one.id == case_id)
    return dict(leaves(PUBLIC[case.kind](case)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_public_case(case: Case) -> None:
    """What a public function gives is what the oracle says, within the case's tolerance."""
    found = answers(case.id)
    wrong = []
    for path, expected in leaves(case.expected):
        got = found.get(path)
        if got is None or expected is None:
            continue
        if case.kind == "cliffs_delta":
            expected = abs(expected)
        if not (math.isfinite(got) and abs(got - expected) <= max(case.abs, case.rel * abs(expected))):
            wrong.append(f"{'.'.join(path)}: got {got!r}, expected {expected!r}")
    assert not wrong, "\n".join(wrong)


def test_each_public_kind_answers_something() -> None:
    """No adapter passes by giving nothing that a case expects."""
    answered = {case.kind for case in CASES if set(answers(case.id)) & set(dict(leaves(case.expected)))}
    assert answered == set(PUBLIC)
