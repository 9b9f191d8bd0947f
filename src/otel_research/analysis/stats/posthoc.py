"""Which groups differ, after an overall test: Tukey, Games-Howell, Dunnett, Dunn.

A comparison of groups `a` and `b` is `a` minus `b`; pairs come as (later, earlier), like R's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from otel_research.analysis.stats.corrections import adjust
from otel_research.analysis.stats.describe import mean
from otel_research.analysis.stats.groups import one_way
from otel_research.analysis.stats.outcome import Interval, between, by, own
from otel_research.analysis.stats.sample import Floats, confidence_level, finite, groups, is_constant, quiet, varied
from otel_research.errors import ConfigurationError, NotEnoughData


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two groups compared; `p_adjusted` is corrected for all comparisons made."""

    a: str
    b: str
    difference: float | None
    statistic: float
    p_value: float | None
    p_adjusted: float
    interval: Interval | None
    method: str


def tukey(samples: Mapping[str, ArrayLike], confidence: float = 0.95) -> list[Comparison]:
    """Tukey's honestly significant differences (Tukey-Kramer when sizes differ): equal variances assumed."""
    names, arrays = _named(samples)
    table = one_way(arrays)
    means = dict(zip(names, [mean(each) for each in arrays], strict=True))
    sizes = dict(zip(names, [each.size for each in arrays], strict=True))
    return tukey_of_model(means, sizes, table.residual_sd**2, table.df_within, confidence)


def tukey_of_model(
    means: Mapping[str, float], sizes: Mapping[str, int], residual_ms: float, df: float, confidence: float = 0.95
) -> list[Comparison]:
    """Tukey's comparisons with the residual mean square of any model, such as a two-way one."""
    from scipy.stats import studentized_range

    names = list(means)
    if residual_ms <= 0 or df < 1:
        raise NotEnoughData("The model leaves no residual variation to judge differences by.")
    law = studentized_range(len(names), df)
    critical = float(law.ppf(confidence_level(confidence)))
    found = []
    for early, late in combinations(names, 2):
        difference = means[late] - means[early]
        se = math.sqrt(residual_ms / 2 * (1 / sizes[late] + 1 / sizes[early]))
        q = abs(difference) / se
        method = by("Tukey-Kramer, scipy.stats.studentized_range")
        interval = between(difference - critical * se, difference + critical * se, confidence, method)
        found.append(Comparison(late, early, difference, q, None, _unit(law.sf(q)), interval, method))
    return found


def games_howell(samples: Mapping[str, ArrayLike], confidence: float = 0.95) -> list[Comparison]:
    """Games & Howell's comparisons: variances may differ."""
    from scipy import stats

    names, arrays = _named(samples)
    for name, each in zip(names, arrays, strict=True):
        if is_constant(each):
            raise NotEnoughData(f"All values of group {name!r} are the same; Games-Howell needs a variance per group.")
    with quiet():
        result = stats.tukey_hsd(*arrays, equal_var=False)
    pairs = list(combinations(range(len(names)), 2))
    # Welch's degrees of freedom and the standard error that goes with the studentised range.
    parts = [(_squared_error(arrays[late]), _squared_error(arrays[early])) for early, late in pairs]
    dfs = [
        _welch_df(a, arrays[late].size, b, arrays[early].size)
        for (a, b), (early, late) in zip(parts, pairs, strict=True)
    ]
    critical = _critical(len(names), dfs, confidence_level(confidence))
    method = by("scipy.stats.tukey_hsd(equal_var=False)")
    found = []
    for (early, late), (one, other), q in zip(pairs, parts, critical, strict=True):
        difference, se = float(result.statistic[late, early]), math.sqrt((one + other) / 2)
        interval = between(difference - q * se, difference + q * se, confidence, method)
        found.append(Comparison(names[late], names[early], difference, _games_howell_q(arrays[late], arrays[early]), None,
                                _unit(result.pvalue[late, early]), interval, method))  # fmt: skip
    return found


def _squared_error(values: Floats) -> float:
    return float(values.var(ddof=1)) / values.size


def _welch_df(a: float, n_a: int, b: float, n_b: int) -> float:
    return (a + b) ** 2 / (a**2 / (n_a - 1) + b**2 / (n_b - 1))


