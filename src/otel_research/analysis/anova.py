"""Analysis of variance: one-way, factorial, with items as blocks or as random effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, TypeVar

import numpy as np
import polars as pl

from otel_research.analysis.anova_result import Anova, Assumption, Group
from otel_research.analysis.fingerprint import of_values
from otel_research.analysis.observations import Observations, observe
from otel_research.analysis.result import Warn
from otel_research.analysis.stats import groups, linear, mixed, posthoc
from otel_research.analysis.stats.describe import moments, shape
from otel_research.analysis.stats.effects import partial_eta_interval
from otel_research.analysis.stats.formula import natural_order
from otel_research.analysis.stats.linear import Marginal
from otel_research.analysis.stats.outcome import Outcome, between, own
from otel_research.analysis.stats.sample import groups as checked_groups
from otel_research.analysis.subject import Subject
from otel_research.analysis.units import Unit
from otel_research.errors import ConfigurationError, NotEnoughData

Posthoc = Literal["auto", "games-howell", "tukey", "dunn", "dunnett"]
T = TypeVar("T")

_ALPHA_CHECK = 0.05
_MOST_GROUPS = 12
"""66 comparisons; beyond that a table of all pairs answers no question."""
_TRANSFORMS = ("log", "sqrt", "rank")


def anova(
    data: Any,
    response: str | None = None,
    factors: str | Sequence[str] | None = None,
    *,
    type: int = 2,
    transform: Literal["log", "sqrt", "rank"] | None = None,
    block: str | None = None,
    block_as: Literal["fixed", "random"] = "fixed",
    interactions: bool = True,
    control: str | None = None,
    posthoc: Posthoc = "auto",
    unit: Unit | None = None,
    alpha: float = 0.05,
    seed: int = 0,
) -> Anova:
    """Do the levels of one or several factors differ in a response?

    Args:
        data: a list (or mapping by name) of sequences of numbers: one-way; a frame with the columns; a subject
            or a list of subjects, pooled by their factors.
        response: a column of the frame, or "latency" (the default), "ttft", "cost", "tokens", "success_rate" or a
            score's name.
        factors: one or several factors ("condition" by default); see `observations` for where they are looked up.
        type: 1 (in the order given), 2 or 3 (with sum contrasts) sums of squares.
        transform: analyse logarithms (ratios of geometric means), square roots or ranks of the response.
        block: a column (such as "item_id") whose levels are removed first.
        block_as: "fixed" adds the blocks to the model; "random" fits a mixed model with a random intercept per
            block and tests the terms by Wald's chi-square.
        control: with it, post hoc comparisons are Dunnett's, of every group with this one.
        posthoc: "auto" is Games-Howell one-way (Dunnett with `control`).
        unit: unit of analysis of experiments; default trial where they have trials, else call.

    Raises:
        ConfigurationError: an unknown option, or factors that are not different columns.
        NotEnoughData: no variation, one level only, no residual degree of freedom.
        MissingExtra: several factors or a block without statsmodels (`pip install 'otel-research[stats]'`).
    """
    is_plain = _is_sequences(data)
    response = response or ("value" if is_plain else "latency")
    factors = factors or ("group" if is_plain else "condition")
    names = [factors] if isinstance(factors, str) else list(factors)
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(f"factors={factors!r} has to name one or several different factors.")
    seen = _sequences(data, response, names) if is_plain else observe(data, response, names, block, unit)
    if block is not None and seen.items is None:
        raise NotEnoughData(f"The block {block!r} is missing on some rows, so they belong to no block.")
    values = _transformed(seen.values, transform, response)
    draft = _Draft(seen, values, alpha, seed, control)
    if len(names) == 1 and block is None:
        draft.one_way(names[0], posthoc)
    else:
        draft.factorial(type, interactions, block, block_as)
    return draft.result(response, transform, names, block, type)


class _Draft:
    """An analysis while it is put together: what is known, and why the rest is not."""

    def __init__(self, seen: Observations, values: np.ndarray, alpha: float, seed: int, control: str | None) -> None:
        self.seen, self.values, self.alpha, self.seed, self.control = seen, values, alpha, seed, control
        self.fields: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}
        self.checks: dict[str, Assumption] = {}
        self.warnings: list[Warn] = []
        self.method = ""

    def attempt(self, path: str, make: Callable[[], T]) -> T | None:
        """What `make` gives, or None with its reason."""
        try:
            return make()
        except NotEnoughData as exc:
            self.reasons[path] = str(exc)
            return None

    def one_way(self, factor: str, kind: Posthoc) -> None:
        samples = _by_level(self.values, self.seen.factors[factor])
        if len(samples) < 2:
            raise NotEnoughData(f"Factor {factor!r} has one level only, {next(iter(samples))!r}; nothing to compare.")
        arrays = list(samples.values())
        classic = groups.one_way(arrays)
        welch = self.attempt("welch", lambda: groups.welch_f(arrays))
        spread = self.attempt("brown_forsythe", lambda: groups.levene(arrays))
        eta = partial_eta_interval(classic.f, classic.df_between, classic.df_within)
        term = linear.Term(factor, classic.ss_between, float(classic.df_between), classic.f, classic.p_value,
                           classic.eta_squared, eta, classic.omega_squared)  # fmt: skip
        self.fields |= {
            "one_way": classic,
            "welch": welch,
            "kruskal": self.attempt("kruskal", lambda: groups.kruskal(arrays)),
            "brown_forsythe": spread,
            "p_value": welch.p_value if welch is not None else None,
            "terms": {factor: term},
            "residual_ss": classic.ss_within,
            "residual_df": float(classic.df_within),
        }
        if welch is None:
            self.reasons["p_value"] = self.reasons["welch"]
        self.method = classic.method if welch is None else welch.method
        self._check(np.concatenate([each - each.mean() for each in arrays]), spread, "quote Welch's F")
        self._compare(samples, kind)

    def factorial(self, type: int, interactions: bool, block: str | None, block_as: str) -> None:
        factors = self.seen.factors
        blocks = {block: self.seen.items} if block is not None and self.seen.items is not None else None
        if blocks is not None and block_as == "random":
            terms, model = mixed.mixed_terms(self.values, factors, next(iter(blocks.values())))
            self.fields |= {"mixed_terms": {term.name: term for term in terms}, "icc": model.icc}
            self.method = model.method
            if not model.is_converged:
                self._warn("not_converged", "error", "the mixed model did not converge: its numbers are not reliable")
            blocks = None
        elif block_as not in ("fixed", "random"):
            raise ConfigurationError(f'block_as={block_as!r}; use "fixed" or "random".')
        fit = linear.factorial(self.values, factors, type=type, interactions=interactions, block=blocks)
        is_mixed = "mixed_terms" in self.fields
        within = self.seen.items if is_mixed else None
        means = [
            mean
            for over in _margins(list(factors))
            for mean in linear.marginal_means(fit, over, 1 - self.alpha, within)
        ]
        simple = [
            effect
            for one, other in combinations(factors, 2)
            for effect in (*linear.simple_effects(fit, one, other), *linear.simple_effects(fit, other, one))
        ]
        self.fields |= {
            # A fixed table beside a mixed one would be the wrong test of the same thing.
            "terms": {} if is_mixed else {term.name: term for term in fit.terms},
            "residual_ss": None if is_mixed else fit.residual_ss,
            "residual_df": None if is_mixed else fit.residual_df,
            "marginal_means": {f"{mean.term} = {mean.level}": mean for mean in means},
            "simple_effects": {} if is_mixed else {f"{e.factor} at {e.within} = {e.level}": e for e in simple},
            "empty_cells": fit.empty_cells,
            "dropped_terms": fit.dropped,
            "p_value": None,
        }
        self.reasons["p_value"] = "several factors or a block: see terms"
        self.method = self.method or fit.method
        cells = [values for values in fit.columns.cells(list(factors)).values() if values.size > 1]
        spread = self.attempt("brown_forsythe", lambda: groups.levene(cells))
        self.fields["brown_forsythe"] = spread
        self._check(np.asarray(fit.model.resid), spread, "a log transform, or a one-way Welch F over the cells")
        if fit.empty_cells:
            shown = "; ".join(", ".join(f"{k}={v}" for k, v in cell.items()) for cell in fit.empty_cells[:5])
            more = f" and {len(fit.empty_cells) - 5} more" if len(fit.empty_cells) > 5 else ""
            text = f"empty cells: {shown}{more}; interactions left out: {', '.join(fit.dropped) or 'none'}"
            self._warn("empty_cells", "warning", text, float(len(fit.empty_cells)))

    def result(self, response: str, transform: str | None, names: list[str], block: str | None, type: int) -> Anova:
        seen = self.seen
        if seen.repeats and block is None:
            text = "items repeat within a cell, so rows are not independent: pass block='item_id' or average per item"
            self._warn("clustered", "error", text)
        if seen.n_missing:
            self._warn("missing", "warning", f"{seen.n_missing:,} rows have no {response} and are left out",
                       float(seen.n_missing))  # fmt: skip
        if transform == "log" and self.fields.get("marginal_means"):
            self.fields["marginal_means"] = {k: _back(m) for k, m in self.fields["marginal_means"].items()}
        cells = zip(*seen.factors.values(), strict=True)
        return Anova(
            estimand=f"differences in {response} between levels of {', '.join(names)}",
            unit=seen.unit,
            n=int(seen.values.size),
            n_units=len(set(seen.items)) if seen.items is not None and block is not None else int(seen.values.size),
            method=self.method,
            alpha=self.alpha,
            seed=self.seed,
            assumptions=("independent rows", "normal residuals" if len(names) > 1 else "finite variances"),
            warnings=tuple(self.warnings),
            data_hash=of_values(*_by_level(seen.values, [" / ".join(map(str, cell)) for cell in cells]).values()),
            reasons=self.reasons,
            response=response,
            measure=seen.measure,
            transform=transform,
            factors=tuple(names),
            block=block,
            type=type,
            groups=_groups(seen),
            checks=self.checks,
            **self.fields,
        )

    def _compare(self, samples: dict[str, np.ndarray], kind: Posthoc) -> None:
        chosen = ("dunnett" if self.control is not None else "games-howell") if kind == "auto" else kind
        if chosen == "dunnett" and self.control is None:
            raise ConfigurationError('posthoc="dunnett" compares with a control: pass control="...".')
        level = 1 - self.alpha
        makers: dict[str, Callable[[], list[posthoc.Comparison]]] = {
            "games-howell": lambda: posthoc.games_howell(samples, level),
            "tukey": lambda: posthoc.tukey(samples, level),
            "dunn": lambda: posthoc.dunn(samples),
            "dunnett": lambda: posthoc.dunnett(samples, str(self.control), level, self.seed),
        }
        if chosen not in makers:
            raise ConfigurationError(f"posthoc={kind!r}; use one of auto, {', '.join(makers)}.")
        if len(samples) > _MOST_GROUPS and chosen != "dunnett":
            self.reasons["comparisons"] = f"{len(samples)} groups are too many to compare pairwise; pass control=..."
            return
        found = self.attempt("comparisons", makers[chosen])
        self.fields["comparisons"] = {f"{c.a} - {c.b}": c for c in found or []}

    def _check(self, residuals: np.ndarray, spread: Outcome | None, advice: str) -> None:
        if spread is not None:
            holds = spread.p_value >= _ALPHA_CHECK
            text = "spreads do not differ detectably (Brown-Forsythe)" if holds else f"spreads differ: {advice}"
            self.checks["equal_spread"] = Assumption(holds=holds, p_value=spread.p_value, text=text)
            if not holds:
                self._warn("unequal_spread", "warning", text, spread.p_value)
        found = self.attempt("checks.normal_residuals", lambda: shape(residuals))
        if found is not None:
            # In large samples Shapiro-Wilk rejects anything; heavy skew is what moves an F test.
            holds = abs(found.skewness_type1) < 1
            text = (
                "residuals are not strongly skewed" if holds else "residuals are strongly skewed: try transform='log'"
            )
            self.checks["normal_residuals"] = Assumption(holds=holds, p_value=found.shapiro_p, text=text)
            if not holds:
                self._warn("skewed", "warning", text, found.skewness_type1)

    def _warn(self, code: str, severity: Any, text: str, value: float | None = None) -> None:
        self.warnings.append(Warn(code=code, severity=severity, text=text, value=value))


def _is_sequences(data: Any) -> bool:
    if isinstance(data, (Subject, pl.DataFrame, pl.LazyFrame)):
        return False
    if isinstance(data, Mapping):
        return True
    return isinstance(data, (list, tuple)) and bool(data) and not any(isinstance(each, Subject) for each in data)


def _sequences(data: Any, response: str, names: list[str]) -> Observations:
    """Plain numbers as a one-way layout; a list's groups are called 1, 2, ..."""
    if len(names) > 1:
        raise ConfigurationError("Sequences of numbers are one-way; pass a frame for several factors.")
    named = data if isinstance(data, Mapping) else {str(i + 1): each for i, each in enumerate(data)}
    checked = checked_groups(list(named.values()))
    labels = [str(name) for name, values in zip(named, checked, strict=True) for _ in range(values.size)]
    return Observations(np.concatenate(checked), {names[0]: labels}, None, response, "1", "value", 0)


