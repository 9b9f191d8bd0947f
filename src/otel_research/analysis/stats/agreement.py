"""How alike repeated measurements are: intraclass correlations and variance components.

Shrout & Fleiss (1979) for complete tables of ratings; the one-way analysis of variance for trials of items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from otel_research.analysis.stats.outcome import Estimate, between, by, own
from otel_research.analysis.stats.sample import Floats, codes, confidence_level, finite, sample
from otel_research.errors import NotEnoughData


@dataclass(frozen=True, slots=True)
class VarianceComponents:
    """Variance between items and within an item, and the share between (ICC of one trial)."""

    between: float
    within: float
    icc: float
    n_items: int
    trials_per_item: float


def intraclass(target: ArrayLike, rater: ArrayLike, score: ArrayLike, confidence: float = 0.95) -> dict[str, Estimate]:
    """Shrout & Fleiss's six coefficients: ICC1, ICC2, ICC3 of one rating, ICC1k, ICC2k, ICC3k of the mean of k.

    Every target has to be scored once by every rater.
    """
    table = _table(target, rater, score)
    n, k = table.shape
    centred = table - table.mean()
    rows, columns = centred.mean(axis=1), centred.mean(axis=0)
    between_ms = k * float(rows @ rows) / (n - 1)
    judges_ms = n * float(columns @ columns) / (k - 1)
    total = float((centred**2).sum())
    within_ms = (total - between_ms * (n - 1)) / (n * (k - 1))
    error_ms = (total - between_ms * (n - 1) - judges_ms * (k - 1)) / ((n - 1) * (k - 1))
    if between_ms == 0:
        raise NotEnoughData("All targets have the same mean score, so agreement has no scale.")
    values = {
        "ICC1": (between_ms - within_ms) / (between_ms + (k - 1) * within_ms),
        "ICC2": (between_ms - error_ms) / (between_ms + (k - 1) * error_ms + k * (judges_ms - error_ms) / n),
        "ICC3": (between_ms - error_ms) / (between_ms + (k - 1) * error_ms),
        "ICC1k": (between_ms - within_ms) / between_ms,
        "ICC2k": (between_ms - error_ms) / (between_ms + (judges_ms - error_ms) / n),
        "ICC3k": (between_ms - error_ms) / between_ms,
    }
    method = own("Shrout & Fleiss 1979")
    one_way = _f_interval(between_ms, within_ms, n - 1, n * (k - 1), k, confidence)
    two_way = _f_interval(between_ms, error_ms, n - 1, (n - 1) * (k - 1), k, confidence)
    intervals = {"ICC1": one_way[0], "ICC1k": one_way[1], "ICC3": two_way[0], "ICC3k": two_way[1]}
    return {name: Estimate(finite(value, name), None, intervals.get(name), n, method) for name, value in values.items()}


def variance_components(values: ArrayLike, item: ArrayLike) -> VarianceComponents:
    """Between- and within-item variance of repeated trials, by the one-way analysis of variance.

    Unequal numbers of trials are weighed as usual (Donner 1986); a negative estimate between items is 0.
    """
    array = sample(values, at_least=2)
    code, size = codes(item, array.size, "item")
    counts = np.bincount(code, minlength=size)
    if size < 2 or array.size == size:
        raise NotEnoughData("Variance within items needs at least 2 items and one item with 2 trials.")
    centred = array - array.mean()
    means = np.bincount(code, centred, size) / counts
    within = float(((centred - means[code]) ** 2).sum()) / (array.size - size)
    between_ms = float((counts * means**2).sum()) / (size - 1)
    typical = float(array.size - (counts**2).sum() / array.size) / (size - 1)
    between_items = max(0.0, (between_ms - within) / typical)
    if between_items + within == 0:
        raise NotEnoughData("All values are the same, so there is no variance to share out.")
    return VarianceComponents(between_items, within, between_items / (between_items + within), size, typical)


def _f_interval(between_ms: float, error_ms: float, df: int, df_error: int, k: int, confidence: float) -> list:  # type: ignore[type-arg]
    """Intervals of the single and of the averaged coefficient from the F ratio (Shrout & Fleiss 1979, p. 424)."""
    from scipy import stats

    if error_ms <= 0:
        return [None, None]
    f, upper = between_ms / error_ms, (1 + confidence_level(confidence)) / 2
    low, high = f / stats.f.ppf(upper, df, df_error), f * stats.f.ppf(upper, df_error, df)
    method = by("F interval, scipy.stats.f")
    return [
        between((low - 1) / (low + k - 1), (high - 1) / (high + k - 1), confidence, method),
        between(1 - 1 / low, 1 - 1 / high, confidence, method),
    ]


def _table(target: ArrayLike, rater: ArrayLike, score: ArrayLike) -> Floats:
    """Scores as targets x raters; refused unless every cell is filled once."""
    array = sample(score, at_least=4, what="the scores")
    row, n = codes(target, array.size, "target")
    column, k = codes(rater, array.size, "rater")
    filled = np.bincount(row * k + column, minlength=n * k)
    if n < 2 or k < 2 or not bool((filled == 1).all()):
        missing, twice = int((filled == 0).sum()), int((filled > 1).sum())
        raise NotEnoughData(
            f"Agreement needs at least 2 targets and 2 raters with one score each; of {n} x {k} cells {missing} are "
            f"empty and {twice} have several."
        )
    table = np.empty(n * k)
    table[row * k + column] = array
    return table.reshape(n, k)
