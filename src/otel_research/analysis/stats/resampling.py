"""Percentile bootstrap of quantiles, exact in law and independent of n.

Resampling n values with replacement and taking a type-7 quantile only ever looks at two
neighbouring order statistics of the resample. Their law is known: the k-th smallest of n
uniform draws is Beta(k, n-k+1), and the next one follows from it, so 2 n draws become 2.
Clusters (repeated items) have no such law: there the clusters themselves are drawn, and only
the values near the quantile are looked at, which is what makes it cheap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from otel_research.analysis.stats import laws

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
RESAMPLES = 4_000
CLUSTER_RESAMPLES = 2_000
MANY_CLUSTERS = 5_000
"""Beyond this the normal law of the share below a quantile replaces drawing clusters one by one."""
ORDER_METHOD = "percentile bootstrap"
CLUSTER_METHOD = "percentile bootstrap over items"


def draws(ordered: Floats, p: float, rng: np.random.Generator, resamples: int = RESAMPLES) -> Floats:
    """Type-7 quantiles of so many resamples of sorted values."""
    n = ordered.size
    position = (n - 1) * p
    k, part = math.floor(position) + 1, position - math.floor(position)
    low = rng.beta(k, n - k + 1, resamples)
    below = ordered[_index(low, n)]
    if part == 0 or k >= n:
        return below
    high = 1.0 - (1.0 - low) * rng.random(resamples) ** (1.0 / (n - k))
    return below + part * (ordered[_index(high, n)] - below)


def clustered_draws(
    ordered: Floats,
    clusters: Codes,
    p: float,
    rng: np.random.Generator,
    resamples: int = CLUSTER_RESAMPLES,
    groups: int = 0,
) -> Floats:
    """The same with whole clusters drawn; `clusters` are 0-based codes in the order of the values.

    Two arms that share their codes (so many `groups`) are drawn together by generators of one seed.
    """
    sizes = np.bincount(clusters, minlength=groups).astype(np.float64)
    if sizes.size > MANY_CLUSTERS:
        (shares,) = joint_shares([clusters], p, sizes.size, rng, resamples)
        return read_off(ordered, shares)
    even = np.full(sizes.size, 1.0 / sizes.size)
    start, stop = _window(clusters, sizes, p)
    under = np.bincount(clusters[:start], minlength=sizes.size)
    inside, near, whole = ordered[start:stop], clusters[start:stop], np.zeros_like(under)
    found = np.empty(resamples)
    for i in range(resamples):
        picks = rng.multinomial(sizes.size, even)
        rank = (float(picks @ sizes) - 1) * p
        value = _resampled(inside, near, under, picks, rank)
        # Nearly never outside of the window; then the whole sample is looked at.
        found[i] = _resampled(ordered, clusters, whole, picks, rank) if math.isnan(value) else value
    return found


def interval(values: Floats, alpha: float) -> tuple[float, float]:
    """The percentile interval of the draws."""
    low, high = np.quantile(values, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


def quantile_draws(
    values: Floats, probs: Sequence[float], seed: int, clusters: Codes | None = None
) -> tuple[list[Floats], int, str]:
    """Draws for each probability, how many, and the method's name; the same seed gives the same draws."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    rng = np.random.default_rng(seed)
    if clusters is None:
        return [draws(ordered, p, rng) for p in probs], RESAMPLES, ORDER_METHOD
    coded = clusters[order]
    return [clustered_draws(ordered, coded, p, rng) for p in probs], CLUSTER_RESAMPLES, CLUSTER_METHOD


def _index(uniform: Floats, n: int) -> NDArray[np.intp]:
    """The 0-based rank that a uniform number picks among n."""
    return np.minimum((uniform * n).astype(np.intp), n - 1)


def _window(clusters: Codes, sizes: Floats, p: float) -> tuple[int, int]:
    """Ranks around the quantile wide enough for nearly every resample: six standard errors of its rank."""
    centre = round((clusters.size - 1) * p)
    half = math.ceil(6 * _rank_error(clusters, sizes, p)) + 2
    return max(0, centre - half), min(clusters.size, centre + half + 1)


def _rank_error(clusters: Codes, sizes: Floats, p: float) -> float:
    """Standard error of the number of values below the quantile when clusters are drawn (Woodruff 1952)."""
    under = np.bincount(clusters[: round((clusters.size - 1) * p)], minlength=sizes.size)
    groups = int(np.count_nonzero(sizes))
    return math.sqrt(float(((under - p * sizes) ** 2).sum()) * groups / max(groups - 1, 1))


def _resampled(ordered: Floats, clusters: Codes, under: Codes, picks: Codes, rank: float) -> float:
    """The type-7 quantile of one resample at a 0-based rank; NaN where these values do not hold it.

    `under` counts, by cluster, the values that lie below the first one.
    """
    before = int(picks @ under)
    counted = before + np.cumsum(picks[clusters])
    k = math.floor(rank)
    # The k-th smallest of the resample is the first value with more than k resampled values up to it.
    low, high = np.searchsorted(counted, [k, k + 1], side="right")
    if before > k or low >= counted.size or (rank > k and high >= counted.size):
        return math.nan
    below = float(ordered[low])
    return below if rank == k else below + (rank - k) * (float(ordered[high]) - below)


def effective_n(clusters: Codes, p: float) -> float:
    """Independent values that would place the quantile as well; `clusters` in the order of the values."""
    sizes = np.bincount(clusters).astype(np.float64)
    error = _rank_error(clusters, sizes, p) / clusters.size
    independent = p * (1 - p) / error**2 if error > 0 else float(np.count_nonzero(sizes))
    return min(float(clusters.size), independent)


def binomial_limits(p: float, n: float, alpha: float, clusters: int | None = None) -> tuple[float, float]:
    """Shares that bound the p quantile at an effective n: Clopper-Pearson (Korn & Graubard 1998).

    With few clusters the effective n is itself uncertain, so t replaces z.
    """
    if clusters is not None and clusters > 1:
        n *= (laws.normal_quantile(1 - alpha / 2) / laws.t_quantile(1 - alpha / 2, clusters - 1)) ** 2
    below = p * n
    low = laws.beta_quantile(alpha / 2, below, n - below + 1)
    return low, laws.beta_quantile(1 - alpha / 2, below + 1, n - below)


def at_shares(ordered: Floats, low: float, high: float) -> tuple[float, float]:
    """The order statistics just outside of two shares."""
    n = ordered.size
    first, last = max(0, math.floor(low * n) - 1), min(n - 1, math.ceil(high * n))
    return float(ordered[first]), float(ordered[last])


def joint_shares(
    arms: Sequence[Codes], p: float, groups: int, rng: np.random.Generator, resamples: int
) -> list[Floats]:
    """Shares below each arm's quantile when thousands of shared clusters are drawn: normal, correlated through them."""
    apart = []
    for clusters in arms:
        sizes = np.bincount(clusters, minlength=groups)
        under = np.bincount(clusters[: round((clusters.size - 1) * p)], minlength=groups)
        apart.append((under - p * sizes) / clusters.size)
    covariance = np.atleast_2d(np.array([[float(x @ y) for x in apart] for y in apart]))
    drawn = rng.multivariate_normal(np.full(len(arms), p), covariance, size=resamples, method="eigh")
    return [np.clip(column, 0.0, 1.0) for column in drawn.T]


def read_off(ordered: Floats, shares: Floats) -> Floats:
    """Type-7 quantiles at many shares."""
    return np.interp(shares * (ordered.size - 1), np.arange(ordered.size), ordered)