def _critical(k: int, dfs: list[float], level: float) -> list[float]:
    """Quantiles of the studentised range of k groups, one per degrees of freedom.

    A quantile is a search over a double integral. Neighbouring degrees of freedom have neighbouring quantiles, so
    each search starts from the last one's end, and equal ones are looked up once.
    """
    from scipy import optimize, stats

    found: dict[float, float] = {}
    start = 0.0
    for df in sorted(set(dfs), reverse=True):
        law = stats.studentized_range(k, df)
        if start:
            search = optimize.root_scalar(
                lambda q, law=law: float(law.cdf(q)) - level, x0=start, x1=1.002 * start, xtol=1e-9, maxiter=20
            )
            start = float(search.root) if search.converged else float(law.ppf(level))
        else:
            start = float(law.ppf(level))
        found[df] = start
    return [found[df] for df in dfs]


def dunnett(
    samples: Mapping[str, ArrayLike], control: str, confidence: float = 0.95, seed: int = 0
) -> list[Comparison]:
    """Dunnett's comparisons of every group with one control: group minus control."""
    from scipy import stats

    if control not in samples:
        raise ConfigurationError(f"There is no group {control!r}; the groups are {', '.join(samples)}.")
    names, arrays = _named(samples)
    varied(*arrays)
    base = arrays[names.index(control)]
    others = [(name, each) for name, each in zip(names, arrays, strict=True) if name != control]
    with quiet():
        result = stats.dunnett(*[each for _, each in others], control=base, rng=np.random.default_rng(seed))
        bounds = result.confidence_interval(confidence_level(confidence))
    method = by("scipy.stats.dunnett")
    return [
        Comparison(
            name, control, mean(each) - mean(base), finite(result.statistic[i], "Dunnett's t"), None,
            _unit(result.pvalue[i]), between(bounds.low[i], bounds.high[i], confidence, method), method,
        )
        for i, (name, each) in enumerate(others)
    ]  # fmt: skip


def dunn(samples: Mapping[str, ArrayLike], correction: str = "holm") -> list[Comparison]:
    """Dunn's (1964) comparisons of mean ranks after Kruskal-Wallis, corrected for ties."""
    from scipy import stats

    names, arrays = _named(samples, at_least=1)
    pooled = np.concatenate(arrays)
    if is_constant(pooled):
        raise NotEnoughData("All values are the same, so ranks say nothing.")
    ranks = stats.rankdata(pooled)
    ends = np.cumsum([each.size for each in arrays])
    mean_ranks = [float(part.mean()) for part in np.split(ranks, ends[:-1])]
    variance = _rank_variance(ranks)
    method = own(f"Dunn 1964, {correction}")
    rows = []
    for early, late in combinations(range(len(names)), 2):
        se = math.sqrt(variance * (1 / arrays[late].size + 1 / arrays[early].size))
        z = (mean_ranks[late] - mean_ranks[early]) / se
        rows.append((names[late], names[early], z, 2 * float(stats.norm.sf(abs(z)))))
    adjusted = adjust([row[3] for row in rows], correction)
    return [
        Comparison(a, b, None, z, p, q, None, method) for (a, b, z, p), q in zip(rows, adjusted, strict=True)
    ]  # fmt: skip


def _named(samples: Mapping[str, ArrayLike], at_least: int = 2) -> tuple[list[str], list[Floats]]:
    return [str(name) for name in samples], groups(list(samples.values()), at_least=at_least)


def _rank_variance(ranks: Floats) -> float:
    """Variance of one rank under the null, less what ties take away."""
    n = ranks.size
    _, ties = np.unique(ranks, return_counts=True)
    return n * (n + 1) / 12 - float((ties.astype(float) ** 3 - ties).sum()) / (12 * (n - 1))


def _games_howell_q(late: Floats, early: Floats) -> float:
    spread = late.var(ddof=1) / late.size + early.var(ddof=1) / early.size
    return abs(mean(late) - mean(early)) / math.sqrt(spread / 2)


def _unit(p_value: Any) -> float:
    """A p-value from numerical integration, kept inside [0, 1]."""
    return min(1.0, max(0.0, finite(p_value, "the p-value")))
