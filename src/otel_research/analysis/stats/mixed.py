"""Values that repeat within a subject or an item: repeated-measures analysis of variance and mixed models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from otel_research.analysis.stats.describe import mean
from otel_research.analysis.stats.formula import Columns, Labels
from otel_research.analysis.stats.outcome import by
from otel_research.analysis.stats.sample import finite, need_statsmodels, quiet, sample, varied
from otel_research.errors import ConfigurationError, NotEnoughData

SUBJECT = "subject "
"""The column of subjects or groups; the space keeps it apart from a factor of that name."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """One within-subject effect of a repeated-measures analysis of variance."""

    name: str
    f: float
    df_num: float
    df_den: float
    p_value: float
    ss_effect: float
    ss_error: float


@dataclass(frozen=True, slots=True)
class Mixed:
    """A mixed model with a random intercept (and slope) per group, by REML."""

    coefficients: dict[str, float]
    se: dict[str, float]
    p_values: dict[str, float]
    var_group: float
    var_slope: float | None
    covariance: float | None
    var_residual: float
    icc: float
    log_likelihood: float
    is_converged: bool
    method: str


@dataclass(frozen=True, slots=True)
class WaldTerm:
    """One term of a mixed model by Wald's chi-square."""

    name: str
    chi2: float
    df: float
    p_value: float


def repeated(response: ArrayLike, subject: Sequence[object], within: Labels) -> list[Repeated]:
    """Repeated-measures analysis of variance; trials of one cell are averaged first.

    Every subject has to be there in every cell.
    """
    need_statsmodels()
    from statsmodels.stats.anova import AnovaRM

    values = sample(response, at_least=4, what="the response")
    varied(values)
    columns = Columns(values - mean(values), {SUBJECT: subject, **within})
    codes, key = [columns.codes[name] for name in within], columns.codes[SUBJECT]
    cells = int(np.prod([len(columns.levels[name]) for name in within]))
    means = columns.frame.groupby([key, *codes], observed=True)["y"].mean().reset_index()
    per_subject = means.groupby(key, observed=True).size()
    lacking = int((per_subject < cells).sum())
    if lacking:
        raise NotEnoughData(
            f"{lacking} of {len(per_subject)} subjects are not in every cell. Drop them, or use a mixed model."
        )
    with quiet():
        table = AnovaRM(means, "y", key, within=codes).fit().anova_table
    return [_repeated_row(str(name), row, means, columns) for name, row in table.iterrows()]


def mixed(
    response: ArrayLike,
    fixed: Labels,
    group: Sequence[object],
    *,
    numbers: Sequence[str] | None = None,
    slope: str | None = None,
) -> Mixed:
    """A linear mixed model by REML: fixed columns, a random intercept (and `slope`) per group.

    Fixed columns of numbers enter as numbers unless `numbers` lists which ones do; text enters as levels.
    """
    need_statsmodels()
    from scipy import stats
    from statsmodels.formula.api import mixedlm

    values = sample(response, at_least=4, what="the response")
    varied(values)
    numeric = [name for name, labels in fixed.items() if _is_numeric(labels)] if numbers is None else numbers
    centre = mean(values)
    columns = Columns(values - centre, {SUBJECT: group, **fixed}, numbers=numeric)
    if slope is not None and slope not in numeric:
        raise ConfigurationError(f"The random slope {slope!r} has to be one of the fixed columns of numbers.")
    right = " + ".join(columns.codes[name] for name in fixed) or "1"
    random = None if slope is None else f"~{columns.codes[slope]}"
    with quiet():
        fit = mixedlm(f"y ~ {right}", columns.frame, groups=columns.frame[columns.codes[SUBJECT]], re_formula=random)
        fit = fit.fit(reml=True)
    covariance = np.asarray(fit.cov_re)
    var_group, var_residual = float(covariance[0, 0]), float(fit.scale)
    estimates = {columns.readable(name): float(value) for name, value in fit.fe_params.items()}
    estimates["Intercept"] += centre
    errors = {columns.readable(name): finite(value, "a standard error") for name, value in fit.bse_fe.items()}
    return Mixed(
        coefficients=estimates,
        se=errors,
        # The intercept was centred away for the fit, so its test is made again from the estimate itself.
        p_values={name: 2 * float(stats.norm.sf(abs(value / errors[name]))) for name, value in estimates.items()},
        var_group=var_group,
        var_slope=float(covariance[1, 1]) if slope is not None else None,
        covariance=float(covariance[0, 1]) if slope is not None else None,
        var_residual=var_residual,
        icc=var_group / (var_group + var_residual),
        log_likelihood=float(fit.llf),
        is_converged=bool(fit.converged),
        method=by("statsmodels mixedlm, REML", "statsmodels"),
    )


def mixed_terms(response: ArrayLike, factors: Labels, group: Sequence[object]) -> tuple[list[WaldTerm], Mixed]:
    """A factorial model with a random intercept per group (item): Wald tests of the terms, and the fit."""
    need_statsmodels()
    from statsmodels.formula.api import mixedlm

    values = sample(response, at_least=4, what="the response")
    varied(values)
    columns = Columns(values - mean(values), {SUBJECT: group, **factors})
    right = " * ".join(f"C({columns.codes[name]}, Sum)" for name in factors)
    if columns.empty_cells(list(factors)):
        right = right.replace("*", "+")
    with quiet():
        model = mixedlm(f"y ~ {right}", columns.frame, groups=columns.frame[columns.codes[SUBJECT]])
        fit = model.fit(reml=True)
        table = fit.wald_test_terms(scalar=True).table
    terms = [
        WaldTerm(columns.readable(str(name)), finite(row["statistic"], "chi-square"),
                 float(row["df_constraint"]), finite(row["pvalue"], "the p-value"))
        for name, row in table.iterrows()
        if name not in ("Intercept", "Group Var")
    ]  # fmt: skip
    return terms, mixed(response, {name: [str(label) for label in labels] for name, labels in factors.items()}, group)


def _is_numeric(labels: Sequence[object]) -> bool:
    return np.asarray(labels).dtype.kind in "iuf"


def _repeated_row(name: str, row: Any, means: Any, columns: Columns) -> Repeated:
    """AnovaRM gives F and df; the sums of squares of the effect and its error follow from cell means."""
    effect = _interaction_ss(means, name.split(":"))
    f, df_num, df_den = float(row["F Value"]), float(row["Num DF"]), float(row["Den DF"])
    f = finite(f, "F")
    error = effect / df_num / f * df_den if f > 0 else 0.0
    return Repeated(columns.readable(name), f, df_num, df_den, float(row["Pr > F"]), effect, error)


def _interaction_ss(means: Any, factors: list[str]) -> float:
    """Sum of squares of an effect in a complete table: cell means less those of all lower effects."""
    cells = means.groupby(factors, observed=True)["y"].mean()
    share = len(means) / len(cells)
    values = (
        cells.to_numpy().reshape([len(level) for level in cells.index.levels]) if len(factors) > 1 else cells.to_numpy()
    )
    for axis in range(values.ndim):
        values = values - values.mean(axis=axis, keepdims=True)
    return float((values**2).sum()) * share