def _transformed(values: np.ndarray, transform: str | None, response: str) -> np.ndarray:
    if transform is None:
        return values
    if transform not in _TRANSFORMS:
        raise ConfigurationError(f"transform={transform!r}; use one of {', '.join(_TRANSFORMS)}.")
    if transform == "rank":
        from scipy.stats import rankdata

        return np.asarray(rankdata(values), dtype=np.float64)
    low = int((values <= 0).sum()) if transform == "log" else int((values < 0).sum())
    if low:
        raise NotEnoughData(f"{low} of {values.size} values of {response!r} are too small for transform={transform!r}.")
    return np.asarray(np.log(values) if transform == "log" else np.sqrt(values))


def _by_level(values: np.ndarray, labels: Sequence[Any]) -> dict[str, np.ndarray]:
    """The values of each level, levels in their natural order (numbers by size, groups of a list as given)."""
    missing = sum(label is None for label in labels)
    if missing:
        raise NotEnoughData(f"{missing} of {len(labels)} rows have no level of the factor. Filter them out first.")
    text = np.array([str(label) for label in labels])
    return {level: values[text == level] for level in natural_order(list(labels))}


def _groups(seen: Observations) -> dict[str, Group]:
    labels = [", ".join(map(str, cell)) for cell in zip(*seen.factors.values(), strict=True)]
    single = len(seen.factors) == 1
    found = {}
    for name, values in _by_level(seen.values, next(iter(seen.factors.values())) if single else labels).items():
        numbers = moments(values)
        middle = float(np.exp(np.log(values).mean())) if bool((values > 0).all()) else None
        found[name] = Group(n=numbers.count, mean=numbers.mean, stdev=numbers.stdev, geomean=middle)
    return found


def _margins(factors: list[str]) -> list[list[str]]:
    """Each factor, then each pair: what a reader asks the means of."""
    return [[name] for name in factors] + [list(pair) for pair in combinations(factors, 2)]


def _back(mean: Marginal) -> Marginal:
    """A mean of logarithms as a geometric mean, its standard error by the delta method."""
    middle = float(np.exp(mean.mean))
    low, high = (float(np.exp(end)) for end in (mean.interval.low or 0.0, mean.interval.high or 0.0))
    interval = between(low, high, mean.interval.level, own("geometric mean"))
    return Marginal(mean.term, mean.level, middle, middle * mean.se, interval, mean.n)
